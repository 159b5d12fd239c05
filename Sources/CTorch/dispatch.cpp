#include "dispatch.hpp"
#include "guard.hpp"

#include <ATen/Context.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

using namespace ct;

namespace {

struct Processor {
    int32_t level = CT_KERNELS_PORTABLE;
    ct_bfloat16 bfloat16 = CT_BFLOAT16_NONE;

    Processor() {
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) level = CT_KERNELS_AVX2;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512vl")) {
            level = CT_KERNELS_AVX512;
            if (__builtin_cpu_supports("avx512bf16")) bfloat16 = CT_BFLOAT16_AVX512;
            if (__builtin_cpu_supports("amx-bf16")) bfloat16 = CT_BFLOAT16_AMX;
        }
#endif
    }
};

const Processor &processor() {
    static const Processor found;
    return found;
}

/// The level of the process: the processor's, or what `TIHUA_PLAIN_KERNELS` lowers it to.
int32_t process_level() {
    static const int32_t level = [] {
        const char *text = std::getenv("TIHUA_PLAIN_KERNELS");
        int32_t wanted = CT_KERNELS_AVX512;
        if (text && std::strcmp(text, "1") == 0) wanted = CT_KERNELS_PORTABLE;
        if (text && std::strcmp(text, "avx2") == 0) wanted = CT_KERNELS_AVX2;
        if (text && std::strcmp(text, "libtorch") == 0) wanted = CT_KERNELS_LIBTORCH;
        return std::min(wanted, processor().level);
    }();
    return level;
}

thread_local int32_t thread_level = -1;

}  // namespace

int32_t ct::kernel_level() { return thread_level < 0 ? process_level() : std::min(thread_level, processor().level); }

bool ct::has_narrow_products() { return kernel_level() >= CT_KERNELS_AVX512; }

int32_t ct::set_thread_level(int32_t level) { return std::exchange(thread_level, level); }

ct_status ct_kernels(int32_t *out) noexcept {
    return guard([&] { *out = kernel_level(); });
}

ct_status ct_set_kernels(int32_t level, int32_t *before) noexcept {
    return guard([&] {
        TORCH_CHECK(level >= -1 && level <= CT_KERNELS_AVX512, "there is no level of kernels ", level);
        *before = set_thread_level(level);
    });
}

ct_status ct_bfloat16_units(int32_t *out) noexcept {
    return guard([&] { *out = kernel_level() >= CT_KERNELS_AVX512 ? processor().bfloat16 : CT_BFLOAT16_NONE; });
}
