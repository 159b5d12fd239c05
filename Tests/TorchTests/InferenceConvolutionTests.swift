import Testing
import TihuaTestSupport
import TihuaTorch

/// Convolutions with what follows them in the same pass, against the operations one after the other.
@Suite struct InferenceConvolutionTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var input = 16
        var output = 24
        var kernel = 1
        var stride = 1
        var padding = 0
        var groups = 1

        var testDescription: String { "\(input)-\(output) kernel \(kernel) stride \(stride) groups \(groups)" }
    }

    private static let cases = [
        Case(), Case(input: 3, output: 32, kernel: 4, stride: 2, padding: 1),
        Case(input: 24, kernel: 3, padding: 1, groups: 24),
        Case(input: 20, output: 20, kernel: 6, stride: 2, padding: 2, groups: 20),
        Case(input: 7, output: 5, kernel: 3, padding: 1),
    ]

    @Test(arguments: layerLevels, cases)
    func `a pass of its own and a part of the convolution give the same`(
        _ level: Runtime.KernelLevel, _ one: Case
    ) throws {
        let generator = Generator(seed: 1)
        let x = Tensor.randn([3, one.input, 13, 18], generator: generator).channelsLast()
        let fan = Double(one.input / one.groups * one.kernel * one.kernel)
        let weight =
            Tensor.randn([one.output, one.input / one.groups, one.kernel, one.kernel], generator: generator)
            * (3 / fan.squareRoot())
        let bias = Tensor.randn([one.output], generator: generator)
        try withoutGradients(level) {
            let plain = Kernels.convolution(
                x, weight, bias, stride: one.stride, padding: one.padding, groups: one.groups)
            let added = Tensor.randn(plain.shape, generator: generator).channelsLast()
            let clamped = plain.clamped(to: 0...6)
            // Both ends are reached, so that each of them is seen.
            #expect(clamped.max().item == 6 && plain.floats.contains { $0 < 0 })
            for (type, tolerance) in [(DType.float32, 1e-5), (.bfloat16, 0x1p-6)] {
                let prepared = Kernels.inferenceWeight(
                    weight.to(type), input: x.shape, stride: one.stride, padding: one.padding, groups: one.groups)
                func found(_ pictures: Tensor, adding: Tensor? = nil, relu6: Bool = false) -> Tensor {
                    Kernels.inferenceConvolution(
                        pictures.to(type), prepared, bias.to(type), stride: one.stride, padding: one.padding,
                        groups: one.groups, adding: adding?.to(type), relu6: relu6)
                }
                for (result, expected) in [
                    (found(x), plain), (found(x, relu6: true), clamped), (found(x, adding: added), plain + added),
                    // Laid out for other inputs.
                    (
                        found(x.narrowed(0, 1..<2).narrowed(3, 2..<14)).narrowed(3, 2..<3),
                        Kernels.convolution(
                            x.narrowed(0, 1..<2).narrowed(3, 2..<14), weight, bias, stride: one.stride,
                            padding: one.padding, groups: one.groups
                        ).narrowed(3, 2..<3)
                    ),
                ] {
                    #expect(result.dtype == type)
                    let scale = expected.abs().max().item
                    #expect(
                        difference(result, expected, rtol: tolerance, atol: tolerance * scale) == nil, "\(type)")
                }
            }
        }
    }

    @Test func `nothing of it is recorded for gradients`() {
        let x = Tensor.ones([1, 4, 5, 5])
        let weight = Tensor.ones([4, 4, 1, 1])
        x.requiresGradient = true
        let prepared = Kernels.inferenceWeight(weight, input: x.shape)
        #expect(!Kernels.inferenceConvolution(x, prepared, nil, relu6: true).requiresGradient)
        #expect(Runtime.recordsGradients)
        withoutGradients { #expect(!Runtime.recordsGradients) }
    }
}
