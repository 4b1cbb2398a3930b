/* linear: a layer's affine map of the last axis, with what may follow it.
 *   y = f(x · weightᵀ + bias) + residual
 * shapes  x [..., K], weight [N, K], bias [N] or absent, residual as y or absent -> y [..., N]
 * attr    f: int, a cg_epilogue; 0: f(u) = u
 * vjp     over rows (all axes but the last): du = f's own of dy, dx = du · weight,
 *         dweight = duᵀ · x, dbias = sum of du, dresidual = dy; where f is given, u is made again
 * errors  CG_ESHAPE: x is a scalar or has no columns, ranks, sizes that differ. CG_EDTYPE: not f32
 *         or bf16, or x and weight not of one type. CG_EINVAL: f
 * onnx    MatMul by the transposed weight, Add, those of f, Add */
#include "ops/check.h"
#include "ops/dnn.h"
#include "ops/ops.h"

typedef struct linear_attr {
    int64_t f;
} linear_attr;

static const char *word(int64_t f) {
    static const char *const name[] = {"none",
#define X(NAME, name, from_result) #name,
                                       CG_EPILOGUE_LIST(X)
#undef X
    };
    return f >= 0 && f < CG_EPILOGUES ? name[f] : "?";
}

static const cg_attr_field fields[] = {CG_ATTR_WORD(linear_attr, f, word), {0}};

enum { X, WEIGHT, BIAS, RESIDUAL };

static cg_dnn_matmul sizes(const cg_node *n) {
    const cg_shape *x = &n->in[X]->shape, *w = &n->in[WEIGHT]->shape;
    const linear_attr *attr = n->attr;
    cg_dnn_matmul m = {.batch = 1,
                       .m = 1,
                       .n = w->dim[0],
                       .k = w->dim[1],
                       .transpose_b = 1,
                       .bias = n->n_in > BIAS,
                       .residual = n->n_in > RESIDUAL,
                       .f = (cg_epilogue)attr->f,
                       .a_type = n->in[X]->dtype,
                       .b_type = n->in[WEIGHT]->dtype};
    for (int i = 0; i < x->rank - 1; i++) m.m *= x->dim[i];
    if (m.residual) m.residual_type = n->in[RESIDUAL]->dtype;
    return m;
}

static cg_status check_types(const cg_node *n) {
    static const char *const name[] = {"x", "weight", "bias", "residual"};
    const linear_attr *attr = n->attr;
    for (int i = 0; i < n->n_in; i++) CG_TRY(cg_check_float(n, i, name[i]));
    CG_TRY(cg_check_dtype(n->in[WEIGHT], "weight", n->in[X]->dtype));
    if (attr->f < 0 || attr->f >= CG_EPILOGUES)
        return cg_error(CG_EINVAL, "f is %lld, wanted 0 to %d", (long long)attr->f,
                        CG_EPILOGUES - 1);
    return CG_OK;
}

static cg_status check_bias(const cg_value *bias, const cg_value *weight) {
    CG_TRY(cg_check_rank(bias, "bias", 1));
    if (bias->shape.dim[0] == weight->shape.dim[0]) return CG_OK;
    return cg_error(CG_ESHAPE, "bias has %lld elements, weight has %lld rows",
                    (long long)bias->shape.dim[0], (long long)weight->shape.dim[0]);
}

static cg_status infer(const cg_node *n, cg_type *out) {
    CG_TRY(check_types(n));
    const cg_shape *x = &n->in[X]->shape, *w = &n->in[WEIGHT]->shape;
    if (x->rank < 1) return cg_error(CG_ESHAPE, "x is a scalar, wanted rank 1 or more");
    CG_TRY(cg_check_rank(n->in[WEIGHT], "weight", 2));
    int64_t k = x->dim[x->rank - 1];
    if (w->dim[1] != k)
        return cg_error(CG_ESHAPE, "weight has %lld columns, x has %lld", (long long)w->dim[1],
                        (long long)k);
    if (k < 1) return cg_error(CG_ESHAPE, "x has no columns, wanted 1 or more");
    if (n->n_in > BIAS) CG_TRY(check_bias(n->in[BIAS], n->in[WEIGHT]));
    out[0] = (cg_type){CG_F32, *x};
    out[0].shape.dim[x->rank - 1] = w->dim[0];
    if (n->n_in <= RESIDUAL || cg_shape_equal(&n->in[RESIDUAL]->shape, &out[0].shape)) return CG_OK;
    char found[CG_SHAPE_TEXT], wanted[CG_SHAPE_TEXT];
    return cg_error(CG_ESHAPE, "residual is %s, wanted %s",
                    cg_shape_print(&n->in[RESIDUAL]->shape, found),
                    cg_shape_print(&out[0].shape, wanted));
}

