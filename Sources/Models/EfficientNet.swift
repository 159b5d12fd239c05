// EfficientNet-Lite (Tan and Le 2019, arXiv 1905.11946): the network without squeeze and excitation, with ReLU6 for
// swish, and with a stem and a head whose widths stay. Names and behaviour of `efficientnet_lite_pytorch` 0.1.0,
// model.py (from https://github.com/lukemelas/EfficientNet-PyTorch), which follows tensorflow/tpu,
// models/official/efficientnet/lite.
// B batch, C channels, H x W pixels, G = H / 32 rounded up, F = 1280 features.

import Foundation
public import TihuaNN
public import TihuaTorch
public import TihuaWeightFiles

/// The sizes of an EfficientNet-Lite. The defaults are Lite0's.
public struct EfficientNetConfiguration: ModelConfiguration {
    /// Channels of the blocks as a multiple of Lite0's, `width_coefficient`.
    public var widthCoefficient = 1.0
    /// Blocks of the inner stages as a multiple of Lite0's, `depth_coefficient`.
    public var depthCoefficient = 1.0
    /// The side of the pictures that it was trained with, in pixels. Others work.
    public var imageSize = 224
    /// Classes of the last layer; ImageNet has 1,000. 0 is a network without that layer, which gives features alone.
    public var classCount = 1000
    private let modelType = EfficientNet.architecture.rawValue

    /// Lite0.
    public init() {}

    /// Lite0 to Lite4; nil for another number.
    public init?(lite number: Int) {
        let known = [(1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 280), (1.4, 1.8, 300)]
        guard known.indices.contains(number) else { return nil }
        (widthCoefficient, depthCoefficient, imageSize) = known[number]
    }

    /// The number of features (F).
    public static let featureCount = 1280
    fileprivate static let stemWidth = 32

    /// One block of a network.
    struct Block: Equatable {
        let kernel, stride, expansion, input, output: Int
    }

