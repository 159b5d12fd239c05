import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch

/// Gradients, gradient mode and random streams.
@Suite struct AutogradTests {
    private typealias Function = @Sendable (Tensor) -> Tensor

    /// Functions of one float64 tensor [2, 3, 4, 4]; the constants inside are fixed.
    private static let functions: [String: Function] = [
        "arithmetic": { x in (x * x - 2 / (x.square() + 1)) / 3 },
        "activations": { x in x.gelu() + x.geluTanh() + x.quickGelu() + x.silu() + x.tanh() * x.sigmoid() },
        "exponentials": { x in (x.exp() + 1).log() + (x.square() + 1).rsqrt() },
        "reductions": { x in x.mean(1, 2) * x.norm(-1).sum(1, 2, keep: false).reshaped(2, 1) + x.max(-1).sum(1) },
        "softmax": { x in x.softmax(-1) * x.logSoftmax(1) + x.logSumExp(0) },
        "views": { x in
            Tensor.concatenated([x.transposed(0, 1).reshaped(3, -1), x.permuted(1, 2, 3, 0).reshaped(3, -1)], 1)
                .narrowed(1, 3..<40).cumulativeSum(1)
        },
        "matmul": { x in x.matmul(x.transposed(-1, -2)) },
        "layerNorm": { x in Kernels.layerNorm(x, constant([4], 1), constant([4], 2), epsilon: 1e-5) },
        "groupNorm": { x in Kernels.groupNorm(x, groups: 3, constant([3], 1), constant([3], 2), epsilon: 1e-5) },
        "batchNorm": { x in
            Kernels.batchNorm(
                x, weight: constant([3], 1), bias: constant([3], 2), runningMean: .zeros([3], dtype: .float64),
                runningVariance: .ones([3], dtype: .float64), train: true)
        },
        "convolution": { x in
            Kernels.convolution(x, constant([5, 3, 3, 3], 3), constant([5], 4), stride: 2, padding: 1)
        },
        "relu6": { x in
            let y = x.square() * 4 - 2
            y.relu6_()
            return y
        },
        "bicubic": { x in Kernels.bicubic(x, height: 7, width: 3, alignCorners: false) },
        "attention": { x in Kernels.attention(x, x * 2, x.square(), causal: true) },
        "crossEntropy": { x in
            Kernels.crossEntropy(x.reshaped(6, 16), .ids([3, -100, 0, 15, 1, 2], [6]), labelSmoothing: 0.1)
        },
        "embedding": { x in Kernels.embedding(x.reshaped(24, 4), .ids([3, 3, 0, 23], [4])) },
    ]

    private static func constant(_ shape: [Int], _ seed: UInt64) -> Tensor {
        Tensor.randn(shape, generator: Generator(seed: seed), dtype: .float64)
    }

    @Test(arguments: functions.keys.sorted()) func gradientsAreThoseOfFiniteDifferences(_ name: String) throws {
        let function = try #require(Self.functions[name])
        let x = Self.constant([2, 3, 4, 4], 11)
        let weights = Self.constant(withoutGradients { function(x) }.shape, 12)
        x.requiresGradient = true
        try (function(x) * weights).sum().backward()
        let gradient = try #require(x.gradient).array(of: Double.self)

        let values = x.array(of: Double.self)
        let step = 1e-5
        try withoutGradients {
            for index in stride(from: 0, to: values.count, by: 7) {
                func value(_ shift: Double) -> Double {
                    var moved = values
                    moved[index] += shift
                    return (function(Tensor(moved, [2, 3, 4, 4])) * weights).sum().item
                }
                let slope = (value(step) - value(-step)) / (2 * step)
                try #require(abs(slope - gradient[index]) <= 1e-6 * (1 + abs(slope)), "element \(index)")
            }
        }
    }

    @Test func theRMSNormHasItsGradientToo() throws {
        // In float32 inside, so with coarser differences.
        let x = Tensor.randn([3, 5], generator: Generator(seed: 2))
        let weight = Tensor.randn([5], generator: Generator(seed: 3))
        x.requiresGradient = true
        try Kernels.rmsNorm(x, weight, epsilon: 1e-6).square().sum().backward()
        let gradient = try #require(x.gradient).floats
        let direction = Tensor.randn([3, 5], generator: Generator(seed: 4))
        let slope = withoutGradients {
            func value(_ t: Double) -> Double {
                Kernels.rmsNorm(x + direction * t, weight, epsilon: 1e-6).square().sum().item
            }
            return (value(1e-2) - value(-1e-2)) / 2e-2
        }
        let expected = zip(gradient, direction.floats).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        #expect(abs(slope - expected) < 5e-3 * (1 + abs(expected)))
    }

