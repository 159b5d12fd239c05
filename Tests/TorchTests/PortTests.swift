import Testing
import TihuaNN
import TihuaTestSupport
import TihuaTorch

/// The example of the article "Port a model from PyTorch" (Sources/Torch/Torch.docc), kept equal to it.
struct EncoderLayer {
    let norm1, norm2: LayerNorm
    let inputWeight: Tensor  // [3 C, C]
    let inputBias: Tensor  // [3 C]
    let output, linear1, linear2: Linear
    let headCount: Int

    init(width: Int, headCount: Int, hidden: Int, at path: ParameterPath) {
        let attention = path / "self_attn"
        inputWeight = attention.parameter("in_proj_weight", [3 * width, width], .normal(std: 0.02))
        inputBias = attention.parameter("in_proj_bias", [3 * width], .zeros)
        output = Linear(width, width, at: attention / "out_proj")
        linear1 = Linear(width, hidden, at: path / "linear1")
        linear2 = Linear(hidden, width, at: path / "linear2")
        norm1 = LayerNorm(width, at: path / "norm1")
        norm2 = LayerNorm(width, at: path / "norm2")
        self.headCount = headCount
    }

    /// x [B, T, C], keep bool [B, T] -> [B, T, C]
    func callAsFunction(_ x: Tensor, keep: Tensor) -> Tensor {
        let x = x + attend(norm1(x), keep)
        return x + linear2(linear1(norm2(x)).gelu())
    }

    private func attend(_ x: Tensor, _ keep: Tensor) -> Tensor {
        let (B, T, C) = (x.size(0), x.size(1), x.size(2))
        let parts = Kernels.linear(x, inputWeight, inputBias).chunked(3, -1).map {
            $0.reshaped(B, T, headCount, C / headCount).transposed(1, 2)  // [B, H, T, D]
        }
        let mask = keep.unsqueezed(1).unsqueezed(1)  // [B, 1, 1, T]
        let mixed = Kernels.attention(parts[0], parts[1], parts[2], mask: mask)  // [B, H, T, D]
        return output(mixed.transposed(1, 2).reshaped(B, T, C))
    }
}

@Suite struct PortTests {
    @Test func theArticlesExampleEqualsPyTorch() throws {
        let golden = try Golden("encoder")
        let store = ParameterStore(seed: nil)
        let layer = EncoderLayer(width: 8, headCount: 2, hidden: 16, at: store.root)
        try store.load(names: golden.names.filter { !["x", "keep", "y"].contains($0) }) { try golden[$0] }
        let (x, keep, expected) = (try golden["x"], try golden["keep"], try golden["y"])
        #expect(difference(withoutGradients { layer(x, keep: keep) }, expected, atol: 1e-5) == nil)
        #expect(difference(layer(x, keep: keep), expected, atol: 1e-5) == nil)
    }
}
