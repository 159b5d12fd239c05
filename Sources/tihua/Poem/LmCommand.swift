import ArgumentParser
import Foundation
import TihuaGeneration
import TihuaModels
import TihuaTokenizers
import TihuaTorch

/// `tihua lm`: a language model by itself: the probabilities of a text, and its continuation.
struct LmCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lm", abstract: "Score a text with a language model, and continue it.",
        discussion: """
            The model is a folder with a GPT2 or a T5. GPT2 reads [CLS] and the text. T5 reads the text in its \
            encoder; --ids are then the tokens of its decoder, by default the start token alone.

              tihua lm --model Weights/mini/poet --text 春眠不觉晓 --generate 20 --greedy
              tihua lm --model gpt2-chinese --text 春眠 --generate 40 \\
                --beams 5 --n 3 --no-repeat-ngram 2
              tihua lm --model gpt2-chinese --ids 101,3217,4697 --json
              tihua lm --model t5 --encoder-ids 12,99,1 --ids 0,45,7 --json

            Without another search or a filter, tokens are drawn from the whole vocabulary. logprobs are natural \
            logarithms, one for each given id after the first. The logprob of a text is the sum over all its tokens.
            """)

    @Option(help: "The folder of the model.", completion: .directory)
    var model: String

    @Option(help: "A text; needs the tokenizer's file (vocab.txt or spiece.model) in the folder.")
    var text: String?

    @Option(help: "Token ids, separated by commas.")
    var ids: String?

    @Option(help: "T5: the token ids of the encoder, separated by commas.")
    var encoderIds: String?

    @Option(help: "How many tokens to add; fewer where the model ends the text.")
    var generate = 0

    @Flag(help: "Compute the whole sequence anew for each token. Slow; for comparison.")
    var noCache = false

    @Option(help: "How many texts: samples, or the best beams.")
    var n = 1

    @Option(help: "The least number of tokens of a text.")
    var minTokens = 0

    @OptionGroup(title: "Search")
    var search: DecodingArguments

    @OptionGroup(title: "Computation")
    var compute: ComputeOptions

    @Option(
        help: "Write the scores of the given ids, float32 [ids, vocabulary], as `logits` of a safetensors file.",
        completion: .file())
    var logits: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        if text == nil, ids == nil, encoderIds == nil { throw ValidationError("nothing to read; give --text or --ids") }
        guard (0...1_000_000).contains(generate) else { throw ValidationError("--generate takes 0 to 1000000") }
    }

    func run() throws {
        if generate > 0 { _ = try decoding(stop: []) }
        let files = (try? FileManager.default.contentsOfDirectory(atPath: model)) ?? []
        try protect(files.map { "\(model)/\($0)" }, from: logits, "--logits")
        let output = try withoutGradients { try score() }
        try Console.print(json ? try jsonLine(output) : output.summary)
    }

    private func score() throws -> Output {
        let folder = try ModelFolder(at: URL(filePath: model))
        let device = try compute.place.prepare()
        let dtype = compute.dtype.dtype
        let reader = try tokenizer(in: folder.url)
        guard folder.holdsLanguageModel else {
            throw LmFailure.notALanguageModel(model, folder.architecture.rawValue)
        }
        let opened = try folder.openLanguageModel(dtype: dtype, device: device).model
        if let reader { try folder.check(vocabulary: reader.vocabularySize, rows: opened.vocabularySize) }
        var context = DecodingContext()
        let given: [Int32]
        if opened.hasEncoder {
            guard text == nil || encoderIds == nil else {
                throw ValidationError("give --text or --encoder-ids, not both")
            }
            let read = try text.map { try required(reader).source(of: $0) } ?? list(encoderIds, "--encoder-ids")
            guard !read.isEmpty else { throw ValidationError("T5 needs --text or --encoder-ids for its encoder") }
            guard read.count <= 4096 else { throw ValidationError("the encoder takes at most 4096 tokens here") }
            try check(read, rows: opened.vocabularySize)
            given = try ids == nil ? opened.startTokenID.map { [$0] } ?? [] : list(ids, "--ids")
            context = opened.context(opened.embed(Tensor.ids(read, [1, read.count]).to(nil, device)))
        } else {
            guard encoderIds == nil else { throw ValidationError("--encoder-ids is for T5; \(model) is a GPT2") }
            guard text == nil || ids == nil else { throw ValidationError("give --text or --ids, not both") }
            given = try text.map { try required(reader).prompt(of: $0) } ?? list(ids, "--ids")
        }
        guard !given.isEmpty else { throw ValidationError("no tokens; give --text or --ids") }
        try check(given, rows: opened.vocabularySize)
        let source = TextSource(opened, context)
        guard given.count + generate <= source.positionCount else {
            throw LmFailure.tooLong(given.count + generate, source.positionCount)
        }
        return Output(
            ids: given, logprobs: try logprobs(of: given, source, device),
            texts: try continuations(of: given, source, device).map { text in
                let generated = text.ids + (text.stop.map { [$0] } ?? [])
                return Output.Text(
                    generated: generated, text: reader?.text(of: generated), logprob: text.logProbability,
                    score: text.score)
            })
    }

    private func decoding(stop: [Int32]) throws -> Decoding {
        let whole = Sampling(temperature: 1, topK: 0, topP: 1)
        let decoding = Decoding(
            try search.method(sampling: whole, otherwise: .sampling(whole)), count: n,
            rules: TokenRules(
                stop: stop, minimumLength: minTokens, maximumLength: generate,
                repetitionPenalty: search.repetitionPenalty, noRepeatNGram: search.noRepeatNGram))
        try decoding.validate()
        return decoding
    }

    private func required(_ tokenizer: (any Tokenizer)?) throws -> any Tokenizer {
        guard let tokenizer else { throw LmFailure.noTokenizer(model) }
        return tokenizer
    }

    /// The log-probability of each id after the first.
    private func logprobs(of given: [Int32], _ source: TextSource, _ device: Device) throws -> [Double] {
        guard given.count > 1 || logits != nil else { return [] }
        let scores = source.scores(of: given, device: device)  // [T, V]
        if let logits { try TensorFile.write([("logits", scores)], to: URL(filePath: logits)) }
        guard given.count > 1 else { return [] }
        let targets = Tensor.ids(Array(given.dropFirst()), [given.count - 1, 1]).to(nil, device)
        return scores.narrowed(0, 0..<given.count - 1).logSoftmax(-1).gathered(1, targets).array(of: Double.self)
    }

    private func continuations(of given: [Int32], _ source: TextSource, _ device: Device) throws -> [GeneratedText] {
        guard generate > 0 else { return [] }
        let decoding = try decoding(stop: source.model.endTokenIDs)
        let generator = TextGenerator(source, device: device, caching: !noCache)
        return try generator.generate([TextPrompt(ids: given, seed: search.sampling.seed ?? 0)], decoding).first ?? []
    }

    /// The ids of an option, none where it is not given.
    private func list(_ option: String?, _ name: String) throws -> [Int32] {
        guard let option else { return [] }
        return try option.split(separator: ",", omittingEmptySubsequences: false).map { part in
            guard let id = Int32(part.trimmingCharacters(in: .whitespaces)) else {
                throw ValidationError("\(name): “\(part)” is no token id; give numbers separated by commas")
            }
            return id
        }
    }

    private func check(_ ids: [Int32], rows: Int) throws {
        if let wrong = ids.first(where: { !(0..<rows).contains(Int($0)) }) {
            throw ValidationError("token id \(wrong) is outside of the vocabulary, 0 to \(rows - 1)")
        }
    }
}

