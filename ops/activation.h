/* Ops y = f(x), element by element, from inline functions of the file that includes this:
 *   value(x)         f(x)
 *   gradient(v, dy)  dx, where v is x or y
 *   mapping(s, x)    f in an ONNX file, of a tensor in any form
 * NaN must come out of value as NaN, and infinities as f's limits.
 *
 * A gradient that reads x gives y again where it is asked for: in the same sweep, so that y need
 * not be kept for those that want it later. */
#ifndef CG_OPS_ACTIVATION_H
#define CG_OPS_ACTIVATION_H

#include "ops/activation_value.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

/* Defines cg_op_NAME and the builder cg_NAME from value and the file's own vjp. */
#define CG_UNARY(NAME)                                                                             \
    CG_KERNEL static void values(const cg_task *t, const float *const *in, float *const *out,      \
                                 int64_t n) {                                                      \
        const float *x = in[0];                                                                    \
        float *y = out[0];                                                                         \
        (void)t;                                                                                   \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = value(x[i]);                    \
    }                                                                                              \
    static cg_status run(const cg_task *t) {                                                       \
        cg_run_elements(t, values);                                                                \
        return CG_OK;                                                                              \
    }                                                                                              \
    cg_onnx_ref *cg_##NAME##_onnx(cg_onnx_sink *s, cg_onnx_ref *x);                                \
    cg_onnx_ref *cg_##NAME##_onnx(cg_onnx_sink *s, cg_onnx_ref *x) {                               \
        return mapping(s, x);                                                                      \
    }                                                                                              \
    static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {                                     \
        return cg_onnx_give(s, n->out[0], mapping(s, cg_onnx_value(s, n->in[0])));                 \
    }                                                                                              \
    const cg_op cg_op_##NAME = {                                                                   \
        .name = #NAME,                                                                             \
        .min_in = 1,                                                                               \
        .max_in = 1,                                                                               \
        .n_out = 1,                                                                                \
        .infer = cg_unary_infer,                                                                   \
        .vjp = vjp,                                                                                \
        .run = run,                                                                                \
        .onnx = onnx,                                                                              \
        .inplace = 1,                                                                              \
        .bf16_in = 1,                                                                              \
        .bf16_out = 1,                                                                             \
    };                                                                                             \
    cg_value *cg_##NAME(cg_graph *g, cg_value *x) {                                                \
        return cg_node_add1(g, &cg_op_##NAME, NULL, 1, &x);                                        \
    }

/* The same with the op of a gradient, cg_op_NAME_grad. operand: what gradient reads, `in` (x) or
 * `out` (y, where it can: x need not be kept then). */
#define CG_AGAIN_in  1
#define CG_AGAIN_out 0
#define CG_ACTIVATION(NAME, operand)                                                               \
    static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {           \
        cg_value *in[] = {n->operand[0], dy[0]};                                                   \
        dx[0] = cg_node_add1(g, &cg_op_##NAME##_grad, NULL, 2, in);                                \
    }                                                                                              \
    CG_UNARY(NAME)                                                                                 \
    CG_KERNEL static void gradients(const cg_task *t, const float *const *in, float *const *out,   \
                                    int64_t n) {                                                   \
        const float *v = in[0], *dy = in[1];                                                       \
        float *dx = out[0];                                                                        \
        if (!CG_AGAIN_##operand || t->node->n_out == 1) {                                          \
            _Pragma("omp simd") for (int64_t i = 0; i < n; i++) dx[i] = gradient(v[i], dy[i]);     \
            return;                                                                                \
        }                                                                                          \
        float *y = out[1];                                                                         \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {                                      \
            float x = v[i];                                                                        \
            y[i] = value(x);                                                                       \
            dx[i] = gradient(x, dy[i]);                                                            \
        }                                                                                          \
    }                                                                                              \
    static cg_status grad_run(const cg_task *t) {                                                  \
        cg_run_elements(t, gradients);                                                             \
        return CG_OK;                                                                              \
    }                                                                                              \
    const cg_op cg_op_##NAME##_grad = {                                                            \
        .name = #NAME "_grad",                                                                     \
        .min_in = 2,                                                                               \
        .max_in = 2,                                                                               \
        .n_out = 1 + CG_AGAIN_##operand,                                                           \
        .min_out = 1,                                                                              \
        .infer = cg_unary_grad_infer,                                                              \
        .run = grad_run,                                                                           \
        .inplace = 3,                                                                              \
        .bf16_in = 3,                                                                              \
        .bf16_out = 1 + 2 * CG_AGAIN_##operand,                                                    \
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
