#include "levels.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

using namespace ct;

namespace {

struct Processor {
    Level level = Level::portable;
    Units bfloat16 = Units::none;

    Processor() {
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) level = Level::avx2;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
            && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
            level = Level::avx512;
            if (__builtin_cpu_supports("avx512bf16")) bfloat16 = Units::avx512;
            if (__builtin_cpu_supports("amx-bf16")) bfloat16 = Units::amx;
        }
#endif
    }
};

const Processor &processor() {
    static const Processor found;
    return found;
}

/// The level of the process: the processor's, or what `TIHUA_PLAIN_KERNELS` lowers it to.
Level process_level() {
    static const Level level = [] {
        const char *text = std::getenv("TIHUA_PLAIN_KERNELS");
        Level wanted = Level::avx512;
        if (text && std::strcmp(text, "1") == 0) wanted = Level::portable;
        if (text && std::strcmp(text, "avx2") == 0) wanted = Level::avx2;
        if (text && std::strcmp(text, "libtorch") == 0) wanted = Level::libtorch;
        return std::min(wanted, processor().level);
    }();
    return level;
}

thread_local std::optional<Level> thread_level;

}  // namespace

Level ct::level() { return thread_level ? std::min(*thread_level, processor().level) : process_level(); }

std::optional<Level> ct::set_thread_level(std::optional<Level> level) { return std::exchange(thread_level, level); }

Units ct::bfloat16_units() { return level() >= Level::avx512 ? processor().bfloat16 : Units::none; }
