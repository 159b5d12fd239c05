public import Foundation
import TihuaFiles
import TihuaTorch
import TihuaWeightFiles

/// One model from several states of its training: the weighted mean of their weights (Wortsman et al. 2022, model
/// soups).
public struct ModelAverage {
    /// A model's folder, or a run, whose averaged weights at its last step are taken.
    public struct Source {
        /// The folder.
        public let path: String
        /// How much it counts, above 0; weights are divided by their sum.
        public let weight: Double
        /// Whether it is a run of a training, not a model's folder.
        public let isRun: Bool
        private let checkpoint: Checkpoint

        /// Opens a source.
        ///
        /// - Throws: `WeightFileError`.
        public init(path: String, weight: Double = 1) throws {
            (self.path, self.weight) = (path, weight)
            let run = URL(filePath: path).appending(path: "checkpoint.safetensors")
            isRun = FileManager.default.fileExists(atPath: run.path)
            checkpoint = try Checkpoint.open(isRun ? run : URL(filePath: path))
        }

        /// The names of the tensors of a model's folder.
        fileprivate var names: [String] { checkpoint.tensors.map(\.name) }

        /// The average that a run keeps, or the parameter itself where it keeps none.
        fileprivate func tensor(_ name: String) throws -> Tensor {
            guard isRun else { return try Tensor.borrowing(checkpoint.tensor(name)) }
            return try Tensor.borrowing(checkpoint["average/\(name)"] ?? checkpoint.tensor("model/\(name)"))
        }
    }

    private let sources: [Source]
    private let model: Source

    /// Takes sources; nil where all are runs, since the other files of the new folder come from the first source that
    /// is a model's folder.
    public init?(_ sources: [Source]) {
        guard let model = sources.first(where: { !$0.isRun }) else { return nil }
        (self.sources, self.model) = (sources, model)
    }

    /// Writes the average and the model's other files. Where CLIP towers take pictures of different sizes, their
    /// positions are resized.
    ///
    /// - Throws: `ModelError.checkpoint` for sources of different shapes, `WeightFileError`, `FileError`.
    public func write(to folder: URL) throws {
        let total = sources.reduce(0) { $0 + $1.weight }
        let averages = try withoutGradients {
            try model.names.map { name in
                let first = try model.tensor(name)
                // Integers are counts, not weights.
                guard first.dtype.isFloatingPoint else { return (name, first) }
                var sum = Tensor.zeros(first.shape)
                for source in sources {
                    let tensor = ChineseCLIP.resized(try source.tensor(name), named: name, to: first.shape)
                    guard tensor.shape == first.shape else {
                        throw ModelError.checkpoint(
                            path: source.path,
                            reason: "\(name) is \(tensor.shape), not \(first.shape) as in \(model.path)")
                    }
                    sum = sum + tensor.to(.float32) * (source.weight / total)
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
