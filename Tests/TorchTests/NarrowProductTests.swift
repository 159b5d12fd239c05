import Testing
import TihuaTorch

/// Products of bfloat16 at every level of processor: with sums in float32, so that only the result is rounded.
@Suite struct NarrowProductTests {
    /// Half a unit in bfloat16's last place.
    private let rounding = 1.0 / 256

    private func narrow(_ shape: [Int], _ generator: Generator) -> Tensor {
        Tensor.randn(shape, generator: generator).to(.bfloat16)
    }

    @Test(arguments: layerLevels) func `matrices and batches of them`(_ level: Runtime.KernelLevel) {
        let generator = Generator(seed: 1)
        for (a, b) in [([40, 700], [700, 30]), ([3, 17, 300], [3, 300, 19]), ([2, 3, 9, 200], [200, 8])] {
            let (x, y) = (narrow(a, generator), narrow(b, generator))
            let found = withoutGradients(level) { x.matmul(y) }
            #expect(found.dtype == .bfloat16)
            let expected = x.to(.float32).matmul(y.to(.float32))
            #expect(difference(found, expected, rtol: rounding, atol: 1e-4) == nil)
        }
    }

    @Test(arguments: layerLevels) func `linear layers of many rows, with gradients`(_ level: Runtime.KernelLevel) throws
    {
        let generator = Generator(seed: 2)
        let inputs = [narrow([40, 600], generator), narrow([24, 600], generator), narrow([24], generator)]
        let along = narrow([40, 24], generator)
        func step(_ leaves: [Tensor]) throws -> [Tensor] {
            for leaf in leaves { leaf.requiresGradient = true }
            let y = Kernels.linear(leaves[0], leaves[1], leaves[2])
            try (y * along.to(y.dtype)).sum().backward()
            return try [y.detached()] + leaves.map { try #require($0.gradient) }
        }
        let found = try Runtime.withKernels(level) { try step(inputs.map { $0.clone() }) }
        let expected = try step(inputs.map { $0.to(.float32) })
        for (a, b) in zip(found, expected) {
            #expect(a.dtype == .bfloat16)
            // Gradients are sums of products that are rounded themselves.
            #expect(difference(a, b, rtol: rounding, atol: rounding * b.abs().max().item) == nil)
        }
    }

    @Test(arguments: layerLevels) func `attention with and without a mask`(_ level: Runtime.KernelLevel) {
        let generator = Generator(seed: 3)
        let parts = (0..<3).map { _ in narrow([2, 3, 20, 32], generator) }
        let bias = narrow([20, 20], generator)
        for mask in [nil, bias] {
            let found = withoutGradients(level) { Kernels.attention(parts[0], parts[1], parts[2], mask: mask) }
            #expect(found.dtype == .bfloat16)
            let wide = parts.map { $0.to(.float32) }
            let expected = Kernels.attention(wide[0], wide[1], wide[2], mask: mask?.to(.float32))
            #expect(difference(found, expected, rtol: 4 * rounding, atol: 4 * rounding) == nil)
        }
    }

    @Test(arguments: layerLevels) func `convolutions`(_ level: Runtime.KernelLevel) {
        let generator = Generator(seed: 4)
        let x = narrow([2, 3, 16, 16], generator)
        let (weight, bias) = (narrow([8, 3, 4, 4], generator), narrow([8], generator))
        let found = withoutGradients(level) { Kernels.convolution(x, weight, bias, stride: 4) }
        #expect(found.dtype == .bfloat16 && found.shape == [2, 8, 4, 4])
        let expected = Kernels.convolution(x.to(.float32), weight.to(.float32), bias.to(.float32), stride: 4)
        #expect(difference(found, expected, rtol: 2 * rounding, atol: 2 * rounding) == nil)
    }
}
