// The cross-entropy of a linear layer, whose scores are there for some rows at a time and never all.
#include "layers.hpp"
#include "training.hpp"

#include <cmath>
#include <vector>

namespace {

using namespace ct;

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
                mm_into(scores, part, narrow.t());
                parallel(rows, threads(rows * V), [&](int64_t first, int64_t last) {
                    std::vector<float> exponentials(static_cast<size_t>(V));
                    double *loss = losses.mutable_data_ptr<double>() + n + first;
                    run<cross_entropy_rows<T>>(values + first * whole, wants + n + first, 1 / static_cast<float>(N),
                                               wanted, exponentials.data(), loss, last - first, V, whole);
                });
                // Rows without a target have scores of 0, as columns without a word have.
                if (wants_dx) {
                    mm_into(dpart, scores, narrow);
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

std::optional<at::Tensor> ct::trained_cross_entropy(const at::Tensor &hidden, const at::Tensor &weight,
                                                    const at::Tensor &targets) {
    if (level() == Level::libtorch) return {};
    if (!is_plain(hidden) || !is_plain(weight) || weight.scalar_type() != at::kFloat) return {};
    if (hidden.dim() != 2 || weight.dim() != 2 || hidden.size(1) != weight.size(1) || weight.numel() == 0) return {};
    if (targets.scalar_type() != at::kLong || !targets.is_cpu() || targets.dim() != 1) return {};
    if (targets.size(0) != hidden.size(0)) return {};
    return LinearCrossEntropy::apply(hidden, weight, targets, wants_gradients({hidden}), wants_gradients({weight}));
}
