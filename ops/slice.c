/* slice: the part [start, start + length) of one axis.
 * shapes  x [..., n, ...] of any type -> y [..., length, ...]
 * vjp     dx = dy in its place, zeros around it (op slice_grad)
 * errors  CG_EINVAL: no such axis, or the part is not within it
 * onnx    Slice */
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

typedef struct cg_slice_attr {
    int64_t axis, start, length;
} cg_slice_attr;

static const cg_attr_field fields[] = {CG_ATTR(cg_slice_attr, axis, INT),
                                       CG_ATTR(cg_slice_attr, start, INT),
                                       CG_ATTR(cg_slice_attr, length, INT),
                                       {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    const cg_value *x = n->in[0];
    const cg_slice_attr *attr = n->attr;
    CG_TRY(cg_check_axis(attr->axis, x));
    int64_t dim = x->shape.dim[attr->axis];
    if (attr->start < 0 || attr->length < 0 || attr->start > dim ||
        attr->length > dim - attr->start) {
        char text[CG_SHAPE_TEXT];
        return cg_error(CG_EINVAL,
                        "start %lld and length %lld, wanted a part of axis %lld of x, which is %s",
                        (long long)attr->start, (long long)attr->length, (long long)attr->axis,
                        cg_shape_print(&x->shape, text));
    }
    *out = (cg_type){x->dtype == CG_BF16 ? CG_F32 : x->dtype, x->shape};
    out->shape.dim[attr->axis] = attr->length;
    return CG_OK;
}

static cg_value *slice_grad(cg_graph *g, cg_value *dy, int64_t axis, int64_t start, int64_t length);

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    const cg_slice_attr *attr = n->attr;
    dx[0] = slice_grad(g, dy[0], attr->axis, attr->start, n->in[0]->shape.dim[attr->axis]);
}

/* Copies `length` steps along the axis, from and to those that stand at `from` and `to`. */
static void copy_part(const cg_task *t, int64_t length, int64_t from, int64_t to) {
    int64_t axis = ((const cg_slice_attr *)t->node->attr)->axis, rows = 1, inner = 1;
    const cg_value *x = t->node->in[0], *y = t->node->out[0];
    for (int64_t d = 0; d < axis; d++) rows *= x->shape.dim[d];
    for (int64_t d = axis + 1; d < x->shape.rank; d++) inner *= x->shape.dim[d];
    size_t from_bytes = (size_t)(from * inner) * cg_dtype_size(x->dtype);
    size_t to_bytes = (size_t)(to * inner) * cg_dtype_size(y->dtype);
    cg_convert_rows(t->threads, &(cg_rows){.to_type = y->dtype,
                                           .from_type = x->dtype,
                                           .rows = rows,
                                           .n = length * inner,
                                           .to_stride = y->shape.dim[axis] * inner,
                                           .from_stride = x->shape.dim[axis] * inner,
                                           .to = (char *)t->out[0] + to_bytes,
                                           .from = (const char *)t->in[0] + from_bytes});
}

static cg_status run(const cg_task *t) {
    const cg_slice_attr *attr = t->node->attr;
    copy_part(t, attr->length, attr->start, 0);
    return CG_OK;
}

static cg_status grad_infer(const cg_node *n, cg_type *out) {
    const cg_slice_attr *attr = n->attr;
    const cg_value *dy = n->in[0];
    CG_TRY(cg_check_float(n, 0, "dy"));
    CG_TRY(cg_check_axis(attr->axis, dy));
    int64_t part = dy->shape.dim[attr->axis];
    if (attr->start < 0 || attr->start > attr->length || part > attr->length - attr->start)
        return cg_error(CG_EINVAL, "dy has %lld at axis %lld, wanted to place it at %lld of %lld",
                        (long long)part, (long long)attr->axis, (long long)attr->start,
                        (long long)attr->length);
    *out = (cg_type){CG_F32, dy->shape};
    out->shape.dim[attr->axis] = attr->length;
    return CG_OK;
}

static cg_status grad_run(const cg_task *t) {
    const cg_slice_attr *attr = t->node->attr;
    const cg_value *dx = t->node->out[0];
    cg_zero(t->threads, t->out[0], (size_t)cg_shape_count(&dx->shape) * cg_dtype_size(dx->dtype));
    copy_part(t, t->node->in[0]->shape.dim[attr->axis], 0, attr->start);
    return CG_OK;
}

/* To the end of the axis where the part goes as far: its length may then be any. */
static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    const cg_slice_attr *attr = n->attr;
    const cg_value *x = n->in[0], *y = n->out[0];
    cg_onnx_size size[CG_MAX_RANK];
    int64_t end = attr->start + attr->length;
    if (end == x->shape.dim[attr->axis])
        end = INT64_MAX;
    else if (!cg_onnx_is(cg_onnx_size_of(s, y, (int)attr->axis), attr->length))
        return cg_error(CG_EUNSUPPORTED, "the end of the part follows the batch");
    for (int i = 0; i < y->shape.rank; i++) size[i] = cg_onnx_size_of(s, y, i);
    cg_onnx_node slice = {"Slice",
                          4,
                          {cg_onnx_plain(s, cg_onnx_value(s, x)),
                           cg_onnx_integers(s, 1, &attr->start), cg_onnx_integers(s, 1, &end),
                           cg_onnx_integers(s, 1, &attr->axis)},
                          {{0}}};
    return cg_onnx_give(s, y, cg_onnx_make(s, &slice, y->shape.rank, size));
}

const cg_op cg_op_slice = {
    .name = "slice",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .attr_size = sizeof(cg_slice_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
    .selects = 1,
    .bf16_in = 1,
    .bf16_out = 1,
};

/* in dy -> dx; here length is the whole axis of x */
const cg_op cg_op_slice_grad = {
    .name = "slice_grad",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .attr_size = sizeof(cg_slice_attr),
    .attr = fields,
    .infer = grad_infer,
    .run = grad_run,
    .bf16_in = 1,
    .bf16_out = 1,
};

static cg_value *slice_grad(cg_graph *g, cg_value *dy, int64_t axis, int64_t start,
                            int64_t length) {
    cg_slice_attr attr = {axis, start, length};
    return cg_node_add1(g, &cg_op_slice_grad, &attr, 1, &dy);
}

cg_value *cg_slice(cg_graph *g, cg_value *x, int axis, int64_t start, int64_t length) {
    cg_slice_attr attr = {axis, start, length};
    return cg_node_add1(g, &cg_op_slice, &attr, 1, &x);
}
