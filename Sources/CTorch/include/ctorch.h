/// A C ABI over libtorch. The only header that Swift sees.
///
/// Conventions, for every function:
/// - returns 0, or 1 after an error whose text `ct_last_error()` holds until the next call on the same thread;
/// - results come through the last pointer; a new `ct_tensor` belongs to the caller, who frees it with `ct_free`;
/// - arguments are borrowed, and may not be NULL unless marked CT_NULLABLE, which the compiler checks;
/// - `dims`/`shape` are arrays of `rank` (or `count`) 64-bit integers, lists of tensors arrays of `count` handles, NULL
///   only where that is 0; negative dimensions count from the end.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define CT_NOEXCEPT noexcept
#else
#define CT_NOEXCEPT
#endif

#ifdef __clang__
#define CT_NULLABLE _Nullable
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wnullability-completeness"  // behind an out-pointer all is optional
#pragma clang assume_nonnull begin
#else
#define CT_NULLABLE
#endif

typedef struct ct_tensor_s *ct_tensor;
typedef struct ct_generator_s *ct_generator;
typedef int32_t ct_status;

/// What a function returns; after the other two ct_last_error says more.
enum {
    CT_OK = 0,
    CT_FAILED = 1,
    CT_NO_MEMORY = 2,
};

/// Element types; the numbers are those of c10::ScalarType.
enum {
    CT_UINT8 = 0,
    CT_INT8 = 1,
    CT_INT16 = 2,
    CT_INT32 = 3,
    CT_INT64 = 4,
    CT_FLOAT16 = 5,
    CT_FLOAT32 = 6,
    CT_FLOAT64 = 7,
    CT_BOOL = 11,
    CT_BFLOAT16 = 15,
};

/// Kernels on the CPU, each level with what the ones below have.
enum {
    CT_KERNELS_LIBTORCH = 0,  // libtorch's own operations where fused layers are elsewhere, as on a GPU
    CT_KERNELS_PORTABLE = 1,
    CT_KERNELS_AVX2 = 2,
    CT_KERNELS_AVX512 = 3,
};

/// What multiplies bfloat16 on the CPU.
typedef enum {
    CT_BFLOAT16_NONE = 0,
    CT_BFLOAT16_AVX512 = 1,
    CT_BFLOAT16_AMX = 2,
} ct_bfloat16;

/// Device index -1 is the CPU, 0 and above a CUDA device.
typedef int32_t ct_device;

// Library ---------------------------------------------------------------------------------------------------------
const char *ct_last_error(void) CT_NOEXCEPT;
int64_t ct_live(void) CT_NOEXCEPT;
const char *ct_version(void) CT_NOEXCEPT;
/// The instruction set that libtorch's kernels use: "AVX512", "AVX2", "DEFAULT" ...
ct_status ct_cpu_capability(const char *CT_NULLABLE *out) CT_NOEXCEPT;
/// The level of the calling thread: what the processor has, or less. The environment variable `TIHUA_PLAIN_KERNELS`
/// lowers it for the process: `1` to portable, `avx2`, `libtorch`.
ct_status ct_kernels(int32_t *out) CT_NOEXCEPT;
/// Lowers the level of the calling thread (-1: back to the process's), and says what was set there before.
ct_status ct_set_kernels(int32_t level, int32_t *before) CT_NOEXCEPT;
/// A ct_bfloat16: the units that the processor has, none below the level of AVX-512.
ct_status ct_bfloat16_units(int32_t *out) CT_NOEXCEPT;
/// Opens libtorch_cuda if it lies beside libtorch; the number of usable CUDA devices, 0 without error where none is.
ct_status ct_cuda_device_count(int32_t *out) CT_NOEXCEPT;
/// Puts memory by, which the first operation that finds none gets; 0 gives it back.
ct_status ct_reserve(size_t bytes) CT_NOEXCEPT;
/// At most so many heaps of glibc, each of which reserves 64 MB of address space for one or several threads.
ct_status ct_limit_heaps(int32_t count) CT_NOEXCEPT;
/// Freed memory stays with the process, up to blocks of 1 GB, where malloc is glibc's. For the whole process.
ct_status ct_keep_memory(void) CT_NOEXCEPT;
/// Whether the reserve was spent since the last call with `again`, which puts it by once more.
ct_status ct_memory_is_short(bool again, bool *out) CT_NOEXCEPT;
ct_status ct_set_num_threads(int32_t count) CT_NOEXCEPT;
ct_status ct_get_num_threads(int32_t *out) CT_NOEXCEPT;
/// Waits until the work queued on a CUDA device is done; nothing on the CPU.
ct_status ct_synchronize(ct_device device) CT_NOEXCEPT;

