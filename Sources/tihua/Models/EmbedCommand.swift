import ArgumentParser
import Foundation
import TihuaEncoders
import TihuaFiles
import TihuaModels
import TihuaPictures
import TihuaTokenizers

/// `tihua embed`: pictures and texts as vectors of one Chinese-CLIP, or texts as those of a sentence encoder.
///
/// Exit status: 0; 1 a file that cannot be used; 2 a flag is wrong.
struct EmbedCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "embed",
        abstract: "Embed pictures and texts with a Chinese-CLIP, or texts with a sentence encoder.",
        discussion: """
            EXAMPLES
              tihua embed moon.jpg --text 明月 --text 山
              tihua embed album/ shard.tar --json > embeddings.jsonl
              tihua embed moon.jpg --clip chinese-clip-vit-base-patch16 --raw
              tihua embed --clip sentence-encoder --text 雪山 --text "a mountain in snow"

            Each vector is a line: the name of the picture, or the text, then a tab, then the numbers. Vectors have \
            length 1, so that their products are cosines. The pictures come first, then what --image and --text name, \
            in the order given.

            \(PictureInput.discussion)

            A model is a Hugging Face folder, or a checkpoint of the original code with its vocab.txt beside it. A \
            text has at most \(ChineseCLIP.contextLength) tokens; a longer one loses its end. For a file of embeddings \
            to train with, use tihua data embed.

            The folder of a universal sentence encoder, with \(UniversalSentenceTokenizer.fileName), embeds texts \
            alone, of up to \(SentenceEncoder.maximumLength) pieces.
            """)

    @Argument(help: PictureInput.help, completion: .file())
    var pictures: [String] = []

    @Option(
        name: .customLong("image"), help: "A picture, a folder or an archive among the texts; may stand several times.",
        completion: .file())
    var images: [String] = []

    @Option(name: .customLong("text"), help: "A text; may stand several times.")
    var texts: [String] = []

    @Flag(help: "Print one JSON object a line: picture or text, and embedding.")
    var json = false

    @Flag(help: "Print nothing but the numbers and errors.")
    var quiet = false

    @Flag(help: "Leave the vectors as the model gives them, not of length 1.")
    var raw = false

    @OptionGroup(title: "WEIGHTS") var towers: TowerArguments

    @Option(help: .hidden)
    var model: URL?

    @Option(
        help: """
            The type of weights and activations: \
            \(ComputeOptions.Precision.allCases.map(\.rawValue).joined(separator: ", ")).
            """
    )
    var dtype = ComputeOptions.Precision.float32

    func validate() throws {
        if pictures.isEmpty, images.isEmpty, texts.isEmpty {
            throw ValidationError("nothing to embed; name pictures, folders or tar archives, or give --text TEXT")
        }
        if model != nil, towers.packs.clip != nil || towers.packs.pack != nil {
            throw ValidationError("--model is --clip by its old name; give one of them")
        }
    }

    /// Pictures and texts that are computed together.
    private static let batchSize = 16

    func run() async throws {
        let folder = try model ?? towers.folder()
        if SentenceEncoder.isOne(folder) { return try embedTexts(with: folder) }
        let failures = Failures()
        let items = try items(failures.report)
        let device = try towers.place.prepare()
        let encoder = try PictureTextEncoder(folder: folder, dtype: dtype.dtype, device: device)
        for start in stride(from: 0, to: items.count, by: Self.batchSize) {
            let batch = items[start..<min(start + Self.batchSize, items.count)]
            var loaded: [Picture] = []
            var printed: [Item] = []
            for item in batch {
                guard case .picture(let input) = item else {
                    printed.append(item)
                    continue
                }
                do {
                    loaded.append(try input.load())
                    printed.append(item)
                } catch {
                    failures.report(error)
                }
            }
            let lines = batch.compactMap { if case .text(let text) = $0 { text } else { nil } }
            var ofPictures = try encoder.encode(loaded, isNormalized: !raw)[...]
            var ofTexts = try encoder.encode(lines, isNormalized: !raw)[...]
            for item in printed {
                switch item {
                case .picture(let input): try show(picture: input.name, ofPictures.removeFirst())
                case .text(let text): try show(text: text, ofTexts.removeFirst())
                }
            }
        }
        try failures.end()
    }

    private func embedTexts(with folder: URL) throws {
        let path = printable(folder.path)
        guard pictures.isEmpty, images.isEmpty else {
            throw ValidationError("\(path) is a sentence encoder, which embeds no pictures; give --text alone")
        }
        guard dtype == .float32 else {
            throw ValidationError("\(path) is a sentence encoder, which computes in float32; leave --dtype away")
        }
        let encoder = try SentenceEncoder(folder: folder, device: towers.place.prepare())
        for (text, vector) in zip(texts, try encoder.encode(texts)) { try show(text: text, vector) }
    }

    private func show(picture: String? = nil, text: String? = nil, _ embedding: [Float]) throws {
        struct Report: Encodable {
            let picture: String?
            let text: String?
            let embedding: [Float]
        }
        let numbers = embedding.map { "\($0)" }.joined(separator: " ")
        try Console.print(
            json
                ? jsonLine(Report(picture: picture, text: text, embedding: embedding))
                : quiet ? numbers : printable(picture ?? text ?? "") + "\t" + numbers)
    }

    /// What is embedded.
    private enum Item {
        case picture(PictureInput)
        case text(String)
    }

    /// The pictures, then what `--image` and `--text` name, in the order of the command line.
    private func items(_ complain: (any Error) -> Void) throws -> [Item] {
        let paths = pictures + images
        let found = try PictureInput.all(at: paths, quiet: quiet, failed: complain)
        var byArgument = Dictionary(grouping: found) { paths[$0.argument] }
        let ordered = Self.options(in: ProcessInfo.processInfo.arguments)
        let isKnown = ordered.count == images.count + texts.count
        let options = isKnown ? ordered : images.map { ($0, true) } + texts.map { ($0, false) }
        return (pictures.map { ($0, true) } + options).flatMap { value, isPicture in
            isPicture ? (byArgument.removeValue(forKey: value) ?? []).map(Item.picture) : [.text(value)]
        }
    }

    /// The values of `--image` (true) and `--text` among arguments that are known to parse, whose order two options do
    /// not keep between them.
    private static func options(in arguments: [String]) -> [(value: String, isPicture: Bool)] {
        var values: [(String, Bool)] = []
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            for (option, isPicture) in [("--image", true), ("--text", false)] {
                if argument == option, let value = rest.popFirst() {
                    values.append((value, isPicture))
                } else if argument.hasPrefix("\(option)=") {
                    values.append((String(argument.dropFirst(option.count + 1)), isPicture))
                }
            }
        }
        return values
    }
}
