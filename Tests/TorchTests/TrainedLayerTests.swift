import Testing
import TihuaTorch

/// The fused layers of training on processors, and libtorch's operations where those are switched off, beside the plain
/// operations: values and every gradient. In float32 they
/// agree up to the order of sums; in bfloat16, which keeps 8 bits, up to the roundings on the way.
@Suite struct TrainedLayerTests {
    /// A computation of some tensors, in two ways.
    struct Comparison {
        let fused: ([Tensor]) -> Tensor
        let plain: ([Tensor]) -> Tensor

        /// Where results or gradients differ, in words. `narrow` inputs are bfloat16, and the plain way is
        /// taken in float32 from the same numbers.
        func problems(
            _ inputs: [Tensor], narrow: Set<Int> = [], rtol: Double, atol: Double, generator: Generator
        ) throws -> [String] {
            try layerLevels.flatMap { level in
                let problems = try Runtime.withKernels(level) {
                    try problemsOfLevel(inputs, narrow: narrow, rtol: rtol, atol: atol, generator: generator)
                }
                return problems.map { "\(level): \($0)" }
            }
        }

        private func problemsOfLevel(
            _ inputs: [Tensor], narrow: Set<Int>, rtol: Double, atol: Double, generator: Generator
        ) throws -> [String] {
            func leaves(_ widens: Bool) -> [Tensor] {
                inputs.enumerated().map { index, input in
                    let rounded = narrow.contains(index) ? input.to(.bfloat16) : input.clone()
                    let leaf = widens ? rounded.to(.float32).clone() : rounded
                    if leaf.dtype.isFloatingPoint { leaf.requiresGradient = true }
                    return leaf
                }
            }
            let (first, second) = (leaves(false), leaves(!narrow.isEmpty))
            let (found, expected) = (fused(first), plain(second))
            var problems = [difference(found.detached().to(.float32), expected.detached(), rtol: rtol, atol: atol)]
            let along = Tensor.randn(found.shape, generator: generator)
            try (found.to(.float32) * along).sum().backward()
            try (expected * along).sum().backward()
            for (index, pair) in zip(first, second).enumerated() where pair.0.requiresGradient {
                guard let a = pair.0.gradient, let b = pair.1.gradient else {
                    problems.append("input \(index) has no gradient")
                    continue
                }
                // Sums of many products are as large as their number lets them be.
                let size = max(1, b.abs().max().item)
                let problem = difference(a.to(.float32), b, rtol: rtol, atol: atol * size)
                problems.append(problem.map { "gradient of input \(index): \($0)" })
            }
            return problems.compactMap { $0 }
        }
    }

    // MARK: - Linear

    @Test(arguments: [1, 7, 64, 65, 200], [(16, 16), (24, 7), (33, 70)])
    func `the linear layer of mixed precision is the plain one`(rows: Int, sizes: (Int, Int)) throws {
        let generator = Generator(seed: UInt64(rows))
        let (K, M) = sizes
        for isTransposed in [false, true] {
            let comparison = Comparison(
                fused: { Kernels.linear($0[0], isTransposed ? $0[1].transposed(0, 1) : $0[1], $0[2]) },
                plain: { $0[0].matmul(isTransposed ? $0[1] : $0[1].transposed(0, 1)) + $0[2] })
            let inputs: [Tensor] = [
                .randn([rows, K], generator: generator),
                .randn(isTransposed ? [K, M] : [M, K], generator: generator), .randn([M], generator: generator),
            ]
            let problems = try comparison.problems(
                inputs, narrow: [0], rtol: 0.02, atol: 0.06, generator: generator)
            #expect(problems == [])
        }
    }

    @Test(arguments: [1, 7, 64, 65, 200], [(16, 16), (24, 7), (33, 70)])
    func `the squared ReLU of a linear layer is the plain one`(rows: Int, sizes: (Int, Int)) throws {
        let generator = Generator(seed: UInt64(rows))
        let (K, M) = sizes
        let comparison = Comparison(
            fused: { Kernels.linearReluSquared($0[0], $0[1].transposed(0, 1), $0[2]) },
            plain: { ($0[0].matmul($0[1]) + $0[2]).relu().square() })
        let inputs: [Tensor] = [
            .randn([rows, K], generator: generator), .randn([K, M], generator: generator) * 0.2,
            .randn([M], generator: generator),
        ]
        #expect(try comparison.problems(inputs, rtol: 1e-4, atol: 1e-4, generator: generator) == [])
        let narrow = try comparison.problems(inputs, narrow: [0], rtol: 0.05, atol: 0.05, generator: generator)
        #expect(narrow == [])
    }

