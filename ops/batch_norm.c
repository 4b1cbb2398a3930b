/* batch_norm: normalises each channel by the batch's own statistics, and what follows in the same
 * sweep.
 *   mean = Σ x / R,  var = Σ (x - mean)² / R,  y = (x - mean) · gain / sqrt(var + eps) + bias
 * over the R rows, that is all axes but the last; with a residual y + residual, with relu its
 * positive part
 * shapes  x [..., C] f32, gain, bias [C], [residual as x] -> y [..., C], mean [C], var [C] (biased)
 * attr    eps: float, 0 or more; relu: 0 or 1
 * vjp     batch_norm_grad, below, or batch_norm_residual_grad; gradients of mean and var are taken
 *         too
 * errors  CG_ESHAPE: x is a scalar or empty; gain or bias is not [C]; residual is not as x.
 *         CG_EDTYPE: not f32. CG_EINVAL: eps is negative
 * numeric Blocks of rows give their moments about the mean so far and are merged (Chan, Golub,
 *         LeVeque 1983), so a large mean costs no digits of var. Two reads of x and a write of y.
 *         The pass `batch_norm` makes one op of norm, residual and relu.
 * source  Ioffe and Szegedy, arXiv:1502.03167
 *
 * batch_norm_grad: its gradient, where dy is masked by relu: d = dy where y > 0, else 0.
 *   r = 1 / sqrt(var + eps),  dbias = Σ d,  dgain = r Σ d (x - mean)
 *   dx = gain r (d - dbias / R - (x - mean) r dgain / R)
 * shapes  x, gain, bias, mean, var, dy, [residual or y] -> dx as x, dgain [C], dbias [C],
 *         [y], as the pass `recompute` asks for
 * attr    eps; relu: 0, there was none; 1, y is computed again, from the residual, too, where it is
 *         an operand; 2, y is an operand
 *
 * batch_norm_residual_grad: the same and the gradient of the residual, d.
 * shapes  as batch_norm_grad -> dx, dgain, dbias, dresidual as x, [y]; relu is 1 or 2 */
#include "ops/batch_norm.h"
#include "ops/check.h"

const cg_attr_field cg_batch_norm_fields[] = {
    CG_ATTR(cg_batch_norm_attr, eps, FLOAT), CG_ATTR(cg_batch_norm_attr, relu, INT), {0}};

/* --- shapes ---------------------------------------------------------------------------------- */

cg_status cg_batch_norm_check(const cg_node *n, int first, int last, const char *const *name) {
    char text[CG_SHAPE_TEXT];
    const cg_value *x = n->in[0];
    const cg_batch_norm_attr *attr = n->attr;
    CG_TRY(cg_check_float(n, 0, "x"));
    if (x->shape.rank < 1) return cg_error(CG_ESHAPE, "x is a scalar, wanted rank 1 or more");
    if (cg_shape_count(&x->shape) == 0)
        return cg_error(CG_ESHAPE, "x %s is empty", cg_shape_print(&x->shape, text));
    if (!(attr->eps >= 0))
        return cg_error(CG_EINVAL, "eps is %g, wanted 0 or more", (double)attr->eps);
    cg_shape channels = CG_SHAPE(x->shape.dim[x->shape.rank - 1]);
    /* NOLINTBEGIN(clang-analyzer-core.CallAndMessage): name has last + 1 entries */
    for (int i = first; i <= last; i++) {
        CG_TRY(cg_check_dtype(n->in[i], name[i], CG_F32));
        if (!cg_shape_equal(&n->in[i]->shape, &channels))
            return cg_error(CG_ESHAPE, "%s is %s, wanted [%lld], the channels of x", name[i],
                            cg_shape_print(&n->in[i]->shape, text), (long long)channels.dim[0]);
    }
    /* NOLINTEND(clang-analyzer-core.CallAndMessage) */
    return CG_OK;
}

cg_status cg_batch_norm_check_like(const cg_node *n, int i, const char *name) {
    CG_TRY(cg_check_float(n, i, name));
    return cg_check_same(n->in[0], "x", n->in[i], name);
}

static cg_status infer(const cg_node *n, cg_type *out) {
    static const char *const name[] = {"x", "gain", "bias"};
    const cg_batch_norm_attr *attr = n->attr;
    CG_TRY(cg_batch_norm_check(n, 1, 2, name));
    if (attr->relu != 0 && attr->relu != 1)
        return cg_error(CG_EINVAL, "relu is %lld, wanted 0 or 1", (long long)attr->relu);
    if (n->n_in > 3) CG_TRY(cg_batch_norm_check_like(n, 3, "residual"));
    out[0] = (cg_type){CG_F32, n->in[0]->shape};
    out[1] = out[2] = (cg_type){CG_F32, n->in[1]->shape};
    return CG_OK;
}

/* --- run ------------------------------------------------------------------------------------- */

