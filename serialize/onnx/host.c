#include "serialize/onnx/host.h"

#include <math.h>
#include <string.h>

cg_status cg_host_new_rows(cg_host_room *a, int type, cg_shape shape, int64_t held, cg_host *out) {
    CG_TRY(cg_shape_check(&shape, CG_I64));
    int64_t all = cg_shape_count(&shape), n = all <= CG_HOST_SMALL || held > all ? all : held;
    CG_TRY(cg_budget_hold(&a->budget, "computes", &shape, n * (int64_t)sizeof(double)));
    CG_TRY(cg_budget_walk(&a->budget, n));
    *out = (cg_host){type, shape, cg_arena_alloc(&a->arena, (size_t)(n + 1) * sizeof(double)), n};
    if (!out->x) return cg_error(CG_ENOMEM, "no memory for %lld numbers", (long long)n);
    return CG_OK;
}

cg_status cg_host_new(cg_host_room *a, int type, cg_shape shape, cg_host *out) {
    return cg_host_new_rows(a, type, shape, INT64_MAX, out);
}

cg_status cg_host_of(cg_host_room *a, const cg_onnx_tensor *t, cg_host *out) {
    CG_TRY(cg_host_new(a, t->type, t->shape, out));
    cg_onnx_tensor_numbers(t, out->x);
    return CG_OK;
}

int64_t cg_host_count(const cg_host *h) {
    return cg_shape_count(&h->shape);
}

int64_t cg_host_int(double x) {
    if (!(x > -0x1p63)) return INT64_MIN;
    return x >= 0x1p63 ? INT64_MAX : (int64_t)x;
}

/* --- what is held once ------------------------------------------------------------------------ */

/* Holds n elements or more of h. */
static cg_status hold(cg_host_room *a, const cg_host *h, int64_t n, cg_host *out) {
    *out = *h;
    if (h->held >= n) return CG_OK;
    CG_TRY(cg_host_new_rows(a, h->type, h->shape, n, out));
    for (int64_t i = 0; i < out->held; i += h->held) {
        int64_t piece = out->held - i < h->held ? out->held - i : h->held;
        memcpy(out->x + i, h->x, (size_t)piece * sizeof *h->x);
    }
    return CG_OK;
}

cg_status cg_host_whole(cg_host_room *a, const cg_host *h, cg_host *out) {
    return hold(a, h, cg_host_count(h), out);
}

/* Do the held elements come again after n? */
static int repeats(const cg_host *h, int64_t n) {
    return n > 0 && n <= h->held &&
           memcmp(h->x, h->x + n, (size_t)(h->held - n) * sizeof *h->x) == 0;
}

int cg_host_is_one_row(const cg_host *h) {
    if (h->shape.rank == 0 || h->shape.dim[0] < 1) return 0;
    int64_t row = cg_host_count(h) / h->shape.dim[0];
    if (row == 0) return 0;
    return row % h->held == 0 || (h->held % row == 0 && repeats(h, row));
}

/* The first axis that has several rows; or the rank. */
static int first_axis(const cg_shape *s) {
    int d = 0;
    while (d < s->rank && s->dim[d] == 1) d++;
    return d;
}

void cg_host_shorten(cg_host *h) {
    int64_t n = cg_host_count(h), axis = first_axis(&h->shape);
    if (n <= CG_HOST_SMALL || axis == h->shape.rank) return;
    int64_t row = n / h->shape.dim[axis];
    if (repeats(h, row)) h->held = row;
}

/* How many rows of the result's axis an operand has until they come again; 0: who knows. */
static int64_t rows_of(const cg_host *h, const cg_shape *out, int axis) {
    int64_t n = cg_host_count(h);
    int own = axis - (out->rank - h->shape.rank);
    if (own < 0 || h->shape.dim[own] == 1) return h->held == n;
    int64_t row = n / out->dim[axis];
    if (row % h->held == 0) return 1;
    return h->held % row == 0 ? h->held / row : 0;
}

