// The product of a few rows with a weight. Every weight is read once and used one to twelve times, so that memory sets
// the time. libtorch's product of one row reaches 0.7 to 0.95 of this one's speed in float32, in bfloat16 at most half
// (see Docs/EXPERIMENTS.md).
//
// What makes the difference is the order of reading: one core gets most out of memory with a few streams that each run
// on and on. The weight is cut into four parts along its rows, and the four are read side by side, from their first row
// to their last. R rows of x, S streams, K inputs, N outputs.
#include "row_product.hpp"
#include "parallel.hpp"
#include "simd.hpp"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace {

struct Shape {
    int64_t rows, K, N;
    bool transposed;  // the weight is [K, N]
};

/// Rows of x at most.
constexpr int64_t most_rows = 12;

}  // namespace

// AVX-512 --------------------------------------------------------------------------------------------------------

#if defined(__x86_64__)
#include <immintrin.h>

namespace {

#define CT_AVX512_INLINE CT_AVX512 __attribute__((always_inline)) inline

constexpr int64_t lanes = 16;
constexpr int stream_count = 4;
constexpr int64_t cache_line = 64;
/// Bytes that a stream is fetched ahead of its use.
constexpr int64_t ahead = 2048;
constexpr __mmask16 all_lanes = 0xffff;
/// Numbers of a weight [K, N] that are gone through column by column: this piece and the next stay in a core's cache.
constexpr int64_t piece = 1 << 16;

/// The lanes of the vector that starts `left` elements before the end.
inline __mmask16 lanes_of(int64_t left) {
    return left >= lanes ? all_lanes : static_cast<__mmask16>((1u << left) - 1);
}

CT_AVX512_INLINE __m512 load(const float *from, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, from); }

