import TihuaTorch

/// Scales and shifts a linear layer, so that it starts as if each dimension of its input had mean 0 and deviation 1.
///
/// - Parameters:
///   - x: samples of the input, `[N, E]`
///   - weight: the weight of the layer, `[out, E]`
///   - bias: the bias of the layer, `[out]`
func standardizeInput(_ x: Tensor, weight: Tensor, bias: Tensor) {
    let mean = x.mean(0)  // [E]
    // The minimum avoids a division by 0 where a dimension never changes.
    let deviation = (x - mean).square().mean(0).sqrt().clamped(minimum: 1e-4)
    let scaled = weight / deviation  // [out, E]
    bias.add_(scaled.matmul(mean.unsqueezed(1)).squeezed(1), scale: -1)
    weight.copy_(scaled)
}

/// The noise that moves the embedding of a text as far as that of a picture may lie from it (Nukrai et al. 2022,
/// CapDec).
enum CaptionNoise {
    /// The width of the embeddings that published variances are stated for, those of CLIP RN50x4.
    static let statedWidth = 640.0

    /// The variance of each of `width` dimensions at which the noise is as long as that of `variance` at 640.
    static func variance(_ variance: Double, width: Int) -> Double { variance * statedWidth / Double(width) }

    /// Embeddings brought to length 1, moved by noise and by the offset, and brought to length 1 again. `[B, E]`
    static func applied(
        to embeddings: Tensor, variance: Double, offset: Tensor?, generator: Generator
    ) -> Tensor {
        let width = embeddings.size(1)
        var moved = embeddings.normalized()
        if variance > 0 {
            let deviation = Self.variance(variance, width: width).squareRoot()
            // Drawn on the processor, so that a seed gives the same noise on every device.
            moved = moved + Tensor.randn(moved.shape, generator: generator).to(moved.dtype, moved.device) * deviation
        }
        if let offset { moved = moved + offset }
        return moved.normalized()
    }
}
