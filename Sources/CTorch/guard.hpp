// Shared by the files of this folder: the handle types and the guard that no exception passes.
#pragma once

#include "ctorch.h"

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <cctype>
#include <exception>
#include <new>
#include <string>
#include <vector>

// Swift links libstdc++ with the C++11 ABI; so must the wheel.
static_assert(_GLIBCXX_USE_CXX11_ABI == 1, "libtorch must be built with the C++11 ABI");

namespace ct {
extern std::atomic<int64_t> live;
extern thread_local std::string last_error;
}  // namespace ct

struct ct_tensor_s {
    at::Tensor value;
    explicit ct_tensor_s(at::Tensor tensor) : value(std::move(tensor)) { ct::live.fetch_add(1); }
    ~ct_tensor_s() { ct::live.fetch_sub(1); }
};

struct ct_generator_s {
    at::Generator value;
};

namespace ct {

/// Whether the message of an exception is of memory that there was not: libtorch, oneDNN and MKL have no type for it.
bool is_of_memory(std::string message);
/// Frees what `ct_reserve` put by; false where nothing was.
bool spend_reserve();

/// Runs `body`; an exception becomes a status and a one-line message (without libtorch's C++ backtrace).
///
/// Where memory runs out, `body` gets a second try with the memory that was put by, and `ct_memory_is_short` says so
/// from then on: operations do not throw in Swift, and so the next place that can does. A body that cannot be run twice
/// says `repeats` false.
template <class Body>
static ct_status guard(Body &&body, bool repeats = true) noexcept {
    bool lacked_memory = false;
    try {
        body();
        return CT_OK;
    } catch (const c10::OutOfMemoryError &error) {
        lacked_memory = true;
        last_error = error.what_without_backtrace();
    } catch (const c10::Error &error) {
        last_error = error.what_without_backtrace();
        lacked_memory = is_of_memory(last_error);
    } catch (const std::bad_alloc &) {
        lacked_memory = true;
        last_error = "no memory";
    } catch (const std::exception &error) {
        last_error = error.what();
        lacked_memory = is_of_memory(last_error);
    } catch (...) {
        last_error = "unknown C++ exception";
    }
    if (!lacked_memory) return CT_FAILED;
    return repeats && spend_reserve() ? guard(body, false) : CT_NO_MEMORY;
}

inline ct_tensor wrap(at::Tensor tensor) { return new ct_tensor_s(std::move(tensor)); }
inline at::IntArrayRef ints(const int64_t *values, int32_t count) {
    return at::IntArrayRef(values, static_cast<size_t>(count));
}
inline std::optional<at::Tensor> optional(ct_tensor tensor) {
    return tensor ? std::optional<at::Tensor>(tensor->value) : std::nullopt;
}
inline at::Device device(ct_device index) {
    return index < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
}
inline at::TensorOptions options(int32_t dtype, ct_device index) {
    return at::TensorOptions().dtype(static_cast<at::ScalarType>(dtype)).device(device(index));
}
inline std::vector<at::Tensor> list(const ct_tensor *tensors, int32_t count) {
    std::vector<at::Tensor> values;
    values.reserve(static_cast<size_t>(count));
    for (int32_t i = 0; i < count; ++i) values.push_back(tensors[i]->value);
    return values;
}

}  // namespace ct
