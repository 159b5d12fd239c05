import CTihuaTorch

// Few overloads on purpose: `Tensor op Tensor` and `Tensor op Double`; more would slow the type checker down.

/// Elementwise; shapes broadcast as in PyTorch, and so in the operators below.
public func + (a: Tensor, b: Tensor) -> Tensor { .make { ct_add(a.handle, b.handle, $0) } }
/// Elementwise.
public func - (a: Tensor, b: Tensor) -> Tensor { .make { ct_sub(a.handle, b.handle, $0) } }
/// Elementwise.
public func * (a: Tensor, b: Tensor) -> Tensor { .make { ct_mul(a.handle, b.handle, $0) } }
/// Elementwise; integers give float32.
public func / (a: Tensor, b: Tensor) -> Tensor { .make { ct_div(a.handle, b.handle, $0) } }
/// Elementwise; an integer tensor becomes float32, as with every `Double` below.
public func + (a: Tensor, b: Double) -> Tensor { .make { ct_add_scalar(a.handle, b, $0) } }
/// Elementwise.
public func - (a: Tensor, b: Double) -> Tensor { .make { ct_add_scalar(a.handle, -b, $0) } }
/// Elementwise.
public func * (a: Tensor, b: Double) -> Tensor { .make { ct_mul_scalar(a.handle, b, $0) } }
/// Elementwise.
public func / (a: Tensor, b: Double) -> Tensor { .make { ct_div_scalar(a.handle, b, $0) } }
/// Elementwise.
public func / (a: Double, b: Tensor) -> Tensor { .make { ct_rdiv_scalar(b.handle, a, $0) } }
/// Elementwise.
public prefix func - (a: Tensor) -> Tensor { .make { ct_neg(a.handle, $0) } }

extension Tensor {
    /// eˣ
    public func exp() -> Tensor { .make { ct_exp(handle, $0) } }
    /// The natural logarithm; -inf at 0, NaN below.
    public func log() -> Tensor { .make { ct_log(handle, $0) } }
    /// √x; NaN below 0.
    public func sqrt() -> Tensor { .make { ct_sqrt(handle, $0) } }
    /// 1/√x
    public func rsqrt() -> Tensor { .make { ct_rsqrt(handle, $0) } }
    /// x²
    public func square() -> Tensor { .make { ct_square(handle, $0) } }
    /// x to the power of `exponent`.
    public func power(_ exponent: Double) -> Tensor { .make { ct_pow_scalar(handle, exponent, $0) } }
    /// |x|
    public func abs() -> Tensor { .make { ct_abs(handle, $0) } }
    /// The sine of radians.
    public func sin() -> Tensor { .make { ct_sin(handle, $0) } }
    /// The cosine of radians.
    public func cos() -> Tensor { .make { ct_cos(handle, $0) } }
    /// The hyperbolic tangent.
    public func tanh() -> Tensor { .make { ct_tanh(handle, $0) } }
    /// σ(x) = 1 / (1 + e⁻ˣ)
    public func sigmoid() -> Tensor { .make { ct_sigmoid(handle, $0) } }
    /// max(x, 0)
    public func relu() -> Tensor { .make { ct_relu(handle, $0) } }
    /// x σ(x)
    public func silu() -> Tensor { .make { ct_silu(handle, $0) } }
    /// x Φ(x), with the error function (BERT).
    public func gelu() -> Tensor { .make { ct_gelu(handle, $0) } }
    /// The tanh approximation (GPT2's `gelu_new`, T5 v1.1).
    public func geluTanh() -> Tensor { .make { ct_gelu_tanh(handle, $0) } }
    /// x σ(1.702 x) (CLIP).
    public func quickGelu() -> Tensor { .make { ct_quick_gelu(handle, $0) } }
    /// True where neither infinite nor NaN.
    public func isFinite() -> Tensor { .make { ct_isfinite(handle, $0) } }

    /// Batched matrix product over the last two dimensions.
    public func matmul(_ other: Tensor) -> Tensor { .make { ct_matmul(handle, other.handle, $0) } }
    /// The larger of two elements; NaN where either is.
    public func maximum(_ other: Tensor) -> Tensor { .make { ct_maximum(handle, other.handle, $0) } }
    /// The smaller of two elements; NaN where either is.
    public func minimum(_ other: Tensor) -> Tensor { .make { ct_minimum(handle, other.handle, $0) } }
    /// max(x, minimum)
    public func clamped(minimum: Double) -> Tensor { .make { ct_clamp_min(handle, minimum, $0) } }
    /// min(x, maximum)
    public func clamped(maximum: Double) -> Tensor { .make { ct_clamp_max(handle, maximum, $0) } }
    /// min(max(self, range.lowerBound), range.upperBound)
    public func clamped(to range: ClosedRange<Double>) -> Tensor {
        .make { ct_clamp(handle, range.lowerBound, range.upperBound, $0) }
    }

