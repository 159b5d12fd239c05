public import Foundation
import TihuaEvaluation
import TihuaFiles
import TihuaGeneration
public import TihuaModels
public import TihuaNN
import TihuaTokenizers
public import TihuaTorch
import TihuaVerse
import TihuaWeightFiles

// How a captioner is trained: on pictures' embeddings (Mokady et al. 2021, ClipCap), or on texts alone (Nukrai et al. 2022,
// CapDec, arXiv 2211.00575), whose embeddings are moved by noise as far as a picture's lies from them.
// B captions of a batch, T their tokens, P embeddings in front, C width of the language model.

/// The size of a new captioner and what it learns from. Read from the same JSON file as `TrainingOptions`.
public struct CaptionOptions: RecipeOptions, Codable, Sendable, Equatable {
    /// The mapping network.
    public var mapper = ClipCapConfiguration.Mapper.mlp
    /// Embeddings made from the picture; with the MLP those in front of the caption.
    public var prefixLength = 10
    /// Learned constants of the transformer mappers, which become those in front of the caption.
    public var constantLength = 10
    /// Layers of the transformer mappers.
    public var mapperLayerCount = 8
    /// Heads of the transformer mappers.
    public var mapperHeadCount = 8
    /// Brings every embedding to length 1 first, in training and in use; always so where some have that length already.
    public var normalizesEmbeddings = true
    /// Starts the mapper as if the embeddings had mean 0 and deviation 1 in each dimension; without, as PyTorch does.
    public var standardizes = true
    /// Whether the language model learns too. One that is frozen must be given.
    public var tunesLanguageModel = true

    /// What writes, where none is given: `gpt2`, or `t5`, whose encoder reads what the mapper makes.
    public var languageModel = LanguageModel.gpt2
    /// The width of a new language model.
    public var hiddenSize = 256
    /// Layers of a new language model; a T5 has as many in encoder and decoder.
    public var layerCount = 6
    /// Heads of a new language model.
    public var headCount = 4
    /// The chance that an activation is dropped in training, 0 to below 1.
    public var dropout = 0.1
    /// Tokens of a caption, its end counted; longer ones are cut. ClipCap-Chinese trains on 100 places, 10 of them the
    /// prefix's.
    public var maximumLength = 90
    /// Tokens that occur less often are `[UNK]`, which is neither learned nor written.
    public var minimumCharacterCount = 2

    /// Captions of one batch.
    public var batchCaptions = 40
    /// Where above 0, the steps are so many times the batches of an epoch.
    public var epochs = 0
    /// One picture in so many is held out.
    public var holdOut = 20
    /// Held-out pictures that are captioned at each validation.
    public var sampleCount = 200
    /// What `best` is chosen by: `cider` of greedy captions, or `loss` per token.
    public var bestBy = Measure.cider

    /// CapDec's variance of each dimension of an embedding of 640 numbers; rescaled to the width that is there, so that the
    /// noise is as long. 0 adds none.
    public var noiseVariance = 0.016
    /// Moves embeddings of texts by what pictures' embeddings differ from them on average.
    public var addsModalityOffset = false

    /// What writes.
    public enum LanguageModel: String, Codable, Sendable, CaseIterable {
        case gpt2, t5
    }

    /// What is measured on held-out pictures.
    public enum Measure: String, Codable, Sendable, CaseIterable {
        case cider, loss
    }

    /// The default options.
    public init() {}

