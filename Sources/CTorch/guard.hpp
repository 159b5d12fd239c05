// Shared by the files of this folder: the handle types and the guard that no exception passes.
#pragma once

#include "ctorch.h"

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <exception>
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

/// Runs `body`; an exception becomes a status and a one-line message (without libtorch's C++ backtrace).
template <class Body>
static ct_status guard(Body &&body) noexcept {
    try {
        body();
        return 0;
    } catch (const c10::Error &error) {
        last_error = error.what_without_backtrace();
    } catch (const std::exception &error) {
        last_error = error.what();
    } catch (...) {
        last_error = "unknown C++ exception";
    }
    return 1;
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
