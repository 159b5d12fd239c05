import Foundation
public import TihuaNN
public import TihuaTorch
public import TihuaWeightFiles

// T5 (Raffel et al. 2020, arXiv 1910.10683) and its version 1.1 (Shazeer 2020, arXiv 2002.05202, gated GELU, untied
// head), with the names of Hugging Face transformers' T5ForConditionalGeneration
// (https://github.com/huggingface/transformers, models/t5/modeling_t5.py).
// B batch, T queries, S keys, C width, H heads, D head width, V vocabulary. H x D need not be C.

/// The shape of a T5, as `config.json` states it; the defaults are those of transformers' `T5Config`.
public struct T5Configuration: Sendable, Equatable {
    /// V: the rows of the embedding, `vocab_size`.
    public var vocabularySize = 32128
    /// C: the width, `d_model`.
    public var hiddenSize = 512
    /// D, the width of one head.
    public var headSize = 64
    /// H: the attention heads of a block, `num_heads`.
    public var headCount = 8
    /// The width inside the feed-forward blocks.
    public var innerSize = 2048
    /// Blocks of the encoder, `num_layers`.
    public var encoderLayerCount = 6
    /// Blocks of the decoder, `num_decoder_layers`.
    public var decoderLayerCount = 6
    /// The nonlinearity of the feed-forward part.
    public var activation = Activation.relu
    /// Whether there are two input layers, one of them through the activation, which are multiplied: version 1.1.
    public var isGated = false
    /// Buckets of relative distances, `relative_attention_num_buckets`.
    public var bucketCount = 32
    /// Distances from here on share the last bucket.
    public var maximumDistance = 128
    /// The dropout in training, `dropout_rate`. Tihua applies the rate of the `Dropout` it is given.
    public var dropout = 0.1
    /// What norms add to the mean square, `layer_norm_epsilon`.
    public var layerNormEpsilon = 1e-6
    /// Whether the head is the embedding.
    public var tiesEmbeddings = true
    /// Whether the decoder's output is scaled by C^-0.5 before the head, as version 1.0 does.
    public var scalesOutput = true
    /// The token of padding.
    public var padTokenID = 0
    /// The tokens that end a text; ones outside the vocabulary are left out.
    public var eosTokenIDs = [1]
    /// What the decoder is given first.
    public var startTokenID = 0

    /// Version 1.0 (relu, tied) or, `gated`, version 1.1 (gated GELU, a head of its own).
    public init(
        vocabularySize: Int, hiddenSize: Int, layerCount: Int, headCount: Int, headSize: Int = 64, innerSize: Int,
        gated: Bool = false
    ) {
        self.vocabularySize = vocabularySize
        self.hiddenSize = hiddenSize
        self.headSize = headSize
        self.headCount = headCount
        self.innerSize = innerSize
        encoderLayerCount = layerCount
        decoderLayerCount = layerCount
        if gated { activation = .geluNew }
        isGated = gated
        tiesEmbeddings = !gated
        scalesOutput = !gated
    }
}

extension T5Configuration: LanguageModelConfiguration {
    /// The model of this shape.
    public typealias Model = T5

    /// nil, since positions are relative.
    public var positionLimit: Int? { nil }

    /// The number of trained numbers; a Double, since a hostile file may name sizes whose product overflows.
    public var parameterCount: Double {
        (tiesEmbeddings ? 1 : 2) * Double(vocabularySize) * Double(hiddenSize) + encoderParameterCount
            + decoderParameterCount
    }

    private var encoderParameterCount: Double { stack(layers: encoderLayerCount, attentions: 1) }
    private var decoderParameterCount: Double { stack(layers: decoderLayerCount, attentions: 2) }

    private func stack(layers: Int, attentions: Double) -> Double {
        let (width, heads, inner) = (Double(hiddenSize), Double(headCount) * Double(headSize), Double(innerSize))
        let attention = 4 * width * heads + width
        let feed = (isGated ? 3 : 2) * width * inner + width
        return Double(layers) * (attentions * attention + feed) + Double(bucketCount) * Double(headCount) + width
    }

