/* is_nan: y = 1 where x is NaN, else 0.
 * shapes  x [...] f32 -> y [...] i32
 * vjp     none
 * errors  CG_EDTYPE: x is not f32
 * onnx    IsNaN, and Cast to i64, as which files have whole numbers */
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

static cg_status infer(const cg_node *n, cg_type *out) {
    CG_TRY(cg_check_dtype(n->in[0], "x", CG_F32));
    *out = (cg_type){CG_I32, n->in[0]->shape};
    return CG_OK;
}

CG_KERNEL static void range(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    const float *x = t->in[0];
    int32_t *y = t->out[0];
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = x[i] != x[i];
}

static cg_status run(const cg_task *t) {
    cg_parallel_elements(t, range);
    return CG_OK;
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    enum { INT64 = 7 };
    cg_onnx_ref *y = cg_onnx_unary(s, "IsNaN", cg_onnx_value(s, n->in[0]));
    cg_onnx_node cast = {"Cast", 1, {y}, {CG_ONNX_INT("to", INT64)}};
    return cg_onnx_give(s, n->out[0], cg_onnx_like(s, &cast, y));
}

const cg_op cg_op_is_nan = {
    .name = "is_nan",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .infer = infer,
    .run = run,
    .onnx = onnx,
};

cg_value *cg_is_nan(cg_graph *g, cg_value *x) {
    return cg_node_add1(g, &cg_op_is_nan, NULL, 1, &x);
}
