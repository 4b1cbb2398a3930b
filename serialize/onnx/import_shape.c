/* Operators that move, select or repeat elements. */
#include "serialize/onnx/import_private.h"

#include <stdlib.h>
#include <string.h>

static const cg_host *known(cg_job *j, int i) {
    return i < j->n_in ? cg_item_host(j, j->in[i]) : NULL;
}

static cg_status import_reshape(cg_job *j) {
    cg_shape shape;
    cg_value *moved;
    cg_item *x = j->in[0];
    if (j->n_in > 1 && j->in[1] && !known(j, 1))
        return cg_error(CG_EUNSUPPORTED, "has a shape or axes that only a run knows");
    CG_TRY(cg_onnx_new_shape(j->node, &x->shape, known(j, 1), &shape));
    CG_TRY(cg_item_value(j, x));
    cg_view view = x->view;
    if (cg_view_reshape(&view, &shape)) {
        CG_TRY(cg_out_view(j, 0, x->v, &view));
    } else {
        CG_TRY(cg_item_plain(j, x, &moved));
        view = cg_view_of(&shape);
        CG_TRY(cg_out_view(j, 0, moved, &view));
    }
    j->out[0].type = x->type;
    return CG_OK;
}

static cg_status import_transpose(cg_job *j) {
    int64_t list[CG_MAX_RANK];
    int n, rank = j->in[0]->shape.rank, axes[CG_MAX_RANK];
    unsigned seen = 0;
    CG_TRY(cg_onnx_ints(j->node, "perm", NULL, list, &n));
    for (int i = 0; i < rank; i++) {
        int64_t axis = n < 0 ? rank - 1 - i : i < n ? list[i] : -1;
        if (n > rank || axis < 0 || axis >= rank || seen >> axis & 1)
            return cg_error(CG_EFORMAT, "has no permutation of axes");
        seen |= 1u << axis;
        axes[i] = (int)axis;
    }
    CG_TRY(cg_item_value(j, j->in[0]));
    cg_view view = j->in[0]->view;
    cg_view_permute(&view, axes);
    CG_TRY(cg_out_view(j, 0, j->in[0]->v, &view));
    j->out[0].type = j->in[0]->type;
    return CG_OK;
}

/* --- parts along an axis ---------------------------------------------------------------------- */

enum { MOST_ROWS = 1 << 20 };

/* Rows [start, start + length) of v seen as [outer, size, inner]. A single one of rows that are
 * whole rows of the value is a gather, which `rows` can move up; not of so many that their numbers
 * would be much. */
static cg_value *cut_value(cg_job *j, cg_value *v, int64_t size, int64_t inner, int64_t start,
                           int64_t length) {
    cg_graph *g = j->g;
    int64_t count = cg_shape_count(&v->shape), outer = count / (size * inner);
    int64_t width = v->shape.rank ? v->shape.dim[v->shape.rank - 1] : 1;
    int64_t each = inner / width, n = outer * each;
    if (length > 1 || inner < width || inner % width || n > MOST_ROWS || count / width > INT32_MAX)
        return cg_slice(g, cg_shaped(g, v, CG_SHAPE(outer, size, inner)), 1, start, length);
    cg_status s = cg_import_constant(j, &CG_SHAPE(n), CG_I32);
    int32_t *row = s == CG_OK ? malloc((size_t)n * sizeof *row + 1) : NULL;
    if (!row && s == CG_OK) s = cg_error(CG_ENOMEM, "no memory for %lld numbers", (long long)n);
    if (!row) return cg_graph_fail(g, s);
    for (int64_t i = 0; i < n; i++) row[i] = (int32_t)((i / each * size + start) * each + i % each);
    cg_value *index = cg_constant(g, CG_I32, CG_SHAPE(n), row);
    free(row);
    return cg_gather(g, cg_shaped(g, v, CG_SHAPE(count / width, width)), index);
}

/* x along `axis` from start; drop: the axis, of length 1 then, goes. */
static cg_status cut(cg_job *j, cg_item *x, int axis, int64_t start, int64_t length, int drop,
                     cg_item *out) {
    cg_value *moved;
    CG_TRY(cg_item_value(j, x));
    if (length == 0) return cg_error(CG_EUNSUPPORTED, "selects nothing");
    if (cg_view_stride(&x->view, axis) < 0) CG_TRY(cg_item_plain(j, x, &moved));
    int64_t size = x->shape.dim[axis], inner = cg_view_stride(&x->view, axis);
    cg_view view = x->view;
    cg_value *v = x->v;
    if (length < size) {
        v = cut_value(j, x->v, size, inner, start, length);
        if (!v) return cg_graph_status(j->g);
        view.n = 0;
        for (int i = 0; i < x->view.n; i++) {
            cg_atom a = x->view.atom[i];
            if (a.stride > inner) a.stride = a.stride / size * length;
            if (a.axis == axis) a.size = length;
            if (a.size > 1) view.atom[view.n++] = a;
        }
        view.shape.dim[axis] = length;
    }
    if (drop) {
        cg_shape shape = {0};
        for (int i = 0; i < view.shape.rank; i++)
            if (i != axis) shape.dim[shape.rank++] = view.shape.dim[i];
        for (int i = 0; i < view.n; i++) view.atom[i].axis -= view.atom[i].axis > axis;
        view.shape = shape;
    }
    *out = (cg_item){.type = x->type, .shape = view.shape, .v = v, .view = view};
    return CG_OK;
}