    /// The blocks from the first to the last.
    var blocks: [Block] {
        // Of Lite0: blocks, kernel, stride of the first, expansion, channels.
        let stages = [
            (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
            (4, 5, 2, 6, 192),
            (1, 3, 1, 6, 320),
        ]
        var blocks: [Block] = []
        var input = Self.stemWidth
        for (index, (count, kernel, stride, expansion, channels)) in stages.enumerated() {
            let isInner = index > 0 && index < stages.count - 1
            let count = isInner ? Int((depthCoefficient * Double(count)).rounded(.up)) : count
            let output = Self.rounded(Double(channels) * widthCoefficient)
            for number in 0..<count {
                blocks.append(
                    Block(
                        kernel: kernel, stride: number == 0 ? stride : 1, expansion: expansion, input: input,
                        output: output))
                input = output
            }
        }
        return blocks
    }

    /// Channels are multiples of eight, and never more than a tenth below what was asked for.
    private static func rounded(_ channels: Double) -> Int {
        let nearest = max(8, Int(channels + 4) / 8 * 8)
        return Double(nearest) < 0.9 * channels ? nearest + 8 : nearest
    }

    /// The number of trained numbers.
    public var parameterCount: Double {
        /// A convolution without bias, and its norm.
        func convolution(_ input: Int, _ output: Int, _ area: Int) -> Int { output * (input * area + 2) }
        let blocks = blocks
        let last = blocks.last?.output ?? 0
        var count = convolution(3, Self.stemWidth, 9) + convolution(last, Self.featureCount, 1)
        count += (Self.featureCount + 1) * classCount  // no layer for 0 classes
        for block in blocks {
            let inner = block.input * block.expansion
            if block.expansion > 1 { count += convolution(block.input, inner, 1) }
            count += convolution(1, inner, block.kernel * block.kernel) + convolution(inner, block.output, 1)
        }
        return Double(count)
    }

    /// Multiplications of one picture of `imageSize`, without the classes.
    public var multiplications: Double {
        var side = Double((imageSize + 1) / 2)
        var sum = side * side * Double(3 * 9 * Self.stemWidth)
        for block in blocks {
            let inner = Double(block.input * block.expansion)
            if block.expansion > 1 { sum += side * side * Double(block.input) * inner }
            side = (side / Double(block.stride)).rounded(.up)
            sum += side * side * inner * Double(block.kernel * block.kernel + block.output)
        }
        return sum + side * side * Double((blocks.last?.output ?? 0) * Self.featureCount)
    }

    private enum CodingKeys: String, CodingKey {
        case modelType = "model_type"
        case widthCoefficient = "width_coefficient"
        case depthCoefficient = "depth_coefficient"
        case imageSize = "image_size"
        case classCount = "num_classes"
    }

    /// Reads what is there.
    ///
    /// - Throws: `ModelError.unsupported` for sizes out of range; `DecodingError`.
    public init(from decoder: any Decoder) throws {
        let reader = try ConfigurationReader(
            decoder, model: EfficientNet.architecture.rawValue, keyedBy: CodingKeys.self)
        func coefficient(_ key: CodingKeys, into value: inout Double) throws {
            guard let found = try reader.values.decodeIfPresent(Double.self, forKey: key) else { return }
            try reader.require((0.1...8).contains(found), key, "\(found)", known: "0.1 to 8")
            value = found
        }
        try coefficient(.widthCoefficient, into: &widthCoefficient)
        try coefficient(.depthCoefficient, into: &depthCoefficient)
        try reader.size(.imageSize, into: &imageSize, in: 8...4096)
        try reader.size(.classCount, into: &classCount, in: 0...(1 << 20))
    }
}

/// A convolution without bias and a batch norm, padded as TensorFlow's "same": an output for every `stride` pixels,
/// whatever the size, and where the zeroes around the picture are odd in number, one more to the right and below.
final class NormalizedConvolution {
    /// How a picture is padded: with so many zeroes on every side, after the weight got so many rows and columns of
    /// zeroes before its first.
    private struct Padding: Equatable {
        var zeroes = 0
        var shift = 0
    }

    /// The convolution and the norm as one convolution, as inference takes it.
    private struct Folded {
        let weight, bias: Tensor
        let padding: Padding
        let dtype: DType
    }

    private let convolution: Convolution
    private let norm: BatchNorm
    private let kernel: Int
    /// Whether inference may keep `folded`, which the first picture makes.
    var isFolded = false {
        didSet { folded = nil }
    }
    private var folded: Folded?

    init(
        _ input: Int, _ output: Int, kernel: Int = 1, stride: Int = 1, groups: Int = 1, _ name: String, norm: String,
        at path: ParameterPath
    ) {
        convolution = Convolution(
            input, output, kernel: kernel, stride: stride, groups: groups, bias: false, at: path / name)
        // TensorFlow's momentum of 0.99 is PyTorch's of 0.01.
        self.norm = BatchNorm(output, epsilon: 1e-3, momentum: 0.01, at: path / norm)
        self.kernel = kernel
    }

    /// The convolution and the norm, plus `residual` or clamped to 0...6, not both.
    ///
    /// x [B, C, H, W] -> [B, O, H / stride, W / stride], rounded up
    func callAsFunction(_ x: Tensor, adding residual: Tensor? = nil, relu6: Bool = false, train: Bool) -> Tensor {
        let (height, width) = (zeroes(x.shape[2]), zeroes(x.shape[3]))
        func padded() -> Tensor {
            Kernels.zeroPad(x, left: width.before, right: width.after, top: height.before, bottom: height.after)
        }
        if isFolded, !train, !(Runtime.recordsGradients && x.requiresGradient) {
            // One zero more behind than before: a wider kernel is cheaper than a copy of the picture.
            return height == width
                ? inference(
                    x, Padding(zeroes: height.after, shift: height.after - height.before), adding: residual,
                    relu6: relu6)
                : inference(padded(), Padding(), adding: residual, relu6: relu6)
        }
        let isEven = height.before == height.after && height == width
        let y = norm(
            Kernels.convolution(
                isEven ? x : padded(), convolution.weight.to(x.dtype), nil, stride: convolution.stride,
                padding: isEven ? height.before : 0, groups: convolution.groups),
            train: train)
        // Neither the convolution nor the norm needs its result for gradients.
        if let residual { y.add_(residual) }
        if relu6 { y.relu6_() }
        return y
    }

