/* attention: scaled dot-product attention of packed sequences, all heads.
 *   o = p v,  p = softmax(scale · q kᵀ) over the keys that a query sees
 * Sequence s has rows offset[s] … offset[s+1]-1. A query sees the keys of its sequence; where
 * causal, of Q queries and K keys, query i those up to number i + K - Q; not those whose key_mask
 * is 0.
 * shapes  q [Rq, heads·d], k [Rk, heads·d], v [Rk, heads·e] f32; q_offset, k_offset i32 [S+1];
 *         key_mask f32 [Rk] or absent -> o [Rq, heads·e]; lse [Rq, heads], the log-sum-exp of the
 *         scores, for the gradient. Queries of no sequence, or that see no key, give o 0 and lse 0.
 * attr    heads: int; scale: float; causal: int
 * vjp     attention_grad, below, for q, k and v
 * errors  CG_ESHAPE, CG_EDTYPE; CG_EINVAL: heads; a run: offsets that fall or leave the rows
 * onnx    of sequences of one length: Mul, Reshape, Transpose, MatMul, Add (masks), Softmax,
 *         MatMul; a query that sees no key gives the mean of values (attention_onnx.c)
 * source  Vaswani et al., arXiv:1706.03762, eq. 1
 *
 * attention_grad: its gradient; p is computed again from lse.
 *   p = e^(scale · q kᵀ - lse),  dv = pᵀ do,  ds = scale · p ∘ (do vᵀ - Σ_e do ∘ o)
 *   dq = ds k,  dk = dsᵀ q
 * shapes  q, k, v, q_offset, k_offset, o, lse, do, key_mask or absent -> dq, dk, dv as q, k, v
 *
 * attention_run.c runs both. */
#include "ops/attention.h"
#include "ops/segment.h"

#include <string.h>

const cg_attr_field cg_attention_fields[] = {CG_ATTR(cg_attention_attr, heads, INT),
                                             CG_ATTR(cg_attention_attr, scale, FLOAT),
                                             CG_ATTR(cg_attention_attr, causal, INT),
                                             {0}};

/* --- the two forms ---------------------------------------------------------------------------- */

cg_attention_form cg_attention_operands(const cg_node *n) {
    const cg_attention_attr *attr = n->attr;
    cg_attention_form f = {
        .k = 1, .v = 2, .q_offset = 3, .k_offset = 4, .o = 5, .heads = attr->heads};
    f.grad = n->op == &cg_op_attention_grad || n->op == &cg_op_attention_qkv_grad;
    f.fused = n->op == &cg_op_attention_qkv || n->op == &cg_op_attention_qkv_grad;
    if (f.fused) {
        f.k = f.v = 0;
        f.q_offset = f.k_offset = 1;
        f.o = 2;
    }
    f.key_mask = f.o + (f.grad ? 3 : 0);
    return f;
}

/* Of a node whose operands are as they should be. */
cg_attention_form cg_attention_form_of(const cg_node *n) {
    cg_attention_form f = cg_attention_operands(n);
    int parts = f.fused ? 3 : 1;
    f.q_rows = n->in[0]->shape.dim[0];
    f.k_rows = n->in[f.k]->shape.dim[0];
    f.q_width = n->in[0]->shape.dim[1] / parts;
    f.v_width = n->in[f.v]->shape.dim[1] / parts;
    f.sequences = n->in[f.q_offset]->shape.dim[0] - 1;
    return f;
}

/* --- types ------------------------------------------------------------------------------------ */

static cg_status check_matrix(const cg_node *n, int i, const char *name, int64_t heads, int parts) {
    char text[CG_SHAPE_TEXT];
    const cg_value *x = n->in[i];
    CG_TRY(cg_check_float(n, i, name));
    CG_TRY(cg_check_dtype(x, name, n->in[0]->dtype)); /* all as q is */
    CG_TRY(cg_check_rank(x, name, 2));
    int64_t columns = x->shape.dim[1];
    if (columns == 0 || columns % heads != 0 || columns / heads % parts != 0)
        return cg_error(CG_ESHAPE, "%s is %s: %lld columns do not divide among %s%lld heads", name,
                        cg_shape_print(&x->shape, text), (long long)columns,
                        parts > 1 ? "q, k and v of " : "", (long long)heads);
    return CG_OK;
}

