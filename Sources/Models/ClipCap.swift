public import TihuaNN
public import TihuaTorch

// ClipCap (Mokady et al. 2021, arXiv 2111.09734): the embedding of a picture becomes a few embeddings of a language
// model, which goes on with the caption. The original code is https://github.com/rmokady/CLIP_prefix_caption, the
// Chinese one https://github.com/yangjianxin1/ClipCap-Chinese (5006e16); here the language model may also be one with
// an encoder, T5.
// B batch, E width of the picture's embedding, C width of the language model, K embeddings made from the picture, P
// embeddings in front of the caption, T tokens, V vocabulary, N cells of a picture's grid, D their width.

/// The shape of a captioner, as its `config.json` states it.
public struct ClipCapConfiguration: ModelConfiguration {
    /// How a picture's embedding becomes embeddings of the language model.
    public enum Mapper: String, Sendable, Codable, CaseIterable {
        /// Two layers with tanh between them; their output stands in front of the caption.
        case mlp
        /// Pre-norm layers with ReLU over the picture's embeddings and learned constants; the constants' outputs stand
        /// in front of the caption, as in the original code.
        case transformer
        /// The same with a BERT's layers and positions, as in ClipCap-Chinese.
        case bert
        /// Learned constants that attend to the cells of the picture's grid, which says what is where, and to its
        /// embedding; the constants' outputs stand in front of the caption (Alayrac et al. 2022, Flamingo).
        case grid
    }

    /// Which mapping network.
    public var mapper: Mapper
    /// The width of a picture's embedding (E), `clip_size`.
    public var embeddingSize: Int
    /// The embeddings that are made from a picture's (K), `prefix_length`; the MLP's stand in front of the caption. 0
    /// for a grid mapper that looks at the grid alone.
    public var prefixLength: Int
    /// The learned constants, `constant_length`; not used by the MLP.
    public var constantLength: Int
    /// Layers of the transformer mappers.
    public var layerCount = 8
    /// Heads of the transformer mappers; divides C.
    public var headCount = 8
    /// The width inside their feed-forward blocks: 2 C in the original code, 4 C in a BERT.
    public var innerSize: Int
    /// The cells of a picture's grid (N), `grid_cells`; of the grid mapper alone.
    public var cellCount = 0
    /// The width of a cell (D), `grid_width`; of the grid mapper alone.
    public var cellWidth = 0
    /// Positions of the BERT mapper, at least K and the constants together.
    public var positionCount = 512
    /// Whether the picture's embedding is brought to length 1 first.
    public var normalizesEmbedding = false
    /// The fingerprint of the CLIP model whose embeddings it was trained on; nil where it is not known.
    public var clipModel: String?
    /// The shape of the language model.
    public var languageModel: any LanguageModelConfiguration

    /// A captioner whose mapper has the sizes of the code that it is from.
    ///
    /// - Parameter grid: the cells of a picture's grid and their width, for the grid mapper
    public init(
        mapper: Mapper, embeddingSize: Int, prefixLength: Int = 10, constantLength: Int = 10,
        grid: (cells: Int, width: Int) = (0, 0), languageModel: any LanguageModelConfiguration
    ) {
        (cellCount, cellWidth) = grid
        self.mapper = mapper
        self.embeddingSize = embeddingSize
        self.prefixLength = prefixLength
        self.constantLength = constantLength
        self.languageModel = languageModel
        innerSize = languageModel.hiddenSize * (mapper == .bert ? 4 : 2)
    }

    /// P: the embeddings that stand in front of the caption.
    public var captionOffset: Int { mapper == .mlp ? prefixLength : constantLength }

    /// Whether captions are written from the grid of a picture beside its embedding.
    public var takesGrid: Bool { mapper == .grid }

    /// The number of trained numbers, about; a Double, since a hostile file may name sizes whose product overflows.
    public var parameterCount: Double {
        let width = Double(languageModel.hiddenSize)
        let output = Double(prefixLength) * width
        let head = (Double(embeddingSize) + 1) * output + Double(constantLength) * width
        let layers = Double(layerCount) * layerParameterCount(width: width, inner: Double(innerSize))
        let mapped =
            switch mapper {
            case .mlp: MLPMapper.parameterCount(embeddingSize, output: output)
            case .transformer: head + layers
            case .bert: head + layers + (Double(positionCount) + 4) * width
            case .grid: head + layers + (Double(cellWidth) + 1 + Double(cellCount)) * width
            }
        return mapped + languageModel.parameterCount
    }

    /// Equal in all parts.
    public static func == (one: ClipCapConfiguration, other: ClipCapConfiguration) -> Bool {
        (one.mapper, one.embeddingSize, one.prefixLength, one.constantLength, one.layerCount, one.headCount)
            == (
                other.mapper, other.embeddingSize, other.prefixLength, other.constantLength, other.layerCount,
                other.headCount
            )
            && (one.innerSize, one.positionCount, one.normalizesEmbedding, one.clipModel)
                == (other.innerSize, other.positionCount, other.normalizesEmbedding, other.clipModel)
            && (one.cellCount, one.cellWidth) == (other.cellCount, other.cellWidth)
            && one.languageModel.isEqual(to: other.languageModel)
    }

