/* relu: y = max(x, 0); NaN stays NaN.
 * shapes  x [...] f32 -> y [...]
 * vjp     dx = dy where y > 0, else 0 (op relu_grad; from y, so that x need not be kept)
 * errors  CG_EDTYPE: x is not f32
 * onnx    Relu */
#include "ops/elementwise.h"
#include "ops/ops.h"

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    dx[0] = cg_node_add1(g, &cg_op_relu_grad, NULL, 2, (cg_value *[]){n->out[0], dy[0]});
}

CG_KERNEL static void range(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    const float *x = t->in[0];
    float *y = t->out[0];
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

static cg_status run(const cg_task *t) {
    cg_parallel_elements(t, range);
    return CG_OK;
}

/* Where y is NaN, dy passes: a gradient must not look healthy where the value is not. */
CG_KERNEL static void grad_range(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    const float *y = t->in[0], *dy = t->in[1];
    float *dx = t->out[0];
#pragma omp simd
    for (int64_t i = begin; i < end; i++) dx[i] = y[i] <= 0 ? 0 : dy[i];
}

static cg_status grad_run(const cg_task *t) {
    cg_parallel_elements(t, grad_range);
    return CG_OK;
}

const cg_op cg_op_relu = {
    .name = "relu",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .infer = cg_unary_infer,
    .vjp = vjp,
    .run = run,
    .inplace = 1,
};

/* in y, dy -> dx */
const cg_op cg_op_relu_grad = {
    .name = "relu_grad",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .infer = cg_unary_grad_infer,
    .run = grad_run,
    .inplace = 3,
};

cg_value *cg_relu(cg_graph *g, cg_value *x) {
    return cg_node_add1(g, &cg_op_relu, NULL, 1, &x);
}
