/* Nodes on operands in several forms: they are brought into that of the largest. */
#include "serialize/onnx/export_private.h"

#include <string.h>

/* Numbers that are there, in the first graph. */
static int64_t numbers(const cg_onnx_export *x, const cg_onnx_ref *t) {
    int64_t n = 1;
    for (int i = 0; i < t->n; i++)
        if (t->dim[i].repeat == CG_ONNX_WHOLE) n *= cg_onnx_number(x, t->dim[i].size);
    return n;
}

static int parts(const cg_onnx_ref *t, int axis) {
    int n = 0;
    for (int i = 0; i < t->n; i++) n += t->dim[i].axis == axis;
    return n;
}

/* The k-th part of an axis. */
static const cg_onnx_dim *part(const cg_onnx_ref *t, int axis, int k) {
    for (int i = 0; i < t->n; i++)
        if (t->dim[i].axis == axis && k-- == 0) return &t->dim[i];
    return NULL;
}

/* Are t's axes, but those of 1, cut as lead's are? */
static int cut_alike(const cg_onnx_ref *t, const cg_onnx_ref *lead, int shift) {
    for (int a = 0; a < t->rank; a++) {
        if (cg_onnx_is(cg_onnx_axis_size(t, a), 1)) continue;
        int n = parts(t, a);
        if (n != parts(lead, a + shift)) return 0;
        for (int k = 0; k < n; k++)
            if (!cg_onnx_same(part(t, a, k)->size, part(lead, a + shift, k)->size)) return 0;
    }
    return 1;
}

static int is_repeated(const cg_onnx_ref *t) {
    for (int i = 0; i < t->n; i++)
        if (t->dim[i].repeat != CG_ONNX_WHOLE) return 1;
    return 0;
}

/* t, cut as lead is, in lead's order, ones where it has none, those in front left out. Axes are
 * the result's from here on. */
static cg_onnx_ref *conform(cg_onnx_export *x, cg_onnx_ref *t, const cg_onnx_ref *lead) {
    int shift = lead->rank - t->rank, n = 0, seen[CG_MAX_RANK + 4] = {0};
    cg_onnx_dim dim[CG_ONNX_RANK];
    for (int i = 0; i < lead->n; i++) {
        int a = lead->dim[i].axis, own = a - shift;
        cg_onnx_dim d = {cg_onnx_fixed(1), a, CG_ONNX_WHOLE};
        if (own >= 0 && !cg_onnx_is(cg_onnx_axis_size(t, own), 1)) {
            d.size = lead->dim[i].size;
            const cg_onnx_dim *p = part(t, own, seen[own]++);
            if (p) d.repeat = p->repeat == CG_ONNX_WHOLE ? CG_ONNX_WHOLE : CG_ONNX_ONCE;
        }
        int left_out = d.repeat == CG_ONNX_ONCE || cg_onnx_is(d.size, 1);
        for (int k = 0; k < n; k++) left_out &= dim[k].repeat == CG_ONNX_ABSENT;
        if (left_out) d.repeat = CG_ONNX_ABSENT;
        dim[n++] = d;
    }
    /* numbers in lead's order first: axes are renamed so that they sort so */
    cg_onnx_ref *r = cg_onnx_copy(x, t);
    if (!r) return NULL;
    for (int i = 0; i < t->n; i++) {
        int place = t->dim[i].axis;
        for (int k = 0; k < lead->n; k++)
            if (lead->dim[k].axis == t->dim[i].axis + shift) {
                place = k;
                break;
            }
        r->dim[i].axis = place;
    }
    r->rank = CG_ONNX_RANK;
    r = cg_onnx_order(x, r);
    if (!r) return NULL;
    r = cg_onnx_copy(x, r);
    if (!r) return NULL;
    r->rank = lead->rank;
    return cg_onnx_redim(x, r, n, dim);
}

/* Does some axis of t repeat along one of lead? */
static int outgrows(const cg_onnx_ref *t, const cg_onnx_ref *lead) {
    int shift = lead->rank - t->rank;
    if (shift < 0) return 1;
    for (int a = 0; a < t->rank; a++)
        if (cg_onnx_is(cg_onnx_axis_size(lead, a + shift), 1) &&
            !cg_onnx_is(cg_onnx_axis_size(t, a), 1))
            return 1;
    return 0;
}

