// A picture tower and a text tower that others have taught, joined by two small heads in one space: EfficientNet-Lite
// (EfficientNet.swift) and the universal sentence encoder (UniversalSentenceEncoder.swift). The form is that of
// transformers' VisionTextDualEncoderModel (https://github.com/huggingface/transformers,
// models/vision_text_dual_encoder), with heads of two layers for its linear projections; training one tower against a
// frozen one is Zhai et al. 2022 (LiT, arXiv 2111.07991).
// B pictures or texts, S picture side, F features of a picture, E joint embedding, G = S / 32 rounded up, P = G * G
// places of a picture, C channels of a place.

public import TihuaNN
public import TihuaTorch

/// The sizes of both towers and of the heads.
public struct VisionTextDualEncoderConfiguration: ModelConfiguration {
    /// The picture tower, without classes.
    public var vision: EfficientNetConfiguration
    /// The text tower, whose vectors are as wide as the joint embedding (E).
    public var text: UniversalSentenceEncoderConfiguration
    /// The inner width of the head of the picture tower.
    public var visionHeadSize = 1024
    /// The inner width of the head of the text tower.
    public var textHeadSize = 1024
    private let modelType = VisionTextDualEncoder.architecture.rawValue

    /// Towers, of which the picture tower gives features alone.
    public init(vision: EfficientNetConfiguration = .init(), text: UniversalSentenceEncoderConfiguration = .init()) {
        self.vision = vision
        self.vision.classCount = 0
        self.text = text
    }

    /// S, the side of the pictures.
    public var imageSize: Int { vision.imageSize }

    /// E, the width of the joint embedding.
    public var projectionSize: Int { text.embeddingSize }

    /// The number of numbers.
    public var parameterCount: Double {
        let (f, e) = (Double(EfficientNetConfiguration.featureCount), Double(projectionSize))
        let (v, t) = (Double(visionHeadSize), Double(textHeadSize))
        return vision.parameterCount + text.parameterCount + 2 * f + f * v + v + v * e + e + 2 * e * t + t + e + 1
    }

    private enum CodingKeys: String, CodingKey {
        case modelType = "model_type"
        case vision = "vision_config"
        case text = "text_config"
        case visionHeadSize = "vision_head_size"
        case textHeadSize = "text_head_size"
    }

    /// Reads a `config.json`.
    ///
    /// - Throws: `ModelError.unsupported` for sizes out of range; `DecodingError`.
    public init(from decoder: any Decoder) throws {
        let reader = try ConfigurationReader(
            decoder, model: VisionTextDualEncoder.architecture.rawValue, keyedBy: CodingKeys.self)
        vision = try reader.values.decode(EfficientNetConfiguration.self, forKey: .vision)
        text = try reader.values.decode(UniversalSentenceEncoderConfiguration.self, forKey: .text)
        try reader.require(
            vision.classCount == 0, .vision, "num_classes \(vision.classCount)", known: "num_classes 0")
        try reader.size(.visionHeadSize, into: &visionHeadSize)
        try reader.size(.textHeadSize, into: &textHeadSize)
    }
}

/// Two layers with GELU between them.
private struct Head {
    let inner, outer: Linear

    init(_ input: Int, _ hidden: Int, _ output: Int, outer initialization: Initialization, at path: ParameterPath) {
        inner = Linear(
            input, hidden, initialization: .normal(std: Double(input).squareRoot().reciprocal), at: path / "fc1")
        outer = Linear(hidden, output, initialization: initialization, at: path / "fc2")
    }

    func callAsFunction(_ x: Tensor, dropout: Dropout?) -> Tensor {
        let hidden = inner(x).gelu()
        return outer(dropout.map { $0(hidden) } ?? hidden)
    }
}

/// EfficientNet-Lite and the universal sentence encoder in one space.
///
/// Not `Sendable`: it lives on one thread.
public final class VisionTextDualEncoder: LoadableModel, TwoTowers {
    /// `tihua_vision_text_dual_encoder` in `config.json`: transformers' own model of that name has other towers.
    public static let architecture = Architecture(
        "tihua_vision_text_dual_encoder", classes: ["TihuaVisionTextDualEncoder"])

