import ArgumentParser
import Foundation
import TihuaFiles
import TihuaModels
import TihuaTorch
import TihuaWeightFiles

extension ModelsCommand {
    /// `tihua models average`: one model from several states of its training.
    struct Average: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "average", abstract: "Average the weights of several states of one model.",
            discussion: """
                Models that were trained from the same start often average to one that is better than each of them \
                (Wortsman et al. 2022, model soups). Each source is the folder of a model, or a run of tihua train, \
                whose averaged weights at its last step are taken. PATH=WEIGHT gives a source a weight; weights are \
                divided by their sum. The other files of the new folder come from the first source that is the folder \
                of a model. Where CLIP towers take pictures of different sizes, their positions are resized.

                  tihua models average runs/clip/best=2 runs/clip=1 --out runs/clip-average
                """)

        @Argument(help: "PATH or PATH=WEIGHT, at least two.", completion: .directory)
        var sources: [String]

        @Option(name: .long, help: "The folder to write.", completion: .directory)
        var out: String

        func validate() throws {
            guard sources.count >= 2 else { throw ValidationError("give at least two sources") }
        }

        func run() throws {
            let states = try sources.map(State.init)
            guard let model = states.first(where: { !$0.isRun }) else {
                throw ValidationError("all sources are runs; name a model's folder too, such as \(sources[0])/best")
            }
            let total = states.reduce(0) { $0 + $1.weight }
            let folder = URL(filePath: out)
            guard !FileManager.default.fileExists(atPath: folder.path) else {
                throw ValidationError("\(out) is there already; name a new folder")
            }
            let averages = try withoutGradients {
                try model.names.map { name in
                    let first = try model.tensor(name)
                    // Counts are no weights.
                    guard first.dtype.isFloatingPoint else { return (name, first) }
                    var sum = Tensor.zeros(first.shape)
                    for state in states {
                        let tensor = ChineseCLIP.resized(try state.tensor(name), named: name, to: first.shape)
                        guard tensor.shape == first.shape else {
                            throw ModelError.checkpoint(
                                path: state.path,
                                reason: "\(name) is \(tensor.shape), not \(first.shape) as in \(model.path)")
                        }
                        sum = sum + tensor.to(.float32) * (state.weight / total)
                    }
                    return (name, sum.to(first.dtype))
                }
            }
            try AtomicFile.folder(at: folder) { partial in
                try TensorFile.write(averages, to: partial.appending(path: "model.safetensors"))
                let others = try FileManager.default
                    .contentsOfDirectory(at: URL(filePath: model.path), includingPropertiesForKeys: nil)
                    .filter {
                        ["json", "txt", "model"].contains($0.pathExtension) && !$0.lastPathComponent.contains("index")
                    }
                for file in others {
                    try FileManager.default.copyItem(at: file, to: partial.appending(path: file.lastPathComponent))
                }
            }
        }
    }
}

/// A source of an average.
private struct State {
    let path: String
    let weight: Double
    /// A run of `tihua train`, not a model's folder.
    let isRun: Bool
    private let checkpoint: Checkpoint

    init(_ argument: String) throws {
        let cut = argument.lastIndex(of: "=")
        path = cut.map { String(argument[..<$0]) } ?? argument
        guard let weight = cut.map({ Double(argument[argument.index(after: $0)...]) }) ?? 1, weight > 0, weight < 1e9
        else {
            throw ValidationError("\(argument): the weight is a number above 0, as in PATH=0.5")
        }
        self.weight = weight
        let run = URL(filePath: path).appending(path: "checkpoint.safetensors")
        isRun = FileManager.default.fileExists(atPath: run.path)
        checkpoint = try Checkpoint.open(isRun ? run : URL(filePath: path))
    }

    /// Of a model's folder.
    var names: [String] { checkpoint.tensors.map(\.name) }

    /// The average that a run keeps, or the parameter itself where it keeps none.
    func tensor(_ name: String) throws -> Tensor {
        guard isRun else { return try Tensor.borrowing(checkpoint.tensor(name)) }
        let view = try checkpoint["average/\(name)"] ?? checkpoint.tensor("model/\(name)")
        return try Tensor.borrowing(view)
    }
}
