/* Elementary functions that the compiler can vectorise inside `#pragma omp simd` loops. */
#ifndef CG_OPS_SIMD_MATH_H
#define CG_OPS_SIMD_MATH_H

#include <math.h>
#include <stdint.h>

/* e^r for |r| <= ln 2 / 2. source  Cephes (S. Moshier), expf */
static inline float cg_exp_polynomial(float r) {
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * (r * r) + r + 1.0f;
}

/* e^x, at most 2 ulp off where the result is a normal number; 0 at -inf and below -104, inf above
 * 88.73, gradual underflow between, NaN stays NaN.
 *   e^x = 2^n e^r,  n = round(x / ln 2),  r = x - n ln 2,  |r| <= ln 2 / 2
 * 2^n is applied in two factors, so that neither leaves the exponent's range.
 * source  Cephes (S. Moshier), expf: the split of ln 2 */
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
    float p = cg_exp_polynomial(r + whole * 2.12194440e-4f);
    int32_t half = n >> 1;
    low.u = (uint32_t)(half + 127) << 23;
    high.u = (uint32_t)(n - half + 127) << 23;
    return p * low.f * high.f;
}

/* The same at two thirds of the cost for x in [-87.3, 88.3], where the result is a normal number;
 * NaN stays NaN, and elsewhere the result is any number. */
static inline float cg_exp_boundedf(float x) {
    const float round = 12582912.0f;
    union {
        float f;
        uint32_t u;
    } t, scale;
    t.f = x * 1.44269504088896341f + round;
    float whole = t.f - round;
    float r = x - whole * 0.693359375f;
    scale.u = (t.u << 23) + 0x3f800000u; /* the shift leaves n of t's bits */
    return cg_exp_polynomial(r + whole * 2.12194440e-4f) * scale.f;
}

/* ln(1 + f) for f in [-0.3, 1], 2 ulp off; NaN stays NaN.
 *   ln(1 + f) = 2 atanh(s) = f - s (f - s^2 P(s^2)),  s = f / (2 + f)
 * so that the rounding of s counts for little: f itself is exact.
 * source  FreeBSD msun, log1p: the form. P: minimax, to 6e-9 of the result */
static inline float cg_log1pf(float f) {
    float s = f / (2.0f + f), z = s * s;
    float p = 2.800206156e-1f;
    p = p * z + 2.800392133e-1f;
    p = p * z + 4.002139114e-1f;
    p = p * z + 6.666641877e-1f;
    return f - s * (f - z * p);
}

/* ln x, 1 ulp off; -inf at 0, NaN below, inf at inf, NaN stays NaN.
 *   ln x = n ln 2 + ln(m),  x = 2^n m,  sqrt(1/2) <= m < sqrt(2) */
static inline float cg_logf(float x) {
    union {
        float f;
        uint32_t u;
    } m;
    const int subnormal = x < 0x1p-126f;
    m.f = subnormal ? x * 0x1p23f : x;
    int32_t n = (int32_t)(m.u - 0x3f3504f3u) >> 23; /* the bits of sqrt(1/2) */
    m.u -= (uint32_t)n << 23;
    float whole = (float)(subnormal ? n - 23 : n);
    float y = whole * 0.693359375f + (cg_log1pf(m.f - 1.0f) - whole * 2.12194440e-4f);
    y = x < INFINITY ? y : x; /* NaN compares false */
    y = x == 0.0f ? -INFINITY : y;
    return x < 0.0f ? NAN : y;
}

/* σ(x) = 1 / (1 + e^-x), 3 ulp off, of small results too; NaN stays NaN. */
static inline float cg_sigmoidf(float x) {
    float e = cg_expf(-fabsf(x)), r = 1.0f / (1.0f + e);
    return x < 0.0f ? e * r : r;
}

/* σ'(x) = σ(x) σ(-x), 5 ulp off; beside cg_sigmoidf(x) it costs two products. */
static inline float cg_sigmoid_slopef(float x) {
    float e = cg_expf(-fabsf(x)), r = 1.0f / (1.0f + e);
    return e * r * r;
}

/* tanh x, 2 ulp off; NaN stays NaN. Near 0 a polynomial, where 1 - 2 / (1 + e^2x) cancels.
 * source  Cephes (S. Moshier), tanhf */
static inline float cg_tanhf(float x) {
    float a = fabsf(x), z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    p = p * (z * x) + x;
    float far = 1.0f - 2.0f / (1.0f + cg_expf(2.0f * a));
    return a < 0.625f ? p : copysignf(far, x);
}

/* Φ(-z) e^(z^2 / 2) for z in [0, 15], Mills' ratio over √(2π), 7 ulp off; NaN stays NaN.
 * With e^(-z^2 / 2) beside it, it gives Φ where 1 + erf cancels, and φ in the same breath.
 *   = P(q) / (z + 4),  q = (z - 4) / (z + 4)
 * P: minimax, to 7e-8 of the result, then rounded so that its evaluation errs least */
static inline float cg_millsf(float z) {
    float r = 1.0f / (z + 4.0f), q = 1.0f - 8.0f * r;
    float p = 3.851426119e-4f;
    p = p * q + 1.529397723e-3f;
    p = p * q - 3.670451682e-3f;
    p = p * q - 7.534814980e-3f;
    p = p * q + 6.044389274e-2f;
    p = p * q - 1.865205251e-1f;
    p = p * q + 3.871335387e-1f;
    p = p * q - 6.078966824e-1f;
    p = p * q + 7.552851439e-1f;
    return p * r;
}

#endif
