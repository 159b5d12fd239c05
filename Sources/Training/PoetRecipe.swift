public import Foundation
public import TihuaCorpora
import TihuaFiles
public import TihuaGeneration
public import TihuaModels
public import TihuaNN
public import TihuaProsody
public import TihuaTorch
import TihuaWeightFiles

// How a poet is trained: poems as prompts and lines (see `PoemPrompt`), every condition dropped at random, so that each subset
// of conditions works in use.

/// The size of a new poet and how its prompts are drawn. Read from the same JSON file as `TrainingOptions`.
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
    /// Characters that occur less often are `[UNK]`, and poems with them are left out.
    public var minimumCharacterCount = 20
    /// One poem in so many is held out.
    public var holdOut = 200

    /// The default options.
    public init() {}

    /// Keys that are missing keep the defaults.
    ///
    /// - Throws: `DecodingError` for an unknown key or a value of another type.
    public init(from decoder: any Decoder) throws {
        self.init()
        let values = try OptionReader(decoder, keyedBy: CodingKeys.self)
        try values.read(.hiddenSize, &hiddenSize)
        try values.read(.layerCount, &layerCount)
        try values.read(.headCount, &headCount)
        try values.read(.activation, &activation)
        try values.read(.positionCount, &positionCount)
        try values.read(.batchTokens, &batchTokens)
        try values.read(.dropout, &dropout)
        try values.read(.keywordChance, &keywordChance)
        try values.read(.rhymeChance, &rhymeChance)
        try values.read(.themeChance, &themeChance)
        try values.read(.minimumCharacterCount, &minimumCharacterCount)
        try values.read(.holdOut, &holdOut)
    }

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
            // Counts of characters are sums of it.
            .init("minimumCharacterCount", minimumCharacterCount, 0...1 << 30),
            .init("holdOut", holdOut, 0...OptionRange.countLimit),
        ]
    }
}

/// One poem of the training set: its lines as ids, and what its prompt may say.
public struct PoemExample: Sendable {
    /// The form of the poem, one with a metre in `Prosody`.
    public let form: Form
    /// The lines, without punctuation.
    public let lines: [String]
    /// The group of the rhymes, nil where they share none (or the form has none).
    public let rhyme: RhymeGroup?
    /// Words of the poem, best first.
    public let keywords: [String]
    /// A sentence that says in modern Chinese what a line of the poem says; nil where none is known.
    public let theme: String?
    /// What a picture of one of the keywords shows, in modern Chinese; a theme where no better one is known.
    public let descriptions: [String]
}

/// The poems of a corpus as examples, split by poem into training and held-out ones.
///
/// A poem that stands twice is on one side. Poems that begin with the same line as a held-out one, or share a line of five or
/// more characters with it (variants, quotations), are left out of the training ones.
public struct PoemDataset: Sendable {
    /// The tokens of the poet.
    public let vocabulary: PoetVocabulary
    /// What is trained on.
    public let training: [PoemExample]
    /// What is held out.
    public let validation: [PoemExample]
    /// How many poems were left out, by reason.
    public let dropped: [String: Int]

