/* How tensors of the file lie, as against the values that they hold: bringing one into the form
 * that a reader wants, with as few nodes as it takes. */
#include "serialize/onnx/export_private.h"

#include <stdlib.h>
#include <string.h>

cg_onnx_ref *cg_onnx_copy(cg_onnx_export *x, const cg_onnx_ref *t) {
    cg_onnx_ref *c = t ? cg_onnx_alloc(x, sizeof *c) : NULL;
    if (c) *c = *t;
    return c;
}

cg_onnx_size cg_onnx_axis_size(const cg_onnx_ref *t, int axis) {
    cg_onnx_size size = cg_onnx_fixed(1);
    for (int i = 0; i < t->n; i++)
        if (t->dim[i].axis == axis) size = cg_onnx_times(size, t->dim[i].size);
    return size;
}

/* What the file has of a dimension. */
static cg_onnx_size there(const cg_onnx_dim *d) {
    return d->repeat == CG_ONNX_WHOLE ? d->size : cg_onnx_fixed(1);
}

/* The dimensions that are there at all. */
static int present(const cg_onnx_ref *t, cg_onnx_size *size) {
    int n = 0;
    for (int i = 0; i < t->n; i++)
        if (t->dim[i].repeat != CG_ONNX_ABSENT) size[n++] = there(&t->dim[i]);
    return n;
}

/* --- shapes as tensors ------------------------------------------------------------------------ */

cg_onnx_ref *cg_onnx_symbol_tensor(cg_onnx_export *x, int symbol) {
    const cg_onnx_symbol *s = &x->symbol[symbol];
    cg_onnx_node shape = {
        "Shape", 1, {s->input}, {CG_ONNX_INT("start", s->axis), CG_ONNX_INT("end", s->axis + 1)}};
    const char *path = x->path;
    x->path = s->name;
    cg_onnx_ref *t = cg_onnx_make(&x->sink, &shape, 1, (cg_onnx_size[]){cg_onnx_fixed(1)});
    x->path = path;
    return t;
}

/* One size as i64 [1]. */
static cg_onnx_ref *size_tensor(cg_onnx_export *x, cg_onnx_size size) {
    cg_onnx_ref *t = NULL;
    for (int i = 0; i < CG_ONNX_SYMBOLS; i++)
        for (int k = 0; k < size.power[i]; k++) {
            cg_onnx_ref *symbol = cg_onnx_symbol_tensor(x, i);
            t = t ? cg_onnx_binary(&x->sink, "Mul", t, symbol) : symbol;
        }
    if (t && size.factor == 1) return t;
    cg_onnx_ref *factor = cg_onnx_integers(&x->sink, 1, &size.factor);
    return t ? cg_onnx_binary(&x->sink, "Mul", t, factor) : factor;
}

cg_onnx_ref *cg_onnx_shape_tensor(cg_onnx_export *x, int n, const cg_onnx_size *size) {
    int64_t number[CG_ONNX_RANK];
    int fixed = 1;
    for (int i = 0; i < n; i++) {
        fixed &= cg_onnx_is_fixed(size[i]);
        number[i] = size[i].factor;
    }
    if (fixed) return cg_onnx_integers(&x->sink, n, number);
    cg_onnx_node concat = {"Concat", 0, {NULL}, {CG_ONNX_INT("axis", 0)}};
    for (int i = 0; i < n;) {
        int run = 0;
        while (i + run < n && cg_onnx_is_fixed(size[i + run])) run++;
        if (concat.n_in == CG_ONNX_IN)
            return cg_onnx_failed(x, cg_error(CG_EUNSUPPORTED, "a shape of so many parts"));
        concat.in[concat.n_in++] =
            run ? cg_onnx_integers(&x->sink, run, number + i) : size_tensor(x, size[i]);
        i += run ? run : 1;
    }
    if (concat.n_in == 1) return concat.in[0];
    return cg_onnx_make(&x->sink, &concat, 1, (cg_onnx_size[]){cg_onnx_fixed(n)});
}

/* --- nodes that change the form --------------------------------------------------------------- */

/* Without optimization what is known stays as it is stored, and nodes change it. */
static int on_paper(const cg_onnx_export *x, const cg_onnx_ref *t) {
    return !t->name && (t->value || t->data) && (x->optimize || t->data);
}

