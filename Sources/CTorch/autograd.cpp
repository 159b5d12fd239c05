// Gradients and the optimiser's fused kernels.
#include "guard.hpp"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

using namespace ct;

ct_status ct_requires_grad(ct_tensor a, bool *out) noexcept {
    return guard([&] { *out = a->value.requires_grad(); });
}

ct_status ct_set_requires_grad(ct_tensor a, bool value) noexcept {
    return guard([&] { a->value.set_requires_grad(value); });
}

ct_status ct_backward(ct_tensor a) noexcept {
    // The graph is gone after the first try.
    return guard([&] { a->value.backward(); }, /*repeats=*/false);
}

ct_status ct_grad(ct_tensor a, ct_tensor *out) noexcept {
    return guard([&] {
        const at::Tensor &gradient = a->value.grad();
        *out = gradient.defined() ? wrap(gradient) : nullptr;
    });
}

ct_status ct_set_grad(ct_tensor a, ct_tensor gradient) noexcept {
    return guard([&] { a->value.mutable_grad() = gradient->value; });
}

ct_status ct_clear_grad(ct_tensor a) noexcept {
    return guard([&] { a->value.mutable_grad().reset(); });
}

ct_status ct_grad_enabled(bool *out) noexcept {
    return guard([&] { *out = at::GradMode::is_enabled(); });
}

ct_status ct_set_grad_enabled(bool value) noexcept {
    return guard([&] { at::GradMode::set_enabled(value); });
}

ct_status ct_detach(ct_tensor a, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(a->value.detach()); });
}

ct_status ct_adamw_(const ct_tensor *parameters, const ct_tensor *gradients, const ct_tensor *first_moments,
                    const ct_tensor *second_moments, int32_t count, double step, double lr, double beta1, double beta2,
                    double weight_decay, double epsilon) noexcept {
    return guard([&] {
        if (count == 0) return;
        at::NoGradGuard no_grad;
        std::vector<at::Tensor> weights = list(parameters, count);
        std::vector<at::Tensor> steps;
        steps.reserve(weights.size());
        for (const at::Tensor &weight : weights) {
            steps.push_back(at::full({}, step, at::TensorOptions().dtype(at::kFloat).device(weight.device())));
        }
        at::_fused_adamw_(weights, list(gradients, count), list(first_moments, count), list(second_moments, count), {},
                          steps, lr, beta1, beta2, weight_decay, epsilon, /*amsgrad=*/false, /*maximize=*/false);
    }, /*repeats=*/false);
}

ct_status ct_total_norm(const ct_tensor *tensors, int32_t count, double *out) noexcept {
    return guard([&] {
        if (count == 0) {
            *out = 0;
            return;
        }
        at::NoGradGuard no_grad;
        std::vector<at::Tensor> norms = at::_foreach_norm(list(tensors, count), 2);
        *out = at::stack(norms).norm().item<double>();
    });
}
