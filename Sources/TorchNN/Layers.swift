public import TihuaTorch

// Layers compute in the element type of their input: float32 parameters with bfloat16 activations are the mixed
// precision of training, bfloat16 parameters that of inference.

/// y = x Wᵀ + b, PyTorch's `nn.Linear`.
public struct Linear {
    /// The weight, `[out, in]`.
    public let weight: Tensor
    /// The bias, `[out]`, or none.
    public let bias: Tensor?

    /// Declares `weight` and, unless `bias` is false, `bias` at `path`.
    public init(
        _ input: Int, _ output: Int, bias: Bool = true, initialization: Initialization = .normal(std: 0.02),
        at path: ParameterPath
    ) {
        weight = path.parameter("weight", [output, input], initialization)
        self.bias = bias ? path.parameter("bias", [output], .zeros) : nil
    }

    /// x `[.., in]` -> `[.., out]`
    public func callAsFunction(_ x: Tensor) -> Tensor { Kernels.linear(x, weight, bias) }
}

/// GPT2's `Conv1D`: a linear layer whose weight is stored `[in, out]`.
public struct Conv1D {
    /// The weight, `[in, out]`.
    public let weight: Tensor
    /// The bias, `[out]`.
    public let bias: Tensor

    /// Declares `weight` and `bias` at `path`.
    public init(
        _ input: Int, _ output: Int, initialization: Initialization = .normal(std: 0.02), at path: ParameterPath
    ) {
        weight = path.parameter("weight", [input, output], initialization)
        bias = path.parameter("bias", [output], .zeros)
    }

    /// x `[.., in]` -> `[.., out]`
    public func callAsFunction(_ x: Tensor) -> Tensor { Kernels.linear(x, weight.transposed(0, 1), bias) }

    /// The layer, and the square of what is positive in it (So et al. 2021). x `[.., in]` -> `[.., out]`
    public func reluSquared(_ x: Tensor) -> Tensor {
        Kernels.linearReluSquared(x, weight.transposed(0, 1), bias)
    }
}

/// PyTorch's `nn.Embedding`.
public struct Embedding {
    /// The weight, `[V, C]`.
    public let weight: Tensor

    /// Declares `weight` at `path`, without weight decay.
    public init(
        _ count: Int, _ width: Int, initialization: Initialization = .normal(std: 0.02), at path: ParameterPath
    ) {
        weight = path.parameter("weight", [count, width], initialization, group: .undecayed)
    }

    /// ids int64 [..] -> [.., C]
    public func callAsFunction(_ ids: Tensor) -> Tensor { Kernels.embedding(weight, ids) }
}

/// PyTorch's `nn.LayerNorm` over the last dimension.
public struct LayerNorm {
    /// The weight, `[C]`.
    public let weight: Tensor
    /// The bias, `[C]`.
    public let bias: Tensor
    /// What is added to the variance.
    public let epsilon: Double

    /// Declares `weight` (ones) and `bias` (zeros) at `path`.
    public init(_ width: Int, epsilon: Double = 1e-5, at path: ParameterPath) {
        weight = path.parameter("weight", [width], .ones)
        bias = path.parameter("bias", [width], .zeros)
        self.epsilon = epsilon
    }

    /// x `[.., C]`, the shape stays.
    public func callAsFunction(_ x: Tensor) -> Tensor {
        let dtype = x.dtype
        return Kernels.layerNorm(x, weight.to(dtype), bias.to(dtype), epsilon: epsilon)
    }

    /// x + branch, and the norm of that; both `[.., C]`.
    public func callAsFunction(_ x: Tensor, adding branch: Tensor) -> (sum: Tensor, normalized: Tensor) {
        Kernels.addLayerNorm(x, branch, weight, bias, epsilon: epsilon)
    }
}

/// T5's layer norm: no mean, no bias (Zhang and Sennrich 2019).
public struct RMSNorm {
    /// The weight, `[C]`.
    public let weight: Tensor
    /// What is added to the variance.
    public let epsilon: Double

    /// Declares `weight` (ones) at `path`.
    public init(_ width: Int, epsilon: Double = 1e-6, at path: ParameterPath) {
        weight = path.parameter("weight", [width], .ones)
        self.epsilon = epsilon
    }

    /// x `[.., C]`, the shape stays.
    public func callAsFunction(_ x: Tensor) -> Tensor {
        Kernels.rmsNorm(x, weight.to(x.dtype), epsilon: epsilon)
    }
}

/// PyTorch's `nn.GroupNorm`.
public struct GroupNorm {
    /// The weight, `[C]`.
    public let weight: Tensor
    /// The bias, `[C]`.
    public let bias: Tensor
    /// How many groups the channels fall into.
    public let groups: Int
    /// What is added to the variance.
    public let epsilon: Double

    /// Declares `weight` (ones) and `bias` (zeros) at `path`.
    public init(groups: Int, _ channels: Int, epsilon: Double = 1e-5, at path: ParameterPath) {
        weight = path.parameter("weight", [channels], .ones)
        bias = path.parameter("bias", [channels], .zeros)
        self.groups = groups
        self.epsilon = epsilon
    }

