import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch

/// Whole arrays from PyTorch, `Scripts/make_torch_fixtures.py`.
@Suite struct GoldenTests {
    private typealias Operation = @Sendable ([Tensor]) -> Tensor

    private static let elementwise: [String: Operation] = [
        "add": { $0[0] + $0[1] },
        "sub": { $0[0] - $0[1] },
        "mul": { $0[0] * $0[1] },
        "div": { $0[0] / $0[1] },
        "addScalar": { $0[0] + 1.5 },
        "subScalar": { $0[0] - 1.5 },
        "mulScalar": { $0[0] * -2.5 },
        "divScalar": { $0[0] / 3 },
        "divideScalar": { 2 / $0[0] },
        "neg": { -$0[0] },
        "exp": { $0[0].exp() },
        "log": { $0[0].log() },
        "sqrt": { $0[0].sqrt() },
        "rsqrt": { $0[0].rsqrt() },
        "square": { $0[0].square() },
        "power": { $0[0].power(2.5) },
        "abs": { $0[0].abs() },
        "sin": { $0[0].sin() },
        "cos": { $0[0].cos() },
        "tanh": { $0[0].tanh() },
        "sigmoid": { $0[0].sigmoid() },
        "relu": { $0[0].relu() },
        "silu": { $0[0].silu() },
        "gelu": { $0[0].gelu() },
        "geluTanh": { $0[0].geluTanh() },
        "quickGelu": { $0[0].quickGelu() },
        "isFinite": { $0[0].isFinite() },
        "matmul": { $0[0].matmul($0[1]) },
        "maximum": { $0[0].maximum($0[1]) },
        "minimum": { $0[0].minimum($0[1]) },
        "clampedBelow": { $0[0].clamped(minimum: 0.2) },
        "clampedAbove": { $0[0].clamped(maximum: 0.2) },
        "equals": { $0[0].equals($0[1]) },
        "less": { $0[0].less(than: $0[1]) },
        "lessOrEqual": { $0[0].lessOrEqual($0[1]) },
        "greaterScalar": { $0[0].greater(than: 0.3) },
        "selecting": { $0[0].selecting($0[1], else: $0[2]) },
        "filled": { $0[0].filled(where: $0[1], with: -7) },
    ]

    private static let reductionsAndShapes: [String: Operation] = [
        "sumAll": { $0[0].sum() },
        "sumOver": { $0[0].sum(0, -1) },
        "meanKeep": { $0[0].mean(1, keep: true) },
        "maxOver": { $0[0].max(-1) },
        "normOver": { $0[0].norm(-1) },
        "normalized": { $0[0].normalized() },
        "argmax": { $0[0].argmax(1) },
        "softmax": { $0[0].softmax(-1) },
        "logSoftmax": { $0[0].logSoftmax(0) },
        "logSumExp": { $0[0].logSumExp(1) },
        "cumulativeSum": { $0[0].cumulativeSum(1) },
        "topKValues": { $0[0].topK(2).values },
        "topKIndices": { $0[0].topK(2).indices },
        "sortedDescending": { $0[0].sorted(descending: true).values },
        "reshaped": { $0[0].reshaped(3, -1) },
        "expanded": { $0[0].expanded(3, 2, 4) },
        "permuted": { $0[0].permuted(2, 0, 1) },
        "flipped": { $0[0].flipped(1) },
        "transposed": { $0[0].transposed(0, -1) },
        "narrowed": { $0[0].narrowed(0, 1..<3) },
        "selected": { $0[0].selected(1, -1) },
        "concatenated": { .concatenated($0, 1) },
        "stacked": { .stacked($0, 1) },
        "gatheringSlices": { $0[0].gatheringSlices(0, at: $0[1]) },
        "indexedByMask": { $0[0].indexed(by: $0[1]) },
        "indexedByRows": { $0[0].indexed(by: $0[1]) },
        "gathered": { $0[0].gathered(1, $0[1]) },
        "scattered": { $0[0].scattered(1, $0[1], $0[2]) },
        "lowerTriangle": { $0[0].lowerTriangle(-1) },
        "upperTriangle": { $0[0].upperTriangle(1) },
        "repeatInterleaved": { $0[0].repeatedInterleaved(3, 0) },
    ]

