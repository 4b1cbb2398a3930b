#include "serialize/onnx/view.h"

#include <string.h>

cg_view cg_view_of(const cg_shape *shape) {
    cg_view v = {.shape = *shape};
    int64_t stride = cg_shape_count(shape);
    for (int i = 0; i < shape->rank && stride > 0; i++) {
        stride /= shape->dim[i];
        if (shape->dim[i] > 1) v.atom[v.n++] = (cg_atom){shape->dim[i], stride, i};
    }
    return v;
}

/* --- finer ------------------------------------------------------------------------------------ */

/* Takes the outer `size` steps off an atom, which keeps the inner rest. */
static cg_atom take(cg_atom *from, int64_t size) {
    from->size /= size;
    return (cg_atom){size, from->stride * from->size, from->axis};
}

int cg_view_reshape(cg_view *v, const cg_shape *to) {
    cg_view out = {.shape = *to};
    int at = 0;
    cg_atom left = v->n ? v->atom[0] : (cg_atom){.size = 1};
    for (int i = 0; i < to->rank; i++)
        for (int64_t need = to->dim[i]; need > 1;) {
            int64_t size = left.size < need ? left.size : need;
            if (size < 2 || need % size || left.size % size || out.n == CG_VIEW_ATOMS) return 0;
            cg_atom part = take(&left, size);
            part.axis = i;
            out.atom[out.n++] = part;
            need /= size;
            if (left.size == 1 && ++at < v->n) left = v->atom[at];
        }
    cg_view_join(&out);
    *v = out;
    return 1;
}

/* The atoms of one axis, split at the steps of the other's; 0: they do not divide. */
static int split_axis(const cg_view *v, const cg_view *by, int axis, int by_axis, cg_view *out) {
    int a = 0, b = 0;
    while (a < v->n && v->atom[a].axis != axis) a++;
    while (b < by->n && by->atom[b].axis != by_axis) b++;
    cg_atom x = v->atom[a];
    for (int64_t other = by->atom[b].size; a < v->n && v->atom[a].axis == axis;) {
        int64_t size = x.size < other ? x.size : other;
        if (size < 2 || x.size % size || other % size || out->n == CG_VIEW_ATOMS) return 0;
        out->atom[out->n++] = take(&x, size);
        other /= size;
        if (x.size == 1 && ++a < v->n) x = v->atom[a];
        if (other == 1 && ++b < by->n) other = by->atom[b].size;
    }
    return 1;
}

int cg_view_split(cg_view *v, const cg_view *by) {
    cg_view out = {.shape = v->shape};
    int shift = by->shape.rank - v->shape.rank;
    for (int axis = 0; axis < v->shape.rank; axis++) {
        if (v->shape.dim[axis] == 1) continue;
        int other = axis + shift;
        if (other >= 0 && by->shape.dim[other] == v->shape.dim[axis]) {
            if (!split_axis(v, by, axis, other, &out)) return 0;
            continue;
        }
        for (int i = 0; i < v->n; i++) {
            if (v->atom[i].axis != axis) continue;
            if (out.n == CG_VIEW_ATOMS) return 0;
            out.atom[out.n++] = v->atom[i];
        }
    }
    *v = out;
    return 1;
}

/* --- order ------------------------------------------------------------------------------------ */

void cg_view_permute(cg_view *v, const int *axes) {
    cg_view out = {.shape = {.rank = v->shape.rank}};
    for (int i = 0; i < v->shape.rank; i++) {
        out.shape.dim[i] = v->shape.dim[axes[i]];
        for (int k = 0; k < v->n; k++) {
            if (v->atom[k].axis != axes[i]) continue;
            out.atom[out.n] = v->atom[k];
            out.atom[out.n++].axis = i;
        }
    }
    *v = out;
}

static int continues(const cg_atom *outer, const cg_atom *inner) {
    return outer->stride == inner->size * inner->stride;
}

void cg_view_join(cg_view *v) {
    int n = 0;
    for (int i = 0; i < v->n; i++) {
        cg_atom *last = n ? &v->atom[n - 1] : NULL;
        if (last && last->axis == v->atom[i].axis && continues(last, &v->atom[i]))
            *last = (cg_atom){last->size * v->atom[i].size, v->atom[i].stride, last->axis};
        else
            v->atom[n++] = v->atom[i];
    }
    v->n = n;
}

int cg_view_is_plain(const cg_view *v) {
    int64_t stride = 1;
    for (int i = v->n - 1; i >= 0; stride *= v->atom[i--].size)
        if (v->atom[i].stride != stride) return 0;
    return 1;
}

int64_t cg_view_stride(const cg_view *v, int axis) {
    int64_t stride = 0;
    for (int i = 0; i < v->n; i++) {
        if (v->atom[i].axis != axis) continue;
        if (stride) return -1;
        stride = v->atom[i].stride;
    }
    return stride;
}

/* --- moving ----------------------------------------------------------------------------------- */

cg_value *cg_shaped(cg_graph *g, cg_value *x, cg_shape shape) {
    return x && cg_shape_equal(&x->shape, &shape) ? x : cg_reshape(g, x, shape);
}

/* Neighbours that lie behind one another need not be told apart, whichever axis they are of. */
static int all_joined(const cg_view *v, cg_atom out[CG_VIEW_ATOMS]) {
    cg_view one = *v;
    for (int i = 0; i < one.n; i++) one.atom[i].axis = 0;
    cg_view_join(&one);
    memcpy(out, one.atom, sizeof one.atom);
    return one.n;
}

cg_value *cg_view_move(cg_graph *g, cg_value *x, const cg_view *v) {
    if (!x || cg_view_is_plain(v)) return cg_shaped(g, x, v->shape);
    cg_atom atom[CG_VIEW_ATOMS];
    int n = all_joined(v, atom);
    if (n > CG_MAX_RANK)
        return cg_graph_fail(g, cg_error(CG_EUNSUPPORTED, "a transposition of %d axes", n));
    cg_shape held = {.rank = n}, axes = {.rank = n};
    for (int i = 0; i < n; i++) {
        int place = 0;
        for (int k = 0; k < n; k++) place += atom[k].stride > atom[i].stride;
        held.dim[place] = atom[i].size;
        axes.dim[i] = place;
    }
    return cg_shaped(g, cg_transpose(g, cg_shaped(g, x, held), axes), v->shape);
}
