/* Reductions, on the host. */
#include "serialize/onnx/host.h"

#include <math.h>
#include <string.h>

typedef enum kind { SUM, MEAN, PRODUCT, LARGEST, LEAST, LENGTH } kind;

static const struct {
    const char *name;
    kind kind;
} reductions[] = {{"ReduceSum", SUM},     {"ReduceMean", MEAN}, {"ReduceProd", PRODUCT},
                  {"ReduceMax", LARGEST}, {"ReduceMin", LEAST}, {"ReduceL2", LENGTH}};

static double begin_of(kind k) {
    return k == PRODUCT ? 1 : k == LARGEST ? -INFINITY : k == LEAST ? INFINITY : 0;
}

static void take(kind k, double *sum, double x) {
    if (k == PRODUCT)
        *sum *= x;
    else if (k == LARGEST)
        *sum = x > *sum ? x : *sum;
    else if (k == LEAST)
        *sum = x < *sum ? x : *sum;
    else
        *sum += k == LENGTH ? x * x : x;
}

static cg_status run_reduce(const cg_host_job *j, kind k) {
    const cg_host *x = j->in[0];
    int64_t list[CG_MAX_RANK];
    int n, keep = cg_onnx_int(j->node, "keepdims", 1) != 0;
    unsigned bits = 0;
    CG_TRY(cg_onnx_ints(j->node, "axes", j->n_in > 1 ? j->in[1] : NULL, list, &n));
    for (int i = 0; i < n; i++) {
        int axis;
        CG_TRY(cg_onnx_axis(list[i], x->shape.rank, &axis));
        bits |= 1u << axis;
    }
    if (n <= 0 && !cg_onnx_int(j->node, "noop_with_empty_axes", 0)) bits = ~0u;
    cg_shape kept = x->shape, shape = {0};
    for (int d = 0; d < kept.rank; d++) {
        if (bits >> d & 1) kept.dim[d] = 1;
        if (keep || !(bits >> d & 1)) shape.dim[shape.rank++] = kept.dim[d];
    }
    cg_strides w = cg_strides_over(&x->shape, 1);
    cg_strides_broadcast(&kept, &x->shape, w.stride[0]);
    CG_TRY(cg_host_new(j->arena, x->type, shape, j->out));
    int64_t count = cg_host_count(j->out), all = cg_host_count(x);
    CG_TRY(cg_budget_walk(&j->arena->budget, all));
    for (int64_t i = 0; i < count; i++) j->out->x[i] = begin_of(k);
    for (int64_t i = 0; i < all; i++, cg_strides_step(&w))
        take(k, &j->out->x[w.offset[0]], x->x[i]);
    for (int64_t i = 0; i < count; i++) {
        if (k == MEAN) j->out->x[i] /= (double)all / (double)count;
        if (k == LENGTH) j->out->x[i] = sqrt(j->out->x[i]);
    }
    return CG_OK;
}

/* An operand as [outer, size, inner] around an axis. */
typedef struct lines {
    int64_t outer, size, inner;
} lines;

static lines around(const cg_shape *x, int axis) {
    lines l = {1, x->dim[axis], 1};
    for (int d = 0; d < x->rank; d++)
        *(d < axis ? &l.outer : &l.inner) *= d == axis ? 1 : x->dim[d];
    return l;
}

static cg_status run_arg_max(const cg_host_job *j) {
    const cg_host *x = j->in[0];
    int axis, last = cg_onnx_int(j->node, "select_last_index", 0) != 0;
    CG_TRY(cg_onnx_axis(cg_onnx_int(j->node, "axis", 0), x->shape.rank, &axis));
    lines l = around(&x->shape, axis);
    cg_shape shape = {0};
    for (int d = 0; d < x->shape.rank; d++)
        if (d != axis || cg_onnx_int(j->node, "keepdims", 1))
            shape.dim[shape.rank++] = d == axis ? 1 : x->shape.dim[d];
    if (l.size == 0) return cg_error(CG_EFORMAT, "looks for the largest of nothing");
    CG_TRY(cg_budget_walk(&j->arena->budget, cg_host_count(x)));
    CG_TRY(cg_host_new(j->arena, CG_ONNX_TYPE(INT64), shape, j->out));
    for (int64_t o = 0; o < l.outer; o++)
        for (int64_t i = 0; i < l.inner; i++) {
            const double *row = x->x + o * l.size * l.inner + i;
            int64_t best = 0;
            for (int64_t k = 1; k < l.size; k++)
                if (row[k * l.inner] > row[best * l.inner] ||
                    (last && row[k * l.inner] == row[best * l.inner]))
                    best = k;
            j->out->x[o * l.inner + i] = (double)best;
        }
    return CG_OK;
}

static cg_status run_running_sum(const cg_host_job *j) {
    const cg_host *x = j->in[0];
    int axis;
    if (j->n_in < 2 || !j->in[1] || cg_host_count(j->in[1]) != 1)
        return cg_error(CG_EFORMAT, "has no axis");
    if (cg_onnx_int(j->node, "exclusive", 0) || cg_onnx_int(j->node, "reverse", 0))
        return cg_error(CG_EUNSUPPORTED, "is exclusive or reversed");
    CG_TRY(cg_onnx_axis(cg_host_int(j->in[1]->x[0]), x->shape.rank, &axis));
    lines l = around(&x->shape, axis);
    CG_TRY(cg_host_new(j->arena, x->type, x->shape, j->out));
    for (int64_t o = 0; o < l.outer; o++)
        for (int64_t k = 0; k < l.size; k++)
            for (int64_t i = 0; i < l.inner; i++) {
                int64_t at = (o * l.size + k) * l.inner + i;
                j->out->x[at] = x->x[at] + (k ? j->out->x[at - l.inner] : 0);
            }
    return CG_OK;
}

cg_status cg_host_reduce(const cg_host_job *j, int *known) {
    const char *name = j->node->op_type;
    int arg_max = strcmp(name, "ArgMax") == 0, running = strcmp(name, "CumSum") == 0;
    size_t i = 0, n = sizeof reductions / sizeof *reductions;
    while (i < n && strcmp(name, reductions[i].name) != 0) i++;
    *known = i < n || arg_max || running;
    if (!*known) return CG_OK;
    if (j->n_in < 1 || !j->in[0]) return cg_error(CG_EFORMAT, "has no operand");
    cg_host_job whole;
    CG_TRY(cg_host_job_whole(j, &whole));
    if (arg_max) return run_arg_max(&whole);
    return running ? run_running_sum(&whole) : run_reduce(&whole, reductions[i].kind);
}
