/* sub: y = a - b, operands broadcast as in NumPy.
 * shapes  a, b f32 -> y, the shape they broadcast to
 * vjp     da = dy, db = -dy, each summed over what was repeated (by autodiff)
 * errors  CG_ESHAPE: the shapes do not broadcast. CG_EDTYPE: not f32
 * onnx    Sub */
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

static cg_status infer(const cg_node *n, cg_type *out) {
    CG_TRY(cg_check_dtype(n->in[0], "a", CG_F32));
    return cg_binary_infer(n, out);
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    (void)n;
    dx[0] = dy[0];
    dx[1] = cg_neg(g, dy[0]);
}

CG_BINARY_TILE(tile_f32, a - b)

static cg_status run(const cg_task *t) {
    return cg_binary_run(t, tile_f32);
}

const cg_op cg_op_sub = {
    .name = "sub",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .inplace = 3,
};

cg_value *cg_sub(cg_graph *g, cg_value *a, cg_value *b) {
    return cg_node_add1(g, &cg_op_sub, NULL, 2, (cg_value *[]){a, b});
}
