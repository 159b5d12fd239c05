// Chinese-CLIP (Yang et al. 2022, arXiv 2211.01335, https://github.com/OFA-Sys/Chinese-CLIP at 31863c7) with the names
// of Hugging Face transformers' ChineseCLIPModel (v5.23, https://github.com/huggingface/transformers,
// models/chinese_clip/modeling_chinese_clip.py).
// B batch, S picture side, P patches, T tokens, C width, H heads, E joint embedding.

public import TihuaNN
public import TihuaTorch

/// The sizes of the vision transformer, with the keys and the defaults of `ChineseCLIPVisionConfig`.
public struct VisionTransformerConfiguration: Codable, Sendable, Equatable {
    /// C, the width of the hidden states.
    public var hiddenSize = 768
    /// The width inside the feed-forward blocks.
    public var intermediateSize = 3072
    /// The number of layers.
    public var layerCount = 12
    /// H, the attention heads of a layer; divides the width.
    public var headCount = 12
    /// S, the side of the pictures.
    public var imageSize = 224
    /// The side of a patch.
    public var patchSize = 32
    /// What layer norms add to the variance.
    public var layerNormEpsilon = 1e-5
    /// The only values that Tihua runs; written to the file, so that Python reads the same model whatever its defaults.
    private let channelCount = 3
    private let activation = "quick_gelu"

    /// The defaults.
    public init() {}

    /// Patches along one side.
    public var gridSize: Int { imageSize / patchSize }

    private enum CodingKeys: String, CodingKey {
        case hiddenSize = "hidden_size"
        case intermediateSize = "intermediate_size"
        case layerCount = "num_hidden_layers"
        case headCount = "num_attention_heads"
        case imageSize = "image_size"
        case patchSize = "patch_size"
        case channelCount = "num_channels"
        case layerNormEpsilon = "layer_norm_eps"
        case activation = "hidden_act"
    }

    /// Reads what is there and keeps the defaults for the rest: published files hold only the differences.
    ///
    /// - Throws: `ModelError.unsupported` for a size out of range and an activation other than `quick_gelu`;
    ///   `DecodingError`.
    public init(from decoder: any Decoder) throws {
        let values = try ConfigurationReader(decoder, model: "chinese_clip", keyedBy: CodingKeys.self)
        var channelCount = 3
        try values.size(.hiddenSize, into: &hiddenSize)
        try values.size(.intermediateSize, into: &intermediateSize)
        try values.size(.layerCount, into: &layerCount)
        try values.size(.headCount, into: &headCount)
        try values.size(.imageSize, into: &imageSize, in: 1...4096)
        try values.size(.patchSize, into: &patchSize, in: 1...4096)
        try values.size(.channelCount, into: &channelCount)
        try values.epsilon(.layerNormEpsilon, into: &layerNormEpsilon)
        try values.require(.activation, is: "quick_gelu")
        try values.require(channelCount == 3, .channelCount, "\(channelCount)", known: "3")
        try values.require(
            hiddenSize % headCount == 0, .headCount, "\(headCount)", known: "a divisor of hidden_size, \(hiddenSize)")
        try values.require(
            patchSize <= imageSize, .patchSize, "\(patchSize)", known: "at most image_size, \(imageSize)")
    }
}

/// The sizes of both towers, with the keys and the defaults of `ChineseCLIPConfig`.
///
/// A `vision_config` with the key `layers` (stages, as `[3, 4, 6, 3]`) is a residual network, which has no Hugging Face
/// form.
public struct ChineseCLIPConfiguration: ModelConfiguration {
    /// The kinds of image tower.
    public enum Vision: Sendable, Equatable {
        case transformer(VisionTransformerConfiguration)
        case resNet(CLIPResNetConfiguration)
    }

    /// The text tower.
    public var text: BERTConfiguration
    /// The image tower.
    public var vision: Vision
    /// E, the width of the joint embedding.
    public var projectionSize: Int
    /// The natural logarithm of the factor of the cosines, at the start of a training.
    public var initialLogitScale: Double

    /// Towers and the width of what joins them.
    public init(
        text: BERTConfiguration = .init(), vision: Vision = .transformer(.init()), projectionSize: Int = 512,
        initialLogitScale: Double = 2.6592
    ) {
        self.text = text
        self.vision = vision
        self.projectionSize = projectionSize
        self.initialLogitScale = initialLogitScale
    }

