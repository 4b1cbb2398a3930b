/* batch_norm_inference: normalises each channel by given statistics.
 *   y = (x - mean) · gain / sqrt(var + eps) + bias
 * shapes  x [..., C] f32, gain, bias, mean, var [C] -> y [..., C]
 * attr    eps: float, 0 or more
 * vjp     batch_norm_inference_grad, below, for all five operands
 * errors  as batch_norm
 * onnx    BatchNormalization, of [N, C, H, W] or [rows, C]
 * source  Ioffe and Szegedy, arXiv:1502.03167
 *
 * batch_norm_inference_grad: its gradient; statistics are operands, so they have one too.
 *   r = 1 / sqrt(var + eps),  dx = gain r dy,  dbias = Σ dy,  dgain = r Σ dy (x - mean)
 *   dmean = -gain r dbias,    dvar = -gain r² dgain / 2
 * shapes  x, gain, mean, var, dy -> dx as x, dgain, dbias, dmean, dvar [C] */
#include "ops/batch_norm.h"

#include <math.h>
#include <string.h>

const cg_attr_field cg_batch_norm_inference_fields[] = {CG_ATTR(cg_batch_norm_attr, eps, FLOAT),
                                                        {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    static const char *const name[] = {"x", "gain", "bias", "mean", "var"};
    CG_TRY(cg_batch_norm_check(n, 1, 4, name));
    out[0] = (cg_type){CG_F32, n->in[0]->shape};
    return CG_OK;
}

static cg_status prepare(cg_prep *p) {
    cg_batch_norm_grid grid = cg_batch_norm_grid_of(&p->node->in[0]->shape);
    p->scratch = cg_batch_norm_scratch(p, &grid);
    return CG_OK;
}

static cg_status run(const cg_task *t) {
    const cg_batch_norm_attr *attr = t->node->attr;
    cg_batch_norm_grid grid = cg_batch_norm_grid_of(&t->node->in[0]->shape);
    cg_batch_norm_affine a =
        cg_batch_norm_affine_of(t, &grid, t->in[1], t->in[2], t->in[3], t->in[4], attr->eps);
    cg_batch_norm_apply(t, &grid, cg_batch_norm_in(t, 0), (cg_batch_norm_tensor){0}, a, 0,
                        cg_batch_norm_out(t, 0));
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    cg_value *in[] = {n->in[0], n->in[1], n->in[3], n->in[4], dy[0]};
    cg_node *grad = cg_node_add(g, &cg_op_batch_norm_inference_grad, n->attr, 5, in);
    if (!grad) return;
    for (int i = 0; i < 5; i++) dx[i] = grad->out[i];
}

/* Channels stand second there: rows of any rank become [rows, C]. */
static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    const cg_batch_norm_attr *attr = n->attr;
    const cg_value *x = n->in[0];
    int rank = x->shape.rank, picture = rank == 4;
    cg_onnx_size size[CG_MAX_RANK], flat[2] = {cg_onnx_fixed(1)};
    for (int i = 0; i < rank; i++) size[i] = cg_onnx_size_of(s, x, i);
    for (int i = 0; i + 1 < rank; i++) flat[0] = cg_onnx_times(flat[0], size[i]);
    flat[1] = size[rank - 1];
    cg_onnx_ref *t = cg_onnx_value(s, x);
    t = picture ? cg_onnx_pictures(s, t) : cg_onnx_plain(s, cg_onnx_reshape(s, t, 2, flat));
    cg_onnx_node norm = {"BatchNormalization", 5, {t}, {CG_ONNX_FLOAT("epsilon", attr->eps)}};
    for (int i = 1; i < 5; i++) norm.in[i] = cg_onnx_value(s, n->in[i]);
    t = cg_onnx_like(s, &norm, t);
    return cg_onnx_give(s, n->out[0], picture ? t : cg_onnx_reshape(s, t, rank, size));
}

const cg_op cg_op_batch_norm_inference = {
    .name = "batch_norm_inference",
    .min_in = 5,
    .max_in = 5,
    .n_out = 1,
    .attr_size = sizeof(cg_batch_norm_attr),
    .attr = cg_batch_norm_inference_fields,
    .infer = infer,
    .vjp = vjp,
    .prepare = prepare,
    .run = run,
    .onnx = onnx,
    .inplace = 1u << 0,
    .bf16_in = 1u << 0,
    .bf16_out = 1u << 0,
};

cg_value *cg_batch_norm_inference(cg_graph *g, cg_value *x, cg_value *gain, cg_value *bias,
                                  cg_value *mean, cg_value *var, float eps) {
    cg_batch_norm_attr attr = {.eps = eps};
    return cg_node_add1(g, &cg_op_batch_norm_inference, &attr, 5,
                        (cg_value *[]){x, gain, bias, mean, var});
}

/* --- batch_norm_inference_grad ---------------------------------------------------------------- */

static cg_status grad_infer(const cg_node *n, cg_type *out) {
    static const char *const name[] = {"x", "gain", "mean", "var"};
    CG_TRY(cg_batch_norm_check(n, 1, 3, name));
    CG_TRY(cg_batch_norm_check_like(n, 4, "dy"));
    out[0] = (cg_type){CG_F32, n->in[0]->shape};
    for (int i = 1; i < 5; i++) out[i] = (cg_type){CG_F32, n->in[1]->shape};
    return CG_OK;
}

static cg_status grad_run(const cg_task *t) {
    const float *gain = t->in[1], *mean = t->in[2], *var = t->in[3];
    float *dgain = t->out[1], *dbias = t->out[2], *dmean = t->out[3], *dvar = t->out[4];
    const cg_batch_norm_attr *attr = t->node->attr;
    cg_batch_norm_grid grid = cg_batch_norm_grid_of(&t->node->in[0]->shape);
    cg_batch_norm_room room = cg_batch_norm_room_of(t->scratch, &grid);
    cg_batch_norm_back j = {.x = cg_batch_norm_in(t, 0), .dy = cg_batch_norm_in(t, 4)};
    j.affine = cg_batch_norm_affine_of(t, &grid, gain, mean, mean, var, attr->eps);
    cg_batch_norm_sums(t, &grid, &j);
    int64_t channels = grid.channels / grid.fold;
    const double *sum_dy = room.doubles, *sum_dyx = sum_dy + channels;
    for (int64_t c = 0; c < channels; c++) {
        double r = 1 / sqrt((double)var[c] + (double)attr->eps), a = (double)gain[c] * r;
        dgain[c] = (float)(r * sum_dyx[c]);
        dbias[c] = (float)sum_dy[c];
        dmean[c] = (float)(-a * sum_dy[c]);
        dvar[c] = (float)(-0.5 * a * r * r * sum_dyx[c]);
    }
    float *zero = room.floats + 3 * grid.channels;
    memset(zero, 0, (size_t)grid.channels * sizeof *zero);
    j.affine.mean = j.affine.bias = zero;
    cg_batch_norm_apply(t, &grid, j.dy, (cg_batch_norm_tensor){0}, j.affine, 0,
                        cg_batch_norm_out(t, 0));
    return CG_OK;
}

const cg_op cg_op_batch_norm_inference_grad = {
    .name = "batch_norm_inference_grad",
    .min_in = 5,
    .max_in = 5,
    .n_out = 5,
    .attr_size = sizeof(cg_batch_norm_attr),
    .attr = cg_batch_norm_inference_fields,
    .infer = grad_infer,
    .prepare = prepare,
    .run = grad_run,
    .inplace = 1u << 0 | 1u << 4,
};
