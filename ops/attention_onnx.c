/* Attention in an ONNX file: MatMul, Softmax, MatMul over [sequence, head, row, column], of a
 * uniform batch. A key that is not seen has 10³⁰ taken from its scores, so a query that sees none
 * gives the mean of all values there, where ours gives 0. */
#include "ops/attention.h"

#include <stdlib.h>

static const float unseen = -1e30f;

typedef struct job {
    cg_onnx_sink *s;
    const cg_attention_attr *attr;
    cg_onnx_size sequences, queries, keys; /* the last two of each sequence */
} job;

/* [S · L, heads · d] -> [S, heads, L, d], or [S, L, d] of a single head. */
static cg_onnx_ref *by_head(const job *j, cg_onnx_ref *t, cg_onnx_size rows, int64_t width) {
    int64_t heads = j->attr->heads;
    cg_onnx_size h = cg_onnx_fixed(heads), d = cg_onnx_fixed(width / heads);
    if (heads == 1) return cg_onnx_reshape(j->s, t, 3, (cg_onnx_size[]){j->sequences, rows, d});
    if (cg_onnx_is(rows, 1))
        return cg_onnx_reshape(j->s, t, 4, (cg_onnx_size[]){j->sequences, h, rows, d});
    t = cg_onnx_reshape(j->s, t, 4, (cg_onnx_size[]){j->sequences, rows, h, d});
    return cg_onnx_transpose(j->s, t, CG_SHAPE(0, 2, 1, 3));
}

static cg_onnx_ref *rows_again(const job *j, cg_onnx_ref *t, int64_t width) {
    if (j->attr->heads > 1 && !cg_onnx_is(j->queries, 1))
        t = cg_onnx_transpose(j->s, t, CG_SHAPE(0, 2, 1, 3));
    cg_onnx_size rows = cg_onnx_times(j->sequences, j->queries);
    return cg_onnx_reshape(j->s, t, 2, (cg_onnx_size[]){rows, cg_onnx_fixed(width)});
}

/* The two last axes change places. */
static cg_onnx_ref *swapped(const job *j, cg_onnx_ref *t) {
    return cg_onnx_plain(
        j->s,
        cg_onnx_transpose(j->s, t, j->attr->heads == 1 ? CG_SHAPE(0, 2, 1) : CG_SHAPE(0, 1, 3, 2)));
}

static cg_onnx_ref *product(const job *j, cg_onnx_ref *a, cg_onnx_ref *b, cg_onnx_size m,
                            cg_onnx_size n) {
    cg_onnx_node call = {.op = "MatMul", .n_in = 2, .in = {cg_onnx_plain(j->s, a), b}};
    cg_onnx_size size[] = {j->sequences, cg_onnx_fixed(j->attr->heads), m, n};
    if (j->attr->heads > 1) return cg_onnx_make(j->s, &call, 4, size);
    size[1] = size[0];
    return cg_onnx_make(j->s, &call, 3, size + 1);
}

/* --- masks ------------------------------------------------------------------------------------ */

/* What is added to scores of keys after the query's own: [L, L], of a length known now. */
static cg_onnx_ref *causal_table(cg_onnx_sink *s, int64_t length) {
    float *x = calloc((size_t)(length * length) + 1, sizeof *x);
    if (!x)
        return cg_onnx_fail(
            s, cg_error(CG_ENOMEM, "no memory for a mask of %lld rows", (long long)length));
    for (int64_t i = 0; i < length; i++)
        for (int64_t k = i + 1; k < length; k++) x[i * length + k] = unseen;
    cg_onnx_ref *t = s->call->constant(s, CG_F32, &CG_SHAPE(length, length), x);
    free(x);
    return t;
}

static cg_onnx_ref *causal_mask(const job *j) {
    cg_onnx_sink *s = j->s;
    if (cg_onnx_is(j->keys, j->keys.factor)) return causal_table(s, j->keys.factor);
    cg_onnx_ref *place = cg_onnx_range(s, j->keys);
    cg_onnx_ref *row = cg_onnx_reshape(s, place, 2, (cg_onnx_size[]){j->keys, cg_onnx_fixed(1)});
    cg_onnx_ref *later = cg_onnx_binary(s, "Greater", place, row);
    cg_onnx_node call = {
        "Where", 3, {later, cg_onnx_scalar(s, unseen), cg_onnx_scalar(s, 0)}, {{0}}};
    return cg_onnx_like(s, &call, later);
}

