// See training.hpp. The products are libtorch's, which reach the processor's matrix units. Three things slow training
// down and are kept away here:
// - oneDNN compiles code for every new shape, 3 to 5 ms a product, and every batch has another number of tokens. Rows
//   are rounded up, so that shapes come again.
// - Products that sum over rows (gradients of weights) are 1.5 times as fast in MKL, which also sums into float32.
// - libtorch goes over memory several times between two products; once is enough.
//
// N rows (tokens), K inputs, M outputs, C width, V vocabulary, B batch, T tokens of a row, H heads, D head width.
#include "training.hpp"
#include "parallel.hpp"
#include "products.hpp"
#include "simd.hpp"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

// Sums of float32 may be taken in any order, so that they fill vectors.
#pragma clang fp reassociate(on) contract(fast)

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using ct::get;
using ct::put;
using ct::run;

// Passes over memory ---------------------------------------------------------------------------------------------

/// e^x for x <= 0, to 6 digits; e^-87 below -87.
CT_PASS float exponential(float x) {
#pragma clang fp reassociate(off)
    x = x < -87.0f ? -87.0f : x;
    const int32_t power = static_cast<int32_t>(x * 1.44269504f - 0.5f);  // towards 0: the nearest whole number
    const float rest = (x - static_cast<float>(power) * 0.693359375f) + static_cast<float>(power) * 2.12194440e-4f;
    float sum = 1.0f / 720;
    sum = sum * rest + 1.0f / 120;
    sum = sum * rest + 1.0f / 24;
    sum = sum * rest + 1.0f / 6;
    sum = sum * rest + 0.5f;
    sum = sum * rest + 1;
    sum = sum * rest + 1;
    return sum * std::bit_cast<float>((power + 127) << 23);
}

/// The largest of `count` numbers, at least one.
template <class T>
CT_PASS float maximum(const T *values, int64_t count) {
    constexpr int64_t lanes = 64;
    float largest = get(values);
    int64_t i = 0;
    if (count >= lanes) {
        float lane[lanes];
        for (int64_t l = 0; l < lanes; ++l) lane[l] = get(values + l);
        for (i = lanes; i + lanes <= count; i += lanes) {
            CT_LANES for (int64_t l = 0; l < lanes; ++l) {
                const float value = get(values + i + l);
                lane[l] = lane[l] < value ? value : lane[l];
            }
        }
        for (float value : lane) largest = std::max(largest, value);
    }
    for (; i < count; ++i) largest = std::max(largest, get(values + i));
    return largest;
}

/// Threads that passes over so many numbers deserve.
int64_t threads(int64_t numbers) { return numbers >> 15; }

// Products -------------------------------------------------------------------------------------------------------

/// Rows of a product are a multiple of it.
constexpr int64_t row_unit = 64;

int64_t rounded_up(int64_t count, int64_t unit) { return (count + unit - 1) / unit * unit; }

/// An uninitialised `[N, M]` with memory for a multiple of `row_unit` rows, 0 in the spare ones.
at::Tensor make_rows(int64_t N, int64_t M, const at::TensorOptions &options) {
    const int64_t whole = rounded_up(N, row_unit);
    at::Tensor rows = at::empty({whole, M}, options);
    rows.narrow(0, N, whole - N).zero_();
    return rows.resize_({N, M});
}

/// Whether a product may read `count` rows where x is. Where rows end within a tile of 32 numbers, oneDNN reads on
/// into the next one and multiplies that by 0, which NaNs in foreign memory would survive.
bool has_spare_rows(const at::Tensor &x, int64_t count) {
    const int64_t held = static_cast<int64_t>(x.storage().nbytes() / x.element_size()) - x.storage_offset();
    return x.size(1) % 32 == 0 && held >= count * x.size(1);
}

/// x weight, x `[N, K]` contiguous, weight `[K, M]`. Pieces of rows that stay in the cache for what comes next would
/// cost a quarter more than the whole: the weight is packed anew for each.
at::Tensor product(const at::Tensor &x, const at::Tensor &weight) {
    const int64_t N = x.size(0), K = x.size(1), M = weight.size(1), whole = rounded_up(N, row_unit);
    at::Tensor out = make_rows(N, M, x.options()), rows = out.as_strided({whole, M}, {M, 1}), input;
    if (has_spare_rows(x, whole)) {
        input = x.as_strided({whole, K}, {K, 1}, x.storage_offset());
    } else {
        input = at::zeros({whole, K}, x.options());
        input.narrow(0, 0, N).copy_(x);
    }
    ct::mm_into(rows, input, weight);
    return out;
}

