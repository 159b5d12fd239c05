// Causal attention of short sequences, as batched products of rows and heads with one pass between them each way.
#include "layers.hpp"
#include "training.hpp"

#include <cmath>
#include <limits>

namespace {

using namespace ct;

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
        parallel(pairs.size(), threads(pairs.size() * size), [&](int64_t first, int64_t last) {
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
        parallel(count, threads(count * size), [&](int64_t first, int64_t last) {
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
                bmm_into(weight, input[0], input[1].transpose(1, 2));
                T *scores = weight.mutable_data_ptr<T>();
                parallel(G, threads(G * length * length), [&](int64_t first, int64_t last) {
                    for (int64_t pair = first; pair < last; ++pair) {
                        run<causal_softmax<T>>(scores + pair * length * length, scale, pairs.T, length);
                    }
                });
                bmm_into(mixed, weight, input[2]);
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
                bmm_into(dinput, weight.transpose(1, 2), dmixed);
                unpack(pairs, part, 2, 3, group, to);
                bmm_into(dscores, dmixed, input[2].transpose(1, 2));
                const T *shares = weight.const_data_ptr<T>();
                T *scores = dscores.mutable_data_ptr<T>();
                parallel(G, threads(G * length * length), [&](int64_t first, int64_t last) {
                    for (int64_t pair = first; pair < last; ++pair) {
                        const int64_t start = pair * length * length;
                        run<causal_softmax_gradient<T>>(shares + start, scores + start, scale, pairs.T, length);
                    }
                });
                bmm_into(dinput, dscores, input[1]);
                unpack(pairs, part, 0, 3, group, to);
                bmm_into(dinput, dscores.transpose(1, 2), input[0]);
                unpack(pairs, part, 1, 3, group, to);
            }
        });
        return {out, {}};
    }
};

}  // namespace

std::optional<at::Tensor> ct::trained_attention(const at::Tensor &packed, int64_t heads) {
    if (level() == Level::libtorch) return {};
    if (!is_plain(packed) || packed.dim() != 3 || packed.numel() == 0 || heads < 1) return {};
    if (packed.size(2) % (3 * heads) != 0 || packed.size(1) > CausalAttention::longest) return {};
    if (!wants_gradients({packed})) return {};
    return CausalAttention::apply(packed, heads);
}

