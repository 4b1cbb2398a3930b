/* MatMul and Gemm. A product with a weight is a linear layer on rows. */
#include "serialize/onnx/import_private.h"

#include <string.h>

/* x [..., K] times w, of which only the last two axes are more than 1. */
static cg_status import_rows(cg_job *j, cg_item *x, cg_item *w, cg_item *out) {
    cg_value *rows, *weight, *y;
    cg_view view, turned;
    int rank = w->shape.rank;
    int64_t k = w->shape.dim[rank - 2], n = w->shape.dim[rank - 1];
    CG_TRY(cg_item_rows(j, x, &rows, &view));
    CG_TRY(cg_item_value(j, w));
    if (rows->shape.dim[1] != k)
        return cg_error(CG_EFORMAT, "multiplies rows of %lld by a matrix of %lld",
                        (long long)rows->shape.dim[1], (long long)k);
    turned = w->view;
    cg_shape matrix = CG_SHAPE(k, n);
    (void)cg_view_reshape(&turned, &matrix); /* drops axes of 1 */
    cg_view_permute(&turned, (int[]){1, 0});
    int lies_turned = cg_view_is_plain(&turned);
    if (cg_value_is_fixed(j->m, w->v)) {
        weight = cg_view_move(j->g, w->v, &turned);
        y = cg_linear(j->g, rows, weight, NULL);
    } else if (lies_turned) {
        y = cg_matmul(j->g, rows, cg_shaped(j->g, w->v, CG_SHAPE(n, k)), 0, 1);
    } else {
        CG_TRY(cg_item_plain(j, w, &weight));
        y = cg_matmul(j->g, rows, cg_shaped(j->g, weight, matrix), 0, 0);
    }
    view = cg_view_widened(&view, n);
    cg_job to = *j;
    to.out = out;
    return cg_out_view(&to, 0, y, &view);
}

/* An operand [batch, a, b]; *turned: it lies as [batch, b, a]. */
static cg_status stack(cg_job *j, cg_item *x, const cg_shape *lead, cg_value **out, int *turned) {
    int axes[CG_MAX_RANK], rank = x->shape.rank;
    int64_t a = x->shape.dim[rank - 2], b = x->shape.dim[rank - 1], batch = cg_shape_count(lead);
    CG_TRY(cg_item_value(j, x));
    for (int i = 0; i < rank; i++) axes[i] = i;
    axes[rank - 2] = rank - 1;
    axes[rank - 1] = rank - 2;
    cg_view view = x->view;
    cg_view_permute(&view, axes);
    *turned = !cg_view_is_plain(&x->view) && cg_view_is_plain(&view);
    CG_TRY(cg_item_as(j, x, *turned ? axes : NULL, out));
    cg_shape shape = *lead;
    shape.dim[shape.rank++] = *turned ? b : a;
    shape.dim[shape.rank++] = *turned ? a : b;
    if (cg_shape_count(&shape) != cg_item_count(x)) *out = cg_broadcast(j->g, *out, shape);
    *out = cg_shaped(j->g, *out, CG_SHAPE(batch, shape.dim[lead->rank], shape.dim[lead->rank + 1]));
    return *out ? CG_OK : cg_graph_status(j->g);
}

static cg_shape leading(const cg_shape *s) {
    cg_shape out = *s;
    out.rank -= 2;
    return out;
}

static cg_status import_matmul(cg_job *j) {
    cg_item *a = j->in[0], *b = j->in[1];
    if (a->shape.rank < 1 || b->shape.rank < 2)
        return cg_error(CG_EUNSUPPORTED, "multiplies ranks %d and %d", a->shape.rank,
                        b->shape.rank);
    cg_shape b_lead = leading(&b->shape), lead, shape;
    if (cg_shape_count(&b_lead) == 1 && a->shape.rank >= b->shape.rank)
        return import_rows(j, a, b, &j->out[0]);
    if (a->shape.rank < 2) return cg_error(CG_EUNSUPPORTED, "multiplies a vector");
    cg_shape a_lead = leading(&a->shape);
    cg_value *x, *y;
    int a_turned, b_turned;
    CG_TRY(cg_shape_broadcast(&a_lead, &b_lead, &lead));
    CG_TRY(stack(j, a, &lead, &x, &a_turned));
    CG_TRY(stack(j, b, &lead, &y, &b_turned));
    cg_value *v = cg_matmul(j->g, x, y, a_turned, b_turned);
    if (!v) return cg_graph_status(j->g);
    shape = lead;
    shape.dim[shape.rank++] = a->shape.dim[a->shape.rank - 2];
    shape.dim[shape.rank++] = b->shape.dim[b->shape.rank - 1];
    cg_view view = cg_view_of(&shape);
    return cg_out_view(j, 0, v, &view);
}

static cg_status scaled(cg_job *j, cg_item *x, float by) {
    if (by == 1) return CG_OK;
    CG_TRY(cg_item_value(j, x));
    x->v = cg_scale(j->g, x->v, by);
    return x->v ? CG_OK : cg_graph_status(j->g);
}

static cg_status import_gemm(cg_job *j) {
    cg_item a = *j->in[0], b = *j->in[1], product;
    if (a.shape.rank != 2 || b.shape.rank != 2)
        return cg_error(CG_EFORMAT, "multiplies ranks %d and %d", a.shape.rank, b.shape.rank);
    CG_TRY(cg_item_value(j, &a));
    CG_TRY(cg_item_value(j, &b));
    const int swap[2] = {1, 0};
    if (cg_onnx_int(j->node, "transA", 0)) cg_view_permute(&a.view, swap);
    if (cg_onnx_int(j->node, "transB", 0)) cg_view_permute(&b.view, swap);
    a.shape = a.view.shape;
    b.shape = b.view.shape;
    CG_TRY(import_rows(j, &a, &b, &product));
    CG_TRY(scaled(j, &product, cg_onnx_float(j->node, "alpha", 1)));
    if (j->n_in < 3 || !j->in[2]) {
        j->out[0] = product;
        return CG_OK;
    }
    cg_item c = *j->in[2];
    CG_TRY(scaled(j, &c, cg_onnx_float(j->node, "beta", 1)));
    return cg_import_binary(j, cg_add, &product, &c, &j->out[0]);
}

const cg_import_op cg_import_matrix[] = {
    {"MatMul", 2, import_matmul}, {"Gemm", 2, import_gemm}, {NULL, 0, NULL}};