    /// Builds the examples.
    ///
    /// - Parameters:
    ///   - poems: of any form; those whose form has no metre in `Prosody` are left out
    ///   - words: what keywords may be: imagery, word lists
    ///   - themes: a classical line to sentences that say the same in modern Chinese
    ///   - descriptions: a word to what a picture of it shows, in modern Chinese
    ///   - vocabulary: of a poet that is trained on; nil makes one from the poems
    public init(
        poems: [CorpusPoem], words: [String], themes: [String: [String]] = [:], descriptions: [String: [String]] = [:],
        vocabulary given: PoetVocabulary? = nil, options: PoetOptions
    ) {
        var dropped: [String: Int] = [:]
        var kept: [(poem: CorpusPoem, form: Form)] = []
        for poem in poems {
            if let form = Self.form(of: poem) {
                kept.append((poem, form))
            } else {
                dropped["form without a metre", default: 0] += 1
            }
        }
        var counts: [Character: Int] = [:]
        for (poem, _) in kept {
            for line in poem.lines { for character in line { counts[character, default: 0] += 1 } }
        }
        for texts in themes.values {
            for text in texts { for character in text { counts[character, default: 0] += 1 } }
        }
        // Few descriptions stand for many prompts.
        for texts in descriptions.values {
            for character in texts.joined() { counts[character, default: 0] += options.minimumCharacterCount }
        }
        let vocabulary =
            given
            ?? PoetVocabulary(
                characters: counts.filter { $0.value >= options.minimumCharacterCount && $0.key.isHan }
                    .sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { $0.key })
        let extractor = KeywordExtractor(words: words, poems: kept.map(\.poem.lines))
        var training: [PoemExample] = []
        var validation: [PoemExample] = []
        let known = vocabulary.characters
        for (poem, form) in kept {
            // A poet that has no token for a tune would learn it under another's name.
            guard vocabulary.id(of: PoetVocabulary.token(of: form)) != nil else {
                dropped["forms without a token", default: 0] += 1
                continue
            }
            guard poem.lines.allSatisfy({ $0.allSatisfy(known.contains) }) else {
                dropped["rare characters", default: 0] += 1
                continue
            }
            // Prompts take at most some 40 tokens.
            guard form.characterCount + form.lineCount + 40 <= options.positionCount else {
                dropped["too long", default: 0] += 1
                continue
            }
            let keywords = poem.keywords ?? extractor.keywords(of: poem.lines, limit: 6).map(\.word)
            let example = PoemExample(
                form: form, lines: poem.lines, rhyme: Self.rhyme(of: poem.lines, form: form), keywords: keywords,
                theme: poem.lines.lazy.compactMap { themes[$0]?.first }.first,
                descriptions: keywords.flatMap { descriptions[$0] ?? [] })
            // By a hash of the poem, so that the same poem is always on the same side.
            if options.holdOut > 0, stableHash(poem.lines.joined()) % UInt64(options.holdOut) == 0 {
                validation.append(example)
            } else {
                training.append(example)
            }
        }
        let heldOpenings = Set(validation.compactMap(\.lines.first))
        let heldLines = Set(validation.flatMap(\.lines).filter { $0.count >= 5 })
        let all = training.count
        training.removeAll { example in
            example.lines.first.map(heldOpenings.contains) == true || example.lines.contains(where: heldLines.contains)
        }
        if training.count < all { dropped["too like a held-out poem"] = all - training.count }
        self.vocabulary = vocabulary
        self.training = training
        self.validation = validation
        self.dropped = dropped
    }

    /// Checks that there is something to train on.
    ///
    /// - Throws: `TrainingError.data` that says why poems were left out.
    func requireTraining() throws(TrainingError) {
        guard training.isEmpty else { return }
        let reasons =
            dropped.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" } + ["\(validation.count) held out"]
        throw .data(path: "the corpus", reason: "no poems are left to train on (\(reasons.joined(separator: ", ")))")
    }

    /// A number that differs where the training poems or what their prompts say differ.
    var fingerprint: String {
        var state = stableHash(vocabulary.tokens.joined(separator: "\n"))
        for example in training {
            state = stableHash(example.lines.joined(), from: state)
            state = stableHash(example.keywords.joined(separator: " ") + (example.theme ?? ""), from: state)
            for text in example.descriptions { state = stableHash(text, from: state) }
        }
        return String(state, radix: 16)
    }

    /// The form of a poem by its label and the lengths of its lines; nil where `Prosody` has no such form.
    public static func form(of poem: CorpusPoem) -> Form? {
        let lengths = poem.lines.map(\.count)
        if let tune = poem.tune {
            return Form.all.first { $0.kind == .ci && $0.name == tune && $0.lineLengths == lengths }
        }
        return shiForms[lengths]
    }

    private static let shiForms: [[Int]: Form] = Dictionary(
        [Form.wujue, .qijue, .wulv, .qilv].map { ($0.lineLengths, $0) }, uniquingKeysWith: { first, _ in first })

    /// The group that all rhyming lines share, of the form's own book; nil where they share none.
    public static func rhyme(of lines: [String], form: Form) -> RhymeGroup? {
        let book = form.defaultBook
        var shared: RhymeGroupSet?
        for index in form.rhymingLines where lines.indices.contains(index) {
            guard let last = lines[index].last else { return nil }
            let found = groups(of: last, in: book)
            shared = shared?.intersection(found) ?? found
        }
        guard let id = shared?.ids.first else { return nil }
        return book.groups[id]
    }
}

/// FNV-1a over UTF-8, the same on every machine.
func stableHash(_ text: String, from state: UInt64 = 0xcbf2_9ce4_8422_2325) -> UInt64 {
    text.utf8.reduce(state) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
}

/// The chance of each condition to stand in a prompt.
struct PromptChances {
    var keyword: Double
    var rhyme: Double
    var theme: Double

    static let all = PromptChances(keyword: 1, rhyme: 1, theme: 0)
    static let none = PromptChances(keyword: 0, rhyme: 0, theme: 0)

    init(keyword: Double, rhyme: Double, theme: Double) {
        (self.keyword, self.rhyme, self.theme) = (keyword, rhyme, theme)
    }

    init(_ options: PoetOptions) {
        self.init(keyword: options.keywordChance, rhyme: options.rhymeChance, theme: options.themeChance)
    }

