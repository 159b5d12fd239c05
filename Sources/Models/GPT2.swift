public import TihuaNN
public import TihuaTorch

// GPT2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"), with the names of Hugging Face
// transformers' GPT2LMHeadModel (https://github.com/huggingface/transformers, models/gpt2/modeling_gpt2.py).
// B batch, T new tokens, S all tokens, C width, H heads, D head width, V vocabulary.

/// The shape of a GPT2, as `config.json` states it; the defaults are those of transformers' `GPT2Config`.
public struct GPT2Configuration: Sendable, Equatable {
    /// V: the rows of the embedding, `vocab_size`.
    public var vocabularySize = 50257
    /// C: the width, `n_embd`.
    public var hiddenSize = 768
    /// The number of blocks, `n_layer`.
    public var layerCount = 12
    /// H: the attention heads of a block, `n_head`; divides the width.
    public var headCount = 12
    /// The width inside the feed-forward blocks; 4 x `hiddenSize` where the file says nothing.
    public var innerSize = 3072
    /// The longest sequence.
    public var positionCount = 1024
    /// The nonlinearity between the two layers of the feed-forward part, `activation_function`.
    public var activation = Activation.geluNew
    /// What layer norms add to the variance, `layer_norm_epsilon`.
    public var layerNormEpsilon = 1e-5
    /// The dropout of the embeddings in training. Tihua applies one rate, that of the `Dropout` it is given; this and
    /// the two below are kept for the file.
    public var embeddingDropout = 0.1
    /// The dropout of attention weights, `attn_pdrop`.
    public var attentionDropout = 0.1
    /// The dropout of what each branch adds, `resid_pdrop`.
    public var residualDropout = 0.1
    /// The token that begins a text; nil where the file names none, or one outside the vocabulary (Chinese checkpoints
    /// keep GPT2's 50256).
    public var bosTokenID: Int?
    /// The tokens that end a text, empty where there is none; ones outside the vocabulary are left out.
    public var eosTokenIDs: [Int] = []

    /// A configuration whose other values are the defaults.
    public init(
        vocabularySize: Int, hiddenSize: Int, layerCount: Int, headCount: Int, positionCount: Int,
        innerSize: Int? = nil
    ) {
        self.vocabularySize = vocabularySize
        self.hiddenSize = hiddenSize
        self.layerCount = layerCount
        self.headCount = headCount
        self.innerSize = innerSize ?? 4 * hiddenSize
        self.positionCount = positionCount
    }
}

extension GPT2Configuration: LanguageModelConfiguration {
    /// The model of this shape.
    public typealias Model = GPT2

    /// `positionCount`.
    public var positionLimit: Int? { positionCount }

    /// The number of trained numbers; a Double, since a hostile file may name sizes whose product overflows.
    public var parameterCount: Double {
        let width = Double(hiddenSize)
        return (Double(vocabularySize) + Double(positionCount) + 2) * width
            + Double(layerCount) * layerParameterCount(width: width, inner: Double(innerSize))
    }

    fileprivate var branchInitialization: Initialization {
        .normal(std: 0.02 / Double(2 * layerCount).squareRoot())
    }
}

extension GPT2Configuration: Codable {
    private enum CodingKeys: String, CodingKey {
        case modelType = "model_type"
        case architectures
        case vocabularySize = "vocab_size"
        case hiddenSize = "n_embd"
        case layerCount = "n_layer"
        case headCount = "n_head"
        case innerSize = "n_inner"
        case positionCount = "n_positions"
        case contextCount = "n_ctx"
        case activation = "activation_function"
        case layerNormEpsilon = "layer_norm_epsilon"
        case embeddingDropout = "embd_pdrop"
        case attentionDropout = "attn_pdrop"
        case residualDropout = "resid_pdrop"
        case bosTokenID = "bos_token_id"
        case eosTokenID = "eos_token_id"
        case scalesAttention = "scale_attn_weights"
        case scalesByLayer = "scale_attn_by_inverse_layer_idx"
        case crossAttention = "add_cross_attention"
        case tied = "tie_word_embeddings"
    }

