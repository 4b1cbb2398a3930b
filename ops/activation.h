/* Ops y = f(x), element by element, from inline functions of the file that includes this:
 *   value(x)         f(x)
 *   gradient(v, dy)  dx, where v is x or y
 * NaN must come out of value as NaN, and infinities as f's limits. */
#ifndef CG_OPS_ACTIVATION_H
#define CG_OPS_ACTIVATION_H

#include "ops/activation_value.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

/* Defines cg_op_NAME and the builder cg_NAME from value and the file's own vjp. */
#define CG_UNARY(NAME)                                                                             \
    CG_KERNEL static void value_range(const void *arg, int64_t begin, int64_t end) {               \
        const cg_task *t = arg;                                                                    \
        const float *x = t->in[0];                                                                 \
        float *y = t->out[0];                                                                      \
        _Pragma("omp simd") for (int64_t i = begin; i < end; i++) y[i] = value(x[i]);              \
    }                                                                                              \
    static cg_status run(const cg_task *t) {                                                       \
        cg_parallel_elements(t, value_range);                                                      \
        return CG_OK;                                                                              \
    }                                                                                              \
    const cg_op cg_op_##NAME = {                                                                   \
        .name = #NAME,                                                                             \
        .min_in = 1,                                                                               \
        .max_in = 1,                                                                               \
        .n_out = 1,                                                                                \
        .infer = cg_unary_infer,                                                                   \
        .vjp = vjp,                                                                                \
        .run = run,                                                                                \
        .inplace = 1,                                                                              \
    };                                                                                             \
    cg_value *cg_##NAME(cg_graph *g, cg_value *x) {                                                \
        return cg_node_add1(g, &cg_op_##NAME, NULL, 1, &x);                                        \
    }

/* The same with the op of a gradient, cg_op_NAME_grad. operand: what gradient reads, `in` (x) or
 * `out` (y, where it can: x need not be kept then). */
#define CG_ACTIVATION(NAME, operand)                                                               \
    static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {           \
        cg_value *in[] = {n->operand[0], dy[0]};                                                   \
        dx[0] = cg_node_add1(g, &cg_op_##NAME##_grad, NULL, 2, in);                                \
    }                                                                                              \
    CG_UNARY(NAME)                                                                                 \
    CG_KERNEL static void gradient_range(const void *arg, int64_t begin, int64_t end) {            \
        const cg_task *t = arg;                                                                    \
        const float *v = t->in[0], *dy = t->in[1];                                                 \
        float *dx = t->out[0];                                                                     \
        _Pragma("omp simd") for (int64_t i = begin; i < end; i++) dx[i] = gradient(v[i], dy[i]);   \
    }                                                                                              \
    static cg_status grad_run(const cg_task *t) {                                                  \
        cg_parallel_elements(t, gradient_range);                                                   \
        return CG_OK;                                                                              \
    }                                                                                              \
    const cg_op cg_op_##NAME##_grad = {                                                            \
        .name = #NAME "_grad",                                                                     \
        .min_in = 2,                                                                               \
        .max_in = 2,                                                                               \
        .n_out = 1,                                                                                \
        .infer = cg_unary_grad_infer,                                                              \
        .run = grad_run,                                                                           \
        .inplace = 3,                                                                              \
    };

/* x within what cg_gate holds it to, for its slope. */
static inline float cg_gate_bound(float x) {
    float low = x < -105.0f ? -105.0f : x;
    return low > 105.0f ? 105.0f : low;
}

/* dy/dx = σ(u) + x u' σ'(u); x from cg_gate_bound, u and du = u' at it. */
static inline float cg_gate_slope(float x, float u, float du) {
    return cg_sigmoidf(u) + x * du * cg_sigmoid_slopef(u);
}

#endif
