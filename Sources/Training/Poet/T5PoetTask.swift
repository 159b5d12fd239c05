public import Foundation
public import TihuaCorpora
import TihuaModels
public import TihuaNN
import TihuaProsody
public import TihuaTorch
import TihuaVerse

// An encoder-decoder that writes a poem line by line (Image2Poem, data_process/dataset.py, `T5DataLoader`): each poem
// gives as many pairs as it has lines. The encoder reads what is asked for and the lines before, the decoder writes the
// next line.
//
//     Image2Poem  [CLS]关键词：k1k2k3k4[EOS][EOS][SEP]               ->  [CLS]line1[EOS][SEP]
//                 [CLS]关键词：k1k2k3k4[EOS]line1[EOS]line2[EOS][SEP] ->  [CLS]line3[EOS][SEP]
//     Tihua       [CLS][七绝][韵:七阳]k1[KW]k2[SEP]                   ->  line1[EOS]
//                 [CLS][七绝][韵:七阳]k1[KW]k2[SEP]line1[LINE]        ->  line2[EOS]

/// The shape of a T5 beyond `PoetOptions`. The part `t5` of a `RecipeFile`.
public struct T5Options: RecipeOptions, Codable, Sendable, Equatable {
    /// The width inside the feed-forward blocks (`d_ff`).
    public var innerSize = 1024
    /// The width of a head (`d_kv`); heads times this need not be the hidden size.
    public var headSize = 64
    /// Version 1.1: gated GELU and a head of its own.
    public var isGated = false

    /// The default options.
    public init() {}

    /// Checks the ranges.
    ///
    /// - Throws: `TrainingError.option` naming the first value that makes no sense.
    public func validate() throws(TrainingError) {
        try OptionRange.check(ranges)
    }

    var ranges: [OptionRange] {
        [.init("innerSize", innerSize, 1...1 << 18), .init("headSize", headSize, 1...1 << 12)]
    }
}

/// The task of training a T5 poet, in Tihua's format or in Image2Poem's.
public final class T5PoetTask: TrainingTask {
    /// What the encoder reads and the decoder writes.
    public enum Format: Sendable, Equatable {
        /// `PoemPrompt`, conditions dropped at random as for the GPT2 poet; every form.
        case tihua
        /// Keywords without boundaries; quatrains. Of the options only `asPublished` counts: padding is then attended
        /// and learned, since the reference does not pass its masks on.
        case image2poem(Image2PoemOptions)
    }

    /// The parameters of the model.
    public let store: ParameterStore
    /// Tokens of lines, which the decoder writes.
    public let unit = "tokens"
    /// The format, all options and a hash of the data.
    public let identity: String
    /// The random numbers of dropout.
    public var generators: [(name: String, generator: Generator)] { [("dropout", dropoutGenerator)] }

    private let model: T5
    private let configuration: T5Configuration
    private let writer: PoetFormat
    private let training: [PoemExample]
    private let validation: [PoemExample]
    /// The poem and the line of each training pair.
    private let pairs: [(poem: Int, line: Int)]
    private let options: PoetOptions
    private let learnsPadding: Bool
    private let seed: UInt64
    private let device: Device
    private let dropoutGenerator: Generator
    private var batches: EpochBatches

    /// - Parameters:
    ///   - options: of these, the sizes, `batchTokens` (encoder and decoder together), `dropout` and the chances count
    /// - Throws: `TrainingError` for options or a corpus that cannot be trained on.
    public init(
        dataset: PoemDataset, options: PoetOptions, shape: T5Options, format: Format, training run: TrainingOptions,
        device: Device = .cpu
    ) throws {
        try options.validate()
        try shape.validate()
        try dataset.requireTraining()
        switch format {
        case .tihua:
            (training, validation) = (dataset.training, dataset.validation)
            writer = try PoetFormat(tokens: dataset.vocabulary.tokens)
            learnsPadding = false
            identity = "t5 \(describe(options)) \(describe(shape)) data \(dataset.fingerprint)"
        case .image2poem(let objective):
            (training, validation) = try dataset.quatrains()
            writer = PoetFormat(image2poem: training + validation)
            learnsPadding = objective.asPublished
            let parts = [describe(options), describe(shape), describe(objective)].joined(separator: " ")
            identity = "image2poem-t5 \(parts) data \(dataset.fingerprint)"
        }
        self.options = options
        self.device = device
        seed = run.seed
        store = ParameterStore(seed: run.seed, device: device)
        var configuration = T5Configuration(
            vocabularySize: writer.tokens.count, hiddenSize: options.hiddenSize, layerCount: options.layerCount,
            headCount: options.headCount, headSize: shape.headSize, innerSize: shape.innerSize, gated: shape.isGated)
        configuration.padTokenID = Int(writer.padding)
        configuration.startTokenID = Int(writer.start)
        configuration.eosTokenID = Int(writer.end)
        self.configuration = configuration
        try checkSize(parameterCount: configuration.parameterCount, device: device)
        model = T5(configuration, computeType: run.precision.type(on: device), at: store.root)
        dropoutGenerator = Generator(seed: run.seed ^ 0xD20F, device: device)
        pairs = Self.pairs(training)
        // Prompts vary around 16 tokens.
        let longest = training.map {
            $0.form.characterCount + $0.form.lineCount + ($0.lines.map(\.count).max() ?? 0) + 20
        }
        batches = EpochBatches(
            shuffling: pairs.count, size: options.batchTokens / (longest.max() ?? 1), seed: run.seed, stream: 0x5F1E)
    }

