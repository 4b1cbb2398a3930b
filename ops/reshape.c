/* reshape: the same elements under another shape; a view, nothing is computed.
 * shapes  x [...] of any type -> y [shape], as many elements
 * vjp     dx = reshape(dy, shape of x)
 * errors  CG_ESHAPE: another number of elements, or a -1 that no number solves
 * onnx    Reshape, where a reader wants it */
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

typedef struct cg_reshape_attr {
    cg_shape shape;
} cg_reshape_attr;

static const cg_attr_field fields[] = {CG_ATTR(cg_reshape_attr, shape, SHAPE), {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    const cg_value *x = n->in[0];
    const cg_reshape_attr *attr = n->attr;
    CG_TRY(cg_shape_check(&attr->shape, x->dtype));
    int64_t found = cg_shape_count(&x->shape), wanted = cg_shape_count(&attr->shape);
    if (found != wanted) {
        char from[CG_SHAPE_TEXT], to[CG_SHAPE_TEXT];
        return cg_error(CG_ESHAPE, "x is %s of %lld elements, shape %s wants %lld",
                        cg_shape_print(&x->shape, from), (long long)found,
                        cg_shape_print(&attr->shape, to), (long long)wanted);
    }
    *out = (cg_type){x->dtype, attr->shape};
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    dx[0] = cg_reshape(g, dy[0], n->in[0]->shape);
}

static cg_status run(const cg_task *t) {
    const cg_value *x = t->node->in[0];
    size_t bytes = (size_t)cg_shape_count(&x->shape) * cg_dtype_size(x->dtype);
    if (t->in[0] != t->out[0])
        cg_copy_rows(t->threads, 1, bytes, t->out[0], bytes, t->in[0], bytes);
    return CG_OK;
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    cg_onnx_size size[CG_MAX_RANK];
    const cg_value *y = n->out[0];
    for (int i = 0; i < y->shape.rank; i++) size[i] = cg_onnx_size_of(s, y, i);
    return cg_onnx_give(s, y, cg_onnx_reshape(s, cg_onnx_value(s, n->in[0]), y->shape.rank, size));
}

const cg_op cg_op_reshape = {
    .name = "reshape",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .attr_size = sizeof(cg_reshape_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
    .bf16_in = 1,
    .bf16_out = 1,
    .view = 1,
};

/* Replaces one -1 by what makes the counts equal; leaves it to be refused where none does. */
static void solve(cg_shape *shape, const cg_shape *x) {
    int64_t rest = 1;
    int open = -1;
    for (int d = 0; d < shape->rank && d < CG_MAX_RANK; d++) {
        if (shape->dim[d] == -1 && open < 0)
            open = d;
        else if (shape->dim[d] <= 0 || __builtin_mul_overflow(rest, shape->dim[d], &rest))
            return;
    }
    if (open >= 0 && cg_shape_count(x) % rest == 0) shape->dim[open] = cg_shape_count(x) / rest;
}

cg_value *cg_reshape(cg_graph *g, cg_value *x, cg_shape shape) {
    cg_reshape_attr attr = {shape};
    if (x) solve(&attr.shape, &x->shape);
    return cg_node_add1(g, &cg_op_reshape, &attr, 1, &x);
}