// Generators ------------------------------------------------------------------------------------------------------
ct_status ct_generator_new(ct_device device, uint64_t seed, ct_generator *out) CT_NOEXCEPT;
void ct_generator_free(ct_generator CT_NULLABLE generator) CT_NOEXCEPT;
/// The whole state as a uint8 tensor on the CPU.
ct_status ct_generator_state(ct_generator generator, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_generator_set_state(ct_generator generator, ct_tensor state) CT_NOEXCEPT;

// Creation and access ---------------------------------------------------------------------------------------------
/// Copies `bytes` of contiguous memory; NULL only for an empty tensor.
ct_status ct_from_data(const void *CT_NULLABLE data, size_t bytes, const int64_t *CT_NULLABLE shape, int32_t rank,
                       int32_t dtype, ct_tensor *out) CT_NOEXCEPT;
/// Borrows memory (strides in elements, NULL = contiguous) until libtorch drops it; then calls `release(context)`.
/// After an error it is not called: the caller still owns the context.
ct_status ct_from_borrowed(const void *data, const int64_t *CT_NULLABLE shape, const int64_t *CT_NULLABLE strides,
                           int32_t rank, int32_t dtype, void (*release)(void *CT_NULLABLE), void *context,
                           ct_tensor *out) CT_NOEXCEPT;
ct_status ct_full(const int64_t *CT_NULLABLE shape, int32_t rank, double value, int32_t dtype, ct_device device,
                  ct_tensor *out) CT_NOEXCEPT;
ct_status ct_empty(const int64_t *CT_NULLABLE shape, int32_t rank, int32_t dtype, ct_device device,
                   ct_tensor *out) CT_NOEXCEPT;
ct_status ct_arange(int64_t start, int64_t end, int32_t dtype, ct_device device, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_randn(const int64_t *CT_NULLABLE shape, int32_t rank, ct_generator generator, int32_t dtype,
                   ct_device device, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_rand(const int64_t *CT_NULLABLE shape, int32_t rank, ct_generator generator, int32_t dtype,
                  ct_device device, ct_tensor *out) CT_NOEXCEPT;
void ct_free(ct_tensor CT_NULLABLE tensor) CT_NOEXCEPT;
/// A second handle on the same tensor.
ct_status ct_alias(ct_tensor a, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_rank(ct_tensor a, int32_t *out) CT_NOEXCEPT;
ct_status ct_shape(ct_tensor a, int64_t *out) CT_NOEXCEPT;
ct_status ct_dtype(ct_tensor a, int32_t *out) CT_NOEXCEPT;
ct_status ct_device_of(ct_tensor a, ct_device *out) CT_NOEXCEPT;
ct_status ct_item(ct_tensor a, double *out) CT_NOEXCEPT;
/// Copies the elements, contiguous and converted to `dtype`, into `out`, which holds `bytes`; NULL only for none.
ct_status ct_copy_out(ct_tensor a, int32_t dtype, void *CT_NULLABLE out, size_t bytes) CT_NOEXCEPT;
/// The address of a contiguous CPU tensor's elements (NULL for an empty one); an error for any other tensor.
ct_status ct_data_pointer(ct_tensor a, void *CT_NULLABLE *out) CT_NOEXCEPT;
ct_status ct_to(ct_tensor a, int32_t dtype, ct_device device, ct_tensor *out) CT_NOEXCEPT;

// Autograd --------------------------------------------------------------------------------------------------------
ct_status ct_requires_grad(ct_tensor a, bool *out) CT_NOEXCEPT;
ct_status ct_set_requires_grad(ct_tensor a, bool value) CT_NOEXCEPT;
/// `a` must be a scalar.
ct_status ct_backward(ct_tensor a) CT_NOEXCEPT;
/// NULL where there is no gradient yet.
ct_status ct_grad(ct_tensor a, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_set_grad(ct_tensor a, ct_tensor gradient) CT_NOEXCEPT;
ct_status ct_clear_grad(ct_tensor a) CT_NOEXCEPT;
/// Grad mode of the calling thread.
ct_status ct_grad_enabled(bool *out) CT_NOEXCEPT;
ct_status ct_set_grad_enabled(bool value) CT_NOEXCEPT;
ct_status ct_detach(ct_tensor a, ct_tensor *out) CT_NOEXCEPT;

// Elementwise -----------------------------------------------------------------------------------------------------
#define CT_UNARY(name) ct_status ct_##name(ct_tensor a, ct_tensor *out) CT_NOEXCEPT;
CT_UNARY(neg) CT_UNARY(exp) CT_UNARY(log) CT_UNARY(sqrt) CT_UNARY(rsqrt) CT_UNARY(tanh) CT_UNARY(sigmoid)
CT_UNARY(relu) CT_UNARY(silu) CT_UNARY(gelu) CT_UNARY(gelu_tanh) CT_UNARY(abs) CT_UNARY(sin) CT_UNARY(cos)
CT_UNARY(logical_not) CT_UNARY(isfinite) CT_UNARY(clone) CT_UNARY(contiguous) CT_UNARY(square)
/// x * sigmoid(1.702 x), CLIP's approximation of GELU.
CT_UNARY(quick_gelu)
/// [B, C, H, W] with the channels innermost in memory, which convolutions on processors prefer.
CT_UNARY(channels_last)
#undef CT_UNARY

#define CT_BINARY(name) ct_status ct_##name(ct_tensor a, ct_tensor b, ct_tensor *out) CT_NOEXCEPT;
CT_BINARY(add) CT_BINARY(sub) CT_BINARY(mul) CT_BINARY(div) CT_BINARY(matmul) CT_BINARY(maximum) CT_BINARY(minimum)
CT_BINARY(eq) CT_BINARY(ne) CT_BINARY(lt) CT_BINARY(le) CT_BINARY(gt) CT_BINARY(ge)
CT_BINARY(logical_and) CT_BINARY(logical_or)
#undef CT_BINARY

#define CT_SCALAR(name) ct_status ct_##name(ct_tensor a, double b, ct_tensor *out) CT_NOEXCEPT;
CT_SCALAR(add_scalar) CT_SCALAR(mul_scalar) CT_SCALAR(div_scalar) CT_SCALAR(rdiv_scalar) CT_SCALAR(pow_scalar)
CT_SCALAR(eq_scalar) CT_SCALAR(ne_scalar) CT_SCALAR(lt_scalar) CT_SCALAR(gt_scalar)
CT_SCALAR(clamp_min) CT_SCALAR(clamp_max)
#undef CT_SCALAR

ct_status ct_where(ct_tensor condition, ct_tensor a, ct_tensor b, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_masked_fill(ct_tensor a, ct_tensor mask, double value, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_add_(ct_tensor a, ct_tensor b, double alpha) CT_NOEXCEPT;
ct_status ct_mul_scalar_(ct_tensor a, double value) CT_NOEXCEPT;
ct_status ct_lerp_(ct_tensor a, ct_tensor b, double weight) CT_NOEXCEPT;
/// Same shape only: nothing broadcasts.
ct_status ct_copy_(ct_tensor a, ct_tensor source) CT_NOEXCEPT;
ct_status ct_fill_(ct_tensor a, double value) CT_NOEXCEPT;
ct_status ct_clamp(ct_tensor a, double low, double high, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_clamp_(ct_tensor a, double low, double high) CT_NOEXCEPT;
/// Clamps to 0 ... 6 in place; autograd keeps the result alone.
ct_status ct_relu6_(ct_tensor a) CT_NOEXCEPT;

// Reduction -------------------------------------------------------------------------------------------------------
/// `count` 0 reduces over everything.
ct_status ct_sum(ct_tensor a, const int64_t *CT_NULLABLE dims, int32_t count, bool keep, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_mean(ct_tensor a, const int64_t *CT_NULLABLE dims, int32_t count, bool keep, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_amax(ct_tensor a, const int64_t *CT_NULLABLE dims, int32_t count, bool keep, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_norm(ct_tensor a, const int64_t *CT_NULLABLE dims, int32_t count, bool keep, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_argmax(ct_tensor a, int64_t dim, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_softmax(ct_tensor a, int64_t dim, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_log_softmax(ct_tensor a, int64_t dim, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_logsumexp(ct_tensor a, int64_t dim, bool keep, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_cumsum(ct_tensor a, int64_t dim, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_topk(ct_tensor a, int64_t k, int64_t dim, ct_tensor *values,
                  ct_tensor *indices) CT_NOEXCEPT;
ct_status ct_sort(ct_tensor a, int64_t dim, bool descending, ct_tensor *values,
                  ct_tensor *indices) CT_NOEXCEPT;
ct_status ct_multinomial(ct_tensor probabilities, int64_t count, bool replacement, ct_generator generator,
                         ct_tensor *out) CT_NOEXCEPT;

// Shape and indexing ----------------------------------------------------------------------------------------------
ct_status ct_reshape(ct_tensor a, const int64_t *CT_NULLABLE shape, int32_t rank, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_expand(ct_tensor a, const int64_t *CT_NULLABLE shape, int32_t rank, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_permute(ct_tensor a, const int64_t *CT_NULLABLE dims, int32_t count, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_flip(ct_tensor a, const int64_t *CT_NULLABLE dims, int32_t count, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_transpose(ct_tensor a, int64_t first, int64_t second, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_unsqueeze(ct_tensor a, int64_t dim, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_squeeze(ct_tensor a, int64_t dim, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_narrow(ct_tensor a, int64_t dim, int64_t start, int64_t length, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_select(ct_tensor a, int64_t dim, int64_t index, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_cat(const ct_tensor *CT_NULLABLE tensors, int32_t count, int64_t dim,
                 ct_tensor *out) CT_NOEXCEPT;
ct_status ct_stack(const ct_tensor *CT_NULLABLE tensors, int32_t count, int64_t dim,
                   ct_tensor *out) CT_NOEXCEPT;
ct_status ct_index_select(ct_tensor a, int64_t dim, ct_tensor index, ct_tensor *out) CT_NOEXCEPT;
/// Elements where a bool mask is true, or rows at int64 indices, of the first dimensions: a[index].
ct_status ct_index(ct_tensor a, ct_tensor index, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_gather(ct_tensor a, int64_t dim, ct_tensor index, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_scatter(ct_tensor a, int64_t dim, ct_tensor index, ct_tensor source, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_tril(ct_tensor a, int64_t diagonal, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_triu(ct_tensor a, int64_t diagonal, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_repeat_interleave(ct_tensor a, int64_t repeats, int64_t dim, ct_tensor *out) CT_NOEXCEPT;

// Layers ----------------------------------------------------------------------------------------------------------
ct_status ct_linear(ct_tensor x, ct_tensor weight, ct_tensor CT_NULLABLE bias, ct_tensor *out) CT_NOEXCEPT;
/// The square of what is positive in x weightᵀ + bias, 0 elsewhere.
ct_status ct_linear_relu_squared(ct_tensor x, ct_tensor weight, ct_tensor CT_NULLABLE bias,
                                 ct_tensor *out) CT_NOEXCEPT;
ct_status ct_embedding(ct_tensor weight, ct_tensor ids, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_layer_norm(ct_tensor x, ct_tensor CT_NULLABLE weight, ct_tensor CT_NULLABLE bias, double epsilon,
                        ct_tensor *out) CT_NOEXCEPT;
/// x + branch, of one shape, and the layer norm of that.
ct_status ct_add_layer_norm(ct_tensor x, ct_tensor branch, ct_tensor weight, ct_tensor bias, double epsilon,
                            ct_tensor *sum, ct_tensor *out) CT_NOEXCEPT;
/// Over the last dimension, computed in float32 as T5 does.
ct_status ct_rms_norm(ct_tensor x, ct_tensor weight, double epsilon, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_group_norm(ct_tensor x, int64_t groups, ct_tensor CT_NULLABLE weight, ct_tensor CT_NULLABLE bias,
                        double epsilon, ct_tensor *out) CT_NOEXCEPT;
/// In training the running statistics are updated in place.
ct_status ct_batch_norm(ct_tensor x, ct_tensor weight, ct_tensor bias, ct_tensor running_mean, ct_tensor running_var,
                        bool training, double momentum, double epsilon, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_conv2d(ct_tensor x, ct_tensor weight, ct_tensor CT_NULLABLE bias, int64_t stride, int64_t padding,
                    int64_t groups, ct_tensor *out) CT_NOEXCEPT;
/// A weight as ct_inference_conv2d takes it for channels-last inputs of the shape `input`, four sizes; nothing else can
/// read it.
ct_status ct_inference_weight(ct_tensor weight, int64_t stride, int64_t padding, int64_t groups, const int64_t *input,
                              ct_tensor *out) CT_NOEXCEPT;
/// A convolution without gradients over channels-last x, and in the same pass a sum or a clamp to 0 ... 6, not both.
ct_status ct_inference_conv2d(ct_tensor x, ct_tensor weight, ct_tensor CT_NULLABLE bias, int64_t stride,
                              int64_t padding, int64_t groups, ct_tensor CT_NULLABLE added, bool relu6,
                              ct_tensor *out) CT_NOEXCEPT;
ct_status ct_avg_pool2d(ct_tensor x, int64_t kernel, int64_t stride, ct_tensor *out) CT_NOEXCEPT;
ct_status ct_max_pool2d(ct_tensor x, int64_t kernel, int64_t stride, int64_t padding,
                        ct_tensor *out) CT_NOEXCEPT;
/// Zeroes around [N, C, H, W]; negative numbers cut off.
ct_status ct_zero_pad2d(ct_tensor x, int64_t left, int64_t right, int64_t top, int64_t bottom,
                        ct_tensor *out) CT_NOEXCEPT;
/// Bicubic resize of [N, C, H, W].
ct_status ct_interpolate_bicubic(ct_tensor x, int64_t height, int64_t width, bool align_corners, bool antialias,
                                 ct_tensor *out) CT_NOEXCEPT;
ct_status ct_dropout(ct_tensor x, double probability, ct_generator generator, ct_tensor *out) CT_NOEXCEPT;
/// q [B, H, T, D], k and v [B, H, S, D]; mask bool (true = attend) or additive. scale 0 means D^-1/2.
ct_status ct_attention(ct_tensor q, ct_tensor k, ct_tensor v, ct_tensor CT_NULLABLE mask, bool causal, double scale,
                       ct_tensor *out) CT_NOEXCEPT;
/// packed [B, T, 3 heads D]: queries, keys and values side by side; out [B, T, heads D].
ct_status ct_causal_attention(ct_tensor packed, int64_t heads, ct_tensor *out) CT_NOEXCEPT;
/// Mean over hidden [N, C] of the cross-entropy of hidden weightᵀ; weight [V, C], targets int64 [N].
ct_status ct_linear_cross_entropy(ct_tensor hidden, ct_tensor weight, ct_tensor targets, ct_tensor *out) CT_NOEXCEPT;
/// logits [N, V] (float32), targets int64 [N]; mean over the targets that are not `ignore_index`.
ct_status ct_cross_entropy(ct_tensor logits, ct_tensor targets, int64_t ignore_index, double label_smoothing,
                           ct_tensor *out) CT_NOEXCEPT;

// Optimisation ----------------------------------------------------------------------------------------------------
/// One AdamW step (decoupled decay) over `count` parameters that all have gradients; `step` counts from 1.
ct_status ct_adamw_(const ct_tensor *CT_NULLABLE parameters,
                    const ct_tensor *CT_NULLABLE gradients,
                    const ct_tensor *CT_NULLABLE first_moments,
                    const ct_tensor *CT_NULLABLE second_moments, int32_t count, double step, double lr,
                    double beta1, double beta2, double weight_decay, double epsilon) CT_NOEXCEPT;
/// Euclidean norm over all tensors together.
ct_status ct_total_norm(const ct_tensor *CT_NULLABLE tensors, int32_t count, double *out) CT_NOEXCEPT;

#ifdef __clang__
#pragma clang assume_nonnull end
#pragma clang diagnostic pop
#endif
#ifdef __cplusplus
}
#endif
