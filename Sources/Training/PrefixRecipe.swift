public import Foundation
public import TihuaCorpora
import TihuaFiles
public import TihuaModels
public import TihuaNN
import TihuaProsody
public import TihuaTorch
public import TihuaVerse
import TihuaWeightFiles

// How a mapping network before a poet is trained, so that a picture becomes a poem without keywords: as CapDec (Nukrai et al.
// 2022, arXiv 2211.00575), from texts alone, whose embeddings are moved by noise as far as a picture's lies from them. The poet
// stays as it is. B poems of a batch, T their tokens, E width of an embedding, C width of the poet, K embeddings in the prompt.

/// What a mapping network learns from. Read from the same JSON file as `TrainingOptions`.
public struct PrefixOptions: RecipeOptions, Codable, Sendable, Equatable {
    /// K: embeddings made from a picture.
    public var prefixLength = 8
    /// The most poems to learn from; those with a gloss come first, the others are drawn at random.
    public var poems = 80_000
    /// Characters of a poem, at most; longer ones are left out.
    public var longestPoem = 64
    /// Padded tokens of one batch; poems of about equal length stand together.
    public var batchTokens = 4096
    /// The chance that the rhyme stands in a prompt, 0 to 1.
    public var rhymeChance = 0.8
    /// One poem in so many is held out; as the poet's, so that it has not read them either.
    public var holdOut = 200
    /// As `CaptionOptions.noiseVariance`.
    public var noiseVariance = 0.016
    /// Moves embeddings of texts by what pictures' embeddings differ from them on average.
    public var addsModalityOffset = true

    /// The default options.
    public init() {}

    /// Keys that are missing keep the defaults.
    ///
    /// - Throws: `DecodingError` for an unknown key or a value of another type.
    public init(from decoder: any Decoder) throws {
        self.init()
        let values = try OptionReader(decoder, keyedBy: CodingKeys.self)
        try values.read(.prefixLength, &prefixLength)
        try values.read(.poems, &poems)
        try values.read(.longestPoem, &longestPoem)
        try values.read(.batchTokens, &batchTokens)
        try values.read(.rhymeChance, &rhymeChance)
        try values.read(.holdOut, &holdOut)
        try values.read(.noiseVariance, &noiseVariance)
        try values.read(.addsModalityOffset, &addsModalityOffset)
    }

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

/// Poems with embeddings of texts that say what they show: a gloss in modern Chinese, descriptions of the bank's words that
/// stand in them, and a couplet of their own. Poems with neither gloss nor such a word are left out.
public struct PrefixDataset: Sendable {
    /// A poem and the rows of `vectors` that it may be written from.
    struct Example: Sendable {
        let poem: PoemExample
        let rows: [Int]
    }

    /// The tokens of the poet.
    public let vocabulary: PoetVocabulary
    let training: [Example]
    let validation: [Example]
    /// `[rows, E]`, of length 1.
    let vectors: [Float]
    /// E.
    public let width: Int
    /// How many poems were left out, by reason.
    public let dropped: [String: Int]

    /// Builds the examples and embeds their texts.
    ///
    /// - Parameters:
    ///   - poems: of the corpus; those whose form has no metre in `Prosody` are left out
    ///   - themes: a classical line to sentences that say the same in modern Chinese
    ///   - descriptions: a word of the bank to what a picture of it shows, in modern Chinese
    ///   - vocabulary: of the poet
    ///   - embedTexts: the embeddings of texts in the space of the pictures, of length 1
    /// - Throws: `TrainingError` for options that make no sense and if nothing is left to train on, with the reasons; what
    ///   `embedTexts` throws.
    public init(
        poems: [CorpusPoem], themes: [String: [String]], descriptions: [String: [String]], vocabulary: PoetVocabulary,
        options: PrefixOptions, embedTexts: ([String]) async throws -> [[Float]]
    ) async throws {
        try options.validate()
        let short = poems.filter { poem in
            poem.lines.reduce(0) { $0 + $1.unicodeScalars.count } <= options.longestPoem
        }
        let words = descriptions.keys.sorted()
        let dataset = PoemDataset(
            poems: short, words: words, themes: themes, descriptions: descriptions, vocabulary: vocabulary,
            options: .init(holdOut: options.holdOut))
        var dropped = dataset.dropped
        dropped["too long", default: 0] += poems.count - short.count
        func shown(_ examples: [PoemExample]) -> [PoemExample] {
            examples.filter { $0.theme != nil || !$0.descriptions.isEmpty }
        }
        var random = SplitMix64(0x9F1E)
        let all = shown(dataset.training).shuffled(using: &random)
        let chosen = (all.filter { $0.theme != nil } + all.filter { $0.theme == nil }).prefix(options.poems)
        let held = shown(dataset.validation)
        dropped["nothing to be seen"] =
            dataset.training.count + dataset.validation.count - all.count - held.count
        dropped["more than asked for"] = all.count - chosen.count
        dropped = dropped.filter { $0.value > 0 }
        guard !chosen.isEmpty else {
            let reasons =
                dropped.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" } + ["\(held.count) held out"]
            throw TrainingError.data(
                path: "the corpus", reason: "no poems are left to train on (\(reasons.joined(separator: ", ")))")
        }

        var rows: [String: Int] = [:]
        var texts: [String] = []
        func example(_ poem: PoemExample) -> Example {
            let found = Self.texts(of: poem, using: &random).map { text in
                if let row = rows[text] { return row }
                rows[text] = texts.count
                texts.append(text)
                return texts.count - 1
            }
            return Example(poem: poem, rows: found)
        }
        training = chosen.map(example)
        validation = held.map(example)
        // Texts of about equal length stand together, so that little is padding.
        let order = texts.indices.sorted { (texts[$0].utf8.count, $0) < (texts[$1].utf8.count, $1) }
        let embedded = try await embedTexts(order.map { texts[$0] })
        guard let width = embedded.first?.count, width > 0, embedded.count == texts.count,
            embedded.allSatisfy({ $0.count == width })
        else {
            throw TrainingError.data(path: "the embeddings of texts", reason: "are not one for each text, all as wide")
        }
        self.vocabulary = vocabulary
        self.width = width
        self.dropped = dropped
        var vectors = [Float](repeating: 0, count: texts.count * width)
        for (place, row) in zip(order, embedded) {
            vectors.replaceSubrange(place * width..<(place + 1) * width, with: row)
        }
        self.vectors = vectors
    }

