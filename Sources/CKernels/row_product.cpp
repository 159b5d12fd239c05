// The product of some rows with a weight that comes from memory: up to a dozen rows take as long as that, and fifty
// wait for it in libtorch's product before they multiply. A single row takes 0.7 to 0.95 of libtorch's time in float32,
// half of it in bfloat16, several rows a half to two thirds (see Docs/EXPERIMENTS.md).
//
// The kernels are written once, over vectors of L numbers, and compiled for each level of processor. R rows of x,
// K inputs, N outputs; a weight is `[N, K]` or, transposed, `[K, N]`.
#include "layers.hpp"
#include "parallel.hpp"
#include "simd.hpp"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <cstring>
#include <vector>

#pragma clang fp contract(fast)

namespace {

struct Shape {
    int64_t rows, K, N;
    bool transposed;  // the weight is [K, N]
};

template <int L>
using Vector = float __attribute__((ext_vector_type(L)));

// Vectors go by reference: by value they would be passed differently by code for other processors.
template <int L>
CT_PASS void load(const float *from, Vector<L> &lanes) {
    std::memcpy(&lanes, from, sizeof lanes);
}

template <int L>
CT_PASS void load(const at::BFloat16 *from, Vector<L> &lanes) {
    uint16_t __attribute__((ext_vector_type(L))) bits;
    std::memcpy(&bits, from, sizeof bits);
    // bfloat16 is the upper half of float32.
    const auto wide = __builtin_convertvector(bits, uint32_t __attribute__((ext_vector_type(L)))) << 16;
    std::memcpy(&lanes, &wide, sizeof lanes);
}

template <int L>
CT_PASS float total(const Vector<L> &lanes) {
    if constexpr (L == 2) {
        return lanes[0] + lanes[1];
    } else {
        const Vector<L / 2> half = lanes.lo + lanes.hi;
        return total<L / 2>(half);
    }
}

/// Whole, so that the vectors of an array stay in registers: by itself the compiler ends at ten.
#define CT_UNROLLED _Pragma("unroll")

constexpr int64_t cache_line = 64;

/// Fetches the line so many bytes behind `from`, which may lie behind the end of the weight, where nothing happens.
template <int locality>
CT_PASS void prefetch(const void *from, int64_t bytes) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(from) + static_cast<uintptr_t>(bytes);
    __builtin_prefetch(reinterpret_cast<const void *>(address), /*write=*/0, locality);
}

/// Calls `body` with `rows`, at most R of them, as a constant.
template <int R, class Body>
CT_PASS void with_rows(int64_t rows, const Body &body) {
    if constexpr (R > 1) {
        if (rows < R) return with_rows<R - 1>(rows, body);
    }
    body(std::integral_constant<int, R>());
}

// A few rows -------------------------------------------------------------------------------------------------------

// What makes the difference is the order of reading: one core gets most out of memory with a few streams that each run
// on and on. The weight is cut into S parts along its rows, which are read side by side, from their first row to their
// last.

/// Rows of x at most, for a weight `[N, K]` and for a transposed one.
template <int L>
constexpr int most_dots = L >= 16 ? 10 : 6;
constexpr int most_sums = 4;

/// Parts that leave registers for the sums, or the factors, of R rows.
template <int L, int R>
constexpr int streams = R <= (L >= 16 ? 6 : 2) ? 4 : 2;

/// Adds to y `[R, N]` the dot products of x `[R, K]` with S x `count` rows of `weight`.
template <int L, int R, int S, class W>
CT_PASS void dot_products(const float *x, int64_t K, const W *weight, int64_t count, float *y, int64_t N) {
    constexpr int64_t line = std::max<int64_t>(L, cache_line / static_cast<int64_t>(sizeof(W)));
    constexpr int64_t ahead = 2048;  // bytes
    const int64_t distance = count * K;
    for (int64_t n = 0; n < count; ++n, weight += K) {
        Vector<L> sums[S][R], row, part[S];
        for (int s = 0; s < S; ++s) {
            for (int r = 0; r < R; ++r) sums[s][r] = 0;
        }
        int64_t k = 0;
        const auto add = [&](int64_t k) __attribute__((always_inline)) {
            for (int s = 0; s < S; ++s) load<L>(weight + s * distance + k, part[s]);
            for (int r = 0; r < R; ++r) {
                load<L>(x + r * K + k, row);
                for (int s = 0; s < S; ++s) sums[s][r] += part[s] * row;
            }
        };
        for (; k + line <= K; k += line) {
            for (int s = 0; s < S; ++s) prefetch<3>(weight + s * distance + k, ahead);
            for (int64_t i = k; i < k + line; i += L) add(i);
        }
        for (; k + L <= K; k += L) add(k);
        for (int s = 0; s < S; ++s) {
            for (int r = 0; r < R; ++r) {
                float sum = total<L>(sums[s][r]);
                for (int64_t i = k; i < K; ++i) sum += ct::get(weight + s * distance + i) * x[r * K + i];
                y[r * N + s * count + n] += sum;
            }
        }
    }
}