static cg_status check_separate(const cg_node *n, int64_t heads) {
    cg_value *const *in = n->in;
    char text[CG_SHAPE_TEXT], other[CG_SHAPE_TEXT];
    const cg_value *q = in[0], *k = in[1], *v = in[2];
    CG_TRY(check_matrix(n, 0, "q", heads, 1));
    CG_TRY(check_matrix(n, 1, "k", heads, 1));
    CG_TRY(check_matrix(n, 2, "v", heads, 1));
    CG_TRY(cg_check_offset(in[3], "q_offset"));
    CG_TRY(cg_check_offset(in[4], "k_offset"));
    if (q->shape.dim[1] != k->shape.dim[1])
        return cg_error(CG_ESHAPE, "q is %s and k is %s, wanted equal columns",
                        cg_shape_print(&q->shape, text), cg_shape_print(&k->shape, other));
    if (k->shape.dim[0] != v->shape.dim[0])
        return cg_error(CG_ESHAPE, "k is %s and v is %s, wanted equal rows",
                        cg_shape_print(&k->shape, text), cg_shape_print(&v->shape, other));
    if (!cg_shape_equal(&in[3]->shape, &in[4]->shape))
        return cg_error(CG_ESHAPE, "q_offset is %s and k_offset is %s, wanted equal lengths",
                        cg_shape_print(&in[3]->shape, text), cg_shape_print(&in[4]->shape, other));
    return CG_OK;
}

static cg_status check_mask(const cg_value *x, int64_t rows) {
    char text[CG_SHAPE_TEXT];
    CG_TRY(cg_check_dtype(x, "key_mask", CG_F32));
    if (x->shape.rank != 1 || x->shape.dim[0] != rows)
        return cg_error(CG_ESHAPE, "key_mask is %s, wanted [%lld], one for each row of keys",
                        cg_shape_print(&x->shape, text), (long long)rows);
    return CG_OK;
}

cg_status cg_attention_infer(const cg_node *n, cg_type *out) {
    static const char *const name[] = {"o", "lse", "do"};
    cg_attention_form f = cg_attention_operands(n);
    if (f.heads < 1)
        return cg_error(CG_EINVAL, "heads is %lld, wanted 1 or more", (long long)f.heads);
    if (f.fused) {
        CG_TRY(check_matrix(n, 0, "qkv", f.heads, 3));
        CG_TRY(cg_check_offset(n->in[1], "offset"));
    } else {
        CG_TRY(check_separate(n, f.heads));
    }
    f = cg_attention_form_of(n);
    if (n->n_in > f.key_mask) CG_TRY(check_mask(n->in[f.key_mask], f.k_rows));
    cg_shape o = CG_SHAPE(f.q_rows, f.v_width), lse = CG_SHAPE(f.q_rows, f.heads);
    out[0] = (cg_type){CG_F32, o};
    if (!f.grad) {
        out[1] = (cg_type){CG_F32, lse};
        return CG_OK;
    }
    for (int i = 0; i < 3; i++) {
        const cg_value *x = n->in[f.o + i];
        int typed = x->dtype == CG_F32 || (i != 1 && x->dtype == CG_BF16);
        if (!typed || !cg_shape_equal(&x->shape, i == 1 ? &lse : &o))
            return cg_error(CG_ESHAPE, "%s is not of the result's shape and type", name[i]);
    }
    for (int i = 0; i < n->op->n_out; i++) out[i] = (cg_type){CG_F32, n->in[i]->shape};
    return CG_OK;
}

/* --- cost ------------------------------------------------------------------------------------- */

