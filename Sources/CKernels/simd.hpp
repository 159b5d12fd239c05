// Passes over memory: loops that the compiler turns into vectors, compiled once for each level of processor.
#pragma once

#include "levels.hpp"

#include <c10/util/BFloat16.h>

#include <bit>
#include <cstdint>

#define CT_PASS __attribute__((always_inline)) inline
/// The iterations of the loop that follows touch different elements.
#define CT_LANES _Pragma("clang loop vectorize(assume_safety)")

#if defined(__x86_64__)
#define CT_AVX2 __attribute__((target("avx2,fma")))
#define CT_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#else
#define CT_AVX2
#define CT_AVX512
#endif

namespace ct {

template <auto pass, class... Arguments>
CT_AVX512 void run_avx512(Arguments... arguments) {
    pass(arguments...);
}

template <auto pass, class... Arguments>
CT_AVX2 void run_avx2(Arguments... arguments) {
    pass(arguments...);
}

/// Runs a `CT_PASS`, compiled for the calling thread's level.
template <auto pass, class... Arguments>
void run(Arguments... arguments) {
    switch (level()) {
    case Level::avx512: return run_avx512<pass>(arguments...);
    case Level::avx2: return run_avx2<pass>(arguments...);
    default: return pass(arguments...);
    }
}

/// Numbers of a vector at the highest level.
constexpr int64_t widest_lanes = 16;

/// Runs `Pass::run`, written for vectors of any length, with those of the calling thread's level.
template <class Pass, class... Arguments>
void run_lanes(Arguments... arguments) {
    switch (level()) {
    case Level::avx512: return run_avx512<Pass::template run<16>>(arguments...);
    case Level::avx2: return run_avx2<Pass::template run<8>>(arguments...);
    default: return Pass::template run<4>(arguments...);
    }
}

CT_PASS float get(const float *from) { return *from; }

CT_PASS float get(const c10::BFloat16 *from) { return std::bit_cast<float>(static_cast<uint32_t>(from->x) << 16); }

CT_PASS void put(float *to, float value) { *to = value; }

CT_PASS void put(c10::BFloat16 *to, float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    // Rounding up could carry out of a NaN.
    to->x = static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}

/// e^x for x <= 0, to 6 digits; e^-87 below -87.
CT_PASS float exponential(float x) {
#pragma clang fp reassociate(off)
    x = x < -87.0f ? -87.0f : x;
    const int32_t power = static_cast<int32_t>(x * 1.44269504f - 0.5f);  // towards 0: the nearest whole number
    const float rest = (x - static_cast<float>(power) * 0.693359375f) + static_cast<float>(power) * 2.12194440e-4f;
    float sum = 1.0f / 720;
    sum = sum * rest + 1.0f / 120;
    sum = sum * rest + 1.0f / 24;
    sum = sum * rest + 1.0f / 6;
    sum = sum * rest + 0.5f;
    sum = sum * rest + 1;
    sum = sum * rest + 1;
    return sum * std::bit_cast<float>((power + 127) << 23);
}

}  // namespace ct
