import Testing
import TihuaNN
import TihuaTorch

/// The product of some rows without gradients, which has kernels of its own for each level of processor, beside the
/// general product.
@Suite struct RowProductTests {
    struct Case: CustomTestStringConvertible {
        let (input, weight): (DType, DType)
        let isTransposed, hasBias: Bool

        var testDescription: String {
            "\(input) x \(weight)\(isTransposed ? " transposed" : "")\(hasBias ? " + bias" : "")"
        }

        static let all = [DType.float32, .bfloat16].flatMap { input in
            [DType.float32, .bfloat16].flatMap { weight in
                [false, true].flatMap { isTransposed in
                    [false, true].map {
                        Case(input: input, weight: weight, isTransposed: isTransposed, hasBias: $0)
                    }
                }
            }
        }

        /// Of a result beside the float32 product of the same numbers: half a unit in bfloat16's last place, or the
        /// order of the sum in float32.
        var tolerance: Double { input == .bfloat16 ? 1.0 / 256 : 1e-5 }

        func make(
            _ rows: Int, _ K: Int, _ N: Int, _ generator: Generator
        ) -> (x: Tensor, weight: Tensor, bias: Tensor?) {
            let x = Tensor.randn([rows, K], generator: generator).to(input)
            let shape = isTransposed ? [K, N] : [N, K]
            let weight = Tensor.randn(shape, generator: generator).to(self.weight)
            let bias = hasBias ? Tensor.randn([N], generator: generator).to(self.weight) : nil
            return (x, isTransposed ? weight.transposed(0, 1) : weight, bias)
        }

        /// Independent of every linear product: a sum over elementwise ones.
        func expected(_ x: Tensor, _ weight: Tensor, _ bias: Tensor?) -> Tensor {
            let products = x.to(.float32).unsqueezed(1) * weight.to(.float32).unsqueezed(0)  // [R, N, K]
            let sums = products.sum(2)
            return bias.map { sums + $0.to(.float32) } ?? sums
        }
    }

    @Test(arguments: Case.all)
    func `is the plain product for sizes that fill no vector`(_ item: Case) {
        let generator = Generator(seed: 7)
        withoutGradients {
            for rows in Array(1...13) + [18, 25, 61] {
                for K in [1, 3, 4, 15, 16, 17, 31, 33, 67, 130] {
                    for N in [1, 2, 5, 16, 31, 33, 70] {
                        let (x, weight, bias) = item.make(rows, K, N, generator)
                        let expected = item.expected(x, weight, bias)
                        for level in kernelLevels {
                            // Thirteen rows of bfloat16 take the general product where the processor multiplies
                            // bfloat16, which rounds the weight to the input's type first.
                            if rows > 12, item.input == .bfloat16, item.weight == .float32, level == .avx512 {
                                continue
                            }
                            let found = Runtime.withKernels(level) { Kernels.linear(x, weight, bias) }
                            #expect(found.dtype == item.input)
                            let problem = difference(found, expected, rtol: item.tolerance, atol: 2e-5)
                            #expect(problem == nil, "\(level), \(rows) rows, \(K) -> \(N): \(problem ?? "")")
                        }
                    }
                }
            }
        }
    }

    @Test(arguments: Case.all)
    func `is the plain product for a size that several threads share`(_ item: Case) {
        let generator = Generator(seed: 8)
        withoutGradients {
            for rows in [1, 4, 5, 7, 10, 12, 50, 200, 513] {
                let (x, weight, bias) = item.make(rows, 517, rows > 50 ? 131 : 1031, generator)
                let expected = item.expected(x, weight, bias)
                for level in kernelLevels {
                    // See above.
                    if rows > 12, item.input == .bfloat16, item.weight == .float32, level == .avx512 { continue }
                    let found = Runtime.withKernels(level) { Kernels.linear(x, weight, bias) }
                    let problem = difference(found, expected, rtol: item.tolerance, atol: 2e-4)
                    #expect(problem == nil, "\(level), \(rows) rows: \(problem ?? "")")
                }
            }
        }
    }

