import ArgumentParser
import Foundation
import Tihua
import TihuaDataFiles
import TihuaGeneration
import TihuaModels
import TihuaPictures
import TihuaTorch
import TihuaTraining

/// `tihua caption`: Chinese sentences for pictures.
struct CaptionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "caption", abstract: "Say in Chinese what pictures show.",
        discussion: """
            EXAMPLES
              tihua caption photo.jpg
              tihua caption photo.jpg --n 5
              tihua caption photo.jpg --prompt 两个孩子
              tihua caption photo.jpg --style poetic.txt
              tihua caption album/ shard.tar --json > captions.jsonl
              tihua caption photo.jpg --captioner runs/poetic/best
              tihua caption photo.jpg --captioner mlp_finetune/checkpoint-35000.pt \\
                --clip CLIP --preset clipcap-chinese

            \(PictureInput.discussion)

            One caption comes from a beam search. Several are the best of many samples: like the picture, fluent, and \
            unlike each other. --greedy, --beams, --contrastive, and --temperature, --top-k or --top-p (samples) name \
            another search. Captions end without a full stop. --preset clipcap-chinese takes 10 samples as they come, \
            as ClipCap-Chinese does.

            --style takes a UTF-8 text of many sentences, one a line, and captions lean towards its wording. tihua \
            train caption --style teaches a captioner such a wording for good.
            """)

    @Argument(help: PictureInput.help, completion: .file())
    var pictures: [String] = []

    @Option(
        help: "Caption the embeddings of this file of tihua data embed; may stand several times.", completion: .file())
    var embeddings: [String] = []

    @OptionGroup(title: "CAPTION") var caption: CaptionArguments
    @OptionGroup(title: "WEIGHTS") var weights: CaptionerArguments

    @Flag(help: "Print one JSON object a line for each picture.")
    var json = false

    @Flag(help: "Print nothing but captions and errors.")
    var quiet = false

    private static let batchSize = 16

    func validate() throws {
        if pictures.isEmpty, embeddings.isEmpty {
            throw ValidationError("nothing to caption; name pictures, folders or tar archives, or --embeddings FILE")
        }
    }

    func run() async throws {
        let request = try caption.request()
        try request.validate()
        let engine = try weights.makeEngine()
        try await engine.check(request)
        let failures = Failures()
        let inputs = try PictureInput.all(at: pictures, quiet: quiet, failed: failures.report)
        let tables = try embeddings.map { try EmbeddingFile(contentsOf: URL(filePath: $0)) }
        try await PictureInput.forEachBatch(of: inputs, size: Self.batchSize, progress, failures) { loaded in
            let captions = try await engine.captions(for: loaded.map(\.picture), request: request)
            progress(nil)
            for (item, captions) in zip(loaded, captions) { try show(inputs[item.place].name, captions, request) }
        }
        defer { progress(nil) }
        for table in tables {
            for start in stride(from: 0, to: table.keys.count, by: Self.batchSize) {
                let rows = start..<min(start + Self.batchSize, table.keys.count)
                progress("\(start)/\(table.keys.count) …")
                let captions = try await engine.captions(
                    forFeatures: rows.map(table.features), request: request)
                progress(nil)
                for (row, captions) in zip(rows, captions) { try show(table.keys[row], captions, request) }
            }
        }
        try failures.end()
    }

    private func show(_ name: String, _ captions: [Caption], _ request: CaptionRequest) throws {
        if json {
            let result = CaptionResult(captions: captions, seed: request.seed)
            try Console.print(try jsonLine(Named(result, pictures: [name])))
        } else if quiet {
            for caption in captions { try Console.print(caption.text) }
        } else {
            try Console.print(([name] + captions.map(\.text)).joined(separator: "\t"))
        }
    }

    private var progress: ProgressLine { ProgressLine(isQuiet: quiet) }
}

/// What the captions shall be.
struct CaptionArguments: ParsableArguments {
    enum Preset: String, ExpressibleByArgument, CaseIterable {
        case clipCapChinese = "clipcap-chinese"

        /// By its name, or by the one that it had before, `seed`.
        init?(argument: String) { self.init(rawValue: argument == "seed" ? Self.clipCapChinese.rawValue : argument) }
    }

    @Option(help: "How many captions a picture gets.")
    var n: Int?

    @Option(help: "The beginning of every caption.")
    var prompt = ""

    @Option(help: "A file of sentences, one a line, towards whose wording captions lean.", completion: .file())
    var style: String?

    @OptionGroup var texts: TextArguments

    @Option(help: "How much the style counts, 0 to 1, by default 0.7; 1 loses sight of the picture.")
    var styleWeight: Double?

    @Option(help: "clipcap-chinese: 10 samples with top-p 0.8, as ClipCap-Chinese does.")
    var preset: Preset?

    @Option(
        help: "How many captions to sample; the best of them are printed. By default three times --n, at least 10.")
    var candidates: Int?

    @Option(help: "The most tokens of a caption.")
    var maxLength: Int?

    @Flag(help: "Keep captions in the order in which they were found, without ranking them.")
    var noRerank = false

    @OptionGroup(title: "SEARCH") var search: DecodingArguments

    func request() throws -> CaptionRequest {
        var request = preset == nil ? CaptionRequest() : CaptionRequest.clipCapChinese
        request.count = n ?? request.count
        request.prompt = prompt
        if let style {
            let sentences = try readSentences(URL(filePath: style), encoding: texts.encoding)
            request.style = CaptionStyle(sentences: sentences)
            if let styleWeight { request.style?.weight = styleWeight }
        } else if styleWeight != nil {
            throw ValidationError("--style-weight needs --style FILE")
        }
        request.maximumLength = maxLength ?? request.maximumLength
        request.noRepeatNGram = search.noRepeatNGram
        request.repetitionPenalty = search.repetitionPenalty
        if noRerank { request.reranks = false }
        request.seed = search.sampling.seed ?? 1
        request.sampleCount = candidates ?? (request.reranks ? max(10, 3 * request.count) : request.count)
        let nucleus = Sampling(temperature: 1, topK: 0, topP: 0.8)
        let isDrawn = preset != nil || request.count > 1 || candidates != nil
        request.method = try search.method(
            sampling: nucleus, otherwise: isDrawn ? .sampling(nucleus) : .beam(BeamSearch()))
        return request
    }
}
