/* Activations, y = f(x) of one number: the values of the ops of these names, and of the products
 * that end with one. NaN comes out as NaN, and infinities as f's limits. */
#ifndef CG_OPS_ACTIVATION_VALUE_H
#define CG_OPS_ACTIVATION_VALUE_H

#include "ops/simd_math.h"

/* What silu and its like share: y = x σ(u(x)) with u' ≥ 0 where it counts. Beyond 105 σ(u) is 0 or
 * 1: x is held within that where it meets a 0, which an infinite one would turn into NaN. */
static inline float cg_gate(float x, float u) {
    return (x < -105.0f ? -105.0f : x) * cg_sigmoidf(u);
}

static inline float cg_relu_value(float x) {
    return x < 0 ? 0 : x;
}

static inline float cg_silu_value(float x) {
    return cg_gate(x, x);
}

#define CG_QUICKGELU_RATE 1.702f

static inline float cg_quickgelu_value(float x) {
    return cg_gate(x, CG_QUICKGELU_RATE * x);
}

#define CG_GELU_TANH_RATE  1.5957691216f /* 2 √(2/π) */
#define CG_GELU_TANH_CUBIC 0.044715f

static inline float cg_gelu_tanh_value(float x) {
    return cg_gate(x, CG_GELU_TANH_RATE * x * (1.0f + CG_GELU_TANH_CUBIC * (x * x)));
}

/* Beyond it the tail is 0; within it e^(-z²/2) is a normal number. NaN compares false. */
#define CG_GELU_LIMIT 13.2f

static inline float cg_gelu_value(float x) {
    float z = fabsf(x);
    float tail = cg_exp_boundedf(-0.5f * z * z) * (z * cg_millsf(z));
    return (x < 0.0f ? 0.0f : x) - (z > CG_GELU_LIMIT ? 0.0f : tail);
}

#endif