    /// Values that the file leaves out are those of transformers' `GPT2Config`.
    ///
    /// - Throws: `ModelError.unsupported` for a variant that Tihua does not have, `DecodingError` for a wrong type.
    public init(from decoder: any Decoder) throws {
        let reader = try ConfigurationReader(decoder, model: "gpt2", keyedBy: CodingKeys.self)
        let sizes = 1...(1 << 24)
        try reader.size(.vocabularySize, into: &vocabularySize, in: sizes)
        try reader.size(.hiddenSize, into: &hiddenSize, in: sizes)
        try reader.size(.layerCount, into: &layerCount, in: sizes)
        try reader.size(.headCount, into: &headCount, in: sizes)
        innerSize = 4 * hiddenSize
        try reader.size(.innerSize, into: &innerSize, in: sizes)
        try reader.size(.contextCount, into: &positionCount, in: sizes)
        try reader.size(.positionCount, into: &positionCount, in: sizes)
        try reader.activation(.activation, into: &activation)
        try reader.epsilon(.layerNormEpsilon, into: &layerNormEpsilon)
        try reader.read(.embeddingDropout, into: &embeddingDropout)
        try reader.read(.attentionDropout, into: &attentionDropout)
        try reader.read(.residualDropout, into: &residualDropout)
        let vocabulary = 0..<vocabularySize
        bosTokenID = try reader.values.tokenIDs(.bosTokenID).first(where: vocabulary.contains)
        eosTokenIDs = try reader.values.tokenIDs(.eosTokenID).filter(vocabulary.contains)
        try reader.require(
            hiddenSize % headCount == 0, .headCount, "\(headCount)", known: "a divisor of n_embd, \(hiddenSize)")
        try reader.require(.scalesAttention, is: true)
        try reader.require(.scalesByLayer, is: false)
        try reader.require(.crossAttention, is: false)
        try reader.require(.tied, is: true)
    }

    /// Writes the keys that transformers reads, `model_type` and `architectures` among them.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode("gpt2", forKey: .modelType)
        try values.encode(["GPT2LMHeadModel"], forKey: .architectures)
        try values.encode(vocabularySize, forKey: .vocabularySize)
        try values.encode(hiddenSize, forKey: .hiddenSize)
        try values.encode(layerCount, forKey: .layerCount)
        try values.encode(headCount, forKey: .headCount)
        try values.encode(innerSize, forKey: .innerSize)
        try values.encode(positionCount, forKey: .positionCount)
        try values.encode(positionCount, forKey: .contextCount)
        try values.encode(activation, forKey: .activation)
        try values.encode(layerNormEpsilon, forKey: .layerNormEpsilon)
        try values.encode(embeddingDropout, forKey: .embeddingDropout)
        try values.encode(attentionDropout, forKey: .attentionDropout)
        try values.encode(residualDropout, forKey: .residualDropout)
        // null, not left out: transformers would fill in 50256.
        try values.encode(bosTokenID, forKey: .bosTokenID)
        try values.encode(tokenIDs: eosTokenIDs, forKey: .eosTokenID)
        try values.encode(true, forKey: .tied)
    }
}

struct GPT2Attention {
    let project: Conv1D
    let output: Conv1D
    let headCount: Int

    init(_ configuration: GPT2Configuration, at path: ParameterPath) {
        let width = configuration.hiddenSize
        headCount = configuration.headCount
        project = Conv1D(width, 3 * width, at: path / "c_attn")
        // Residual branches start smaller, by the number of them (GPT2 paper, section 2.3).
        output = Conv1D(width, width, initialization: configuration.branchInitialization, at: path / "c_proj")
    }

