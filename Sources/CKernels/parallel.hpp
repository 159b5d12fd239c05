// Loops on several threads. These files are compiled without -fopenmp, where at::parallel_for runs on one thread.
#pragma once

#include "levels.hpp"

#include <ATen/Parallel.h>

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <exception>

namespace ct {

/// libgomp's entry for a parallel region, which a compiler with -fopenmp would call. libtorch has brought libgomp
/// along, so that the threads are the ones of its own operations. Null where libtorch was built with something else.
using Region = void (*)(void (*)(void *), void *, unsigned, unsigned);
inline const Region parallel_region = reinterpret_cast<Region>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));

/// Runs `body(first, last)` over `0 ..< count`, on at most `wanted` threads. What one of them throws is thrown here
/// when all have ended.
template <class Body>
void parallel(int64_t count, int64_t wanted, const Body &body) {
    wanted = std::min<int64_t>({wanted, count, at::get_num_threads()});
    if (wanted < 2 || !parallel_region || at::in_parallel_region()) {
        body(int64_t(0), count);
        return;
    }
    struct Work {
        const Body &body;
        int64_t count;
        std::atomic<int64_t> next;
        int64_t share;
        Level level;
        std::exception_ptr error;
        std::atomic_flag has_error = ATOMIC_FLAG_INIT;
    } work{body, count, {0}, (count + wanted - 1) / wanted, ct::level(), nullptr};
    parallel_region(
        [](void *pointer) {
            Work &work = *static_cast<Work *>(pointer);
            const ThreadLevel lowered(work.level);
            // Whoever comes takes the next share, so that fewer threads than were asked for still do it all.
            for (;;) {
                const int64_t first = work.next.fetch_add(work.share);
                if (first >= work.count) return;
                try {
                    work.body(first, std::min(first + work.share, work.count));
                } catch (...) {
                    if (!work.has_error.test_and_set()) work.error = std::current_exception();
                }
            }
        },
        &work, static_cast<unsigned>(wanted), 0);
    if (work.error) std::rethrow_exception(work.error);
}

}  // namespace ct
