// A residual sum and its layer norm, in one pass each way.
#include "layers.hpp"
#include "training.hpp"

namespace {

using namespace ct;

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
            parallel(N, threads(N * C), [&](int64_t from, int64_t to) {
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
            parallel(blocks, threads(N * C), [&](int64_t from, int64_t to) {
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

}  // namespace

std::optional<std::tuple<at::Tensor, at::Tensor>> ct::trained_add_norm(const at::Tensor &x, const at::Tensor &branch,
                                                                       const at::Tensor &weight, const at::Tensor &bias,
                                                                       double epsilon) {
    if (level() == Level::libtorch) return {};
    if (!is_plain(x) || !is_plain(branch) || x.scalar_type() != branch.scalar_type() || x.dim() == 0) return {};
    if (x.sizes() != branch.sizes() || x.numel() == 0) return {};
    if (!is_parameter(weight, x.size(-1)) || !is_parameter(bias, x.size(-1))) return {};
    if (!wants_gradients({x, branch, weight, bias})) return {};
    variable_list results = AddNorm::apply(x, branch, weight, bias, epsilon);
    return std::make_tuple(results[0], results[1]);
}

