import ArgumentParser
import Foundation
import Models
import Tokenizers
import Torch

/// `tihua lm`: a language model by itself: the probabilities of a text, and its continuation.
struct LmCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lm", abstract: "Score a text with a language model, and continue it.",
        discussion: """
            The model is a folder with a GPT2 or a T5. GPT2 reads [CLS] and the text; T5 reads the text in its encoder, and
            --ids are the decoder's, which start with the start token unless they are given.

              tihua lm --model Weights/mini/poet --text 春眠不觉晓 --generate 20 --greedy
              tihua lm --model gpt2-chinese --ids 101,3217,4697 --json
              tihua lm --model t5 --encoder-ids 12,99,1 --ids 0,45,7 --json

            logprobs are natural logarithms, one for each given id after the first.
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

    @Flag(help: "Take the likeliest token each time instead of drawing one.")
    var greedy = false

    @Flag(help: "Compute the whole sequence anew for each token. Slow; for comparison.")
    var noCache = false

    @Option(help: "Of the tokens that are drawn.")
    var seed: UInt64 = 0

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
        let output = try withoutGradients { try score() }
        print(json ? try jsonLine(output) : output.summary)
    }

    private func score() throws -> Output {
        let folder = try ModelFolder(at: URL(filePath: model))
        let device = try compute.place.prepare()
        let dtype = compute.dtype.dtype
        let reader = try LmTokenizer(folder)
        let language: any LanguageModel
        let given: [Int32]
        switch folder.architecture {
        case .gpt2:
            guard encoderIds == nil else { throw ValidationError("--encoder-ids is for T5; \(model) is a GPT2") }
            guard text == nil || ids == nil else { throw ValidationError("give --text or --ids, not both") }
            let gpt2 = try GPT2.load(folder, dtype: dtype, device: device)
            try reader.check(rows: gpt2.configuration.vocabularySize)
            given = try text.map { try reader.prompt($0) } ?? list(ids, "--ids")
            language = DecoderOnly(model: gpt2, device: device)
        case .t5:
            guard text == nil || encoderIds == nil else {
                throw ValidationError("give --text or --encoder-ids, not both")
            }
            let t5 = try T5.load(folder, dtype: dtype, device: device)
            try reader.check(rows: t5.configuration.vocabularySize)
            let source = try text.map { try reader.source($0) } ?? list(encoderIds, "--encoder-ids")
            guard !source.isEmpty else { throw ValidationError("T5 needs --text or --encoder-ids for its encoder") }
            guard source.count <= 4096 else { throw ValidationError("the encoder takes at most 4096 tokens here") }
            try check(source, rows: t5.configuration.vocabularySize)
            given = try ids == nil ? [Int32(t5.configuration.startTokenID)] : list(ids, "--ids")
            language = EncoderDecoder(model: t5, source: source, device: device)
        default:
            throw LmFailure.notALanguageModel(model, folder.architecture.rawValue)
        }
        guard !given.isEmpty else { throw ValidationError("no tokens; give --text or --ids") }
        try check(given, rows: language.vocabularySize)
        guard given.count + generate <= language.positionCount else {
            throw LmFailure.tooLong(given.count + generate, language.positionCount)
        }
        let run = try continuation(of: given, with: language, device)
        return Output(ids: given, logprobs: run.logprobs, generated: run.generated, text: reader.text(run.generated))
    }

    private func continuation(
        of given: [Int32], with language: any LanguageModel, _ device: Device
    ) throws -> (logprobs: [Double], generated: [Int32]) {
        let generator = Generator(seed: seed, device: device)
        if !noCache { language.startCache(capacity: given.count + generate) }
        var scores = language.logits(given)  // [T, V]
        if let logits {
            try TensorFile.write([("logits", scores)], to: URL(filePath: logits))
        }
        var logprobs: [Double] = []
        if given.count > 1 {
            let targets = Tensor.ids(Array(given.dropFirst()), [given.count - 1, 1]).to(nil, device)
            let known = scores.narrowed(0, 0..<given.count - 1).logSoftmax(-1).gathered(1, targets)
            logprobs = known.array(of: Double.self)
        }
        var generated: [Int32] = []
        while generated.count < generate {
            let last = scores.narrowed(0, scores.size(0) - 1..<scores.size(0))  // [1, V]
            let next = greedy ? last.argmax(-1) : last.softmax(-1).multinomial(generator: generator).squeezed(0)
            let id = Int32(clamping: next.array(of: Int64.self).first ?? 0)
            generated.append(id)
            if id == language.endTokenID.map(Int32.init) || generated.count == generate { break }
            scores = language.logits(noCache ? given + generated : [id])
        }
        return (logprobs, generated)
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

/// The tokenizer of a folder, where there is one.
private struct LmTokenizer {
    private let folder: ModelFolder
    private let wordPiece: BertTokenizer?
    private let sentencePiece: SentencePieceTokenizer?

    init(_ folder: ModelFolder) throws {
        self.folder = folder
        wordPiece = try folder.file("vocab.txt").map { _ in try BertTokenizer(folder: folder.url) }
        sentencePiece =
            wordPiece != nil ? nil : try folder.file("spiece.model").map { try SentencePieceTokenizer(modelAt: $0) }
    }

    func check(rows: Int) throws {
        if let count = wordPiece?.vocabularySize ?? sentencePiece?.vocabularySize {
            try folder.check(vocabulary: count, rows: rows)
        }
    }

    /// What a decoder continues: [CLS] and the text.
    func prompt(_ text: String) throws -> [Int32] {
        if let wordPiece { return [wordPiece.classificationID] + wordPiece.encode(text, addingSpecialTokens: false) }
        if let sentencePiece { return sentencePiece.encode(text, addingSpecialTokens: false) }
        throw LmFailure.noTokenizer(folder.url.path)
    }

    /// What an encoder reads: with the special tokens of the tokenizer.
    func source(_ text: String) throws -> [Int32] {
        if let wordPiece { return wordPiece.encode(text) }
        if let sentencePiece { return sentencePiece.encode(text) }
        throw LmFailure.noTokenizer(folder.url.path)
    }

    func text(_ ids: [Int32]) -> String? { wordPiece?.decode(ids) ?? sentencePiece?.decode(ids) }
}

/// One sequence through either architecture.
private protocol LanguageModel: AnyObject {
    var vocabularySize: Int { get }
    var positionCount: Int { get }
    var endTokenID: Int? { get }
    func startCache(capacity: Int)
    /// The scores after each of the ids, `[1, T, V]`; with a cache, the ids are those after the ones before.
    func scores(_ ids: Tensor) -> Tensor
    var device: Device { get }
}

extension LanguageModel {
    /// `[T, V]`
    func logits(_ ids: [Int32]) -> Tensor { scores(Tensor.ids(ids, [1, ids.count]).to(nil, device)).squeezed(0) }
}

private final class DecoderOnly: LanguageModel {
    private let model: GPT2
    private var cache: KeyValueCache?
    let device: Device

    init(model: GPT2, device: Device) {
        self.model = model
        self.device = device
    }

    var vocabularySize: Int { model.configuration.vocabularySize }
    var positionCount: Int { model.configuration.positionCount }
    var endTokenID: Int? { model.configuration.eosTokenID }
    func startCache(capacity: Int) { cache = model.makeCache(capacity: capacity) }
    func scores(_ ids: Tensor) -> Tensor { model.logits(model.hidden(ids, cache: cache)) }
}

private final class EncoderDecoder: LanguageModel {
    private let model: T5
    private let memory: Tensor
    private var cache: T5Cache?
    let device: Device

    init(model: T5, source: [Int32], device: Device) {
        self.model = model
        self.device = device
        memory = model.encode(Tensor.ids(source, [1, source.count]).to(nil, device))
    }

    var vocabularySize: Int { model.configuration.vocabularySize }
    /// Relative positions have no end; the limit keeps the table of distances small.
    var positionCount: Int { 4096 }
    var endTokenID: Int? { model.configuration.eosTokenID }
    func startCache(capacity: Int) { cache = model.makeCache(capacity: capacity) }
    func scores(_ ids: Tensor) -> Tensor { model.logits(model.decode(ids, memory: memory, cache: cache)) }
}

/// What `tihua lm` prints.
private struct Output: Encodable {
    let ids: [Int32]
    let logprobs: [Double]
    let generated: [Int32]
    /// The generated text, where the folder has a tokenizer.
    let text: String?

    var summary: String {
        func row(_ name: String, _ values: [String]) -> String { "\(name)  \(values.joined(separator: " "))" }
        var lines = [
            row("ids      ", ids.map(String.init)),
            row("logprobs ", logprobs.map { String(format: "%.4f", $0) }),
        ]
        if !generated.isEmpty { lines.append(row("generated", generated.map(String.init))) }
        if let text, !generated.isEmpty { lines.append(row("text     ", [text])) }
        return lines.joined(separator: "\n")
    }
}
