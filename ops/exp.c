/* exp: y = e^x.
 * shapes  x [...] f32 or bf16 -> y [...]
 * vjp     dx = dy * y
 * errors  CG_EDTYPE: x is not f32 or bf16
 * onnx    Exp */
#include "ops/activation.h"

static inline float value(float x) {
    return cg_expf(x);
}

static cg_onnx_ref *mapping(cg_onnx_sink *s, cg_onnx_ref *x) {
    return cg_onnx_unary(s, "Exp", x);
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    dx[0] = cg_mul(g, dy[0], n->out[0]);
}

CG_UNARY(exp)