/* The numbers of Reshape's second operand: 0 for a size that stays, one -1 for one that follows. */
static cg_onnx_ref *target(cg_onnx_export *x, int n_from, const cg_onnx_size *from, int n,
                           const cg_onnx_size *to) {
    int64_t number[CG_ONNX_RANK];
    int open = 0;
    for (int i = 0; i < n; i++) {
        number[i] = to[i].factor;
        if (cg_onnx_is_fixed(to[i])) continue;
        number[i] = i < n_from && cg_onnx_same(from[i], to[i]) ? 0 : -1;
        open += number[i] < 0;
    }
    return open > 1 ? cg_onnx_shape_tensor(x, n, to) : cg_onnx_integers(&x->sink, n, number);
}

cg_onnx_ref *cg_onnx_redim(cg_onnx_export *x, cg_onnx_ref *t, int n, const cg_onnx_dim *dim) {
    cg_onnx_size from[CG_ONNX_RANK], to[CG_ONNX_RANK];
    cg_onnx_ref *r = cg_onnx_copy(x, t);
    if (!r) return NULL;
    int n_from = present(t, from);
    r->n = n;
    memcpy(r->dim, dim, (size_t)n * sizeof *dim);
    int n_to = present(r, to), same = n_from == n_to;
    for (int i = 0; same && i < n_to; i++) same = cg_onnx_same(from[i], to[i]);
    if (same) return r;
    r->counts = 0;
    if (on_paper(x, t) && !t->permuted) {
        r->n_from = n_to;
        for (int i = 0; i < n_to; i++) {
            r->from[i] = to[i].factor;
            r->order[i] = i;
        }
        return r;
    }
    cg_onnx_node reshape = {"Reshape", 2, {t, target(x, n_from, from, n_to, to)}, {{0}}};
    for (int i = 0; i < n_to; i++) /* of an empty tensor, 0 is a size */
        if (cg_onnx_is(to[i], 0)) reshape.attr[0] = (cg_onnx_attr)CG_ONNX_INT("allowzero", 1);
    return cg_onnx_result(x, &reshape, t->rank, n, dim);
}

static cg_onnx_ref *permute(cg_onnx_export *x, cg_onnx_ref *t, const int *order) {
    cg_onnx_ref *r = cg_onnx_copy(x, t);
    if (!r) return NULL;
    for (int i = 0; i < t->n; i++) r->dim[i] = t->dim[order[i]];
    if (on_paper(x, t) && t->n_from == t->n) {
        r->permuted = 0;
        for (int i = 0; i < t->n; i++) {
            r->order[i] = t->order[order[i]];
            r->permuted |= r->order[i] != i;
        }
        return r;
    }
    if (t->n > CG_MAX_RANK)
        return cg_onnx_failed(x, cg_error(CG_EUNSUPPORTED, "a transpose of %d dimensions", t->n));
    cg_onnx_node transpose = {"Transpose", 1, {t}, {CG_ONNX_INTS("perm", 0)}};
    transpose.attr[0].ints.rank = t->n;
    for (int i = 0; i < t->n; i++) transpose.attr[0].ints.dim[i] = order[i];
    return cg_onnx_result(x, &transpose, t->rank, t->n, r->dim);
}

cg_onnx_ref *cg_onnx_expand(cg_onnx_export *x, cg_onnx_ref *t) {
    int any = 0;
    cg_onnx_size size[CG_ONNX_RANK];
    for (int i = 0; t && i < t->n; i++) {
        int repeated = t->dim[i].repeat != CG_ONNX_WHOLE;
        any |= repeated;
        size[i] = repeated ? t->dim[i].size : cg_onnx_fixed(1);
        if (cg_onnx_is_fixed(t->dim[i].size)) size[i] = t->dim[i].size;
    }
    if (!t || !any) return t;
    cg_onnx_node expand = {"Expand", 2, {t, cg_onnx_shape_tensor(x, t->n, size)}, {{0}}};
    cg_onnx_dim dim[CG_ONNX_RANK];
    for (int i = 0; i < t->n; i++) {
        dim[i] = t->dim[i];
        dim[i].repeat = CG_ONNX_WHOLE;
    }
    return cg_onnx_result(x, &expand, t->rank, t->n, dim);
}

/* Dimensions sorted by axis. A 1 moves without moving any number. */
cg_onnx_ref *cg_onnx_order(cg_onnx_export *x, cg_onnx_ref *t) {
    int order[CG_ONNX_RANK], n = 0, moved = 0, last = -1, moves_numbers = 0, absent = 0;
    cg_onnx_dim dim[CG_ONNX_RANK];
    if (!t) return NULL;
    for (int a = 0; a < t->rank; a++)
        for (int i = 0; i < t->n; i++)
            if (t->dim[i].axis == a) order[n++] = i;
    for (int i = 0; i < n; i++) {
        dim[i] = t->dim[order[i]];
        moved |= order[i] != i;
        absent |= dim[i].repeat == CG_ONNX_ABSENT;
        if (cg_onnx_is(there(&dim[i]), 1)) continue;
        moves_numbers |= order[i] < last;
        last = order[i];
    }
    if (!moved) return t;
    if (absent) return cg_onnx_order(x, cg_onnx_expand(x, t));
    return moves_numbers ? permute(x, t, order) : cg_onnx_redim(x, t, n, dim);
}

