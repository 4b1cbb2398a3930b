/* Choices between two operands, element by element. */
#include "serialize/onnx/import_private.h"

#include <math.h>

static cg_status import_is_nan(cg_job *j) {
    CG_TRY(cg_item_value(j, j->in[0]));
    CG_TRY(cg_out_view(j, 0, j->in[0]->v, &j->in[0]->view));
    j->out[0].type = CG_ONNX_TYPE(BOOL);
    j->out[0].is_nan = 1;
    return CG_OK;
}

/* Where a softmax's row has nothing to see it is NaN, and files put 0 there. Attention here gives
 * 0; a softmax by itself gives NaN. */
static int replaces_nan(cg_job *j) {
    double c;
    const cg_item *x = j->in[2];
    return j->in[0]->is_nan && cg_item_number(j, j->in[1], &c) && x->v == j->in[0]->v;
}

/* A tensor of floats that holds as much as h. */
static cg_status like(cg_job *j, const cg_host *h, cg_host *out) {
    return cg_host_new_rows(&j->m->room, CG_ONNX_TYPE(FLOAT), h->shape, h->held, out);
}

/* What chooses, as 1 and 0: known, or computed before each run. */
static cg_status choice_of(cg_job *j, cg_item *choice, cg_item *out) {
    *out = (cg_item){.type = CG_ONNX_TYPE(FLOAT), .shape = choice->shape};
    const cg_host *known = choice->v ? NULL : cg_item_known(j, choice);
    if (known) {
        CG_TRY(like(j, known, &out->host));
        for (int64_t i = 0; i < out->host.held; i++) out->host.x[i] = known->x[i] != 0;
        return CG_OK;
    }
    if (!choice->probed || choice->type != CG_ONNX_TYPE(BOOL))
        return cg_error(CG_EUNSUPPORTED, "chooses by what only a run knows");
    out->view = cg_view_of(&out->shape);
    return cg_item_compute(j, choice, CG_F32, &out->v);
}

/* 0 where m is 1, -inf where it is 0; both kinds of m. */
static cg_status hidden_where(cg_job *j, const cg_item *m, int k, cg_item *out) {
    *out = *m;
    if (m->v) {
        cg_value *v = m->v;
        if (k == 1) v = cg_add(j->g, cg_neg(j->g, v), cg_constant_f32(j->g, 1));
        out->v = cg_log(j->g, v);
        return cg_graph_status(j->g);
    }
    CG_TRY(like(j, &m->host, &out->host));
    for (int64_t i = 0; i < m->host.held; i++)
        out->host.x[i] = (m->host.x[i] != 0) == (k == 0) ? 0 : -INFINITY;
    return CG_OK;
}

/* 1 - m. */
static cg_status opposite(cg_job *j, const cg_item *m, cg_item *out) {
    *out = *m;
    if (m->v) {
        out->v = cg_add(j->g, cg_neg(j->g, m->v), cg_constant_f32(j->g, 1));
        return cg_graph_status(j->g);
    }
    CG_TRY(like(j, &m->host, &out->host));
    for (int64_t i = 0; i < m->host.held; i++) out->host.x[i] = 1 - m->host.x[i];
    return CG_OK;
}

/* A choice between a and b is m a + (1 - m) b, m of 0 and 1, where both are finite; -inf is added,
 * and so is it for a number so low that it hides the other from a softmax. */
static cg_status import_where(cg_job *j) {
    if (replaces_nan(j)) {
        cg_item x = *j->in[2];
        x.probed = 0;
        j->out[0] = x;
        return CG_OK;
    }
    cg_item mask[2], part[2];
    CG_TRY(choice_of(j, j->in[0], &mask[0]));
    for (int k = 1; k < 3; k++) {
        double c;
        cg_item *x = j->in[3 - k];
        if (!cg_item_number(j, j->in[k], &c) || !(c <= -1e4)) continue;
        if (c != -INFINITY && !cg_import_meets_softmax(j, x->shape.rank)) continue;
        CG_TRY(hidden_where(j, &mask[0], k == 1, &mask[1]));
        return cg_import_binary(j, cg_add, x, &mask[1], &j->out[0]);
    }
    CG_TRY(opposite(j, &mask[0], &mask[1]));
    for (int k = 0; k < 2; k++)
        CG_TRY(cg_import_binary(j, cg_mul, j->in[1 + k], &mask[k], &part[k]));
    return cg_import_binary(j, cg_add, &part[0], &part[1], &j->out[0]);
}

const cg_import_op cg_import_choice[] = {
    {"IsNaN", 1, import_is_nan}, {"Where", 3, import_where}, {NULL, 0, NULL}};