/// Adds to the columns `first ..< last` of y `[R, N]` those of S x `count` rows of `weight`, times what x `[R, K]`
/// holds for each. y stays in the cache meanwhile.
template <int L, int R, int S, class W>
CT_PASS void sum_rows(const float *x, int64_t K, const W *weight, int64_t count, float *y, int64_t N, int64_t first,
                      int64_t last) {
    constexpr int64_t line = std::max<int64_t>(L, cache_line / static_cast<int64_t>(sizeof(W)));
    const int64_t distance = count * N;
    for (int64_t k = 0; k < count; ++k, weight += N) {
        float factors[S][R];
        for (int s = 0; s < S; ++s) {
            for (int r = 0; r < R; ++r) factors[s][r] = x[r * K + s * count + k];
        }
        int64_t n = first;
        const auto add = [&](int64_t n) __attribute__((always_inline)) {
            Vector<L> sums[R], part;
            for (int r = 0; r < R; ++r) load<L>(y + r * N + n, sums[r]);
            for (int s = 0; s < S; ++s) {
                load<L>(weight + s * distance + n, part);
                for (int r = 0; r < R; ++r) sums[r] += part * factors[s][r];
            }
            for (int r = 0; r < R; ++r) std::memcpy(y + r * N + n, &sums[r], sizeof part);
        };
        for (; n + line <= last; n += line) {
            // The same columns of the next row: those beside may be another thread's.
            for (int s = 0; s < S; ++s) {
                prefetch<3>(weight + s * distance + n, N * static_cast<int64_t>(sizeof(W)));
            }
            for (int64_t i = n; i < n + line; i += L) add(i);
        }
        for (; n + L <= last; n += L) add(n);
        for (; n < last; ++n) {
            for (int r = 0; r < R; ++r) {
                for (int s = 0; s < S; ++s) y[r * N + n] += ct::get(weight + s * distance + n) * factors[s][r];
            }
        }
    }
}

/// Outputs `first ..< last` of y `[R, N]`, to which the products are added.
template <int L, class W>
CT_PASS void few_products(const Shape &shape, const float *x, const W *weight, float *y, int64_t first, int64_t last) {
    const int64_t K = shape.K, N = shape.N;
    if (shape.transposed) {
        with_rows<most_sums>(shape.rows, [&](auto rows) __attribute__((always_inline)) {
            constexpr int R = rows(), S = streams<L, R>;
            const int64_t count = K / S, done = count * S;
            sum_rows<L, R, S>(x, K, weight, count, y, N, first, last);
            sum_rows<L, R, 1>(x + done, K, weight + done * N, K - done, y, N, first, last);
        });
    } else {
        with_rows<most_dots<L>>(shape.rows, [&](auto rows) __attribute__((always_inline)) {
            constexpr int R = rows(), S = streams<L, R>;
            const int64_t count = (last - first) / S, done = first + count * S;
            dot_products<L, R, S>(x, K, weight + first * K, count, y + first, N);
            dot_products<L, R, 1>(x, K, weight + done * K, last - done, y + done, N);
        });
    }
}

// More rows ----------------------------------------------------------------------------------------------------------

// The weight is cut into panels, some of its inputs for as many outputs as two vectors hold. A panel is copied into the
// nearest cache, and all rows are multiplied with it while the next panels come from memory.

/// Goes through lines of a weight row by row, to fetch them ahead.
struct Fetch {
    const char *line, *end;
    int64_t width, distance;   // bytes of a row, and from one row to the next
    int64_t every = 1, burst;  // so many lines at so many steps of `add_panel`

    CT_PASS void next() {
        for (int64_t i = 0; i < burst; ++i) {
            prefetch<2>(line, 0);
            line += cache_line;
            if (line >= end) {
                line = end - width + distance;
                end += distance;
            }
        }
    }
};

/// Rows whose sums fill the registers, two vectors each.
template <int L>
constexpr int most_together = L >= 16 ? 12 : 6;