    /// What is asked for, to get this poem as the answer.
    func prompt(for example: PoemExample, using random: inout SplitMix64) -> PoemPrompt {
        var prompt = PoemPrompt(form: example.form)
        if Double.random(in: 0..<1, using: &random) < rhyme { prompt.rhyme = example.rhyme }
        if Double.random(in: 0..<1, using: &random) < keyword, !example.keywords.isEmpty {
            // One to four of the best, in any order: a picture's words come in no order either.
            let count = Int.random(in: 1...min(4, example.keywords.count), using: &random)
            prompt.keywords = Array(example.keywords.shuffled(using: &random).prefix(count))
        }
        if Double.random(in: 0..<1, using: &random) < theme {
            // One or two descriptions, as a caption of a picture speaks of one thing or of two.
            let count = Int.random(in: 1...2, using: &random)
            let described = example.descriptions.shuffled(using: &random).prefix(count).joined(separator: "，")
            prompt.theme = example.theme ?? (described.isEmpty ? nil : described)
        }
        return prompt
    }
}

/// Cuts examples into batches whose padded tokens stay within a budget. Those of about equal length stand together; within a
/// length, and between batches, the order is random.
///
/// - Parameters:
///   - byLength: indices of examples, shortest first
///   - length: what an index is sorted by, and the tokens that it takes
func batchesByLength(
    _ byLength: [Int], budget: Int, using random: inout SplitMix64, length: (Int) -> (key: Int, tokens: Int)
) -> [[Int]] {
    var order: [Int] = []
    order.reserveCapacity(byLength.count)
    var start = byLength.startIndex
    while start < byLength.endIndex {
        let key = length(byLength[start]).key
        let end = byLength[start...].firstIndex { length($0).key != key } ?? byLength.endIndex
        order += byLength[start..<end].shuffled(using: &random)
        start = end
    }
    var batches: [[Int]] = []
    var current: [Int] = []
    for index in order {
        if !current.isEmpty, (current.count + 1) * length(index).tokens > budget {
            batches.append(current)
            current = []
        }
        current.append(index)
    }
    if !current.isEmpty { batches.append(current) }
    batches.shuffle(using: &random)
    return batches
}

/// Options as text, the same for equal options.
func describe(_ options: some Encodable) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return (try? encoder.encode(options)).map { String(decoding: $0, as: UTF8.self) } ?? ""
}

/// Writes `vocab.txt`, one token a line, into the folder of a model.
func writeVocabulary(_ tokens: [String], to folder: URL) throws {
    try AtomicFile.makeFolder(at: folder)
    try AtomicFile.write(to: folder.appending(path: "vocab.txt")) {
        try $0.write(Array((tokens.joined(separator: "\n") + "\n").utf8))
    }
}

/// The task of training a GPT2 poet.
public final class PoetTask: TrainingTask {
    /// The parameters of the model.
    public let store: ParameterStore
    /// Tokens of lines, which the model is asked for; prompts do not count.
    public let unit = "tokens"
    /// The options of the poet and a hash of the data.
    public let identity: String
    /// The stream of dropout.
    public var generators: [(name: String, generator: Generator)] { [("dropout", dropoutGenerator)] }

    private let model: GPT2
    private let configuration: GPT2Configuration
    private let dataset: PoemDataset
    private let options: PoetOptions
    private let seed: UInt64
    private let device: Device
    private let dropoutGenerator: Generator
    /// Indices of `dataset.training`, shortest poems first; batches are cut from it.
    private let byLength: [Int]
    private var plan: (epoch: Int, batches: [[Int]])?