    private static let layers: [String: Operation] = [
        "linear": { Kernels.linear($0[0], $0[1], $0[2]) },
        "embedding": { Kernels.embedding($0[0], $0[1]) },
        "layerNorm": { Kernels.layerNorm($0[0], $0[1], $0[2], epsilon: 1e-5) },
        "rmsNorm": { Kernels.rmsNorm($0[0], $0[1], epsilon: 1e-6) },
        "groupNorm": { Kernels.groupNorm($0[0], groups: 2, $0[1], $0[2], epsilon: 1e-5) },
        "batchNorm": { batchNorm($0, train: false) },
        "batchNormTraining": { batchNorm($0, train: true) },
        "batchNormMean": {
            _ = batchNorm($0, train: true)
            return $0[3]
        },
        "batchNormVariance": {
            _ = batchNorm($0, train: true)
            return $0[4]
        },
        "convolution": { Kernels.convolution($0[0], $0[1], $0[2], stride: 2, padding: 1) },
        "convolutionGroups": { Kernels.convolution($0[0], $0[1], nil, groups: 2) },
        "averagePool": { Kernels.averagePool($0[0], kernel: 3) },
        "maxPool": { Kernels.maxPool($0[0], kernel: 3, stride: 2, padding: 1) },
        "bicubic": { Kernels.bicubic($0[0], height: 9, width: 5, alignCorners: false) },
        "bicubicCorners": { Kernels.bicubic($0[0], height: 9, width: 5, alignCorners: true) },
        "bicubicAntialias": { Kernels.bicubic($0[0], height: 3, width: 4, alignCorners: false, antialias: true) },
        "attention": { Kernels.attention($0[0], $0[1], $0[2]) },
        "attentionMask": { Kernels.attention($0[0], $0[1], $0[2], mask: $0[3]) },
        "attentionAdditive": { Kernels.attention($0[0], $0[1], $0[2], mask: $0[3], scale: 1) },
        "attentionCausal": { Kernels.attention($0[0], $0[1], $0[2], causal: true) },
        "crossEntropy": { Kernels.crossEntropy($0[0], $0[1]) },
        "crossEntropySmooth": { Kernels.crossEntropy($0[0], $0[1], labelSmoothing: 0.1) },
    ]

    private static func batchNorm(_ x: [Tensor], train: Bool) -> Tensor {
        Kernels.batchNorm(x[0], weight: x[1], bias: x[2], runningMean: x[3], runningVariance: x[4], train: train)
    }

    private static let operations = elementwise.merging(reductionsAndShapes) { a, _ in a }.merging(layers) { a, _ in a }

    @Test(arguments: operations.keys.sorted()) func equalsPyTorch(_ name: String) throws {
        let golden = try Golden("operations")
        let operation = try #require(Self.operations[name])
        var inputs: [Tensor] = []
        while let input = try golden.find("\(name)/\(inputs.count)") { inputs.append(input) }
        let result = operation(inputs)
        let expected = try golden["\(name)/result"]
        #expect(result.dtype == expected.dtype)
        #expect(difference(result, expected) == nil)
    }

    @Test func everyGoldenIsCompared() throws {
        let names = Set(try Golden("operations").names.compactMap { $0.split(separator: "/").first.map(String.init) })
        #expect(names == Set(Self.operations.keys))
    }

    @Test(arguments: ["attention", "attentionMask", "attentionAdditive", "attentionCausal"])
    func bothKernelsOfAttentionAgree(_ name: String) throws {
        let golden = try Golden("operations")
        var inputs: [Tensor] = []
        while let input = try golden.find("\(name)/\(inputs.count)") { inputs.append(input) }
        let operation = try #require(Self.layers[name])
        let plain = operation(inputs)  // gradients on, short: the plain form
        let flash = withoutGradients { operation(inputs) }
        #expect(difference(flash, plain) == nil)
        #expect(difference(flash, try golden["\(name)/result"]) == nil)
    }

    @Test(arguments: [DType.float32, .bfloat16]) func aRowThatMayAttendToNothingIsZeroInBothKernels(_ dtype: DType) {
        let generator = Generator(seed: 3)
        let inputs = (0..<3).map { _ in Tensor.randn([1, 2, 4, 8], generator: generator).to(dtype) }
        let rows = [
            [true, true, false, false], [false, false, false, false], [true, true, true, true],
            [false, true, true, true],
        ]
        let mask = Tensor(rows.flatMap { $0 }, [1, 1, 4, 4])
        let plain = Kernels.attention(inputs[0], inputs[1], inputs[2], mask: mask)
        let flash = withoutGradients { Kernels.attention(inputs[0], inputs[1], inputs[2], mask: mask) }
        #expect(plain.narrowed(2, 1..<2).abs().max().item == 0)
        #expect(difference(flash, plain, rtol: 1e-5, atol: dtype == .float32 ? 1e-6 : 0.02) == nil)
    }

    @Test func ignoredTargetsCountForNothing() throws {
        let logits = Tensor.randn([4, 6], generator: Generator(seed: 5))
        logits.requiresGradient = true
        let loss = Kernels.crossEntropy(logits, .ids([3, 9, 0, 9], [4]), ignoring: 9)
        try loss.backward()
        let rows = Tensor.ids([0, 2], [2])
        let alone = Kernels.crossEntropy(logits.gatheringSlices(0, at: rows), .ids([3, 0], [2]))
        #expect(difference(loss, alone) == nil)
        let gradient = try #require(logits.gradient)
        #expect(gradient.abs().sum(1).equals(0).array(of: Bool.self) == [false, true, false, true])
    }
}
