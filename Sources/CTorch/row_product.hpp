// The product of a few rows with a weight, as generation asks for at every token.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace ct {

/// x weightᵀ + bias for one to twelve rows on the CPU, in x's element type with float32 sums; none where the general
/// product has to do it: more rows (with a bfloat16 weight row by row more than ten, or fewer where they are long),
/// gradients, strides, element types or a processor that this one does not know.
///
/// x `[.., K]`, weight `[N, K]`, bias `[N]`; the weight lies row by row, or column by column (a transposed `[K, N]`).
std::optional<at::Tensor> row_product(const at::Tensor &x, const at::Tensor &weight,
                                      const std::optional<at::Tensor> &bias);

}  // namespace ct