    // Comparisons give bool tensors.
    /// self = other
    public func equals(_ other: Tensor) -> Tensor { .make { ct_eq(handle, other.handle, $0) } }
    /// self = value
    public func equals(_ value: Double) -> Tensor { .make { ct_eq_scalar(handle, value, $0) } }
    /// self ≠ value
    public func differs(from value: Double) -> Tensor { .make { ct_ne_scalar(handle, value, $0) } }
    /// self < other
    public func less(than other: Tensor) -> Tensor { .make { ct_lt(handle, other.handle, $0) } }
    /// self < value
    public func less(than value: Double) -> Tensor { .make { ct_lt_scalar(handle, value, $0) } }
    /// self ≤ other
    public func lessOrEqual(_ other: Tensor) -> Tensor { .make { ct_le(handle, other.handle, $0) } }
    /// self > value
    public func greater(than value: Double) -> Tensor { .make { ct_gt_scalar(handle, value, $0) } }
    /// not self
    public func logicalNot() -> Tensor { .make { ct_logical_not(handle, $0) } }
    /// self and other
    public func logicalAnd(_ other: Tensor) -> Tensor { .make { ct_logical_and(handle, other.handle, $0) } }
    /// self or other
    public func logicalOr(_ other: Tensor) -> Tensor { .make { ct_logical_or(handle, other.handle, $0) } }

    /// `a` where this bool tensor is true, `b` elsewhere.
    public func selecting(_ a: Tensor, else b: Tensor) -> Tensor { .make { ct_where(handle, a.handle, b.handle, $0) } }
    /// `value` where `mask` is true.
    public func filled(where mask: Tensor, with value: Double) -> Tensor {
        .make { ct_masked_fill(handle, mask.handle, value, $0) }
    }

    // In place.
    /// self = self + scale other; a tensor of integers needs a whole `scale`.
    public func add_(_ other: Tensor, scale: Double = 1) { must(ct_add_(handle, other.handle, scale), #function) }
    /// self = value self
    public func multiply_(_ value: Double) { must(ct_mul_scalar_(handle, value), #function) }
    /// self = self + weight (other - self)
    public func interpolate_(_ other: Tensor, weight: Double) {
        must(ct_lerp_(handle, other.handle, weight), #function)
    }
    /// Copies `source`, which must have this shape: nothing broadcasts.
    public func copy_(_ source: Tensor) { must(ct_copy_(handle, source.handle), #function) }
    /// Sets every element.
    public func fill_(_ value: Double) { must(ct_fill_(handle, value), #function) }
    /// Keeps every element in `range`.
    public func clamp_(_ range: ClosedRange<Double>) {
        must(ct_clamp_(handle, range.lowerBound, range.upperBound), #function)
    }
    /// min(max(self, 0), 6). For gradients the result is enough, so that what was there before need not be kept.
    public func relu6_() { must(ct_relu6_(handle), #function) }
}

// MARK: - Reduction

extension Tensor {
    /// Over `dimensions`, or over everything.
    public func sum(_ dimensions: Int..., keep: Bool = false) -> Tensor {
        .make { out in withShape(dimensions) { ct_sum(handle, $0, $1, keep, out) } }
    }

    /// Over `dimensions`, or over everything.
    public func mean(_ dimensions: Int..., keep: Bool = false) -> Tensor {
        .make { out in withShape(dimensions) { ct_mean(handle, $0, $1, keep, out) } }
    }

    /// The largest value over `dimensions`, or over everything.
    public func max(_ dimensions: Int..., keep: Bool = false) -> Tensor {
        .make { out in withShape(dimensions) { ct_amax(handle, $0, $1, keep, out) } }
    }

    /// The Euclidean norm over `dimensions`, or over everything.
    public func norm(_ dimensions: Int..., keep: Bool = false) -> Tensor {
        .make { out in withShape(dimensions) { ct_norm(handle, $0, $1, keep, out) } }
    }

    /// Unit length along the last dimension.
    public func normalized() -> Tensor { self / norm(-1, keep: true).clamped(minimum: 1e-12) }

    /// The index of the largest element along a dimension, which disappears; int64.
    public func argmax(_ dimension: Int) -> Tensor { .make { ct_argmax(handle, Int64(dimension), $0) } }
    /// Probabilities along a dimension.
    public func softmax(_ dimension: Int) -> Tensor { .make { ct_softmax(handle, Int64(dimension), $0) } }
    /// Their logarithms.
    public func logSoftmax(_ dimension: Int) -> Tensor { .make { ct_log_softmax(handle, Int64(dimension), $0) } }
    /// log Σ eˣ along a dimension, without overflow.
    public func logSumExp(_ dimension: Int, keep: Bool = false) -> Tensor {
        .make { ct_logsumexp(handle, Int64(dimension), keep, $0) }
    }
    /// Sums up to each element along a dimension.
    public func cumulativeSum(_ dimension: Int) -> Tensor { .make { ct_cumsum(handle, Int64(dimension), $0) } }

    /// The `k` largest along a dimension, in descending order.
    public func topK(_ k: Int, _ dimension: Int = -1) -> (values: Tensor, indices: Tensor) {
        var values: ct_tensor?
        var indices: ct_tensor?
        must(ct_topk(handle, Int64(k), Int64(dimension), &values, &indices), #function)
        return (Tensor(adopting: values!), Tensor(adopting: indices!))
    }

    /// In ascending order along a dimension, and the indices that the elements had.
    public func sorted(_ dimension: Int = -1, descending: Bool = false) -> (values: Tensor, indices: Tensor) {
        var values: ct_tensor?
        var indices: ct_tensor?
        must(ct_sort(handle, Int64(dimension), descending, &values, &indices), #function)
        return (Tensor(adopting: values!), Tensor(adopting: indices!))
    }

    /// Draws `count` indices from each row of probabilities `[B, V]`. `[B, count]`
    public func multinomial(_ count: Int = 1, replacement: Bool = false, generator: Generator) -> Tensor {
        .make { out in generator.withHandle { ct_multinomial(handle, Int64(count), replacement, $0, out) } }
    }
}