    /// What is said of a poem, one text of each kind that there is.
    private static func texts(of poem: PoemExample, using random: inout SplitMix64) -> [String] {
        let couplet = 2 * Int.random(in: 0..<max(1, poem.lines.count / 2), using: &random)
        var texts = [poem.lines[couplet..<min(couplet + 2, poem.lines.count)].joined(separator: "，")]
        if let theme = poem.theme { texts.append(theme) }
        if !poem.descriptions.isEmpty {
            // As a caption, which speaks of one thing or of a few.
            let count = Int.random(in: 1...3, using: &random)
            texts.append(poem.descriptions.shuffled(using: &random).prefix(count).joined(separator: "，"))
        }
        return texts
    }

    /// Poems to train on, poems that are held out, and the embedded texts.
    public var counts: (training: Int, validation: Int, texts: Int) {
        (training.count, validation.count, vectors.count / width)
    }

    /// The mean of the embeddings.
    var mean: [Float] {
        var sum = [Float](repeating: 0, count: width)
        for (index, value) in vectors.enumerated() { sum[index % width] += value }
        return sum.map { $0 / Float(vectors.count / width) }
    }

    /// A number that differs where the examples differ.
    var fingerprint: String {
        var state = stableHash(vocabulary.tokens.joined(separator: "\n"))
        for example in training {
            state = stableHash(example.poem.lines.joined(), from: state)
            for row in example.rows { state = (state ^ UInt64(row)) &* 0x100_0000_01b3 }
        }
        for value in vectors { state = (state ^ UInt64(value.bitPattern)) &* 0x100_0000_01b3 }
        return String(state, radix: 16)
    }

    /// float32 `[rows, E]`
    func embeddings(_ rows: [Int]) -> Tensor {
        Tensor(rows.flatMap { vectors[$0 * width..<($0 + 1) * width] }, [rows.count, width])
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
    /// None: what is drawn depends on the seed, the epoch and the batch.
    public let generators: [(name: String, generator: Generator)] = []
    /// The mapping network.
    public let mapper: PrefixMapper

    private let poet: GPT2
    private let dataset: PrefixDataset
    private let options: PrefixOptions
    private let seed: UInt64
    private let device: Device
    private let offset: Tensor?
    /// Indices of `dataset.training`, shortest poems first; batches are cut from it.
    private let byLength: [Int]
    private var plan: (epoch: Int, batches: [[Int]])?

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
        byLength = dataset.training.indices.sorted {
            (dataset.training[$0].poem.form.characterCount, $0) < (dataset.training[$1].poem.form.characterCount, $1)
        }
        standardize()
    }

    private init(sharing original: PrefixTask) {
        dataset = original.dataset
        options = original.options
        seed = original.seed
        device = original.device
        identity = original.identity
        offset = original.offset
        byLength = original.byLength
        poet = original.poet
        store = ParameterStore(sharing: original.store)
        mapper = PrefixMapper(
            original.mapper.configuration, computeType: original.mapper.computeType, at: store.root)
    }

    /// A second mapping network with the same parameters.
    public func replica() -> PrefixTask? { PrefixTask(sharing: self) }

    /// Batches of one epoch; epochs may differ.
    public func batchCount(epoch: Int) -> Int { batches(of: epoch).count }

