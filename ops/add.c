/* add: y = a + b, operands broadcast as in NumPy.
 * shapes  a, b f32 or bf16, or both i64 -> y, the shape they broadcast to
 * vjp     da = dy, db = dy, each summed over what was repeated (by autodiff)
 * errors  CG_ESHAPE: the shapes do not broadcast. CG_EDTYPE: of other types, or one is i64
 * onnx    Add */
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

static cg_status infer(const cg_node *n, cg_type *out) {
    if (n->in[0]->dtype != CG_I64) CG_TRY(cg_check_float(n, 0, "a"));
    return cg_binary_infer(n, out);
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    (void)g, (void)n;
    dx[0] = dx[1] = dy[0];
}

CG_BINARY_TILE(tile_f32, a + b)

static void tile_i64(void *y_data, const void *const *in, const cg_tile *t) {
    for (int64_t r = 0; r < t->rows; r++) {
        int64_t *y = (int64_t *)y_data + r * t->n;
        const int64_t *a = (const int64_t *)in[0] + r * t->row[0];
        const int64_t *b = (const int64_t *)in[1] + r * t->row[1];
        for (int64_t i = 0; i < t->n; i++) /* wraps around: no overflow is undefined */
            y[i] = (int64_t)((uint64_t)a[i * t->inner[0]] + (uint64_t)b[i * t->inner[1]]);
    }
}

static cg_status run(const cg_task *t) {
    return cg_broadcast_run(t, t->node->out[0]->dtype == CG_I64 ? tile_i64 : tile_f32);
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    cg_onnx_ref *a = cg_onnx_value(s, n->in[0]), *b = cg_onnx_value(s, n->in[1]);
    return cg_onnx_give(s, n->out[0], cg_onnx_binary(s, "Add", a, b));
}

const cg_op cg_op_add = {
    .name = "add",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
    .inplace = 3,
    .bf16_in = 3,
    .bf16_out = 1,
};

cg_value *cg_add(cg_graph *g, cg_value *a, cg_value *b) {
    return cg_node_add1(g, &cg_op_add, NULL, 2, (cg_value *[]){a, b});
}