cg_status cg_host_broadcast(cg_host_room *a, const cg_host **in, int n, cg_host *whole,
                            cg_shape *out, int64_t *held, cg_strides *w) {
    for (int k = 0; k < n; k++) CG_TRY(cg_shape_broadcast(out, &in[k]->shape, out));
    CG_TRY(cg_shape_check(out, CG_I64));
    int64_t count = cg_shape_count(out), most = 1;
    int axis = first_axis(out), by_rows = count > CG_HOST_SMALL;
    int64_t rows[CG_STRIDES_OPERANDS] = {0};
    for (int k = 0; k < n && by_rows; k++) {
        rows[k] = rows_of(in[k], out, axis);
        if (rows[k] > most) most = rows[k];
    }
    for (int k = 0; k < n && by_rows; k++) by_rows = rows[k] == 1 || rows[k] == most;
    *w = cg_strides_over(out, n);
    for (int k = 0; k < n; k++) {
        cg_strides_broadcast(&in[k]->shape, out, w->stride[k]);
        int64_t n_held = cg_host_count(in[k]);
        if (by_rows && rows[k] == 1) {
            if (w->stride[k][axis]) n_held /= out->dim[axis];
            w->stride[k][axis] = 0;
        } else if (by_rows) {
            n_held = in[k]->held;
        }
        CG_TRY(hold(a, in[k], n_held, &whole[k]));
        in[k] = &whole[k];
    }
    *held = by_rows ? count / out->dim[axis] * most : count;
    return CG_OK;
}

cg_status cg_host_job_whole(const cg_host_job *j, cg_host_job *out) {
    const cg_host **in = cg_arena_alloc(&j->arena->arena, (size_t)(j->n_in + 1) * sizeof *in);
    cg_host *whole = cg_arena_alloc(&j->arena->arena, (size_t)(j->n_in + 1) * sizeof *whole);
    if (!in || !whole) return cg_error(CG_ENOMEM, "no memory for a node");
    for (int k = 0; k < j->n_in; k++) {
        in[k] = j->in[k] ? &whole[k] : NULL;
        if (j->in[k]) CG_TRY(cg_host_whole(j->arena, j->in[k], &whole[k]));
    }
    *out = *j;
    out->in = in;
    return CG_OK;
}

/* --- attributes ------------------------------------------------------------------------------- */

const CgOnnx__AttributeProto *cg_onnx_attribute(const CgOnnx__NodeProto *n, const char *name) {
    for (size_t i = 0; i < n->n_attribute; i++)
        if (strcmp(n->attribute[i]->name, name) == 0) return n->attribute[i];
    return NULL;
}

int64_t cg_onnx_int(const CgOnnx__NodeProto *n, const char *name, int64_t otherwise) {
    const CgOnnx__AttributeProto *a = cg_onnx_attribute(n, name);
    return a && a->has_i ? a->i : otherwise;
}

float cg_onnx_float(const CgOnnx__NodeProto *n, const char *name, float otherwise) {
    const CgOnnx__AttributeProto *a = cg_onnx_attribute(n, name);
    return a && a->has_f ? a->f : otherwise;
}

cg_status cg_onnx_ints(const CgOnnx__NodeProto *node, const char *name, const cg_host *in,
                       int64_t list[CG_MAX_RANK], int *n) {
    const CgOnnx__AttributeProto *a = name ? cg_onnx_attribute(node, name) : NULL;
    *n = -1;
    if (!a && !in) return CG_OK;
    int64_t count = a ? (int64_t)a->n_ints : cg_host_count(in);
    if (count > CG_MAX_RANK)
        return cg_error(CG_EUNSUPPORTED, "has a list of %lld numbers, wanted at most %d",
                        (long long)count, CG_MAX_RANK);
    *n = (int)count;
    for (int i = 0; i < *n; i++) list[i] = a ? a->ints[i] : cg_host_int(in->x[i]);
    return CG_OK;
}