    @Test func `linear layers go without a bias and over more dimensions`() throws {
        let generator = Generator(seed: 3)
        let x = Tensor.randn([2, 3, 8], generator: generator)
        let weight = Tensor.randn([5, 8], generator: generator)
        weight.requiresGradient = true
        let found = Kernels.linear(x.to(.bfloat16), weight, nil)
        #expect(found.shape == [2, 3, 5] && found.dtype == .bfloat16)
        let squared = Kernels.linearReluSquared(x, weight, nil)
        #expect(squared.shape == [2, 3, 5])
        #expect(difference(squared.detached(), Kernels.linear(x, weight, nil).relu().square().detached()) == nil)
        try (found.to(.float32).sum() + squared.sum()).backward()
        #expect(weight.gradient?.shape == [5, 8])
    }

    @Test func `a frozen weight gets no gradient, and the input does`() throws {
        let x = Tensor.ones([3, 4]).to(.bfloat16)
        x.requiresGradient = true
        let weight = Tensor.ones([2, 4])
        try Kernels.linear(x, weight, nil).to(.float32).sum().backward()
        #expect(weight.gradient == nil)
        #expect(x.gradient?.floats == [Float](repeating: 2, count: 12))
    }

    @Test(arguments: [33, 64, 70]) func `memory behind the rows changes nothing`(width: Int) throws {
        // Three rows of a larger tensor, in front of rows that are no numbers.
        let all = Tensor.concatenated([.ones([3, width]), .full([125, width], .nan)], 0).to(.bfloat16)
        let weight = Tensor.ones([4, width])
        weight.requiresGradient = true
        let found = Kernels.linear(all.narrowed(0, 0..<3), weight, nil).to(.float32)
        #expect(found.detached().floats == [Float](repeating: Float(width), count: 12))
        try found.sum().backward()
        #expect(try #require(weight.gradient).floats == [Float](repeating: 3, count: 4 * width))
    }

    // MARK: - Norm

    @Test(arguments: [1, 5, 256, 300], [1, 7, 16, 100])
    func `the residual sum and its norm are the plain ones`(rows: Int, width: Int) throws {
        let generator = Generator(seed: UInt64(rows + width))
        // One number says both results.
        func joined(_ sum: Tensor, _ normalized: Tensor) -> Tensor { .concatenated([sum, normalized], 0) }
        let comparison = Comparison(
            fused: {
                let both = Kernels.addLayerNorm($0[0], $0[1], $0[2], $0[3], epsilon: 1e-3)
                return joined(both.sum, both.normalized)
            },
            plain: {
                let sum = $0[0] + $0[1]
                return joined(sum, Kernels.layerNorm(sum, $0[2], $0[3], epsilon: 1e-3))
            })
        let inputs: [Tensor] = [
            .randn([rows, width], generator: generator), .randn([rows, width], generator: generator),
            .randn([width], generator: generator), .randn([width], generator: generator),
        ]
        #expect(try comparison.problems(inputs, rtol: 1e-4, atol: 1e-4, generator: generator) == [])
        guard width > 1 else { return }  // the rounding of one number, many times over
        let narrow = try comparison.problems(inputs, narrow: [0, 1], rtol: 0.05, atol: 0.1, generator: generator)
        #expect(narrow == [])
    }

    @Test(arguments: [true, false])
    func `the norm takes a gradient of one of its results alone`(usesSum: Bool) throws {
        let generator = Generator(seed: 5)
        let (a, b) = (Tensor.randn([3, 6], generator: generator), Tensor.randn([3, 6], generator: generator))
        let (weight, bias) = (Tensor.randn([6], generator: generator), Tensor.zeros([6]))
        let along = Tensor.randn([3, 6], generator: generator)
        let gradients = try [true, false].map { isFused in
            let x = a.clone()
            x.requiresGradient = true
            let both: (sum: Tensor, normalized: Tensor)
            if isFused {
                both = Kernels.addLayerNorm(x, b, weight, bias, epsilon: 1e-5)
            } else {
                both = (x + b, Kernels.layerNorm(x + b, weight, bias, epsilon: 1e-5))
            }
            try ((usesSum ? both.sum : both.normalized) * along).sum().backward()
            return try #require(x.gradient)
        }
        #expect(difference(gradients[0], gradients[1], rtol: 1e-4, atol: 1e-5) == nil)
    }

    // MARK: - Attention

    @Test(arguments: [(1, 1, 1, 8), (3, 5, 2, 7), (2, 16, 4, 16), (70, 17, 2, 8), (5, 100, 1, 64)])
    func `packed causal attention is the plain one`(batch: Int, length: Int, heads: Int, width: Int) throws {
        let generator = Generator(seed: UInt64(length))
        let comparison = Comparison(
            fused: { Kernels.causalAttention($0[0], headCount: heads) },
            plain: {
                let parts = $0[0].reshaped(batch, length, 3, heads, width).permuted(2, 0, 3, 1, 4)  // [3, B, H, T, D]
                let (q, k, v) = (parts.selected(0, 0), parts.selected(0, 1), parts.selected(0, 2))
                let scores = q.matmul(k.transposed(2, 3)) / Double(width).squareRoot()
                let seen = Tensor.ones([length, length], dtype: .bool).lowerTriangle(0)
                let weights = seen.selecting(scores, else: Tensor.full([], -1e30)).softmax(-1)
                return weights.matmul(v).transposed(1, 2).reshaped(batch, length, -1)
            })
        let inputs: [Tensor] = [.randn([batch, length, 3 * heads * width], generator: generator)]
        #expect(try comparison.problems(inputs, rtol: 1e-4, atol: 1e-5, generator: generator) == [])
        let narrow = try comparison.problems(inputs, narrow: [0], rtol: 0.03, atol: 0.03, generator: generator)
        #expect(narrow == [])
        let plain = withoutGradients { Kernels.causalAttention(inputs[0], headCount: heads) }
        #expect(difference(plain, comparison.plain(inputs), rtol: 1e-4, atol: 1e-5) == nil)
    }