/* Pairs of a query and a key that it sees, of one sequence. */
static double pairs_of(double queries, double keys, int causal) {
    if (!causal) return queries * keys;
    double least = queries < keys ? queries : keys; /* queries that see a key */
    return least * (keys - least) + least * (least + 1) / 2;
}

/* Exact where the graph knows the offsets, else as if all sequences were of equal length; a key
 * mask is taken to hide none. */
double cg_attention_pairs(const cg_node *n, const cg_attention_form *f) {
    const cg_attention_attr *attr = n->attr;
    const int32_t *q = n->in[f->q_offset]->data, *k = n->in[f->k_offset]->data;
    double sum = 0, sequences = (double)f->sequences;
    if (f->sequences == 0) return 0;
    if (!q || !k)
        return sequences * pairs_of((double)f->q_rows / sequences, (double)f->k_rows / sequences,
                                    attr->causal != 0);
    for (int64_t s = 0; s < f->sequences; s++)
        sum += pairs_of((double)(q[s + 1] - q[s]), (double)(k[s + 1] - k[s]), attr->causal != 0);
    return sum;
}

int64_t cg_attention_flops(const cg_node *n) {
    cg_attention_form f = cg_attention_form_of(n);
    return (int64_t)(2 * cg_attention_pairs(n, &f)) * (f.q_width + f.v_width) * (f.grad ? 2 : 1);
}

/* --- the gradient's node ---------------------------------------------------------------------- */

void cg_attention_vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    cg_attention_form f = cg_attention_operands(n);
    cg_value *in[9];
    if (dy[1]) {
        cg_graph_fail(g, cg_error(CG_EUNSUPPORTED, "%s: %s: the gradient of lse is not supported",
                                  n->name, n->op->name));
        return;
    }
    memcpy(in, n->in, (size_t)f.o * sizeof *in);
    in[f.o] = n->out[0];
    in[f.o + 1] = n->out[1];
    in[f.o + 2] = dy[0];
    in[f.o + 3] = n->n_in > f.key_mask ? n->in[f.key_mask] : NULL;
    const cg_op *op = f.fused ? &cg_op_attention_qkv_grad : &cg_op_attention_grad;
    cg_node *grad = cg_node_add(g, op, n->attr, f.o + 4, in);
    for (int i = 0; grad && i < op->n_out; i++) dx[i] = grad->out[i];
}

/* --- separate operands ------------------------------------------------------------------------ */

const cg_op cg_op_attention = {
    .name = "attention",
    .min_in = 5,
    .max_in = 6,
    .n_out = 2,
    .attr_size = sizeof(cg_attention_attr),
    .attr = cg_attention_fields,
    .infer = cg_attention_infer,
    .vjp = cg_attention_vjp,
    .prepare = cg_attention_prepare,
    .run = cg_attention_run,
    .flops = cg_attention_flops,
    .onnx = cg_attention_onnx,
    .bf16_in = 7,
    .bf16_out = 1,
};

const cg_op cg_op_attention_grad = {
    .name = "attention_grad",
    .min_in = 8,
    .max_in = 9,
    .n_out = 3,
    .attr_size = sizeof(cg_attention_attr),
    .attr = cg_attention_fields,
    .infer = cg_attention_infer,
    .prepare = cg_attention_prepare,
    .run = cg_attention_run,
    .flops = cg_attention_flops,
    .bf16_in = 7 | 1u << 5 | 1u << 7,
    .bf16_out = 7,
};

cg_attention_attr cg_attention_attr_of(const cg_attention_options *options) {
    cg_attention_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.heads = options->heads;
    attr.scale = options->scale;
    attr.causal = options->causal != 0;
    return attr;
}

cg_value *cg_attention(cg_graph *g, cg_value *q, cg_value *k, cg_value *v, cg_value *q_offset,
                       cg_value *k_offset, cg_attention_options options) {
    cg_attention_attr attr = cg_attention_attr_of(&options);
    return cg_node_add1(g, &cg_op_attention, &attr, 6,
                        (cg_value *[]){q, k, v, q_offset, k_offset, options.key_mask});
}
