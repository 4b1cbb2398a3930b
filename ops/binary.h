/* Ops y = f(a, b) on f32 or bf16, element by element, operands broadcast as in NumPy. */
#ifndef CG_OPS_BINARY_H
#define CG_OPS_BINARY_H

#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

/* Defines cg_op_NAME and the builder cg_NAME from an expression of a and b, the file's own vjp and
 * the name of ONNX's operator. */
#define CG_BINARY(NAME, expression, onnx_name)                                                     \
    CG_BINARY_TILE(tile, expression)                                                               \
    static cg_status infer(const cg_node *n, cg_type *out) {                                       \
        CG_TRY(cg_check_float(n, 0, "a"));                                                         \
        return cg_binary_infer(n, out);                                                            \
    }                                                                                              \
    static cg_status run(const cg_task *t) {                                                       \
        return cg_broadcast_run(t, tile);                                                          \
    }                                                                                              \
    static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {                                     \
        cg_onnx_ref *a = cg_onnx_value(s, n->in[0]), *b = cg_onnx_value(s, n->in[1]);              \
        return cg_onnx_give(s, n->out[0], cg_onnx_binary(s, onnx_name, a, b));                     \
    }                                                                                              \
    const cg_op cg_op_##NAME = {                                                                   \
        .name = #NAME,                                                                             \
        .min_in = 2,                                                                               \
        .max_in = 2,                                                                               \
        .n_out = 1,                                                                                \
        .infer = infer,                                                                            \
        .vjp = vjp,                                                                                \
        .run = run,                                                                                \
        .onnx = onnx,                                                                              \
        .inplace = 3,                                                                              \
        .bf16_in = 3,                                                                              \
        .bf16_out = 1,                                                                             \
    };                                                                                             \
    cg_value *cg_##NAME(cg_graph *g, cg_value *a, cg_value *b) {                                   \
        return cg_node_add1(g, &cg_op_##NAME, NULL, 2, (cg_value *[]){a, b});                      \
    }

#endif