    private func inference(_ x: Tensor, _ padding: Padding, adding residual: Tensor?, relu6: Bool) -> Tensor {
        let now: Folded
        if let folded, folded.padding == padding, folded.dtype == x.dtype {
            now = folded
        } else {
            let (weight, bias) = norm.folded(into: convolution.weight)
            let shifted = padding.shift == 0 ? weight : Kernels.zeroPad(weight, left: padding.shift, top: padding.shift)
            now = Folded(
                weight: Kernels.inferenceWeight(
                    shifted.to(x.dtype), input: x.shape, stride: convolution.stride, padding: padding.zeroes,
                    groups: convolution.groups),
                bias: bias.to(x.dtype), padding: padding, dtype: x.dtype)
            folded = now
        }
        return Kernels.inferenceConvolution(
            x, now.weight, now.bias, stride: convolution.stride, padding: padding.zeroes, groups: convolution.groups,
            adding: residual, relu6: relu6)
    }

    /// How many zeroes stand before and after a row of so many pixels.
    private func zeroes(_ size: Int) -> (before: Int, after: Int) {
        let outputs = (size + convolution.stride - 1) / convolution.stride
        let total = max((outputs - 1) * convolution.stride + kernel - size, 0)
        return (total / 2, total - total / 2)
    }
}

/// Wide inside, narrow outside (Sandler et al. 2018, arXiv 1801.04381): a 1x1 convolution that widens, one of each
/// channel by itself, a 1x1 convolution that narrows, and the input added where the shape stays.
struct InvertedResidual {
    private let expand: NormalizedConvolution?
    private let depthwise: NormalizedConvolution
    private let project: NormalizedConvolution
    private let isResidual: Bool

    init(_ block: EfficientNetConfiguration.Block, at path: ParameterPath) {
        let inner = block.input * block.expansion
        expand =
            block.expansion == 1
            ? nil : NormalizedConvolution(block.input, inner, "_expand_conv", norm: "_bn0", at: path)
        depthwise = NormalizedConvolution(
            inner, inner, kernel: block.kernel, stride: block.stride, groups: inner, "_depthwise_conv", norm: "_bn1",
            at: path)
        project = NormalizedConvolution(inner, block.output, "_project_conv", norm: "_bn2", at: path)
        isResidual = block.stride == 1 && block.input == block.output
    }

    var convolutions: [NormalizedConvolution] { [expand, depthwise, project].compactMap { $0 } }
    var isFolded: Bool { convolutions.allSatisfy(\.isFolded) }

    /// x [B, C, H, W] -> [B, O, H / stride, W / stride], rounded up
    func callAsFunction(_ x: Tensor, train: Bool) -> Tensor {
        let wide = expand?(x, relu6: true, train: train) ?? x
        return project(depthwise(wide, relu6: true, train: train), adding: isResidual ? x : nil, train: train)
    }
}

/// EfficientNet-Lite: the class of what a picture shows, and the features that it is told from.
///
/// Not `Sendable`: it lives on one thread.
public final class EfficientNet: LoadableModel {
    /// `efficientnet_lite` in `config.json`.
    public static let architecture = Architecture("efficientnet_lite", classes: ["EfficientNetLite"])