    /// - Parameters:
    ///   - folder: a poet to go on from; nil starts a new one.
    /// - Throws: `TrainingError` for options or a corpus that cannot be trained on; `ModelError`, `WeightFileError` for the
    ///   folder.
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
        if let folder { try folder.load(into: store, renaming: GPT2.parameterName) }
        dropoutGenerator = Generator(seed: training.seed ^ 0xD20F, device: device)
        byLength = dataset.training.indices.sorted {
            (dataset.training[$0].form.characterCount, $0) < (dataset.training[$1].form.characterCount, $1)
        }
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
        byLength = original.byLength
    }

    /// A second model with the same parameters; nil with dropout, whose stream of random numbers is one.
    public func replica() -> PoetTask? { options.dropout > 0 ? nil : PoetTask(sharing: self) }

    /// Batches of one epoch; epochs may differ.
    public func batchCount(epoch: Int) -> Int { batches(of: epoch).count }

    /// The mean loss, in nats per token of the poems; which conditions stand in the prompts is drawn anew each epoch.
    public func loss(epoch: Int, batch: Int) throws -> BatchLoss {
        let examples = batches(of: epoch)[batch].map { index in
            var random = SplitMix64(seed, UInt64(epoch), UInt64(index))
            return encode(dataset.training[index], &random)
        }
        let dropout = options.dropout > 0 ? Dropout(options.dropout, generator: dropoutGenerator) : nil
        let (loss, counted, padded) = loss(of: examples, dropout: dropout)
        // The embedding is a look-up on the way in and a matrix product on the way out, there for learned tokens only.
        let head = Double(configuration.vocabularySize * configuration.hiddenSize)
        let body = Double(store.parameterCount) - head
        return BatchLoss(loss: loss, units: counted, operations: 6 * (body * Double(padded) + head * Double(counted)))
    }

    /// `loss`: nats per character of held-out poems with all conditions; `loss_plain`: with the form alone.
    public func validate() throws -> [(name: String, value: Double)] {
        guard !dataset.validation.isEmpty else { return [] }
        func mean(_ chances: PromptChances) -> Double {
            var sum = 0.0
            var count = 0
            for start in stride(from: 0, to: dataset.validation.count, by: 64) {
                let examples = dataset.validation[start..<min(start + 64, dataset.validation.count)].enumerated().map {
                    var random = SplitMix64(7, UInt64(start + $0.offset))
                    return encode($0.element, chances, &random)
                }
                let (loss, counted, _) = loss(of: examples, dropout: nil)
                sum += loss.item * Double(counted)
                count += counted
            }
            return sum / Double(max(1, count))
        }
        return [("loss", mean(.all)), ("loss_plain", mean(.none))]
    }

    /// Writes `vocab.txt`, `config.json` and the weights in bfloat16, as `ModelFolder` reads them.
    ///
    /// - Throws: `WeightFileError`.
    public func save(to folder: URL, tensor: (String) -> Tensor?) throws {
        try writeVocabulary(dataset.vocabulary.tokens, to: folder)
        try withoutActuallyEscaping(tensor) { tensor in
            try ModelFolder.save(configuration: configuration, store: store, dtype: .bfloat16, to: folder) { entry in
                tensor(entry.name) ?? entry.tensor
            }
        }
    }

    /// Does nothing: no parameter needs a correction.
    public func didStep() {}

    // MARK: - Batches

    private func batches(of epoch: Int) -> [[Int]] {
        if let plan, plan.epoch == epoch { return plan.batches }
        var random = SplitMix64(seed, UInt64(epoch), 0xBA7C)
        // Prompts vary around 16 tokens.
        let batches = batchesByLength(byLength, budget: options.batchTokens, using: &random) { index in
            let form = dataset.training[index].form
            return (form.characterCount, form.characterCount + form.lineCount + 16)
        }
        plan = (epoch, batches)
        return batches
    }

    private struct Encoded {
        var ids: [Int32]
        /// Ids of the prompt, which is read but not learned.
        var promptCount: Int
    }

    private func encode(_ example: PoemExample, _ random: inout SplitMix64) -> Encoded {
        encode(example, PromptChances(options), &random)
    }

    private func encode(_ example: PoemExample, _ chances: PromptChances, _ random: inout SplitMix64) -> Encoded {
        let prompt = chances.prompt(for: example, using: &random)
        // Every form of the dataset has a token: the vocabulary was made with all of them.
        let start = (try? dataset.vocabulary.encode(prompt)) ?? []
        let lines = dataset.vocabulary.encode(lines: example.lines)
        return Encoded(ids: Array((start + lines).prefix(configuration.positionCount)), promptCount: start.count)
    }

    /// The mean loss over the characters of the poems, their number, and the padded size of the batch.
    private func loss(of examples: [Encoded], dropout: Dropout?) -> (Tensor, counted: Int, padded: Int) {
        let width = (examples.map(\.ids.count).max() ?? 1) - 1
        var inputs = [Int32](repeating: dataset.vocabulary.padding, count: examples.count * width)
        var places: [Int32] = []
        var targets: [Int32] = []
        for (row, example) in examples.enumerated() {
            for column in 0..<example.ids.count - 1 {
                inputs[row * width + column] = example.ids[column]
                guard column + 1 >= example.promptCount else { continue }
                places.append(Int32(row * width + column))
                targets.append(example.ids[column + 1])
            }
        }
        let ids = Tensor.ids(inputs, [examples.count, width]).to(nil, device)
        let wanted = Tensor.ids(targets, [targets.count]).to(nil, device)
        let hidden = model.hidden(ids, dropout: dropout)  // [B, T, C]
        // Scores are dear with a vocabulary of thousands, so only where something is learned: [N, C], N <= B T.
        let learned = hidden.reshaped(examples.count * width, -1)
            .gatheringSlices(0, at: Tensor.ids(places, [places.count]).to(nil, device))
        return (model.loss(learned, wanted), targets.count, examples.count * width)
    }
}
