// Products of matrices by libtorch, which reaches the processor's matrix units. Of bfloat16 they are taken in float32
// on processors where libtorch has no good product of it.
#pragma once

#include "levels.hpp"

#include <ATen/Functions.h>
#include <ATen/core/Tensor.h>

namespace ct {

/// Whether libtorch's own product of it would round partial sums, or crawl.
inline bool needs_width(const at::Tensor &tensor) {
    return tensor.is_cpu() && tensor.scalar_type() == at::kBFloat16 && !has_narrow_products();
}

inline at::Tensor widened(const at::Tensor &tensor) { return tensor.to(at::kFloat); }

/// out = a b for matrices, without gradients.
void mm_into(at::Tensor &out, const at::Tensor &a, const at::Tensor &b);
/// out = a b for batches of matrices, without gradients.
void bmm_into(at::Tensor &out, const at::Tensor &a, const at::Tensor &b);

/// Rows of a product are a multiple of it.
constexpr int64_t row_unit = 64;

inline int64_t rounded_up(int64_t count, int64_t unit) { return (count + unit - 1) / unit * unit; }

/// An uninitialised `[N, M]` with memory for a multiple of `row_unit` rows, 0 in the spare ones.
inline at::Tensor make_rows(int64_t N, int64_t M, const at::TensorOptions &options) {
    const int64_t whole = rounded_up(N, row_unit);
    at::Tensor rows = at::empty({whole, M}, options);
    rows.narrow(0, N, whole - N).zero_();
    return rows.resize_({N, M});
}

/// x weight, x `[N, K]` contiguous, weight `[K, M]`.
at::Tensor product(const at::Tensor &x, const at::Tensor &weight);
/// Adds aᵀ b to `sum`, or sets it. a `[N, K]` and b `[N, M]` contiguous, sum float32 `[K, M]` contiguous.
void add_row_products(const at::Tensor &a, const at::Tensor &b, at::Tensor &sum, bool adds);

}  // namespace ct
