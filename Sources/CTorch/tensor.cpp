// The library itself, generators, creation of tensors and access to their elements.
#include "guard.hpp"
#include "kernels.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/headeronly/version.h>

#include <dlfcn.h>
#include <malloc.h>

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

static_assert(TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 11, "Tihua needs libtorch 2.11 or newer");

using namespace ct;

std::atomic<int64_t> ct::live{0};
thread_local std::string ct::last_error;

const char *ct_last_error(void) noexcept { return last_error.c_str(); }
int64_t ct_live(void) noexcept { return live.load(); }
const char *ct_version(void) noexcept { return TORCH_VERSION; }

namespace {

std::atomic<void *> reserve{nullptr};
std::atomic<size_t> reserve_size{0};
std::atomic<bool> memory_is_short{false};

}  // namespace

bool ct::is_of_memory(std::string message) {
    for (char &letter : message) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    for (const char *words : {"can't allocate memory", "cannot allocate memory", "out of memory", "not enough memory",
                              "out_of_memory", "bad_alloc", "failed to allocate", "could not create a memory"}) {
        if (message.find(words) != std::string::npos) return true;
    }
    return false;
}

bool ct::spend_reserve() {
    void *memory = reserve.exchange(nullptr);
    if (!memory) return false;
    std::free(memory);
    memory_is_short = true;
    return true;
}

ct_status ct_reserve(size_t bytes) noexcept {
    return guard(
        [&] {
            reserve_size = bytes;
            std::free(reserve.exchange(nullptr));
            if (bytes == 0) return;
            void *memory = std::malloc(bytes);
            if (!memory) throw std::bad_alloc();
            reserve = memory;
        },
        /*repeats=*/false);
}

ct_status ct_limit_heaps(int32_t count) noexcept {
    return guard([&] {
#if defined(M_ARENA_MAX)
        mallopt(M_ARENA_MAX, count);
#else
        (void)count;
#endif
    });
}

ct_status ct_keep_memory() noexcept {
    return guard([&] {
#if defined(M_MMAP_THRESHOLD) && defined(M_TRIM_THRESHOLD) && defined(M_ARENA_MAX)
        mallopt(M_MMAP_THRESHOLD, 1 << 30);
        mallopt(M_TRIM_THRESHOLD, -1);
        // The heaps of further threads cannot grow so far.
        mallopt(M_ARENA_MAX, 1);
#endif
    });
}

ct_status ct_memory_is_short(bool again, bool *out) noexcept {
    return guard([&] {
        *out = memory_is_short;
        if (!again || !memory_is_short.exchange(false)) return;
        std::free(reserve.exchange(std::malloc(reserve_size)));
    });
}

ct_status ct_cpu_capability(const char **out) noexcept {
    return guard([&] {
        static const std::string capability = at::get_cpu_capability();
        *out = capability.c_str();
    });
}

static_assert(int(Level::libtorch) == CT_KERNELS_LIBTORCH && int(Level::avx512) == CT_KERNELS_AVX512);
static_assert(int(Units::avx512) == CT_BFLOAT16_AVX512 && int(Units::amx) == CT_BFLOAT16_AMX);

ct_status ct_kernels(int32_t *out) noexcept {
    return guard([&] { *out = static_cast<int32_t>(level()); });
}

ct_status ct_set_kernels(int32_t level, int32_t *before) noexcept {
    return guard([&] {
        TORCH_CHECK(level >= -1 && level <= CT_KERNELS_AVX512, "there is no level of kernels ", level);
        const auto set = set_thread_level(level < 0 ? std::nullopt : std::optional(static_cast<Level>(level)));
        *before = set ? static_cast<int32_t>(*set) : -1;
    });
}

ct_status ct_bfloat16_units(int32_t *out) noexcept {
    return guard([&] { *out = static_cast<int32_t>(bfloat16_units()); });
}

ct_status ct_cuda_device_count(int32_t *out) noexcept {
    return guard([&] {
        // libtorch_cuda registers itself when it is opened; nothing else refers to it, so that a CPU build starts too.
        static std::once_flag once;
        std::call_once(once, [] { dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL); });
        *out = at::hasCUDA() ? static_cast<int32_t>(at::detail::getCUDAHooks().deviceCount()) : 0;
    });
}

ct_status ct_set_num_threads(int32_t count) noexcept {
    return guard([&] {
        at::init_num_threads();
        at::set_num_threads(count);
    });
}

ct_status ct_get_num_threads(int32_t *out) noexcept {
    return guard([&] { *out = at::get_num_threads(); });
}

ct_status ct_synchronize(ct_device index) noexcept {
    return guard([&] {
        if (index >= 0) at::detail::getCUDAHooks().deviceSynchronize(static_cast<c10::DeviceIndex>(index));
    });
}

ct_status ct_generator_new(ct_device index, uint64_t seed, ct_generator *out) noexcept {
    return guard([&] {
        at::Generator generator = index < 0
            ? at::detail::createCPUGenerator()
            : at::globalContext().getAcceleratorHooksInterface(at::kCUDA).getNewGenerator(
                  static_cast<c10::DeviceIndex>(index));
        generator.set_current_seed(seed);
        *out = new ct_generator_s{generator};
    });
}

