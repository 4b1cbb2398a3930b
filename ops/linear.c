/* linear: a layer's affine map of the last axis.
 *   y = x · weightᵀ + bias
 * shapes  x [..., K], weight [N, K], bias [N] or absent -> y [..., N]
 * vjp     over rows (all axes but the last): dx = dy · weight, dweight = dyᵀ · x,
 *         dbias = sum of dy
 * errors  CG_ESHAPE: x is a scalar or has no columns, ranks, sizes that differ.
 *         CG_EDTYPE: not f32
 * onnx    MatMul, Add */
#include "ops/check.h"
#include "ops/dnn.h"
#include "ops/ops.h"

static cg_dnn_matmul sizes(const cg_node *n) {
    const cg_shape *x = &n->in[0]->shape, *w = &n->in[1]->shape;
    cg_dnn_matmul m = {
        .batch = 1, .m = 1, .n = w->dim[0], .k = w->dim[1], .transpose_b = 1, .bias = n->n_in == 3};
    for (int i = 0; i < x->rank - 1; i++) m.m *= x->dim[i];
    return m;
}

static cg_status infer(const cg_node *n, cg_type *out) {
    static const char *const name[] = {"x", "weight", "bias"};
    for (int i = 0; i < 3 && i < n->n_in; i++) CG_TRY(cg_check_dtype(n->in[i], name[i], CG_F32));
    const cg_shape *x = &n->in[0]->shape, *w = &n->in[1]->shape;
    if (x->rank < 1) return cg_error(CG_ESHAPE, "x is a scalar, wanted rank 1 or more");
    CG_TRY(cg_check_rank(n->in[1], "weight", 2));
    int64_t k = x->dim[x->rank - 1];
    if (w->dim[1] != k)
        return cg_error(CG_ESHAPE, "weight has %lld columns, x has %lld", (long long)w->dim[1],
                        (long long)k);
    if (k < 1) return cg_error(CG_ESHAPE, "x has no columns, wanted 1 or more");
    if (n->n_in == 3) {
        CG_TRY(cg_check_rank(n->in[2], "bias", 1));
        if (n->in[2]->shape.dim[0] != w->dim[0])
            return cg_error(CG_ESHAPE, "bias has %lld elements, weight has %lld rows",
                            (long long)n->in[2]->shape.dim[0], (long long)w->dim[0]);
    }
    out[0] = (cg_type){CG_F32, *x};
    out[0].shape.dim[x->rank - 1] = w->dim[0];
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    cg_value *x = n->in[0], *w = n->in[1], *d = dy[0];
    cg_dnn_matmul m = sizes(n);
    int flat = x->shape.rank == 2;
    if (!flat) {
        x = cg_reshape(g, x, CG_SHAPE(m.m, m.k));
        d = cg_reshape(g, d, CG_SHAPE(m.m, m.n));
    }
    dx[0] = cg_matmul(g, d, w, 0, 0);
    if (!flat) dx[0] = cg_reshape(g, dx[0], n->in[0]->shape);
    dx[1] = cg_matmul(g, d, x, 1, 0);
    if (m.bias) dx[2] = cg_sum(g, d, CG_SHAPE(0), 0);
}

static cg_status prepare(cg_prep *p) {
    cg_dnn_matmul m = sizes(p->node);
    if (m.m == 0 || m.n == 0) return CG_OK;
    cg_dnn *d;
    CG_TRY(cg_dnn_matmul_create(p->ctx, &m, &d));
    p->state = d;
    p->impl = cg_dnn_impl(d);
    p->scratch = cg_dnn_scratch(d);
    return CG_OK;
}

static cg_status run(const cg_task *t) {
    if (!t->state) return CG_OK; /* y is empty */
    const void *bias = t->node->n_in == 3 ? t->in[2] : NULL;
    return cg_dnn_run(t->state, t->in[0], t->in[1], bias, t->out[0], t->scratch);
}

static void release(void *state) {
    cg_dnn_free(state);
}

static int64_t flops(const cg_node *n) {
    cg_dnn_matmul m = sizes(n);
    return 2 * m.m * m.n * m.k;
}

const cg_op cg_op_linear = {
    .name = "linear",
    .min_in = 2,
    .max_in = 3,
    .n_out = 1,
    .infer = infer,
    .vjp = vjp,
    .prepare = prepare,
    .run = run,
    .release = release,
    .flops = flops,
};

cg_value *cg_linear(cg_graph *g, cg_value *x, cg_value *weight, cg_value *bias) {
    return cg_node_add1(g, &cg_op_linear, NULL, 3, (cg_value *[]){x, weight, bias});
}
