public import Foundation
public import TihuaCorpora
import TihuaFiles
public import TihuaModels
public import TihuaNN
import TihuaProsody
public import TihuaTorch
import TihuaVerse
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
        let reasons =
            dropped.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" } + ["\(validation.count) held out"]
        throw .data(path: "the corpus", reason: "no poems are left to train on (\(reasons.joined(separator: ", ")))")
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
        if let folder { try GPT2.load(folder.checkpoint(), into: store, as: configuration) }
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
        return BatchLoss(
            loss: loss, units: counted, operations: 6 * configuration.multiplications(tokens: padded, scored: counted))
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
