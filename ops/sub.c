/* sub: y = a - b, operands broadcast as in NumPy.
 * shapes  a, b f32 or bf16 -> y, the shape they broadcast to
 * vjp     da = dy, db = -dy, each summed over what was repeated (by autodiff)
 * errors  CG_ESHAPE: the shapes do not broadcast. CG_EDTYPE: not f32 or bf16
 * onnx    Sub */
#include "ops/binary.h"

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    (void)n;
    dx[0] = dy[0];
    dx[1] = cg_neg(g, dy[0]);
}

CG_BINARY(sub, a - b, "Sub")