    /// Keys that are missing keep the defaults.
    ///
    /// - Throws: `DecodingError` for an unknown key or a value of another type.
    public init(from decoder: any Decoder) throws {
        self.init()
        let values = try OptionReader(decoder, keyedBy: CodingKeys.self)
        try values.read(.mapper, &mapper)
        try values.read(.prefixLength, &prefixLength)
        try values.read(.constantLength, &constantLength)
        try values.read(.mapperLayerCount, &mapperLayerCount)
        try values.read(.mapperHeadCount, &mapperHeadCount)
        try values.read(.normalizesEmbeddings, &normalizesEmbeddings)
        try values.read(.standardizes, &standardizes)
        try values.read(.tunesLanguageModel, &tunesLanguageModel)
        try values.read(.languageModel, &languageModel)
        try values.read(.hiddenSize, &hiddenSize)
        try values.read(.layerCount, &layerCount)
        try values.read(.headCount, &headCount)
        try values.read(.dropout, &dropout)
        try values.read(.maximumLength, &maximumLength)
        try values.read(.minimumCharacterCount, &minimumCharacterCount)
        try values.read(.batchCaptions, &batchCaptions)
        try values.read(.epochs, &epochs)
        try values.read(.holdOut, &holdOut)
        try values.read(.sampleCount, &sampleCount)
        try values.read(.bestBy, &bestBy)
        try values.read(.noiseVariance, &noiseVariance)
        try values.read(.addsModalityOffset, &addsModalityOffset)
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
        let counts = 0...OptionRange.countLimit
        return [
            .init("prefixLength", prefixLength, 1...4096), .init("constantLength", constantLength, 1...4096),
            .init("mapperLayerCount", mapperLayerCount, 1...1024), .init("mapperHeadCount", mapperHeadCount, 1...1024),
            .init("hiddenSize", hiddenSize, 1...1 << 16), .init("layerCount", layerCount, 1...1024),
            .init("headCount", headCount, 1...1024), .share("dropout", dropout),
            .init("maximumLength", maximumLength, 2...1 << 16),
            .init("minimumCharacterCount", minimumCharacterCount, counts),
            .init("batchCaptions", batchCaptions, 1...1 << 20), .init("epochs", epochs, 0...1 << 20),
            .init("holdOut", holdOut, counts), .init("sampleCount", sampleCount, counts),
            .weight("noiseVariance", noiseVariance),
        ]
    }
}

/// Scales and shifts a linear layer as if what it is given had mean 0 and deviation 1 in each dimension.
///
/// - Parameters:
///   - x: what it is given, `[N, E]`
///   - weight: `[out, E]`
///   - bias: `[out]`
func standardizeInput(_ x: Tensor, weight: Tensor, bias: Tensor) {
    let mean = x.mean(0)  // [E]
    // Dimensions that never change would be divided by nothing.
    let deviation = (x - mean).square().mean(0).sqrt().clamped(minimum: 1e-4)
    let scaled = weight / deviation  // [out, E]
    bias.add_(scaled.matmul(mean.unsqueezed(1)).squeezed(1), scale: -1)
    weight.copy_(scaled)
}

/// CapDec's noise.
enum CaptionNoise {
    /// The width of the embeddings that published variances are stated for, those of CLIP RN50x4.
    static let statedWidth = 640.0

    /// The variance of each of `width` dimensions at which the noise is as long as that of `variance` at 640.
    static func variance(_ variance: Double, width: Int) -> Double { variance * statedWidth / Double(width) }

    /// Embeddings brought to length 1, moved by noise and by the offset, and brought to length 1 again. `[B, E]`
    static func applied(
        to embeddings: Tensor, variance: Double, offset: Tensor?, generator: Generator
    ) -> Tensor {
        let width = embeddings.size(1)
        var moved = embeddings.normalized()
        if variance > 0 {
            let deviation = Self.variance(variance, width: width).squareRoot()
            // Drawn on the processor, so that a run draws the same wherever it computes.
            moved = moved + Tensor.randn(moved.shape, generator: generator).to(moved.dtype, moved.device) * deviation
        }
        if let offset { moved = moved + offset }
        return moved.normalized()
    }
}

/// The task of training a captioner on captions.
public final class CaptionTask: TrainingTask {
    /// The parameters of the captioner.
    public let store: ParameterStore
    /// Tokens of captions with their ends.
    public let unit = "tokens"
    /// The options of the captioner and a hash of the data.
    public let identity: String
    /// None: what is drawn depends on the seed, the epoch and the batch.
    public let generators: [(name: String, generator: Generator)] = []
    /// The captioner.
    public let model: ClipCap
    let dataset: CaptionDataset

    private let options: CaptionOptions
    private let seed: UInt64
    private let device: Device
    private let report: (String) -> Void
    private let offset: Tensor?
    private let judge: CaptionJudge
    private var plan: (epoch: Int, batches: [[Int]])?