    /// The mean loss, in nats per token of the poems; which of its texts a poem is written from is drawn anew each epoch.
    public func loss(epoch: Int, batch: Int) throws -> BatchLoss {
        let items = batches(of: epoch)[batch].map { index in
            var random = SplitMix64(seed, UInt64(epoch), UInt64(index))
            return item(dataset.training[index], &random)
        }
        let noise = Generator(seed: SplitMix64(seed, UInt64(epoch), UInt64(batch), 0x9015E).peek)
        let (loss, counted, padded) = loss(of: items, noise: noise)
        // The poet's weights are not trained, and cost no product for their own gradient.
        let read = 4 * poet.configuration.multiplications(tokens: padded, scored: counted)
        return BatchLoss(
            loss: loss, units: counted, operations: read + 6 * Double(store.parameterCount) * Double(items.count))
    }

    /// `loss`: nats per token of held-out poems, written from a text about them with noise; `loss_other`: from a text about
    /// another poem, so that the difference is what the text tells.
    public func validate() throws -> [(name: String, value: Double)] {
        guard !dataset.validation.isEmpty else { return [] }
        let items = dataset.validation.enumerated().map { index, example in
            var random = SplitMix64(7, UInt64(index))
            return item(example, &random)
        }
        func mean(_ items: [Item]) -> Double {
            var sum = 0.0
            var count = 0
            for start in stride(from: 0, to: items.count, by: 64) {
                let part = Array(items[start..<min(start + 64, items.count)])
                let (loss, counted, _) = loss(of: part, noise: Generator(seed: UInt64(start)))
                sum += loss.item * Double(counted)
                count += counted
            }
            return sum / Double(max(1, count))
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
    /// - Throws: `WeightFileError`.
    public func save(to folder: URL, tensor: (String) -> Tensor?) throws {
        try withoutActuallyEscaping(tensor) { tensor in
            try ModelFolder.save(
                configuration: mapper.configuration, store: store, dtype: .bfloat16, to: folder
            ) { tensor($0.name) ?? $0.tensor }
        }
    }

    /// Does nothing: no parameter needs a correction.
    public func didStep() {}

    /// Scales and shifts the mapper's first layer by the mean and deviation of what it will be given.
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

    private func batches(of epoch: Int) -> [[Int]] {
        if let plan, plan.epoch == epoch { return plan.batches }
        var random = SplitMix64(seed, UInt64(epoch), 0xBA7C)
        let prompt = options.prefixLength + 4
        let batches = batchesByLength(byLength, budget: options.batchTokens, using: &random) { index in
            let form = dataset.training[index].poem.form
            return (form.characterCount, form.characterCount + form.lineCount + prompt)
        }
        plan = (epoch, batches)
        return batches
    }

    /// What the mapper is given. `[B, E]`
    private func inputs(_ rows: [Int], noise: Generator) -> Tensor {
        CaptionNoise.applied(
            to: dataset.embeddings(rows).to(nil, device), variance: options.noiseVariance, offset: offset,
            generator: noise)
    }

    /// The mean loss over the characters of the poems, their number, and the padded size of the batch.
    private func loss(of items: [Item], noise: Generator) -> (Tensor, counted: Int, padded: Int) {
        let prefixLength = options.prefixLength
        // The last token is not read.
        let width = (items.map { $0.head.count + prefixLength + $0.tail.count }.max() ?? 1) - 1
        let count = items.count
        var ids = [Int32](repeating: dataset.vocabulary.padding, count: count * width)
        // Where each position's embedding lies in the prefixes of all poems with the tokens of all poems behind them.
        var sources = (0..<count * width).map { Int32(count * prefixLength + $0) }
        var places: [Int32] = []
        var targets: [Int32] = []
        for (row, item) in items.enumerated() {
            let start = row * width
            for (column, id) in item.head.enumerated() { ids[start + column] = id }
            for column in 0..<prefixLength {
                sources[start + item.head.count + column] = Int32(row * prefixLength + column)
            }
            // The prompt ends with one token; from there on every token is predicted.
            let first = start + item.head.count + prefixLength
            for column in 0..<item.tail.count - 1 {
                ids[first + column] = item.tail[column]
                places.append(Int32(first + column))
                targets.append(item.tail[column + 1])
            }
        }
        let mapped = mapper(inputs(items.map(\.row), noise: noise))  // [B, K, C]
        let tokens = poet.embed(Tensor.ids(ids, [count * width]).to(nil, device))  // [B T, C]
        let both = Tensor.concatenated([mapped.reshaped(count * prefixLength, -1).to(tokens.dtype), tokens], 0)
        let embeddings = both.gatheringSlices(0, at: Tensor.ids(sources, [sources.count]).to(nil, device))
        let hidden = poet.hidden(embeddings: embeddings.reshaped(count, width, -1))  // [B, T, C]
        // Scores are dear with a vocabulary of thousands, so only where something is learned: [N, C], N <= B T.
        let learned = hidden.reshaped(count * width, -1)
            .gatheringSlices(0, at: Tensor.ids(places, [places.count]).to(nil, device))
        let loss = Kernels.crossEntropy(poet.logits(learned), Tensor.ids(targets, [targets.count]).to(nil, device))
        return (loss, targets.count, count * width)
    }
}