    private enum CodingKeys: String, CodingKey {
        case modelType = "model_type"
        case architectures
        case mapper = "mapping_type"
        case embeddingSize = "clip_size"
        case prefixLength = "prefix_length"
        case constantLength = "constant_length"
        case layerCount = "mapper_layers"
        case headCount = "mapper_heads"
        case innerSize = "mapper_inner"
        case positionCount = "mapper_positions"
        case cellCount = "grid_cells"
        case cellWidth = "grid_width"
        case normalizesEmbedding = "normalize_prefix"
        case clipModel = "clip_fingerprint"
        case languageModel = "language_model"
    }

    /// Values that the file leaves out are those of the code that the mapper is from.
    ///
    /// - Throws: `ModelError.unsupported` for sizes that no captioner has and for other language models;
    ///   `DecodingError`.
    public init(from decoder: any Decoder) throws {
        let reader = try ConfigurationReader(decoder, model: "clipcap", keyedBy: CodingKeys.self)
        let name = try reader.values.decode(String.self, forKey: .mapper)
        let known = Mapper.allCases.map(\.rawValue).joined(separator: ", ")
        guard let mapper = Mapper(rawValue: name) else {
            throw ModelError.unsupported(model: "clipcap", setting: "mapping_type", value: name, known: known)
        }
        struct Header: Decodable {
            var model_type: String
        }
        let type = try reader.values.decode(Header.self, forKey: .languageModel).model_type
        guard let shape = Architecture(modelType: type, classes: [])?.languageModel else {
            throw ModelError.unsupported(
                model: "clipcap", setting: "language_model.model_type", value: type,
                known: Architecture.languageModels.map(\.rawValue).joined(separator: ", "))
        }
        let model = try reader.values.decode(shape, forKey: .languageModel)
        var size = 0
        try reader.size(.embeddingSize, into: &size)
        try reader.require(size > 0, .embeddingSize, "missing", known: "1 to 1048576")
        self.init(mapper: mapper, embeddingSize: size, languageModel: model)
        try reader.size(.prefixLength, into: &prefixLength, in: (mapper == .grid ? 0 : 1)...4096)
        try reader.size(.constantLength, into: &constantLength, in: 1...4096)
        try reader.size(.layerCount, into: &layerCount, in: 1...1024)
        try reader.size(.headCount, into: &headCount, in: 1...1024)
        try reader.size(.innerSize, into: &innerSize)
        try reader.size(.positionCount, into: &positionCount, in: 2...(1 << 20))
        try reader.size(.cellCount, into: &cellCount, in: 1...(1 << 16))
        try reader.size(.cellWidth, into: &cellWidth)
        try reader.read(.normalizesEmbedding, into: &normalizesEmbedding)
        try reader.read(.clipModel, into: &clipModel)
        try validate()
    }

    /// Checks that the parts fit each other.
    ///
    /// - Throws: `ModelError.unsupported`.
    public func validate() throws(ModelError) {
        func require(_ condition: Bool, _ key: CodingKeys, _ value: Int, _ known: String) throws(ModelError) {
            guard !condition else { return }
            throw .unsupported(model: "clipcap", setting: key.stringValue, value: "\(value)", known: known)
        }
        let width = languageModel.hiddenSize
        if mapper == .mlp {
            // The two layers meet at half of the output.
            try require(prefixLength * width >= 2, .prefixLength, prefixLength, "at least 2 numbers in all")
        } else {
            try require(
                width % headCount == 0, .headCount, headCount, "a divisor of the language model's width, \(width)")
            try require(
                mapper != .bert || prefixLength + constantLength <= positionCount, .positionCount, positionCount,
                "at least prefix_length and constant_length together, \(prefixLength + constantLength)")
            try require(mapper != .grid || cellCount > 0, .cellCount, cellCount, "1 to 65536 with the grid mapper")
            try require(mapper != .grid || cellWidth > 0, .cellWidth, cellWidth, "1 to 1048576 with the grid mapper")
        }
        guard let positions = languageModel.positionLimit else { return }
        try require(
            captionOffset <= positions - 2, mapper == .mlp ? .prefixLength : .constantLength, captionOffset,
            "at most \(positions - 2), for the language model has \(positions) positions")
    }