    /// Multiplications of a forward pass: each weight of a side once for each of its tokens, the head's for those that
    /// are scored.
    ///
    /// - Parameters:
    ///   - read: tokens of the encoder, padding included
    ///   - written: tokens of the decoder, padding included
    ///   - scored: tokens of which the scores are computed
    public func multiplications(read: Int, written: Int, scored: Int) -> Double {
        encoderParameterCount * Double(read) + decoderParameterCount * Double(written)
            + Double(vocabularySize) * Double(hiddenSize) * Double(scored)
    }
}

extension T5Configuration: Codable {
    private enum CodingKeys: String, CodingKey {
        case modelType = "model_type"
        case architectures
        case vocabularySize = "vocab_size"
        case hiddenSize = "d_model"
        case headSize = "d_kv"
        case headCount = "num_heads"
        case innerSize = "d_ff"
        case encoderLayerCount = "num_layers"
        case decoderLayerCount = "num_decoder_layers"
        case projection = "feed_forward_proj"
        case bucketCount = "relative_attention_num_buckets"
        case maximumDistance = "relative_attention_max_distance"
        case dropout = "dropout_rate"
        case layerNormEpsilon = "layer_norm_epsilon"
        case tiesEmbeddings = "tie_word_embeddings"
        case scalesOutput = "scale_decoder_outputs"
        case padTokenID = "pad_token_id"
        case eosTokenID = "eos_token_id"
        case startTokenID = "decoder_start_token_id"
        case isEncoderDecoder = "is_encoder_decoder"
    }

    /// Values that the file leaves out are those of transformers' `T5Config`.
    ///
    /// - Throws: `ModelError.unsupported` for a variant that Tihua does not have, `DecodingError` for a wrong type.
    public init(from decoder: any Decoder) throws {
        let reader = try ConfigurationReader(decoder, model: "t5", keyedBy: CodingKeys.self)
        let sizes = 1...(1 << 24)
        try reader.size(.vocabularySize, into: &vocabularySize, in: sizes)
        try reader.size(.hiddenSize, into: &hiddenSize, in: sizes)
        try reader.size(.headSize, into: &headSize, in: sizes)
        try reader.size(.headCount, into: &headCount, in: sizes)
        try reader.size(.innerSize, into: &innerSize, in: sizes)
        try reader.size(.encoderLayerCount, into: &encoderLayerCount, in: sizes)
        decoderLayerCount = encoderLayerCount
        try reader.size(.decoderLayerCount, into: &decoderLayerCount, in: sizes)
        try reader.size(.bucketCount, into: &bucketCount, in: 4...4096)
        try reader.require(bucketCount % 4 == 0, .bucketCount, "\(bucketCount)", known: "multiples of 4 up to 4096")
        try reader.size(.maximumDistance, into: &maximumDistance, in: sizes)
        try reader.require(
            maximumDistance > bucketCount / 2, .maximumDistance, "\(maximumDistance)",
            known: "more than half the buckets")
        try reader.read(.dropout, into: &dropout)
        try reader.epsilon(.layerNormEpsilon, into: &layerNormEpsilon)

        var projection = "relu"
        try reader.read(.projection, into: &projection)
        isGated = projection.hasPrefix("gated-")
        // "gated-gelu" has always meant the tanh approximation.
        let name = projection == "gated-gelu" ? "gelu_new" : String(projection.dropFirst(isGated ? 6 : 0))
        try reader.require(
            Activation(rawValue: name) != nil, .projection, projection, known: "relu, gated-gelu, gelu, gelu_new")
        activation = Activation(rawValue: name) ?? activation

        // transformers 5 keeps the scaling apart; before, an untied head meant no scaling.
        try reader.read(.tiesEmbeddings, into: &tiesEmbeddings)
        scalesOutput = tiesEmbeddings
        try reader.read(.scalesOutput, into: &scalesOutput)

        let values = reader.values
        let vocabulary = 0..<vocabularySize
        func token(_ key: CodingKeys) throws -> Int? { try values.tokenIDs(key).first(where: vocabulary.contains) }
        padTokenID = try token(.padTokenID) ?? padTokenID
        if values.contains(.eosTokenID) {
            eosTokenIDs = try values.tokenIDs(.eosTokenID).filter(vocabulary.contains)
        }
        startTokenID = try token(.startTokenID) ?? padTokenID
    }

