/* concat: joins values along an axis.
 * shapes  x_i [..., n_i, ...], n_i at the axis, f32 or bf16, or all of one other type ->
 *         y [..., sum of n_i, ...]
 * vjp     dx_i = the slice of dy that x_i became
 * errors  CG_ESHAPE: ranks, or dimensions other than the axis, differ. CG_EDTYPE: types differ.
 *         CG_EINVAL: no operand, no such axis
 * onnx    Concat */
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

#include <stdio.h>

typedef struct cg_concat_attr {
    int64_t axis;
} cg_concat_attr;

static const cg_attr_field fields[] = {CG_ATTR(cg_concat_attr, axis, INT), {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    const cg_value *first = n->in[0];
    int64_t axis = ((const cg_concat_attr *)n->attr)->axis;
    CG_TRY(cg_check_axis(axis, first));
    *out = (cg_type){first->dtype == CG_BF16 ? CG_F32 : first->dtype, first->shape};
    for (int i = 1; i < n->n_in; i++) {
        const cg_value *x = n->in[i];
        char name[32], found[CG_SHAPE_TEXT], wanted[CG_SHAPE_TEXT];
        snprintf(name, sizeof name, "operand %d", i);
        CG_TRY(out->dtype == CG_F32 ? cg_check_float(n, i, name)
                                    : cg_check_dtype(x, name, first->dtype));
        int alike = x->shape.rank == first->shape.rank;
        for (int d = 0; alike && d < first->shape.rank; d++)
            alike = d == axis || x->shape.dim[d] == first->shape.dim[d];
        if (!alike)
            return cg_error(CG_ESHAPE, "%s is %s, wanted %s but for axis %lld", name,
                            cg_shape_print(&x->shape, found), cg_shape_print(&first->shape, wanted),
                            (long long)axis);
        if (__builtin_add_overflow(out->shape.dim[axis], x->shape.dim[axis], &out->shape.dim[axis]))
            return cg_error(CG_ESHAPE, "axis %lld overflows", (long long)axis);
    }
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    int64_t axis = ((const cg_concat_attr *)n->attr)->axis, start = 0;
    for (int i = 0; i < n->n_in; i++) {
        int64_t length = n->in[i]->shape.dim[axis];
        dx[i] = cg_slice(g, dy[0], (int)axis, start, length);
        start += length;
    }
}

static cg_status run(const cg_task *t) {
    int64_t axis = ((const cg_concat_attr *)t->node->attr)->axis, rows = 1;
    const cg_value *y = t->node->out[0];
    int64_t inner = 1; /* elements of one step along the axis */
    for (int64_t d = 0; d < axis; d++) rows *= y->shape.dim[d];
    for (int64_t d = axis + 1; d < y->shape.rank; d++) inner *= y->shape.dim[d];
    char *to = t->out[0];
    for (int i = 0; i < t->node->n_in; i++) {
        const cg_value *x = t->node->in[i];
        int64_t n = x->shape.dim[axis] * inner;
        cg_convert_rows(t->threads, &(cg_rows){.to_type = y->dtype,
                                               .from_type = x->dtype,
                                               .rows = rows,
                                               .n = n,
                                               .to_stride = y->shape.dim[axis] * inner,
                                               .from_stride = n,
                                               .to = to,
                                               .from = t->in[i]});
        to += (size_t)n * cg_dtype_size(y->dtype);
    }
    return CG_OK;
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    const cg_concat_attr *attr = n->attr;
    cg_onnx_node concat = {"Concat", n->n_in, {NULL}, {CG_ONNX_INT("axis", attr->axis)}};
    cg_onnx_size size[CG_MAX_RANK];
    const cg_value *y = n->out[0];
    if (n->n_in > CG_ONNX_IN)
        return cg_error(CG_EUNSUPPORTED, "%d operands, wanted at most %d", n->n_in, CG_ONNX_IN);
    for (int i = 0; i < n->n_in; i++) concat.in[i] = cg_onnx_plain(s, cg_onnx_value(s, n->in[i]));
    for (int i = 0; i < y->shape.rank; i++) size[i] = cg_onnx_size_of(s, y, i);
    return cg_onnx_give(s, y, cg_onnx_make(s, &concat, y->shape.rank, size));
}

const cg_op cg_op_concat = {
    .name = "concat",
    .min_in = 1,
    .max_in = -1,
    .n_out = 1,
    .attr_size = sizeof(cg_concat_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
    .bf16_in = ~0u,
    .bf16_out = 1,
};

cg_value *cg_concat(cg_graph *g, int n, cg_value *const *x, int axis) {
    cg_concat_attr attr = {axis};
    return cg_node_add1(g, &cg_op_concat, &attr, n, x);
}