    /// What a captioner starts from.
    public enum Start {
        /// Everything is new.
        case new
        /// A language model with its `vocab.txt`; the mapper is new.
        case languageModel(ModelFolder)
        /// The language model of a captioner, opened in float32; the mapper is new.
        case languageModelOf(ClipCap.Opened)
        /// A whole captioner, opened in float32.
        case captioner(ClipCap.Opened)
    }

    /// - Parameters:
    ///   - dataset: made with the vocabulary of what `start` names
    ///   - report: is told a few captions of held-out pictures at each validation
    /// - Throws: `TrainingError` for options that make no sense, `ModelError` and `WeightFileError` for what `start` names.
    public init(
        dataset: CaptionDataset, options: CaptionOptions, training: TrainingOptions, device: Device = .cpu,
        start: Start = .new, report: @escaping (String) -> Void = { _ in }
    ) throws {
        try options.validate()
        self.dataset = dataset
        self.options = options
        self.device = device
        self.report = report
        seed = training.seed
        let computeType: DType = training.precision.type(on: device)
        let store = ParameterStore(seed: training.seed, device: device)
        self.store = store
        switch start {
        case .captioner(let opened):
            let shape = opened.model.configuration
            guard shape.embeddingSize == dataset.width else {
                throw TrainingError.data(
                    path: "the embeddings",
                    reason: "are \(dataset.width) wide, but the captioner takes \(shape.embeddingSize);"
                        + " take those of the CLIP model that it was trained with")
            }
            try Self.check(dataset, rows: shape.languageModel.vocabularySize, "the captioner")
            if let one = shape.clipModel, let other = dataset.clipModel, one != other {
                throw TrainingError.data(
                    path: "the embeddings",
                    reason: "are of another CLIP model than the one that the captioner was trained with")
            }
            model = ClipCap(shape, computeType: computeType, at: store.root)
            try store.load(names: opened.store.entries.map(\.name)) { name in
                guard let tensor = opened.store[name] else { throw ParameterError.missing([name]) }
                return tensor
            }
        case .new, .languageModel, .languageModelOf:
            let language: any LanguageModelConfiguration
            var source = "the language model"
            var weights: ParameterStore?
            var path = ""
            switch start {
            case .languageModel(let folder):
                guard folder.holdsLanguageModel else {
                    throw TrainingError.data(
                        path: folder.url.path,
                        reason: "is a \(folder.architecture.rawValue); a captioner writes with a gpt2 or t5")
                }
                let opened = try folder.openLanguageModel(device: device)
                (language, weights, source) = (opened.model.configuration, opened.store, folder.url.path)
            case .languageModelOf(let opened):
                (language, weights) = (opened.model.configuration.languageModel, opened.store)
                path = "\(language.path)."
            default:
                guard options.tunesLanguageModel else {
                    throw TrainingError.option(
                        "tunesLanguageModel", "false", "true where no language model is given (--lm)")
                }
                language = Self.newModel(dataset, options)
            }
            try Self.check(dataset, rows: language.vocabularySize, source)
            var shape = ClipCapConfiguration(
                mapper: options.mapper, embeddingSize: dataset.width, prefixLength: options.prefixLength,
                constantLength: options.constantLength, languageModel: language)
            shape.layerCount = options.mapperLayerCount
            shape.headCount = options.mapperHeadCount
            shape.normalizesEmbedding = options.normalizesEmbeddings || dataset.isNormalized
            shape.clipModel = dataset.clipModel
            try shape.validate()
            try checkSize(parameterCount: shape.parameterCount, device: device)
            model = ClipCap(shape, computeType: computeType, at: store.root)
            withoutGradients {
                for entry in weights?.entries ?? [] where entry.name.hasPrefix(path) {
                    store["\(language.path).\(entry.name.dropFirst(path.count))"]?.copy_(entry.tensor)
                }
            }
        }
        let shape = model.configuration
        let room = shape.languageModel.capacity(behind: shape.captionOffset) ?? .max
        guard options.maximumLength <= room else {
            throw TrainingError.option(
                "maximumLength", "\(options.maximumLength)", "at most \(room), the room behind the picture's embeddings"
            )
        }
        identity = "caption \(describe(options)) data \(dataset.fingerprint)"
        let width = dataset.width
        offset =
            options.addsModalityOffset ? dataset.modalityOffset.map { Tensor($0, [1, width]).to(nil, device) } : nil
        if options.addsModalityOffset, offset == nil {
            throw TrainingError.option(
                "addsModalityOffset", "true", "false where there are no texts, or no pictures beside them")
        }
        judge = try CaptionJudge(dataset, count: options.sampleCount, device: device)
        if case .captioner = start { return }
        if options.standardizes { standardize() }
    }