    /// Writes the keys that transformers reads, `model_type` and `architectures` among them.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode("t5", forKey: .modelType)
        try values.encode(["T5ForConditionalGeneration"], forKey: .architectures)
        try values.encode(vocabularySize, forKey: .vocabularySize)
        try values.encode(hiddenSize, forKey: .hiddenSize)
        try values.encode(headSize, forKey: .headSize)
        try values.encode(headCount, forKey: .headCount)
        try values.encode(innerSize, forKey: .innerSize)
        try values.encode(encoderLayerCount, forKey: .encoderLayerCount)
        try values.encode(decoderLayerCount, forKey: .decoderLayerCount)
        let name = isGated && activation == .geluNew ? "gelu" : activation.rawValue
        try values.encode((isGated ? "gated-" : "") + name, forKey: .projection)
        try values.encode(bucketCount, forKey: .bucketCount)
        try values.encode(maximumDistance, forKey: .maximumDistance)
        try values.encode(dropout, forKey: .dropout)
        try values.encode(layerNormEpsilon, forKey: .layerNormEpsilon)
        try values.encode(tiesEmbeddings, forKey: .tiesEmbeddings)
        try values.encode(scalesOutput, forKey: .scalesOutput)
        try values.encode(padTokenID, forKey: .padTokenID)
        try values.encode(tokenIDs: eosTokenIDs, forKey: .eosTokenID)
        try values.encode(startTokenID, forKey: .startTokenID)
        try values.encode(true, forKey: .isEncoderDecoder)
    }
}

/// Which of the learned biases belongs to a distance between two tokens (Raffel et al. 2020, section 2.1).
///
/// - Parameter distance: the key's position minus the query's
/// - Returns: 0 up to `count` - 1: exact for short distances, logarithmic up to `maximum`, constant from there on
public func relativePositionBucket(_ distance: Int, bidirectional: Bool, count: Int, maximum: Int) -> Int {
    let buckets = bidirectional ? count / 2 : count
    let side = bidirectional && distance > 0 ? buckets : 0
    let reach = bidirectional ? abs(distance) : max(0, -distance)
    let exact = buckets / 2
    if reach < exact { return side + reach }
    // In float32 and in this order, as the reference: the borders between buckets are its rounding.
    let octaves = Float(log(Double(maximum) / Double(exact)))
    let large = Int(logf(Float(reach) / Float(exact)) / octaves * Float(buckets - exact))
    return side + min(exact + large, buckets - 1)
}

struct T5Attention {
    let query, key, value, output: Linear
    let headCount: Int

    init(_ configuration: T5Configuration, at path: ParameterPath) {
        let width = configuration.hiddenSize
        let inner = configuration.headCount * configuration.headSize
        headCount = configuration.headCount
        // As transformers' `_init_weights`: the scores are not scaled, so the queries start small.
        let queryStd = (Double(width) * Double(configuration.headSize)).squareRoot()
        func linear(_ from: Int, _ to: Int, _ std: Double, _ name: String) -> Linear {
            Linear(from, to, bias: false, initialization: .normal(std: std), at: path / name)
        }
        query = linear(width, inner, 1 / queryStd, "q")
        key = linear(width, inner, 1 / Double(width).squareRoot(), "k")
        value = linear(width, inner, 1 / Double(width).squareRoot(), "v")
        output = linear(inner, width, 1 / Double(inner).squareRoot(), "o")
    }