    /// The sizes that the model was made with.
    public let configuration: VisionTextDualEncoderConfiguration
    /// The element type of the picture tower's activations. The text tower and the heads are float32.
    public let computeType: DType
    /// The natural logarithm of the factor of the cosines. `[]`
    public let logitScale: Tensor
    /// The picture tower.
    public let vision: EfficientNet
    /// The text tower.
    public let text: UniversalSentenceEncoder
    private let visionNorm: LayerNorm
    private let visionHead, textHead: Head
    /// By which the numbers of a vector of unit length have a mean square of 1.
    private let textScale: Double

    /// Declares the parameters of both towers and heads at `path`.
    public init(
        _ configuration: VisionTextDualEncoderConfiguration, computeType: DType = .float32, at path: ParameterPath
    ) {
        let (features, width) = (EfficientNetConfiguration.featureCount, configuration.projectionSize)
        self.configuration = configuration
        self.computeType = computeType
        vision = EfficientNet(configuration.vision, computeType: computeType, at: path / Self.visionName)
        text = UniversalSentenceEncoder(configuration.text, at: path / Self.textName)
        visionNorm = LayerNorm(features, at: path / "visual_projection" / "norm")
        let hidden = configuration.visionHeadSize
        visionHead = Head(
            features, hidden, width, outer: .normal(std: Double(hidden).squareRoot().reciprocal),
            at: path / "visual_projection")
        // It begins as the sentence encoder itself.
        textHead = Head(width, configuration.textHeadSize, width, outer: .zeros, at: path / "text_projection")
        textScale = Double(width).squareRoot()
        logitScale = path.parameter("logit_scale", [], .constant(3))
    }

    /// What the names of the picture tower's and the text tower's parameters begin with.
    public static let (visionName, textName) = ("vision_model", "text_model")

    /// The side of the pictures (S).
    public var imageSize: Int { configuration.imageSize }
    /// The width of the joint embedding (E).
    public var projectionSize: Int { configuration.projectionSize }
    /// The most pieces of a text that are read, those around it included.
    public var contextLength: Int { 128 }

    /// Makes convolutions and norms one.
    public func prepareForInference() { vision.fold() }

    /// Embeds pictures.
    ///
    /// - Parameters:
    ///   - pixels: `[B, 3, S, S]`, (x - 127) / 128 for bytes
    ///   - train: does nothing: the norms of the picture tower keep the statistics of ImageNet
    /// - Returns: float32 `[B, E]`, not normalised
    public func encodeImages(_ pixels: Tensor, train: Bool = false) -> Tensor {
        embed(features: vision.features(pixels))
    }

    /// Embeds pictures, and gives what the picture tower sees at each place.
    ///
    /// - Parameter pixels: as for `encodeImages`
    /// - Returns: float32 `[B, E]`, not normalised, and float32 `[B, P, C]`, row by row
    public func encodeImagesAndGrid(_ pixels: Tensor) -> (embeddings: Tensor, grid: Tensor)? {
        let map = vision.bottleneck(pixels)  // [B, C, G, G]
        let grid = map.to(.float32).reshaped(map.size(0), map.size(1), -1).transposed(1, 2)  // [B, P, C]
        return (embed(features: vision.features(bottleneck: map)), grid.contiguous())
    }

    /// Embeds the features of pictures: `[B, F]` -> float32 `[B, E]`, not normalised
    ///
    /// - Parameters:
    ///   - featureDropout: of the features, in training
    ///   - dropout: inside the head, in training
    public func embed(features: Tensor, featureDropout: Dropout? = nil, dropout: Dropout? = nil) -> Tensor {
        let normed = visionNorm(features.to(.float32))
        return visionHead(featureDropout.map { $0(normed) } ?? normed, dropout: dropout)
    }

    /// Embeds texts.
    ///
    /// - Parameter ids: the pieces of each, those around it included; none is empty
    /// - Returns: float32 `[B, E]`, not normalised
    public func encodeTexts(_ ids: [[Int32]]) -> Tensor { embed(sentences: text(ids)) }

    /// The sentence encoder's own vectors, which tell better than the joint space what sentences say the same.
    ///
    /// - Parameter ids: as for `encodeTexts`
    /// - Returns: float32 `[B, E]` at unit length
    public func encodeSentences(_ ids: [[Int32]]) -> Tensor { text(ids) }

    /// Embeds the vectors of sentences: `[B, E]` -> float32 `[B, E]`, not normalised
    ///
    /// - Parameter dropout: inside the head, in training
    public func embed(sentences: Tensor, dropout: Dropout? = nil) -> Tensor {
        sentences + textHead(sentences * textScale, dropout: dropout)
    }
}
