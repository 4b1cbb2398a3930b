/* Operators that move elements, or make them of nothing, on the host. */
#include "serialize/onnx/host.h"

#include <math.h>
#include <string.h>

static const cg_host *operand(const cg_host_job *j, int i) {
    return i < j->n_in ? j->in[i] : NULL;
}

/* n times m steps beside those of what is made. */
static cg_status walk(const cg_host_job *j, int64_t n, int64_t m) {
    return cg_budget_walk(&j->arena->budget, m && n > INT64_MAX / m ? INT64_MAX : n * m);
}

static cg_status copy(const cg_host_job *j, cg_strides w, cg_host *out) {
    cg_shape shape = {.rank = w.rank};
    memcpy(shape.dim, w.dim, sizeof shape.dim);
    CG_TRY(cg_host_new(j->arena, j->in[0]->type, shape, out));
    for (int64_t i = 0; i < out->held; i++, cg_strides_step(&w))
        out->x[i] = j->in[0]->x[w.offset[0]];
    return CG_OK;
}

/* --- the same elements, otherwise arranged ---------------------------------------------------- */

static cg_status run_view(const cg_host_job *j) {
    cg_shape shape;
    CG_TRY(cg_onnx_new_shape(j->node, &j->in[0]->shape, operand(j, 1), &shape));
    j->out[0] = (cg_host){j->in[0]->type, shape, j->in[0]->x, j->in[0]->held};
    return CG_OK;
}

static cg_status run_transpose(const cg_host_job *j) {
    int64_t list[CG_MAX_RANK], stride[CG_MAX_RANK];
    int n, rank = j->in[0]->shape.rank;
    unsigned seen = 0;
    CG_TRY(cg_onnx_ints(j->node, "perm", NULL, list, &n));
    if (n >= 0 && n != rank) return cg_error(CG_EFORMAT, "permutes %d axes of %d", n, rank);
    cg_strides w = cg_strides_over(&j->in[0]->shape, 1);
    cg_strides_dense(&j->in[0]->shape, stride);
    for (int i = 0; i < rank; i++) {
        int64_t axis = n < 0 ? rank - 1 - i : list[i];
        if (axis < 0 || axis >= rank || seen >> axis & 1)
            return cg_error(CG_EFORMAT, "has no permutation of axes");
        seen |= 1u << axis;
        w.dim[i] = j->in[0]->shape.dim[axis];
        w.stride[0][i] = stride[axis];
    }
    return copy(j, w, j->out);
}

static cg_status run_expand(const cg_host_job *j) {
    const cg_host *x = j->in[0];
    cg_host whole;
    cg_shape shape;
    cg_strides w;
    int64_t list[CG_MAX_RANK], held;
    CG_TRY(cg_onnx_ints(j->node, NULL, operand(j, 1), list, &shape.rank));
    if (shape.rank < 0) return cg_error(CG_EFORMAT, "has no shape");
    for (int i = 0; i < shape.rank; i++) shape.dim[i] = list[i];
    CG_TRY(cg_shape_check(&shape, CG_I64));
    CG_TRY(cg_host_broadcast(j->arena, &x, 1, &whole, &shape, &held, &w));
    CG_TRY(cg_host_new_rows(j->arena, x->type, shape, held, j->out));
    for (int64_t i = 0; i < held; i++, cg_strides_step(&w)) j->out->x[i] = x->x[w.offset[0]];
    return CG_OK;
}

static cg_status run_slice(const cg_host_job *j) {
    cg_onnx_cut cut[CG_MAX_RANK];
    int n;
    CG_TRY(cg_onnx_cuts(&j->in[0]->shape, j->in, j->n_in, cut, &n));
    cg_strides w = cg_strides_over(&j->in[0]->shape, 1);
    cg_strides_dense(&j->in[0]->shape, w.stride[0]);
    for (int i = 0; i < n; i++) {
        w.offset[0] += cut[i].start * w.stride[0][cut[i].axis];
        w.stride[0][cut[i].axis] *= cut[i].step;
        w.dim[cut[i].axis] = cut[i].length;
    }
    return copy(j, w, j->out);
}