/* The parts of an axis (of each, where axis is -1) become one dimension. */
static cg_onnx_ref *merge(cg_onnx_export *x, cg_onnx_ref *t, int axis) {
    cg_onnx_dim dim[CG_ONNX_RANK];
    int n = 0;
    if (!t) return NULL;
    for (int i = 0; i < t->n; i++) {
        int part = n > 0 && dim[n - 1].axis == t->dim[i].axis;
        if (part && (axis < 0 || t->dim[i].axis == axis))
            dim[n - 1].size = cg_onnx_times(dim[n - 1].size, t->dim[i].size);
        else
            dim[n++] = t->dim[i];
    }
    return n == t->n ? t : cg_onnx_redim(x, t, n, dim);
}

/* --- the forms -------------------------------------------------------------------------------- */

cg_onnx_ref *cg_onnx_form_plain(cg_onnx_sink *s, cg_onnx_ref *t) {
    cg_onnx_export *x = cg_onnx_of(s);
    if (t && t->within.factor) t = cg_onnx_rows_absolute(x, t);
    return merge(x, cg_onnx_order(x, cg_onnx_expand(x, t)), -1);
}

cg_onnx_ref *cg_onnx_form_rows(cg_onnx_sink *s, cg_onnx_ref *t) {
    cg_onnx_export *x = cg_onnx_of(s);
    if (!t) return NULL;
    int parts = 0, at_end = 1, repeated = 0;
    for (int i = 0; i < t->n; i++) {
        int last = t->dim[i].axis == t->rank - 1;
        parts += last;
        at_end &= last || parts == 0;
        repeated |= last && t->dim[i].repeat != CG_ONNX_WHOLE;
    }
    if (repeated) t = cg_onnx_expand(x, t);
    if (!at_end) t = cg_onnx_order(x, t);
    return merge(x, t, t ? t->rank - 1 : 0);
}

cg_onnx_ref *cg_onnx_form_pictures(cg_onnx_sink *s, cg_onnx_ref *t) {
    static const int wanted[] = {0, 3, 1, 2};
    int is = t && t->n == 4;
    for (int i = 0; is && i < 4; i++)
        is = t->dim[i].axis == wanted[i] && t->dim[i].repeat == CG_ONNX_WHOLE;
    if (!t || is) return t;
    t = cg_onnx_form_plain(s, t);
    return t ? permute(cg_onnx_of(s), t, wanted) : NULL;
}

cg_onnx_ref *cg_onnx_form_transpose(cg_onnx_sink *s, cg_onnx_ref *t, const cg_shape *axes) {
    cg_onnx_ref *r = cg_onnx_copy(cg_onnx_of(s), t);
    for (int i = 0; r && i < t->n; i++)
        for (int a = 0; a < axes->rank; a++)
            if (axes->dim[a] == t->dim[i].axis) r->dim[i].axis = a;
    return r;
}

cg_onnx_ref *cg_onnx_form_repeat(cg_onnx_sink *s, cg_onnx_ref *t, int rank,
                                 const cg_onnx_size *size) {
    cg_onnx_ref *r = cg_onnx_copy(cg_onnx_of(s), t);
    if (!r) return NULL;
    int added = rank - t->rank;
    r->rank = rank;
    r->n = 0;
    for (int a = 0; a < added; a++) r->dim[r->n++] = (cg_onnx_dim){size[a], a, CG_ONNX_ABSENT};
    for (int i = 0; i < t->n; i++) {
        cg_onnx_dim d = t->dim[i];
        int single = cg_onnx_is(cg_onnx_axis_size(t, d.axis), 1);
        d.axis += added;
        if (single && !cg_onnx_is(size[d.axis], 1) && cg_onnx_is(cg_onnx_axis_size(r, d.axis), 1))
            d = (cg_onnx_dim){size[d.axis], d.axis, CG_ONNX_ONCE};
        r->dim[r->n++] = d;
    }
    return r;
}

/* --- reshape ---------------------------------------------------------------------------------- */

/* Both shapes cut as finely as either: the dimensions of the result, last first. Returns their
 * number; 0: a cut goes through what is no multiple; -1: through what is repeated. */
