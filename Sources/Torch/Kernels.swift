import CTihuaTorch

/// The kernels behind the layers of `TorchNN`, named as in `torch.nn.functional`.
public enum Kernels {
    /// x [.., in], weight [out, in], bias [out] -> [.., out], in x's element type, whatever that of weight and bias.
    public static func linear(_ x: Tensor, _ weight: Tensor, _ bias: Tensor?) -> Tensor {
        .make { out in withOptional(bias) { ct_linear(x.handle, weight.handle, $0, out) } }
    }

    /// The square of what is positive in x Wᵀ + b, and 0 elsewhere; shapes and types as in `linear`.
    public static func linearReluSquared(_ x: Tensor, _ weight: Tensor, _ bias: Tensor?) -> Tensor {
        .make { out in withOptional(bias) { ct_linear_relu_squared(x.handle, weight.handle, $0, out) } }
    }

    /// weight [V, C], ids int64 [..] -> [.., C]
    public static func embedding(_ weight: Tensor, _ ids: Tensor) -> Tensor {
        .make { ct_embedding(weight.handle, ids.handle, $0) }
    }

    /// Over the last dimension.
    public static func layerNorm(_ x: Tensor, _ weight: Tensor?, _ bias: Tensor?, epsilon: Double) -> Tensor {
        .make { out in
            withOptional(weight) { weight in
                withOptional(bias) { ct_layer_norm(x.handle, weight, $0, epsilon, out) }
            }
        }
    }

    /// A residual sum and its layer norm over the last dimension, in x's element type.
    ///
    /// - Parameters:
    ///   - x: `[.., C]`
    ///   - branch: what is added, of x's shape and type
    ///   - weight: `[C]`
    ///   - bias: `[C]`
    public static func addLayerNorm(
        _ x: Tensor, _ branch: Tensor, _ weight: Tensor, _ bias: Tensor, epsilon: Double
    ) -> (sum: Tensor, normalized: Tensor) {
        var normalized: Tensor?
        let sum = Tensor.make { sum in
            var status: ct_status = 0
            normalized = .make {
                status = ct_add_layer_norm(x.handle, branch.handle, weight.handle, bias.handle, epsilon, sum, $0)
                return status
            }
            return status
        }
        return (sum, normalized!)
    }

    /// T5's norm over the last dimension, in float32 inside.
    public static func rmsNorm(_ x: Tensor, _ weight: Tensor, epsilon: Double) -> Tensor {
        .make { ct_rms_norm(x.handle, weight.handle, epsilon, $0) }
    }

    /// x [B, C, ..]
    public static func groupNorm(
        _ x: Tensor, groups: Int, _ weight: Tensor?, _ bias: Tensor?, epsilon: Double
    ) -> Tensor {
        .make { out in
            withOptional(weight) { weight in
                withOptional(bias) { ct_group_norm(x.handle, Int64(groups), weight, $0, epsilon, out) }
            }
        }
    }

    /// x [B, C, H, W]; in training the running statistics change in place.
    public static func batchNorm(
        _ x: Tensor, weight: Tensor, bias: Tensor, runningMean: Tensor, runningVariance: Tensor, train: Bool,
        momentum: Double = 0.1, epsilon: Double = 1e-5
    ) -> Tensor {
        .make {
            ct_batch_norm(
                x.handle, weight.handle, bias.handle, runningMean.handle, runningVariance.handle, train, momentum,
                epsilon, $0)
        }
    }

    /// x [B, C, H, W], weight [O, C / groups, K, K]
    public static func convolution(
        _ x: Tensor, _ weight: Tensor, _ bias: Tensor?, stride: Int = 1, padding: Int = 0, groups: Int = 1
    ) -> Tensor {
        .make { out in
            withOptional(bias) {
                ct_conv2d(x.handle, weight.handle, $0, Int64(stride), Int64(padding), Int64(groups), out)
            }
        }
    }

    /// A convolution's weight as `inferenceConvolution` takes it. Nothing else can read it, not even its elements.
    ///
    /// - Parameters:
    ///   - weight: `[O, C / groups, K, K]`, in the element type of the inputs to come
    ///   - input: the shape of these inputs, `[B, C, H, W]`; others work, perhaps slower
    public static func inferenceWeight(
        _ weight: Tensor, input: [Int], stride: Int = 1, padding: Int = 0, groups: Int = 1
    ) -> Tensor {
        precondition(input.count == 4)
        return .make { out in
            withShape(input) { sizes, _ in
                ct_inference_weight(weight.handle, Int64(stride), Int64(padding), Int64(groups), sizes!, out)
            }
        }
    }

    /// A convolution whose results need no gradients, and in the same pass what follows it.
    ///
    /// - Parameters:
    ///   - x: `[B, C, H, W]`, the fastest with its channels last
    ///   - weight: of `inferenceWeight`, with the same stride, padding and groups
    ///   - bias: `[O]` in the element type of x
    ///   - adding: what is added to the result, of its shape and type
    ///   - relu6: whether the result is clamped to 0...6; not together with `adding`
    /// - Returns: `[B, O, H', W']`
    public static func inferenceConvolution(
        _ x: Tensor, _ weight: Tensor, _ bias: Tensor?, stride: Int = 1, padding: Int = 0, groups: Int = 1,
        adding: Tensor? = nil, relu6: Bool = false
    ) -> Tensor {
        .make { out in
            withOptional(bias) { bias in
                withOptional(adding) {
                    ct_inference_conv2d(
                        x.handle, weight.handle, bias, Int64(stride), Int64(padding), Int64(groups), $0, relu6, out)
                }
            }
        }
    }

