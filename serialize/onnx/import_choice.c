/* Choices between two operands, element by element. */
#include "serialize/onnx/import_private.h"

#include <stdlib.h>

static cg_status import_is_nan(cg_job *j) {
    CG_TRY(cg_item_value(j, j->in[0]));
    CG_TRY(cg_out_view(j, 0, cg_is_nan(j->g, j->in[0]->v), &j->in[0]->view));
    j->out[0].type = CG_ONNX_TYPE(BOOL);
    return CG_OK;
}

/* What is known before the run, as 1 and 0. */
static cg_value *constant_choice(cg_job *j, const cg_host *h) {
    int64_t n = cg_host_count(h);
    cg_status s = cg_import_constant(j, &h->shape, CG_I32);
    if (s != CG_OK) return cg_graph_fail(j->g, s);
    int32_t *x = malloc((size_t)(n + 1) * sizeof *x);
    if (!x)
        return cg_graph_fail(j->g, cg_error(CG_ENOMEM, "no memory for %lld numbers", (long long)n));
    for (int64_t i = 0; i < n; i++) x[i] = cg_host_at(h, i) != 0;
    cg_value *v = cg_constant(j->g, CG_I32, h->shape, x);
    free(x);
    return v;
}

/* What chooses, as i32: known, of the run's integers, or of the graph. */
static cg_status choice_of(cg_job *j, cg_item *c, const cg_shape *beside, cg_value **out) {
    cg_item row = cg_item_known(j, c) ? cg_item_one_row(c, beside) : *c;
    if (row.type != CG_ONNX_TYPE(BOOL)) return cg_error(CG_EFORMAT, "chooses by numbers");
    if (row.v)
        CG_TRY(cg_item_plain(j, c, out));
    else if (row.host.x)
        *out = constant_choice(j, &row.host);
    else
        CG_TRY(cg_item_compute(j, c, CG_I32, out));
    return cg_graph_status(j->g);
}

static cg_status import_where(cg_job *j) {
    cg_value *c, *part[2];
    cg_shape shape = j->in[0]->shape;
    for (int k = 0; k < 2; k++) CG_TRY(cg_shape_broadcast(&shape, &j->in[1 + k]->shape, &shape));
    CG_TRY(choice_of(j, j->in[0], &shape, &c));
    for (int k = 0; k < 2; k++) {
        cg_item row = cg_item_one_row(j->in[1 + k], &shape);
        CG_TRY(cg_item_plain(
            j,
            row.shape.rank && row.shape.dim[0] != j->in[1 + k]->shape.dim[0] ? &row : j->in[1 + k],
            &part[k]));
    }
    return cg_out_plain(j, 0, cg_select(j->g, c, part[0], part[1]));
}

const cg_import_op cg_import_choice[] = {
    {"IsNaN", 1, import_is_nan}, {"Where", 3, import_where}, {NULL, 0, NULL}};
