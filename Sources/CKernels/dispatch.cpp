// Which way an operation goes: by a kernel of this folder where one knows the tensors, else by libtorch's operation, on
// processors without units for bfloat16 in float32.
#include "layers.hpp"
#include "products.hpp"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>

using namespace ct;

namespace {

/// x weightᵀ + bias in x's element type.
at::Tensor plain_linear(const at::Tensor &x, const at::Tensor &weight, std::optional<at::Tensor> bias) {
    if (needs_width(x)) {
        if (bias) bias = widened(*bias);
        return at::linear(widened(x), widened(weight), bias).to(x.scalar_type());
    }
    if (bias) bias = bias->to(x.scalar_type());
    return at::linear(x, weight.to(x.scalar_type()), bias);
}

/// Attention as two batched products, with gradients.
at::Tensor plain_attention(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                           const std::optional<at::Tensor> &mask, bool causal, std::optional<double> scale) {
    const double forbidden = -std::numeric_limits<double>::infinity();
    if (mask) {
        // Only the public function knows bool masks; this one would add 1 where it should attend. A row that may attend
        // to nothing is zero here, which costs three more passes over the scores.
        at::Tensor bias = *mask;
        if (bias.scalar_type() == at::kBool) {
            bias = at::zeros_like(bias, q.options()).masked_fill_(at::logical_not(bias), forbidden);
        }
        // Otherwise it computes bfloat16 in float32, at twice the time; the softmax sums in float32 either way.
        at::globalContext().setAllowFP16BF16ReductionMathSDP(true);
        return std::get<0>(at::_scaled_dot_product_attention_math(q, k, v, bias, /*dropout=*/0.0, causal, {}, scale));
    }
    double factor = scale.value_or(1 / std::sqrt(static_cast<double>(q.size(-1))));
    at::Tensor scores = at::matmul(q * factor, k.transpose(-2, -1));
    if (causal) {
        scores = scores + at::full({q.size(-2), k.size(-2)}, forbidden, q.options()).triu_(1);
    }
    return at::matmul(at::softmax(scores, -1), v);
}

}  // namespace

at::Tensor ct::matmul(const at::Tensor &a, const at::Tensor &b) {
    if (needs_width(a) && needs_width(b)) return at::matmul(widened(a), widened(b)).to(at::kBFloat16);
    return at::matmul(a, b);
}

at::Tensor ct::linear(const at::Tensor &x, const at::Tensor &weight, const std::optional<at::Tensor> &bias) {
    if (auto product = row_product(x, weight, bias)) return *product;
    if (auto product = trained_linear(x, weight, bias, /*squared=*/false)) return *product;
    return plain_linear(x, weight, bias);
}

at::Tensor ct::linear_relu_squared(const at::Tensor &x, const at::Tensor &weight,
                                   const std::optional<at::Tensor> &bias) {
    if (auto product = trained_linear(x, weight, bias, /*squared=*/true)) return *product;
    auto product = row_product(x, weight, bias);
    return at::relu(product ? *product : plain_linear(x, weight, bias)).square();
}

std::tuple<at::Tensor, at::Tensor> ct::add_layer_norm(const at::Tensor &x, const at::Tensor &branch,
                                                      const at::Tensor &weight, const at::Tensor &bias,
                                                      double epsilon) {
    if (auto both = trained_add_norm(x, branch, weight, bias, epsilon)) return *both;
    const at::Tensor sum = x + branch;
    const at::ScalarType type = sum.scalar_type();
    return {sum, at::layer_norm(sum, {sum.size(-1)}, weight.to(type), bias.to(type), epsilon)};
}

at::Tensor ct::conv2d(const at::Tensor &x, const at::Tensor &weight, const std::optional<at::Tensor> &bias,
                      int64_t stride, int64_t padding, int64_t groups) {
    if (needs_width(x)) {
        const auto offset = bias ? std::optional(widened(*bias)) : std::nullopt;
        return ct::conv2d(widened(x), widened(weight), offset, stride, padding, groups).to(at::kBFloat16);
    }
    return at::conv2d(x, weight, bias, {stride}, {padding}, /*dilation=*/1, groups);
}

at::Tensor ct::attention(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                         const std::optional<at::Tensor> &mask, bool causal, std::optional<double> scale) {
    if (needs_width(q)) {
        std::optional<at::Tensor> bias = mask;
        if (bias && bias->is_floating_point()) bias = widened(*bias);
        return ct::attention(widened(q), widened(k), widened(v), bias, causal, scale).to(at::kBFloat16);
    }
    // The flash kernel's backward is slow on processors for short sequences: one small product after the other. The
    // plain form is two batched products, and twice as fast at 64 tokens (see Docs/EXPERIMENTS.md).
    if (q.is_cpu() && at::GradMode::is_enabled() && q.size(-2) * k.size(-2) <= 256 * 256) {
        return plain_attention(q, k, v, mask, causal, scale);
    }
    return at::scaled_dot_product_attention(q, k, v, mask, /*dropout=*/0.0, causal, scale);
}

at::Tensor ct::causal_attention(const at::Tensor &packed, int64_t heads) {
    if (auto mixed = trained_attention(packed, heads)) return *mixed;
    const int64_t B = packed.size(0), T = packed.size(1);
    const at::Tensor parts = packed.reshape({B, T, 3, heads, -1}).permute({2, 0, 3, 1, 4});  // [3, B, H, T, D]
    const at::Tensor mixed = ct::attention(parts[0], parts[1], parts[2], std::nullopt, /*causal=*/true, std::nullopt);
    return mixed.transpose(1, 2).reshape({B, T, -1});
}

at::Tensor ct::linear_cross_entropy(const at::Tensor &hidden, const at::Tensor &weight, const at::Tensor &targets) {
    if (auto loss = trained_cross_entropy(hidden, weight, targets)) return *loss;
    return at::cross_entropy_loss(plain_linear(hidden, weight, std::nullopt).to(at::kFloat), targets);
}
