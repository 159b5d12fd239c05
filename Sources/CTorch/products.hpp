// Products of bfloat16 matrices on any processor: where libtorch has no good one, in float32.
#pragma once

#include "dispatch.hpp"

#include <ATen/Functions.h>
#include <ATen/core/Tensor.h>

namespace ct {

/// Whether libtorch's own product of it would round partial sums, or crawl.
inline bool needs_width(const at::Tensor &tensor) {
    return tensor.is_cpu() && tensor.scalar_type() == at::kBFloat16 && !has_narrow_products();
}

inline at::Tensor widened(const at::Tensor &tensor) { return tensor.to(at::kFloat); }

/// out = a b for matrices, without gradients.
inline void mm_into(at::Tensor &out, const at::Tensor &a, const at::Tensor &b) {
    if (needs_width(a)) {
        out.copy_(at::mm(widened(a), widened(b)));
    } else {
        at::mm_out(out, a, b);
    }
}

/// out = a b for batches of matrices, without gradients.
inline void bmm_into(at::Tensor &out, const at::Tensor &a, const at::Tensor &b) {
    if (needs_width(a)) {
        out.copy_(at::bmm(widened(a), widened(b)));
    } else {
        at::bmm_out(out, a, b);
    }
}

/// a b for matrices; float32 where their own product is taken in it.
inline at::Tensor wide_mm(const at::Tensor &a, const at::Tensor &b) {
    return needs_width(a) ? at::mm(widened(a), widened(b)) : at::mm(a, b);
}

/// a b in their own type, with gradients.
inline at::Tensor matrix_product(const at::Tensor &a, const at::Tensor &b) {
    if (needs_width(a) && needs_width(b)) return at::matmul(widened(a), widened(b)).to(at::kBFloat16);
    return at::matmul(a, b);
}

}  // namespace ct