    /// S, the side of the pictures that the image tower takes.
    public var imageSize: Int {
        get {
            switch vision {
            case .transformer(let vision): vision.imageSize
            case .resNet(let vision): vision.imageSize
            }
        }
        set {
            switch vision {
            case .transformer(var sized):
                sized.imageSize = newValue
                vision = .transformer(sized)
            case .resNet(var sized):
                sized.imageSize = newValue
                vision = .resNet(sized)
            }
        }
    }

    private enum CodingKeys: String, CodingKey {
        case modelType = "model_type"
        case architectures
        case text = "text_config"
        case textOverrides = "text_config_dict"
        case vision = "vision_config"
        case visionOverrides = "vision_config_dict"
        case projectionSize = "projection_dim"
        case initialLogitScale = "logit_scale_init_value"
    }

    private enum VisionKeys: String, CodingKey {
        case layers
    }

    /// Reads a `config.json`; what it leaves out has the defaults of the Python classes, so that the vocabulary, 30,522
    /// there, is 21,128 only where the file says so. Of `text_config` and the older `text_config_dict` the latter
    /// counts.
    ///
    /// - Throws: `ModelError.unsupported` for a size out of range, a setting or a `model_type` that is not implemented;
    ///   `DecodingError`.
    public init(from decoder: any Decoder) throws {
        let reader = try ConfigurationReader(decoder, model: "chinese_clip", keyedBy: CodingKeys.self)
        let values = reader.values
        self.init()
        try reader.require(.modelType, is: "chinese_clip")
        try reader.size(.projectionSize, into: &projectionSize)
        try reader.read(.initialLogitScale, into: &initialLogitScale)
        for key in [CodingKeys.textOverrides, .text] {
            guard let found = try values.decodeIfPresent(BERTConfiguration.self, forKey: key) else { continue }
            text = found
            break
        }
        for key in [CodingKeys.visionOverrides, .vision] {
            guard try values.contains(key) && !values.decodeNil(forKey: key) else { continue }
            let isResNet = try values.nestedContainer(keyedBy: VisionKeys.self, forKey: key).contains(.layers)
            vision =
                isResNet
                ? .resNet(try values.decode(CLIPResNetConfiguration.self, forKey: key))
                : .transformer(try values.decode(VisionTransformerConfiguration.self, forKey: key))
            break
        }
    }

    /// Writes every key, so that Python reads the same model whatever its defaults.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode("chinese_clip", forKey: .modelType)
        try values.encode(["ChineseCLIPModel"], forKey: .architectures)
        try values.encode(text, forKey: .text)
        switch vision {
        case .transformer(let vision): try values.encode(vision, forKey: .vision)
        case .resNet(let vision): try values.encode(vision, forKey: .vision)
        }
        try values.encode(projectionSize, forKey: .projectionSize)
        try values.encode(initialLogitScale, forKey: .initialLogitScale)
    }
}

/// An image tower: pixels `[B, 3, S, S]` -> `[B, E]` in the element type of its activations.
protocol ImageTower {
    func callAsFunction(_ pixels: Tensor, train: Bool) -> Tensor
}

struct VisionAttention {
    let query: Linear
    let key: Linear
    let value: Linear
    let output: Linear
    let headCount: Int

    init(_ configuration: VisionTransformerConfiguration, at path: ParameterPath) {
        let width = configuration.hiddenSize
        // Initial values shrink with the number of layers, as in `ChineseCLIPPreTrainedModel._init_weights`.
        let outputScale = Initialization.normal(std: Double(width).squareRoot().reciprocal)
        let inputScale = Initialization.normal(
            std: Double(2 * width * configuration.layerCount).squareRoot().reciprocal)
        query = Linear(width, width, initialization: inputScale, at: path / "q_proj")
        key = Linear(width, width, initialization: inputScale, at: path / "k_proj")
        value = Linear(width, width, initialization: inputScale, at: path / "v_proj")
        output = Linear(width, width, initialization: outputScale, at: path / "out_proj")
        headCount = configuration.headCount
    }

    /// x [B, T, C] -> [B, T, C]
    func callAsFunction(_ x: Tensor) -> Tensor {
        let attended = Kernels.attention(
            query(x).splitHeads(headCount), key(x).splitHeads(headCount), value(x).splitHeads(headCount))
        return output(attended.mergedHeads())
    }
}

struct VisionLayer {
    let norm1: LayerNorm
    let attention: VisionAttention
    let norm2: LayerNorm
    let expand: Linear
    let contract: Linear

