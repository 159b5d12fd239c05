public import Foundation
import TihuaCorpora
import TihuaFiles
public import TihuaModels
public import TihuaNN
import TihuaProsody
public import TihuaTorch
import TihuaVerse
import TihuaWeightFiles

// How a mapping network before a poet is trained, so that a picture becomes a poem without keywords: as CapDec (Nukrai
// et al. 2022, arXiv 2211.00575), from texts alone, whose embeddings are moved by noise as far as a picture's lies from
// them. The poet stays as it is. B poems of a batch, T their tokens, E width of an embedding, C width of the poet, K
// embeddings in the prompt.

/// What a mapping network learns from. The part `prefix` of a `RecipeFile`.
public struct PrefixOptions: RecipeOptions, Codable, Sendable, Equatable {
    /// Embeddings that are made from a picture (K).
    public var prefixLength = 8
    /// The most poems to learn from; those with a gloss come first, the others are drawn at random.
    public var poems = 80_000
    /// The most characters of a poem; longer ones are left out.
    public var longestPoem = 64
    /// Padded tokens of one batch; poems of about equal length stand together.
    public var batchTokens = 4096
    /// The chance that the rhyme stands in a prompt, 0 to 1.
    public var rhymeChance = 0.8
    /// One poem in this many is held out; the number of the poet's recipe, so that the poet has not learned them
    /// either.
    public var holdOut = 200
    /// The variance of the noise, as `CaptionOptions.noiseVariance`.
    public var noiseVariance = 0.016
    /// Adds to the embeddings of texts the mean difference between those of pictures and those of texts.
    public var addsModalityOffset = true

    /// The default options.
    public init() {}

    /// Checks the ranges.
    ///
    /// - Throws: `TrainingError.option` naming the first value that makes no sense.
    public func validate() throws(TrainingError) {
        try OptionRange.check(ranges)
    }

    var ranges: [OptionRange] {
        [
            .init("prefixLength", prefixLength, 1...4096), .init("poems", poems, 1...OptionRange.countLimit),
            .init("longestPoem", longestPoem, 1...1 << 16), .init("batchTokens", batchTokens, 1...1 << 30),
            .chance("rhymeChance", rhymeChance), .init("holdOut", holdOut, 0...OptionRange.countLimit),
            .weight("noiseVariance", noiseVariance),
        ]
    }
}

/// The task of training a mapping network before a poet.
public final class PrefixTask: TrainingTask {
    /// The parameters of the mapping network; the poet's are elsewhere, and stay as they are.
    public let store: ParameterStore
    /// Tokens of lines; prompts do not count.
    public let unit = "tokens"
    /// The options and a hash of the data.
    public let identity: String
    /// The mapping network.
    public let mapper: PrefixMapper

    private let poet: GPT2
    private let dataset: PrefixDataset
    private let options: PrefixOptions
    private let seed: UInt64
    private let device: Device
    private let offset: Tensor?
    private var batches: EpochBatches