    /// Zeroes around a picture: x [B, C, H, W] -> [B, C, top + H + bottom, left + W + right]
    public static func zeroPad(_ x: Tensor, left: Int = 0, right: Int = 0, top: Int = 0, bottom: Int = 0) -> Tensor {
        .make { ct_zero_pad2d(x.handle, Int64(left), Int64(right), Int64(top), Int64(bottom), $0) }
    }

    /// x [B, C, H, W] -> [B, C, H', W']; `stride` nil is `kernel`.
    public static func averagePool(_ x: Tensor, kernel: Int, stride: Int? = nil) -> Tensor {
        .make { ct_avg_pool2d(x.handle, Int64(kernel), Int64(stride ?? kernel), $0) }
    }

    /// x [B, C, H, W] -> [B, C, H', W']; `stride` nil is `kernel`.
    public static func maxPool(_ x: Tensor, kernel: Int, stride: Int? = nil, padding: Int = 0) -> Tensor {
        .make { ct_max_pool2d(x.handle, Int64(kernel), Int64(stride ?? kernel), Int64(padding), $0) }
    }

    /// x [B, C, H, W] -> [B, C, height, width]
    public static func bicubic(
        _ x: Tensor, height: Int, width: Int, alignCorners: Bool, antialias: Bool = false
    ) -> Tensor {
        .make { ct_interpolate_bicubic(x.handle, Int64(height), Int64(width), alignCorners, antialias, $0) }
    }

    /// Zeroes elements with `probability` and scales the rest; `generator` lives on x's device.
    public static func dropout(_ x: Tensor, probability: Double, generator: Generator) -> Tensor {
        .make { out in generator.withHandle { ct_dropout(x.handle, probability, $0, out) } }
    }

    /// Scaled dot product attention.
    ///
    /// - Parameters:
    ///   - q: `[B, H, T, D]`
    ///   - k: `[B, H, S, D]`
    ///   - v: `[B, H, S, D]`
    ///   - mask: bool (true = attend) or additive, broadcast to `[B, H, T, S]`; not together with `causal`
    ///   - causal: whether each of the T queries sees only the first keys, up to its own place
    ///   - scale: of the scores, not 0; nil is 1/√D
    /// - Returns: `[B, H, T, D]`; 0 in rows where the mask forbids everything
    public static func attention(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, mask: Tensor? = nil, causal: Bool = false, scale: Double? = nil
    ) -> Tensor {
        .make { out in
            withOptional(mask) { ct_attention(q.handle, k.handle, v.handle, $0, causal, scale ?? 0, out) }
        }
    }

    /// Causal attention of queries, keys and values that one layer projected, side by side.
    ///
    /// - Parameter packed: `[B, T, 3 H D]`
    /// - Returns: `[B, T, H D]`
    public static func causalAttention(_ packed: Tensor, headCount: Int) -> Tensor {
        .make { ct_causal_attention(packed.handle, Int64(headCount), $0) }
    }

    /// Mean negative log-likelihood of targets int64 [N] by the scores x Wᵀ, x [N, C], weight [V, C]. On the CPU the
    /// scores are never all there (Hsu et al. 2024, "Liger Kernel"); gradients are computed along with the loss.
    public static func linearCrossEntropy(_ x: Tensor, _ weight: Tensor, _ targets: Tensor) -> Tensor {
        .make { ct_linear_cross_entropy(x.handle, weight.handle, targets.handle, $0) }
    }

    /// Mean negative log-likelihood. logits [N, V], targets int64 [N]; targets equal to `ignoring` do not count.
    public static func crossEntropy(
        _ logits: Tensor, _ targets: Tensor, ignoring: Int = -100, labelSmoothing: Double = 0
    ) -> Tensor {
        .make { ct_cross_entropy(logits.handle, targets.handle, Int64(ignoring), labelSmoothing, $0) }
    }

    /// One fused AdamW step; all arrays in parallel, every parameter with its gradient. `step` counts from 1.
    public static func adamW_(
        parameters: [Tensor], gradients: [Tensor], firstMoments: [Tensor], secondMoments: [Tensor], step: Int,
        learningRate: Double, beta1: Double, beta2: Double, weightDecay: Double, epsilon: Double
    ) throws(TorchError) {
        let count = Int32(parameters.count)
        precondition(
            gradients.count == parameters.count && firstMoments.count == parameters.count
                && secondMoments.count == parameters.count)
        let status = Tensor.withHandles(parameters) { parameters, _ in
            Tensor.withHandles(gradients) { gradients, _ in
                Tensor.withHandles(firstMoments) { first, _ in
                    Tensor.withHandles(secondMoments) { second, _ in
                        ct_adamw_(
                            parameters, gradients, first, second, count, Double(step), learningRate, beta1, beta2,
                            weightDecay, epsilon)
                    }
                }
            }
        }
        try check(status)
    }

    /// The Euclidean norm of all tensors together.
    public static func totalNorm(_ tensors: [Tensor]) -> Double {
        var norm = 0.0
        must(Tensor.withHandles(tensors) { ct_total_norm($0, $1, &norm) }, #function)
        return norm
    }
}

/// A handle or NULL, alive during `body`.
private func withOptional<Result>(_ tensor: Tensor?, _ body: (OpaquePointer?) -> Result) -> Result {
    withExtendedLifetime(tensor) { body(tensor?.handle) }
}