static int refine(const cg_onnx_ref *t, int rank, const cg_onnx_size *size, cg_onnx_dim *dim) {
    int n = 0, i = t->n - 1, j = rank - 1, whole = 1;
    cg_onnx_size a = i >= 0 ? t->dim[i].size : cg_onnx_fixed(1), b = size[j < 0 ? 0 : j], rest;
    int begun = 0; /* of axis j something has been taken */
    while (i >= 0 || j >= 0) {
        cg_onnx_presence repeat = i >= 0 ? t->dim[i].repeat : CG_ONNX_WHOLE;
        if (n == CG_ONNX_RANK) return 0;
        if (i >= 0 && whole && cg_onnx_is(a, 1)) { /* a 1 that was there falls away */
            a = --i >= 0 ? t->dim[i].size : a;
            continue;
        }
        if (j >= 0 && cg_onnx_is(b, 1)) { /* one that is wanted, or the end of an axis */
            if (!begun) dim[n++] = (cg_onnx_dim){b, j, CG_ONNX_WHOLE};
            begun = 0;
            b = --j >= 0 ? size[j] : b;
            continue;
        }
        if (i < 0 || j < 0) return 0;
        if (cg_onnx_over(b, a, &rest)) {
            dim[n++] = (cg_onnx_dim){a, j, whole ? repeat : CG_ONNX_WHOLE};
            b = rest;
            begun = 1;
            whole = 1;
            a = --i >= 0 ? t->dim[i].size : a;
        } else if (cg_onnx_over(a, b, &rest)) {
            if (repeat != CG_ONNX_WHOLE) return -1;
            dim[n++] = (cg_onnx_dim){b, j, CG_ONNX_WHOLE};
            a = rest;
            whole = 0;
            begun = 0;
            b = --j >= 0 ? size[j] : b;
        } else {
            return 0;
        }
    }
    return n;
}

/* Neighbours of one axis of which the second has a fixed size: where numbers are given other
 * dimensions anyway, there is no use in keeping them apart. */
static int join(cg_onnx_dim *dim, int n) {
    int m = 0;
    for (int i = 0; i < n; i++) {
        int joins = m > 0 && dim[m - 1].axis == dim[i].axis && cg_onnx_is_fixed(dim[i].size) &&
                    dim[m - 1].repeat == CG_ONNX_WHOLE && dim[i].repeat == CG_ONNX_WHOLE;
        if (joins)
            dim[m - 1].size = cg_onnx_times(dim[m - 1].size, dim[i].size);
        else
            dim[m++] = dim[i];
    }
    return m;
}

/* Absent ones stand in front. */
static int is_sound(const cg_onnx_dim *dim, int n) {
    for (int i = 1; i < n; i++)
        if (dim[i].repeat == CG_ONNX_ABSENT && dim[i - 1].repeat != CG_ONNX_ABSENT) return 0;
    return 1;
}

static int is_same(const cg_onnx_ref *t, const cg_onnx_dim *dim, int n) {
    int same = n == t->n;
    for (int i = 0; same && i < n; i++)
        same = cg_onnx_same(there(&dim[i]), there(&t->dim[i])) && dim[i].repeat == t->dim[i].repeat;
    return same;
}

static cg_onnx_ref *relabelled(cg_onnx_export *x, cg_onnx_ref *t, int rank) {
    cg_onnx_ref *r = cg_onnx_copy(x, t);
    if (r) r->rank = rank;
    return r;
}

cg_onnx_ref *cg_onnx_form_reshape(cg_onnx_sink *s, cg_onnx_ref *t, int rank,
                                  const cg_onnx_size *size) {
    cg_onnx_export *x = cg_onnx_of(s);
    cg_onnx_dim back[CG_ONNX_RANK], dim[CG_ONNX_RANK];
    if (t && t->within.factor) t = cg_onnx_rows_absolute(x, t);
    t = cg_onnx_order(x, t);
    if (!t) return NULL;
    int n = refine(t, rank, size, back);
    if (n > 0)
        for (int i = 0; i < n; i++) dim[i] = back[n - 1 - i];
    if (n < 0 || (n > 0 && !is_sound(dim, n)))
        return cg_onnx_form_reshape(s, cg_onnx_expand(x, t), rank, size);
    if (n == 0 && rank > 0) { /* no common cut */
        t = cg_onnx_form_plain(s, t);
        if (!t) return NULL;
        for (n = 0; n < rank; n++) dim[n] = (cg_onnx_dim){size[n], n, CG_ONNX_WHOLE};
    } else if (!is_same(t, dim, n)) {
        n = join(dim, n);
    }
    return cg_onnx_redim(x, relabelled(x, t, rank), n, dim);
}
