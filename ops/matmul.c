/* matmul: the product of matrices, one for each place of the leading axes.
 *   c = op(a) · op(b),  op(m) = mᵀ where its transpose attribute is set, else m
 * shapes  op(a) [..., M, K], op(b) [..., K, N] -> c [..., M, N]; leading axes equal, no broadcast
 * vjp     da = dc · op(b)ᵀ, or its transpose op(b) · dcᵀ where a is transposed;
 *         db = op(a)ᵀ · dc, or dcᵀ · op(a) where b is transposed
 * errors  CG_ESHAPE: ranks below 2 or unequal, leading axes or K that differ. CG_EDTYPE: not f32 or
 *         bf16, or one of each
 * onnx    MatMul, with Transpose before it */
#include "ops/check.h"
#include "ops/dnn.h"
#include "ops/ops.h"

#include <string.h>

typedef struct matmul_attr {
    int64_t transpose_a, transpose_b;
} matmul_attr;

static const cg_attr_field fields[] = {
    CG_ATTR(matmul_attr, transpose_a, INT), CG_ATTR(matmul_attr, transpose_b, INT), {0}};

/* Sizes of operands that infer has accepted or is about to check. */
static cg_dnn_matmul sizes(const cg_node *n) {
    const matmul_attr *t = n->attr;
    const cg_shape *a = &n->in[0]->shape, *b = &n->in[1]->shape;
    int last = a->rank - 1;
    cg_dnn_matmul m = {.batch = 1,
                       .m = a->dim[t->transpose_a ? last : last - 1],
                       .k = a->dim[t->transpose_a ? last - 1 : last],
                       .n = b->dim[t->transpose_b ? last - 1 : last],
                       .transpose_a = t->transpose_a != 0,
                       .transpose_b = t->transpose_b != 0,
                       .a_type = n->in[0]->dtype,
                       .b_type = n->in[1]->dtype};
    for (int i = 0; i < last - 1; i++) m.batch *= a->dim[i];
    return m;
}

static cg_status infer(const cg_node *n, cg_type *out) {
    const matmul_attr *t = n->attr;
    const cg_shape *a = &n->in[0]->shape, *b = &n->in[1]->shape;
    char a_text[CG_SHAPE_TEXT], b_text[CG_SHAPE_TEXT];
    CG_TRY(cg_check_float(n, 0, "a"));
    CG_TRY(cg_check_float(n, 1, "b"));
    CG_TRY(cg_check_dtype(n->in[1], "b", n->in[0]->dtype));
    cg_shape_print(a, a_text);
    cg_shape_print(b, b_text);
    if (a->rank < 2 || a->rank != b->rank)
        return cg_error(CG_ESHAPE, "a is %s and b is %s, wanted equal ranks of 2 or more", a_text,
                        b_text);
    for (int i = 0; i < a->rank - 2; i++)
        if (a->dim[i] != b->dim[i])
            return cg_error(CG_ESHAPE, "a is %s and b is %s, wanted equal leading axes", a_text,
                            b_text);
    cg_dnn_matmul m = sizes(n);
    int64_t k = b->dim[t->transpose_b ? b->rank - 1 : b->rank - 2];
    if (m.k != k)
        return cg_error(CG_ESHAPE, "a %s%s has %lld columns, b %s%s has %lld rows", a_text,
                        m.transpose_a ? " transposed" : "", (long long)m.k, b_text,
                        m.transpose_b ? " transposed" : "", (long long)k);
    out[0] = (cg_type){CG_F32, *a};
    out[0].shape.dim[a->rank - 2] = m.m;
    out[0].shape.dim[a->rank - 1] = m.n;
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    const matmul_attr *t = n->attr;
    int ta = t->transpose_a != 0, tb = t->transpose_b != 0;
    cg_value *a = n->in[0], *b = n->in[1], *dc = dy[0];
    dx[0] = ta ? cg_matmul(g, b, dc, tb, 1) : cg_matmul(g, dc, b, 0, !tb);
    dx[1] = tb ? cg_matmul(g, dc, a, 1, ta) : cg_matmul(g, a, dc, !ta, 0);
}

static cg_status prepare(cg_prep *p) {
    cg_dnn_matmul m = sizes(p->node);
    m.c_type = p->node->out[0]->dtype;
    if (m.batch == 0 || m.m == 0 || m.n == 0 || m.k == 0) return CG_OK;
    cg_dnn *d;
    CG_TRY(cg_dnn_matmul_create(p->ctx, &m, &d));
    p->state = d;
    p->impl = cg_dnn_impl(d);
    p->scratch = cg_dnn_scratch(d);
    return CG_OK;
}

static cg_status run(const cg_task *t) {
    const cg_value *c = t->node->out[0];
    if (t->state)
        return cg_dnn_run(t->state,
                          &(cg_dnn_operands){
                              .a = t->in[0], .b = t->in[1], .c = t->out[0], .scratch = t->scratch});
    size_t count = (size_t)cg_shape_count(&c->shape); /* sums of nothing */
    if (count > 0) memset(t->out[0], 0, count * cg_dtype_size(c->dtype));
    return CG_OK;
}

static void release(void *state) {
    cg_dnn_free(state);
}

static int64_t flops(const cg_node *n) {
    cg_dnn_matmul m = sizes(n);
    return 2 * m.batch * m.m * m.n * m.k;
}

static cg_onnx_ref *operand(cg_onnx_sink *s, const cg_value *v, int64_t swap) {
    cg_shape axes = {.rank = v->shape.rank};
    for (int i = 0; i < axes.rank; i++) axes.dim[i] = i;
    axes.dim[axes.rank - 1] -= swap;
    axes.dim[axes.rank - 2] += swap;
    return cg_onnx_transpose(s, cg_onnx_value(s, v), axes);
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    const matmul_attr *attr = n->attr;
    const cg_value *y = n->out[0];
    cg_onnx_ref *a = operand(s, n->in[0], attr->transpose_a);
    cg_onnx_ref *b = operand(s, n->in[1], attr->transpose_b);
    if (y->shape.rank == 2) return cg_onnx_give(s, y, cg_onnx_product(s, a, b));
    cg_onnx_size size[CG_MAX_RANK];
    for (int i = 0; i < y->shape.rank; i++) size[i] = cg_onnx_size_of(s, y, i);
    cg_onnx_node product = {"MatMul", 2, {cg_onnx_plain(s, a), cg_onnx_plain(s, b)}, {{0}}};
    return cg_onnx_give(s, y, cg_onnx_make(s, &product, y->shape.rank, size));
}

const cg_op cg_op_matmul = {
    .name = "matmul",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .attr_size = sizeof(matmul_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .prepare = prepare,
    .run = run,
    .release = release,
    .flops = flops,
    .onnx = onnx,
    .bf16_in = 3,
    .bf16_out = 1,
};

cg_value *cg_matmul(cg_graph *g, cg_value *a, cg_value *b, int transpose_a, int transpose_b) {
    matmul_attr t = {transpose_a != 0, transpose_b != 0};
    return cg_node_add1(g, &cg_op_matmul, &t, 2, (cg_value *[]){a, b});
}