    /// - Parameters:
    ///   - dataset: with the vocabulary of the poet
    ///   - poet: a folder of a GPT2 poet of Tihua
    ///   - imageMean: the mean of many pictures' embeddings of length 1, for the modality offset
    ///   - clipModel: the fingerprint of the model that embedded the texts
    ///   - poetModel: the fingerprint of the poet
    /// - Throws: `TrainingError` for options that make no sense, `ModelError` and `WeightFileError` for the poet.
    public init(
        dataset: PrefixDataset, options: PrefixOptions, training: TrainingOptions, device: Device = .cpu,
        poet folder: ModelFolder, imageMean: [Float]? = nil, clipModel: String? = nil, poetModel: String? = nil
    ) throws {
        try options.validate()
        guard folder.architecture == GPT2.architecture else {
            throw TrainingError.data(
                path: folder.url.path(percentEncoded: false),
                reason: "is a \(folder.architecture.rawValue); a prefix stands in the prompt of a gpt2")
        }
        let shape = try folder.configuration(as: GPT2Configuration.self)
        try folder.check(vocabulary: dataset.vocabulary.count, rows: shape.vocabularySize)
        // A prompt takes four tokens beside the prefix.
        let longest = dataset.training.lazy.map { $0.poem.form.characterCount + $0.poem.form.lineCount }.max() ?? 0
        guard options.prefixLength + longest + 4 <= shape.positionCount else {
            throw TrainingError.option(
                "prefixLength", "\(options.prefixLength)",
                "at most \(shape.positionCount - longest - 4), the room that longestPoem leaves in the poet")
        }
        self.dataset = dataset
        self.options = options
        self.device = device
        seed = training.seed
        identity = "prefix \(describe(options)) data \(dataset.fingerprint) poet \(poetModel ?? "")"
        let computeType: DType = training.precision.type(on: device)
        poet = try GPT2.open(folder, dtype: computeType, device: device).model
        store = ParameterStore(seed: training.seed, device: device)
        var configuration = PrefixMapperConfiguration(
            embeddingSize: dataset.width, prefixLength: options.prefixLength, hiddenSize: shape.hiddenSize)
        try checkSize(parameterCount: configuration.parameterCount, device: device)
        configuration.clipModel = clipModel
        configuration.poetModel = poetModel
        mapper = PrefixMapper(configuration, computeType: computeType, at: store.root)
        if options.addsModalityOffset {
            guard let imageMean, imageMean.count == dataset.width else {
                throw TrainingError.option(
                    "addsModalityOffset", "true", "false where no mean of pictures' embeddings is known")
            }
            offset = Tensor(zip(imageMean, dataset.mean).map { $0 - $1 }, [1, dataset.width]).to(nil, device)
        } else {
            offset = nil
        }
        batches = EpochBatches(
            of: dataset.training.map(\.poem.form), prompt: options.prefixLength + 4, budget: options.batchTokens,
            seed: training.seed)
        standardize()
    }

    private init(sharing original: PrefixTask) {
        dataset = original.dataset
        options = original.options
        seed = original.seed
        device = original.device
        identity = original.identity
        offset = original.offset
        batches = original.batches
        poet = original.poet
        store = ParameterStore(sharing: original.store)
        mapper = PrefixMapper(
            original.mapper.configuration, computeType: original.mapper.computeType, at: store.root)
    }

    /// A second mapping network with the same parameters.
    public func replica() -> PrefixTask? { PrefixTask(sharing: self) }

    /// Batches of one epoch; epochs may differ.
    public func batchCount(epoch: Int) -> Int { batches[epoch].count }

    /// The mean loss, in nats per token of the poems; which of its texts a poem is written from is drawn anew each
    /// epoch.
    public func loss(epoch: Int, batch: Int) throws -> BatchLoss {
        let items = batches[epoch][batch].map { index in
            var random = SplitMix64(seed, UInt64(epoch), UInt64(index))
            return item(dataset.training[index], &random)
        }
        let noise = Generator(seed: SplitMix64(seed, UInt64(epoch), UInt64(batch), 0x9015E).peek)
        let (loss, tokens) = loss(of: items, noise: noise)
        // The poet's weights are not trained, and need no product for their own gradient.
        let read = 4 * poet.configuration.multiplications(tokens: tokens.paddedCount, scored: tokens.count)
        return BatchLoss(
            loss: loss, units: tokens.count, operations: read + 6 * Double(store.parameterCount) * Double(items.count))
    }

    /// `loss`: nats per token of held-out poems, written from a text about them with noise; `loss_other`: from a text
    /// about another poem, so that the difference is what the text tells.
    public func validate() throws -> [(name: String, value: Double)] {
        guard !dataset.validation.isEmpty else { return [] }
        let items = dataset.validation.enumerated().map { index, example in
            var random = SplitMix64(7, UInt64(index))
            return item(example, &random)
        }
        func mean(_ items: [Item]) -> Double {
            meanLoss(of: items.count) { range in
                let (loss, tokens) = loss(of: Array(items[range]), noise: Generator(seed: UInt64(range.lowerBound)))
                return (loss, tokens.count)
            }
        }
        let others = items.indices.map { index in
            var item = items[index]
            item.row = items[(index + 1) % items.count].row
            return item
        }
        return [("loss", mean(items)), ("loss_other", mean(others))]
    }

