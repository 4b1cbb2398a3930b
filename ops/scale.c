/* scale: y = factor * x, the factor an attribute.
 * shapes  x [...] f32 or bf16 -> y [...]
 * vjp     dx = factor * dy
 * errors  CG_EDTYPE: x is not f32 or bf16
 * onnx    Mul by a constant; Neg where it is -1 */
#include "ops/elementwise.h"
#include "ops/ops.h"

typedef struct cg_scale_attr {
    float factor;
} cg_scale_attr;

static const cg_attr_field fields[] = {CG_ATTR(cg_scale_attr, factor, FLOAT), {0}};

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    const cg_scale_attr *attr = n->attr;
    dx[0] = cg_scale(g, dy[0], attr->factor);
}

CG_KERNEL static void multiply(const cg_task *t, const float *const *in, float *const *out,
                               int64_t n) {
    const cg_scale_attr *attr = t->node->attr;
    const float *x = in[0], factor = attr->factor;
    float *y = out[0];
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = factor * x[i];
}

static cg_status run(const cg_task *t) {
    cg_run_elements(t, multiply);
    return CG_OK;
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    const cg_scale_attr *attr = n->attr;
    cg_onnx_ref *x = cg_onnx_value(s, n->in[0]);
    if (attr->factor == -1) return cg_onnx_give(s, n->out[0], cg_onnx_unary(s, "Neg", x));
    return cg_onnx_give(s, n->out[0], cg_onnx_binary(s, "Mul", x, cg_onnx_scalar(s, attr->factor)));
}

const cg_op cg_op_scale = {
    .name = "scale",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .attr_size = sizeof(cg_scale_attr),
    .attr = fields,
    .infer = cg_unary_infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
    .inplace = 1,
    .bf16_in = 1,
    .bf16_out = 1,
};

cg_value *cg_scale(cg_graph *g, cg_value *x, float factor) {
    cg_scale_attr attr = {factor};
    return cg_node_add1(g, &cg_op_scale, &attr, 1, &x);
}

cg_value *cg_neg(cg_graph *g, cg_value *x) {
    return cg_scale(g, x, -1);
}
