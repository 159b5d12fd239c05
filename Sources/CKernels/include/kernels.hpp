// Operations for which there are kernels of our own on the CPU; dispatch.cpp says which way each goes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <tuple>

namespace ct {

/// Kernels on the CPU, each level with what the ones below have.
enum class Level : int32_t {
    libtorch,  // libtorch's own operations where fused layers are elsewhere, as on a GPU
    portable,
    avx2,
    avx512,
};

/// What multiplies bfloat16 on the CPU.
enum class Units : int32_t { none, avx512, amx };

/// The level of the calling thread, at most what the processor has. `TIHUA_PLAIN_KERNELS` lowers it for the process.
Level level();
/// Lowers the level of the calling thread, and gives back what was set before; nothing is the process's.
std::optional<Level> set_thread_level(std::optional<Level> level);
/// The units that the processor has, none below the level of AVX-512.
Units bfloat16_units();

// All of these give gradients but those of inference. N rows, K inputs, M outputs, B batch, T tokens, H heads, D head
// width.

/// a b in their own type.
at::Tensor matmul(const at::Tensor &a, const at::Tensor &b);
/// x weightᵀ + bias in x's element type. x `[.., K]`, weight `[M, K]`, bias `[M]`.
at::Tensor linear(const at::Tensor &x, const at::Tensor &weight, const std::optional<at::Tensor> &bias);
/// The square of `linear` where that is positive, 0 elsewhere.
at::Tensor linear_relu_squared(const at::Tensor &x, const at::Tensor &weight, const std::optional<at::Tensor> &bias);
/// x + branch, and its layer norm over the last dimension.
std::tuple<at::Tensor, at::Tensor> add_layer_norm(const at::Tensor &x, const at::Tensor &branch,
                                                  const at::Tensor &weight, const at::Tensor &bias, double epsilon);
at::Tensor conv2d(const at::Tensor &x, const at::Tensor &weight, const std::optional<at::Tensor> &bias, int64_t stride,
                  int64_t padding, int64_t groups);
/// A convolution's weight as `inference_conv2d` takes it, laid out for inputs of the shape `input`; others work,
/// perhaps slower. Nothing else can read it.
at::Tensor inference_weight(const at::Tensor &weight, int64_t stride, int64_t padding, int64_t groups,
                            at::IntArrayRef input);
/// A convolution without gradients over channels-last x, plus `added` of the result's shape or clamped to 0 ... 6; not
/// both. Element types are all one.
at::Tensor inference_conv2d(const at::Tensor &x, const at::Tensor &weight, const std::optional<at::Tensor> &bias,
                            int64_t stride, int64_t padding, int64_t groups, const std::optional<at::Tensor> &added,
                            bool relu6);
/// q `[B, H, T, D]`, k and v `[B, H, S, D]`; mask bool or added to the scores; scale 1 / √D if there is none.
at::Tensor attention(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                     const std::optional<at::Tensor> &mask, bool causal, std::optional<double> scale);
/// Queries, keys and values that stand side by side: `[B, T, 3 H D]` -> `[B, T, H D]`.
at::Tensor causal_attention(const at::Tensor &packed, int64_t heads);
/// The mean cross-entropy of hidden weightᵀ. hidden `[N, K]`, weight `[M, K]`, targets int64 `[N]`.
at::Tensor linear_cross_entropy(const at::Tensor &hidden, const at::Tensor &weight, const at::Tensor &targets);

}  // namespace ct
