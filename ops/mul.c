/* mul: y = a * b, operands broadcast as in NumPy.
 * shapes  a, b f32 or bf16 -> y, the shape they broadcast to
 * vjp     da = dy * b, db = dy * a, each summed over what was repeated (by autodiff)
 * errors  CG_ESHAPE: the shapes do not broadcast. CG_EDTYPE: not f32 or bf16
 * onnx    Mul */
#include "ops/binary.h"

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    dx[0] = cg_mul(g, dy[0], n->in[1]);
    dx[1] = cg_mul(g, dy[0], n->in[0]);
}

CG_BINARY(mul, a *b, "Mul")
