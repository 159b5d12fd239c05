// BERT (Devlin et al. 2019, arXiv 1810.04805), the encoder of Hugging Face transformers' BertModel (v5.23,
// https://github.com/huggingface/transformers, models/bert/modeling_bert.py).
// B batch, T tokens, C width, H heads, D head width.

public import TihuaNN
public import TihuaTorch

/// The sizes of a BERT encoder, with the keys and the defaults of Hugging Face's `BertConfig`.
public struct BERTConfiguration: ModelConfiguration {
    /// Rows of the word embedding.
    public var vocabularySize = 30522
    /// C, the width of the hidden states.
    public var hiddenSize = 768
    /// The number of layers.
    public var layerCount = 12
    /// H, the attention heads of a layer; divides the width.
    public var headCount = 12
    /// The width inside the feed-forward blocks.
    public var intermediateSize = 3072
    /// The longest text, in tokens.
    public var positionCount = 512
    /// Rows of the token type embedding.
    public var tokenTypeCount = 2
    /// What layer norms add to the variance.
    public var layerNormEpsilon = 1e-12
    /// The only activation that Tihua runs; written to the file, so that Python reads the same model whatever its
    /// defaults.
    private let activation = "gelu"

    /// The defaults.
    public init() {}

    private enum CodingKeys: String, CodingKey {
        case vocabularySize = "vocab_size"
        case hiddenSize = "hidden_size"
        case layerCount = "num_hidden_layers"
        case headCount = "num_attention_heads"
        case intermediateSize = "intermediate_size"
        case positionCount = "max_position_embeddings"
        case tokenTypeCount = "type_vocab_size"
        case layerNormEpsilon = "layer_norm_eps"
        case activation = "hidden_act"
    }

    /// Reads what is there and keeps the defaults for the rest: published files hold only the differences.
    ///
    /// - Throws: `ModelError.unsupported` for a size out of range and an activation other than `gelu`; `DecodingError`.
    public init(from decoder: any Decoder) throws {
        let values = try ConfigurationReader(decoder, model: "bert", keyedBy: CodingKeys.self)
        try values.size(.vocabularySize, into: &vocabularySize)
        try values.size(.hiddenSize, into: &hiddenSize)
        try values.size(.layerCount, into: &layerCount)
        try values.size(.headCount, into: &headCount)
        try values.size(.intermediateSize, into: &intermediateSize)
        try values.size(.positionCount, into: &positionCount, in: 2...(1 << 20))
        try values.size(.tokenTypeCount, into: &tokenTypeCount)
        try values.epsilon(.layerNormEpsilon, into: &layerNormEpsilon)
        try values.require(.activation, is: "gelu")
        try values.require(
            hiddenSize % headCount == 0, .headCount, "\(headCount)", known: "a divisor of hidden_size, \(hiddenSize)")
    }
}

struct BERTEmbeddings {
    let words: Embedding
    let positions: Embedding
    let tokenTypes: Embedding
    let norm: LayerNorm

    init(_ configuration: BERTConfiguration, at path: ParameterPath) {
        words = Embedding(configuration.vocabularySize, configuration.hiddenSize, at: path / "word_embeddings")
        positions = Embedding(configuration.positionCount, configuration.hiddenSize, at: path / "position_embeddings")
        tokenTypes = Embedding(
            configuration.tokenTypeCount, configuration.hiddenSize, at: path / "token_type_embeddings")
        norm = LayerNorm(configuration.hiddenSize, epsilon: configuration.layerNormEpsilon, at: path / "LayerNorm")
    }

    /// ids [B, T] -> [B, T, C]
    func callAsFunction(_ ids: Tensor, tokenTypes types: Tensor?, computeType: DType) -> Tensor {
        let places = positions.weight.narrowed(0, 0..<ids.size(1))  // [T, C]
        let kinds = types.map { tokenTypes($0) } ?? tokenTypes.weight.narrowed(0, 0..<1)  // [B, T, C] or [1, C]
        return norm((words(ids) + kinds + places).to(computeType))
    }
}

struct BERTAttention {
    let query: Linear
    let key: Linear
    let value: Linear
    let output: Linear
    let norm: LayerNorm
    let headCount: Int

    init(_ configuration: BERTConfiguration, at path: ParameterPath) {
        let width = configuration.hiddenSize
        query = Linear(width, width, at: path / "self" / "query")
        key = Linear(width, width, at: path / "self" / "key")
        value = Linear(width, width, at: path / "self" / "value")
        output = Linear(width, width, at: path / "output" / "dense")
        norm = LayerNorm(width, epsilon: configuration.layerNormEpsilon, at: path / "output" / "LayerNorm")
        headCount = configuration.headCount
    }