    @Test(arguments: kernelLevels) func `reads memory that ends with the weight`(_ level: Runtime.KernelLevel) throws {
        // Exactly as many bytes as the weight has, so that AddressSanitizer sees a read beyond; the rest is up to it.
        let weight = Tensor([Float](repeating: 1, count: 5 * 19), [5, 19]).to(.bfloat16)
        withoutGradients(level) {
            let rows = Kernels.linear(.ones([1, 19]), weight, nil)
            let columns = Kernels.linear(.ones([1, 5]), weight.transposed(0, 1), nil)
            #expect(Kernels.linear(.ones([9, 5]), weight.transposed(0, 1), nil).floats.allSatisfy { $0 == 5 })
            #expect(Kernels.linear(.ones([9, 19]), weight, nil).floats.allSatisfy { $0 == 19 })
            #expect(rows.floats == [Float](repeating: 19, count: 5))
            #expect(columns.floats == [Float](repeating: 5, count: 19))
        }
    }

    @Test(arguments: kernelLevels) func `takes views, further dimensions and sizes of zero`(
        _ level: Runtime.KernelLevel
    ) {
        let generator = Generator(seed: 9)
        let wide = Tensor.randn([2, 3, 40], generator: generator)
        let weight = Tensor.randn([24, 20], generator: generator)
        withoutGradients(level) {
            let x = wide.narrowed(2, 4..<24).selected(1, 1)  // [2, 20], neither dimension contiguous
            let found = Kernels.linear(x.unsqueezed(1), weight, nil)
            #expect(found.shape == [2, 1, 24])
            #expect(difference(found.squeezed(1), x.matmul(weight.transposed(0, 1)), atol: 1e-5) == nil)

            let part = weight.narrowed(1, 3..<13)  // a weight with gaps
            let few = wide.narrowed(2, 0..<10).selected(0, 0)
            #expect(difference(Kernels.linear(few, part, nil), few.matmul(part.transposed(0, 1)), atol: 1e-5) == nil)

            #expect(Kernels.linear(.zeros([0, 20]), weight, nil).shape == [0, 24])
            #expect(Kernels.linear(.zeros([1, 20]), .zeros([0, 20]), nil).shape == [1, 0])
            let none = Kernels.linear(.zeros([2, 0]), .zeros([3, 0]), Tensor([Float(1), 2, 3]))
            #expect(none.floats == [1, 2, 3, 1, 2, 3])
        }
    }

    @Test(arguments: kernelLevels) func `keeps what is no number, and no number where there is none`(
        _ level: Runtime.KernelLevel
    ) {
        withoutGradients(level) {
            let weight = Tensor([Float.nan, 1, .infinity, 1, -.infinity, 1], [3, 2]).to(.bfloat16)
            let found = Kernels.linear(Tensor([Float(1), 1], [1, 2]).to(.bfloat16), weight, nil).floats
            #expect(found[0].isNaN && found[1] == .infinity && found[2] == -.infinity)
        }
    }

    @Test func `gives one row gradients where they are asked for`() throws {
        let weight = Tensor([Float(1), 2, 3, 4], [2, 2])
        weight.requiresGradient = true
        let x = Tensor([Float(5), 6], [1, 2])
        try Kernels.linear(x, weight, nil).sum().backward()
        #expect(try #require(weight.gradient).floats == [5, 6, 5, 6])
        // Without them in the same place: the values alone.
        #expect(withoutGradients { Kernels.linear(x, weight, nil).floats } == [17, 39])
    }

    @Test(arguments: kernelLevels, Case.all)
    func `does not depend on the number of threads`(_ level: Runtime.KernelLevel, _ item: Case) {
        let before = Runtime.threadCount
        defer { Runtime.threadCount = before }
        let generator = Generator(seed: 10)
        for rows in [1, 6, 10, 50] {
            let (x, weight, bias) = item.make(rows, 517, 2051, generator)
            let results = [1, 2, 3].map { threads in
                Runtime.threadCount = threads
                return withoutGradients(level) { Kernels.linear(x, weight, bias).floats }
            }
            #expect(results[0] == results[1] && results[0] == results[2], "\(rows) rows")
        }
    }

    @Test func `lower levels are other kernels, and end with the closure`() {
        #expect(kernelLevels.contains(Runtime.kernelLevel))
        Runtime.withKernels(.libtorch) {
            #expect(Runtime.kernelLevel == .libtorch)
            #expect(Runtime.bfloat16Units == nil)
            Runtime.withKernels(.portable) { #expect(Runtime.kernelLevel == .portable) }
            #expect(Runtime.kernelLevel == .libtorch)
        }
        #expect(kernelLevels.contains(Runtime.kernelLevel))
    }
}