    /// What the network was made with.
    public let configuration: EfficientNetConfiguration
    /// The element type of the activations.
    public let computeType: DType
    private let stem: NormalizedConvolution
    private let blocks: [InvertedResidual]
    private let head: NormalizedConvolution
    private let classifier: Linear?

    /// Declares the parameters under `path`, which is the store's root for a checkpoint.
    public init(_ configuration: EfficientNetConfiguration, computeType: DType = .float32, at path: ParameterPath) {
        typealias C = EfficientNetConfiguration
        self.configuration = configuration
        self.computeType = computeType
        let shapes = configuration.blocks
        stem = NormalizedConvolution(3, C.stemWidth, kernel: 3, stride: 2, "_conv_stem", norm: "_bn0", at: path)
        blocks = shapes.enumerated().map { InvertedResidual($1, at: path / "_blocks" / $0) }
        head = NormalizedConvolution(
            shapes.last?.output ?? C.stemWidth, C.featureCount, "_conv_head", norm: "_bn1", at: path)
        classifier =
            configuration.classCount > 0 ? Linear(C.featureCount, configuration.classCount, at: path / "_fc") : nil
    }

    /// The mean and the deviation of each colour that it expects, of values from 0 to 1: (x - 127) / 128 for bytes.
    public static let (pixelMean, pixelDeviation): (Float, Float) = (127.0 / 255, 128.0 / 255)

    /// The number of blocks.
    public var blockCount: Int { blocks.count }

    /// Makes each convolution and its norm one convolution, with its ReLU6 or sum in it, wherever neither the gradients
    /// of pictures nor the statistics of a batch are asked for: less than half the time. Each is made at the first
    /// picture; from then on the weights must not change, or `unfold` comes before.
    public func fold() {
        for convolution in convolutions { convolution.isFolded = true }
    }

    /// The same for the stem and the first so many blocks, while the others are trained.
    public func fold(blocks count: Int) {
        for convolution in [stem] + blocks.prefix(count).flatMap(\.convolutions) { convolution.isFolded = true }
    }

    /// Whether a parameter belongs to the stem or to the first so many blocks.
    ///
    /// - Parameter name: as in the checkpoint
    public static func isBefore(block count: Int, _ name: String) -> Bool {
        guard name.hasPrefix("_blocks.") else { return name.hasPrefix("_conv_stem.") || name.hasPrefix("_bn0.") }
        let number = name.dropFirst("_blocks.".count).prefix { $0 != "." }
        return Int(number).map { $0 < count } ?? false
    }

    /// Takes back `fold`.
    public func unfold() {
        for convolution in convolutions { convolution.isFolded = false }
    }

    private var convolutions: [NormalizedConvolution] { [stem] + blocks.flatMap(\.convolutions) + [head] }

    /// What the last block gives, the input of the convolution that makes features of it.
    ///
    /// - Parameters:
    ///   - pixels: float `[B, 3, H, W]`, each colour less `pixelMean`, divided by `pixelDeviation`
    ///   - train: whether the norms take the batch's statistics and move the running ones
    /// - Returns: `[B, C, G, G]` with the channels last in memory; C is 320 in Lite0
    public func bottleneck(_ pixels: Tensor, train: Bool = false) -> Tensor {
        let foldedCount = train || !stem.isFolded ? 0 : blocks.prefix(while: \.isFolded).count
        var x = inParts(pixels, isFolded: foldedCount > 0) { part in
            let first = stem(part.to(computeType).channelsLast(), relu6: true, train: train)
            return blocks[..<foldedCount].reduce(first) { $1($0, train: train) }
        }
        for block in blocks[foldedCount...] { x = block(x, train: train) }
        return x
    }

