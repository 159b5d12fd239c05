// Two things slow products down in training and are kept away here:
// - oneDNN compiles code for every new shape, 3 to 5 ms a product, and every batch has another number of tokens. Rows
//   are rounded up, so that shapes come again.
// - Products that sum over rows (gradients of weights) are 1.5 times as fast in MKL, which also sums into float32.
#include "products.hpp"

#include <ATen/Parallel.h>

#include <dlfcn.h>

#include <algorithm>
#include <limits>

using namespace ct;

namespace {

/// Whether a product may read `count` rows where x is. Where rows end within a tile of 32 numbers, oneDNN reads on
/// into the next one and multiplies that by 0, which NaNs in foreign memory would survive.
bool has_spare_rows(const at::Tensor &x, int64_t count) {
    const int64_t held = static_cast<int64_t>(x.storage().nbytes() / x.element_size()) - x.storage_offset();
    return x.size(1) % 32 == 0 && held >= count * x.size(1);
}

/// MKL's product of bfloat16 matrices into float32, where libtorch has brought MKL along and the processor has units
/// for it; null elsewhere.
using NarrowProduct = void (*)(int layout, int transposed_a, int transposed_b, int m, int n, int k, float alpha,
                               const at::BFloat16 *a, int lda, const at::BFloat16 *b, int ldb, float beta, float *c,
                               int ldc);

NarrowProduct narrow_product() {
    if (ct::bfloat16_units() != ct::Units::amx) return nullptr;
    static const NarrowProduct found =
        reinterpret_cast<NarrowProduct>(dlsym(RTLD_DEFAULT, "cblas_gemm_bf16bf16f32"));
    return found;
}

}  // namespace

void ct::mm_into(at::Tensor &out, const at::Tensor &a, const at::Tensor &b) {
    if (needs_width(a)) {
        out.copy_(at::mm(widened(a), widened(b)));
    } else {
        at::mm_out(out, a, b);
    }
}

void ct::bmm_into(at::Tensor &out, const at::Tensor &a, const at::Tensor &b) {
    if (needs_width(a)) {
        out.copy_(at::bmm(widened(a), widened(b)));
    } else {
        at::bmm_out(out, a, b);
    }
}

// Pieces of rows that stay in the cache for what comes next would cost a quarter more than the whole: the weight is
// packed anew for each.
at::Tensor ct::product(const at::Tensor &x, const at::Tensor &weight) {
    const int64_t N = x.size(0), K = x.size(1), M = weight.size(1), whole = rounded_up(N, row_unit);
    at::Tensor out = make_rows(N, M, x.options()), rows = out.as_strided({whole, M}, {M, 1}), input;
    if (has_spare_rows(x, whole)) {
        input = x.as_strided({whole, K}, {K, 1}, x.storage_offset());
    } else {
        input = at::zeros({whole, K}, x.options());
        input.narrow(0, 0, N).copy_(x);
    }
    mm_into(rows, input, weight);
    return out;
}

void ct::add_row_products(const at::Tensor &a, const at::Tensor &b, at::Tensor &sum, bool adds) {
    const int64_t N = a.size(0), K = a.size(1), M = b.size(1);
    // MKL runs it on one thread.
    NarrowProduct narrow =
        a.scalar_type() == at::kBFloat16 && at::get_num_threads() == 1 ? narrow_product() : nullptr;
    if (narrow && N > 0 && std::max({N, K, M}) <= std::numeric_limits<int>::max()) {
        constexpr int row_major = 101, plain = 111, transposed = 112;
        narrow(row_major, transposed, plain, static_cast<int>(K), static_cast<int>(M), static_cast<int>(N), 1,
               a.const_data_ptr<at::BFloat16>(), static_cast<int>(K), b.const_data_ptr<at::BFloat16>(),
               static_cast<int>(M), adds ? 1 : 0, sum.mutable_data_ptr<float>(), static_cast<int>(M));
        return;
    }
    const at::Tensor products = needs_width(a) ? at::mm(widened(a.t()), widened(b)) : at::mm(a.t(), b);
    if (adds) {
        sum.add_(products);
    } else {
        sum.copy_(products);
    }
}