    // MARK: - Cross-entropy

    @Test(arguments: [1, 3, 255, 256, 257, 600], [1, 16, 77, 130])
    func `the cross-entropy of a linear layer is the plain one`(rows: Int, vocabulary: Int) throws {
        let generator = Generator(seed: UInt64(rows + vocabulary))
        let targets = Tensor.ids((0..<rows).map { Int32($0 * 31 % vocabulary) }, [rows])
        let comparison = Comparison(
            fused: { Kernels.linearCrossEntropy($0[0], $0[1], targets) * 3 },
            plain: { Kernels.crossEntropy($0[0].matmul($0[1].transposed(0, 1)), targets) * 3 })
        let inputs: [Tensor] = [
            .randn([rows, 24], generator: generator), .randn([vocabulary, 24], generator: generator),
        ]
        #expect(try comparison.problems(inputs, rtol: 1e-4, atol: 1e-5, generator: generator) == [])
        let narrow = try comparison.problems(inputs, narrow: [0], rtol: 0.05, atol: 0.02, generator: generator)
        #expect(narrow == [])
        let value = withoutGradients { Kernels.linearCrossEntropy(inputs[0], inputs[1], targets) }
        #expect(!value.requiresGradient)
        #expect(difference(value * 3, comparison.plain(inputs), rtol: 1e-5, atol: 1e-5) == nil)
    }

    @Test func `the cross-entropy gives gradients to what asks for them`() throws {
        let generator = Generator(seed: 4)
        let targets = Tensor.ids([2, 0, 1], [3])
        for wanting in [[true, false], [false, true]] {
            let leaves = [Tensor.randn([3, 4], generator: generator), Tensor.randn([5, 4], generator: generator)]
            for (leaf, isWanted) in zip(leaves, wanting) { leaf.requiresGradient = isWanted }
            try Kernels.linearCrossEntropy(leaves[0], leaves[1], targets).backward()
            let found = leaves.map(\.gradient)
            for leaf in leaves { leaf.clearGradient() }
            try Kernels.crossEntropy(leaves[0].matmul(leaves[1].transposed(0, 1)), targets).backward()
            for ((leaf, gradient), isWanted) in zip(zip(leaves, found), wanting) {
                #expect((gradient != nil) == isWanted)
                guard let gradient, let expected = leaf.gradient else { continue }
                #expect(difference(gradient, expected, rtol: 1e-4, atol: 1e-6) == nil)
            }
        }
    }

    @Test func `scores far apart keep the cross-entropy finite`() throws {
        let x = Tensor([Float(1)], [1, 1])
        let weight = Tensor([Float(1000), -1000, 0], [3, 1])
        weight.requiresGradient = true
        let loss = Kernels.linearCrossEntropy(x, weight, Tensor.ids([1], [1]))
        #expect(loss.item == 2000)
        try loss.backward()
        #expect(try #require(weight.gradient).floats.map { ($0 * 1e6).rounded() } == [1e6, -1e6, 0])
    }

    @Test func `what is no number stays none`() {
        let weight = Tensor([Float.nan, 1], [2, 1])
        weight.requiresGradient = true
        #expect(Kernels.linearCrossEntropy(.ones([1, 1]), weight, Tensor.ids([1], [1])).item.isNaN)
        let x = Tensor([Float.nan, 1], [2, 1]).to(.bfloat16)
        let found = Kernels.linear(x, weight, nil).to(.float32).floats
        #expect(found[0].isNaN && found[1].isNaN && found[3] == 1)
    }

    @Test func `threads do not change a result`() throws {
        let before = Runtime.threadCount
        defer { Runtime.threadCount = before }
        let generator = Generator(seed: 6)
        let inputs: [Tensor] = [
            .randn([700, 256], generator: generator), .randn([700, 256], generator: generator),
            .randn([256], generator: generator), .randn([256], generator: generator),
        ]
        let results = try [1, 3].map { threads in
            Runtime.threadCount = threads
            let leaves = inputs.map { $0.clone() }
            for leaf in leaves { leaf.requiresGradient = true }
            let both = Kernels.addLayerNorm(leaves[0], leaves[1], leaves[2], leaves[3], epsilon: 1e-5)
            try (both.sum.square().sum() + both.normalized.square().sum()).backward()
            return try leaves.map { try #require($0.gradient).floats }
        }
        #expect(results[0] == results[1])
    }
}