cg_status cg_onnx_axis(int64_t axis, int rank, int *out) {
    if (axis < -rank || axis >= rank)
        return cg_error(CG_EFORMAT, "has axis %lld, its operand has rank %d", (long long)axis,
                        rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return CG_OK;
}

/* --- shapes ----------------------------------------------------------------------------------- */

static cg_status reshaped(const CgOnnx__NodeProto *n, const cg_shape *x, const cg_host *wanted,
                          cg_shape *out) {
    int64_t known = 1, all = cg_shape_count(x), list[CG_MAX_RANK];
    int open = -1, keeps_zero = cg_onnx_int(n, "allowzero", 0) != 0;
    CG_TRY(cg_onnx_ints(n, NULL, wanted, list, &out->rank));
    if (out->rank < 0) return cg_error(CG_EFORMAT, "has no shape");
    for (int i = 0; i < out->rank; i++) {
        if (list[i] == 0 && !keeps_zero) {
            if (i >= x->rank) return cg_error(CG_EFORMAT, "copies dimension %d of its operand", i);
            list[i] = x->dim[i];
        }
        if (list[i] < -1 || (list[i] == -1 && open >= 0))
            return cg_error(CG_EFORMAT, "has a shape with %lld", (long long)list[i]);
        out->dim[i] = list[i];
        if (list[i] == -1)
            open = i;
        else if (list[i] > 0 && known > INT64_MAX / list[i])
            return cg_error(CG_EFORMAT, "has a shape of too many elements");
        else
            known *= list[i];
    }
    if (open >= 0) out->dim[open] = known > 0 && all % known == 0 ? all / known : -1;
    char from[CG_SHAPE_TEXT], to[CG_SHAPE_TEXT];
    if (open < 0 ? known != all : out->dim[open] < 0)
        return cg_error(CG_EFORMAT, "makes %s of %s", cg_shape_print(out, to),
                        cg_shape_print(x, from));
    return CG_OK;
}

static cg_status flattened(const CgOnnx__NodeProto *n, const cg_shape *x, cg_shape *out) {
    int64_t axis = cg_onnx_int(n, "axis", 1);
    if (axis < -x->rank || axis > x->rank)
        return cg_error(CG_EFORMAT, "has axis %lld, its operand has rank %d", (long long)axis,
                        x->rank);
    if (axis < 0) axis += x->rank;
    *out = CG_SHAPE(1, 1);
    for (int i = 0; i < x->rank; i++) out->dim[i >= axis] *= x->dim[i];
    return CG_OK;
}

static cg_status axes_of(const CgOnnx__NodeProto *n, const cg_host *second, int rank,
                         unsigned *bits, int *count) {
    int64_t list[CG_MAX_RANK];
    *bits = 0;
    CG_TRY(cg_onnx_ints(n, "axes", second, list, count));
    for (int i = 0; i < *count; i++) {
        int axis;
        CG_TRY(cg_onnx_axis(list[i], rank, &axis));
        if (*bits >> axis & 1) return cg_error(CG_EFORMAT, "has axis %d twice", axis);
        *bits |= 1u << axis;
    }
    return CG_OK;
}

static cg_status squeezed(const CgOnnx__NodeProto *n, const cg_shape *x, const cg_host *second,
                          cg_shape *out) {
    unsigned bits;
    int count;
    CG_TRY(axes_of(n, second, x->rank, &bits, &count));
    *out = (cg_shape){0};
    for (int i = 0; i < x->rank; i++) {
        int drop = count < 0 ? x->dim[i] == 1 : (int)(bits >> i & 1);
        if (drop && x->dim[i] != 1)
            return cg_error(CG_EFORMAT, "squeezes a dimension of %lld", (long long)x->dim[i]);
        if (!drop) out->dim[out->rank++] = x->dim[i];
    }
    return CG_OK;
}

static cg_status unsqueezed(const CgOnnx__NodeProto *n, const cg_shape *x, const cg_host *second,
                            cg_shape *out) {
    unsigned bits;
    int count = 0, from = 0;
    int64_t list[CG_MAX_RANK];
    CG_TRY(cg_onnx_ints(n, "axes", second, list, &count));
    if (count < 0) return cg_error(CG_EFORMAT, "has no axes");
    if (x->rank + count > CG_MAX_RANK)
        return cg_error(CG_EUNSUPPORTED, "makes rank %d, wanted at most %d", x->rank + count,
                        CG_MAX_RANK);
    CG_TRY(axes_of(n, second, x->rank + count, &bits, &count));
    *out = (cg_shape){.rank = x->rank + count};
    for (int i = 0; i < out->rank; i++) out->dim[i] = bits >> i & 1 ? 1 : x->dim[from++];
    return CG_OK;
}

cg_status cg_onnx_new_shape(const CgOnnx__NodeProto *n, const cg_shape *x, const cg_host *second,
                            cg_shape *out) {
    if (strcmp(n->op_type, "Reshape") == 0) return reshaped(n, x, second, out);
    if (strcmp(n->op_type, "Flatten") == 0) return flattened(n, x, out);
    if (strcmp(n->op_type, "Squeeze") == 0) return squeezed(n, x, second, out);
    return unsqueezed(n, x, second, out);
}

static int64_t bounded(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

cg_status cg_onnx_cuts(const cg_shape *x, const cg_host *const *in, int n_in,
                       cg_onnx_cut cut[CG_MAX_RANK], int *n) {
    if (n_in < 3 || !in[1] || !in[2]) return cg_error(CG_EFORMAT, "has no starts and ends");
    const cg_host *axes = n_in > 3 ? in[3] : NULL, *steps = n_in > 4 ? in[4] : NULL;
    int64_t count = cg_host_count(in[1]);
    if (count > x->rank || cg_host_count(in[2]) != count ||
        (axes && cg_host_count(axes) != count) || (steps && cg_host_count(steps) != count))
        return cg_error(CG_EFORMAT, "has %lld starts, its operand has rank %d", (long long)count,
                        x->rank);
    unsigned seen = 0;
    *n = (int)count;
    for (int i = 0; i < *n; i++) {
        int axis;
        CG_TRY(cg_onnx_axis(axes ? cg_host_int(axes->x[i]) : i, x->rank, &axis));
        int64_t size = x->dim[axis], step = steps ? cg_host_int(steps->x[i]) : 1;
        int64_t start = cg_host_int(in[1]->x[i]), end = cg_host_int(in[2]->x[i]);
        if (seen >> axis & 1) return cg_error(CG_EFORMAT, "has axis %d twice", axis);
        seen |= 1u << axis;
        if (step == 0 || step == INT64_MIN) return cg_error(CG_EFORMAT, "has a step of 0");
        start = bounded(start < 0 ? start + size : start, 0, step > 0 ? size : size - 1);
        end = bounded(end < 0 ? end + size : end, step > 0 ? 0 : -1, size);
        int64_t span = step > 0 ? end - start : start - end, stride = step > 0 ? step : -step;
        int64_t length = size > 0 && span > 0 ? (span - 1) / stride + 1 : 0;
        cut[i] = (cg_onnx_cut){axis, length ? start : 0, length > 1 ? step : 1, length};
    }
    return CG_OK;
}

cg_status cg_onnx_split(const CgOnnx__NodeProto *n, const cg_shape *x, const cg_host *second,
                        int *axis, int64_t *length) {
    int64_t left;
    CG_TRY(cg_onnx_axis(cg_onnx_int(n, "axis", 0), x->rank, axis));
    left = x->dim[*axis];
    int64_t count = (int64_t)n->n_output, piece = count ? (left + count - 1) / count : 0;
    if (second && cg_host_count(second) != count)
        return cg_error(CG_EFORMAT, "has %lld lengths and %lld outputs",
                        (long long)cg_host_count(second), (long long)count);
    for (int64_t i = 0; i < count; i++) {
        length[i] = second ? cg_host_int(second->x[i]) : piece < left ? piece : left;
        if (length[i] < 0 || length[i] > left)
            return cg_error(CG_EFORMAT, "takes %lld of %lld rows", (long long)length[i],
                            (long long)left);
        left -= length[i];
    }
    return left ? cg_error(CG_EFORMAT, "leaves %lld rows over", (long long)left) : CG_OK;
}

/* --- running ---------------------------------------------------------------------------------- */

/* Integers have no fraction, and those of a narrow type are what their low bits say, as in C. */
static double whole(int type, double x) {
    int64_t i = cg_host_int(x);
    if (type == CG_ONNX_TYPE(INT32)) return (int32_t)(uint32_t)i;
    if (type == CG_ONNX_TYPE(INT8)) return (int8_t)(uint8_t)i;
    return type == CG_ONNX_TYPE(UINT8) ? (uint8_t)i : (double)i;
}

/* Results as numbers of their type. */
static void settle(cg_host *h) {
    int is_float = cg_onnx_type_is_float(h->type);
    for (int64_t i = 0; i < h->held && h->type != CG_ONNX_TYPE(DOUBLE); i++)
        h->x[i] = is_float ? (double)(float)h->x[i] : whole(h->type, h->x[i]);
    cg_host_shorten(h);
}

cg_status cg_host_run(cg_host_room *a, const CgOnnx__NodeProto *n, const cg_host *const *in,
                      int n_in, cg_host *out, int n_out, int *known) {
    cg_host_job j = {a, n, in, n_in, out, n_out};
    if (n_out < 1) return cg_error(CG_EFORMAT, "has no output");
    CG_TRY(cg_host_math(&j, known));
    if (!*known) CG_TRY(cg_host_move(&j, known));
    if (!*known) CG_TRY(cg_host_reduce(&j, known));
    for (int k = 0; k < n_out && *known; k++)
        if (out[k].x) settle(&out[k]);
    return CG_OK;
}