    /// x [B, T, C] -> [B, T, C]
    func callAsFunction(_ x: Tensor, mask: Tensor?, causal: Bool, cache: KeyValueCache?, layer: Int) -> Tensor {
        let packed = project(x)  // [B, T, 3 C]
        if causal, cache == nil { return output(Kernels.causalAttention(packed, headCount: headCount)) }
        let (batch, length) = (x.size(0), x.size(1))
        let heads = packed.reshaped(batch, length, 3, headCount, -1).permuted(2, 0, 3, 1, 4)  // [3, B, H, T, D]
        var keys = heads.selected(0, 1)
        var values = heads.selected(0, 2)
        if let cache {
            (keys, values) = cache.append(layer: layer, keys: keys, values: values)  // [B, H, S, D]
        }
        let mixed = Kernels.attention(heads.selected(0, 0), keys, values, mask: mask, causal: causal)  // [B, H, T, D]
        return output(mixed.mergedHeads())
    }
}

/// x = x + attention(attentionNorm(x)), then x = x + feed(feedNorm(x)).
///
/// A sum and the norm that follows it are one pass over memory, so that `GPT2.hidden` runs the parts.
struct GPT2Block {
    let attentionNorm: LayerNorm
    let attention: GPT2Attention
    let feedNorm: LayerNorm
    let expand: Conv1D
    let contract: Conv1D
    let activation: Activation

    init(_ configuration: GPT2Configuration, at path: ParameterPath) {
        let width = configuration.hiddenSize
        let epsilon = configuration.layerNormEpsilon
        attentionNorm = LayerNorm(width, epsilon: epsilon, at: path / "ln_1")
        attention = GPT2Attention(configuration, at: path / "attn")
        feedNorm = LayerNorm(width, epsilon: epsilon, at: path / "ln_2")
        expand = Conv1D(width, configuration.innerSize, at: path / "mlp" / "c_fc")
        contract = Conv1D(
            configuration.innerSize, width, initialization: configuration.branchInitialization,
            at: path / "mlp" / "c_proj")
        activation = configuration.activation
    }

    func feed(_ x: Tensor) -> Tensor { contract(expand(x, activation)) }
}

/// GPT2 with its tied language-model head.
///
/// Parameters carry transformers' names (`transformer.h.0.attn.c_attn.weight`). Not `Sendable`: it lives on one thread.
public final class GPT2: LanguageModel {
    /// `gpt2` in `config.json`.
    public static let architecture = Architecture("gpt2", classes: ["GPT2"])

    /// What the model was made with.
    public let configuration: GPT2Configuration
    /// The element type of the activations.
    public let computeType: DType
    let tokens: Embedding
    let positions: Embedding
    let blocks: [GPT2Block]
    let finalNorm: LayerNorm

    /// Declares the parameters under `path`, which is the store's root for a checkpoint of transformers.
    public init(_ configuration: GPT2Configuration, computeType: DType = .float32, at path: ParameterPath) {
        self.configuration = configuration
        self.computeType = computeType
        let path = path / "transformer"
        let width = configuration.hiddenSize
        tokens = Embedding(configuration.vocabularySize, width, at: path / "wte")
        positions = Embedding(configuration.positionCount, width, at: path / "wpe")
        blocks = (0..<configuration.layerCount).map { GPT2Block(configuration, at: path / "h" / $0) }
        finalNorm = LayerNorm(width, epsilon: configuration.layerNormEpsilon, at: path / "ln_f")
    }

    /// A checkpoint's name as this model has it: old checkpoints lack the prefix and hold the masks of the attention;
    /// the head is the embedding. nil for what is no parameter.
    public static func parameterName(_ name: String) -> String? {
        if name == "lm_head.weight" { return "transformer.wte.weight" }
        if name.hasSuffix(".attn.bias") || name.hasSuffix(".attn.masked_bias") { return nil }
        return name.hasPrefix("transformer.") ? name : "transformer.\(name)"
    }

    /// An empty cache for up to `capacity` positions.
    public func makeCache(capacity: Int) -> KeyValueCache {
        KeyValueCache(layerCount: configuration.layerCount, capacity: capacity)
    }

    /// The embeddings of tokens. ids int64 `[..]` -> `[.., C]`
    public func embed(_ ids: Tensor) -> Tensor { tokens(ids) }