    /// [B, S, C] -> [B, H, S, D], twice
    func keysAndValues(_ x: Tensor) -> (keys: Tensor, values: Tensor) {
        (key(x).splitHeads(headCount), value(x).splitHeads(headCount))
    }

    /// x [B, T, C]; bias additive, broadcast to [B, H, T, S] -> [B, T, C]
    func callAsFunction(_ x: Tensor, _ memory: (keys: Tensor, values: Tensor), bias: Tensor?) -> Tensor {
        let queries = query(x).splitHeads(headCount)  // [B, H, T, D]
        return output(
            Kernels.attention(queries, memory.keys, memory.values, mask: bias, scale: 1).mergedHeads())
    }
}

struct T5FeedForward {
    let gate: Linear
    let linear: Linear?
    let output: Linear
    let activation: Activation

    init(_ configuration: T5Configuration, at path: ParameterPath) {
        let (width, inner) = (configuration.hiddenSize, configuration.innerSize)
        let initialization = Initialization.normal(std: 1 / Double(width).squareRoot())
        func input(_ name: String) -> Linear {
            Linear(width, inner, bias: false, initialization: initialization, at: path / name)
        }
        gate = input(configuration.isGated ? "wi_0" : "wi")
        linear = configuration.isGated ? input("wi_1") : nil
        output = Linear(
            inner, width, bias: false, initialization: .normal(std: 1 / Double(inner).squareRoot()), at: path / "wo")
        activation = configuration.activation
    }

    func callAsFunction(_ x: Tensor, dropout: Dropout?) -> Tensor {
        var inner = activation(gate(x))
        if let linear { inner = inner * linear(x) }
        return output(dropout.map { $0(inner) } ?? inner)
    }
}

struct T5Block {
    let selfNorm: RMSNorm
    let selfAttention: T5Attention
    let crossNorm: RMSNorm?
    let crossAttention: T5Attention?
    let feedNorm: RMSNorm
    let feed: T5FeedForward
    /// The bias of each bucket and head, in the first block of a stack only. [buckets, H]
    let distances: Embedding?

    init(_ configuration: T5Configuration, isDecoder: Bool, index: Int, at path: ParameterPath) {
        let layers = path / "layer"
        func norm(_ index: Int) -> RMSNorm {
            RMSNorm(
                configuration.hiddenSize, epsilon: configuration.layerNormEpsilon, at: layers / index / "layer_norm")
        }
        selfAttention = T5Attention(configuration, at: layers / 0 / "SelfAttention")
        distances =
            index > 0
            ? nil
            : Embedding(
                configuration.bucketCount, configuration.headCount,
                initialization: .normal(std: 1 / Double(configuration.hiddenSize).squareRoot()),
                at: layers / 0 / "SelfAttention" / "relative_attention_bias")
        selfNorm = norm(0)
        crossAttention = isDecoder ? T5Attention(configuration, at: layers / 1 / "EncDecAttention") : nil
        crossNorm = isDecoder ? norm(1) : nil
        let last = isDecoder ? 2 : 1
        feed = T5FeedForward(configuration, at: layers / last / "DenseReluDense")
        feedNorm = norm(last)
    }
}

/// Encoder or decoder.
struct T5Stack {
    let blocks: [T5Block]
    let finalNorm: RMSNorm
    let configuration: T5Configuration
    let isDecoder: Bool

    init(_ configuration: T5Configuration, isDecoder: Bool, at path: ParameterPath) {
        self.configuration = configuration
        self.isDecoder = isDecoder
        let count = isDecoder ? configuration.decoderLayerCount : configuration.encoderLayerCount
        blocks = (0..<count).map { index in
            T5Block(configuration, isDecoder: isDecoder, index: index, at: path / "block" / index)
        }
        finalNorm = RMSNorm(
            configuration.hiddenSize, epsilon: configuration.layerNormEpsilon, at: path / "final_layer_norm")
    }

