// What the layers of training share. Each is a function of autograd, whose passes go over memory once where libtorch's
// own operations go several times.
//
// N rows (tokens), K inputs, M outputs, C width, V vocabulary, B batch, T tokens of a row, H heads, D head width.
#pragma once

#include "parallel.hpp"
#include "products.hpp"
#include "simd.hpp"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <initializer_list>
#include <type_traits>

// Sums of float32 may be taken in any order, so that they fill vectors.
#pragma clang fp reassociate(on) contract(fast)

namespace ct {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

/// Threads that passes over so many numbers deserve.
inline int64_t threads(int64_t numbers) { return numbers >> 15; }

inline bool is_number(const at::Tensor &tensor) {
    return tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16;
}

/// Whether passes can read it as rows of numbers on the CPU.
inline bool is_plain(const at::Tensor &tensor) {
    return tensor.is_cpu() && tensor.layout() == at::kStrided && is_number(tensor);
}

inline bool is_parameter(const at::Tensor &tensor, int64_t count) {
    return is_plain(tensor) && tensor.scalar_type() == at::kFloat && tensor.dim() == 1 && tensor.size(0) == count
        && tensor.is_contiguous();
}

inline bool wants_gradients(std::initializer_list<at::Tensor> tensors) {
    return at::GradMode::is_enabled()
        && std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor &each) { return each.requires_grad(); });
}

/// Calls `body` with a null pointer to the element type.
template <class Body>
void with_type(const at::Tensor &tensor, const Body &body) {
    if (tensor.scalar_type() == at::kFloat) {
        body(static_cast<float *>(nullptr));
    } else {
        body(static_cast<at::BFloat16 *>(nullptr));
    }
}

template <class Pointer>
using Element = std::remove_pointer_t<Pointer>;

}  // namespace ct