    private init(sharing original: CaptionTask) {
        dataset = original.dataset
        options = original.options
        seed = original.seed
        device = original.device
        report = original.report
        identity = original.identity
        offset = original.offset
        judge = original.judge
        store = ParameterStore(sharing: original.store)
        model = ClipCap(original.model.configuration, computeType: original.model.computeType, at: store.root)
    }

    /// A second captioner with the same parameters.
    public func replica() -> CaptionTask? { CaptionTask(sharing: self) }

    /// Whether a parameter keeps its value: the language model's, where it is not tuned.
    public func isFrozen(_ name: String) -> Bool {
        !options.tunesLanguageModel && name.hasPrefix(model.configuration.languageModel.path + ".")
    }

    /// Batches of one epoch; epochs may differ.
    public func batchCount(epoch: Int) -> Int { batches(of: epoch).count }

    /// The mean loss, in nats per token; padding and `[UNK]` do not count.
    public func loss(epoch: Int, batch: Int) throws -> BatchLoss {
        let examples = batches(of: epoch)[batch].map { dataset.training[$0] }
        let noise = Generator(seed: SplitMix64(seed, UInt64(epoch), UInt64(batch), 0x9015E).peek)
        let drop = Generator(seed: SplitMix64(seed, UInt64(epoch), UInt64(batch), 0xD20F).peek, device: device)
        let dropout = options.dropout > 0 ? Dropout(options.dropout, generator: drop) : nil
        let (loss, counted, padded) = loss(of: examples, noise: noise, dropout: dropout)
        // Weights that are not trained cost no product for their own gradient.
        let passes = options.tunesLanguageModel ? 6.0 : 4.0
        let shape = model.configuration.languageModel
        let language = shape.multiplications(tokens: padded, scored: counted)
        let mapper = Double(store.parameterCount) - shape.parameterCount
        return BatchLoss(
            loss: loss, units: counted,
            operations: 6 * mapper * Double(examples.count) + passes * language)
    }

    /// `loss`: nats per token of held-out captions; `cider`: CIDEr-D (times 100) of greedy captions of some held-out pictures
    /// on the level of characters. The first is 100 less CIDEr, or the loss, as the options say.
    public func validate() throws -> [(name: String, value: Double)] {
        guard !dataset.validation.isEmpty else { return [] }
        var sum = 0.0
        var count = 0
        for start in stride(from: 0, to: dataset.validation.count, by: 64) {
            let examples = Array(dataset.validation[start..<min(start + 64, dataset.validation.count)])
            let (loss, counted, _) = loss(of: examples, noise: nil, dropout: nil)
            if counted > 0 { sum += loss.item * Double(counted) }
            count += counted
        }
        let loss = (name: "loss", value: sum / Double(max(1, count)))
        guard let result = try judge.measure(model, maximumLength: options.maximumLength) else { return [loss] }
        report(result.examples.joined(separator: "\n"))
        let measured = [loss, (name: "cider", value: result.cider)]
        return options.bestBy == .loss ? measured : [(name: "cider_missed", value: 100 - result.cider)] + measured
    }

    /// Writes `vocab.txt`, `config.json` and the weights in bfloat16, as `ClipCap.open` reads them.
    ///
    /// - Throws: `WeightFileError`.
    public func save(to folder: URL, tensor: (String) -> Tensor?) throws {
        try saveCaptioner(model, store, dataset.tokens, to: folder, tensor: tensor)
    }

    /// Does nothing: no parameter needs a correction.
    public func didStep() {}

    // MARK: - Starting