    /// The hidden states after the last norm; see `TokenDecoder`. A memory is not read.
    public func hidden(
        _ ids: Tensor, context: DecodingContext = DecodingContext(), positions: Tensor? = nil, mask: Tensor? = nil,
        cache: KeyValueCache? = nil, dropout: Dropout? = nil
    ) -> Tensor {
        hidden(
            embeddings: inputs(ids, behind: context.prefix), positions: positions, mask: mask, cache: cache,
            dropout: dropout)
    }

    /// The same of embeddings that need not be tokens.
    ///
    /// - Parameter embeddings: of `embed` or of a mapping network, `[B, T, C]`
    /// - Returns: `[B, T, C]` in the compute type
    /// - Precondition: the sequence is no longer than `positionCount`.
    public func hidden(
        embeddings: Tensor, positions given: Tensor? = nil, mask: Tensor? = nil, cache: KeyValueCache? = nil,
        dropout: Dropout? = nil
    ) -> Tensor {
        var x = embeddings
        let length = x.size(1)
        let start = cache?.length ?? 0
        let end = start + length
        precondition(
            end <= configuration.positionCount,
            "\(end) tokens, but the model has \(configuration.positionCount) positions")
        x = x + (given.map { positions($0) } ?? positions.weight.narrowed(0, start..<end))
        x = x.to(computeType)
        if let dropout { x = dropout(x) }

        // One new token sees everything; a whole sequence takes the causal kernel; several tokens after others need a
        // mask.
        let causal = mask == nil && length > 1 && start == 0
        let mask = mask ?? (length > 1 && start > 0 ? offsetCausalMask(length, end, device: x.device) : nil)
        var normed = blocks.first?.attentionNorm(x) ?? finalNorm(x)
        for (index, block) in blocks.enumerated() {
            let mixed = block.attention(normed, mask: mask, causal: causal, cache: cache, layer: index)
            (x, normed) = block.feedNorm(x, adding: dropout.map { $0(mixed) } ?? mixed)
            let fed = block.feed(normed)
            let next = index + 1 < blocks.count ? blocks[index + 1].attentionNorm : finalNorm
            (x, normed) = next(x, adding: dropout.map { $0(fed) } ?? fed)
        }
        return normed
    }

    /// hidden `[.., C]` -> the scores of each token, float32 `[.., V]`
    public func logits(_ hidden: Tensor) -> Tensor {
        Kernels.linear(hidden, tokens.weight, nil).to(.float32)
    }

    /// The mean loss of the tokens that follow, in nats, without keeping their scores.
    ///
    /// - Parameters:
    ///   - hidden: `[N, C]`
    ///   - targets: int64 `[N]`, in the vocabulary
    /// - Returns: a float32 scalar
    public func loss(_ hidden: Tensor, _ targets: Tensor) -> Tensor {
        Kernels.linearCrossEntropy(hidden, tokens.weight, targets)
    }
}

/// Bool `[T, S]`: the last T of S tokens, each seeing itself and what stands before it.
func offsetCausalMask(_ count: Int, _ total: Int, device: Device) -> Tensor {
    Tensor.ones([count, total], dtype: .bool, device: device).lowerTriangle(total - count)
}

/// The causal mask of a padded batch.
///
/// - Parameters:
///   - present: bool `[B, S]`, true for tokens, false for padding, on either side
///   - count: T, the number of the last tokens that attend
/// - Returns: bool `[B, 1, T, S]`; padding attends to itself, so that no row is empty
public func causalMask(present: Tensor, last count: Int) -> Tensor {
    let total = present.size(1)
    let causal = offsetCausalMask(count, total, device: present.device)  // [T, S]
    let diagonal = causal.upperTriangle(total - count)
    let seen = present.unsqueezed(1).unsqueezed(1).logicalAnd(causal)  // [B, 1, T, S]
    return seen.logicalOr(diagonal)
}

/// The positions of a padded batch: each token's index among the tokens of its row, 0 for padding in front.
///
/// - Parameter present: bool `[B, S]`
/// - Returns: int64 `[B, S]`
public func positionIDs(present: Tensor) -> Tensor {
    (present.to(.int64).cumulativeSum(1) - 1).clamped(minimum: 0).to(.int64)
}
