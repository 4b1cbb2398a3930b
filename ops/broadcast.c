/* broadcast: repeats dimensions of 1, and new ones in front, to reach a shape, as in NumPy.
 * shapes  x f32, bf16 or i32 -> y [shape]
 * vjp     dx = dy summed over what was repeated (by autodiff)
 * errors  CG_ESHAPE: x does not broadcast to the shape. CG_EDTYPE: x is not f32, bf16 or i32
 * onnx    Expand, where a reader wants it */
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

#include <string.h>

typedef struct cg_broadcast_attr {
    cg_shape shape;
} cg_broadcast_attr;

static const cg_attr_field fields[] = {CG_ATTR(cg_broadcast_attr, shape, SHAPE), {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    const cg_value *x = n->in[0];
    const cg_shape *shape = &((const cg_broadcast_attr *)n->attr)->shape;
    if (x->dtype != CG_I32) CG_TRY(cg_check_float(n, 0, "x"));
    CG_TRY(cg_shape_check(shape, x->dtype));
    out->dtype = x->dtype == CG_I32 ? CG_I32 : CG_F32;
    cg_status s = cg_shape_broadcast(&x->shape, shape, &out->shape);
    if (s == CG_OK && cg_shape_equal(&out->shape, shape)) return CG_OK;
    char from[CG_SHAPE_TEXT], to[CG_SHAPE_TEXT];
    return cg_error(CG_ESHAPE, "x is %s, wanted a shape that broadcasts to %s",
                    cg_shape_print(&x->shape, from), cg_shape_print(shape, to));
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    (void)g, (void)n;
    dx[0] = dy[0];
}

CG_KERNEL static void fill(uint32_t *y, uint32_t x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = x;
}

static void tile(void *y_data, const void *const *in, const cg_tile *t) {
    for (int64_t r = 0; r < t->rows; r++) {
        uint32_t *y = (uint32_t *)y_data + r * t->n;
        const uint32_t *x = (const uint32_t *)in[0] + r * t->row[0];
        if (t->inner[0] == 0)
            fill(y, *x, t->n);
        else
            memcpy(y, x, (size_t)t->n * sizeof *y);
    }
}

static cg_status run(const cg_task *t) {
    return cg_broadcast_run(t, tile);
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    cg_onnx_size size[CG_MAX_RANK];
    const cg_value *y = n->out[0];
    for (int i = 0; i < y->shape.rank; i++) size[i] = cg_onnx_size_of(s, y, i);
    return cg_onnx_give(s, y, cg_onnx_repeat(s, cg_onnx_value(s, n->in[0]), y->shape.rank, size));
}

const cg_op cg_op_broadcast = {
    .name = "broadcast",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .attr_size = sizeof(cg_broadcast_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
    .bf16_in = 1,
    .bf16_out = 1,
};

cg_value *cg_broadcast(cg_graph *g, cg_value *x, cg_shape shape) {
    cg_broadcast_attr attr = {shape};
    return cg_node_add1(g, &cg_op_broadcast, &attr, 1, &x);
}