/// What the command itself can find wrong.
private enum LmFailure: Error, CustomStringConvertible {
    case noTokenizer(String)
    case notALanguageModel(String, String)
    case tooLong(Int, Int)

    var description: String {
        switch self {
        case .noTokenizer(let folder): "\(folder): no vocab.txt or spiece.model for --text; add it, or give --ids"
        case .notALanguageModel(let folder, let kind): "\(folder): a \(kind), which writes no text; give a gpt2 or a t5"
        case .tooLong(let count, let limit): "\(count) tokens with those to generate, but the model reads \(limit)"
        }
    }
}

/// What `tihua lm` prints.
private struct Output: Encodable {
    let ids: [Int32]
    let logprobs: [Double]
    /// The continuations, best first where the search ranks them.
    let texts: [Text]

    struct Text: Encodable {
        /// The new ids, with the one that ended the text.
        let generated: [Int32]
        /// The generated text, where the folder has a tokenizer.
        let text: String?
        let logprob: Double
        let score: Double
    }

    private enum CodingKeys: String, CodingKey {
        case ids, logprobs, texts, generated, text
    }

    /// The first text stands at the top too.
    func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(ids, forKey: .ids)
        try values.encode(logprobs, forKey: .logprobs)
        try values.encode(texts, forKey: .texts)
        try values.encode(texts.first?.generated ?? [], forKey: .generated)
        try values.encodeIfPresent(texts.first?.text, forKey: .text)
    }

    var summary: String {
        func row(_ name: String, _ values: [String]) -> String { "\(name)  \(values.joined(separator: " "))" }
        var lines = [
            row("ids      ", ids.map(String.init)),
            row("logprobs ", logprobs.map { String(format: "%.4f", $0) }),
        ]
        for text in texts {
            lines.append(row("generated", text.generated.map(String.init)))
            if let words = text.text { lines.append(row("text     ", [words])) }
            lines.append(row("logprob  ", [String(format: "%.4f", text.logprob)]))
        }
        return lines.joined(separator: "\n")
    }
}