static cg_status run_split(const cg_host_job *j) {
    int64_t length[64], begin = 0;
    int axis;
    if (j->node->n_output > 64) return cg_error(CG_EUNSUPPORTED, "has more than 64 outputs");
    CG_TRY(cg_onnx_split(j->node, &j->in[0]->shape, operand(j, 1), &axis, length));
    for (int k = 0; k < j->n_out; k++) {
        cg_strides w = cg_strides_over(&j->in[0]->shape, 1);
        cg_strides_dense(&j->in[0]->shape, w.stride[0]);
        w.offset[0] = begin * w.stride[0][axis];
        w.dim[axis] = length[k];
        CG_TRY(copy(j, w, &j->out[k]));
        begin += length[k];
    }
    return CG_OK;
}

static cg_status run_concat(const cg_host_job *j) {
    cg_shape shape = j->in[0]->shape;
    int axis;
    CG_TRY(cg_onnx_axis(cg_onnx_int(j->node, "axis", 0), shape.rank, &axis));
    shape.dim[axis] = 0;
    for (int k = 0; k < j->n_in; k++) {
        if (!j->in[k]) return cg_error(CG_EFORMAT, "has no operand %d", k);
        const cg_shape *s = &j->in[k]->shape;
        for (int d = 0; d < shape.rank; d++)
            if (s->rank != shape.rank || (d != axis && s->dim[d] != shape.dim[d]))
                return cg_error(CG_EFORMAT, "joins operands of different shapes");
        shape.dim[axis] += s->dim[axis];
    }
    CG_TRY(cg_host_new(j->arena, j->in[0]->type, shape, j->out));
    int64_t inner = 1, outer = 1, at = 0;
    for (int d = 0; d < shape.rank; d++)
        *(d < axis ? &outer : &inner) *= d == axis ? 1 : shape.dim[d];
    CG_TRY(walk(j, outer, j->n_in));
    for (int64_t o = 0; o < outer; o++)
        for (int k = 0; k < j->n_in; k++) {
            int64_t n = inner * j->in[k]->shape.dim[axis];
            if (n) memcpy(j->out->x + at, j->in[k]->x + o * n, (size_t)n * sizeof(double));
            at += n;
        }
    return CG_OK;
}

static cg_status run_tile(const cg_host_job *j) {
    int64_t list[CG_MAX_RANK], stride[CG_MAX_RANK];
    int n;
    const cg_shape *x = &j->in[0]->shape;
    CG_TRY(cg_onnx_ints(j->node, NULL, operand(j, 1), list, &n));
    if (n != x->rank) return cg_error(CG_EFORMAT, "has %d repeats for rank %d", n, x->rank);
    cg_shape shape = *x;
    for (int i = 0; i < n; i++) {
        if (list[i] < 0 || (x->dim[i] && list[i] > CG_HOST_ROOM / x->dim[i]))
            return cg_error(CG_EFORMAT, "repeats %lld times", (long long)list[i]);
        shape.dim[i] *= list[i];
    }
    cg_strides_dense(x, stride);
    CG_TRY(cg_host_new(j->arena, j->in[0]->type, shape, j->out));
    cg_strides w = cg_strides_over(&shape, 0);
    for (int64_t i = 0; i < j->out->held; i++, cg_strides_step(&w)) {
        int64_t from = 0;
        for (int d = 0; d < n; d++)
            if (x->dim[d] > 1) from += w.at[d] % x->dim[d] * stride[d];
        j->out->x[i] = j->in[0]->x[from];
    }
    return CG_OK;
}

static cg_status run_trilu(const cg_host_job *j) {
    const cg_host *x = j->in[0], *k = operand(j, 1);
    int rank = x->shape.rank, upper = cg_onnx_int(j->node, "upper", 1) != 0;
    int64_t shift = k && cg_host_count(k) ? cg_host_int(k->x[0]) : 0;
    if (rank < 2) return cg_error(CG_EFORMAT, "has an operand of rank %d", rank);
    int64_t rows = x->shape.dim[rank - 2], columns = x->shape.dim[rank - 1];
    if (shift < -CG_HOST_ROOM || shift > CG_HOST_ROOM)
        shift = shift < 0 ? -CG_HOST_ROOM : CG_HOST_ROOM;
    CG_TRY(cg_host_new(j->arena, x->type, x->shape, j->out));
    for (int64_t i = 0, count = cg_host_count(x); i < count;)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < columns; c++, i++)
                j->out->x[i] = (upper ? c - r >= shift : c - r <= shift) ? x->x[i] : 0;
    return CG_OK;
}

