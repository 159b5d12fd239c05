// Layers: the kernels behind Linear, convolutions, normalisation, attention and the losses.
#include "guard.hpp"
#include "kernels.hpp"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

using namespace ct;

ct_status ct_linear(ct_tensor x, ct_tensor weight, ct_tensor bias, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(ct::linear(x->value, weight->value, optional(bias))); });
}

ct_status ct_linear_relu_squared(ct_tensor x, ct_tensor weight, ct_tensor bias, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(ct::linear_relu_squared(x->value, weight->value, optional(bias))); });
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
        auto [total, norm] = ct::add_layer_norm(x->value, branch->value, weight->value, bias->value, epsilon);
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
    return guard([&] { *out = wrap(ct::conv2d(x->value, weight->value, optional(bias), stride, padding, groups)); });
}

ct_status ct_inference_weight(ct_tensor weight, int64_t stride, int64_t padding, int64_t groups, const int64_t *input,
                              ct_tensor *out) noexcept {
    return guard(
        [&] { *out = wrap(ct::inference_weight(weight->value, stride, padding, groups, ints(input, 4))); });
}

ct_status ct_inference_conv2d(ct_tensor x, ct_tensor weight, ct_tensor bias, int64_t stride, int64_t padding,
                              int64_t groups, ct_tensor added, bool relu6, ct_tensor *out) noexcept {
    return guard([&] {
        at::NoGradGuard no_grad;
        *out = wrap(ct::inference_conv2d(x->value, weight->value, optional(bias), stride, padding, groups,
                                         optional(added), relu6));
    });
}

ct_status ct_avg_pool2d(ct_tensor x, int64_t kernel, int64_t stride, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::avg_pool2d(x->value, kernel, stride)); });
}

ct_status ct_max_pool2d(ct_tensor x, int64_t kernel, int64_t stride, int64_t padding, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::max_pool2d(x->value, kernel, stride, padding)); });
}

ct_status ct_zero_pad2d(ct_tensor x, int64_t left, int64_t right, int64_t top, int64_t bottom,
                        ct_tensor *out) noexcept {
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

ct_status ct_attention(ct_tensor q, ct_tensor k, ct_tensor v, ct_tensor mask, bool causal, double scale,
                       ct_tensor *out) noexcept {
    return guard([&] {
        std::optional<double> factor = scale == 0 ? std::nullopt : std::optional<double>(scale);
        *out = wrap(ct::attention(q->value, k->value, v->value, optional(mask), causal, factor));
    });
}

ct_status ct_causal_attention(ct_tensor packed, int64_t heads, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(ct::causal_attention(packed->value, heads)); });
}

ct_status ct_cross_entropy(ct_tensor logits, ct_tensor targets, int64_t ignore_index, double label_smoothing,
                           ct_tensor *out) noexcept {
    return guard([&] {
        *out = wrap(at::cross_entropy_loss(logits->value, targets->value, {}, at::Reduction::Mean, ignore_index,
                                           label_smoothing));
    });
}

ct_status ct_linear_cross_entropy(ct_tensor hidden, ct_tensor weight, ct_tensor targets, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(ct::linear_cross_entropy(hidden->value, weight->value, targets->value)); });
}
