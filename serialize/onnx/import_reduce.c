/* Reductions, softmax and layer norm. */
#include "serialize/onnx/import_private.h"

#include <string.h>

static cg_status axes_of(cg_job *j, unsigned *bits) {
    int64_t list[CG_MAX_RANK];
    int n, rank = j->in[0]->shape.rank;
    const cg_host *in = j->n_in > 1 ? cg_item_host(j, j->in[1]) : NULL;
    if (j->n_in > 1 && j->in[1] && !in)
        return cg_error(CG_EUNSUPPORTED, "has axes that only a run knows");
    CG_TRY(cg_onnx_ints(j->node, "axes", in, list, &n));
    *bits = 0;
    for (int i = 0; i < n; i++) {
        int axis;
        CG_TRY(cg_onnx_axis(list[i], rank, &axis));
        *bits |= 1u << axis;
    }
    if (n <= 0 && !cg_onnx_int(j->node, "noop_with_empty_axes", 0)) *bits = (1u << rank) - 1;
    return CG_OK;
}

static cg_status import_reduce(cg_job *j) {
    const char *name = j->node->op_type;
    int axes[CG_MAX_RANK], keep = cg_onnx_int(j->node, "keepdims", 1) != 0;
    unsigned bits;
    cg_value *x;
    cg_shape over = {0}, shape = {0};
    CG_TRY(axes_of(j, &bits));
    CG_TRY(cg_item_frame(j, j->in[0], axes, &x));
    for (int i = 0; i < x->shape.rank; i++)
        if (bits >> axes[i] & 1) over.dim[over.rank++] = i;
    if (strcmp(name, "ReduceL2") == 0)
        x = cg_sqrt(j->g, cg_sum(j->g, cg_mul(j->g, x, x), over, 1));
    else if (strcmp(name, "ReduceSum") == 0)
        x = cg_sum(j->g, x, over, 1);
    else
        x = cg_mean(j->g, x, over, 1);
    CG_TRY(cg_out_frame(j, 0, x, axes));
    if (keep) return CG_OK;
    for (int i = 0; i < j->in[0]->shape.rank; i++)
        if (!(bits >> i & 1)) shape.dim[shape.rank++] = j->in[0]->shape.dim[i];
    cg_view view = j->out[0].view;
    (void)cg_view_reshape(&view, &shape); /* drops axes of 1 */
    return cg_out_view(j, 0, x, &view);
}

static cg_status last_axis(cg_job *j, int64_t otherwise) {
    int axis, rank = j->in[0]->shape.rank;
    CG_TRY(cg_onnx_axis(cg_onnx_int(j->node, "axis", otherwise), rank, &axis));
    if (axis == rank - 1) return CG_OK;
    return cg_error(CG_EUNSUPPORTED, "works on axis %d of %d, wanted the last", axis, rank);
}

static cg_status import_softmax(cg_job *j) {
    cg_value *rows;
    cg_view view;
    CG_TRY(last_axis(j, -1));
    CG_TRY(cg_item_rows(j, j->in[0], &rows, &view));
    const cg_value *own = j->in[0]->v;
    int64_t width = rows->shape.dim[1];
    int fits = own->shape.rank > 0 && own->shape.dim[own->shape.rank - 1] == width;
    return cg_out_view(j, 0, cg_softmax(j->g, fits ? j->in[0]->v : rows), &view);
}

static cg_status import_layer_norm(cg_job *j) {
    cg_value *rows, *gain, *bias;
    cg_view view;
    if (j->n_out > 1) return cg_error(CG_EUNSUPPORTED, "asks for mean and deviation");
    CG_TRY(last_axis(j, -1));
    CG_TRY(cg_item_rows(j, j->in[0], &rows, &view));
    CG_TRY(cg_item_plain(j, j->in[1], &gain));
    if (j->n_in > 2 && j->in[2])
        CG_TRY(cg_item_plain(j, j->in[2], &bias));
    else
        bias = cg_scale(j->g, gain, 0);
    return cg_out_view(
        j, 0, cg_layer_norm(j->g, rows, gain, bias, cg_onnx_float(j->node, "epsilon", 1e-5f)),
        &view);
}

const cg_import_op cg_import_reduce[] = {{"ReduceMean", 1, import_reduce},
                                         {"ReduceSum", 1, import_reduce},
                                         {"ReduceL2", 1, import_reduce},
                                         {"Softmax", 1, import_softmax},
                                         {"LayerNormalization", 2, import_layer_norm},
                                         {NULL, 0, NULL}};
