#include "serialize/onnx/import_private.h"

#include <stdlib.h>
#include <string.h>

int64_t cg_item_count(const cg_item *x) {
    return cg_shape_count(&x->shape);
}

int cg_item_is_float(const cg_item *x) {
    return cg_onnx_type_is_float(x->type);
}

const cg_host *cg_item_known(cg_job *j, cg_item *x) {
    if (!x) return NULL;
    if (!x->host.x && x->weight && x->weight->count <= CG_FOLD_MOST)
        if (cg_host_of(&j->m->room, x->weight, &x->host) != CG_OK) x->host.x = NULL;
    return x->host.x ? &x->host : NULL;
}

const cg_host *cg_item_host(cg_job *j, cg_item *x) {
    const cg_host *h = cg_item_known(j, x);
    return h && cg_host_whole(&j->m->room, h, &x->host) == CG_OK ? h : NULL;
}

int cg_item_number(cg_job *j, cg_item *x, double *out) {
    if (!x || cg_item_count(x) != 1) return 0;
    const cg_host *h = cg_item_host(j, x);
    if (h) *out = h->x[0];
    return h != NULL;
}

/* --- as a value ------------------------------------------------------------------------------- */

cg_status cg_import_constant(cg_job *j, const cg_shape *shape, cg_dtype dtype) {
    CG_TRY(cg_shape_check(shape, dtype));
    int64_t n = cg_shape_count(shape), bytes = n * (int64_t)cg_dtype_size(dtype);
    CG_TRY(cg_budget_hold(&j->m->room.budget, "makes", shape, bytes));
    return cg_budget_walk(&j->m->room.budget, n);
}

static cg_value *constant(cg_job *j, const cg_host *h) {
    int64_t n = cg_host_count(h);
    cg_status s = cg_import_constant(j, &h->shape, CG_F32);
    if (s != CG_OK) return cg_graph_fail(j->g, s);
    float *x = malloc((size_t)(n + 1) * sizeof *x);
    if (!x)
        return cg_graph_fail(j->g, cg_error(CG_ENOMEM, "no memory for %lld numbers", (long long)n));
    for (int64_t i = 0; i < n; i++) x[i] = (float)cg_host_at(h, i);
    cg_value *v = cg_constant(j->g, CG_F32, h->shape, x);
    free(x);
    return v;
}

cg_status cg_item_value(cg_job *j, cg_item *x) {
    if (x->v) return CG_OK;
    if (cg_item_count(x) == 0) return cg_error(CG_EUNSUPPORTED, "has an operand without elements");
    if (x->weight)
        x->v = cg_parameter(j->g, x->weight->name, x->shape, (cg_param_spec){.state = 1});
    else if (x->host.x)
        x->v = constant(j, &x->host);
    else
        CG_TRY(cg_item_compute(j, x, CG_F32, &x->v));
    x->view = cg_view_of(&x->shape);
    return cg_graph_status(j->g);
}

static cg_status of_graph(cg_job *j, const cg_value *v) {
    return v ? CG_OK : cg_graph_status(j->g);
}

cg_status cg_item_as(cg_job *j, cg_item *x, const int *axes, cg_value **out) {
    CG_TRY(cg_item_value(j, x));
    cg_view view = x->view;
    if (axes) cg_view_permute(&view, axes);
    *out = cg_view_move(j->g, x->v, &view);
    CG_TRY(of_graph(j, *out));
    if (axes || cg_view_is_plain(&x->view)) return CG_OK;
    x->v = *out; /* others that read it need not move it again */
    x->view = cg_view_of(&x->shape);
    return CG_OK;
}

cg_status cg_item_plain(cg_job *j, cg_item *x, cg_value **out) {
    return cg_item_as(j, x, NULL, out);
}

cg_status cg_out_view(cg_job *j, int k, cg_value *v, const cg_view *view) {
    CG_TRY(of_graph(j, v));
    if (cg_shape_count(&v->shape) == 0)
        return cg_error(CG_EUNSUPPORTED, "has a result without elements");
    j->out[k] = (cg_item){.type = v->dtype == CG_F32 ? CG_ONNX_TYPE(FLOAT) : CG_ONNX_TYPE(INT64),
                          .shape = view->shape,
                          .v = v,
                          .view = *view};
    return CG_OK;
}

cg_status cg_out_plain(cg_job *j, int k, cg_value *v) {
    CG_TRY(of_graph(j, v));
    cg_view view = cg_view_of(&v->shape);
    return cg_out_view(j, k, v, &view);
}

/* --- rows ------------------------------------------------------------------------------------- */

/* Is the last axis what lies innermost, together? */
static int is_rows(const cg_view *view) {
    int last = view->shape.rank - 1;
    return view->shape.dim[last] == 1 || cg_view_stride(view, last) == 1;
}

/* x's elements so that the last axis lies innermost, the others in the order in which they lay: a
 * batch in front of its tokens stays there, whatever the order of axes. */
