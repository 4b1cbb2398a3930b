/* batch_norm_inference: normalises each channel by given statistics.
 *   y = (x - mean) · gain / sqrt(var + eps) + bias
 * shapes  x [..., C] f32, gain, bias, mean, var [C] -> y [..., C]
 * attr    eps: float, 0 or more
 * vjp     batch_norm_inference_grad, below, for all five operands
 * errors  as batch_norm
 * source  Ioffe and Szegedy, arXiv:1502.03167
 *
 * batch_norm_inference_grad: its gradient; statistics are operands, so they have one too.
 *   r = 1 / sqrt(var + eps),  dx = gain r dy,  dbias = Σ dy,  dgain = r Σ dy (x - mean)
 *   dmean = -gain r dbias,    dvar = -gain r² dgain / 2
 * shapes  x, gain, mean, var, dy -> dx as x, dgain, dbias, dmean, dvar [C] */
#include "ops/batch_norm.h"

#include <math.h>

static cg_status infer(const cg_node *n, cg_type *out) {
    static const char *const name[] = {"x", "gain", "bias", "mean", "var"};
    CG_TRY(cg_batch_norm_check(n, 1, 4, name));
    out[0] = (cg_type){CG_F32, n->in[0]->shape};
    return CG_OK;
}

static cg_status prepare(cg_prep *p) {
    const cg_shape *x = &p->node->in[0]->shape;
    p->scratch = (size_t)x->dim[x->rank - 1] * sizeof(float);
    return CG_OK;
}

static cg_status run(const cg_task *t) {
    const float *gain = t->in[1], *bias = t->in[2], *mean = t->in[3], *var = t->in[4];
    const cg_batch_norm_attr *attr = t->node->attr;
    cg_batch_norm_grid grid = cg_batch_norm_grid_of(&t->node->in[0]->shape);
    float *factor = t->scratch;
    for (int64_t c = 0; c < grid.channels; c++) factor[c] = gain[c] / sqrtf(var[c] + attr->eps);
    cg_batch_norm_apply(t, &grid, t->in[0], mean, factor, bias, t->out[0]);
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    cg_value *in[] = {n->in[0], n->in[1], n->in[3], n->in[4], dy[0]};
    cg_node *grad = cg_node_add(g, &cg_op_batch_norm_inference_grad, n->attr, 5, in);
    if (!grad) return;
    for (int i = 0; i < 5; i++) dx[i] = grad->out[i];
}

const cg_op cg_op_batch_norm_inference = {
    .name = "batch_norm_inference",
    .min_in = 5,
    .max_in = 5,
    .n_out = 1,
    .attr_size = sizeof(cg_batch_norm_attr),
    .attr = cg_batch_norm_fields,
    .infer = infer,
    .vjp = vjp,
    .prepare = prepare,
    .run = run,
    .inplace = 1u << 0,
};

cg_value *cg_batch_norm_inference(cg_graph *g, cg_value *x, cg_value *gain, cg_value *bias,
                                  cg_value *mean, cg_value *var, float eps) {
    cg_batch_norm_attr attr = {eps};
    return cg_node_add1(g, &cg_op_batch_norm_inference, &attr, 5,
                        (cg_value *[]){x, gain, bias, mean, var});
}

/* --- batch_norm_inference_grad --------------------------------------------------------------- */

static cg_status grad_infer(const cg_node *n, cg_type *out) {
    static const char *const name[] = {"x", "gain", "mean", "var"};
    CG_TRY(cg_batch_norm_check(n, 1, 3, name));
    if (n->in[4]->dtype != CG_F32 || !cg_shape_equal(&n->in[4]->shape, &n->in[0]->shape))
        return cg_error(CG_ESHAPE, "dy is not of x's shape and type");
    out[0] = (cg_type){CG_F32, n->in[0]->shape};
    for (int i = 1; i < 5; i++) out[i] = (cg_type){CG_F32, n->in[1]->shape};
    return CG_OK;
}

static cg_status grad_prepare(cg_prep *p) {
    cg_batch_norm_grid grid = cg_batch_norm_grid_of(&p->node->in[0]->shape);
    p->scratch = cg_batch_norm_scratch(&grid, 3);
    return CG_OK;
}

static cg_status grad_run(const cg_task *t) {
    const float *x = t->in[0], *gain = t->in[1], *mean = t->in[2], *var = t->in[3], *dy = t->in[4];
    float *dgain = t->out[1], *dbias = t->out[2], *dmean = t->out[3], *dvar = t->out[4];
    const cg_batch_norm_attr *attr = t->node->attr;
    cg_batch_norm_grid grid = cg_batch_norm_grid_of(&t->node->in[0]->shape);
    int64_t channels = grid.channels;
    double *sum_dy = t->scratch, *sum_dyx = sum_dy + channels;
    float *factor = (float *)(sum_dyx + channels), *zero = factor + channels;
    cg_batch_norm_sums(t, &grid, x, mean, dy, (float *)(sum_dy + 3 * channels), sum_dy, sum_dyx);
    for (int64_t c = 0; c < channels; c++) {
        double r = 1 / sqrt((double)var[c] + (double)attr->eps), a = (double)gain[c] * r;
        factor[c] = (float)a;
        zero[c] = 0;
        dgain[c] = (float)(r * sum_dyx[c]);
        dbias[c] = (float)sum_dy[c];
        dmean[c] = (float)(-a * sum_dy[c]);
        dvar[c] = (float)(-0.5 * a * r * r * sum_dyx[c]);
    }
    cg_batch_norm_apply(t, &grid, dy, zero, factor, zero, t->out[0]);
    return CG_OK;
}

const cg_op cg_op_batch_norm_inference_grad = {
    .name = "batch_norm_inference_grad",
    .min_in = 5,
    .max_in = 5,
    .n_out = 5,
    .attr_size = sizeof(cg_batch_norm_attr),
    .attr = cg_batch_norm_fields,
    .infer = grad_infer,
    .prepare = grad_prepare,
    .run = grad_run,
    .inplace = 1u << 0 | 1u << 4,
};
