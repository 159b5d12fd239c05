import ArgumentParser
import Foundation
import TihuaModels

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
            guard let average = ModelAverage(try sources.map(Self.source)) else {
                throw ValidationError("all sources are runs; name a model's folder too, such as \(sources[0])/best")
            }
            guard !FileManager.default.fileExists(atPath: out) else {
                throw ValidationError("\(out) is there already; name a new folder")
            }
            try average.write(to: URL(filePath: out))
        }

        /// The source that PATH or PATH=WEIGHT names.
        private static func source(_ argument: String) throws -> ModelAverage.Source {
            let cut = argument.lastIndex(of: "=")
            let path = cut.map { String(argument[..<$0]) } ?? argument
            guard let weight = cut.map({ Double(argument[argument.index(after: $0)...]) }) ?? 1, weight > 0,
                weight < 1e9
            else { throw ValidationError("\(argument): the weight is a number above 0, as in PATH=0.5") }
            return try ModelAverage.Source(path: path, weight: weight)
        }
    }
}