/* Both plain, and the result's sizes by the rule of broadcasting. */
static cg_onnx_ref *plainly(cg_onnx_export *x, const char *op, cg_onnx_ref *a, cg_onnx_ref *b) {
    cg_onnx_node n = {op, 2, {cg_onnx_plain(&x->sink, a), cg_onnx_plain(&x->sink, b)}, {{0}}};
    int rank = a->rank > b->rank ? a->rank : b->rank;
    cg_onnx_size size[CG_ONNX_RANK];
    for (int i = 0; i < rank; i++) {
        int in_a = i - (rank - a->rank), in_b = i - (rank - b->rank);
        size[i] = in_a >= 0 ? cg_onnx_axis_size(a, in_a) : cg_onnx_fixed(1);
        if (in_b >= 0 && cg_onnx_is(size[i], 1)) size[i] = cg_onnx_axis_size(b, in_b);
    }
    return cg_onnx_make(&x->sink, &n, rank, size);
}

cg_onnx_ref *cg_onnx_form_binary(cg_onnx_sink *s, const char *op, cg_onnx_ref *a, cg_onnx_ref *b) {
    cg_onnx_export *x = cg_onnx_of(s);
    if (!a || !b) return NULL;
    if (a->within.factor) a = cg_onnx_rows_absolute(x, a);
    if (b->within.factor) b = cg_onnx_rows_absolute(x, b);
    if (!a || !b) return NULL;
    int a_leads = a->rank != b->rank ? a->rank > b->rank : numbers(x, a) >= numbers(x, b);
    cg_onnx_ref *lead = a_leads ? a : b, *other = a_leads ? b : a;
    if (outgrows(other, lead)) return plainly(x, op, a, b);
    if (!cut_alike(other, lead, lead->rank - other->rank)) {
        if (is_repeated(other) || is_repeated(lead)) return plainly(x, op, a, b);
    }
    other = conform(x, other, lead);
    if (!other) return NULL;
    cg_onnx_dim dim[CG_ONNX_RANK];
    for (int i = 0; i < lead->n; i++) {
        dim[i] = lead->dim[i];
        int whole = other->dim[i].repeat == CG_ONNX_WHOLE;
        if (dim[i].repeat == CG_ONNX_ABSENT)
            dim[i].repeat = other->dim[i].repeat;
        else if (whole && !cg_onnx_is(other->dim[i].size, 1))
            dim[i].repeat = CG_ONNX_WHOLE;
    }
    cg_onnx_node n = {op, 2, {a_leads ? lead : other, a_leads ? other : lead}, {{0}}};
    return cg_onnx_result(x, &n, lead->rank, lead->n, dim);
}

cg_onnx_ref *cg_onnx_form_product(cg_onnx_sink *s, cg_onnx_ref *a, cg_onnx_ref *matrix) {
    cg_onnx_export *x = cg_onnx_of(s);
    a = cg_onnx_rows(s, a);
    matrix = cg_onnx_plain(s, matrix);
    if (!a || !matrix) return NULL;
    cg_onnx_dim dim[CG_ONNX_RANK];
    memcpy(dim, a->dim, sizeof dim);
    dim[a->n - 1].size = matrix->dim[1].size;
    cg_onnx_node n = {"MatMul", 2, {a, matrix}, {{0}}};
    return cg_onnx_result(x, &n, a->rank, a->n, dim);
}

/* The file's dimensions that are parts of these axes. From opset 18 on they are an operand, of
 * ReduceSum since 13. */
cg_onnx_ref *cg_onnx_form_reduce(cg_onnx_sink *s, const char *op, cg_onnx_ref *t,
                                 const cg_shape *axes, int keep) {
    cg_onnx_export *x = cg_onnx_of(s);
    t = cg_onnx_expand(x, t);
    if (!t || axes->rank == 0) return t; /* there, no axis means all */
    if (t->n > CG_MAX_RANK)
        return cg_onnx_failed(x, cg_error(CG_EUNSUPPORTED, "a sum over %d dimensions", t->n));
    cg_shape place = {.rank = 0};
    cg_onnx_dim dim[CG_ONNX_RANK];
    int n = 0;
    for (int i = 0; i < t->n; i++) {
        int reduced = 0, below = 0;
        for (int k = 0; k < axes->rank; k++) {
            reduced |= axes->dim[k] == t->dim[i].axis;
            below += axes->dim[k] < t->dim[i].axis;
        }
        if (reduced) place.dim[place.rank++] = i;
        if (reduced && !keep) continue;
        dim[n] = t->dim[i];
        if (reduced) dim[n].size = cg_onnx_fixed(1);
        if (!keep) dim[n].axis -= below;
        n++;
    }
    cg_onnx_node call = {op, 1, {t}, {CG_ONNX_INT("keepdims", keep), {.name = NULL}}};
    if (s->opset >= 18 || strcmp(op, "ReduceSum") == 0)
        call.in[call.n_in++] = cg_onnx_integers(s, place.rank, place.dim);
    else
        call.attr[1] = (cg_onnx_attr){.name = "axes", .kind = CG_ONNX_ATTR_INTS, .ints = place};
    return cg_onnx_result(x, &call, keep ? t->rank : t->rank - axes->rank, n, dim);
}