/// MKL's product of bfloat16 matrices into float32, where libtorch has brought MKL along and the processor has units
/// for it; null elsewhere.
using NarrowProduct = void (*)(int layout, int transposed_a, int transposed_b, int m, int n, int k, float alpha,
                               const at::BFloat16 *a, int lda, const at::BFloat16 *b, int ldb, float beta, float *c,
                               int ldc);

NarrowProduct narrow_product() {
    int32_t units = CT_BFLOAT16_NONE;
    if (ct_bfloat16_units(&units) != 0 || units != CT_BFLOAT16_AMX) return nullptr;
    static const NarrowProduct found =
        reinterpret_cast<NarrowProduct>(dlsym(RTLD_DEFAULT, "cblas_gemm_bf16bf16f32"));
    return found;
}

/// Adds aᵀ b to `sum`, or sets it. a `[N, K]` and b `[N, M]` contiguous, sum float32 `[K, M]` contiguous.
void add_row_products(const at::Tensor &a, const at::Tensor &b, at::Tensor &sum, bool adds) {
    const int64_t N = a.size(0), K = a.size(1), M = b.size(1);
    // MKL runs it on one thread.
    NarrowProduct narrow =
        a.scalar_type() == at::kBFloat16 && at::get_num_threads() == 1 ? narrow_product() : nullptr;
    if (narrow && N > 0 && std::max({N, K, M}) <= std::numeric_limits<int>::max()) {
        constexpr int row_major = 101, plain = 111, transposed = 112;
        narrow(row_major, transposed, plain, static_cast<int>(K), static_cast<int>(M), static_cast<int>(N), 1,
               a.const_data_ptr<at::BFloat16>(), static_cast<int>(K), b.const_data_ptr<at::BFloat16>(),
               static_cast<int>(M), adds ? 1 : 0, sum.mutable_data_ptr<float>(), static_cast<int>(M));
    } else if (adds) {
        sum.add_(ct::wide_mm(a.t(), b));
    } else {
        sum.copy_(ct::wide_mm(a.t(), b));
    }
}

bool is_number(const at::Tensor &tensor) {
    return tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16;
}

/// Whether passes can read it as rows of numbers on the CPU.
bool is_plain(const at::Tensor &tensor) {
    return tensor.is_cpu() && tensor.layout() == at::kStrided && is_number(tensor);
}

bool is_parameter(const at::Tensor &tensor, int64_t count) {
    return is_plain(tensor) && tensor.scalar_type() == at::kFloat && tensor.dim() == 1 && tensor.size(0) == count
        && tensor.is_contiguous();
}

