public import Foundation
public import TihuaCorpora
import TihuaModels
public import TihuaNN
public import TihuaTorch
import TihuaVerse

// Image2Poem's own objective for GPT2 (github.com/weiji-Feng/Image2Poem at 0b34182: data_process/dataset.py,
// pretrain/trainer.py), on quatrains:
//
//     [CLS]关键词：k1k2k3k4[EOS]line1|line2|line3|line4[SEP]
//
// Each character of both parts is replaced by [MASK] with a chance, drawn anew each epoch; the model predicts the text
// without masks. A second loss, the "key loss", looks at the masked characters of keywords in the poem and at every
// `|`.

/// What Image2Poem's objective adds to `PoetOptions`. The part `image2poem` of a `RecipeFile`.
public struct Image2PoemOptions: RecipeOptions, Codable, Sendable, Equatable {
    /// The chance that a character is read as `[MASK]`.
    public var maskChance = 0.15
    /// The weight of the key loss; the rest is the language model's.
    public var keywordWeight = 0.1
    /// As the published code computes it: padding is learned too, and the key loss asks position t for token t, which
    /// the language model is asked for at t - 1. T5 also attends to padding. Off, padding does not count and both
    /// losses ask position t for token t + 1.
    public var asPublished = false

    /// The default options.
    public init() {}

    /// Checks the ranges.
    ///
    /// - Throws: `TrainingError.option` naming the first value that makes no sense.
    public func validate() throws(TrainingError) {
        try OptionRange.check(ranges)
    }

    var ranges: [OptionRange] { [.chance("maskChance", maskChance), .chance("keywordWeight", keywordWeight)] }
}

extension PoemDataset {
    /// The quatrains among the examples, the only form that Image2Poem knows.
    ///
    /// - Throws: `TrainingError.data` if there are none to train on.
    func quatrains() throws(TrainingError) -> (training: [PoemExample], validation: [PoemExample]) {
        let quatrains = training.filter { $0.lines.count == 4 }
        guard !quatrains.isEmpty else {
            throw .data(path: "the corpus", reason: "it has no quatrains with a metre, which Image2Poem trains on")
        }
        return (quatrains, validation.filter { $0.lines.count == 4 })
    }
}

/// The task of training a GPT2 with Image2Poem's objective: 0.9 × language model + 0.1 × key loss.
///
/// Two things of the reference are left out: it adds the embeddings of tokens 0 and 1 as segments in training, but not
/// in use; and it drops the last incomplete batch.
public final class Image2PoemTask: TrainingTask {
    /// The parameters of the model.
    public let store: ParameterStore
    /// Tokens of texts that the language model predicts.
    public let unit = "tokens"
    /// All options and a hash of the data.
    public let identity: String
    /// The random numbers of dropout.
    public var generators: [(name: String, generator: Generator)] { [("dropout", dropoutGenerator)] }

    let format: PoetFormat
    private let model: GPT2
    private let configuration: GPT2Configuration
    private let training: [PoemExample]
    private let validation: [PoemExample]
    private let options: PoetOptions
    private let objective: Image2PoemOptions
    private let seed: UInt64
    private let device: Device
    private let dropoutGenerator: Generator
    private var batches: EpochBatches

    /// - Parameters:
    ///   - dataset: its quatrains are trained on; keywords are those of the corpus where it gives some
    ///   - options: of these, the sizes, `batchTokens` and `dropout` count; prompts always hold up to four keywords
    /// - Throws: `TrainingError` for options or a corpus that cannot be trained on.
    public init(
        dataset: PoemDataset, options: PoetOptions, objective: Image2PoemOptions, training run: TrainingOptions,
        device: Device = .cpu
    ) throws {
        try options.validate()
        try objective.validate()
        (training, validation) = try dataset.quatrains()
        format = PoetFormat(image2poem: training + validation)
        self.options = options
        self.objective = objective
        self.device = device
        identity = "image2poem-gpt2 \(describe(options)) \(describe(objective)) data \(dataset.fingerprint)"
        seed = run.seed
        store = ParameterStore(seed: run.seed, device: device)
        var configuration = GPT2Configuration(
            vocabularySize: format.tokens.count, hiddenSize: options.hiddenSize, layerCount: options.layerCount,
            headCount: options.headCount, positionCount: options.positionCount)
        configuration.bosTokenID = Int(format.start)
        configuration.eosTokenID = Int(format.end)
        self.configuration = configuration
        try checkSize(parameterCount: configuration.parameterCount, device: device)
        model = GPT2(configuration, computeType: run.precision.type(on: device), at: store.root)
        dropoutGenerator = Generator(seed: run.seed ^ 0xD20F, device: device)
        let lengths = (training + validation).map { [format] in
            Self.prompt($0, format).count + format.poem($0.lines).count
        }
        let longest = lengths.max() ?? 0
        guard longest <= options.positionCount else {
            throw TrainingError.option(
                "positionCount", "\(options.positionCount)", "at least \(longest), the longest text")
        }
        batches = EpochBatches(
            shuffling: training.count, size: options.batchTokens / longest, seed: run.seed, stream: 0x5F1E)
    }