/// Adds to R rows of y, two vectors wide, x `[count, R]` times the panel, whose rows are `distance` apart.
template <int L, int R, class W>
CT_PASS void add_panel(const float *x, const W *panel, int64_t distance, int64_t count, float *y, int64_t N,
                       Fetch &fetch) {
    Vector<L> sums[R][2], part[2];
    CT_UNROLLED for (int r = 0; r < R; ++r) {
        load<L>(y + r * N, sums[r][0]);
        load<L>(y + r * N + L, sums[r][1]);
    }
    for (int64_t k = 0; k < count;) {
        fetch.next();
        for (const int64_t end = std::min(count, k + fetch.every); k < end; ++k, x += R, panel += distance) {
            load<L>(panel, part[0]);
            load<L>(panel + L, part[1]);
            CT_UNROLLED for (int r = 0; r < R; ++r) {
                sums[r][0] += part[0] * x[r];
                sums[r][1] += part[1] * x[r];
            }
        }
    }
    CT_UNROLLED for (int r = 0; r < R; ++r) std::memcpy(y + r * N, &sums[r], sizeof sums[r]);
}

/// Copies `count` inputs of `width` outputs of a weight into a panel; the rest of it is 0.
template <int L, class W>
CT_PASS void copy_panel(const Shape &shape, const W *weight, int64_t count, int64_t width, float *panel) {
    constexpr int64_t P = 2 * L;
    if (width < P) {
        std::fill(panel, panel + count * P, 0.0f);
        const int64_t along_k = shape.transposed ? shape.N : 1, along_n = shape.transposed ? 1 : shape.K;
        for (int64_t k = 0; k < count; ++k) {
            for (int64_t n = 0; n < width; ++n) panel[k * P + n] = ct::get(weight + k * along_k + n * along_n);
        }
    } else if (shape.transposed) {
        for (int64_t k = 0; k < count; ++k) {
            Vector<L> part[2];
            load<L>(weight + k * shape.N, part[0]);
            load<L>(weight + k * shape.N + L, part[1]);
            std::memcpy(panel + k * P, &part, sizeof part);
        }
    } else {
        for (int64_t n = 0; n < P; n += 4) {
            const W *rows[4];
            for (int64_t i = 0; i < 4; ++i) rows[i] = weight + (n + i) * shape.K;
            int64_t k = 0;
            for (; k + 4 <= count; k += 4) {
                Vector<4> a, b, c, d;
                load<4>(rows[0] + k, a);
                load<4>(rows[1] + k, b);
                load<4>(rows[2] + k, c);
                load<4>(rows[3] + k, d);
                const Vector<4> ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
                const Vector<4> AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
                const Vector<4> cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
                const Vector<4> CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
                const Vector<4> columns[4] = {
                    __builtin_shufflevector(ab, cd, 0, 1, 4, 5), __builtin_shufflevector(ab, cd, 2, 3, 6, 7),
                    __builtin_shufflevector(AB, CD, 0, 1, 4, 5), __builtin_shufflevector(AB, CD, 2, 3, 6, 7)};
                for (int64_t i = 0; i < 4; ++i) std::memcpy(panel + (k + i) * P + n, &columns[i], sizeof a);
            }
            for (; k < count; ++k) {
                for (int64_t i = 0; i < 4; ++i) panel[k * P + n + i] = ct::get(rows[i] + k);
            }
        }
    }
}

/// Inputs of a panel at most.
constexpr int64_t most_inputs = 256;