/* --- by number -------------------------------------------------------------------------------- */

static cg_status index_in(double x, int64_t size, int64_t *out) {
    int64_t i = cg_host_int(x);
    if (i < -size || i >= size)
        return cg_error(CG_EFORMAT, "has index %lld, wanted less than %lld", (long long)i,
                        (long long)size);
    *out = i < 0 ? i + size : i;
    return CG_OK;
}

static cg_status run_gather(const cg_host_job *j) {
    const cg_host *x = j->in[0], *index = operand(j, 1);
    int axis;
    if (!index) return cg_error(CG_EFORMAT, "has no indices");
    CG_TRY(cg_onnx_axis(cg_onnx_int(j->node, "axis", 0), x->shape.rank, &axis));
    cg_shape shape = {.rank = x->shape.rank - 1 + index->shape.rank};
    if (shape.rank > CG_MAX_RANK) return cg_error(CG_EUNSUPPORTED, "makes rank %d", shape.rank);
    int64_t inner = 1, outer = 1, n = cg_host_count(index), size = x->shape.dim[axis];
    int to = 0;
    for (int d = 0; d < axis; d++) outer *= shape.dim[to++] = x->shape.dim[d];
    for (int d = 0; d < index->shape.rank; d++) shape.dim[to++] = index->shape.dim[d];
    for (int d = axis + 1; d < x->shape.rank; d++) inner *= shape.dim[to++] = x->shape.dim[d];
    CG_TRY(walk(j, outer, n));
    CG_TRY(cg_host_new(j->arena, x->type, shape, j->out));
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < n; i++) {
            int64_t row;
            CG_TRY(index_in(index->x[i], size, &row));
            if (inner)
                memcpy(j->out->x + (o * n + i) * inner, x->x + (o * size + row) * inner,
                       (size_t)inner * sizeof(double));
        }
    return CG_OK;
}

static cg_status run_gather_elements(const cg_host_job *j) {
    const cg_host *x = j->in[0], *index = operand(j, 1);
    int axis;
    int64_t stride[CG_MAX_RANK] = {0};
    if (!index || index->shape.rank != x->shape.rank)
        return cg_error(CG_EFORMAT, "has indices of another rank");
    CG_TRY(cg_onnx_axis(cg_onnx_int(j->node, "axis", 0), x->shape.rank, &axis));
    for (int d = 0; d < x->shape.rank; d++)
        if (d != axis && index->shape.dim[d] > x->shape.dim[d])
            return cg_error(CG_EFORMAT, "has indices larger than its operand");
    cg_strides_dense(&x->shape, stride);
    CG_TRY(cg_host_new(j->arena, x->type, index->shape, j->out));
    cg_strides w = cg_strides_over(&index->shape, 1);
    memcpy(w.stride[0], stride, sizeof stride);
    w.stride[0][axis] = 0;
    for (int64_t i = 0; i < index->held; i++, cg_strides_step(&w)) {
        int64_t row;
        CG_TRY(index_in(index->x[i], x->shape.dim[axis], &row));
        j->out->x[i] = x->x[w.offset[0] + row * stride[axis]];
    }
    return CG_OK;
}