bool wants_gradients(std::initializer_list<at::Tensor> tensors) {
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

// Linear ---------------------------------------------------------------------------------------------------------

/// Adds the bias to rows, and squares what is positive.
template <class T, bool squared>
CT_PASS void finish_rows(T *y, const float *bias, int64_t rows, int64_t M) {
    for (int64_t r = 0; r < rows; ++r, y += M) {
        CT_LANES for (int64_t m = 0; m < M; ++m) {
            float value = get(y + m) + bias[m];
            if (squared) {
                value = value > 0 ? value : 0;
                value *= value;
            }
            put(y + m, value);
        }
    }
}

template <class T, bool squared>
CT_PASS float column_part(const T *dy, const T *y, T *dz, int64_t i) {
    float value = get(dy + i);
    if (squared) {
        value *= 2 * __builtin_elementwise_sqrt(get(y + i));
        put(dz + i, value);
    }
    return value;
}

/// Sums the columns `first ..< last` of dy `[N, M]`. With `squared` those of dz, computed from dy and the squares
/// y: dz = 2 sqrt(y) dy.
template <class T, bool squared>
CT_PASS void sum_columns(const T *dy, const T *y, T *dz, float *sums, int64_t N, int64_t M, int64_t first,
                         int64_t last) {
    for (int64_t m = first; m < last; ++m) sums[m] = 0;
    constexpr int64_t together = 4;  // rows, so that the sums are loaded and stored less often
    int64_t n = 0;
    for (; n + together <= N; n += together) {
        CT_LANES for (int64_t m = first; m < last; ++m) {
            float sum = sums[m];
            for (int64_t r = 0; r < together; ++r) sum += column_part<T, squared>(dy, y, dz, (n + r) * M + m);
            sums[m] = sum;
        }
    }
    for (; n < N; ++n) {
        CT_LANES for (int64_t m = first; m < last; ++m) sums[m] += column_part<T, squared>(dy, y, dz, n * M + m);
    }
}

struct TrainedLinear : Function<TrainedLinear> {
    static at::Tensor forward(AutogradContext *context, const at::Tensor &x, const at::Tensor &weight,
                              const std::optional<at::Tensor> &bias, bool squared) {
        const int64_t K = weight.size(1), M = weight.size(0);
        const at::Tensor rows = x.reshape({-1, K}).contiguous();
        const at::Tensor narrow = weight.to(x.scalar_type());
        at::Tensor y = product(rows, narrow.t());
        if (bias || squared) {
            const at::Tensor offset = bias ? *bias : at::zeros({M}, weight.options());
            with_type(x, [&](auto *type) {
                using T = Element<decltype(type)>;
                const float *added = offset.const_data_ptr<float>();
                T *values = y.mutable_data_ptr<T>();
                ct::parallel(y.size(0), threads(y.numel()), [&](int64_t first, int64_t last) {
                    if (squared) {
                        run<finish_rows<T, true>>(values + first * M, added, last - first, M);
                    } else {
                        run<finish_rows<T, false>>(values + first * M, added, last - first, M);
                    }
                });
            });
        }
        std::vector<int64_t> sizes = x.sizes().vec();
        sizes.back() = M;
        y = y.view(sizes);
        context->saved_data["squared"] = squared;
        context->saved_data["by_rows"] = weight.is_contiguous();
        context->saved_data["has_bias"] = bias.has_value();
        context->save_for_backward(squared ? variable_list{rows, narrow, y} : variable_list{rows, narrow});
        return y;
    }

    static variable_list backward(AutogradContext *context, const variable_list &gradients) {
        const variable_list saved = context->get_saved_variables();
        const at::Tensor &x = saved[0], &weight = saved[1];
        const bool squared = context->saved_data["squared"].toBool();
        const int64_t N = x.size(0), K = weight.size(1), M = weight.size(0);
        const at::Tensor dy = gradients[0].contiguous();
        at::Tensor dz = squared ? make_rows(N, M, x.options()) : dy.view({N, M});
        at::Tensor sums = at::empty({M}, x.options().dtype(at::kFloat));
        if (squared || context->saved_data["has_bias"].toBool()) {
            constexpr int64_t unit = 64;
            with_type(x, [&](auto *type) {
                using T = Element<decltype(type)>;
                const T *from = dy.const_data_ptr<T>(), *squares = squared ? saved[2].const_data_ptr<T>() : from;
                T *to = squared ? dz.mutable_data_ptr<T>() : nullptr;
                float *total = sums.mutable_data_ptr<float>();
                // Threads share columns, so that their number does not change a sum.
                ct::parallel((M + unit - 1) / unit, threads(N * M), [&](int64_t first, int64_t last) {
                    const int64_t end = std::min(last * unit, M);
                    if (squared) {
                        run<sum_columns<T, true>>(from, squares, to, total, N, M, first * unit, end);
                    } else {
                        run<sum_columns<T, false>>(from, squares, to, total, N, M, first * unit, end);
                    }
                });
            });
        }
        at::Tensor dx, dw;
        if (context->needs_input_grad(0)) {
            std::vector<int64_t> sizes = gradients[0].sizes().vec();
            sizes.back() = K;
            dx = product(dz, weight).view(sizes);
        }
        if (context->needs_input_grad(1)) {
            // In the layout of the weight.
            const bool by_rows = context->saved_data["by_rows"].toBool();
            dw = at::empty(by_rows ? at::IntArrayRef{M, K} : at::IntArrayRef{K, M}, sums.options());
            add_row_products(by_rows ? dz : x, by_rows ? x : dz, dw, /*adds=*/false);
            if (!by_rows) dw = dw.t();
        }
        if (!context->saved_data["has_bias"].toBool()) sums = at::Tensor();
        return {dx, dw, sums, {}};
    }
};

// Residual sum and layer norm ------------------------------------------------------------------------------------

/// sum = x + branch and its norm, for rows of C; `statistics` keeps the mean and 1 / standard deviation of each.
template <class T>
CT_PASS void add_norm_rows(const T *x, const T *branch, const float *weight, const float *bias, float epsilon, T *sum,
                           T *out, float *statistics, int64_t rows, int64_t C) {
    for (int64_t r = 0; r < rows; ++r, x += C, branch += C, sum += C, out += C, statistics += 2) {
        float total = 0;
        CT_LANES for (int64_t c = 0; c < C; ++c) {
            put(sum + c, get(x + c) + get(branch + c));
            total += get(sum + c);
        }
        const float mean = total / static_cast<float>(C);
        float squares = 0;
        CT_LANES for (int64_t c = 0; c < C; ++c) {
            const float distance = get(sum + c) - mean;
            squares += distance * distance;
        }
        const float scale = 1 / __builtin_elementwise_sqrt(squares / static_cast<float>(C) + epsilon);
        CT_LANES for (int64_t c = 0; c < C; ++c) put(out + c, (get(sum + c) - mean) * scale * weight[c] + bias[c]);
        statistics[0] = mean;
        statistics[1] = scale;
    }
}

/// The gradient of x, of the sum and the norm together; `sums` `[2, C]` takes those of weight and
/// bias. dsum may be null.
template <class T>
CT_PASS void add_norm_gradient(const T *sum, const float *statistics, const float *weight, const T *dsum, const T *dout,
                               T *dx, float *sums, int64_t rows, int64_t C) {
    float *dweight = sums, *dbias = sums + C;
    for (int64_t c = 0; c < 2 * C; ++c) sums[c] = 0;
    for (int64_t r = 0; r < rows; ++r, sum += C, dout += C, dx += C, statistics += 2) {
        const float mean = statistics[0], scale = statistics[1];
        float plain = 0, along = 0;
        CT_LANES for (int64_t c = 0; c < C; ++c) {
            const float gradient = get(dout + c), normal = (get(sum + c) - mean) * scale;
            dbias[c] += gradient;
            dweight[c] += gradient * normal;
            plain += gradient * weight[c];
            along += gradient * weight[c] * normal;
        }
        plain /= static_cast<float>(C);
        along /= static_cast<float>(C);
        if (dsum) {
            CT_LANES for (int64_t c = 0; c < C; ++c) {
                const float normal = (get(sum + c) - mean) * scale;
                put(dx + c, (get(dout + c) * weight[c] - plain - normal * along) * scale + get(dsum + c));
            }
            dsum += C;
        } else {
            CT_LANES for (int64_t c = 0; c < C; ++c) {
                const float normal = (get(sum + c) - mean) * scale;
                put(dx + c, (get(dout + c) * weight[c] - plain - normal * along) * scale);
            }
        }
    }
}

struct AddNorm : Function<AddNorm> {
    static variable_list forward(AutogradContext *context, const at::Tensor &x, const at::Tensor &branch,
                                 const at::Tensor &weight, const at::Tensor &bias, double epsilon) {
        const int64_t C = x.size(-1), N = x.numel() / C;
        const at::Tensor first = x.contiguous(), second = branch.contiguous();
        at::Tensor sum = make_rows(N, C, x.options()), out = make_rows(N, C, x.options());
        at::Tensor statistics = at::empty({N, 2}, weight.options());
        with_type(x, [&](auto *type) {
            using T = Element<decltype(type)>;
            ct::parallel(N, threads(N * C), [&](int64_t from, int64_t to) {
                run<add_norm_rows<T>>(first.const_data_ptr<T>() + from * C, second.const_data_ptr<T>() + from * C,
                                      weight.const_data_ptr<float>(), bias.const_data_ptr<float>(),
                                      static_cast<float>(epsilon), sum.mutable_data_ptr<T>() + from * C,
                                      out.mutable_data_ptr<T>() + from * C,
                                      statistics.mutable_data_ptr<float>() + from * 2, to - from, C);
            });
        });
        sum = sum.view(x.sizes());
        context->set_materialize_grads(false);
        context->save_for_backward({sum, statistics, weight});
        return {sum, out.view(x.sizes())};
    }

    static variable_list backward(AutogradContext *context, const variable_list &gradients) {
        if (!gradients[1].defined()) return {gradients[0], gradients[0], {}, {}, {}};
        const variable_list saved = context->get_saved_variables();
        const at::Tensor &sum = saved[0], &statistics = saved[1], &weight = saved[2];
        const int64_t C = sum.size(-1), N = sum.numel() / C;
        const at::Tensor dout = gradients[1].contiguous();
        const at::Tensor dsum = gradients[0].defined() ? gradients[0].contiguous() : at::Tensor();
        at::Tensor dx = make_rows(N, C, sum.options());
        // Of 256 rows each, whatever the number of threads.
        constexpr int64_t share = 256;
        const int64_t blocks = (N + share - 1) / share;
        at::Tensor sums = at::empty({blocks, 2, C}, weight.options());
        with_type(sum, [&](auto *type) {
            using T = Element<decltype(type)>;
            ct::parallel(blocks, threads(N * C), [&](int64_t from, int64_t to) {
                for (int64_t b = from; b < to; ++b) {
                    const int64_t n = b * share;
                    run<add_norm_gradient<T>>(
                        sum.const_data_ptr<T>() + n * C, statistics.const_data_ptr<float>() + n * 2,
                        weight.const_data_ptr<float>(), dsum.defined() ? dsum.const_data_ptr<T>() + n * C : nullptr,
                        dout.const_data_ptr<T>() + n * C, dx.mutable_data_ptr<T>() + n * C,
                        sums.mutable_data_ptr<float>() + b * 2 * C, std::min(share, N - n), C);
                }
            });
        });
        dx = dx.view(sum.sizes());
        sums = sums.sum(0);
        return {dx, dx, sums.select(0, 0), sums.select(0, 1), {}};
    }
};

// Attention ------------------------------------------------------------------------------------------------------

/// Numbers that are gone through together, where rows are too short for the compiler's own vectors and rests.
constexpr int64_t block = 16;

/// How the pairs of a row and a head are shared out: groups of one size, each a batched product of one shape.
struct Pairs {
    int64_t B, T, H, D;
    int64_t length;  // T rounded up
    int64_t rows;    // of the batch, in a group
    int64_t groups;

    Pairs(const at::Tensor &packed, int64_t heads) {
        B = packed.size(0);
        T = packed.size(1);
        H = heads;
        D = packed.size(2) / 3 / heads;
        length = rounded_up(T, block);
        rows = std::max<int64_t>(1, 512 / length) * at::get_num_threads();
        groups = (B + rows - 1) / rows;
    }

    int64_t size() const { return rows * H; }
};

/// Scores become weights, in place: row t sees the columns 0 ... t. `length` is a multiple of `block`.
template <class T>
CT_PASS void causal_softmax(T *scores, float scale, int64_t count, int64_t length) {
    float row[256];
    for (int64_t t = 0; t < length; ++t, scores += length) {
        const int64_t seen = t < count ? t + 1 : 0, end = (seen + block - 1) / block * block;
        float lanes[block];
        for (int64_t l = 0; l < block; ++l) lanes[l] = -std::numeric_limits<float>::infinity();
        for (int64_t s = 0; s < end; s += block) {
            for (int64_t l = 0; l < block; ++l) {
                const float score = s + l < seen ? get(scores + s + l) : lanes[l];
                lanes[l] = score > lanes[l] ? score : lanes[l];
            }
        }
        float largest = lanes[0], sum = 0;
        for (int64_t l = 1; l < block; ++l) largest = lanes[l] > largest ? lanes[l] : largest;
        for (int64_t l = 0; l < block; ++l) lanes[l] = 0;
        for (int64_t s = 0; s < end; s += block) {
            for (int64_t l = 0; l < block; ++l) {
                const float score = s + l < seen ? get(scores + s + l) : largest;
                row[s + l] = s + l < seen ? exponential((score - largest) * scale) : 0;
                lanes[l] += row[s + l];
            }
        }
        for (int64_t l = 0; l < block; ++l) sum += lanes[l];
        const float share = 1 / sum;
        for (int64_t s = 0; s < end; s += block) {
            for (int64_t l = 0; l < block; ++l) put(scores + s + l, row[s + l] * share);
        }
        std::fill(scores + end, scores + length, T(0));
    }
}

/// Gradients of weights become those of scores, in place.
template <class T>
CT_PASS void causal_softmax_gradient(const T *weights, T *gradient, float scale, int64_t count, int64_t length) {
    for (int64_t t = 0; t < length; ++t, weights += length, gradient += length) {
        const int64_t end = t < count ? (t + block) / block * block : 0;
        float lanes[block] = {}, sum = 0;
        // Beyond t the weights are 0.
        for (int64_t s = 0; s < end; s += block) {
            for (int64_t l = 0; l < block; ++l) lanes[l] += get(weights + s + l) * get(gradient + s + l);
        }
        for (int64_t l = 0; l < block; ++l) sum += lanes[l];
        for (int64_t s = 0; s < end; s += block) {
            for (int64_t l = 0; l < block; ++l) {
                put(gradient + s + l, get(weights + s + l) * (get(gradient + s + l) - sum) * scale);
            }
        }
        std::fill(gradient + end, gradient + length, T(0));
    }
}

struct CausalAttention : Function<CausalAttention> {
    static constexpr int64_t longest = 256;

    /// One of `parts` parts of `[B, T, parts, H, D]`, rows of a group, as `[rows H, length, D]`; the rest is 0.
    template <class T>
    static void pack(const Pairs &pairs, const T *from, int64_t part, int64_t parts, int64_t group, T *to) {
        const int64_t width = pairs.H * pairs.D, size = pairs.length * pairs.D;
        ct::parallel(pairs.size(), threads(pairs.size() * size), [&](int64_t first, int64_t last) {
            for (int64_t pair = first; pair < last; ++pair) {
                const int64_t b = group * pairs.rows + pair / pairs.H, h = pair % pairs.H;
                const int64_t offset = (b * pairs.T * parts + part) * width + h * pairs.D;
                const int64_t count = b < pairs.B ? pairs.T : 0;
                T *rows = to + pair * size;
                for (int64_t t = 0; t < count; ++t) {
                    std::copy_n(from + offset + t * parts * width, pairs.D, rows + t * pairs.D);
                }
                std::fill(rows + count * pairs.D, rows + size, T(0));
            }
        });
    }

    template <class T>
    static void unpack(const Pairs &pairs, const T *from, int64_t part, int64_t parts, int64_t group, T *to) {
        const int64_t width = pairs.H * pairs.D, size = pairs.length * pairs.D;
        const int64_t count = std::min(pairs.rows, pairs.B - group * pairs.rows) * pairs.H;
        ct::parallel(count, threads(count * size), [&](int64_t first, int64_t last) {
            for (int64_t pair = first; pair < last; ++pair) {
                const int64_t b = group * pairs.rows + pair / pairs.H, h = pair % pairs.H;
                T *rows = to + (b * pairs.T * parts + part) * width + h * pairs.D;
                for (int64_t t = 0; t < pairs.T; ++t) {
                    std::copy_n(from + pair * size + t * pairs.D, pairs.D, rows + t * parts * width);
                }
            }
        });
    }

    static at::Tensor forward(AutogradContext *context, const at::Tensor &given, int64_t heads) {
        const at::Tensor packed = given.contiguous();
        const Pairs pairs(packed, heads);
        const int64_t G = pairs.size(), length = pairs.length;
        const float scale = 1 / std::sqrt(static_cast<float>(pairs.D));
        at::Tensor inputs = at::empty({pairs.groups, 3, G, length, pairs.D}, packed.options());
        at::Tensor weights = at::empty({pairs.groups, G, length, length}, packed.options());
        at::Tensor mixed = at::empty({G, length, pairs.D}, packed.options());
        at::Tensor out = make_rows(pairs.B * pairs.T, pairs.H * pairs.D, packed.options());
        with_type(packed, [&](auto *type) {
            using T = Element<decltype(type)>;
            for (int64_t group = 0; group < pairs.groups; ++group) {
                at::Tensor input = inputs[group], weight = weights[group];
                for (int64_t part = 0; part < 3; ++part) {
                    pack(pairs, packed.const_data_ptr<T>(), part, 3, group, input[part].mutable_data_ptr<T>());
                }
                ct::bmm_into(weight, input[0], input[1].transpose(1, 2));
                T *scores = weight.mutable_data_ptr<T>();
                ct::parallel(G, threads(G * length * length), [&](int64_t first, int64_t last) {
                    for (int64_t pair = first; pair < last; ++pair) {
                        run<causal_softmax<T>>(scores + pair * length * length, scale, pairs.T, length);
                    }
                });
                ct::bmm_into(mixed, weight, input[2]);
                unpack(pairs, mixed.const_data_ptr<T>(), 0, 1, group, out.mutable_data_ptr<T>());
            }
        });
        context->saved_data["heads"] = heads;
        context->save_for_backward({inputs, weights});
        return out.view({pairs.B, pairs.T, pairs.H * pairs.D});
    }

    static variable_list backward(AutogradContext *context, const variable_list &gradients) {
        const variable_list saved = context->get_saved_variables();
        const at::Tensor dout = gradients[0].contiguous();
        const int64_t width = 3 * dout.size(2);
        at::Tensor out = make_rows(dout.size(0) * dout.size(1), width, dout.options())
                             .view({dout.size(0), dout.size(1), width});
        const Pairs pairs(out, context->saved_data["heads"].toInt());
        const int64_t G = pairs.size(), length = pairs.length;
        const float scale = 1 / std::sqrt(static_cast<float>(pairs.D));
        at::Tensor dmixed = at::empty({G, length, pairs.D}, dout.options()), dinput = at::empty_like(dmixed);
        at::Tensor dscores = at::empty({G, length, length}, dout.options());
        with_type(dout, [&](auto *type) {
            using T = Element<decltype(type)>;
            T *to = out.mutable_data_ptr<T>(), *part = dinput.mutable_data_ptr<T>();
            for (int64_t group = 0; group < pairs.groups; ++group) {
                const at::Tensor input = saved[0][group], weight = saved[1][group];
                pack(pairs, dout.const_data_ptr<T>(), 0, 1, group, dmixed.mutable_data_ptr<T>());
                ct::bmm_into(dinput, weight.transpose(1, 2), dmixed);
                unpack(pairs, part, 2, 3, group, to);
                ct::bmm_into(dscores, dmixed, input[2].transpose(1, 2));
                const T *shares = weight.const_data_ptr<T>();
                T *scores = dscores.mutable_data_ptr<T>();
                ct::parallel(G, threads(G * length * length), [&](int64_t first, int64_t last) {
                    for (int64_t pair = first; pair < last; ++pair) {
                        const int64_t start = pair * length * length;
                        run<causal_softmax_gradient<T>>(shares + start, scores + start, scale, pairs.T, length);
                    }
                });
                ct::bmm_into(dinput, dscores, input[1]);
                unpack(pairs, part, 0, 3, group, to);
                ct::bmm_into(dinput, dscores.transpose(1, 2), input[0]);
                unpack(pairs, part, 1, 3, group, to);
            }
        });
        return {out, {}};
    }
};

// Cross-entropy --------------------------------------------------------------------------------------------------

/// Adds up the losses of rows of scores `[rows, stride]`, of which V count, and turns the scores into their gradient:
/// the softmax, less 1 at the target, times `scale`. `exponentials` has room for V.
template <class T>
CT_PASS void cross_entropy_rows(T *scores, const int64_t *targets, float scale, bool wanted, float *exponentials,
                                double *loss, int64_t rows, int64_t V, int64_t stride) {
    for (int64_t r = 0; r < rows; ++r, scores += stride) {
        const float largest = maximum(scores, V), target = get(scores + targets[r]);
        float sum = 0;
        CT_LANES for (int64_t v = 0; v < V; ++v) {
            exponentials[v] = exponential(get(scores + v) - largest);
            sum += exponentials[v];
        }
        loss[r] = std::log(static_cast<double>(sum)) + static_cast<double>(largest - target);
        if (!wanted) continue;
        const float share = scale / sum;
        CT_LANES for (int64_t v = 0; v < V; ++v) put(scores + v, exponentials[v] * share);
        put(scores + targets[r], exponentials[targets[r]] * share - scale);
    }
}

struct LinearCrossEntropy : Function<LinearCrossEntropy> {
    /// Rows whose scores are there at the same time.
    static constexpr int64_t chunk = 256;

    static at::Tensor forward(AutogradContext *context, const at::Tensor &hidden, const at::Tensor &weight,
                              const at::Tensor &given, bool wants_dx, bool wants_dweight) {
        const bool wanted = wants_dx || wants_dweight;
        const int64_t N = hidden.size(0), C = hidden.size(1), V = weight.size(0);
        const at::Tensor x = hidden.contiguous(), targets = given.contiguous();
        const int64_t *wants = targets.const_data_ptr<int64_t>();
        for (int64_t n = 0; n < N; ++n) {
            TORCH_CHECK_INDEX(wants[n] >= 0 && wants[n] < V, "Target ", wants[n], " is out of bounds.");
        }
        // Rows of scores that start at cache lines, and a last chunk of the others' shape, for products at full speed.
        const int64_t whole = rounded_up(V, 32), step = chunk * at::get_num_threads();
        at::Tensor narrow = at::empty({whole, C}, x.options());
        narrow.narrow(0, 0, V).copy_(weight);
        narrow.narrow(0, V, whole - V).zero_();
        at::Tensor scores = at::empty({step, whole}, x.options());
        at::Tensor losses = at::empty({N}, x.options().dtype(at::kDouble));
        at::Tensor dx, dweight;
        if (wants_dx) dx = make_rows(N, C, x.options());
        if (wants_dweight) dweight = at::empty({whole, C}, weight.options());
        if (wants_dweight && N == 0) dweight.zero_();
        at::Tensor part = at::empty({step, C}, x.options()), dpart = at::empty({step, C}, x.options());
        with_type(x, [&](auto *type) {
            using T = Element<decltype(type)>;
            T *values = scores.mutable_data_ptr<T>();
            for (int64_t n = 0; n < N; n += step) {
                const int64_t rows = std::min(step, N - n);
                part.narrow(0, 0, rows).copy_(x.narrow(0, n, rows));
                part.narrow(0, rows, step - rows).zero_();
                ct::mm_into(scores, part, narrow.t());
                ct::parallel(rows, threads(rows * V), [&](int64_t first, int64_t last) {
                    std::vector<float> exponentials(static_cast<size_t>(V));
                    double *loss = losses.mutable_data_ptr<double>() + n + first;
                    run<cross_entropy_rows<T>>(values + first * whole, wants + n + first, 1 / static_cast<float>(N),
                                               wanted, exponentials.data(), loss, last - first, V, whole);
                });
                // Rows without a target have scores of 0, as columns without a word have.
                if (wants_dx) {
                    ct::mm_into(dpart, scores, narrow);
                    dx.narrow(0, n, rows).copy_(dpart.narrow(0, 0, rows));
                }
                if (wants_dweight) add_row_products(scores, part, dweight, /*adds=*/n > 0);
            }
        });
        if (wants_dweight) dweight.resize_({V, C});
        context->save_for_backward({dx, dweight});
        return losses.mean().to(at::kFloat);
    }

    static variable_list backward(AutogradContext *context, const variable_list &gradients) {
        const variable_list saved = context->get_saved_variables();
        const double factor = gradients[0].item<double>();
        variable_list scaled(5);
        for (size_t i = 0; i < saved.size(); ++i) {
            if (saved[i].defined()) scaled[i] = factor == 1 ? saved[i] : saved[i] * factor;
        }
        return scaled;
    }
};

}  // namespace