    /// The bias of the self-attention of the last T of S tokens. `[1, H, T, S]`
    private func distanceBias(_ count: Int, _ total: Int, _ dtype: DType, _ device: Device) -> Tensor? {
        guard let table = blocks.first?.distances else { return nil }
        // A bucket for each distance, then a row of them for each query.
        let reach = (1 - total)...(total - 1)
        let buckets = reach.map {
            Int32(
                relativePositionBucket(
                    $0, bidirectional: !isDecoder, count: configuration.bucketCount,
                    maximum: configuration.maximumDistance))
        }
        let rows = (total - count..<total).flatMap { query in buckets[total - 1 - query..<2 * total - 1 - query] }
        let ids = Tensor.ids(rows, [count, total]).to(nil, device)
        return table(ids).permuted(2, 0, 1).unsqueezed(0).to(dtype)  // [T, S, H] -> [1, H, T, S]
    }

    /// - Parameters:
    ///   - x: `[B, T, C]`
    ///   - mask: bool, broadcast to `[B, 1, T, S]`, true = attend
    ///   - memory: `[B, S, C]`, for the decoder
    ///   - memoryMask: bool `[B, 1, 1, S]`
    func callAsFunction(
        _ x: Tensor, mask: Tensor?, memory: Tensor? = nil, memoryMask: Tensor? = nil,
        cache: KeyValueCache? = nil, dropout: Dropout? = nil
    ) -> Tensor {
        func drop(_ x: Tensor) -> Tensor { dropout.map { $0(x) } ?? x }
        var x = drop(x)
        let count = x.size(1)
        let total = (cache?.length ?? 0) + count
        var bias = distanceBias(count, total, x.dtype, x.device)
        let mask = mask ?? (isDecoder && count > 1 ? offsetCausalMask(count, total, device: x.device) : nil)
        if let mask { bias = bias?.filled(where: mask.logicalNot(), with: -1e9) }
        let memoryBias = memoryMask.map { mask in
            Tensor.zeros(mask.shape, dtype: x.dtype, device: x.device).filled(where: mask.logicalNot(), with: -1e9)
        }

        for (index, block) in blocks.enumerated() {
            let normal = block.selfNorm(x)
            var own = block.selfAttention.keysAndValues(normal)
            if let cache { own = cache.append(layer: index, keys: own.keys, values: own.values) }
            x = x + drop(block.selfAttention(normal, own, bias: bias))
            if let cross = block.crossAttention, let norm = block.crossNorm, let memory {
                let projected =
                    cache?.memory(layer: index) { cross.keysAndValues(memory) } ?? cross.keysAndValues(memory)
                x = x + drop(cross(norm(x), projected, bias: memoryBias))
            }
            x = x + drop(block.feed(block.feedNorm(x), dropout: dropout))
        }
        return drop(finalNorm(x))
    }
}

/// T5 with its language-model head.
///
/// Parameters carry transformers' names (`encoder.block.0.layer.0.SelfAttention.q.weight`). Not `Sendable`: it lives on
/// one thread.
public final class T5: LanguageModel {
    /// `t5` in `config.json`, or `mt5`.
    public static let architecture = Architecture("t5", synonyms: ["mt5"], classes: ["T5", "MT5"])

    /// What the model was made with.
    public let configuration: T5Configuration
    /// The element type of the activations.
    public let computeType: DType
    let tokens: Embedding
    let encoder: T5Stack
    let decoder: T5Stack
    let head: Linear?

    /// Declares the parameters under `path`, which is the store's root for a checkpoint of transformers.
    public init(_ configuration: T5Configuration, computeType: DType = .float32, at path: ParameterPath) {
        self.configuration = configuration
        self.computeType = computeType
        let (vocabulary, width) = (configuration.vocabularySize, configuration.hiddenSize)
        tokens = Embedding(vocabulary, width, initialization: .normal(std: 1), at: path / "shared")
        encoder = T5Stack(configuration, isDecoder: false, at: path / "encoder")
        decoder = T5Stack(configuration, isDecoder: true, at: path / "decoder")
        head =
            configuration.tiesEmbeddings
            ? nil
            : Linear(width, vocabulary, bias: false, initialization: .normal(std: 1), at: path / "lm_head")
    }