    /// x [B, C, ..]
    public func callAsFunction(_ x: Tensor) -> Tensor {
        Kernels.groupNorm(x, groups: groups, weight.to(x.dtype), bias.to(x.dtype), epsilon: epsilon)
    }
}

/// PyTorch's `nn.Conv2d`, square kernels.
public struct Convolution {
    /// The weight, `[O, I / groups, K, K]`.
    public let weight: Tensor
    /// The bias, `[O]`, or none.
    public let bias: Tensor?
    /// Pixels from one output to the next, in both directions.
    public let stride: Int
    /// Zeroes on each side.
    public let padding: Int
    /// How many groups the channels fall into.
    public let groups: Int

    /// Initialised as He et al. 2015 for ReLU, over the fan-out.
    public init(
        _ input: Int, _ output: Int, kernel: Int, stride: Int = 1, padding: Int = 0, groups: Int = 1, bias: Bool = true,
        at path: ParameterPath
    ) {
        let std = (2.0 / Double(kernel * kernel * output / groups)).squareRoot()
        weight = path.parameter("weight", [output, input / groups, kernel, kernel], .normal(std: std))
        self.bias = bias ? path.parameter("bias", [output], .zeros) : nil
        self.stride = stride
        self.padding = padding
        self.groups = groups
    }

    /// x [B, I, H, W] -> [B, O, H', W']
    public func callAsFunction(_ x: Tensor) -> Tensor {
        Kernels.convolution(
            x, weight.to(x.dtype), bias?.to(x.dtype), stride: stride, padding: padding, groups: groups)
    }
}

/// PyTorch's `nn.BatchNorm2d`. Statistics stay in float32.
public struct BatchNorm {
    /// The weight, `[C]`.
    public let weight: Tensor
    /// The bias, `[C]`.
    public let bias: Tensor
    /// The mean over batches, PyTorch's `running_mean`, `[C]`.
    public let runningMean: Tensor
    /// The variance over batches, PyTorch's `running_var`, `[C]`.
    public let runningVariance: Tensor
    /// How many batches the statistics have seen, PyTorch's `num_batches_tracked`, int64 `[]`.
    public let batchesTracked: Tensor
    /// What is added to the variance.
    public let epsilon: Double
    /// How far a batch moves the running statistics, PyTorch's `momentum`.
    public let momentum: Double

    /// Declares `weight` (`initialScale`), `bias` (zeros) and the three buffers of the statistics at `path`.
    public init(
        _ channels: Int, initialScale: Double = 1, epsilon: Double = 1e-5, momentum: Double = 0.1,
        at path: ParameterPath
    ) {
        self.epsilon = epsilon
        self.momentum = momentum
        weight = path.parameter("weight", [channels], .constant(initialScale))
        bias = path.parameter("bias", [channels], .zeros)
        runningMean = path.buffer("running_mean", [channels], .zeros)
        runningVariance = path.buffer("running_var", [channels], .ones)
        batchesTracked = path.buffer("num_batches_tracked", [], .zeros, dtype: .int64)
    }

    /// x [B, C, H, W], the shape stays. In training the batch's own statistics count, and the running ones follow them.
    public func callAsFunction(_ x: Tensor, train: Bool) -> Tensor {
        if train { batchesTracked.add_(.ones([], dtype: .int64, device: batchesTracked.device)) }
        return Kernels.batchNorm(
            x, weight: weight.to(.float32), bias: bias.to(.float32), runningMean: runningMean,
            runningVariance: runningVariance, train: train, momentum: momentum, epsilon: epsilon)
    }

    /// A convolution without bias and this norm behind it, at inference, as one convolution, from the running
    /// statistics as they are now: its weight `[O, I / groups, K, K]` and its bias `[O]`.
    public func folded(into weight: Tensor) -> (weight: Tensor, bias: Tensor) {
        let scale = self.weight.to(.float32) / (runningVariance + epsilon).sqrt()  // [O]
        let shift = bias.to(.float32) - runningMean * scale
        return (weight.to(.float32) * scale.reshaped(-1, 1, 1, 1), shift)
    }
}

/// Dropout with its own stream of random numbers, or nothing at inference.
public struct Dropout {
    /// The probability that an element is set to zero, in [0, 1).
    public let probability: Double
    /// The stream of random numbers, on the device of the input.
    public let generator: Generator

    /// `probability` 0 changes nothing.
    public init(_ probability: Double, generator: Generator) {
        self.probability = probability
        self.generator = generator
    }

    /// A copy with zeroes, the rest scaled by 1 / (1 - probability); call it in training only.
    public func callAsFunction(_ x: Tensor) -> Tensor {
        probability == 0 ? x : Kernels.dropout(x, probability: probability, generator: generator)
    }
}

extension Tensor {
    /// The heads of an attention apart: `[B, T, H * D]` -> `[B, H, T, D]`
    public func splitHeads(_ count: Int) -> Tensor {
        let shape = shape
        return reshaped(shape[0], shape[1], count, shape[2] / count).transposed(1, 2)
    }

    /// The heads of an attention side by side: `[B, H, T, D]` -> `[B, T, H * D]`
    public func mergedHeads() -> Tensor {
        let shape = shape
        return transposed(1, 2).reshaped(shape[0], shape[2], shape[1] * shape[3])
    }
}