    /// Writes every key.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode("clipcap", forKey: .modelType)
        try values.encode(["ClipCaptionModel"], forKey: .architectures)
        try values.encode(mapper, forKey: .mapper)
        try values.encode(embeddingSize, forKey: .embeddingSize)
        try values.encode(prefixLength, forKey: .prefixLength)
        try values.encode(normalizesEmbedding, forKey: .normalizesEmbedding)
        try values.encodeIfPresent(clipModel, forKey: .clipModel)
        if mapper != .mlp {
            try values.encode(constantLength, forKey: .constantLength)
            try values.encode(layerCount, forKey: .layerCount)
            try values.encode(headCount, forKey: .headCount)
            try values.encode(innerSize, forKey: .innerSize)
        }
        if mapper == .bert { try values.encode(positionCount, forKey: .positionCount) }
        if mapper == .grid {
            try values.encode(cellCount, forKey: .cellCount)
            try values.encode(cellWidth, forKey: .cellWidth)
        }
        try values.encode(languageModel, forKey: .languageModel)
    }
}

/// A captioner: a mapping network and the language model behind it.
///
/// Parameters carry the names of ClipCap-Chinese (`clip_project.model.0.weight`, `gpt2.transformer.wte.weight`). Not
/// `Sendable`: it lives on one thread.
public final class ClipCap: LoadableModel {
    /// `clipcap` in `config.json`.
    public static let architecture = Architecture("clipcap", classes: ["ClipCaption"])

    /// What the model was made with.
    public let configuration: ClipCapConfiguration
    /// The language model, which writes behind `prefix`.
    public let languageModel: any LanguageModel
    /// The element type of the activations.
    public let computeType: DType
    private let mapping: Mapping

    /// The two kinds of mapping network, by what they see of a picture.
    private enum Mapping {
        case vector(any MappingNetwork)
        case grid(GridMapper)
    }

    /// Declares the parameters under `path`, which is the store's root for a checkpoint.
    public init(_ configuration: ClipCapConfiguration, computeType: DType = .float32, at path: ParameterPath) {
        self.configuration = configuration
        self.computeType = computeType
        let project = path / "clip_project"
        mapping =
            switch configuration.mapper {
            case .mlp:
                .vector(
                    MLPMapper(
                        configuration.embeddingSize, prefixLength: configuration.prefixLength,
                        width: configuration.languageModel.hiddenSize, at: project))
            case .transformer: .vector(TransformerMapper(configuration, at: project))
            case .bert: .vector(BERTMapper(configuration, at: project))
            case .grid: .grid(GridMapper(configuration, at: project))
            }
        let shape = configuration.languageModel
        languageModel = shape.model(computeType: computeType, at: path / shape.path)
    }

    /// The embeddings that stand in front of a caption, or that its language model encodes.
    ///
    /// - Parameters:
    ///   - embeddings: of pictures (or of texts in the same space), float `[B, E]`
    ///   - grid: the cells of the pictures, float `[B, N, D]`, which the grid mapper needs and the others do not look
    ///     at; of n cells `[B, n, D]` where `cells` says which
    ///   - cells: int64 `[B, n]`, the places of the cells of `grid`; nil for all of them in their order
    ///   - dropout: in training; the BERT mapper takes none
    /// - Returns: `[B, P, C]` in the compute type
    /// - Precondition: there is a grid where `configuration.takesGrid`
    public func prefix(
        _ embeddings: Tensor, grid: Tensor? = nil, cells: Tensor? = nil, dropout: Dropout? = nil
    ) -> Tensor {
        let scaled = (configuration.normalizesEmbedding ? embeddings.normalized() : embeddings).to(computeType)
        switch mapping {
        case .vector(let network): return network(scaled, dropout: dropout)
        case .grid(let network):
            guard let grid else { preconditionFailure("a captioner with a grid mapper needs the grids of pictures") }
            return network(scaled, grid: grid.to(computeType), which: cells, dropout: dropout)
        }
    }

    /// The hidden states that each token of a caption is read from.
    ///
    /// - Parameters:
    ///   - prefix: of `prefix`, `[B, P, C]`
    ///   - ids: int64 `[B, T]`, captions with their end, padded at the end
    ///   - dropout: the language model's, in training
    /// - Returns: `[B, T, C]`: row t is what `logits` reads `ids[t]` from
    public func hidden(_ prefix: Tensor, _ ids: Tensor, dropout: Dropout? = nil) -> Tensor {
        let (batch, count) = (ids.size(0), ids.size(1))
        var before = ids.narrowed(1, 0..<count - 1)
        if let start = languageModel.startTokenID {
            before = .concatenated([.full([batch, 1], Double(start), dtype: .int64, device: ids.device), before], 1)
        }
        let states = languageModel.hidden(
            before, context: languageModel.context(prefix, mask: nil, dropout: dropout), positions: nil, mask: nil,
            cache: nil, dropout: dropout)
        return states.narrowed(1, states.size(1) - count..<states.size(1))
    }

    /// hidden `[.., C]` -> the scores of each token, float32 `[.., V]`
    public func logits(_ hidden: Tensor) -> Tensor { languageModel.logits(hidden) }
}
