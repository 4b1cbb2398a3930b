#include "serialize/onnx/host.h"

#include <math.h>
#include <string.h>

cg_status cg_host_new(cg_host_room *a, int type, cg_shape shape, cg_host *out) {
    CG_TRY(cg_shape_check(&shape, CG_I64));
    int64_t n = cg_shape_count(&shape);
    if (n > CG_HOST_MOST || a->used + n > CG_HOST_ROOM) {
        char text[CG_SHAPE_TEXT];
        return cg_error(CG_EUNSUPPORTED,
                        "computes %s before the run, wanted at most %d elements, and %d together",
                        cg_shape_print(&shape, text), CG_HOST_MOST, CG_HOST_ROOM);
    }
    a->used += n;
    *out = (cg_host){type, shape, cg_arena_alloc(&a->arena, (size_t)(n + 1) * sizeof(double))};
    return out->x ? CG_OK : cg_error(CG_ENOMEM, "no memory for %lld numbers", (long long)n);
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

void cg_host_strides(const cg_shape *x, const cg_shape *out, int64_t stride[CG_MAX_RANK]) {
    int64_t step = 1;
    for (int i = 0; i < CG_MAX_RANK; i++) stride[i] = 0;
    for (int i = x->rank - 1, o = out->rank - 1; i >= 0 && o >= 0; i--, o--) {
        stride[o] = x->dim[i] == 1 ? 0 : step;
        step *= x->dim[i];
    }
}

void cg_host_step(cg_host_walk *w) {
    for (int d = w->shape.rank - 1; d >= 0; d--) {
        w->offset += w->stride[d];
        if (++w->at[d] < w->shape.dim[d]) return;
        w->offset -= w->stride[d] * w->shape.dim[d];
        w->at[d] = 0;
    }
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
        cut[i] = (cg_onnx_cut){axis, length ? start : 0, step, length};
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

cg_status cg_host_run(cg_host_room *a, const CgOnnx__NodeProto *n, const cg_host *const *in,
                      int n_in, cg_host *out, int n_out, int *known) {
    cg_host_job j = {a, n, in, n_in, out, n_out};
    if (n_out < 1) return cg_error(CG_EFORMAT, "has no output");
    CG_TRY(cg_host_math(&j, known));
    if (!*known) CG_TRY(cg_host_move(&j, known));
    if (!*known) CG_TRY(cg_host_reduce(&j, known));
    if (!*known) return CG_OK;
    if (!cg_onnx_type_is_float(out[0].type) || out[0].type == CG_ONNX_TYPE(DOUBLE)) return CG_OK;
    for (int k = 0; k < n_out; k++)
        for (int64_t i = 0; out[k].x && i < cg_host_count(&out[k]); i++)
            out[k].x[i] = (double)(float)out[k].x[i];
    return CG_OK;
}
