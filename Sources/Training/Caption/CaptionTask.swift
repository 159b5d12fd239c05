public import Foundation
import TihuaDataFiles
import TihuaGeneration
public import TihuaModels
public import TihuaNN
import TihuaTokenizers
public import TihuaTorch
import TihuaVerse

// How a captioner is trained: on pictures' embeddings (Mokady et al. 2021, ClipCap), or on texts alone (Nukrai et al.
// 2022, CapDec, arXiv 2211.00575), whose embeddings are moved by noise as far as a picture's lies from them. B captions
// of a batch, T their tokens, P embeddings in front, C width of the language model.

/// The task of training a captioner on captions.
public final class CaptionTask: TrainingTask {
    /// The parameters of the captioner.
    public let store: ParameterStore
    /// Tokens of captions with their ends.
    public let unit = "tokens"
    /// The options of the captioner and a hash of the data.
    public let identity: String
    /// The number of the options, until another one is set here.
    public var epochs: Int
    /// The captioner.
    public let model: ClipCap
    let dataset: CaptionDataset

    private let options: CaptionOptions
    private let seed: UInt64
    private let device: Device
    private let report: (String) -> Void
    private let offset: Tensor?
    private let judge: CaptionJudge
    private var batches: EpochBatches

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
    ///   - report: receives a few captions of held-out pictures at each validation
    /// - Throws: `TrainingError` for options that make no sense, `ModelError` and `WeightFileError` for what `start`
    ///   names.
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
        let store: ParameterStore
        switch start {
        case .captioner(let opened):
            (model, store) = try Self.copy(of: opened, for: dataset, computeType: computeType, device: device)
        case .new, .languageModel, .languageModelOf:
            store = ParameterStore(seed: training.seed, device: device)
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
                        "tunesLanguageModel", "false", "true where no language model is given")
                }
                language = Self.newModel(dataset, options)
            }
            try Self.check(dataset, rows: language.vocabularySize, source)
            let grid = try options.mapper == .grid ? Self.grid(of: dataset) : (0, 0)
            var shape = ClipCapConfiguration(
                mapper: options.mapper, embeddingSize: dataset.width, prefixLength: options.prefixLength,
                constantLength: options.constantLength, grid: grid, languageModel: language)
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
        self.store = store
        let shape = model.configuration
        let room = shape.languageModel.capacity(behind: shape.captionOffset) ?? .max
        guard options.maximumLength <= room else {
            throw TrainingError.option(
                "maximumLength", "\(options.maximumLength)", "at most \(room), the room behind the picture's embeddings"
            )
        }
        identity = "caption \(describe(options)) data \(dataset.fingerprint)"
        epochs = options.epochs
        batches = Self.batches(of: dataset.training.map(\.ids.count), size: options.batchCaptions, seed: training.seed)
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
        epochs = original.epochs
        batches = original.batches
        store = ParameterStore(sharing: original.store)
        model = ClipCap(original.model.configuration, computeType: original.model.computeType, at: store.root)
    }

    /// A second captioner with the same parameters.
    public func replica() -> CaptionTask? { CaptionTask(sharing: self) }

    /// The parameters of a language model that is not tuned keep their values.
    public func isFrozen(_ name: String) -> Bool {
        !options.tunesLanguageModel && name.hasPrefix(model.configuration.languageModel.path + ".")
    }

    /// Batches of one epoch; epochs may differ.
    public func batchCount(epoch: Int) -> Int { batches[epoch].count }

    /// The mean loss, in nats per token; padding and `[UNK]` do not count.
    public func loss(epoch: Int, batch: Int) throws -> BatchLoss {
        let examples = batches[epoch][batch].map { dataset.training[$0] }
        let noise = Generator(seed: SplitMix64(seed, UInt64(epoch), UInt64(batch), 0x9015E).peek)
        let drop = Generator(seed: SplitMix64(seed, UInt64(epoch), UInt64(batch), 0xD20F).peek, device: device)
        let dropout = options.dropout > 0 ? Dropout(options.dropout, generator: drop) : nil
        let draw = SplitMix64(seed, UInt64(epoch), UInt64(batch), 0x71E3)
        let (loss, tokens, padded) = loss(of: examples, noise: noise, dropout: dropout, draw: draw)
        // A weight that is not trained needs no product for its own gradient.
        let passes = options.tunesLanguageModel ? 6.0 : 4.0
        let shape = model.configuration.languageModel
        let language = shape.multiplications(tokens: padded, scored: tokens.count)
        let mapper = Double(store.parameterCount) - shape.parameterCount
        return BatchLoss(
            loss: loss, units: tokens.count,
            operations: 6 * mapper * Double(examples.count * mappedCount) + passes * language)
    }

    /// `loss`: nats per token of held-out captions; `cider`: CIDEr-D (times 100) of greedy captions of some held-out
    /// pictures on the level of characters. The first is 100 less CIDEr, or the loss, as the options say.
    public func validate() throws -> [(name: String, value: Double)] {
        guard !dataset.validation.isEmpty else { return [] }
        let mean = meanLoss(of: dataset.validation.count) { range in
            let (loss, tokens, _) = self.loss(
                of: Array(dataset.validation[range]), noise: nil, dropout: nil, draw: nil)
            return (loss, tokens.count)
        }
        let loss = (name: "loss", value: mean)
        guard let result = try judge.measure(model, maximumLength: options.maximumLength) else { return [loss] }
        report(result.examples.joined(separator: "\n"))
        let measured = [loss, (name: "cider", value: result.cider)]
        return options.bestBy == .loss ? measured : [(name: "cider_missed", value: 100 - result.cider)] + measured
    }

    /// Writes `vocab.txt`, `config.json` and the weights in bfloat16, as `ClipCap.open` reads them.
    ///
    /// - Throws: `FileError`.
    public func save(to folder: URL, tensor: @escaping (String) -> Tensor?) throws {
        try saveModel(model.configuration, store, tokens: dataset.tokens, to: folder, tensor: tensor)
    }

    // MARK: - Starting

    /// The model of a trained captioner with parameters of its own.
    ///
    /// - Throws: `TrainingError.data` where it does not go with the embeddings or the tokens.
    static func copy(
        of opened: ClipCap.Opened, for dataset: CaptionDataset, computeType: DType, device: Device
    ) throws -> (model: ClipCap, store: ParameterStore) {
        let shape = opened.model.configuration
        if shape.takesGrid {
            guard try grid(of: dataset) == (shape.cellCount, shape.cellWidth) else {
                throw TrainingError.data(
                    path: "the embeddings",
                    reason: "have other grids than the captioner takes (\(shape.cellCount) cells of"
                        + " \(shape.cellWidth)); take those of the CLIP model that it was trained with")
            }
            if dataset.hasTexts { try CaptionDataset.refuseTexts(shape.mapper) }
        }
        guard shape.embeddingSize == dataset.width else {
            throw TrainingError.data(
                path: "the embeddings",
                reason: "are \(dataset.width) wide, but the captioner takes \(shape.embeddingSize);"
                    + " take those of the CLIP model that it was trained with")
        }
        try check(dataset, rows: shape.languageModel.vocabularySize, "the captioner")
        if let one = shape.clipModel, let other = dataset.clipModel, one != other {
            throw TrainingError.data(
                path: "the embeddings",
                reason: "are of another CLIP model than the one that the captioner was trained with")
        }
        let store = ParameterStore(seed: nil, device: device)
        let model = ClipCap(shape, computeType: computeType, at: store.root)
        try store.load(names: opened.store.entries.map(\.name)) { name in
            guard let tensor = opened.store[name] else { throw ParameterError.missing([name]) }
            return tensor
        }
        return (model, store)
    }

    /// The cells of a picture's grid and their width.
    ///
    /// - Throws: `TrainingError.data` where the embeddings come without grids.
    private static func grid(of dataset: CaptionDataset) throws(TrainingError) -> (cells: Int, width: Int) {
        guard let shape = dataset.grids?.shape else {
            throw .data(
                path: "the embeddings", reason: "have no grids, which this captioner needs; make them again with grids")
        }
        return (shape.cells, shape.width)
    }

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

    /// - Throws: `TrainingError.data` where the vocabulary has more tokens than the embedding has rows.
    private static func check(_ dataset: CaptionDataset, rows: Int, _ name: String) throws(TrainingError) {
        guard dataset.tokens.count <= rows else {
            throw .data(
                path: name,
                reason: "has \(rows) tokens, but the vocabulary \(dataset.tokens.count); take both from one folder")
        }
    }

    /// Scales and shifts the mapper's first layer by the mean and deviation of its input.
    private func standardize() {
        var random = SplitMix64(seed, 0x5CA1E)
        let examples = Array(dataset.training.shuffled(using: &random).prefix(4096))
        func standardize(_ name: String, _ x: () -> Tensor?) {
            guard let weight = store["\(name).weight"], let bias = store["\(name).bias"] else { return }
            withoutGradients { if let x = x() { standardizeInput(x, weight: weight, bias: bias) } }
        }
        standardize(model.configuration.mapper == .mlp ? "clip_project.model.0" : "clip_project.linear") {
            let x = inputs(examples, examples.map(\.row), noise: Generator(seed: seed ^ 0x5CA1E))  // [N, E]
            return model.configuration.normalizesEmbedding ? x.normalized() : x
        }
        standardize("clip_project.cells") {
            // A few hundred pictures have as many cells as the others have embeddings.
            let pictures = examples.prefix(256).map(\.row)
            return dataset.grids.map { $0.tensor(pictures).reshaped(-1, $0.shape.width).to(nil, device) }
        }
    }

    // MARK: - Batches

    /// Captions of about equal length stand together, so that little is padding; pools of 50 batches keep the choice
    /// random.
    private static func batches(of lengths: [Int], size: Int, seed: UInt64) -> EpochBatches {
        EpochBatches(seed: seed, stream: 0xCA97) { random in
            let order = lengths.indices.shuffled(using: &random)
            var batches = ranges(of: order.count, size: 50 * size).flatMap { range in
                let pool = order[range].sorted { (lengths[$0], $0) < (lengths[$1], $1) }
                return ranges(of: pool.count, size: size).map { Array(pool[$0]) }
            }
            batches.shuffle(using: &random)
            return batches
        }
    }

    /// The embeddings that a batch is written from, `[B, E]`.
    ///
    /// - Parameter rows: the views of the examples
    private func inputs(_ examples: [CaptionDataset.Example], _ rows: [Int], noise: Generator?) -> Tensor {
        let plain = dataset.embeddings(rows).to(nil, device)
        let isText = examples.map { $0.row >= dataset.firstText }
        guard let noise, isText.contains(true) else { return plain }
        let drawn = CaptionNoise.applied(to: plain, variance: options.noiseVariance, offset: offset, generator: noise)
        guard isText.contains(false) else { return drawn }
        return Tensor(isText, [isText.count, 1]).to(nil, device).selecting(drawn, else: plain)
    }

    /// How often the parameters of the mapper are used for a picture, about: once for each input of its layers.
    private var mappedCount: Int {
        let shape = model.configuration
        return switch shape.mapper {
        case .mlp: 1
        case .transformer, .bert: shape.prefixLength + shape.constantLength
        // A third of a layer looks at the cells, which are five times as many as the constants.
        case .grid: shape.constantLength + (shape.prefixLength + shape.cellCount) / 6
        }
    }

    /// The cells of each of `count` pictures that are seen; nil where all are.
    private func drawnCells(_ count: Int, using random: inout SplitMix64) -> [[Int]]? {
        let shape = model.configuration
        let kept = max(1, Int((Double(shape.cellCount) * (1 - options.cellDropout)).rounded()))
        guard shape.takesGrid, kept < shape.cellCount else { return nil }
        return (0..<count).map { _ in Array((0..<shape.cellCount).shuffled(using: &random).prefix(kept)) }
    }

    /// The mean loss, what was learned, and the padded size of the batch, pictures included.
    ///
    /// - Parameter draw: what views and cells are drawn with; nil for all cells of the pictures as they are
    private func loss(
        of examples: [CaptionDataset.Example], noise: Generator?, dropout: Dropout?, draw: SplitMix64?
    ) -> (Tensor, LearnedTokens, padded: Int) {
        let tokens = LearnedTokens(
            captions: examples.map(\.ids), unknown: dataset.tokenizer.unknownID, device: device)
        var rows = examples.map(\.row)
        var cells: [[Int]]?
        if var draw {
            rows = dataset.drawnViews(rows, using: &draw)
            cells = drawnCells(rows.count, using: &draw)
        }
        let grid = model.configuration.takesGrid ? dataset.grids?.tensor(rows, cells: cells).to(nil, device) : nil
        let which = cells.map { Tensor.ids($0.joined().map(Int32.init), [rows.count, $0[0].count]).to(nil, device) }
        let prefix = model.prefix(
            inputs(examples, rows, noise: noise), grid: grid, cells: which, dropout: dropout)  // [B, P, C]
        // A frozen language model runs without dropout, as in use.
        let hidden = model.hidden(prefix, tokens.inputs(), dropout: options.tunesLanguageModel ? dropout : nil)
        return (
            tokens.crossEntropy(hidden, model.logits), tokens, tokens.paddedCount + examples.count * prefix.size(1)
        )
    }
}