static cg_status run_gather_nd(const cg_host_job *j) {
    const cg_host *x = j->in[0], *index = operand(j, 1);
    int64_t batch = cg_onnx_int(j->node, "batch_dims", 0), stride[CG_MAX_RANK] = {0};
    if (!index || index->shape.rank < 1 || batch < 0 || batch >= index->shape.rank)
        return cg_error(CG_EFORMAT, "has no indices");
    int rank = index->shape.rank, depth_fits;
    int64_t depth = index->shape.dim[rank - 1];
    depth_fits = depth >= 1 && batch + depth <= x->shape.rank;
    cg_shape shape = {.rank =
                          rank - 1 + x->shape.rank - (int)batch - (int)(depth_fits ? depth : 0)};
    if (!depth_fits || shape.rank > CG_MAX_RANK)
        return cg_error(CG_EFORMAT, "has indices of %lld numbers", (long long)depth);
    int64_t inner = 1, outer = 1, per_batch = 1;
    int to = 0;
    for (int d = 0; d < rank - 1; d++) shape.dim[to++] = index->shape.dim[d];
    for (int d = 0; d < (int)batch; d++) {
        if (index->shape.dim[d] != x->shape.dim[d])
            return cg_error(CG_EFORMAT, "has batches of different sizes");
        outer *= x->shape.dim[d];
    }
    for (int d = (int)batch; d < rank - 1; d++) per_batch *= index->shape.dim[d];
    for (int d = (int)(batch + depth); d < x->shape.rank; d++)
        inner *= shape.dim[to++] = x->shape.dim[d];
    cg_strides_dense(&x->shape, stride);
    CG_TRY(walk(j, outer * per_batch, depth));
    CG_TRY(cg_host_new(j->arena, x->type, shape, j->out));
    for (int64_t i = 0; i < outer * per_batch; i++) {
        int64_t from = batch ? i / per_batch * stride[batch - 1] : 0;
        for (int64_t d = 0; d < depth; d++) {
            int64_t at;
            CG_TRY(index_in(index->x[i * depth + d], x->shape.dim[batch + d], &at));
            from += at * stride[batch + d];
        }
        if (inner) memcpy(j->out->x + i * inner, x->x + from, (size_t)inner * sizeof(double));
    }
    return CG_OK;
}

/* --- of nothing ------------------------------------------------------------------------------- */

static cg_status run_constant(const cg_host_job *j) {
    const CgOnnx__AttributeProto *a;
    cg_onnx_tensor t;
    if ((a = cg_onnx_attribute(j->node, "value")) && a->t) {
        CG_TRY(cg_onnx_tensor_check(a->t, NULL, &t));
        return cg_host_of(j->arena, &t, j->out);
    }
    if ((a = cg_onnx_attribute(j->node, "value_int"))) {
        CG_TRY(cg_host_new(j->arena, CG_ONNX_TYPE(INT64), CG_SCALAR, j->out));
        j->out->x[0] = (double)a->i;
    } else if ((a = cg_onnx_attribute(j->node, "value_float"))) {
        CG_TRY(cg_host_new(j->arena, CG_ONNX_TYPE(FLOAT), CG_SCALAR, j->out));
        j->out->x[0] = (double)a->f;
    } else if ((a = cg_onnx_attribute(j->node, "value_ints"))) {
        CG_TRY(cg_host_new(j->arena, CG_ONNX_TYPE(INT64), CG_SHAPE((int64_t)a->n_ints), j->out));
        for (size_t i = 0; i < a->n_ints; i++) j->out->x[i] = (double)a->ints[i];
    } else if ((a = cg_onnx_attribute(j->node, "value_floats"))) {
        CG_TRY(cg_host_new(j->arena, CG_ONNX_TYPE(FLOAT), CG_SHAPE((int64_t)a->n_floats), j->out));
        for (size_t i = 0; i < a->n_floats; i++) j->out->x[i] = (double)a->floats[i];
    } else {
        return cg_error(CG_EUNSUPPORTED, "has no value of a kind that is read");
    }
    return CG_OK;
}

static cg_status run_constant_of_shape(const cg_host_job *j) {
    const CgOnnx__AttributeProto *a = cg_onnx_attribute(j->node, "value");
    int64_t list[CG_MAX_RANK];
    cg_shape shape = {0};
    cg_host value = {.type = CG_ONNX_TYPE(FLOAT)};
    double zero = 0;
    CG_TRY(cg_onnx_ints(j->node, NULL, j->in[0], list, &shape.rank));
    for (int i = 0; i < shape.rank; i++) shape.dim[i] = list[i];
    if (a && a->t) {
        cg_onnx_tensor t;
        CG_TRY(cg_onnx_tensor_check(a->t, NULL, &t));
        CG_TRY(cg_host_of(j->arena, &t, &value));
        if (t.count != 1) return cg_error(CG_EFORMAT, "has %lld values", (long long)t.count);
    }
    int64_t rows = shape.rank > 0 && shape.dim[0] > 0 ? shape.dim[0] : 1;
    CG_TRY(cg_shape_check(&shape, CG_I64));
    CG_TRY(cg_host_new_rows(j->arena, value.type, shape, cg_shape_count(&shape) / rows, j->out));
    for (int64_t i = 0; i < j->out->held; i++) j->out->x[i] = value.x ? value.x[0] : zero;
    return CG_OK;
}