CT_AVX512_INLINE __m512 load(const at::BFloat16 *from, __mmask16 mask) {
    // bfloat16 is the upper half of float32.
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

template <class W>
CT_AVX512_INLINE void prefetch(const W *from, int64_t bytes) {
    // May lie behind the end of the weight, where it does nothing.
    _mm_prefetch(reinterpret_cast<const char *>(reinterpret_cast<uintptr_t>(from) + static_cast<uintptr_t>(bytes)),
                 _MM_HINT_T0);
}

// Weight [N, K] --------------------------------------------------------------------------------------------------

template <int R, int S, class W>
CT_AVX512_INLINE void add_products(__m512 (&sums)[S][R], const float *x, int64_t K, const W *weight, int64_t distance,
                                   __mmask16 mask) {
    __m512 row[R];
    for (int r = 0; r < R; ++r) row[r] = load(x + r * K, mask);
    for (int s = 0; s < S; ++s) {
        __m512 part = load(weight + s * distance, mask);
        for (int r = 0; r < R; ++r) sums[s][r] = _mm512_fmadd_ps(part, row[r], sums[s][r]);
    }
}

/// Adds to y `[R, N]` the dot products of x `[R, K]` with S x `count` rows of `weight`.
template <int R, int S, class W>
CT_AVX512 void dot_products(const float *x, int64_t K, const W *weight, int64_t count, float *y, int64_t N) {
    constexpr int64_t line = cache_line / static_cast<int64_t>(sizeof(W));
    const int64_t distance = count * K;
    for (int64_t n = 0; n < count; ++n, weight += K) {
        __m512 sums[S][R];
        for (int s = 0; s < S; ++s) {
            for (int r = 0; r < R; ++r) sums[s][r] = _mm512_setzero_ps();
        }
        int64_t k = 0;
        for (; k + line <= K; k += line) {
            for (int s = 0; s < S; ++s) prefetch(weight + s * distance + k, ahead);
            for (int64_t i = k; i < k + line; i += lanes) {
                add_products<R, S>(sums, x + i, K, weight + i, distance, all_lanes);
            }
        }
        for (; k < K; k += lanes) add_products<R, S>(sums, x + k, K, weight + k, distance, lanes_of(K - k));
        for (int s = 0; s < S; ++s) {
            for (int r = 0; r < R; ++r) y[r * N + s * count + n] += _mm512_reduce_add_ps(sums[s][r]);
        }
    }
}

// Weight [K, N] --------------------------------------------------------------------------------------------------

template <int R, int S, class W>
CT_AVX512_INLINE void add_rows(const __m512 (&factors)[S][R], const W *weight, int64_t distance, float *y, int64_t N,
                               __mmask16 mask) {
    __m512 sums[R];
    for (int r = 0; r < R; ++r) sums[r] = load(y + r * N, mask);
    for (int s = 0; s < S; ++s) {
        __m512 part = load(weight + s * distance, mask);
        for (int r = 0; r < R; ++r) sums[r] = _mm512_fmadd_ps(part, factors[s][r], sums[r]);
    }
    for (int r = 0; r < R; ++r) _mm512_mask_storeu_ps(y + r * N, mask, sums[r]);
}

/// Adds to the columns `first ..< last` of y `[R, N]` those of S x `count` rows of `weight`, times what x `[R, K]`
/// holds for each. y stays in the cache meanwhile.
template <int R, int S, class W>
CT_AVX512 void sum_rows(const float *x, int64_t K, const W *weight, int64_t count, float *y, int64_t N, int64_t first,
                        int64_t last) {
    constexpr int64_t line = cache_line / static_cast<int64_t>(sizeof(W));
    const int64_t distance = count * N;
    for (int64_t k = 0; k < count; ++k, weight += N) {
        __m512 factors[S][R];
        for (int s = 0; s < S; ++s) {
            for (int r = 0; r < R; ++r) factors[s][r] = _mm512_set1_ps(x[r * K + s * count + k]);
        }
        int64_t n = first;
        for (; n + line <= last; n += line) {
            // The same columns of the next row: those beside may be another thread's.
            for (int s = 0; s < S; ++s) prefetch(weight + s * distance + n, N * static_cast<int64_t>(sizeof(W)));
            for (int64_t i = n; i < n + line; i += lanes) {
                add_rows<R, S>(factors, weight + i, distance, y + i, N, all_lanes);
            }
        }
        for (; n < last; n += lanes) add_rows<R, S>(factors, weight + n, distance, y + n, N, lanes_of(last - n));
    }
}

/// Goes through rows of a weight in the order in which they lie in memory, a cache line at a time, to fetch them ahead.
struct Fetch {
    const char *line, *end;
    int64_t width, distance;  // bytes of a row, and from one row to the next

    CT_AVX512_INLINE void next() {
        _mm_prefetch(line, _MM_HINT_T1);
        line += cache_line;
        if (line >= end) {
            line = end - width + distance;
            end += distance;
        }
    }
};

/// Adds to the columns `first ..< last` of y `[R, N]` those of `count` rows of `weight`, times what x `[R, K]` holds
/// for each, V vectors of columns at a time: with many rows of x it is the sums that stay in registers, and the weight
/// that stays in the cache, to which `fetch` brings what comes after.
template <int R, int V, class W>
CT_AVX512 void sum_columns(const float *x, int64_t K, const W *weight, int64_t count, float *y, int64_t N,
                           int64_t first, int64_t last, Fetch &fetch) {
    constexpr int lines = V * lanes * static_cast<int64_t>(sizeof(W)) / cache_line;
    for (int64_t n = first; n < last; n += V * lanes) {
        __mmask16 masks[V];
        __m512 sums[V][R];
        for (int v = 0; v < V; ++v) {
            masks[v] = last - n > v * lanes ? lanes_of(last - n - v * lanes) : 0;
            for (int r = 0; r < R; ++r) sums[v][r] = load(y + r * N + n + v * lanes, masks[v]);
        }
        const W *row = weight + n;
        for (int64_t k = 0; k < count; ++k, row += N) {
            for (int line = 0; line < lines; ++line) fetch.next();
            __m512 part[V];
            for (int v = 0; v < V; ++v) part[v] = load(row + v * lanes, masks[v]);
            for (int r = 0; r < R; ++r) {
                const __m512 factor = _mm512_set1_ps(x[r * K + k]);
                for (int v = 0; v < V; ++v) sums[v][r] = _mm512_fmadd_ps(part[v], factor, sums[v][r]);
            }
        }
        for (int v = 0; v < V; ++v) {
            for (int r = 0; r < R; ++r) _mm512_mask_storeu_ps(y + r * N + n + v * lanes, masks[v], sums[v][r]);
        }
    }
}

// Both -----------------------------------------------------------------------------------------------------------

/// Outputs `first ..< last` of y `[R, N]`, to which the products are added.
template <int R, class W>
void products(const Shape &shape, const float *x, const W *weight, float *y, int64_t first, int64_t last) {
    const int64_t K = shape.K, N = shape.N;
    if (shape.transposed) {
        const int64_t count = K / stream_count, done = count * stream_count;
        sum_rows<R, stream_count>(x, K, weight, count, y, N, first, last);
        sum_rows<R, 1>(x + done, K, weight + done * N, K - done, y, N, first, last);
    } else {
        const int64_t count = (last - first) / stream_count, done = first + count * stream_count;
        dot_products<R, stream_count>(x, K, weight + first * K, count, y + first, N);
        dot_products<R, 1>(x, K, weight + done * K, last - done, y + done, N);
    }
}

/// As `products`, for so many rows that V vectors of sums for each fill the registers.
template <int R, int V, class W>
void many_products(const Shape &shape, const float *x, const W *weight, float *y, int64_t first, int64_t last) {
    const int64_t K = shape.K, N = shape.N;
    if (shape.transposed) {
        const int64_t width = (last - first) * static_cast<int64_t>(sizeof(W));
        const int64_t rows = std::max<int64_t>(8, piece / (last - first));
        const char *start = reinterpret_cast<const char *>(weight + std::min(rows, K) * N + first);
        Fetch fetch{start, start + width, width, N * static_cast<int64_t>(sizeof(W))};
        for (int64_t k = 0; k < K; k += rows) {
            sum_columns<R, V>(x + k, K, weight + k * N, std::min(rows, K - k), y, N, first, last, fetch);
        }
    } else {
        const int64_t count = (last - first) / V, done = first + count * V;
        dot_products<R, V>(x, K, weight + first * K, count, y + first, N);
        dot_products<R, 1>(x, K, weight + done * K, last - done, y + done, N);
    }
}

template <class W>
void products(const Shape &shape, const float *x, const W *weight, float *y, int64_t first, int64_t last) {
    switch (shape.rows) {
    case 1: return products<1>(shape, x, weight, y, first, last);
    case 2: return products<2>(shape, x, weight, y, first, last);
    case 3: return products<3>(shape, x, weight, y, first, last);
    case 4: return products<4>(shape, x, weight, y, first, last);
    case 5: return many_products<5, 4>(shape, x, weight, y, first, last);
    case 6: return many_products<6, 4>(shape, x, weight, y, first, last);
    case 7: return many_products<7, 2>(shape, x, weight, y, first, last);
    case 8: return many_products<8, 2>(shape, x, weight, y, first, last);
    case 9: return many_products<9, 2>(shape, x, weight, y, first, last);
    case 10: return many_products<10, 2>(shape, x, weight, y, first, last);
    case 11: return many_products<11, 2>(shape, x, weight, y, first, last);
    default: return many_products<12, 2>(shape, x, weight, y, first, last);
    }
}

}  // namespace

