// What kernels may use of the processor. A switch lowers it, so that what other processors run is tested on every one.
#pragma once

#include "kernels.hpp"

namespace ct {

/// Whether libtorch's products of bfloat16 matrices on the CPU sum in float32 and at speed. Elsewhere they are taken in
/// float32: what libtorch has there is slow by a factor of a hundred, and rounds partial sums.
inline bool has_narrow_products() { return level() >= Level::avx512; }

/// Gives a thread another one's level while it works for it.
class ThreadLevel {
    std::optional<Level> before;

public:
    explicit ThreadLevel(Level level) : before(set_thread_level(level)) {}
    ~ThreadLevel() { set_thread_level(before); }
    ThreadLevel(const ThreadLevel &) = delete;
    ThreadLevel &operator=(const ThreadLevel &) = delete;
};

}  // namespace ct
