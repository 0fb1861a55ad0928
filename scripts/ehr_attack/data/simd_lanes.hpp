// Float32 values of many rows at once, a row a SIMD lane, and the activations of an LSTM on them.
//
// No operation mixes lanes, so that the bits of a row do not depend on its neighbours.

#pragma once

#include <cstdint>

#if defined(__SSE__)
#include <immintrin.h>
#endif

// Bytes of a vector, and how many outputs a tile has: with two vectors of each they must fit the registers.
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define TILE 12
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#define TILE 6
#elif defined(__aarch64__)
#define VECTOR_BYTES 16
#define TILE 12
#else
#define VECTOR_BYTES 16
#define TILE 6
#endif

namespace {

typedef float Lanes __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef float LanesInMemory __attribute__((vector_size(VECTOR_BYTES), may_alias, aligned(4)));
typedef uint32_t Bits __attribute__((vector_size(VECTOR_BYTES), may_alias));

constexpr int kLanes = VECTOR_BYTES / 4;
constexpr int kVectors = 2;
constexpr int kBlock = kVectors * kLanes;

inline Lanes splat(float value) { return Lanes{} + value; }

inline Lanes load(const float* from) { return *reinterpret_cast<const LanesInMemory*>(from); }

inline void store(float* to, Lanes values) { *reinterpret_cast<LanesInMemory*>(to) = values; }

inline Bits bits_of(Lanes values) { return reinterpret_cast<Bits>(values); }

inline Lanes lanes_of(Bits bits) { return reinterpret_cast<Lanes>(bits); }

// The smaller and the larger of two; NaN in `values` stays (x86: where an operand is NaN, the second one is taken).
#if defined(__AVX512F__)
inline Lanes at_most(Lanes values, float limit) { return Lanes(_mm512_min_ps(__m512(splat(limit)), __m512(values))); }
inline Lanes at_least(Lanes values, float limit) { return Lanes(_mm512_max_ps(__m512(splat(limit)), __m512(values))); }
#elif defined(__AVX__)
inline Lanes at_most(Lanes values, float limit) { return Lanes(_mm256_min_ps(__m256(splat(limit)), __m256(values))); }
inline Lanes at_least(Lanes values, float limit) { return Lanes(_mm256_max_ps(__m256(splat(limit)), __m256(values))); }
#elif defined(__SSE__)
inline Lanes at_most(Lanes values, float limit) { return Lanes(_mm_min_ps(__m128(splat(limit)), __m128(values))); }
inline Lanes at_least(Lanes values, float limit) { return Lanes(_mm_max_ps(__m128(splat(limit)), __m128(values))); }
#else
inline Lanes at_most(Lanes values, float limit) { return values > splat(limit) ? splat(limit) : values; }
inline Lanes at_least(Lanes values, float limit) { return values < splat(limit) ? splat(limit) : values; }
#endif

// exp(x) = power * (1 + rest), power a power of two, |rest| < 0.42; for -87 <= x <= 87.
// rest = r + r^2 P(r), P fitted for the smallest largest error (3e-9 of exp, before rounding).
struct Exponential {
    Lanes power, rest;
};

inline Exponential exponential(Lanes x) {
    const float kShift = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    const Lanes shifted = x * splat(1.44269504f) + splat(kShift);
    const Lanes whole = shifted - splat(kShift);
    const Lanes r = x - whole * splat(0.693147182f);
    Lanes p = splat(0.0013814599f) * r + splat(0.0083687166f);
    p = p * r + splat(0.0416683890f);
    p = p * r + splat(0.1666652113f);
    p = p * r + splat(0.4999999404f);
    const Bits exponent = (bits_of(shifted) << 23) + 0x3f800000u;
    return {lanes_of(exponent), (r * r) * p + r};
}

inline Lanes sigmoid(Lanes x) {
    const Exponential e = exponential(-at_most(at_least(x, -87.0f), 87.0f));
    return splat(1.0f) / (splat(1.0f) + (e.power * e.rest + e.power));
}

inline Lanes hyperbolic_tangent(Lanes x) {
    const Bits sign = bits_of(x) & 0x80000000u;
    const Lanes magnitude = at_most(lanes_of(bits_of(x) & 0x7fffffffu), 10.0f);
    const Exponential e = exponential(magnitude * splat(-2.0f));
    const Lanes less_one = e.power * e.rest + (e.power - splat(1.0f));
    return lanes_of(bits_of(less_one / (splat(-2.0f) - less_one)) | sign);
}

}  // namespace
