import ArgumentParser
import Foundation
import Models
import Pictures
import Pipelines
import Tokenizers
import Torch

/// `tihua embed`: pictures and texts as vectors of one Chinese-CLIP.
///
/// Exit status: 0; 1 a file that cannot be used; 2 a flag is wrong.
struct EmbedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "embed", abstract: "Embed pictures and texts with a Chinese-CLIP.",
        discussion: """
            Vectors come in the order of the arguments and have length 1, so that their products are cosines.
            DIR is a Hugging Face folder or holds a checkpoint of the original code, with its vocab.txt beside it.
            A text has at most \(ChineseCLIP.contextLength) tokens; what is longer loses its end.

              tihua embed --model chinese-clip-vit-base-patch16 --image moon.jpg --text 明月 --text 山 --json
            """)

    @Option(help: "The model's folder, or a checkpoint of the original code.", completion: .directory)
    var model: String

    @Option(name: .customLong("image"), help: "A picture; may stand several times.", completion: .file())
    var images: [String] = []

    @Option(name: .customLong("text"), help: "A text; may stand several times.")
    var texts: [String] = []

    @Flag(help: "Print one JSON object, {\"embeddings\": [[..], ..]}.")
    var json = false

    @Flag(help: "Leave the vectors as the model gives them, not of length 1.")
    var raw = false

    @OptionGroup(title: "Computation")
    var compute: ComputeOptions

    func validate() throws {
        if images.isEmpty, texts.isEmpty { throw ValidationError("nothing to embed; give --image FILE or --text TEXT") }
    }

    func run() throws {
        let vectors = try withoutGradients { try embed(inputs) }
        if json {
            try Console.print(try jsonLine(["embeddings": vectors]))
        } else {
            for vector in vectors { try Console.print(vector.map { "\($0)" }.joined(separator: " ")) }
        }
    }

    /// What is embedded.
    enum Input: Equatable {
        case image(String)
        case text(String)
    }

    /// Pictures and texts in the order of the command line, which two options do not keep between them.
    private var inputs: [Input] {
        let ordered = Self.inputs(in: ProcessInfo.processInfo.arguments)
        let parsed = images.map(Input.image) + texts.map(Input.text)
        return ordered.count == parsed.count ? ordered : parsed
    }

    /// The values of `--image` and `--text` among arguments that are known to parse.
    static func inputs(in arguments: [String]) -> [Input] {
        var inputs: [Input] = []
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            for (option, make) in [("--image", Input.image), ("--text", Input.text)] {
                if argument == option, let value = rest.popFirst() {
                    inputs.append(make(value))
                } else if argument.hasPrefix("\(option)=") {
                    inputs.append(make(String(argument.dropFirst(option.count + 1))))
                }
            }
        }
        return inputs
    }

    /// Vectors that are computed together.
    private static let batchSize = 16

    private func embed(_ inputs: [Input]) throws -> [[Float]] {
        let folder = URL(filePath: model)
        let device = try compute.place.prepare()
        let (clip, _) = try ChineseCLIP.open(folder, dtype: compute.dtype.dtype, device: device)
        // Without texts no vocabulary is asked for.
        let tokenizer = try texts.isEmpty ? nil : tokenizer(of: clip, in: folder)
        var vectors = [[Float]](repeating: [], count: inputs.count)
        let pictures = inputs.enumerated().compactMap { index, input in
            if case .image(let path) = input { (index: index, path: path) } else { nil }
        }
        let lines = inputs.enumerated().compactMap { index, input in
            if case .text(let text) = input { (index: index, text: text) } else { nil }
        }
        func store(_ embeddings: Tensor, at indices: [Int]) throws {
            let result = raw ? embeddings : embeddings.normalized()
            let (width, values) = (result.size(1), result.floats)
            guard values.allSatisfy(\.isFinite) else { throw EmbedFailure.notFinite(model) }
            for (row, index) in indices.enumerated() { vectors[index] = Array(values[row * width..<(row + 1) * width]) }
        }

        let side = clip.configuration.imageSize
        let preprocessing = try Preprocessing(folder: folder, size: side)
        for start in stride(from: 0, to: pictures.count, by: Self.batchSize) {
            let batch = pictures[start..<min(start + Self.batchSize, pictures.count)]
            let pixels = try batch.flatMap { preprocessing.pixels(try Picture(contentsOf: $0.path)) }
            try store(
                clip.encodeImages(Tensor(pixels, [batch.count, 3, side, side]).to(nil, device)), at: batch.map(\.index))
        }
        if let tokenizer {
            let limit = min(ChineseCLIP.contextLength, clip.configuration.text.positionCount)
            for start in stride(from: 0, to: lines.count, by: Self.batchSize) {
                let batch = lines[start..<min(start + Self.batchSize, lines.count)]
                let tokens = tokenizer.encode(batch: batch.map(\.text), maximumLength: limit)
                let shape = [tokens.count, tokens.length]
                try store(
                    clip.encodeTexts(
                        .ids(tokens.ids, shape).to(nil, device), mask: Tensor(tokens.mask, shape).to(nil, device)),
                    at: batch.map(\.index))
            }
        }
        return vectors
    }

    private func tokenizer(of clip: ChineseCLIP, in folder: URL) throws -> BertTokenizer {
        // A checkpoint that was given as a file has its vocabulary beside it.
        let isFolder = (try? folder.resourceValues(forKeys: [.isDirectoryKey]))?.isDirectory ?? false
        let home = isFolder ? folder : folder.deletingLastPathComponent()
        let tokenizer = try BertTokenizer(folder: home)
        let rows = clip.configuration.text.vocabularySize
        guard tokenizer.vocabularySize <= rows else {
            throw ModelError.vocabulary(folder: home.path, tokens: tokenizer.vocabularySize, rows: rows)
        }
        return tokenizer
    }
}

/// What can be wrong with embeddings.
enum EmbedFailure: Error, CustomStringConvertible {
    case notFinite(String)

    var description: String {
        switch self {
        case .notFinite(let model): "\(model): the model gives numbers that are not finite; its weights are damaged"
        }
    }
}
