// Layers: the kernels behind Linear, convolutions, normalisation, attention and the losses.
#include "guard.hpp"
#include "products.hpp"
#include "row_product.hpp"
#include "training.hpp"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>

using namespace ct;

/// x weightᵀ + bias in x's element type.
static at::Tensor plain_linear(const at::Tensor &x, const at::Tensor &weight, std::optional<at::Tensor> bias) {
    if (needs_width(x)) {
        if (bias) bias = widened(*bias);
        return at::linear(widened(x), widened(weight), bias).to(x.scalar_type());
    }
    if (bias) bias = bias->to(x.scalar_type());
    return at::linear(x, weight.to(x.scalar_type()), bias);
}

ct_status ct_linear(ct_tensor x, ct_tensor weight, ct_tensor bias, ct_tensor *out) noexcept {
    return guard([&] {
        if (auto product = row_product(x->value, weight->value, optional(bias))) {
            *out = wrap(std::move(*product));
            return;
        }
        if (auto product = trained_linear(x->value, weight->value, optional(bias), /*squared=*/false)) {
            *out = wrap(std::move(*product));
            return;
        }
        *out = wrap(plain_linear(x->value, weight->value, optional(bias)));
    });
}

ct_status ct_linear_relu_squared(ct_tensor x, ct_tensor weight, ct_tensor bias, ct_tensor *out) noexcept {
    return guard([&] {
        if (auto product = trained_linear(x->value, weight->value, optional(bias), /*squared=*/true)) {
            *out = wrap(std::move(*product));
            return;
        }
        auto product = row_product(x->value, weight->value, optional(bias));
        if (!product) product = plain_linear(x->value, weight->value, optional(bias));
        *out = wrap(at::relu(*product).square());
    });
}

ct_status ct_embedding(ct_tensor weight, ct_tensor ids, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::embedding(weight->value, ids->value)); });
}

ct_status ct_layer_norm(ct_tensor x, ct_tensor weight, ct_tensor bias, double epsilon, ct_tensor *out) noexcept {
    return guard([&] {
        int64_t width = x->value.size(-1);
        *out = wrap(at::layer_norm(x->value, at::IntArrayRef(&width, 1), optional(weight), optional(bias), epsilon));
    });
}

ct_status ct_add_layer_norm(ct_tensor x, ct_tensor branch, ct_tensor weight, ct_tensor bias, double epsilon,
                            ct_tensor *sum, ct_tensor *out) noexcept {
    return guard([&] {
        if (auto both = trained_add_norm(x->value, branch->value, weight->value, bias->value, epsilon)) {
            *sum = wrap(std::move(std::get<0>(*both)));
            *out = wrap(std::move(std::get<1>(*both)));
            return;
        }
        at::Tensor total = x->value + branch->value;
        at::ScalarType dtype = total.scalar_type();
        int64_t width = total.size(-1);
        at::Tensor norm = at::layer_norm(total, at::IntArrayRef(&width, 1), weight->value.to(dtype),
                                         bias->value.to(dtype), epsilon);
        *sum = wrap(std::move(total));
        *out = wrap(std::move(norm));
    });
}

ct_status ct_rms_norm(ct_tensor x, ct_tensor weight, double epsilon, ct_tensor *out) noexcept {
    return guard([&] {
        at::Tensor wide = x->value.to(at::kFloat);
        at::Tensor variance = wide.square().mean(-1, /*keepdim=*/true);
        // Rounded once, at the end.
        at::Tensor normal = wide * at::rsqrt(variance + epsilon) * weight->value;
        *out = wrap(normal.to(weight->value.scalar_type()));
    });
}

ct_status ct_group_norm(ct_tensor x, int64_t groups, ct_tensor weight, ct_tensor bias, double epsilon,
                        ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::group_norm(x->value, groups, optional(weight), optional(bias), epsilon)); });
}

ct_status ct_batch_norm(ct_tensor x, ct_tensor weight, ct_tensor bias, ct_tensor running_mean, ct_tensor running_var,
                        bool training, double momentum, double epsilon, ct_tensor *out) noexcept {
    return guard([&] {
        *out = wrap(at::batch_norm(x->value, weight->value, bias->value, running_mean->value, running_var->value,
                                   training, momentum, epsilon, /*cudnn_enabled=*/true));
    });
}

ct_status ct_conv2d(ct_tensor x, ct_tensor weight, ct_tensor bias, int64_t stride, int64_t padding, int64_t groups,
                    ct_tensor *out) noexcept {
    return guard([&] {
        if (needs_width(x->value)) {
            std::optional<at::Tensor> offset = optional(bias);
            if (offset) offset = widened(*offset);
            at::Tensor wide = at::conv2d(widened(x->value), widened(weight->value), offset, at::IntArrayRef(&stride, 1),
                                         at::IntArrayRef(&padding, 1), /*dilation=*/1, groups);
            *out = wrap(wide.to(at::kBFloat16));
            return;
        }
        *out = wrap(at::conv2d(x->value, weight->value, optional(bias), at::IntArrayRef(&stride, 1),
                               at::IntArrayRef(&padding, 1), /*dilation=*/1, groups));
    });
}

