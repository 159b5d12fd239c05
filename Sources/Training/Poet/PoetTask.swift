public import Foundation
public import TihuaCorpora
import TihuaFiles
public import TihuaModels
public import TihuaNN
import TihuaProsody
public import TihuaTorch
import TihuaVerse
import TihuaWeightFiles

// How a poet is trained: poems as prompts and lines (see `PoemPrompt`), every condition dropped at random, so that each
// subset of conditions works in use.

/// The size of a new poet and how its prompts are drawn. The part `poet` of a `RecipeFile`.
public struct PoetOptions: RecipeOptions, Codable, Sendable, Equatable {
    /// The width of the model, a multiple of `headCount`.
    public var hiddenSize = 256
    /// Layers, 1 to 1024.
    public var layerCount = 6
    /// Heads of attention in a layer, 1 to 1024.
    public var headCount = 4
    /// The nonlinearity of the feed-forward blocks.
    public var activation = Activation.reluSquared
    /// The longest sequence, prompt included; longer poems are left out.
    public var positionCount = 192
    /// Padded tokens of one batch; poems of about equal length stand together.
    public var batchTokens = 8192
    /// The chance that an activation is dropped in training, 0 to below 1.
    public var dropout = 0.0
    /// The chance that keywords stand in a prompt, 0 to 1.
    public var keywordChance = 0.85
    /// The chance that the rhyme stands in a prompt, 0 to 1.
    public var rhymeChance = 0.8
    /// The chance that the theme stands in a prompt, 0 to 1.
    public var themeChance = 0.3
    /// Characters that occur less often become `[UNK]`, and poems with them are left out.
    public var minimumCharacterCount = 20
    /// One poem in this many is held out; 0 holds out none.
    public var holdOut = 200

    /// The default options.
    public init() {}

    /// Checks the ranges.
    ///
    /// - Throws: `TrainingError.option` naming the first value that makes no sense.
    public func validate() throws(TrainingError) {
        try OptionRange.check(ranges)
        guard hiddenSize % headCount == 0 else {
            throw .option("headCount", "\(headCount)", "a divisor of hiddenSize, \(hiddenSize)")
        }
    }

    var ranges: [OptionRange] {
        [
            .init("hiddenSize", hiddenSize, 1...1 << 16), .init("layerCount", layerCount, 1...1024),
            .init("headCount", headCount, 1...1024), .init("positionCount", positionCount, 8...1 << 20),
            .init("batchTokens", batchTokens, 1...1 << 30), .share("dropout", dropout),
            .chance("keywordChance", keywordChance), .chance("rhymeChance", rhymeChance),
            .chance("themeChance", themeChance),
            // It is added up once for each description.
            .init("minimumCharacterCount", minimumCharacterCount, 0...1 << 30),
            .init("holdOut", holdOut, 0...OptionRange.countLimit),
        ]
    }
}

extension PoetOptions {
    /// Which poems of a corpus become examples.
    public var dataset: PoemDataset.Options {
        .init(positionCount: positionCount, minimumCharacterCount: minimumCharacterCount, holdOut: holdOut)
    }
}

extension PromptChances {
    init(_ options: PoetOptions) {
        self.init(keyword: options.keywordChance, rhyme: options.rhymeChance, theme: options.themeChance)
    }
}

extension PoemDataset {
    /// Checks that there is something to train on.
    ///
    /// - Throws: `TrainingError.data` that says why poems were left out.
    func requireTraining() throws(TrainingError) {
        guard training.isEmpty else { return }
        throw .nothingLeft("the corpus", "no poems", dropped: dropped, heldOut: validation.count)
    }
}

/// The task of training a GPT2 poet.
public final class PoetTask: TrainingTask {
    /// The parameters of the model.
    public let store: ParameterStore
    /// Tokens of lines; prompts are read but not learned.
    public let unit = "tokens"
    /// The options of the poet and a hash of the data.
    public let identity: String
    /// The random numbers of dropout.
    public var generators: [(name: String, generator: Generator)] { [("dropout", dropoutGenerator)] }

    private let model: GPT2
    private let configuration: GPT2Configuration
    private let dataset: PoemDataset
    private let options: PoetOptions
    private let seed: UInt64
    private let device: Device
    private let dropoutGenerator: Generator
    private var batches: EpochBatches

