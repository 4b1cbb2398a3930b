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
 *     }
 *
 * Where that would be many bodies, or long ones, a kernel works on f32 alone, and what is bf16
 * passes through rows that stay in cache (cg_row_widen, cg_row_narrow; for ops that visit each
 * element, ops/elementwise.h does it). */
#ifndef CG_OPS_BF16_H
#define CG_OPS_BF16_H

#include "graph/op.h"

#define CG_INLINE static inline __attribute__((always_inline)) /* cloned with what calls it */

static inline float cg_bf16_widen(uint16_t x) {
    union {
        uint32_t u;
        float f;
    } c;
    c.u = (uint32_t)x << 16;
    return c.f;
}

/* Rounds to nearest, ties to even; NaN stays NaN. */
static inline uint16_t cg_bf16_round(float x) {
    union {
        float f;
        uint32_t u;
    } c;
    c.f = x;
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

/* n neighbours of x from element `at`, as f32: where they stand, or widened into `buffer`. */
CG_INLINE const float *cg_row_widen(const void *x, int64_t at, int64_t n, int bf16, float *buffer) {
    if (!bf16) return (const float *)x + at;
    const uint16_t *from = (const uint16_t *)x + at;
    for (int64_t i = 0; i < n; i++) buffer[i] = cg_bf16_widen(from[i]);
    return buffer;
}

/* Where to write n neighbours of y from element `at`: there, or into `buffer`; and what takes them
 * from it. */
CG_INLINE float *cg_row_begin(void *y, int64_t at, int bf16, float *buffer) {
    return bf16 ? buffer : (float *)y + at;
}

CG_INLINE void cg_row_narrow(void *y, int64_t at, int64_t n, int bf16, const float *row) {
    if (!bf16) return;
    uint16_t *to = (uint16_t *)y + at;
    for (int64_t i = 0; i < n; i++) to[i] = cg_bf16_round(row[i]);
}

static inline int cg_is_bf16(const cg_value *v) {
    return v->dtype == CG_BF16;
}

static inline int cg_any_bf16(const cg_node *n) {
    int any = 0;
    for (int i = 0; i < n->n_in; i++) any |= cg_is_bf16(n->in[i]);
    for (int i = 0; i < n->n_out; i++) any |= cg_is_bf16(n->out[i]);
    return any;
}

#endif
