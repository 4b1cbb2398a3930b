/* bf16, the upper half of an f32: conversions that the compiler vectorises, and loads and stores of
 * kernels that take either.
 *
 * A kernel that reads or writes both types has one body, always inlined, whose types are constants:
 *
 *     CG_INLINE void body(const void *x, void *y, int64_t n, int x_bf16, int y_bf16) {
 *         for (int64_t i = 0; i < n; i++) cg_store(y, i, f(cg_load(x, i, x_bf16)), y_bf16);
 *     }
 *     CG_KERNEL static void kernel(const void *x, void *y, int64_t n, int x_bf16, int y_bf16) {
 *         CG_TYPED(body, x_bf16, y_bf16, x, y, n)
 *     } */
#ifndef CG_OPS_BF16_H
#define CG_OPS_BF16_H

#include "graph/op.h"

#define CG_INLINE static inline __attribute__((always_inline)) /* cloned with what calls it */

static inline float cg_bf16_widen(uint16_t x) {
    union {
        uint32_t u;
        float f;
    } c = {.u = (uint32_t)x << 16};
    return c.f;
}

/* Rounds to nearest, ties to even; NaN stays NaN. */
static inline uint16_t cg_bf16_round(float x) {
    union {
        float f;
        uint32_t u;
    } c = {.f = x};
    uint32_t nearest = (c.u + 0x7fffu + (c.u >> 16 & 1)) >> 16, quiet = c.u >> 16 | 0x40u;
    return (uint16_t)(x == x ? nearest : quiet);
}

CG_INLINE float cg_load(const void *x, int64_t i, int bf16) {
    return bf16 ? cg_bf16_widen(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

CG_INLINE void cg_store(void *y, int64_t i, float v, int bf16) {
    if (bf16)
        ((uint16_t *)y)[i] = cg_bf16_round(v);
    else
        ((float *)y)[i] = v;
}

/* Calls body(…, a, b) with constant a and b, each 0 or 1. */
#define CG_TYPED(body, a, b, ...)                                                                  \
    if (a) {                                                                                       \
        if (b)                                                                                     \
            body(__VA_ARGS__, 1, 1);                                                               \
        else                                                                                       \
            body(__VA_ARGS__, 1, 0);                                                               \
    } else if (b)                                                                                  \
        body(__VA_ARGS__, 0, 1);                                                                   \
    else                                                                                           \
        body(__VA_ARGS__, 0, 0);

static inline int cg_is_bf16(const cg_value *v) {
    return v->dtype == CG_BF16;
}

#endif