ct_status ct_avg_pool2d(ct_tensor x, int64_t kernel, int64_t stride, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::avg_pool2d(x->value, kernel, stride)); });
}

ct_status ct_max_pool2d(ct_tensor x, int64_t kernel, int64_t stride, int64_t padding, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::max_pool2d(x->value, kernel, stride, padding)); });
}

ct_status ct_zero_pad2d(ct_tensor x, int64_t left, int64_t right, int64_t top, int64_t bottom, ct_tensor *out) noexcept {
    return guard([&] {
        const int64_t sides[4] = {left, right, top, bottom};
        *out = wrap(at::constant_pad_nd(x->value, sides, 0));
    });
}

ct_status ct_interpolate_bicubic(ct_tensor x, int64_t height, int64_t width, bool align_corners, bool antialias,
                                 ct_tensor *out) noexcept {
    return guard([&] {
        int64_t size[2] = {height, width};
        *out = wrap(antialias ? at::_upsample_bicubic2d_aa(x->value, at::IntArrayRef(size, 2), align_corners)
                              : at::upsample_bicubic2d(x->value, at::IntArrayRef(size, 2), align_corners));
    });
}

ct_status ct_dropout(ct_tensor x, double probability, ct_generator generator, ct_tensor *out) noexcept {
    return guard([&] {
        TORCH_CHECK(probability >= 0 && probability < 1, "dropout probability ", probability, " is not in [0, 1)");
        // at::dropout knows only the global generator; a mask of our own keeps runs reproducible.
        at::Tensor keep = at::empty_like(x->value, x->value.options().requires_grad(false));
        keep.bernoulli_(1 - probability, generator->value);
        *out = wrap(x->value * keep.div_(1 - probability));
    });
}

/// Attention as two batched products, with gradients.
static at::Tensor plain_attention(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                                  const std::optional<at::Tensor> &mask, bool causal, std::optional<double> scale) {
    const double forbidden = -std::numeric_limits<double>::infinity();
    if (mask) {
        // Only the public function knows bool masks; this one would add 1 where it should attend. A row that may attend to
        // nothing is zero here, which costs three more passes over the scores.
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

static at::Tensor attention(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                            const std::optional<at::Tensor> &mask, bool causal, std::optional<double> scale) {
    if (needs_width(q)) {
        std::optional<at::Tensor> bias = mask;
        if (bias && bias->is_floating_point()) bias = widened(*bias);
        return attention(widened(q), widened(k), widened(v), bias, causal, scale).to(at::kBFloat16);
    }
    // The flash kernel's backward is slow on processors for short sequences: one small product after the other. The
    // plain form is two batched products, and twice as fast at 64 tokens (see Docs/EXPERIMENTS.md).
    if (q.is_cpu() && at::GradMode::is_enabled() && q.size(-2) * k.size(-2) <= 256 * 256) {
        return plain_attention(q, k, v, mask, causal, scale);
    }
    return at::scaled_dot_product_attention(q, k, v, mask, /*dropout=*/0.0, causal, scale);
}

ct_status ct_attention(ct_tensor q, ct_tensor k, ct_tensor v, ct_tensor mask, bool causal, double scale,
                       ct_tensor *out) noexcept {
    return guard([&] {
        std::optional<double> factor = scale == 0 ? std::nullopt : std::optional<double>(scale);
        *out = wrap(attention(q->value, k->value, v->value, optional(mask), causal, factor));
    });
}

ct_status ct_causal_attention(ct_tensor packed, int64_t heads, ct_tensor *out) noexcept {
    return guard([&] {
        if (auto mixed = trained_attention(packed->value, heads)) {
            *out = wrap(std::move(*mixed));
            return;
        }
        const int64_t B = packed->value.size(0), T = packed->value.size(1);
        at::Tensor parts = packed->value.reshape({B, T, 3, heads, -1}).permute({2, 0, 3, 1, 4});  // [3, B, H, T, D]
        at::Tensor mixed = attention(parts[0], parts[1], parts[2], std::nullopt, /*causal=*/true, std::nullopt);
        *out = wrap(mixed.transpose(1, 2).reshape({B, T, -1}));
    });
}

ct_status ct_cross_entropy(ct_tensor logits, ct_tensor targets, int64_t ignore_index, double label_smoothing,
                           ct_tensor *out) noexcept {
    return guard([&] {
        *out = wrap(at::cross_entropy_loss(logits->value, targets->value, {}, at::Reduction::Mean, ignore_index,
                                           label_smoothing));
    });
}

ct_status ct_linear_cross_entropy(ct_tensor hidden, ct_tensor weight, ct_tensor targets, ct_tensor *out) noexcept {
    return guard([&] {
        if (auto loss = trained_cross_entropy(hidden->value, weight->value, targets->value)) {
            *out = wrap(std::move(*loss));
            return;
        }
        at::Tensor scores = plain_linear(hidden->value, weight->value, std::nullopt).to(at::kFloat);
        *out = wrap(at::cross_entropy_loss(scores, targets->value));
    });
}