/// Outputs `first ..< last` of y `[R, N]`, to which the products are added. `memory` has room for a panel, its outputs
/// and `most_inputs` inputs of all rows.
template <int L, class W>
CT_PASS void many_products(const Shape &shape, const float *x, const W *weight, float *y, int64_t first, int64_t last,
                           float *memory) {
    constexpr int64_t P = 2 * L, size = sizeof(W);
    const int64_t K = shape.K, N = shape.N, outputs = last - first;
    const int64_t groups = (shape.rows + most_together<L> - 1) / most_together<L>;
    float *panel = memory, *tile = panel + most_inputs * P, *inputs = tile + most_together<L> * P;
    // Of a weight [K, N] so many inputs that they and the next ones, whose rows are read whole, stay in a core's cache.
    const int64_t step = shape.transposed ? std::clamp<int64_t>((1 << 16) / outputs, 8, most_inputs) : most_inputs;
    for (int64_t k = 0; k < K; k += step) {
        const int64_t count = std::min(step, K - k);
        const auto rows_of = [&](int64_t group, int64_t first) {
            return (shape.rows - first + groups - group - 1) / (groups - group);
        };
        for (int64_t g = 0, r = 0, rows; g < groups; ++g, r += rows) {
            rows = rows_of(g, r);
            for (int64_t i = 0; i < rows; ++i) {
                for (int64_t j = 0; j < count; ++j) inputs[r * count + j * rows + i] = x[(r + i) * K + k + j];
            }
        }
        const W *part = shape.transposed ? weight + k * N + first : weight + first * K + k;
        const char *next = reinterpret_cast<const char *>(shape.transposed ? part + count * N : part + P * K);
        const int64_t width = size * (shape.transposed ? outputs : count), row = size * (shape.transposed ? N : K);
        const int64_t lines = std::max<int64_t>(1, count * P * size / cache_line), steps = count * groups;
        // Not at every step: the loop between two of them is what the compiler unrolls.
        const int64_t every = std::max<int64_t>(4, steps / lines), burst = (lines * every + steps - 1) / steps;
        Fetch fetch{next, next + width, width, row, every, burst};
        for (int64_t n = 0; n < outputs; n += P) {
            const int64_t columns = std::min(P, outputs - n);
            float *out = y + first + n;
            // What one group of rows needs once need not be copied.
            const bool copies = groups > 1 || columns < P || !shape.transposed;
            if (copies) copy_panel<L>(shape, shape.transposed ? part + n : part + n * K, count, columns, panel);
            for (int64_t g = 0, r = 0, rows; g < groups; ++g, r += rows) {
                rows = rows_of(g, r);
                with_rows<most_together<L>>(rows, [&](auto constant) __attribute__((always_inline)) {
                    constexpr int R = constant();
                    const float *values = inputs + r * count;
                    float *sums = out + r * N;
                    if (columns < P) {  // beside them are others' or none
                        for (int64_t i = 0; i < R; ++i) std::copy_n(sums + i * N, columns, tile + i * P);
                        add_panel<L, R>(values, panel, P, count, tile, P, fetch);
                        for (int64_t i = 0; i < R; ++i) std::copy_n(tile + i * P, columns, sums + i * N);
                    } else if (copies) {
                        add_panel<L, R>(values, panel, P, count, sums, N, fetch);
                    } else {
                        add_panel<L, R>(values, part + n, N, count, sums, N, fetch);
                    }
                });
            }
        }
    }
}

template <class W>
struct Products {
    template <int L>
    CT_PASS static void run(const Shape &shape, const float *x, const W *weight, float *y, int64_t first, int64_t last,
                            float *memory) {
        if (shape.rows <= (shape.transposed ? most_sums : most_dots<L>)) {
            few_products<L>(shape, x, weight, y, first, last);
        } else {
            many_products<L>(shape, x, weight, y, first, last, memory);
        }
    }
};

/// By the kernel of the calling thread's level.
template <class W>
void level_products(const Shape &shape, const float *x, const W *weight, float *y, int64_t first, int64_t last) {
    constexpr int L = ct::widest_lanes;
    const int64_t numbers = (most_inputs + most_together<L>) * 2 * L + most_inputs * shape.rows;
    c10::DataPtr memory;  // on a cache line
    if (shape.rows > most_sums) memory = c10::GetCPUAllocator()->allocate(static_cast<size_t>(numbers) * sizeof(float));
    ct::run_lanes<Products<W>>(shape, x, weight, y, first, last, static_cast<float *>(memory.get()));
}

/// Runs `body(first, last)` over the outputs, on as many threads as the size deserves. No sum crosses threads, so that
/// their number does not change a result.
template <class Body>
void split(const Shape &shape, const Body &body) {
    constexpr int64_t unit = 32;                   // outputs: whole cache lines of any weight
    constexpr int64_t least_per_thread = 1 << 17;  // weights: below it, waking a thread takes longer than its work
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

/// Rows of x for which this is the faster product.
int64_t most_rows(const at::Tensor &x, const at::Tensor &weight) {
    const bool is_narrow = weight.scalar_type() == at::kBFloat16;
    if (!ct::has_narrow_products() || (!is_narrow && x.scalar_type() == at::kFloat)) {
        return ct::level() >= ct::Level::avx2 ? 512 : 12;
    }
    // libtorch has units for bfloat16, and can use them at once where the weight is [N, K].
    if (!is_narrow || !weight.is_contiguous()) return 12;
    return std::clamp<int64_t>((1 << 14) / std::max<int64_t>(1, weight.size(1)), 4, 10);
}

bool is_known(const at::Tensor &x, const at::Tensor &weight, const std::optional<at::Tensor> &bias) {
    if (!is_known(x) || !is_known(weight) || x.dim() == 0 || weight.dim() != 2) return false;
    const int64_t K = weight.size(1), N = weight.size(0);
    if (x.size(-1) != K || x.numel() == 0 || x.numel() > most_rows(x, weight) * K || N == 0) return false;
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