/* The gradient of u = x · weightᵀ + bias. */
static cg_value *through_f(cg_graph *g, const cg_node *n, cg_value *dy) {
    static const cg_op *const grad[CG_EPILOGUES] = {
#define X(NAME, op, from_result) [CG_EPILOGUE_##NAME] = &cg_op_##op##_grad,
        CG_EPILOGUE_LIST(X)
#undef X
    };
    const linear_attr *attr = n->attr;
    if (attr->f == CG_EPILOGUE_NONE) return dy;
    cg_value *u = cg_linear(g, n->in[X], n->in[WEIGHT], n->n_in > BIAS ? n->in[BIAS] : NULL);
    if (attr->f == CG_EPILOGUE_RELU) u = cg_relu(g, u); /* its gradient reads its result */
    return cg_node_add1(g, grad[attr->f], NULL, 2, (cg_value *[]){u, dy});
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    cg_value *x = n->in[X], *w = n->in[WEIGHT], *d = through_f(g, n, dy[0]);
    cg_dnn_matmul m = sizes(n);
    int flat = x->shape.rank == 2;
    if (!flat) {
        x = cg_reshape(g, x, CG_SHAPE(m.m, m.k));
        d = cg_reshape(g, d, CG_SHAPE(m.m, m.n));
    }
    dx[X] = cg_matmul(g, d, w, 0, 0);
    if (!flat) dx[X] = cg_reshape(g, dx[X], n->in[X]->shape);
    dx[WEIGHT] = cg_matmul(g, d, x, 1, 0);
    if (m.bias) dx[BIAS] = cg_sum(g, d, CG_SHAPE(0), 0);
    if (m.residual) dx[RESIDUAL] = dy[0];
}

static cg_status prepare(cg_prep *p) {
    cg_dnn_matmul m = sizes(p->node);
    m.c_type = p->node->out[0]->dtype;
    m.pack_b = p->frozen >> WEIGHT & 1;
    if (m.m == 0 || m.n == 0) return CG_OK;
    cg_dnn *d;
    CG_TRY(cg_dnn_matmul_create(p->ctx, &m, &d));
    p->state = d;
    p->pack = WEIGHT;
    p->pack_bytes = cg_dnn_pack_bytes(d);
    p->pack_key = cg_dnn_pack_key(d);
    p->impl = cg_dnn_impl(d);
    p->scratch = cg_dnn_scratch(d);
    return CG_OK;
}

static cg_status run(const cg_task *t) {
    if (!t->state) return CG_OK; /* y is empty */
    int n = t->node->n_in;
    return cg_dnn_run(t->state,
                      &(cg_dnn_operands){.a = t->in[X],
                                         .b = t->in[WEIGHT],
                                         .bias = n > BIAS ? t->in[BIAS] : NULL,
                                         .residual = n > RESIDUAL ? t->in[RESIDUAL] : NULL,
                                         .c = t->out[0],
                                         .scratch = t->scratch});
}

static cg_status pack(const cg_task *t, void *to) {
    return cg_dnn_pack(t->state, t->in[WEIGHT], to, t->scratch);
}

static void release(void *state) {
    cg_dnn_free(state);
}

static int64_t flops(const cg_node *n) {
    cg_dnn_matmul m = sizes(n);
    return 2 * m.m * m.n * m.k;
}

/* What f becomes stands in the activations' own files. */
#define X(NAME, name, from_result) cg_onnx_ref *cg_##name##_onnx(cg_onnx_sink *s, cg_onnx_ref *x);
CG_EPILOGUE_LIST(X)
#undef X

static cg_onnx_ref *applied(cg_onnx_sink *s, cg_epilogue f, cg_onnx_ref *x) {
    switch (f) {
#define X(NAME, name, from_result)                                                                 \
    case CG_EPILOGUE_##NAME:                                                                       \
        return cg_##name##_onnx(s, x);
        CG_EPILOGUE_LIST(X)
#undef X
    case CG_EPILOGUE_NONE:
    case CG_EPILOGUES:
        break;
    }
    return x;
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    cg_onnx_ref *w = cg_onnx_transpose(s, cg_onnx_value(s, n->in[WEIGHT]), CG_SHAPE(1, 0));
    cg_onnx_ref *y = cg_onnx_product(s, cg_onnx_value(s, n->in[X]), w);
    if (n->n_in > BIAS) y = cg_onnx_binary(s, "Add", y, cg_onnx_value(s, n->in[BIAS]));
    y = applied(s, cg_linear_epilogue(n), y);
    if (n->n_in > RESIDUAL) y = cg_onnx_binary(s, "Add", cg_onnx_value(s, n->in[RESIDUAL]), y);
    return cg_onnx_give(s, n->out[0], y);
}

const cg_op cg_op_linear = {
    .name = "linear",
    .min_in = 2,
    .max_in = 4,
    .n_out = 1,
    .attr_size = sizeof(linear_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .prepare = prepare,
    .run = run,
    .release = release,
    .pack = pack,
    .flops = flops,
    .onnx = onnx,
    .bf16_in = 1u << X | 1u << WEIGHT | 1u << RESIDUAL,
    .bf16_out = 1,
};

cg_epilogue cg_linear_epilogue(const cg_node *n) {
    return (cg_epilogue)((const linear_attr *)n->attr)->f;
}

cg_value *cg_linear(cg_graph *g, cg_value *x, cg_value *weight, cg_value *bias) {
    return cg_linear_with(g, x, weight, bias, CG_EPILOGUE_NONE, NULL);
}

cg_value *cg_linear_with(cg_graph *g, cg_value *x, cg_value *weight, cg_value *bias, cg_epilogue f,
                         cg_value *residual) {
    linear_attr attr = {f};
    return cg_node_add1(g, &cg_op_linear, &attr, 4, (cg_value *[]){x, weight, bias, residual});
}