void ct_generator_free(ct_generator generator) noexcept {
    (void)guard([&] { delete generator; });
}

ct_status ct_generator_state(ct_generator generator, ct_tensor *out) noexcept {
    return guard([&] {
        std::lock_guard<std::mutex> lock(generator->value.mutex());
        *out = wrap(generator->value.get_state());
    });
}

ct_status ct_generator_set_state(ct_generator generator, ct_tensor state) noexcept {
    return guard([&] {
        std::lock_guard<std::mutex> lock(generator->value.mutex());
        generator->value.set_state(state->value);
    });
}

ct_status ct_from_data(const void *data, size_t bytes, const int64_t *shape, int32_t rank, int32_t dtype,
                       ct_tensor *out) noexcept {
    return guard([&] {
        at::Tensor tensor = at::empty(ints(shape, rank), options(dtype, -1));
        TORCH_CHECK(tensor.nbytes() == bytes, "shape ", tensor.sizes(), " needs ", tensor.nbytes(), " bytes, given ",
                    bytes);
        if (bytes > 0) std::memcpy(tensor.data_ptr(), data, bytes);
        *out = wrap(std::move(tensor));
    });
}

ct_status ct_from_borrowed(const void *data, const int64_t *shape, const int64_t *strides, int32_t rank, int32_t dtype,
                           void (*release)(void *), void *context, ct_tensor *out) noexcept {
    return guard([&] {
        // Disarmed until the tensor stands: else an exception inside from_blob, which owns the deleter by then, would
        // release the context here and the caller would release it again.
        auto armed = std::make_shared<bool>(false);
        auto deleter = [release, context, armed](void *) {
            if (*armed) release(context);
        };
        void *memory = const_cast<void *>(data);  // a mapped file: the caller never writes to it
        at::Tensor tensor = strides
            ? at::from_blob(memory, ints(shape, rank), ints(strides, rank), deleter, options(dtype, -1))
            : at::from_blob(memory, ints(shape, rank), deleter, options(dtype, -1));
        *out = wrap(std::move(tensor));
        *armed = true;
    });
}

ct_status ct_full(const int64_t *shape, int32_t rank, double value, int32_t dtype, ct_device index,
                  ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::full(ints(shape, rank), value, options(dtype, index))); });
}

ct_status ct_empty(const int64_t *shape, int32_t rank, int32_t dtype, ct_device index, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::empty(ints(shape, rank), options(dtype, index))); });
}

ct_status ct_arange(int64_t start, int64_t end, int32_t dtype, ct_device index, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::arange(start, end, options(dtype, index))); });
}

ct_status ct_randn(const int64_t *shape, int32_t rank, ct_generator generator, int32_t dtype, ct_device index,
                   ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::randn(ints(shape, rank), generator->value, options(dtype, index))); });
}

ct_status ct_rand(const int64_t *shape, int32_t rank, ct_generator generator, int32_t dtype, ct_device index,
                  ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(at::rand(ints(shape, rank), generator->value, options(dtype, index))); });
}

void ct_free(ct_tensor tensor) noexcept {
    (void)guard([&] { delete tensor; });
}

ct_status ct_alias(ct_tensor a, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(a->value); });
}

ct_status ct_rank(ct_tensor a, int32_t *out) noexcept {
    return guard([&] { *out = static_cast<int32_t>(a->value.dim()); });
}

ct_status ct_shape(ct_tensor a, int64_t *out) noexcept {
    return guard([&] {
        for (int64_t size : a->value.sizes()) *out++ = size;
    });
}

ct_status ct_dtype(ct_tensor a, int32_t *out) noexcept {
    return guard([&] { *out = static_cast<int32_t>(a->value.scalar_type()); });
}

ct_status ct_device_of(ct_tensor a, ct_device *out) noexcept {
    return guard([&] { *out = a->value.is_cuda() ? a->value.get_device() : -1; });
}

ct_status ct_item(ct_tensor a, double *out) noexcept {
    return guard([&] { *out = a->value.item().toDouble(); });
}

ct_status ct_copy_out(ct_tensor a, int32_t dtype, void *out, size_t bytes) noexcept {
    return guard([&] {
        at::Tensor tensor = a->value.detach().to(at::kCPU, static_cast<at::ScalarType>(dtype)).contiguous();
        TORCH_CHECK(tensor.nbytes() == bytes, "tensor ", tensor.sizes(), " has ", tensor.nbytes(), " bytes, room for ",
                    bytes);
        if (bytes > 0) std::memcpy(out, tensor.data_ptr(), bytes);
    });
}

ct_status ct_data_pointer(ct_tensor a, void **out) noexcept {
    return guard([&] {
        TORCH_CHECK(a->value.is_cpu() && a->value.is_contiguous(), "needs a contiguous tensor on the CPU");
        *out = a->value.data_ptr();
    });
}

ct_status ct_to(ct_tensor a, int32_t dtype, ct_device index, ct_tensor *out) noexcept {
    return guard([&] { *out = wrap(a->value.to(device(index), static_cast<at::ScalarType>(dtype))); });
}