    /// Takes a batch a few pictures at a time where nothing depends on the whole of it. Maps of 32 pictures are larger
    /// than a processor's caches, and so large that their memory is asked of the system anew for every layer.
    private func inParts(_ pixels: Tensor, isFolded: Bool, _ body: (Tensor) -> Tensor) -> Tensor {
        let shape = pixels.shape
        guard isFolded, pixels.device == .cpu else { return body(pixels) }
        // The largest map is the wide one of the second block, at half the size.
        let widest = configuration.blocks[1].input * configuration.blocks[1].expansion
        let bytes = widest * ((shape[2] + 1) / 2) * ((shape[3] + 1) / 2) * computeType.size
        let count = max(1, Self.partBytes / max(1, bytes))
        guard count < shape[0] else { return body(pixels) }
        let parts = stride(from: 0, to: shape[0], by: count).map {
            body(pixels.narrowed(0, $0..<min($0 + count, shape[0])))
        }
        return .concatenated(parts, 0)
    }

    /// The most bytes that the largest map of some pictures has that are taken together.
    static let partBytes = 20 << 20

    /// The features of a bottleneck: `[B, C, G, G]` -> `[B, F]`
    public func features(bottleneck: Tensor, train: Bool = false) -> Tensor {
        head(bottleneck, relu6: true, train: train).mean(2, 3)
    }

    /// The last feature map, from 0 to 6. pixels `[B, 3, H, W]`, as for `bottleneck`, -> `[B, F, G, G]`
    public func featureMap(_ pixels: Tensor, train: Bool = false) -> Tensor {
        head(bottleneck(pixels, train: train), relu6: true, train: train)
    }

    /// The mean of the last feature map. pixels `[B, 3, H, W]` -> `[B, F]`
    public func features(_ pixels: Tensor, train: Bool = false) -> Tensor {
        featureMap(pixels, train: train).mean(2, 3)
    }

    /// The logits of the classes. pixels `[B, 3, H, W]` -> `[B, classes]`
    public func callAsFunction(_ pixels: Tensor, train: Bool = false) -> Tensor {
        logits(features: features(pixels, train: train))
    }

    /// The logits of the classes from the features. `[B, F]` -> `[B, classes]`
    ///
    /// - Precondition: the network has classes.
    public func logits(features: Tensor) -> Tensor {
        guard let classifier else { preconditionFailure("an EfficientNet without classes") }
        return classifier(features)
    }

    /// What `config.json` says, or which of Lite0 to Lite4 the shapes of a published `.pth` tell.
    ///
    /// - Throws: `ModelError` for weights of another network, `WeightFileError`.
    public static func configuration(
        of folder: ModelFolder, _ checkpoint: Checkpoint, notes: inout [String]
    ) throws -> EfficientNetConfiguration {
        if folder.hasConfiguration { return try folder.configuration(of: Self.self) }
        let parts = ["_conv_stem.", "_bn", "_blocks.", "_conv_head.", "_fc."]
        return try variant(of: checkpoint.withoutTrainerPrefixes { parts.contains(where: $0.hasPrefix) })
    }

    /// The Lite whose blocks and channels a checkpoint has.
    private static func variant(of checkpoint: Checkpoint) throws -> EfficientNetConfiguration {
        let path = checkpoint.files.first?.path ?? ""
        guard let classes = checkpoint["_fc.weight"]?.shape.first, checkpoint["_conv_stem.weight"] != nil else {
            throw ModelError.checkpoint(
                path: path, reason: "not an EfficientNet: it has no _conv_stem.weight and _fc.weight")
        }
        for number in 0...4 {
            guard var configuration = EfficientNetConfiguration(lite: number) else { continue }
            configuration.classCount = classes
            let blocks = configuration.blocks
            let fits = blocks.enumerated().allSatisfy { index, block in
                checkpoint["_blocks.\(index)._project_conv.weight"]?.shape
                    == [block.output, block.input * block.expansion, 1, 1]
            }
            if fits, checkpoint["_blocks.\(blocks.count)._project_conv.weight"] == nil { return configuration }
        }
        throw ModelError.checkpoint(
            path: path,
            reason: "an EfficientNet with other blocks than Lite0 to Lite4 have; give its config.json with it")
    }
}
