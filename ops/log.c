/* log: y = ln x; -inf at 0, NaN below.
 * shapes  x [...] f32 or bf16 -> y [...]
 * vjp     dx = dy / x
 * errors  CG_EDTYPE: x is not f32 or bf16
 * onnx    Log */
#include "ops/activation.h"

static inline float value(float x) {
    return cg_logf(x);
}

static cg_onnx_ref *mapping(cg_onnx_sink *s, cg_onnx_ref *x) {
    return cg_onnx_unary(s, "Log", x);
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    dx[0] = cg_div(g, dy[0], n->in[0]);
}

CG_UNARY(log)
