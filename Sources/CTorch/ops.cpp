// Tensor operations. Each body is one call into ATen, inside the guard.
#include "guard.hpp"
#include "kernels.hpp"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <cmath>

using namespace ct;

#define CT_UNARY(name, expression)                              \
    ct_status ct_##name(ct_tensor a, ct_tensor *out) noexcept { \
        return guard([&] {                                      \
            const at::Tensor &x = a->value;                     \
            *out = wrap(expression);                            \
        });                                                     \
    }
CT_UNARY(neg, at::neg(x))
CT_UNARY(exp, at::exp(x))
CT_UNARY(log, at::log(x))
CT_UNARY(sqrt, at::sqrt(x))
CT_UNARY(rsqrt, at::rsqrt(x))
CT_UNARY(tanh, at::tanh(x))
CT_UNARY(sigmoid, at::sigmoid(x))
CT_UNARY(relu, at::relu(x))
CT_UNARY(silu, at::silu(x))
CT_UNARY(gelu, at::gelu(x))
CT_UNARY(gelu_tanh, at::gelu(x, "tanh"))
CT_UNARY(abs, at::abs(x))
CT_UNARY(sin, at::sin(x))
CT_UNARY(cos, at::cos(x))
CT_UNARY(logical_not, at::logical_not(x))
CT_UNARY(isfinite, at::isfinite(x))
CT_UNARY(clone, x.clone())
CT_UNARY(contiguous, x.contiguous())
CT_UNARY(square, at::square(x))
CT_UNARY(quick_gelu, x * at::sigmoid(x * 1.702))
CT_UNARY(channels_last, x.contiguous(at::MemoryFormat::ChannelsLast))

#define CT_BINARY(name, expression)                                          \
    ct_status ct_##name(ct_tensor a, ct_tensor b, ct_tensor *out) noexcept { \
        return guard([&] {                                                   \
            const at::Tensor &x = a->value, &y = b->value;                   \
            *out = wrap(expression);                                         \
        });                                                                  \
    }
CT_BINARY(add, at::add(x, y))
CT_BINARY(sub, at::sub(x, y))
CT_BINARY(mul, at::mul(x, y))
CT_BINARY(div, at::div(x, y))
CT_BINARY(matmul, ct::matmul(x, y))
CT_BINARY(maximum, at::maximum(x, y))
CT_BINARY(minimum, at::minimum(x, y))
CT_BINARY(eq, at::eq(x, y))
CT_BINARY(ne, at::ne(x, y))
CT_BINARY(lt, at::lt(x, y))
CT_BINARY(le, at::le(x, y))
CT_BINARY(gt, at::gt(x, y))
CT_BINARY(ge, at::ge(x, y))
CT_BINARY(logical_and, at::logical_and(x, y))
CT_BINARY(logical_or, at::logical_or(x, y))

#define CT_SCALAR(name, expression)                                            \
    ct_status ct_##name(ct_tensor a, double value, ct_tensor *out) noexcept {  \
        return guard([&] {                                                     \
            const at::Tensor &x = a->value;                                    \
            *out = wrap(expression);                                           \
        });                                                                    \
    }
CT_SCALAR(add_scalar, at::add(x, value))
CT_SCALAR(mul_scalar, at::mul(x, value))
CT_SCALAR(div_scalar, at::div(x, value))
CT_SCALAR(rdiv_scalar, at::mul(at::reciprocal(x), value))
CT_SCALAR(pow_scalar, at::pow(x, value))
CT_SCALAR(eq_scalar, at::eq(x, value))
CT_SCALAR(ne_scalar, at::ne(x, value))
CT_SCALAR(lt_scalar, at::lt(x, value))
CT_SCALAR(gt_scalar, at::gt(x, value))
CT_SCALAR(clamp_min, at::clamp_min(x, value))
CT_SCALAR(clamp_max, at::clamp_max(x, value))

ct_status ct_where(ct_tensor condition, ct_tensor a, ct_tensor b, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::where(condition->value, a->value, b->value)); });
}

ct_status ct_masked_fill(ct_tensor a, ct_tensor mask, double value, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::masked_fill(a->value, mask->value, value)); });
}

ct_status ct_add_(ct_tensor a, ct_tensor b, double alpha) noexcept {
    return guard([&] {
        // Integers refuse a factor that is floating point, even 1.
        bool integral = at::isIntegralType(a->value.scalar_type(), /*includeBool=*/true);
        TORCH_CHECK(!integral || alpha == std::trunc(alpha), "cannot add ", alpha, " times to integers");
        a->value.add_(b->value, integral ? at::Scalar(static_cast<int64_t>(alpha)) : at::Scalar(alpha));
    });
}

ct_status ct_mul_scalar_(ct_tensor a, double value) noexcept {
    return guard([&] { a->value.mul_(value); });
}

ct_status ct_lerp_(ct_tensor a, ct_tensor b, double weight) noexcept {
    return guard([&] { a->value.lerp_(b->value, weight); });
}

ct_status ct_copy_(ct_tensor a, ct_tensor source) noexcept {
    return guard([&] {
        TORCH_CHECK(a->value.sizes() == source->value.sizes(), "cannot copy shape ", source->value.sizes(), " into ",
                    a->value.sizes());
        a->value.copy_(source->value);
    });
}