    init(_ configuration: VisionTransformerConfiguration, at path: ParameterPath) {
        let (width, inner) = (configuration.hiddenSize, configuration.intermediateSize)
        let epsilon = configuration.layerNormEpsilon
        norm1 = LayerNorm(width, epsilon: epsilon, at: path / "layer_norm1")
        attention = VisionAttention(configuration, at: path / "self_attn")
        norm2 = LayerNorm(width, epsilon: epsilon, at: path / "layer_norm2")
        expand = Linear(
            width, inner, initialization: .normal(std: Double(2 * width).squareRoot().reciprocal),
            at: path / "mlp" / "fc1")
        contract = Linear(
            inner, width,
            initialization: .normal(std: Double(2 * width * configuration.layerCount).squareRoot().reciprocal),
            at: path / "mlp" / "fc2")
    }

    func callAsFunction(_ x: Tensor) -> Tensor {
        let attended = x + attention(norm1(x))
        return attended + contract(expand(norm2(attended)).quickGelu())
    }
}

/// The vision transformer of CLIP: pre-norm layers, QuickGELU, the class token projected.
struct VisionTransformer: ImageTower {
    let configuration: VisionTransformerConfiguration
    let computeType: DType
    let classEmbedding: Tensor  // [C]
    let patchEmbedding: Tensor  // [C, 3, patch, patch]
    let positions: Tensor  // [1 + P, C]
    let preNorm: LayerNorm
    let layers: [VisionLayer]
    let postNorm: LayerNorm
    let projection: Linear

    init(
        _ configuration: VisionTransformerConfiguration, projectionSize: Int, computeType: DType, at path: ParameterPath
    ) {
        let (width, patch) = (configuration.hiddenSize, configuration.patchSize)
        let epsilon = configuration.layerNormEpsilon
        let scale = Initialization.normal(std: Double(width).squareRoot().reciprocal)
        let tower = path / "vision_model"
        let embeddings = tower / "embeddings"
        self.configuration = configuration
        self.computeType = computeType
        classEmbedding = embeddings.parameter("class_embedding", [width], scale)
        patchEmbedding = (embeddings / "patch_embedding").parameter(
            "weight", [width, 3, patch, patch], .normal(std: 0.02))
        positions = (embeddings / "position_embedding").parameter(
            "weight", [1 + configuration.gridSize * configuration.gridSize, width], .normal(std: 0.02),
            group: .undecayed)
        preNorm = LayerNorm(width, epsilon: epsilon, at: tower / "pre_layrnorm")  // sic
        layers = (0..<configuration.layerCount).map {
            VisionLayer(configuration, at: tower / "encoder" / "layers" / $0)
        }
        postNorm = LayerNorm(width, epsilon: epsilon, at: tower / "post_layernorm")
        projection = Linear(width, projectionSize, bias: false, initialization: scale, at: path / "visual_projection")
    }

    func callAsFunction(_ pixels: Tensor, train: Bool) -> Tensor {
        let (batch, width) = (pixels.size(0), configuration.hiddenSize)
        let patches = Kernels.convolution(
            pixels, patchEmbedding.to(pixels.dtype), nil, stride: configuration.patchSize)  // [B, C, P', P']
        let tokens = Tensor.concatenated(
            [
                classEmbedding.to(pixels.dtype).expanded(batch, 1, width),
                patches.reshaped(batch, width, -1).transposed(1, 2),
            ], 1)  // [B, 1 + P, C]
        var x = preNorm((tokens + positions.to(pixels.dtype)).to(computeType))
        for layer in layers { x = layer(x) }
        return projection(postNorm(x.selected(1, 0)))  // [B, E]
    }
}

/// Chinese-CLIP: an image tower and a BERT text tower with a joint embedding.
public final class ChineseCLIP: LoadableModel {
    /// `chinese_clip` in `config.json`.
    public static let architecture = Architecture("chinese_clip", classes: ["ChineseCLIP"])
    /// The id of padding, which is never attended to.
    public static let padding = 0
    /// The number of ids that published models were trained with, `[CLS]` and `[SEP]` included.
    public static let contextLength = 52

    /// The sizes that the model was made with.
    public let configuration: ChineseCLIPConfiguration
    /// The element type of the activations; the parameters keep their own.
    public let computeType: DType
    /// The natural logarithm of the factor of the cosines. `[]`
    public let logitScale: Tensor
    private let text: BERT
    private let textProjection: Linear
    private let vision: any ImageTower