    @Test func gradientsAccumulateUntilCleared() throws {
        let x = Tensor([Float(2)])
        #expect(!x.requiresGradient && x.gradient == nil)
        x.requiresGradient = true
        try (x * x).sum().backward()
        try (x * x).sum().backward()
        #expect(x.gradient?.floats == [8])
        x.clearGradient()
        #expect(x.gradient == nil)
        #expect(!(x * x).detached().requiresGradient)
    }

    @Test func withoutGradientsEndsWithItsClosure() {
        let x = Tensor([Float(2)])
        x.requiresGradient = true
        #expect((x * x).requiresGradient)
        withoutGradients {
            #expect(!(x * x).requiresGradient)
            withoutGradients {}
            #expect(!(x * x).requiresGradient, "the inner closure restores what it found")
        }
        #expect((x * x).requiresGradient)
    }

    @Test func withoutGradientsEndsWithAThrow() {
        struct Stop: Error {}
        let x = Tensor([Float(2)])
        x.requiresGradient = true
        #expect(throws: Stop.self) { try withoutGradients { throw Stop() } }
        #expect((x * x).requiresGradient)
    }

    // MARK: - Random numbers

    @Test func equalSeedsGiveEqualNumbers() {
        func draw(_ seed: UInt64) -> [[Float]] {
            let generator = Generator(seed: seed)
            let probabilities = Tensor([Float(1), 2, 3, 4], [1, 4])
            return [
                Tensor.randn([5], generator: generator).floats, Tensor.rand([5], generator: generator).floats,
                probabilities.multinomial(20, replacement: true, generator: generator).floats,
                Kernels.dropout(.ones([40]), probability: 0.4, generator: generator).floats,
            ]
        }
        #expect(draw(1) == draw(1))
        #expect(zip(draw(1), draw(2)).allSatisfy { $0 != $1 })
    }

    @Test func aRestoredStateContinuesTheStream() throws {
        let generator = Generator(seed: 9)
        _ = Tensor.randn([3], generator: generator)  // an odd number: the state holds half of a pair of normals
        let state = generator.state
        #expect(state.dtype == .uint8)
        let expected = Tensor.randn([50], generator: generator).floats
        let other = Generator(seed: 1)
        try other.restore(state)
        #expect(Tensor.randn([50], generator: other).floats == expected)
    }

    @Test(arguments: [DType.uint8, .float32]) func aForeignStateIsRefused(_ dtype: DType) {
        let generator = Generator(seed: 9)
        #expect(throws: TorchError.self) { try generator.restore(.zeros([7], dtype: dtype)) }
        #expect(Tensor.rand([3], generator: generator).floats == Tensor.rand([3], generator: Generator(seed: 9)).floats)
    }

    @Test func multinomialDrawsInProportion() {
        let drawn = Tensor([Float(1), 0, 3], [1, 3])
            .multinomial(4000, replacement: true, generator: Generator(seed: 4)).array(of: Int64.self)
        let ones = drawn.count { $0 == 0 }
        #expect(!drawn.contains(1))
        #expect(abs(ones - 1000) < 150)
        let all = Tensor([Float(1), 5, 3], [1, 3]).multinomial(3, generator: Generator(seed: 4)).array(of: Int64.self)
        #expect(all.sorted() == [0, 1, 2])
    }

    @Test func dropoutZeroesAndScales() throws {
        let x = Tensor.ones([10_000])
        x.requiresGradient = true
        let dropout = Dropout(0.25, generator: Generator(seed: 6))
        let y = dropout(x)
        try y.sum().backward()
        let kept = y.floats.filter { $0 != 0 }
        #expect(kept.allSatisfy { abs($0 - 4 / 3) < 1e-6 })
        #expect(abs(kept.count - 7500) < 200)
        #expect(x.gradient?.floats == y.floats)
        #expect(Dropout(0, generator: Generator(seed: 6))(x) === x)
    }
}
