public import TihuaModels

/// The size of a new captioner and what it learns from. The part `caption` of a `RecipeFile`.
public struct CaptionOptions: RecipeOptions, Codable, Sendable, Equatable {
    /// The mapping network. `grid` needs embeddings with grids.
    public var mapper = ClipCapConfiguration.Mapper.mlp
    /// Embeddings that are made from the picture's; with the MLP they stand in front of the caption. 0 with the grid
    /// mapper, which then looks at the grid alone.
    public var prefixLength = 10
    /// Learned constants of the transformer mappers; their outputs stand in front of the caption.
    public var constantLength = 10
    /// Layers of the transformer mappers.
    public var mapperLayerCount = 8
    /// Heads of the transformer mappers.
    public var mapperHeadCount = 8
    /// The share of a picture's cells that the grid mapper does not see in training, other ones in every batch.
    public var cellDropout = 0.0
    /// Normalises every embedding first, in training and in use; always on where some are normalised already.
    public var normalizesEmbeddings = true
    /// Starts the mapper as if each dimension of the embeddings had mean 0 and deviation 1; if false, as PyTorch does.
    public var standardizes = true
    /// Whether the language model is trained too; if false, a trained one must be given.
    public var tunesLanguageModel = true

    /// The language model where none is given: `gpt2`, or `t5`, whose encoder reads what the mapper makes.
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
    /// Tokens that occur less often become `[UNK]`, which is neither learned nor written.
    public var minimumCharacterCount = 2

    /// Captions of one batch.
    public var batchCaptions = 40
    /// Where above 0, the run takes this many epochs, whatever `TrainingOptions.steps` says.
    public var epochs = 0
    /// One picture in this many is held out; 0 holds out none.
    public var holdOut = 20
    /// Held-out pictures that are captioned at each validation.
    public var sampleCount = 200
    /// What `best` is chosen by: `cider` of greedy captions, or `loss` per token.
    public var bestBy = Measure.cider

    /// The variance of CapDec's noise in each dimension of an embedding of 640 numbers. For other widths it is
    /// rescaled, so that the length of the noise stays the same. 0 adds none.
    public var noiseVariance = 0.016
    /// Adds to the embeddings of texts the mean difference between those of pictures and those of texts.
    public var addsModalityOffset = false

    /// The kind of a new language model.
    public enum LanguageModel: String, Codable, Sendable, CaseIterable {
        case gpt2, t5
    }

    /// What is measured on held-out pictures.
    public enum Measure: String, Codable, Sendable, CaseIterable {
        case cider, loss
    }

    /// The default options.
    public init() {}

    /// Checks the ranges.
    ///
    /// - Throws: `TrainingError.option` naming the first value that makes no sense.
    public func validate() throws(TrainingError) {
        try OptionRange.check(ranges)
        guard prefixLength > 0 || mapper == .grid else {
            throw .option("prefixLength", "0", "1 to 4096 with this mapper")
        }
        guard hiddenSize % headCount == 0 else {
            throw .option("headCount", "\(headCount)", "a divisor of hiddenSize, \(hiddenSize)")
        }
    }

    var ranges: [OptionRange] {
        let counts = 0...OptionRange.countLimit
        return [
            .init("prefixLength", prefixLength, 0...4096), .init("constantLength", constantLength, 1...4096),
            .share("cellDropout", cellDropout), .init("mapperLayerCount", mapperLayerCount, 1...1024),
            .init("mapperHeadCount", mapperHeadCount, 1...1024),
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