ct_status ct_fill_(ct_tensor a, double value) noexcept {
    return guard([&] { a->value.fill_(value); });
}

ct_status ct_clamp(ct_tensor a, double low, double high, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::clamp(a->value, low, high)); });
}

ct_status ct_clamp_(ct_tensor a, double low, double high) noexcept {
    return guard([&] { a->value.clamp_(low, high); });
}

ct_status ct_relu6_(ct_tensor a) noexcept {
    return guard([&] { at::hardtanh_(a->value, 0, 6); });
}

ct_status ct_sum(ct_tensor a, const int64_t *dims, int32_t count, bool keep, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(count == 0 ? at::sum(a->value) : at::sum(a->value, ints(dims, count), keep)); });
}

ct_status ct_mean(ct_tensor a, const int64_t *dims, int32_t count, bool keep, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(count == 0 ? at::mean(a->value) : at::mean(a->value, ints(dims, count), keep)); });
}

ct_status ct_amax(ct_tensor a, const int64_t *dims, int32_t count, bool keep, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::amax(a->value, ints(dims, count), keep)); });
}

ct_status ct_norm(ct_tensor a, const int64_t *dims, int32_t count, bool keep, ct_tensor *out) noexcept {
    return guard([&] {
        *out = wrap(count == 0 ? at::norm(a->value) : at::norm(a->value, 2, ints(dims, count), keep));
    });
}

ct_status ct_argmax(ct_tensor a, int64_t dim, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::argmax(a->value, dim)); });
}

ct_status ct_softmax(ct_tensor a, int64_t dim, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::softmax(a->value, dim)); });
}

ct_status ct_log_softmax(ct_tensor a, int64_t dim, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::log_softmax(a->value, dim)); });
}

ct_status ct_logsumexp(ct_tensor a, int64_t dim, bool keep, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::logsumexp(a->value, at::IntArrayRef(&dim, 1), keep)); });
}

ct_status ct_cumsum(ct_tensor a, int64_t dim, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::cumsum(a->value, dim)); });
}

ct_status ct_topk(ct_tensor a, int64_t k, int64_t dim, ct_tensor *values, ct_tensor *indices) noexcept {
    return guard([&] {
        auto [top, index] = at::topk(a->value, k, dim);
        *values = wrap(top);
        *indices = wrap(index);
    });
}

ct_status ct_sort(ct_tensor a, int64_t dim, bool descending, ct_tensor *values, ct_tensor *indices) noexcept {
    return guard([&] {
        auto [sorted, index] = at::sort(a->value, dim, descending);
        *values = wrap(sorted);
        *indices = wrap(index);
    });
}

ct_status ct_multinomial(ct_tensor probabilities, int64_t count, bool replacement, ct_generator generator,
                         ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::multinomial(probabilities->value, count, replacement, generator->value)); });
}

ct_status ct_reshape(ct_tensor a, const int64_t *shape, int32_t rank, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::reshape(a->value, ints(shape, rank))); });
}

ct_status ct_expand(ct_tensor a, const int64_t *shape, int32_t rank, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(a->value.expand(ints(shape, rank))); });
}

ct_status ct_permute(ct_tensor a, const int64_t *dims, int32_t count, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::permute(a->value, ints(dims, count))); });
}

ct_status ct_flip(ct_tensor a, const int64_t *dims, int32_t count, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::flip(a->value, ints(dims, count))); });
}

ct_status ct_transpose(ct_tensor a, int64_t first, int64_t second, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::transpose(a->value, first, second)); });
}

ct_status ct_unsqueeze(ct_tensor a, int64_t dim, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::unsqueeze(a->value, dim)); });
}

ct_status ct_squeeze(ct_tensor a, int64_t dim, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::squeeze(a->value, dim)); });
}

ct_status ct_narrow(ct_tensor a, int64_t dim, int64_t start, int64_t length, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::narrow(a->value, dim, start, length)); });
}

ct_status ct_select(ct_tensor a, int64_t dim, int64_t index, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::select(a->value, dim, index)); });
}

ct_status ct_cat(const ct_tensor *tensors, int32_t count, int64_t dim, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::cat(list(tensors, count), dim)); });
}

ct_status ct_stack(const ct_tensor *tensors, int32_t count, int64_t dim, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::stack(list(tensors, count), dim)); });
}

ct_status ct_index_select(ct_tensor a, int64_t dim, ct_tensor index, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::index_select(a->value, dim, index->value)); });
}

ct_status ct_index(ct_tensor a, ct_tensor index, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(a->value.index({index->value})); });
}

ct_status ct_gather(ct_tensor a, int64_t dim, ct_tensor index, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::gather(a->value, dim, index->value)); });
}

ct_status ct_scatter(ct_tensor a, int64_t dim, ct_tensor index, ct_tensor source, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::scatter(a->value, dim, index->value, source->value)); });
}

ct_status ct_tril(ct_tensor a, int64_t diagonal, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::tril(a->value, diagonal)); });
}

ct_status ct_triu(ct_tensor a, int64_t diagonal, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::triu(a->value, diagonal)); });
}

ct_status ct_repeat_interleave(ct_tensor a, int64_t repeats, int64_t dim, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::repeat_interleave(a->value, repeats, dim)); });
}
