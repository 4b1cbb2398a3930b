/* softmax_cross_entropy: minus the log-probability of the labelled class.
 *   axis 1: lse[i] = ln Σ_j e^x[i,j],  loss[i] = lse[i] - x[i, label[i]]
 *   axis 0: lse[j] = ln Σ_i e^x[i,j],  loss[j] = lse[j] - x[label[j], j]
 * shapes  logits x [N, M] f32; axis 1: label i32 [N] -> loss [N]; lse [N], kept for the gradient;
 *         axis 0: [M] in place of [N]
 * attr    axis: 0 or 1, over which probabilities sum to 1
 * vjp     softmax_cross_entropy_grad, below
 * errors  CG_ESHAPE: x is not of rank 2, has no class, or label is of another length.
 *         CG_EDTYPE: x is not f32 or label not i32. CG_EINVAL: axis; a run: a label out of range
 * numeric The largest logit is subtracted first. Columns are taken 64 at a time, with a running
 *         maximum, in one read of x.
 *
 * softmax_cross_entropy_grad: its gradient.
 *   dx[i,j] = d (e^(x[i,j] - lse) - [j is the label])  with d and lse of the row (axis 1), or of
 *   the column (axis 0, and i is the label)
 * shapes  logits, label, lse, dloss -> dx as logits */
#include "ops/softmax_cross_entropy.h"

#include "ops/check.h"
#include "ops/kernel.h"
#include "ops/simd_math.h"

#include <float.h>
#include <math.h>

static const cg_attr_field fields[] = {CG_ATTR(cg_cross_entropy_attr, axis, INT), {0}};

cg_status cg_cross_entropy_check(const cg_value *x, const cg_value *label, int64_t axis) {
    char text[CG_SHAPE_TEXT];
    if (x->dtype != CG_F32)
        return cg_error(CG_EDTYPE, "logits are %s, wanted f32", cg_dtype_name(x->dtype));
    if (label->dtype != CG_I32)
        return cg_error(CG_EDTYPE, "label is %s, wanted i32", cg_dtype_name(label->dtype));
    if (x->shape.rank != 2)
        return cg_error(CG_ESHAPE, "logits are %s, wanted rank 2", cg_shape_print(&x->shape, text));
    if (x->shape.dim[axis] == 0)
        return cg_error(CG_ESHAPE, "logits %s have no class along axis %lld",
                        cg_shape_print(&x->shape, text), (long long)axis);
    cg_shape wanted = CG_SHAPE(x->shape.dim[1 - axis]);
    if (!cg_shape_equal(&label->shape, &wanted))
        return cg_error(CG_ESHAPE, "label is %s, wanted [%lld], one for each %s of logits",
                        cg_shape_print(&label->shape, text), (long long)wanted.dim[0],
                        axis ? "row" : "column");
    return CG_OK;
}

static cg_status check(const cg_node *n) {
    const cg_cross_entropy_attr *attr = n->attr;
    if (attr->axis != 0 && attr->axis != 1)
        return cg_error(CG_EINVAL, "axis is %lld, wanted 0 or 1", (long long)attr->axis);
    return cg_cross_entropy_check(n->in[0], n->in[1], attr->axis);
}

static cg_status infer(const cg_node *n, cg_type *out) {
    CG_TRY(check(n));
    out[0] = out[1] = (cg_type){CG_F32, n->in[1]->shape};
    return CG_OK;
}

/* --- forward --------------------------------------------------------------------------------- */

CG_KERNEL static void rows_forward(const float *logits, int64_t width, const int32_t *label,
                                   int64_t begin, int64_t end, float *loss, float *lse) {
    for (int64_t i = begin; i < end; i++) {
        const float *x = logits + i * width;
        float top = x[0], sum = 0;
#pragma omp simd reduction(max : top)
        for (int64_t j = 0; j < width; j++) top = x[j] > top ? x[j] : top;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < width; j++) sum += cg_expf(x[j] - top);
        lse[i] = top + logf(sum);
        loss[i] = (top - x[label[i]]) + logf(sum);
    }
}

enum { COLUMNS = 64, ROWS = 32 }; /* a tile of 8 KiB */

CG_KERNEL static void columns_forward(const float *logits, int64_t height, int64_t width,
                                      const int32_t *label, int64_t begin, int64_t end, float *loss,
                                      float *lse) {
    float top[COLUMNS], sum[COLUMNS], next[COLUMNS];
    int64_t n = end - begin;
    for (int64_t j = 0; j < n; j++) {
        top[j] = -FLT_MAX; /* finite: where only -inf has come, x - top is -inf and not NaN */
        sum[j] = 0;
    }
    for (int64_t r = 0; r < height; r += ROWS) {
        int64_t last = r + ROWS < height ? r + ROWS : height;
        for (int64_t j = 0; j < n; j++) next[j] = top[j];
        for (int64_t i = r; i < last; i++) {
            const float *x = logits + i * width + begin;
#pragma omp simd
            for (int64_t j = 0; j < n; j++) next[j] = x[j] > next[j] ? x[j] : next[j];
        }
#pragma omp simd
        for (int64_t j = 0; j < n; j++) {
            sum[j] *= cg_expf(top[j] - next[j]);
            top[j] = next[j];
        }
        for (int64_t i = r; i < last; i++) {
            const float *x = logits + i * width + begin;
#pragma omp simd
            for (int64_t j = 0; j < n; j++) sum[j] += cg_expf(x[j] - top[j]);
        }
    }
    for (int64_t j = 0; j < n; j++) {
        float rest = logf(sum[j]);
        lse[begin + j] = top[j] + rest;
        loss[begin + j] = (top[j] - logits[label[begin + j] * width + begin + j]) + rest;
    }
}

