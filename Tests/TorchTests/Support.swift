import Foundation
import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch
import TihuaWeightFiles

/// A file of tensors that `Scripts/make_torch_fixtures.py` wrote.
struct Golden {
    private let file: SafetensorsFile

    init(_ name: String) throws {
        file = try SafetensorsFile(contentsOf: fixture("Torch/\(name).safetensors"))
    }

    var names: [String] { file.tensors.map(\.name) }

    /// A copy of a tensor, nil if the file lacks it.
    func find(_ name: String) throws -> Tensor? { try file[name].map { try Tensor.borrowing($0).clone() } }

    subscript(name: String) -> Tensor {
        get throws { try #require(try find(name), "the fixture lacks \(name)") }
    }
}

/// Where two arrays differ by more than `atol + rtol |expected|`, in words; nil where they do not.
func difference(_ found: Tensor, _ expected: Tensor, rtol: Double = 1e-5, atol: Double = 1e-6) -> String? {
    guard found.shape == expected.shape else { return "shape \(found.shape), expected \(expected.shape)" }
    let (a, b) = (found.array(of: Double.self), expected.array(of: Double.self))
    for (index, pair) in zip(a, b).enumerated() where !(pair.0 == pair.1 || (pair.0.isNaN && pair.1.isNaN)) {
        // Negated, so that a NaN on one side is a difference.
        guard abs(pair.0 - pair.1) <= atol + rtol * abs(pair.1) else {
            return "element \(index): \(pair.0), expected \(pair.1)"
        }
    }
    return nil
}

/// Exit tests start this program again, which AddressSanitizer's runs cannot afford; `Scripts/sanitize.sh` sets the
/// variable.
let exitTestsWork = ProcessInfo.processInfo.environment["TIHUA_NO_EXIT_TESTS"] == nil

/// One pre-norm block as GPT2's: attention and a multilayer perceptron, each added to its input.
struct Block {
    let norm1, norm2: LayerNorm
    let qkv, projection, up, down: Conv1D
    let heads: Int

    init(width: Int, heads: Int, at path: ParameterPath) {
        norm1 = LayerNorm(width, at: path / "ln_1")
        norm2 = LayerNorm(width, at: path / "ln_2")
        qkv = Conv1D(width, 3 * width, at: path / "attn" / "c_attn")
        projection = Conv1D(width, width, at: path / "attn" / "c_proj")
        up = Conv1D(width, 4 * width, at: path / "mlp" / "c_fc")
        down = Conv1D(4 * width, width, at: path / "mlp" / "c_proj")
        self.heads = heads
    }

    /// x [B, T, C] -> [B, T, C]
    func callAsFunction(_ x: Tensor) -> Tensor {
        let (B, T, C) = (x.size(0), x.size(1), x.size(2))
        let parts = qkv(norm1(x)).chunked(3, -1).map {
            $0.reshaped(B, T, heads, C / heads).transposed(1, 2)  // [B, H, T, D]
        }
        let mixed = Kernels.attention(parts[0], parts[1], parts[2], causal: true)
        let x = x + projection(mixed.transposed(1, 2).reshaped(B, T, C))
        return x + down(up(norm2(x)).geluTanh())
    }
}

/// The levels of kernels that this processor has; the libtorch level's row product is the portable one.
let kernelLevels = Runtime.KernelLevel.allCases.filter { $0 > .libtorch && $0 <= Runtime.kernelLevel }

/// Those, and libtorch's own operations in the place of fused layers.
let layerLevels = [Runtime.KernelLevel.libtorch] + kernelLevels

func withoutGradients<Result>(_ level: Runtime.KernelLevel, _ body: () throws -> Result) rethrows -> Result {
    try Runtime.withKernels(level) { try withoutGradients(body) }
}