    /// Batches of one epoch, at least 1; in every epoch as many.
    public func batchCount(epoch: Int) -> Int { batches[epoch].count }

    /// The weighted sum of the language model's loss and the key loss, both in nats per token; masks are drawn anew.
    public func loss(epoch: Int, batch: Int) throws -> BatchLoss {
        let rows = batches[epoch][batch].map { index in
            var random = SplitMix64(seed, UInt64(epoch), UInt64(index))
            return encode(training[index], masking: objective.maskChance, &random)
        }
        let dropout = options.dropout > 0 ? Dropout(options.dropout, generator: dropoutGenerator) : nil
        let (loss, tokens) = objectiveLoss(rows, dropout: dropout)
        return BatchLoss(
            loss: loss, units: tokens.count,
            operations: 6 * configuration.multiplications(tokens: tokens.paddedCount, scored: tokens.count))
    }

    /// `loss`: nats per token of held-out poems, given the keywords and without masks; `objective`: the loss of
    /// training.
    public func validate() throws -> [(name: String, value: Double)] {
        guard !validation.isEmpty else { return [] }
        func drawn(_ range: Range<Int>) -> [Row] {
            range.map { index in
                var random = SplitMix64(7, UInt64(index))
                return encode(validation[index], masking: objective.maskChance, &random)
            }
        }
        let plain = meanLoss(of: validation.count) { range in
            let rows = drawn(range)
            let tokens = asking(tokens(rows.map(\.targets)), rows) { row, target in
                target >= row.poem && target < row.targets.count ? row.targets[target] : nil
            }
            return (tokens.crossEntropy(model.hidden(tokens.inputs()), model.logits), tokens.count)
        }
        let both = meanLoss(of: validation.count) { (objectiveLoss(drawn($0), dropout: nil).0, $0.count) }
        return [("loss", plain), ("objective", both)]
    }

    /// Writes `vocab.txt`, `config.json` and the weights in bfloat16, as `ModelFolder` reads them.
    ///
    /// - Throws: `FileError`.
    public func save(to folder: URL, tensor: @escaping (String) -> Tensor?) throws {
        try saveModel(configuration, store, tokens: format.tokens, to: folder, tensor: tensor)
    }

    // MARK: - Batches

    /// One text: what is read, what is to be predicted, and the labels of the key loss (0 where there is none).
    struct Row: Equatable {
        var inputs: [Int32]
        var targets: [Int32]
        var labels: [Int32]
        /// Where the poem begins.
        var poem: Int
    }

    func encode(_ example: PoemExample, masking chance: Double, _ random: inout SplitMix64) -> Row {
        let prompt = Self.prompt(example, format)
        var row = Row(inputs: [], targets: prompt + format.poem(example.lines), labels: [], poem: prompt.count)
        let special = [format.start, format.lineEnd, format.end]
        for (place, id) in row.targets.enumerated() {
            let isMasked = !special.contains(id) && Double.random(in: 0..<1, using: &random) < chance
            row.inputs.append(isMasked ? format.mask : id)
            let isWatched = id == format.lineBoundary || isMasked && place >= row.poem && prompt.contains(id)
            row.labels.append(isWatched ? id : 0)
        }
        return row
    }

    /// `[CLS]` to `[EOS]`, with up to four keywords.
    private static func prompt(_ example: PoemExample, _ format: PoetFormat) -> [Int32] {
        // This format has no tokens for forms, so that none can be missing.
        (try? format.prompt(PoemPrompt(form: example.form, keywords: Array(example.keywords.prefix(4))))) ?? []
    }

    /// The weighted sum of both losses, and what the language model was asked for.
    private func objectiveLoss(_ rows: [Row], dropout: Dropout?) -> (Tensor, LearnedTokens) {
        let inputs = tokens(rows.map(\.inputs))
        let language = asking(inputs, rows) { row, target in
            target < row.targets.count ? row.targets[target] : objective.asPublished ? format.padding : nil
        }
        // As published, a place is asked for its own token.
        let key = asking(inputs, rows, shift: objective.asPublished ? 0 : 1) { row, target in
            target < row.labels.count && row.labels[target] != 0 ? row.labels[target] : nil
        }
        let hidden = model.hidden(inputs.inputs(), dropout: dropout)  // [B, T, C]
        var loss = language.crossEntropy(hidden, model.logits) * (1 - objective.keywordWeight)
        if key.count > 0, objective.keywordWeight > 0 {
            loss = loss + key.crossEntropy(hidden, model.logits) * objective.keywordWeight
        }
        return (loss, language)
    }

    private func tokens(_ rows: [[Int32]]) -> LearnedTokens {
        LearnedTokens(rows, padding: format.padding, device: device)
    }

    /// Asks each place for the token `shift` places to its right that `wanted` gives.
    private func asking(
        _ tokens: LearnedTokens, _ rows: [Row], shift: Int = 1, wanted: (Row, Int) -> Int32?
    ) -> LearnedTokens {
        var tokens = tokens
        for (index, row) in rows.enumerated() {
            for target in shift..<tokens.width {
                if let id = wanted(row, target) { tokens.ask(index, target - shift, for: id) }
            }
        }
        return tokens
    }
}