    /// - Parameters:
    ///   - folder: a poet to start from; nil starts a new one
    /// - Throws: `TrainingError` for options or a corpus that cannot be trained on; `ModelError`, `WeightFileError` for
    ///   the folder.
    public init(
        dataset: PoemDataset, options: PoetOptions, training: TrainingOptions, device: Device = .cpu,
        continuing folder: ModelFolder? = nil
    ) throws {
        try options.validate()
        try dataset.requireTraining()
        self.dataset = dataset
        self.options = options
        self.device = device
        identity = "poet \(describe(options)) data \(dataset.fingerprint)"
        seed = training.seed
        store = ParameterStore(seed: training.seed, device: device)
        if let folder {
            configuration = try folder.configuration(as: GPT2Configuration.self)
            try folder.check(vocabulary: dataset.vocabulary.count, rows: configuration.vocabularySize)
        } else {
            var fresh = GPT2Configuration(
                vocabularySize: dataset.vocabulary.count, hiddenSize: options.hiddenSize,
                layerCount: options.layerCount,
                headCount: options.headCount, positionCount: options.positionCount)
            fresh.activation = options.activation
            fresh.bosTokenID = Int(dataset.vocabulary.start)
            fresh.eosTokenID = Int(dataset.vocabulary.end)
            configuration = fresh
        }
        try checkSize(parameterCount: configuration.parameterCount, device: device)
        model = GPT2(configuration, computeType: training.precision.type(on: device), at: store.root)
        if let folder { try GPT2.load(folder.checkpoint(), into: store, as: configuration) }
        dropoutGenerator = Generator(seed: training.seed ^ 0xD20F, device: device)
        // Prompts vary around 16 tokens.
        batches = EpochBatches(
            of: dataset.training.map(\.form), prompt: 16, budget: options.batchTokens, seed: training.seed)
    }

    private init(sharing original: PoetTask) {
        dataset = original.dataset
        options = original.options
        device = original.device
        identity = original.identity
        seed = original.seed
        configuration = original.configuration
        store = ParameterStore(sharing: original.store)
        model = GPT2(configuration, computeType: original.model.computeType, at: store.root)
        dropoutGenerator = original.dropoutGenerator
        batches = original.batches
    }

    /// A second model with the same parameters; nil with dropout, whose stream of random numbers is one.
    public func replica() -> PoetTask? { options.dropout > 0 ? nil : PoetTask(sharing: self) }

    /// Batches of one epoch; epochs may differ.
    public func batchCount(epoch: Int) -> Int { batches[epoch].count }

    /// The mean loss, in nats per token of the poems; which conditions stand in the prompts is drawn anew each epoch.
    public func loss(epoch: Int, batch: Int) throws -> BatchLoss {
        let chances = PromptChances(options)
        let examples = batches[epoch][batch].map { index in
            var random = SplitMix64(seed, UInt64(epoch), UInt64(index))
            return encode(dataset.training[index], chances, &random)
        }
        let dropout = options.dropout > 0 ? Dropout(options.dropout, generator: dropoutGenerator) : nil
        let (loss, tokens) = loss(of: examples, dropout: dropout)
        return BatchLoss(
            loss: loss, units: tokens.count,
            operations: 6 * configuration.multiplications(tokens: tokens.paddedCount, scored: tokens.count))
    }

    /// `loss`: nats per character of held-out poems with all conditions; `loss_plain`: with the form alone.
    public func validate() throws -> [(name: String, value: Double)] {
        guard !dataset.validation.isEmpty else { return [] }
        func mean(_ chances: PromptChances) -> Double {
            meanLoss(of: dataset.validation.count) { range in
                let (loss, tokens) = loss(
                    of: range.map { index in
                        var random = SplitMix64(7, UInt64(index))
                        return encode(dataset.validation[index], chances, &random)
                    }, dropout: nil)
                return (loss, tokens.count)
            }
        }
        return [("loss", mean(.all)), ("loss_plain", mean(.none))]
    }

    /// Writes `vocab.txt`, `config.json` and the weights in bfloat16, as `ModelFolder` reads them.
    ///
    /// - Throws: `FileError`.
    public func save(to folder: URL, tensor: @escaping (String) -> Tensor?) throws {
        try saveModel(configuration, store, tokens: dataset.vocabulary.tokens, to: folder, tensor: tensor)
    }

    // MARK: - Batches

    /// The prompt and the poem as ids, and how many of them are the prompt's, which are read but not learned.
    private func encode(
        _ example: PoemExample, _ chances: PromptChances, _ random: inout SplitMix64
    ) -> (ids: [Int32], read: Int) {
        let prompt = chances.prompt(for: example, using: &random)
        // Every form of the dataset has a token: the vocabulary was made with all of them.
        let start = (try? dataset.vocabulary.encode(prompt)) ?? []
        let lines = dataset.vocabulary.encode(lines: example.lines)
        return (Array((start + lines).prefix(configuration.positionCount)), start.count)
    }

    /// The mean loss over the characters of the poems, and what was learned.
    private func loss(of examples: [(ids: [Int32], read: Int)], dropout: Dropout?) -> (Tensor, LearnedTokens) {
        let tokens = LearnedTokens(following: examples, padding: dataset.vocabulary.padding, device: device)
        let hidden = model.hidden(tokens.inputs(), dropout: dropout)  // [B, T, C]
        return (model.loss(tokens.asked(hidden), tokens.wanted()), tokens)
    }
}