    /// A checkpoint's name as this model has it: copies of the embedding are one, and old checkpoints hold a table that
    /// nothing reads. nil for what is no parameter.
    public static func parameterName(_ name: String, in configuration: T5Configuration) -> String? {
        switch name {
        case "encoder.embed_tokens.weight", "decoder.embed_tokens.weight": "shared.weight"
        case "lm_head.weight": configuration.tiesEmbeddings ? "shared.weight" : name
        case "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": nil
        default: name
        }
    }

    /// What the model of a folder is: transformers 5 writes "tied" into every file, and unties the head where the
    /// checkpoint holds another one.
    ///
    /// - Throws: `ModelError`, `WeightFileError`.
    public static func configuration(
        of folder: ModelFolder, _ checkpoint: Checkpoint, notes: inout [String]
    ) throws -> T5Configuration {
        var configuration = try folder.configuration(of: T5.self)
        if configuration.tiesEmbeddings, !configuration.scalesOutput {
            let (embedding, head) = ("shared.weight", "lm_head.weight")
            let found = try checkpoint.withoutTrainerPrefixes { [embedding, head].contains($0) }
            if let one = found[embedding], let other = found[head] { configuration.tiesEmbeddings = equal(one, other) }
        }
        return configuration
    }

    /// What the decoder is given first.
    public var startTokenID: Int32? { Int32(configuration.startTokenID) }

    /// True.
    public var hasEncoder: Bool { true }

    /// An empty cache for a decoder of up to `capacity` tokens.
    public func makeCache(capacity: Int) -> KeyValueCache {
        KeyValueCache(layerCount: configuration.decoderLayerCount, capacity: capacity)
    }

    /// The embeddings of tokens. ids int64 `[..]` -> `[.., C]`
    public func embed(_ ids: Tensor) -> Tensor { tokens(ids) }

    /// The encoder's hidden states.
    ///
    /// - Parameters:
    ///   - embeddings: of `embed` or of a mapping network, `[B, S, C]`
    ///   - mask: bool `[B, S]`, false for padding; nil where there is none
    ///   - dropout: in training
    /// - Returns: `[B, S, C]` in the compute type
    public func encode(embeddings: Tensor, mask: Tensor? = nil, dropout: Dropout? = nil) -> Tensor {
        encoder(embeddings.to(computeType), mask: mask.map(keyMask), dropout: dropout)
    }

    /// The encoder reads the embeddings.
    public func context(_ embeddings: Tensor, mask: Tensor? = nil, dropout: Dropout? = nil) -> DecodingContext {
        DecodingContext(memory: encode(embeddings: embeddings, mask: mask, dropout: dropout), memoryMask: mask)
    }

    /// The decoder's hidden states; see `TokenDecoder`. ids start with the start token; positions are not read, since
    /// distances count.
    ///
    /// - Precondition: the context has a memory, which with a cache is read at the first call only.
    public func hidden(
        _ ids: Tensor, context: DecodingContext, positions: Tensor? = nil, mask: Tensor? = nil,
        cache: KeyValueCache? = nil, dropout: Dropout? = nil
    ) -> Tensor {
        decoder(
            inputs(ids, behind: context.prefix).to(computeType), mask: mask, memory: context.memory,
            memoryMask: context.memoryMask.map(keyMask), cache: cache, dropout: dropout)
    }

    /// hidden `[.., C]` -> the scores of each token, float32 `[.., V]`
    public func logits(_ hidden: Tensor) -> Tensor {
        let hidden = configuration.scalesOutput ? hidden * (1 / Double(configuration.hiddenSize).squareRoot()) : hidden
        let weight = head?.weight ?? tokens.weight
        return Kernels.linear(hidden, weight, nil).to(.float32)
    }

    private func keyMask(_ present: Tensor) -> Tensor { present.unsqueezed(1).unsqueezed(1) }  // [B, S] -> [B, 1, 1, S]
}
