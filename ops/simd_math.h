/* Elementary functions that the compiler can vectorise inside `#pragma omp simd` loops. */
#ifndef CG_OPS_SIMD_MATH_H
#define CG_OPS_SIMD_MATH_H

#include <stdint.h>

/* e^x, at most 2 ulp off where the result is a normal number; 0 at -inf and below -104, inf above
 * 88.73, gradual underflow between, NaN stays NaN.
 *   e^x = 2^n e^r,  n = round(x / ln 2),  r = x - n ln 2,  |r| <= ln 2 / 2
 * 2^n is applied in two factors, so that neither leaves the exponent's range.
 * source  Cephes (S. Moshier), expf: the polynomial and the split of ln 2 */
static inline float cg_expf(float x) {
    const float round = 12582912.0f; /* 1.5 · 2^23: adding it rounds to a whole number */
    union {
        float f;
        uint32_t u;
    } t, low, high;
    float y = x < -105.0f ? -105.0f : x;
    y = y > 89.0f ? 89.0f : y;
    t.f = y * 1.44269504088896341f + round;
    int32_t n = (int32_t)(t.u - 0x4b400000u);
    float whole = t.f - round;
    float r = y - whole * 0.693359375f;
    r = r + whole * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    int32_t half = n >> 1;
    low.u = (uint32_t)(half + 127) << 23;
    high.u = (uint32_t)(n - half + 127) << 23;
    return p * low.f * high.f;
}

#endif
