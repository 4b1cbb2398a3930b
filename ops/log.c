/* log: y = ln x; -inf at 0, NaN below.
 * shapes  x [...] f32 -> y [...]
 * vjp     dx = dy / x
 * errors  CG_EDTYPE: x is not f32
 * onnx    Log */
#include "ops/elementwise.h"
#include "ops/ops.h"
#include "ops/simd_math.h"

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    dx[0] = cg_div(g, dy[0], n->in[0]);
}

CG_KERNEL static void range(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    const float *x = t->in[0];
    float *y = t->out[0];
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = cg_logf(x[i]);
}

static cg_status run(const cg_task *t) {
    cg_parallel_elements(t, range);
    return CG_OK;
}

const cg_op cg_op_log = {
    .name = "log",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .infer = cg_unary_infer,
    .vjp = vjp,
    .run = run,
    .inplace = 1,
};

cg_value *cg_log(cg_graph *g, cg_value *x) {
    return cg_node_add1(g, &cg_op_log, NULL, 1, &x);
}