static cg_status import_slice(cg_job *j) {
    const cg_host *in[5] = {0};
    cg_onnx_cut list[CG_MAX_RANK];
    int n;
    for (int i = 1; i < j->n_in && i < 5; i++)
        if (j->in[i] && !(in[i] = known(j, i)))
            return cg_error(CG_EUNSUPPORTED, "has bounds that only a run knows");
    CG_TRY(cg_onnx_cuts(&j->in[0]->shape, in, j->n_in, list, &n));
    cg_item x = *j->in[0];
    for (int i = 0; i < n; i++) {
        if (list[i].step != 1)
            return cg_error(CG_EUNSUPPORTED, "has a step of %lld, wanted 1",
                            (long long)list[i].step);
        cg_item next;
        CG_TRY(cut(j, &x, list[i].axis, list[i].start, list[i].length, 0, &next));
        x = next;
    }
    CG_TRY(cg_item_value(j, &x));
    j->out[0] = x;
    return CG_OK;
}

static cg_status import_split(cg_job *j) {
    int64_t length[64], begin = 0;
    int axis = 0;
    if (j->node->n_output > 64) return cg_error(CG_EUNSUPPORTED, "has more than 64 outputs");
    if (j->n_in > 1 && j->in[1] && !known(j, 1))
        return cg_error(CG_EUNSUPPORTED, "has lengths that only a run knows");
    CG_TRY(cg_onnx_split(j->node, &j->in[0]->shape, known(j, 1), &axis, length));
    for (int k = 0; k < j->n_out; k++) {
        CG_TRY(cut(j, j->in[0], axis, begin, length[k], 0, &j->out[k]));
        begin += length[k];
    }
    return CG_OK;
}

/* --- by known numbers ------------------------------------------------------------------------- */

/* 0, 1, … or, from another start, as many in a row. */
static int is_range(const cg_host *index, int64_t size, int64_t *start) {
    int64_t n = cg_host_count(index);
    if (n == 0) return 0;
    *start = cg_host_int(index->x[0]);
    if (*start < 0) *start += size;
    for (int64_t i = 0; i < n; i++)
        if (i > 0 && (*start > size || cg_host_int(index->x[i]) != *start + i)) return 0;
    return *start >= 0 && *start <= size - n;
}

/* Rows of a table by a list of numbers, along axis 0. */
static cg_status gather_rows(cg_job *j, const cg_host *index) {
    const cg_shape *s = &j->in[0]->shape;
    cg_value *table;
    CG_TRY(cg_item_plain(j, j->in[0], &table));
    int64_t n = cg_host_count(index), rows = s->dim[0], width = cg_item_count(j->in[0]) / rows;
    CG_TRY(cg_import_constant(j, &index->shape, CG_I32));
    int32_t *row = malloc((size_t)n * sizeof *row + 1);
    if (!row) return cg_error(CG_ENOMEM, "no memory for %lld numbers", (long long)n);
    cg_status status = n ? CG_OK : cg_error(CG_EUNSUPPORTED, "selects nothing");
    for (int64_t i = 0; i < n && status == CG_OK; i++) {
        int64_t at = cg_host_int(index->x[i]);
        if (at < -rows || at >= rows)
            status = cg_error(CG_EFORMAT, "has index %lld, wanted less than %lld", (long long)at,
                              (long long)rows);
        row[i] = (int32_t)(at < 0 ? at + rows : at);
    }
    cg_value *v = NULL;
    if (status == CG_OK)
        v = cg_gather(j->g, cg_shaped(j->g, table, CG_SHAPE(rows, width)),
                      cg_constant(j->g, CG_I32, CG_SHAPE(n), row));
    free(row);
    CG_TRY(status);
    cg_shape shape = index->shape;
    for (int i = 1; i < s->rank; i++) {
        if (shape.rank == CG_MAX_RANK) return cg_error(CG_EUNSUPPORTED, "makes too many axes");
        shape.dim[shape.rank++] = s->dim[i];
    }
    cg_view view = cg_view_of(&shape);
    return cg_out_view(j, 0, v, &view);
}