    private static func pairs(_ examples: [PoemExample]) -> [(poem: Int, line: Int)] {
        examples.indices.flatMap { poem in examples[poem].lines.indices.map { (poem, $0) } }
    }

    /// Batches of one epoch, at least 1; in every epoch as many.
    public func batchCount(epoch: Int) -> Int { batches[epoch].count }

    /// The mean loss, in nats per token of the lines that the decoder writes.
    public func loss(epoch: Int, batch: Int) throws -> BatchLoss {
        let chances = PromptChances(options)
        let pairs = try batches[epoch][batch].map { index in
            let (poem, line) = self.pairs[index]
            var random = SplitMix64(seed, UInt64(epoch), UInt64(index))
            return try writer.pair(training[poem], line: line, chances, &random)
        }
        let dropout = options.dropout > 0 ? Dropout(options.dropout, generator: dropoutGenerator) : nil
        let (loss, learned, read) = loss(of: pairs, dropout: dropout, learningPadding: learnsPadding)
        return BatchLoss(
            loss: loss, units: learned.count,
            operations: 6
                * configuration.multiplications(read: read, written: learned.paddedCount, scored: learned.count))
    }

    /// `loss`: nats per token of held-out lines, given all conditions and the true lines before.
    public func validate() throws -> [(name: String, value: Double)] {
        let held = Self.pairs(validation)
        guard !held.isEmpty else { return [] }
        let mean = try meanLoss(of: held.count, size: 128) { range in
            let pairs = try range.map { index in
                var random = SplitMix64(7, UInt64(index))
                return try writer.pair(validation[held[index].poem], line: held[index].line, .all, &random)
            }
            let (loss, learned, _) = loss(of: pairs, dropout: nil, learningPadding: false)
            return (loss, learned.count)
        }
        return [("loss", mean)]
    }

    /// Writes `vocab.txt`, `config.json` and the weights in bfloat16, as `ModelFolder` reads them.
    ///
    /// - Throws: `FileError`.
    public func save(to folder: URL, tensor: @escaping (String) -> Tensor?) throws {
        try saveModel(configuration, store, tokens: writer.tokens, to: folder, tensor: tensor)
    }

    /// The mean loss over the tokens of the lines, what was learned, and the padded size of what the encoder reads.
    private func loss(
        of pairs: [(input: [Int32], output: [Int32])], dropout: Dropout?, learningPadding: Bool
    ) -> (Tensor, LearnedTokens, read: Int) {
        let asked = LearnedTokens(pairs.map(\.input), padding: writer.padding, device: device)
        let inputs = asked.inputs()  // [B, S]
        let mask = learnsPadding ? nil : inputs.differs(from: Double(writer.padding))
        // The decoder reads its own line one place later, behind the start token.
        let lines = pairs.map { [writer.start] + $0.output.dropLast() }
        var tokens = LearnedTokens(lines, padding: writer.padding, device: device)
        for (row, pair) in pairs.enumerated() {
            for column in 0..<(learningPadding ? tokens.width : pair.output.count) {
                tokens.ask(row, column, for: column < pair.output.count ? pair.output[column] : writer.padding)
            }
        }
        let context = model.context(model.embed(inputs), mask: mask, dropout: dropout)
        let hidden = model.hidden(tokens.inputs(), context: context, dropout: dropout)  // [B, T, C]
        return (tokens.crossEntropy(hidden, model.logits), tokens, asked.paddedCount)
    }
}
