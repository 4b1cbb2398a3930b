/* clamp: y = min(max(x, low), high); NaN stays NaN.
 * shapes  x [...] f32 -> y [...]
 * vjp     dx = dy where low <= x <= high, else 0 (op clamp_grad)
 * errors  CG_EDTYPE: x is not f32. CG_EINVAL: not low <= high
 * onnx    Clip */
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

typedef struct cg_clamp_attr {
    float low, high;
} cg_clamp_attr;

static const cg_attr_field fields[] = {
    CG_ATTR(cg_clamp_attr, low, FLOAT), CG_ATTR(cg_clamp_attr, high, FLOAT), {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    const cg_clamp_attr *attr = n->attr;
    if (!(attr->low <= attr->high))
        return cg_error(CG_EINVAL, "low is %g and high is %g, wanted low <= high",
                        (double)attr->low, (double)attr->high);
    return cg_unary_infer(n, out);
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    dx[0] = cg_node_add1(g, &cg_op_clamp_grad, n->attr, 2, (cg_value *[]){n->in[0], dy[0]});
}

CG_KERNEL static void range(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    const cg_clamp_attr *attr = t->node->attr;
    const float *x = t->in[0], low = attr->low, high = attr->high;
    float *y = t->out[0];
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        float v = x[i];
        v = v < low ? low : v;
        y[i] = v > high ? high : v;
    }
}

static cg_status run(const cg_task *t) {
    cg_parallel_elements(t, range);
    return CG_OK;
}

CG_KERNEL static void grad_range(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    const cg_clamp_attr *attr = t->node->attr;
    const float *x = t->in[0], *dy = t->in[1], low = attr->low, high = attr->high;
    float *dx = t->out[0];
#pragma omp simd
    for (int64_t i = begin; i < end; i++) dx[i] = (low <= x[i]) & (x[i] <= high) ? dy[i] : 0;
}

static cg_status grad_run(const cg_task *t) {
    cg_parallel_elements(t, grad_range);
    return CG_OK;
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    const cg_clamp_attr *attr = n->attr;
    cg_onnx_ref *x = cg_onnx_value(s, n->in[0]);
    cg_onnx_node clip = {
        "Clip", 3, {x, cg_onnx_scalar(s, attr->low), cg_onnx_scalar(s, attr->high)}, {{0}}};
    return cg_onnx_give(s, n->out[0], cg_onnx_like(s, &clip, x));
}

const cg_op cg_op_clamp = {
    .name = "clamp",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .attr_size = sizeof(cg_clamp_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
    .inplace = 1,
};

/* in x, dy -> dx */
const cg_op cg_op_clamp_grad = {
    .name = "clamp_grad",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .attr_size = sizeof(cg_clamp_attr),
    .attr = fields,
    .infer = cg_unary_grad_infer,
    .run = grad_run,
    .inplace = 3,
};

cg_value *cg_clamp(cg_graph *g, cg_value *x, float low, float high) {
    cg_clamp_attr attr = {low, high};
    return cg_node_add1(g, &cg_op_clamp, &attr, 1, &x);
}