static cg_status run_range(const cg_host_job *j) {
    for (int i = 0; i < 3; i++)
        if (!operand(j, i) || cg_host_count(j->in[i]) != 1)
            return cg_error(CG_EFORMAT, "wants three numbers");
    double start = j->in[0]->x[0], end = j->in[1]->x[0], by = j->in[2]->x[0];
    double count = by != 0 ? ceil((end - start) / by) : -1;
    if (!(count <= CG_HOST_ROOM)) return cg_error(CG_EFORMAT, "has too many numbers");
    int64_t n = count > 0 ? (int64_t)count : 0;
    CG_TRY(cg_host_new(j->arena, j->in[0]->type, CG_SHAPE(n), j->out));
    for (int64_t i = 0; i < n; i++) j->out->x[i] = start + (double)i * by;
    return CG_OK;
}

static cg_status run_shape(const cg_host_job *j) {
    const cg_shape *x = &j->in[0]->shape;
    int64_t begin = cg_onnx_int(j->node, "start", 0), end = cg_onnx_int(j->node, "end", x->rank);
    if (begin < 0) begin = begin < -x->rank ? 0 : begin + x->rank;
    if (end < 0) end = end < -x->rank ? 0 : end + x->rank;
    if (end > x->rank) end = x->rank;
    if (begin > end) begin = end;
    CG_TRY(cg_host_new(j->arena, CG_ONNX_TYPE(INT64), CG_SHAPE(end - begin), j->out));
    for (int64_t i = begin; i < end; i++) j->out->x[i - begin] = (double)x->dim[i];
    return CG_OK;
}

static cg_status run_size(const cg_host_job *j) {
    CG_TRY(cg_host_new(j->arena, CG_ONNX_TYPE(INT64), CG_SCALAR, j->out));
    j->out->x[0] = (double)cg_host_count(j->in[0]);
    return CG_OK;
}

static const struct {
    const char *name;
    int operands; /* at least */
    int parts;    /* operands may be held in part */
    cg_status (*run)(const cg_host_job *j);
} list[] = {{"Reshape", 2, 1, run_view},
            {"Flatten", 1, 1, run_view},
            {"Squeeze", 1, 1, run_view},
            {"Unsqueeze", 1, 1, run_view},
            {"Transpose", 1, 0, run_transpose},
            {"Expand", 2, 1, run_expand},
            {"Slice", 3, 0, run_slice},
            {"Split", 1, 0, run_split},
            {"Concat", 1, 0, run_concat},
            {"Tile", 2, 0, run_tile},
            {"Trilu", 1, 0, run_trilu},
            {"Gather", 2, 0, run_gather},
            {"GatherElements", 2, 0, run_gather_elements},
            {"GatherND", 2, 0, run_gather_nd},
            {"Constant", 0, 0, run_constant},
            {"ConstantOfShape", 1, 1, run_constant_of_shape},
            {"Range", 3, 0, run_range},
            {"Shape", 1, 1, run_shape},
            {"Size", 1, 1, run_size}};

cg_status cg_host_move(const cg_host_job *j, int *known) {
    *known = 0;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        if (strcmp(j->node->op_type, list[i].name) != 0) continue;
        *known = 1;
        if (j->n_in < list[i].operands || (list[i].operands && !j->in[0]))
            return cg_error(CG_EFORMAT, "has %d operands, wanted %d or more", j->n_in,
                            list[i].operands);
        cg_host_job whole = *j;
        if (!list[i].parts) CG_TRY(cg_host_job_whole(j, &whole));
        return list[i].run(&whole);
    }
    return CG_OK;
}