#endif

// Any processor --------------------------------------------------------------------------------------------------

// The same sums by loops over vectors that the compiler cuts to the processor's own. The weight is read in order, and
// every output is summed in one order, whichever others are computed beside it.
namespace {

#pragma clang fp contract(fast)

constexpr int64_t narrow_lanes = 8;
using Lanes = float __attribute__((ext_vector_type(narrow_lanes)));

// Vectors go by reference: by value they would be passed differently by code for other processors.
CT_PASS void fetch(const float *from, Lanes &lanes) { std::memcpy(&lanes, from, sizeof lanes); }

CT_PASS void fetch(const at::BFloat16 *from, Lanes &lanes) {
    uint16_t __attribute__((ext_vector_type(narrow_lanes))) bits;
    std::memcpy(&bits, from, sizeof bits);
    using Wide = uint32_t __attribute__((ext_vector_type(narrow_lanes)));
    const Wide wide = __builtin_convertvector(bits, Wide) << 16;
    std::memcpy(&lanes, &wide, sizeof lanes);
}

/// The first `count` lanes; the rest is 0.
template <class W>
CT_PASS void fetch(const W *from, int64_t count, Lanes &lanes) {
    lanes = 0;
    for (int64_t l = 0; l < count; ++l) lanes[l] = ct::get(from + l);
}

/// Adds to y `[R, N]` the dot products of x `[R, K]` with S rows of `weight`.
template <int R, int S, class W>
CT_PASS void dot_rows(const float *x, int64_t K, const W *weight, float *y, int64_t N) {
    Lanes sums[S][R], row[R], part;
    for (int s = 0; s < S; ++s) {
        for (int r = 0; r < R; ++r) sums[s][r] = 0;
    }
    int64_t k = 0;
    for (; k + narrow_lanes <= K; k += narrow_lanes) {
        for (int r = 0; r < R; ++r) fetch(x + r * K + k, row[r]);
        for (int s = 0; s < S; ++s) {
            fetch(weight + s * K + k, part);
            for (int r = 0; r < R; ++r) sums[s][r] += part * row[r];
        }
    }
    if (k < K) {
        for (int r = 0; r < R; ++r) fetch(x + r * K + k, K - k, row[r]);
        for (int s = 0; s < S; ++s) {
            fetch(weight + s * K + k, K - k, part);
            for (int r = 0; r < R; ++r) sums[s][r] += part * row[r];
        }
    }
    for (int s = 0; s < S; ++s) {
        for (int r = 0; r < R; ++r) {
            const Lanes &lane = sums[s][r];
            y[r * N + s] += ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
        }
    }
}

/// Adds to the columns `0 ..< columns` of y `[R, N]` those of S rows of `weight`, times what x `[R, K]` holds for each.
template <int R, int S, class W>
CT_PASS void add_scaled_rows(const float *x, int64_t K, const W *weight, float *y, int64_t N, int64_t columns) {
    int64_t n = 0;
    for (; n + narrow_lanes <= columns; n += narrow_lanes) {
        Lanes part[S], sum;
        for (int s = 0; s < S; ++s) fetch(weight + s * N + n, part[s]);
        for (int r = 0; r < R; ++r) {
            fetch(y + r * N + n, sum);
            for (int s = 0; s < S; ++s) sum += part[s] * x[r * K + s];
            std::memcpy(y + r * N + n, &sum, sizeof sum);
        }
    }
    for (; n < columns; ++n) {
        for (int r = 0; r < R; ++r) {
            float sum = y[r * N + n];
            for (int s = 0; s < S; ++s) sum += ct::get(weight + s * N + n) * x[r * K + s];
            y[r * N + n] = sum;
        }
    }
}

/// As many rows of x as leave registers for the sums of some outputs, at a time.
template <int R, class W>
CT_PASS void few_products(const Shape &shape, const float *x, const W *weight, float *y, int64_t count) {
    const int64_t K = shape.K, N = shape.N;
    if (shape.transposed) {  // `count` columns, of four rows of the weight or one
        int64_t k = 0;
        for (; k + 4 <= K; k += 4) add_scaled_rows<R, 4>(x + k, K, weight + k * N, y, N, count);
        for (; k < K; ++k) add_scaled_rows<R, 1>(x + k, K, weight + k * N, y, N, count);
    } else {
        constexpr int together = R > 2 ? 2 : 4;
        int64_t n = 0;
        for (; n + together <= count; n += together) dot_rows<R, together>(x, K, weight + n * K, y + n, N);
        for (; n < count; ++n) dot_rows<R, 1>(x, K, weight + n * K, y + n, N);
    }
}

/// Outputs `first ..< last` of y `[R, N]`, to which the products are added.
template <class W>
CT_PASS void any_products(const Shape &shape, const float *x, const W *weight, float *y, int64_t first, int64_t last) {
    // Outputs whose part of the weight (of y, for a weight [K, N]) stays in the cache while rows of x take their turns.
    const int64_t block = shape.transposed ? 256 : 4;
    for (int64_t n = first; n < last; n += block) {
        const int64_t count = std::min(block, last - n);
        const W *part = shape.transposed ? weight + n : weight + n * shape.K;
        for (int64_t r = 0; r < shape.rows; r += 4) {
            const float *row = x + r * shape.K;
            float *out = y + r * shape.N + n;
            switch (shape.rows - r) {
            case 1: few_products<1>(shape, row, part, out, count); break;
            case 2: few_products<2>(shape, row, part, out, count); break;
            case 3: few_products<3>(shape, row, part, out, count); break;
            default: few_products<4>(shape, row, part, out, count); break;
            }
        }
    }
}

#pragma clang fp contract(on)

/// By the kernel of the calling thread's level.
template <class W>
void level_products(const Shape &shape, const float *x, const W *weight, float *y, int64_t first, int64_t last) {
#if defined(__x86_64__)
    if (ct::kernel_level() == CT_KERNELS_AVX512) return products(shape, x, weight, y, first, last);
#endif
    ct::run<any_products<W>>(shape, x, weight, y, first, last);
}

/// Runs `body(first, last)` over the outputs, on as many threads as the size deserves. No sum crosses threads, so that
/// their number does not change a result.
template <class Body>
void split(const Shape &shape, const Body &body) {
    constexpr int64_t unit = 32;                  // outputs: whole cache lines of any weight
    constexpr int64_t least_per_thread = 1 << 17; // weights: below it, waking a thread takes longer than its work
    const int64_t units = (shape.N + unit - 1) / unit;
    ct::parallel(units, shape.N * shape.K / least_per_thread, [&](int64_t first, int64_t last) {
        body(first * unit, std::min(last * unit, shape.N));
    });
}

template <class T>
void widen(const at::Tensor &from, float *to, int64_t first, int64_t last) {
    const T *values = from.const_data_ptr<T>();
    for (int64_t n = first; n < last; ++n) to[n] = values[n];
}

bool is_known(const at::Tensor &tensor) {
    return tensor.is_cpu() && tensor.layout() == at::kStrided
        && (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16)
        && !(at::GradMode::is_enabled() && tensor.requires_grad());
}

bool is_known(const at::Tensor &x, const at::Tensor &weight, const std::optional<at::Tensor> &bias) {
    if (!is_known(x) || !is_known(weight) || x.dim() == 0 || weight.dim() != 2) return false;
    const int64_t K = weight.size(1), N = weight.size(0);
    if (x.size(-1) != K || x.numel() == 0 || x.numel() > most_rows * K || N == 0) return false;
    // Rows of x that leave the nearest cache, or take more registers than there are, cost more than a narrow weight
    // saves, where libtorch has a good product of it.
    const bool is_narrow = weight.scalar_type() == at::kBFloat16 && weight.is_contiguous() && ct::has_narrow_products();
    if (is_narrow && x.numel() > 4 * K && x.numel() > std::min<int64_t>(10 * K, 1 << 14)) return false;
    if (!weight.is_contiguous() && !(weight.stride(0) == 1 && weight.stride(1) == N)) return false;
    return !bias || (is_known(*bias) && bias->is_contiguous() && bias->dim() == 1 && bias->size(0) == N);
}

}  // namespace