static cg_status run(const cg_task *t) {
    const cg_shape *shape = &t->node->in[0]->shape;
    const cg_cross_entropy_attr *attr = t->node->attr;
    const float *x = t->in[0];
    const int32_t *label = t->in[1];
    float *loss = t->out[0], *lse = t->out[1];
    int64_t height = shape->dim[0], width = shape->dim[1];
    CG_TRY(cg_check_labels(label, shape->dim[1 - attr->axis], shape->dim[attr->axis]));
    int threads = height * width < CG_PARALLEL_MIN ? 1 : t->threads;
    if (attr->axis == 1) {
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int i = 0; i < threads; i++) {
            cg_range r = cg_range_of(height, i, threads);
            rows_forward(x, width, label, r.begin, r.end, loss, lse);
        }
        return CG_OK;
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t j = 0; j < width; j += COLUMNS)
        columns_forward(x, height, width, label, j, j + COLUMNS < width ? j + COLUMNS : width, loss,
                        lse);
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    if (dy[1]) {
        cg_graph_fail(g, cg_error(CG_EUNSUPPORTED,
                                  "%s: softmax_cross_entropy: the gradient of lse is not supported",
                                  n->name));
        return;
    }
    dx[0] = cg_node_add1(g, &cg_op_softmax_cross_entropy_grad, n->attr, 4,
                         (cg_value *[]){n->in[0], n->in[1], n->out[1], dy[0]});
}

const cg_op cg_op_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .min_in = 2,
    .max_in = 2,
    .n_out = 2,
    .attr_size = sizeof(cg_cross_entropy_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .run = run,
};

cg_value *cg_softmax_cross_entropy(cg_graph *g, cg_value *logits, cg_value *label, int axis) {
    cg_cross_entropy_attr attr = {axis};
    return cg_node_add1(g, &cg_op_softmax_cross_entropy, &attr, 2, (cg_value *[]){logits, label});
}

/* --- softmax_cross_entropy_grad --------------------------------------------------------------- */

static cg_status grad_infer(const cg_node *n, cg_type *out) {
    CG_TRY(check(n));
    for (int i = 2; i < 4; i++)
        if (n->in[i]->dtype != CG_F32 || !cg_shape_equal(&n->in[i]->shape, &n->in[1]->shape))
            return cg_error(CG_ESHAPE, "%s is not one f32 for each label",
                            i == 2 ? "lse" : "dloss");
    out[0] = (cg_type){CG_F32, n->in[0]->shape};
    return CG_OK;
}

/* Rows begin … end-1; dx may be x. */
CG_KERNEL static void rows_backward(const void *const *in, float *out, int64_t width, int axis,
                                    int64_t begin, int64_t end) {
    const int32_t *label = in[1];
    const float *lse = in[2], *d = in[3];
    for (int64_t i = begin; i < end; i++) {
        const float *x = (const float *)in[0] + i * width;
        float *dx = out + i * width;
        if (axis == 1) {
            float di = d[i], li = lse[i];
#pragma omp simd
            for (int64_t j = 0; j < width; j++) dx[j] = di * cg_expf(x[j] - li);
            dx[label[i]] -= di;
        } else {
#pragma omp simd
            for (int64_t j = 0; j < width; j++) dx[j] = d[j] * cg_expf(x[j] - lse[j]);
        }
    }
}

static cg_status grad_run(const cg_task *t) {
    const cg_shape *shape = &t->node->in[0]->shape;
    const cg_cross_entropy_attr *attr = t->node->attr;
    const int32_t *label = t->in[1];
    const float *dloss = t->in[3];
    float *dx = t->out[0];
    int64_t height = shape->dim[0], width = shape->dim[1];
    CG_TRY(cg_check_labels(label, shape->dim[1 - attr->axis], shape->dim[attr->axis]));
    int threads = height * width < CG_PARALLEL_MIN ? 1 : t->threads;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < threads; i++) {
        cg_range r = cg_range_of(height, i, threads);
        rows_backward(t->in, dx, width, (int)attr->axis, r.begin, r.end);
    }
    if (attr->axis == 0)
        for (int64_t j = 0; j < width; j++) dx[label[j] * width + j] -= dloss[j];
    return CG_OK;
}

const cg_op cg_op_softmax_cross_entropy_grad = {
    .name = "softmax_cross_entropy_grad",
    .min_in = 4,
    .max_in = 4,
    .n_out = 1,
    .attr_size = sizeof(cg_cross_entropy_attr),
    .attr = fields,
    .infer = grad_infer,
    .run = grad_run,
    .inplace = 1u << 0,
};