    /// x [B, T, C], mask broadcast to [B, H, T, T] -> [B, T, C]
    func callAsFunction(_ x: Tensor, mask: Tensor?) -> Tensor {
        let attended = Kernels.attention(
            query(x).splitHeads(headCount), key(x).splitHeads(headCount), value(x).splitHeads(headCount), mask: mask)
        return norm(output(attended.mergedHeads()) + x)
    }
}

struct BERTLayer {
    let attention: BERTAttention
    let intermediate: Linear
    let output: Linear
    let norm: LayerNorm

    init(_ configuration: BERTConfiguration, at path: ParameterPath) {
        attention = BERTAttention(configuration, at: path / "attention")
        intermediate = Linear(
            configuration.hiddenSize, configuration.intermediateSize, at: path / "intermediate" / "dense")
        output = Linear(configuration.intermediateSize, configuration.hiddenSize, at: path / "output" / "dense")
        norm = LayerNorm(
            configuration.hiddenSize, epsilon: configuration.layerNormEpsilon, at: path / "output" / "LayerNorm")
    }

    func callAsFunction(_ x: Tensor, mask: Tensor?) -> Tensor {
        let attended = attention(x, mask: mask)
        return norm(output(intermediate(attended).gelu()) + attended)
    }
}

extension BERTConfiguration {
    /// Trained numbers, before any memory is taken for them; a `Double`, for a file can claim any size.
    public var parameterCount: Double {
        let width = Double(hiddenSize)
        let rows = Double(vocabularySize) + Double(positionCount) + Double(tokenTypeCount)
        return (rows + 2) * width
            + Double(layerCount) * layerParameterCount(width: width, inner: Double(intermediateSize))
    }
}

/// A BERT encoder without pooler: post-norm layers, erf GELU, learned positions.
public final class BERT: LoadableModel {
    /// `bert` in `config.json`: a plain BERT, with or without the heads of its pretraining, which are not loaded.
    public static let architecture = Architecture("bert", classes: ["Bert"])

    /// The sizes that the encoder was made with.
    public let configuration: BERTConfiguration
    /// The element type of the activations; the parameters keep their own.
    public let computeType: DType
    private let embeddings: BERTEmbeddings
    private let layers: [BERTLayer]

    /// Declares the encoder's parameters at `path`, the checkpoint's names below it.
    public init(_ configuration: BERTConfiguration, computeType: DType = .float32, at path: ParameterPath) {
        self.configuration = configuration
        self.computeType = computeType
        embeddings = BERTEmbeddings(configuration, at: path / "embeddings")
        layers = (0..<configuration.layerCount).map { BERTLayer(configuration, at: path / "encoder" / "layer" / $0) }
    }

    /// The last hidden states.
    ///
    /// - Parameters:
    ///   - ids: int64 `[B, T]`, each below `vocabularySize`, T at most `positionCount`
    ///   - tokenTypes: int64 `[B, T]`; nil is type 0 everywhere
    ///   - mask: bool (true = attend) or additive, broadcast to `[B, H, T, T]`; nil attends everywhere
    /// - Returns: `[B, T, C]` in `computeType`
    public func callAsFunction(_ ids: Tensor, tokenTypes: Tensor? = nil, mask: Tensor? = nil) -> Tensor {
        precondition(
            ids.size(1) <= configuration.positionCount,
            "\(ids.size(1)) tokens for a BERT with \(configuration.positionCount) positions")
        let mask = mask.map { $0.dtype == .bool ? $0 : $0.to(computeType) }
        var x = embeddings(ids, tokenTypes: tokenTypes, computeType: computeType)
        for layer in layers { x = layer(x, mask: mask) }
        return x
    }
}

extension BERT {
    /// What checkpoints hold besides the encoder: the heads of pretraining, the pooler, a buffer of older versions.
    private static let ignored = ["cls.", "pooler."]
    private static let ignoredSuffix = ".position_ids"

    /// A checkpoint's name in the model; nil for what is no part of the encoder. Files converted from TensorFlow call a
    /// norm's weight and bias gamma and beta.
    public static func parameterName(_ name: String) -> String? {
        let name = name.hasPrefix("bert.") ? String(name.dropFirst("bert.".count)) : name
        if name.hasSuffix(ignoredSuffix) || ignored.contains(where: name.hasPrefix) { return nil }
        return name.replacing("LayerNorm.gamma", with: "LayerNorm.weight").replacing(
            "LayerNorm.beta", with: "LayerNorm.bias")
    }
}