std::optional<at::Tensor> ct::row_product(const at::Tensor &x, const at::Tensor &weight,
                                          const std::optional<at::Tensor> &bias) {
    if (!is_known(x, weight, bias)) return std::nullopt;
    const Shape shape{x.numel() / weight.size(1), weight.size(1), weight.size(0), !weight.is_contiguous()};
    const at::Tensor rows = x.to(at::kFloat).contiguous();
    const float *wide = rows.const_data_ptr<float>();

    std::vector<int64_t> sizes = x.sizes().vec();
    sizes.back() = shape.N;
    const bool narrow = x.scalar_type() == at::kBFloat16;
    at::Tensor out = at::empty(sizes, x.options().requires_grad(false));
    at::Tensor sums = narrow ? at::empty(sizes, out.options().dtype(at::kFloat)) : out;
    float *y = sums.mutable_data_ptr<float>();
    at::BFloat16 *rounded = narrow ? out.mutable_data_ptr<at::BFloat16>() : nullptr;

    split(shape, [&](int64_t first, int64_t last) {
        for (int64_t r = 0; r < shape.rows; ++r) {
            if (!bias) {
                std::fill(y + r * shape.N + first, y + r * shape.N + last, 0.0f);
            } else if (bias->scalar_type() == at::kFloat) {
                widen<float>(*bias, y + r * shape.N, first, last);
            } else {
                widen<at::BFloat16>(*bias, y + r * shape.N, first, last);
            }
        }
        if (weight.scalar_type() == at::kFloat) {
            level_products(shape, wide, weight.const_data_ptr<float>(), y, first, last);
        } else {
            level_products(shape, wide, weight.const_data_ptr<at::BFloat16>(), y, first, last);
        }
        for (int64_t r = 0; narrow && r < shape.rows; ++r) {
            for (int64_t n = r * shape.N + first; n < r * shape.N + last; ++n) rounded[n] = y[n];
        }
    });
    return out;
}