/* key_mask [S · keys], 1 or 0 -> 0 or what is added, [S, (1,) 1, keys]. */
static cg_onnx_ref *key_mask(const job *j, cg_onnx_ref *mask) {
    cg_onnx_sink *s = j->s;
    cg_onnx_size one = cg_onnx_fixed(1), size[] = {j->sequences, one, one, j->keys};
    mask = cg_onnx_reshape(s, mask, 2, (cg_onnx_size[]){j->sequences, j->keys});
    mask = cg_onnx_binary(s, "Sub", cg_onnx_scalar(s, 1), mask);
    mask = cg_onnx_binary(s, "Mul", mask, cg_onnx_scalar(s, unseen));
    if (j->attr->heads > 1) return cg_onnx_reshape(s, mask, 4, size);
    size[1] = size[0];
    return cg_onnx_reshape(s, mask, 3, size + 1);
}

/* --- the op ----------------------------------------------------------------------------------- */

/* The sizes, of offsets that a uniform batch has. */
static cg_status read_sizes(job *j, const cg_node *n, const cg_attention_form *f) {
    cg_onnx_size sequences;
    if (!cg_onnx_segments(j->s, n->in[f->q_offset], &j->sequences, &j->queries) ||
        !cg_onnx_segments(j->s, n->in[f->k_offset], &sequences, &j->keys))
        return CG_EUNSUPPORTED;
    cg_onnx_size apart = j->queries;
    for (int i = 0; i < CG_ONNX_SYMBOLS; i++) apart.power[i] -= j->keys.power[i];
    if (!j->attr->causal || cg_onnx_is(apart, j->keys.factor)) return CG_OK;
    return cg_error(CG_EUNSUPPORTED, "a causal mask over as many keys as queries is wanted");
}

static cg_status attend(const job *j, const cg_node *n, const cg_attention_form *f,
                        cg_onnx_ref *const *qkv) {
    cg_onnx_sink *s = j->s;
    cg_onnx_ref *q = qkv[0];
    if (j->attr->scale != 1) q = cg_onnx_binary(s, "Mul", q, cg_onnx_scalar(s, j->attr->scale));
    q = by_head(j, q, j->queries, f->q_width);
    cg_onnx_ref *k = by_head(j, qkv[1], j->keys, f->q_width);
    cg_onnx_ref *v = cg_onnx_plain(s, by_head(j, qkv[2], j->keys, f->v_width));
    cg_onnx_ref *p = product(j, q, swapped(j, k), j->queries, j->keys);
    if (j->attr->causal) p = cg_onnx_binary(s, "Add", p, causal_mask(j));
    if (f->key_mask < n->n_in)
        p = cg_onnx_binary(s, "Add", p, key_mask(j, cg_onnx_value(s, n->in[f->key_mask])));
    cg_onnx_node softmax = {"Softmax", 1, {p}, {CG_ONNX_INT("axis", -1)}};
    p = cg_onnx_like(s, &softmax, p);
    cg_onnx_ref *o = product(j, p, v, j->queries, cg_onnx_fixed(f->v_width / j->attr->heads));
    return cg_onnx_give(s, n->out[0], rows_again(j, o, f->v_width));
}

cg_status cg_attention_onnx(cg_onnx_sink *s, const cg_node *n) {
    cg_attention_form f = cg_attention_form_of(n);
    job j = {.s = s, .attr = n->attr};
    cg_onnx_ref *qkv[3];
    CG_TRY(read_sizes(&j, n, &f));
    qkv[0] = cg_onnx_value(s, n->in[0]);
    if (f.fused) {
        CG_TRY(cg_onnx_split_rows(s, cg_onnx_rows(s, qkv[0]), 3, qkv));
    } else {
        qkv[1] = cg_onnx_value(s, n->in[f.k]);
        qkv[2] = cg_onnx_value(s, n->in[f.v]);
    }
    return attend(&j, n, &f, qkv);
}
