// The residual network of CLIP (Radford et al. 2021): three-convolution stem, average pooling before strided
// convolutions, attention pooling. Names and behaviour of `cn_clip` 1.6.0, clip/model.py, `ModifiedResNet`.
// B batch, C channels, G side of the last feature map, T = 1 + G G, E joint embedding.

import TihuaNN
import TihuaTorch

/// The sizes of CLIP's residual network. The defaults are RN50's.
public struct CLIPResNetConfiguration: Codable, Sendable, Equatable {
    /// Blocks of each of the four stages.
    public var layers = [3, 4, 6, 3]
    /// Channels after the stem; the last stage has 32 times as many.
    public var width = 64
    /// The side of the pictures, a multiple of 32.
    public var imageSize = 224
    /// Heads of the attention pool.
    public var headCount: Int { max(1, width / 2) }

    /// RN50.
    public init() {}

    private enum CodingKeys: String, CodingKey {
        case layers
        case width
        case imageSize = "image_size"
    }

    /// Reads `layers` and what else is there.
    ///
    /// - Throws: `ModelError.unsupported` for a number of stages other than four and a size out of range;
    ///   `DecodingError`.
    public init(from decoder: any Decoder) throws {
        let values = try ConfigurationReader(decoder, model: "chinese_clip", keyedBy: CodingKeys.self)
        layers = try values.values.decode([Int].self, forKey: .layers)
        try values.size(.width, into: &width, in: 2...1024)
        try values.size(.imageSize, into: &imageSize, in: 32...4096)
        try values.require(
            layers.count == 4 && layers.allSatisfy((1...256).contains), .layers, "\(layers)",
            known: "four numbers of 1 to 256")
        try values.require(width % 2 == 0, .width, "\(width)", known: "even numbers")
        try values.require(imageSize % 32 == 0, .imageSize, "\(imageSize)", known: "multiples of 32")
    }
}

/// 1x1, 3x3, 1x1 convolutions; a stride is an average pool between the last two.
struct CLIPBottleneck {
    static let expansion = 4

    let conv1: Convolution
    let norm1: BatchNorm
    let conv2: Convolution
    let norm2: BatchNorm
    let conv3: Convolution
    let norm3: BatchNorm
    let downsample: (conv: Convolution, norm: BatchNorm)?
    let stride: Int

    init(_ input: Int, _ planes: Int, stride: Int, at path: ParameterPath) {
        let output = planes * Self.expansion
        conv1 = Convolution(input, planes, kernel: 1, bias: false, at: path / "conv1")
        norm1 = BatchNorm(planes, at: path / "bn1")
        conv2 = Convolution(planes, planes, kernel: 3, padding: 1, bias: false, at: path / "conv2")
        norm2 = BatchNorm(planes, at: path / "bn2")
        conv3 = Convolution(planes, output, kernel: 1, bias: false, at: path / "conv3")
        // The last norm starts at 0, so that a block starts as the identity.
        norm3 = BatchNorm(output, initialScale: 0, at: path / "bn3")
        self.stride = stride
        guard stride > 1 || input != output else {
            downsample = nil
            return
        }
        downsample = (
            Convolution(input, output, kernel: 1, bias: false, at: path / "downsample" / 0),
            BatchNorm(output, at: path / "downsample" / 1)
        )
    }

    /// x [B, C, G, G] -> [B, 4 planes, G / stride, G / stride]
    func callAsFunction(_ x: Tensor, train: Bool) -> Tensor {
        var y = norm1(conv1(x), train: train).relu()
        y = norm2(conv2(y), train: train).relu()
        if stride > 1 { y = Kernels.averagePool(y, kernel: stride) }
        y = norm3(conv3(y), train: train)
        guard let downsample else { return (y + x).relu() }
        let shortcut = stride > 1 ? Kernels.averagePool(x, kernel: stride) : x
        return (y + downsample.norm(downsample.conv(shortcut), train: train)).relu()
    }
}

/// One query, the mean of the feature map, over the map and itself.
struct CLIPAttentionPool {
    let positions: Tensor  // [T, C]
    let query: Linear
    let key: Linear
    let value: Linear
    let output: Linear
    let headCount: Int

    init(_ configuration: CLIPResNetConfiguration, projectionSize: Int, at path: ParameterPath) {
        let width = configuration.width * 32
        let grid = configuration.imageSize / 32
        let scale = Initialization.normal(std: Double(width).squareRoot().reciprocal)
        positions = path.parameter("positional_embedding", [1 + grid * grid, width], scale, group: .undecayed)
        query = Linear(width, width, initialization: scale, at: path / "q_proj")
        key = Linear(width, width, initialization: scale, at: path / "k_proj")
        value = Linear(width, width, initialization: scale, at: path / "v_proj")
        output = Linear(width, projectionSize, initialization: scale, at: path / "c_proj")
        headCount = configuration.headCount
    }

    /// x [B, C, G, G] -> [B, E]
    func callAsFunction(_ x: Tensor) -> Tensor {
        let map = x.reshaped(x.size(0), x.size(1), -1).transposed(1, 2)  // [B, G G, C]
        let tokens = Tensor.concatenated([map.mean(1, keep: true), map], 1) + positions.to(x.dtype)  // [B, T, C]
        let pooled = Kernels.attention(
            query(tokens.narrowed(1, 0..<1)).splitHeads(headCount), key(tokens).splitHeads(headCount),
            value(tokens).splitHeads(headCount)
        ).mergedHeads()  // [B, 1, C]
        return output(pooled.selected(1, 0))
    }
}

struct CLIPResNet: ImageTower {
    let computeType: DType
    let stem: [(conv: Convolution, norm: BatchNorm)]
    let blocks: [CLIPBottleneck]
    let pool: CLIPAttentionPool

    init(_ configuration: CLIPResNetConfiguration, projectionSize: Int, computeType: DType, at path: ParameterPath) {
        let width = configuration.width
        self.computeType = computeType
        let channels = [3, width / 2, width / 2, width]
        stem = (1...3).map { index in
            let conv = Convolution(
                channels[index - 1], channels[index], kernel: 3, stride: index == 1 ? 2 : 1, padding: 1, bias: false,
                at: path / "conv\(index)")
            return (conv, BatchNorm(channels[index], at: path / "bn\(index)"))
        }
        var input = width
        var blocks: [CLIPBottleneck] = []
        for (stage, count) in configuration.layers.enumerated() {
            let planes = width << stage
            for index in 0..<count {
                let stride = stage > 0 && index == 0 ? 2 : 1
                blocks.append(CLIPBottleneck(input, planes, stride: stride, at: path / "layer\(stage + 1)" / index))
                input = planes * CLIPBottleneck.expansion
            }
        }
        self.blocks = blocks
        pool = CLIPAttentionPool(configuration, projectionSize: projectionSize, at: path / "attnpool")
    }

    func callAsFunction(_ pixels: Tensor, train: Bool) -> Tensor {
        var x = pixels.to(computeType)
        for (conv, norm) in stem { x = norm(conv(x), train: train).relu() }  // [B, width, S / 2, S / 2]
        x = Kernels.averagePool(x, kernel: 2)
        for block in blocks { x = block(x, train: train) }  // [B, 32 width, S / 32, S / 32]
        return pool(x)
    }
}
