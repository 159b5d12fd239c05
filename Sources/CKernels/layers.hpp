// The kernels of this folder, for dispatch.cpp. Each gives nothing where the plain operations have to do it: elsewhere
// than on the CPU, for element types, sizes or layouts that it does not know, without or with gradients.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

namespace ct {

/// x weightᵀ + bias in x's element type, with sums in float32, for so many rows of x as `most_rows` says. x `[.., K]`,
/// weight `[N, K]` or a transposed `[K, N]`, bias `[N]`, each float32 or bfloat16. Without gradients alone.
std::optional<at::Tensor> row_product(const at::Tensor &x, const at::Tensor &weight,
                                      const std::optional<at::Tensor> &bias);

/// x weightᵀ + bias in x's element type, squared where it is positive and 0 elsewhere if `squared`. Mixed precision
/// alone (x bfloat16, weight and bias float32) unless squared. x `[.., K]`, weight `[M, K]`, bias `[M]`. With gradients
/// alone.
std::optional<at::Tensor> trained_linear(const at::Tensor &x, const at::Tensor &weight,
                                         const std::optional<at::Tensor> &bias, bool squared);

/// x + branch, and its layer norm over the last dimension. weight and bias float32 `[C]`. With gradients alone.
std::optional<std::tuple<at::Tensor, at::Tensor>> trained_add_norm(const at::Tensor &x, const at::Tensor &branch,
                                                                   const at::Tensor &weight, const at::Tensor &bias,
                                                                   double epsilon);

/// Causal attention of queries, keys and values that stand side by side, `[B, T, 3 heads D]` -> `[B, T, heads D]`. With
/// gradients alone.
std::optional<at::Tensor> trained_attention(const at::Tensor &packed, int64_t heads);

/// The mean cross-entropy of hidden weightᵀ. hidden `[N, C]`, weight float32 `[V, C]`, targets int64 `[N]`.
std::optional<at::Tensor> trained_cross_entropy(const at::Tensor &hidden, const at::Tensor &weight,
                                                const at::Tensor &targets);

}  // namespace ct
