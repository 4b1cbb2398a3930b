/* div: y = a / b, operands broadcast as in NumPy; by 0 as IEEE 754 has it.
 * shapes  a, b f32 or bf16 -> y, the shape they broadcast to
 * vjp     da = dy / b, db = -da * y, each summed over what was repeated (by autodiff)
 * errors  CG_ESHAPE: the shapes do not broadcast. CG_EDTYPE: not f32 or bf16
 * onnx    Div */
#include "ops/binary.h"

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    dx[0] = cg_div(g, dy[0], n->in[1]);
    dx[1] = cg_neg(g, cg_mul(g, dx[0], n->out[0]));
}

CG_BINARY(div, a / b, "Div")