static cg_status prepare(cg_prep *p) {
    cg_batch_norm_grid grid = cg_batch_norm_grid_of(&p->node->in[0]->shape);
    p->scratch = cg_batch_norm_scratch(p, &grid);
    return CG_OK;
}

static cg_status run(const cg_task *t) {
    const cg_batch_norm_attr *attr = t->node->attr;
    cg_batch_norm_grid grid = cg_batch_norm_grid_of(&t->node->in[0]->shape);
    cg_batch_norm_tensor x = cg_batch_norm_in(t, 0), residual = {0};
    if (t->node->n_in > 3) residual = cg_batch_norm_in(t, 3);
    float *mean = t->out[1], *var = t->out[2];
    cg_batch_norm_statistics(t, &grid, x, mean, var);
    cg_batch_norm_affine a =
        cg_batch_norm_affine_of(t, &grid, t->in[1], t->in[2], mean, var, attr->eps);
    cg_batch_norm_apply(t, &grid, x, residual, a, (int)attr->relu, cg_batch_norm_out(t, 0));
    return CG_OK;
}

/* --- gradient -------------------------------------------------------------------------------- */

/* Whether relu's mask is read from y, rather than computed again from the residual: then y must be
 * kept for the gradient, and the residual must not. In a chain of blocks, each the residual of the
 * next, it is so in turn, so that every other one has to be kept. */
static int mask_from_y(const cg_node *n) {
    int links = 0;
    for (; n->n_in > 3; links++) {
        const cg_node *before = n->in[3]->node;
        if (!before || before->op != &cg_op_batch_norm || n->in[3]->index != 0 ||
            !((const cg_batch_norm_attr *)before->attr)->relu)
            return links % 2 == 0;
        n = before;
    }
    return links % 2 == 1;
}

/* What statistics contribute: dx + dmean / R + dvar 2 (x - mean) / R. */
static cg_value *through_statistics(cg_graph *g, const cg_node *n, cg_value *dx, cg_value *dmean,
                                    cg_value *dvar) {
    if (!dx) return NULL;
    float rows = (float)(cg_shape_count(&dx->shape) / n->out[1]->shape.dim[0]);
    if (dmean) dx = cg_add(g, dx, cg_scale(g, dmean, 1 / rows));
    if (dvar)
        dx = cg_add(g, dx, cg_mul(g, cg_sub(g, n->in[0], n->out[1]), cg_scale(g, dvar, 2 / rows)));
    return dx;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    cg_batch_norm_attr attr = *(const cg_batch_norm_attr *)n->attr;
    cg_value *d = dy[0] ? dy[0] : cg_broadcast(g, cg_constant_f32(g, 0), n->in[0]->shape);
    cg_value *residual = n->n_in > 3 ? n->in[3] : NULL, *other = NULL;
    if (attr.relu && residual) {
        attr.relu = mask_from_y(n) ? CG_MASK_FROM_Y : CG_MASK_AGAIN;
        other = attr.relu == CG_MASK_FROM_Y ? n->out[0] : residual;
    }
    cg_value *in[] = {n->in[0], n->in[1], n->in[2], n->out[1], n->out[2], d, other};
    const cg_op *op = other ? &cg_op_batch_norm_residual_grad : &cg_op_batch_norm_grad;
    cg_node *grad = cg_node_add(g, op, &attr, 7, in);
    if (!grad) return;
    for (int i = 0; i < 3; i++) dx[i] = grad->out[i];
    dx[0] = through_statistics(g, n, dx[0], dy[1], dy[2]);
    if (residual) dx[3] = other ? grad->out[3] : d;
}

/* --- descriptor, builders -------------------------------------------------------------------- */

const cg_op cg_op_batch_norm = {
    .name = "batch_norm",
    .min_in = 3,
    .max_in = 4,
    .n_out = 3,
    .attr_size = sizeof(cg_batch_norm_attr),
    .attr = cg_batch_norm_fields,
    .infer = infer,
    .vjp = vjp,
    .prepare = prepare,
    .run = run,
    .inplace = 1u << 0 | 1u << 3,
    .bf16_in = 1u << 0 | 1u << 3,
    .bf16_out = 1u << 0,
};

cg_batch_norm_result cg_batch_norm_with(cg_graph *g, cg_value *x, cg_value *gain, cg_value *bias,
                                        cg_batch_norm_options options) {
    cg_batch_norm_attr attr = {options.eps, options.relu};
    cg_value *in[] = {x, gain, bias, options.residual};
    cg_node *n = cg_node_add(g, &cg_op_batch_norm, &attr, 4, in);
    if (!n) return (cg_batch_norm_result){0};
    return (cg_batch_norm_result){n->out[0], n->out[1], n->out[2]};
}

cg_batch_norm_result cg_batch_norm(cg_graph *g, cg_value *x, cg_value *gain, cg_value *bias,
                                   float eps) {
    return cg_batch_norm_with(g, x, gain, bias, (cg_batch_norm_options){.eps = eps});
}
