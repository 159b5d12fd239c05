import ArgumentParser
import Foundation
import Tihua
import TihuaEncoders
import TihuaPictures
import TihuaTorch
import TihuaTraining

/// `tihua eval`: measures of models on held-out data.
struct EvalCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval", abstract: "Measure a model on held-out data.",
        subcommands: [
            EvalCaptionCommand.self,
            EvalImageryCommand.self,
            EvalProsodyCommand.self,
            Poet.self,
            Ranking.self,
            EvalRetrievalCommand.self,
            EvalThroughCommand.self,
            EvalZeroshotCommand.self,
        ])
}

/// Which two-tower model is measured, and where it runs.
struct TowerArguments: ParsableArguments {
    @Option(help: "The pack of weights, instead of the default one.", completion: .directory)
    var pack: String?

    @Option(help: "A Chinese-CLIP model, instead of a pack's.", completion: .directory)
    var clip: String?

    @OptionGroup var place: DeviceOptions

    func validate() throws {
        if pack != nil, clip != nil { throw ValidationError("--pack and --clip both name a model; give one of them") }
    }

    /// Where the model that was asked for lies.
    ///
    /// - Throws: `PackError`, `PipelineError`.
    func folder() throws -> URL {
        try clip.map { URL(filePath: $0) } ?? Pack(folder: PackLocator(pack: pack).locate()).requiredClip()
    }

    /// Loads the model that was asked for.
    ///
    /// - Throws: `ValidationError` for a device that is not there, `PackError`, `PipelineError`, `ModelError`,
    ///   `WeightFileError`, `TokenizerError`.
    func encoder() throws -> LoadedTowers {
        let device = try usage { try place.prepare() }
        let folder = try folder()
        return LoadedTowers(encoder: try PictureTextEncoder(folder: folder, device: device), folder: folder)
    }
}

/// A model that measures are taken of.
struct LoadedTowers {
    let encoder: PictureTextEncoder
    let folder: URL

    /// Pictures that are decoded before they are embedded.
    private static let batch = 32

    /// Embeds pictures of a shard, those that can be read; the others are named on stderr.
    ///
    /// - Parameter indices: of `shard.items`
    /// - Returns: the indices of the pictures that could be read, and their embeddings of unit length
    /// - Throws: `TrainingError.data` if none can be read, `EmbedFailure`.
    func embed(_ shard: PictureShard, _ indices: [Int]) throws -> (indices: [Int], embeddings: [[Float]]) {
        var (good, bad): ([Int], [String]) = ([], [])
        var embeddings: [[Float]] = []
        defer { Console.progress(nil) }
        for start in stride(from: 0, to: indices.count, by: Self.batch) {
            Console.progress("\(shard.name)  \(start)/\(indices.count) …")
            var pictures: [Picture] = []
            for index in indices[start..<min(start + Self.batch, indices.count)] {
                do {
                    pictures.append(try shard.picture(at: index))
                    good.append(index)
                } catch is PictureError {
                    bad.append(shard.items[index].key)
                }
            }
            embeddings += try checked(encoder.encode(pictures))
        }
        Console.progress(nil)
        guard !good.isEmpty else {
            throw TrainingError.data(path: shard.name, reason: "none of its \(indices.count) pictures can be read")
        }
        if !bad.isEmpty {
            Console.note(
                "\(bad.count) pictures of \(shard.name) cannot be read: \(bad.prefix(5).joined(separator: ", "))")
        }
        return (good, embeddings)
    }

    /// Embeds texts, equal ones once, in the order given.
    ///
    /// - Throws: `EmbedFailure`.
    func embed(_ texts: [String]) throws -> [[Float]] {
        let unique = Array(Set(texts)).sorted()
        let rows = Dictionary(uniqueKeysWithValues: zip(unique, try checked(encoder.encode(unique))))
        return texts.compactMap { rows[$0] }
    }

    /// Embeds lists of texts that say the same, one embedding for each.
    ///
    /// - Throws: `EmbedFailure`.
    func embed(ensembles: [[String]]) throws -> [[Float]] { try checked(encoder.encode(ensembles: ensembles)) }

    private func checked(_ rows: [[Float]]) throws -> [[Float]] {
        guard rows.allSatisfy({ $0.allSatisfy(\.isFinite) }) else { throw EmbedFailure.notFinite(folder.path) }
        return rows
    }

    /// The product of every row with every column, `[rows, columns]`; cosines where all have length 1.
    static func products(_ rows: [[Float]], _ columns: [[Float]]) -> [Float] {
        func tensor(_ vectors: [[Float]]) -> Tensor {
            Tensor(vectors.flatMap { $0 }, [vectors.count, vectors.first?.count ?? 0])
        }
        return withoutGradients { tensor(rows).matmul(tensor(columns).transposed(0, 1)).floats }
    }
}

/// A share as people read it, such as ` 16.7 %`.
func percent(_ share: Double) -> String { String(format: "%5.1f %%", 100 * share) }

/// A cell of a table, filled with spaces before or behind; Chinese characters are two columns wide.
func cell(_ text: String, _ width: Int, isLeading: Bool = false) -> String {
    let columns = text.unicodeScalars.reduce(0) { $0 + ($1.properties.isIdeographic ? 2 : 1) }
    let fill = String(repeating: " ", count: max(0, width - columns))
    return isLeading ? text + fill : fill + text
}
