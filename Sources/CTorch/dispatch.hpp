// Which kernels a product or a pass takes: chosen by what the processor has, and lowered by a switch, so that what other
// processors run is tested on every one.
#pragma once

#include "ctorch.h"

namespace ct {

/// The level of the calling thread, `CT_KERNELS_LIBTORCH` ... `CT_KERNELS_AVX512`; never above what the processor has.
int32_t kernel_level();
/// Whether the calling thread's level takes the fused layers of training.hpp.
inline bool has_fused_layers() { return kernel_level() > CT_KERNELS_LIBTORCH; }
/// Whether libtorch's products of bfloat16 matrices on the CPU sum in float32 and at speed. Elsewhere they are taken in
/// float32: what libtorch has there is slow by a factor of a hundred, and rounds partial sums.
bool has_narrow_products();

/// Lowers the level of the calling thread, and gives back what was set before; -1 is nothing.
int32_t set_thread_level(int32_t level);

/// Gives a thread another one's level while it works for it.
class ThreadLevel {
    int32_t before;

public:
    explicit ThreadLevel(int32_t level) : before(set_thread_level(level)) {}
    ~ThreadLevel() { set_thread_level(before); }
    ThreadLevel(const ThreadLevel &) = delete;
    ThreadLevel &operator=(const ThreadLevel &) = delete;
};

}  // namespace ct