    private static func newModel(
        _ dataset: CaptionDataset, _ options: CaptionOptions
    ) -> any LanguageModelConfiguration {
        let end = Int(dataset.tokenizer.separatorID)
        switch options.languageModel {
        case .gpt2:
            let offset = options.mapper == .mlp ? options.prefixLength : options.constantLength
            var model = GPT2Configuration(
                vocabularySize: dataset.tokens.count, hiddenSize: options.hiddenSize, layerCount: options.layerCount,
                headCount: options.headCount, positionCount: offset + options.maximumLength)
            model.eosTokenID = end
            return model
        case .t5:
            var model = T5Configuration(
                vocabularySize: dataset.tokens.count, hiddenSize: options.hiddenSize, layerCount: options.layerCount,
                headCount: options.headCount, headSize: options.hiddenSize / options.headCount,
                innerSize: 4 * options.hiddenSize)
            model.padTokenID = Int(dataset.tokenizer.paddingID)
            model.startTokenID = Int(dataset.tokenizer.classificationID)
            model.eosTokenID = end
            return model
        }
    }

    /// - Throws: `TrainingError.data` where the ids of captions are no rows of the embedding.
    private static func check(_ dataset: CaptionDataset, rows: Int, _ name: String) throws(TrainingError) {
        guard dataset.tokens.count <= rows else {
            throw .data(
                path: name,
                reason: "has \(rows) tokens, but the vocabulary \(dataset.tokens.count); take both from one folder")
        }
    }

    /// Scales and shifts the mapper's first layer by the mean and deviation of what it will be given.
    private func standardize() {
        let name = model.configuration.mapper == .mlp ? "clip_project.model.0" : "clip_project.linear"
        guard let weight = store["\(name).weight"], let bias = store["\(name).bias"] else { return }
        var random = SplitMix64(seed, 0x5CA1E)
        let examples = dataset.training.shuffled(using: &random).prefix(4096)
        withoutGradients {
            var x = inputs(Array(examples), noise: Generator(seed: seed ^ 0x5CA1E))  // [N, E]
            if model.configuration.normalizesEmbedding { x = x.normalized() }
            standardizeInput(x, weight: weight, bias: bias)
        }
    }

    // MARK: - Batches

    private func batches(of epoch: Int) -> [[Int]] {
        if let plan, plan.epoch == epoch { return plan.batches }
        var random = SplitMix64(seed, UInt64(epoch), 0xCA97)
        let order = dataset.training.indices.shuffled(using: &random)
        // Captions of about equal length stand together, so that little is padding; pools keep the choice random.
        let size = options.batchCaptions
        var batches: [[Int]] = []
        for start in stride(from: 0, to: order.count, by: 50 * size) {
            let pool = order[start..<min(start + 50 * size, order.count)].sorted {
                (dataset.training[$0].ids.count, $0) < (dataset.training[$1].ids.count, $1)
            }
            for first in stride(from: 0, to: pool.count, by: size) {
                batches.append(Array(pool[first..<min(first + size, pool.count)]))
            }
        }
        batches.shuffle(using: &random)
        plan = (epoch, batches)
        return batches
    }

    /// What the mapper is given. `[B, E]`
    private func inputs(_ examples: [CaptionDataset.Example], noise: Generator?) -> Tensor {
        let plain = dataset.embeddings(examples.map(\.row)).to(nil, device)
        let isText = examples.map { $0.row >= dataset.firstText }
        guard let noise, isText.contains(true) else { return plain }
        let drawn = CaptionNoise.applied(to: plain, variance: options.noiseVariance, offset: offset, generator: noise)
        guard isText.contains(false) else { return drawn }
        return Tensor(isText, [isText.count, 1]).to(nil, device).selecting(drawn, else: plain)
    }

    /// The mean loss, its number of tokens, and the padded size of the batch, pictures included.
    private func loss(
        of examples: [CaptionDataset.Example], noise: Generator?, dropout: Dropout?
    ) -> (Tensor, counted: Int, padded: Int) {
        let rows = CaptionRows(examples.map(\.ids), unknown: dataset.tokenizer.unknownID)
        let prefix = model.prefix(inputs(examples, noise: noise), dropout: dropout)  // [B, P, C]
        // A frozen language model reads as in use.
        let hidden = model.hidden(prefix, rows.ids(device), dropout: options.tunesLanguageModel ? dropout : nil)
        let logits = model.logits(rows.learned(hidden, device))  // [N, V]
        let loss = Kernels.crossEntropy(logits, rows.targets(device))
        return (loss, rows.places.count, examples.count * (rows.width + prefix.size(1)))
    }
}

