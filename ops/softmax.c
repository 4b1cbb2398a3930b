/* softmax: each row as probabilities.
 *   y = e^(x - m) / Σ e^(x - m),  m = max x
 * shapes  x [..., D] f32 -> y [..., D]; empty where D is 0. A row may have entries of -inf as long
 *         as one is finite; a row of -inf alone, or with inf or NaN in it, gives NaN
 * vjp     softmax_grad, below; from y, so that x need not be kept
 * errors  CG_ESHAPE: x is a scalar. CG_EDTYPE: x is not f32
 * onnx    Softmax
 *
 * softmax_grad: its gradient.
 *   dx = y (dy - Σ (dy y))
 * shapes  y, dy [..., D] -> dx [..., D] */
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"
#include "ops/simd_math.h"

static cg_status infer(const cg_node *n, cg_type *out) {
    if (n->in[0]->shape.rank < 1)
        return cg_error(CG_ESHAPE, "x is a scalar, wanted rank 1 or more");
    return cg_unary_infer(n, out);
}

/* Runs fn on the rows of output 0, in parallel. */
static cg_status run_rows(const cg_task *t, cg_range_fn fn) {
    const cg_shape *shape = &t->node->out[0]->shape;
    int64_t count = cg_shape_count(shape), width = shape->dim[shape->rank - 1];
    if (count > 0) cg_parallel(t->threads, count / width, 1, count, fn, t);
    return CG_OK;
}

static int64_t width_of(const cg_task *t) {
    const cg_shape *shape = &t->node->out[0]->shape;
    return shape->dim[shape->rank - 1];
}

CG_KERNEL static void rows_forward(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    int64_t width = width_of(t);
    for (int64_t i = begin; i < end; i++) {
        const float *x = (const float *)t->in[0] + i * width;
        float *y = (float *)t->out[0] + i * width;
        float top = x[0], sum = 0;
#pragma omp simd reduction(max : top)
        for (int64_t j = 0; j < width; j++) top = x[j] > top ? x[j] : top;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < width; j++) {
            y[j] = cg_expf(x[j] - top); /* NaN wherever x has it: the sum, and so the row */
            sum += y[j];
        }
        float r = 1.0f / sum;
#pragma omp simd
        for (int64_t j = 0; j < width; j++) y[j] *= r;
    }
}

static cg_status run(const cg_task *t) {
    return run_rows(t, rows_forward);
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    dx[0] = cg_node_add1(g, &cg_op_softmax_grad, NULL, 2, (cg_value *[]){n->out[0], dy[0]});
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    cg_onnx_ref *x = cg_onnx_rows(s, cg_onnx_value(s, n->in[0]));
    cg_onnx_node softmax = {"Softmax", 1, {x}, {CG_ONNX_INT("axis", -1)}};
    return cg_onnx_give(s, n->out[0], cg_onnx_like(s, &softmax, x));
}

const cg_op cg_op_softmax = {
    .name = "softmax",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
    .inplace = 1,
};

cg_value *cg_softmax(cg_graph *g, cg_value *x) {
    return cg_node_add1(g, &cg_op_softmax, NULL, 1, &x);
}

/* --- softmax_grad ----------------------------------------------------------------------------- */

CG_KERNEL static void rows_backward(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    int64_t width = width_of(t);
    for (int64_t i = begin; i < end; i++) {
        const float *y = (const float *)t->in[0] + i * width;
        const float *dy = (const float *)t->in[1] + i * width;
        float *dx = (float *)t->out[0] + i * width, sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < width; j++) sum += dy[j] * y[j];
#pragma omp simd
        for (int64_t j = 0; j < width; j++) dx[j] = y[j] * (dy[j] - sum);
    }
}

static cg_status grad_run(const cg_task *t) {
    return run_rows(t, rows_backward);
}

const cg_op cg_op_softmax_grad = {
    .name = "softmax_grad",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .infer = cg_unary_grad_infer,
    .run = grad_run,
    .inplace = 3,
};