    /// Writes `config.json` and the weights in bfloat16, as `PrefixMapper.open` reads them.
    ///
    /// - Throws: `FileError`.
    public func save(to folder: URL, tensor: @escaping (String) -> Tensor?) throws {
        try saveModel(mapper.configuration, store, to: folder, tensor: tensor)
    }

    /// Scales and shifts the mapper's first layer by the mean and deviation of its input.
    private func standardize() {
        guard let weight = store["clip_project.model.0.weight"], let bias = store["clip_project.model.0.bias"] else {
            return
        }
        var random = SplitMix64(seed, 0x5CA1E)
        let rows = dataset.training.shuffled(using: &random).prefix(4096).map { item($0, &random).row }
        withoutGradients {
            let x = inputs(rows, noise: Generator(seed: seed ^ 0x5CA1E))
            standardizeInput(x, weight: weight, bias: bias)
        }
    }

    // MARK: - Batches

    /// A poem and what it is written from.
    private struct Item {
        let head: [Int32]
        /// The end of the prompt, and the poem.
        let tail: [Int32]
        var row: Int
    }

    private func item(_ example: PrefixDataset.Example, _ random: inout SplitMix64) -> Item {
        var prompt = PoemPrompt(form: example.poem.form)
        if Double.random(in: 0..<1, using: &random) < options.rhymeChance { prompt.rhyme = example.poem.rhyme }
        // Every form of the dataset has a token: the vocabulary was made with all of them.
        let parts = (try? dataset.vocabulary.parts(of: prompt)) ?? (head: [], tail: [])
        return Item(
            head: parts.head, tail: parts.tail + dataset.vocabulary.encode(lines: example.poem.lines),
            row: example.rows[Int.random(in: 0..<example.rows.count, using: &random)])
    }

    /// The input of the mapper, `[B, E]`.
    private func inputs(_ rows: [Int], noise: Generator) -> Tensor {
        CaptionNoise.applied(
            to: dataset.embeddings(rows).to(nil, device), variance: options.noiseVariance, offset: offset,
            generator: noise)
    }

    /// The mean loss over the characters of the poems, and what was learned.
    private func loss(of items: [Item], noise: Generator) -> (Tensor, LearnedTokens) {
        let (count, prefixLength) = (items.count, options.prefixLength)
        let room = [Int32](repeating: dataset.vocabulary.padding, count: prefixLength)
        // The prompt ends with one token; from there on every token is predicted.
        let tokens = LearnedTokens(
            following: items.map { ($0.head + room + $0.tail, $0.head.count + prefixLength + 1) },
            padding: dataset.vocabulary.padding, device: device)
        // Where each position's embedding lies in the prefixes of all poems with the tokens of all poems behind them.
        var sources = (0..<tokens.paddedCount).map { Int32(count * prefixLength + $0) }
        for (row, item) in items.enumerated() {
            for column in 0..<prefixLength {
                sources[row * tokens.width + item.head.count + column] = Int32(row * prefixLength + column)
            }
        }
        let mapped = mapper(inputs(items.map(\.row), noise: noise))  // [B, K, C]
        let read = poet.embed(tokens.inputs().reshaped(tokens.paddedCount))  // [B T, C]
        let both = Tensor.concatenated([mapped.reshaped(count * prefixLength, -1).to(read.dtype), read], 0)
        let embeddings = both.gatheringSlices(0, at: Tensor.ids(sources, [sources.count]).to(nil, device))
        let hidden = poet.hidden(embeddings: embeddings.reshaped(count, tokens.width, -1))  // [B, T, C]
        return (tokens.crossEntropy(hidden, poet.logits), tokens)
    }
}