static cg_status move_to_rows(cg_job *j, cg_item *x) {
    int last = x->shape.rank - 1, n = 0;
    int64_t width = x->shape.dim[last], stride = 1;
    cg_view view = {.shape = CG_SHAPE(cg_item_count(x) / width, width)};
    for (int i = 0; i < x->view.n; i++)
        if (x->view.atom[i].axis != last) view.atom[n++] = x->view.atom[i];
    for (int i = 1; i < n; i++)
        for (int k = i; k > 0 && view.atom[k - 1].stride < view.atom[k].stride; k--) {
            cg_atom swap = view.atom[k];
            view.atom[k] = view.atom[k - 1];
            view.atom[k - 1] = swap;
        }
    for (; n < x->view.n; n++)
        view.atom[n] = x->view.atom[n]; /* the last axis is last there, too */
    view.n = n;
    cg_view then = x->view; /* how x is seen in what is made */
    for (int i = view.n - 1; i >= 0; i--) {
        for (int k = 0; k < then.n; k++)
            if (x->view.atom[k].stride == view.atom[i].stride) then.atom[k].stride = stride;
        stride *= view.atom[i].size;
    }
    for (int i = 0; i < view.n; i++) view.atom[i].axis = view.atom[i].axis == last;
    x->v = cg_view_move(j->g, x->v, &view);
    cg_view_join(&then);
    x->view = then;
    return of_graph(j, x->v);
}

cg_status cg_item_rows(cg_job *j, cg_item *x, cg_value **rows, cg_view *view) {
    CG_TRY(cg_item_value(j, x));
    if (x->shape.rank < 1) return cg_error(CG_EFORMAT, "has an operand of rank 0");
    if (!is_rows(&x->view)) CG_TRY(move_to_rows(j, x));
    int64_t width = x->shape.dim[x->shape.rank - 1];
    if (width == 1 && x->view.n == CG_VIEW_ATOMS) CG_TRY(cg_item_plain(j, x, rows));
    *view = x->view;
    *rows = cg_shaped(j->g, x->v, CG_SHAPE(cg_item_count(x) / width, width));
    return of_graph(j, *rows);
}

cg_view cg_view_widened(const cg_view *v, int64_t width) {
    cg_view out = *v;
    int last = v->shape.rank - 1;
    int64_t was = v->shape.dim[last];
    out.shape.dim[last] = width;
    out.n = 0;
    for (int i = 0; i < v->n; i++) {
        if (v->atom[i].axis == last) continue;
        out.atom[out.n] = v->atom[i];
        out.atom[out.n++].stride = v->atom[i].stride / was * width;
    }
    if (width > 1) out.atom[out.n++] = (cg_atom){width, 1, last};
    return out;
}

/* --- frames ----------------------------------------------------------------------------------- */

cg_status cg_item_frame(cg_job *j, cg_item *x, int axes[CG_MAX_RANK], cg_value **out) {
    int64_t stride[CG_MAX_RANK] = {0};
    int rank = x->shape.rank, single = 1;
    CG_TRY(cg_item_value(j, x));
    for (int i = 0; i < rank; i++) {
        stride[i] = cg_view_stride(&x->view, i);
        single &= stride[i] >= 0;
        axes[i] = i;
    }
    if (!single) return cg_item_plain(j, x, out);
    for (int i = rank - 1; i >= 0; i--) /* an axis of 1 stays with the one behind it */
        if (stride[i] == 0) stride[i] = i + 1 < rank ? stride[i + 1] : 1;
    for (int i = 1; i < rank; i++)
        for (int k = i; k > 0 && stride[axes[k - 1]] < stride[axes[k]]; k--) {
            int swap = axes[k];
            axes[k] = axes[k - 1];
            axes[k - 1] = swap;
        }
    cg_view view = x->view;
    cg_view_permute(&view, axes);
    *out = cg_view_move(j->g, x->v, &view); /* in this order nothing moves */
    return of_graph(j, *out);
}

cg_status cg_out_frame(cg_job *j, int k, cg_value *v, const int *axes) {
    int inverse[CG_MAX_RANK];
    CG_TRY(of_graph(j, v));
    cg_view view = cg_view_of(&v->shape);
    for (int i = 0; i < v->shape.rank; i++) inverse[axes[i]] = i;
    cg_view_permute(&view, inverse);
    return cg_out_view(j, k, v, &view);
}

/* Values come in an order in which they can be computed. */
int cg_value_is_fixed(cg_importer *m, const cg_value *v) {
    if (v->id >= m->n_fixed) {
        char *list = realloc(m->fixed, (size_t)m->g->cap_value + 1);
        if (!list) return 0;
        m->fixed = list;
        for (; m->n_fixed < m->g->n_value; m->n_fixed++) {
            const cg_value *x = m->g->value[m->n_fixed];
            int fixed = x->kind == CG_VALUE_PARAM || x->kind == CG_VALUE_CONSTANT || x->node;
            for (int i = 0; x->node && i < x->node->n_in; i++) fixed &= list[x->node->in[i]->id];
            list[m->n_fixed] = (char)fixed;
        }
    }
    return m->fixed[v->id];
}