    /// Declares the parameters of both towers at `path`, the checkpoint's names below it.
    ///
    /// - Parameter computeType: of the activations; bfloat16 over float32 parameters is mixed precision training.
    public init(_ configuration: ChineseCLIPConfiguration, computeType: DType = .float32, at path: ParameterPath) {
        let width = configuration.text.hiddenSize
        self.configuration = configuration
        self.computeType = computeType
        text = BERT(configuration.text, computeType: computeType, at: path / "text_model")
        switch configuration.vision {
        case .transformer(let vision):
            self.vision = VisionTransformer(
                vision, projectionSize: configuration.projectionSize, computeType: computeType, at: path)
        case .resNet(let vision):
            self.vision = CLIPResNet(
                vision, projectionSize: configuration.projectionSize, computeType: computeType, at: path / "visual")
        }
        textProjection = Linear(
            width, configuration.projectionSize, bias: false,
            initialization: .normal(std: Double(width).squareRoot().reciprocal), at: path / "text_projection")
        logitScale = path.parameter("logit_scale", [], .constant(configuration.initialLogitScale))
    }

    /// Embeds pictures.
    ///
    /// - Parameters:
    ///   - pixels: `[B, 3, S, S]`, normalised with CLIP's mean and deviation
    ///   - train: whether batch norms use and record the batch's statistics (residual networks only)
    /// - Returns: float32 `[B, E]`, not normalised
    public func encodeImages(_ pixels: Tensor, train: Bool = false) -> Tensor {
        let side = configuration.imageSize
        precondition(
            pixels.shape.dropFirst() == [3, side, side],
            "pixels \(pixels.shape) for a tower of [B, 3, \(side), \(side)]")
        return vision(pixels, train: train).to(.float32)
    }

    /// Embeds texts by their first token.
    ///
    /// - Parameters:
    ///   - ids: int64 `[B, T]`, `[CLS]` first, T at most the positions of the text tower
    ///   - mask: `[B, T]`, true or not zero where there is text; nil is wherever the id is not padding
    /// - Returns: float32 `[B, E]`, not normalised
    public func encodeTexts(_ ids: Tensor, mask: Tensor? = nil) -> Tensor {
        let mask = mask.map { $0.dtype == .bool ? $0 : $0.differs(from: 0) } ?? ids.differs(from: Double(Self.padding))
        let hidden = text(ids, mask: mask.unsqueezed(1).unsqueezed(1))  // mask [B, 1, 1, T], hidden [B, T, C]
        return textProjection(hidden.selected(1, 0)).to(.float32)
    }
}

extension Double {
    var reciprocal: Double { 1 / self }
}

extension ChineseCLIPConfiguration {
    /// Multiplications of one picture through its tower: those of its matrix products and convolutions.
    public var multiplicationsPerPicture: Double {
        switch vision {
        case .transformer(let vision):
            let (width, patch) = (Double(vision.hiddenSize), Double(vision.patchSize))
            let patches = Double(vision.gridSize * vision.gridSize)
            let block = Self.block(tokens: patches + 1, width: width, inner: Double(vision.intermediateSize))
            return patches * 3 * patch * patch * width + Double(vision.layerCount) * block + width
                * Double(projectionSize)
        case .resNet(let vision):
            let width = Double(vision.width)
            var pixels = Double(vision.imageSize * vision.imageSize) / 4
            // The stem works at half the side, and a pool halves it again.
            var sum = pixels * 9 * (3 * width / 2 + width * width / 4 + width * width / 2)
            pixels /= 4
            var channels = width
            for (stage, count) in vision.layers.enumerated() {
                let planes = width * Double(1 << stage)
                for index in 0..<count {
                    let after = index == 0 && stage > 0 ? pixels / 4 : pixels
                    sum += pixels * (channels * planes + 9 * planes * planes) + after * 4 * planes * planes
                    if index == 0 { sum += after * channels * 4 * planes }
                    (channels, pixels) = (4 * planes, after)
                }
            }
            // The attention pool: keys and values of every place, one query.
            return sum + 2 * (pixels + 1) * channels * channels + channels * (channels + Double(projectionSize))
        }
    }

    /// Multiplications of one text of so many characters through its tower.
    public func multiplications(perTextOf length: Int) -> Double {
        let width = Double(text.hiddenSize)
        // [CLS] and [SEP] are two tokens more.
        let block = Self.block(tokens: Double(length + 2), width: width, inner: Double(text.intermediateSize))
        return Double(text.layerCount) * block + width * Double(projectionSize)
    }

    /// A transformer block: four projections, scores and mixing, two layers of the feed-forward part.
    private static func block(tokens: Double, width: Double, inner: Double) -> Double {
        tokens * (4 * width * width + 2 * width * inner + 2 * tokens * width)
    }
}
