// Layers of mixed precision: a product, and one pass over its result.
#include "layers.hpp"
#include "training.hpp"

namespace {

using namespace ct;

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
                parallel(y.size(0), threads(y.numel()), [&](int64_t first, int64_t last) {
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
                parallel((M + unit - 1) / unit, threads(N * M), [&](int64_t first, int64_t last) {
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

}  // namespace

std::optional<at::Tensor> ct::trained_linear(const at::Tensor &x, const at::Tensor &weight,
                                             const std::optional<at::Tensor> &bias, bool squared) {
    if (level() == Level::libtorch) return {};
    if (!is_plain(x) || !is_plain(weight) || weight.scalar_type() != at::kFloat || weight.dim() != 2) return {};
    const int64_t K = weight.size(1), M = weight.size(0);
    if (!squared && x.scalar_type() != at::kBFloat16) return {};
    if (x.dim() == 0 || x.size(-1) != K || x.numel() == 0 || M == 0) return {};
    if (!weight.is_contiguous() && !weight.t().is_contiguous()) return {};
    if (bias && !is_parameter(*bias, M)) return {};
    if (!wants_gradients({x, weight})) return {};
    return TrainedLinear::apply(x, weight, bias, squared);
}