static cg_status import_gather(cg_job *j) {
    const cg_host *index = known(j, 1);
    int axis = 0;
    int64_t start;
    cg_item part = {0};
    if (!index) return cg_error(CG_EUNSUPPORTED, "has indices that only a run knows, or too many");
    CG_TRY(cg_onnx_axis(cg_onnx_int(j->node, "axis", 0), j->in[0]->shape.rank, &axis));
    CG_TRY(cg_budget_walk(&j->m->room.budget, cg_host_count(index)));
    if (!is_range(index, j->in[0]->shape.dim[axis], &start)) {
        if (axis != 0)
            return cg_error(CG_EUNSUPPORTED, "picks along axis %d, wanted 0 or neighbours", axis);
        return gather_rows(j, index);
    }
    int64_t n = cg_host_count(index);
    CG_TRY(cut(j, j->in[0], axis, start, n, index->shape.rank == 0, &part));
    j->out[0] = part;
    if (index->shape.rank < 2) return CG_OK;
    cg_shape shape = {0}; /* the axis becomes the indices' axes */
    for (int i = 0; i < part.shape.rank; i++)
        for (int k = 0; k < (i == axis ? index->shape.rank : 1); k++) {
            if (shape.rank == CG_MAX_RANK) return cg_error(CG_EUNSUPPORTED, "makes too many axes");
            shape.dim[shape.rank++] = i == axis ? index->shape.dim[k] : part.shape.dim[i];
        }
    if (!cg_view_reshape(&part.view, &shape)) {
        cg_value *moved;
        CG_TRY(cg_item_plain(j, &part, &moved));
        part.view = cg_view_of(&shape);
    }
    return cg_out_view(j, 0, part.v, &part.view);
}

/* --- joining and repeating -------------------------------------------------------------------- */

static cg_status import_concat(cg_job *j) {
    cg_value *v[256], *unused;
    int axis, axes[CG_MAX_RANK], largest = 0, at = 0, n = 0;
    if (j->n_in > 256) return cg_error(CG_EUNSUPPORTED, "joins more than 256 operands");
    CG_TRY(cg_onnx_axis(cg_onnx_int(j->node, "axis", 0), j->in[0]->shape.rank, &axis));
    for (int k = 0; k < j->n_in; k++) {
        if (!j->in[k] || j->in[k]->shape.rank != j->in[0]->shape.rank)
            return cg_error(CG_EFORMAT, "joins operands of different ranks");
        if (cg_item_count(j->in[k]) > cg_item_count(j->in[largest])) largest = k;
    }
    CG_TRY(cg_item_frame(j, j->in[largest], axes, &unused));
    while (axes[at] != axis) at++;
    for (int k = 0; k < j->n_in; k++)
        if (j->in[k]->shape.dim[axis] > 0) CG_TRY(cg_item_as(j, j->in[k], axes, &v[n++]));
    if (n == 0) return cg_error(CG_EUNSUPPORTED, "joins operands without elements");
    return cg_out_frame(j, 0, n == 1 ? v[0] : cg_concat(j->g, n, v, at), axes);
}

static cg_status import_expand(cg_job *j) {
    const cg_host *wanted = known(j, 1);
    int64_t list[CG_MAX_RANK];
    cg_shape shape = {0};
    cg_value *x;
    if (!wanted) return cg_error(CG_EUNSUPPORTED, "has a shape that only a run knows");
    CG_TRY(cg_onnx_ints(j->node, NULL, wanted, list, &shape.rank));
    for (int i = 0; i < shape.rank; i++) shape.dim[i] = list[i];
    CG_TRY(cg_shape_check(&shape, CG_F32));
    CG_TRY(cg_shape_broadcast(&j->in[0]->shape, &shape, &shape));
    CG_TRY(cg_shape_check(&shape, CG_F32));
    if (cg_shape_count(&shape) == 0) return cg_error(CG_EUNSUPPORTED, "makes nothing");
    CG_TRY(cg_item_value(j, j->in[0]));
    if (cg_shape_count(&shape) == cg_item_count(j->in[0])) {
        cg_view view = j->in[0]->view;
        if (cg_view_reshape(&view, &shape)) return cg_out_view(j, 0, j->in[0]->v, &view);
    }
    CG_TRY(cg_item_plain(j, j->in[0], &x));
    return cg_out_plain(j, 0, cg_broadcast(j->g, x, shape));
}

const cg_import_op cg_import_shape[] = {{"Reshape", 2, import_reshape},
                                        {"Flatten", 1, import_reshape},
                                        {"Squeeze", 1, import_reshape},
                                        {"Unsqueeze", 1, import_reshape},
                                        {"Transpose", 1, import_transpose},
                                        {"Slice", 3, import_slice},
                                        {"Split", 1, import_split},
                                        {"Gather", 2, import_gather},
                                        {"Concat", 1, import_concat},
                                        {"Expand", 2, import_expand},
                                        {NULL, 0, NULL}};