std::optional<at::Tensor> ct::trained_linear(const at::Tensor &x, const at::Tensor &weight,
                                             const std::optional<at::Tensor> &bias, bool squared) {
    if (!has_fused_layers()) return {};
    if (!is_plain(x) || !is_plain(weight) || weight.scalar_type() != at::kFloat || weight.dim() != 2) return {};
    const int64_t K = weight.size(1), M = weight.size(0);
    if (!squared && x.scalar_type() != at::kBFloat16) return {};
    if (x.dim() == 0 || x.size(-1) != K || x.numel() == 0 || M == 0) return {};
    if (!weight.is_contiguous() && !weight.t().is_contiguous()) return {};
    if (bias && !is_parameter(*bias, M)) return {};
    if (!wants_gradients({x, weight})) return {};
    return TrainedLinear::apply(x, weight, bias, squared);
}

std::optional<std::tuple<at::Tensor, at::Tensor>> ct::trained_add_norm(const at::Tensor &x, const at::Tensor &branch,
                                                                       const at::Tensor &weight, const at::Tensor &bias,
                                                                       double epsilon) {
    if (!has_fused_layers()) return {};
    if (!is_plain(x) || !is_plain(branch) || x.scalar_type() != branch.scalar_type() || x.dim() == 0) return {};
    if (x.sizes() != branch.sizes() || x.numel() == 0) return {};
    if (!is_parameter(weight, x.size(-1)) || !is_parameter(bias, x.size(-1))) return {};
    if (!wants_gradients({x, branch, weight, bias})) return {};
    variable_list results = AddNorm::apply(x, branch, weight, bias, epsilon);
    return std::make_tuple(results[0], results[1]);
}

std::optional<at::Tensor> ct::trained_attention(const at::Tensor &packed, int64_t heads) {
    if (!has_fused_layers()) return {};
    if (!is_plain(packed) || packed.dim() != 3 || packed.numel() == 0 || heads < 1) return {};
    if (packed.size(2) % (3 * heads) != 0 || packed.size(1) > CausalAttention::longest) return {};
    if (!wants_gradients({packed})) return {};
    return CausalAttention::apply(packed, heads);
}

std::optional<at::Tensor> ct::trained_cross_entropy(const at::Tensor &hidden, const at::Tensor &weight,
                                                    const at::Tensor &targets) {
    if (!has_fused_layers()) return {};
    if (!is_plain(hidden) || !is_plain(weight) || weight.scalar_type() != at::kFloat) return {};
    if (hidden.dim() != 2 || weight.dim() != 2 || hidden.size(1) != weight.size(1) || weight.numel() == 0) return {};
    if (targets.scalar_type() != at::kLong || !targets.is_cpu() || targets.dim() != 1) return {};
    if (targets.size(0) != hidden.size(0)) return {};
    return LinearCrossEntropy::apply(hidden, weight, targets, wants_gradients({hidden}), wants_gradients({weight}));
}