/// Captions of a batch, padded at the end, and where something is learned.
struct CaptionRows {
    private let count: Int
    /// T.
    let width: Int
    private let padded: [Int32]
    private let wanted: [Int32]
    /// Indices in `[B T]` of the tokens that count.
    let places: [Int32]

    init(_ rows: [[Int32]], unknown: Int32) {
        let width = rows.map(\.count).max() ?? 1
        var padded = [Int32](repeating: 0, count: rows.count * width)
        var places: [Int32] = []
        var wanted: [Int32] = []
        for (row, ids) in rows.enumerated() {
            for (column, id) in ids.enumerated() {
                padded[row * width + column] = id
                guard id != unknown else { continue }
                places.append(Int32(row * width + column))
                wanted.append(id)
            }
        }
        (count, self.width, self.padded, self.places, self.wanted) = (rows.count, width, padded, places, wanted)
    }

    /// int64 `[B, T]`
    func ids(_ device: Device) -> Tensor { Tensor.ids(padded, [count, width]).to(nil, device) }

    /// int64 `[N]`
    func targets(_ device: Device) -> Tensor { Tensor.ids(wanted, [wanted.count]).to(nil, device) }

    /// Scores are dear with a vocabulary of thousands, so only where something is learned: `[B, T, C]` -> `[N, C]`
    func learned(_ hidden: Tensor, _ device: Device) -> Tensor {
        hidden.reshaped(count * width, -1).gatheringSlices(0, at: Tensor.ids(places, [places.count]).to(nil, device))
    }
}

/// Writes `vocab.txt`, `config.json` and bfloat16 weights of a captioner.
func saveCaptioner(
    _ model: ClipCap, _ store: ParameterStore, _ tokens: [String], to folder: URL, tensor: (String) -> Tensor?
) throws {
    try writeVocabulary(tokens, to: folder)
    try withoutActuallyEscaping(tensor) { tensor in
        try ModelFolder.save(configuration: model.configuration, store: store, dtype: .bfloat16, to: folder) { entry in
            tensor(entry.name) ?? entry.tensor
        }
    }
}

/// Captions held-out pictures and holds the result against their own captions.
final class CaptionJudge {
    private let dataset: CaptionDataset
    private let pictures: [CaptionDataset.HeldOut]
    private let scorer: CiderScorer<String>?
    private let device: Device

    /// - Parameter count: pictures that are captioned, the same ones in every run
    init(_ dataset: CaptionDataset, count: Int, device: Device) throws {
        self.dataset = dataset
        self.device = device
        pictures = Array(
            dataset.heldOut.sorted { (stableHash($0.key), $0.key) < (stableHash($1.key), $1.key) }.prefix(count))
        scorer =
            pictures.isEmpty
            ? nil
            : try CiderScorer(
                references: pictures.map { $0.captions.map(CaptionSegmentation.characters.tokens) })
    }

    /// CIDEr-D times 100 of greedy captions, and a few of them; nil where nothing is held out.
    func measure(_ model: ClipCap, maximumLength: Int) throws -> (cider: Double, examples: [String])? {
        guard let scorer else { return nil }
        let decoding = Decoding.greedy(rules: model.rules(dataset.tokenizer, maximumLength: maximumLength))
        var total = 0.0
        var examples: [String] = []
        for start in stride(from: 0, to: pictures.count, by: 64) {
            let part = Array(pictures[start..<min(start + 64, pictures.count)])
            let texts = try withoutGradients {
                let source = model.source(dataset.embeddings(part.map(\.row)).to(nil, device))
                return try TextGenerator(source, device: device).generate(
                    part.map { _ in TextPrompt() }, decoding)
            }
            for (index, found) in texts.enumerated() {
                let caption = dataset.tokenizer.decode(found.first?.ids ?? [])
                total += scorer.score(CaptionSegmentation.characters.tokens(of: caption), at: start + index)
                if examples.count < 5 { examples.append("  \(part[index].key)  \(caption)") }
            }
        }
        return (100 * total / Double(pictures.count), examples)
    }
}
