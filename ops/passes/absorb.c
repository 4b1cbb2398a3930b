/* absorb: projections of keys and values that one query a sequence asks for.
 *
 * Where each sequence has a single query, its head h needs of keys W_k x_j and values W_v x_j only
 *     q_h · W_k,h x_j = (W_k,hᵀ q_h) · x_j   and   Σ_j p_j W_v,h x_j = W_v,h Σ_j p_j x_j,
 * so the projections move to the query's side and work on one row a sequence instead of all: the
 * heads' queries, as wide as x, attend to x itself. A bias of the keys adds the same to all scores
 * of a query and falls out of the softmax; one of the values is added once, the p_j being 1
 * together. Exact but for rounding, in both directions; of the two projections' cost 1 / keys +
 * 1 / d remains. Serves attention pooling, and a tower's last block after `rows`.
 *
 * source  Multi-head latent attention, arXiv:2405.04434, section 2.1.2, absorbs the same way */
#include "ops/attention.h"
#include "ops/passes/rewrite.h"

/* The linear layer that makes v for this node alone, of as many rows as v, or NULL. */
static const cg_node *projection(const cg_graph *g, const cg_value *v) {
    const cg_node *n = v->node;
    if (!n || n->op != &cg_op_linear || cg_readers(g, v) != 1 || cg_is_output(g, v)) return NULL;
    return n->in[0]->shape.rank == 2 && cg_is_affine(n) ? n : NULL;
}

/* Each of the queries is a sequence of its own, and there are no others. */
static int are_single(const cg_value *q, const cg_value *offset) {
    const int32_t *x = offset->data;
    if (offset->kind != CG_VALUE_CONSTANT || offset->shape.dim[0] != q->shape.dim[0] + 1) return 0;
    for (int64_t i = 0; i < offset->shape.dim[0]; i++)
        if (x[i] != i) return 0;
    return 1;
}

/* Every query sees a key: otherwise its result is 0, and takes no bias. Offsets that a run gives
 * come with a row chosen of each sequence (segment_prefix), which is among the keys. */
static int none_is_blind(const cg_node *n) {
    const cg_value *offset = n->in[4], *mask = n->n_in > 5 ? n->in[5] : NULL;
    const int32_t *x = offset->data;
    if (mask)
        return mask->node && mask->node->op == &cg_op_segment_prefix && mask->node->in[1] == offset;
    if (offset->kind != CG_VALUE_CONSTANT) return 0;
    for (int64_t s = 0; s + 1 < offset->shape.dim[0]; s++)
        if (x[s] == x[s + 1]) return 0;
    return 1;
}

/* x [S, heads·a] times each head's own matrix [heads, a, b], or [heads, b, a] transposed ->
 * [S, heads·b] */
static cg_value *per_head(cg_graph *g, cg_value *x, cg_value *matrix, int transpose) {
    if (!x || !matrix) return NULL;
    const cg_shape *m = &matrix->shape;
    int64_t heads = m->dim[0], s = x->shape.dim[0], a = m->dim[transpose ? 2 : 1];
    const cg_shape swap = CG_SHAPE(1, 0, 2);
    x = cg_transpose(g, cg_reshape(g, x, CG_SHAPE(s, heads, a)), swap);
    x = cg_transpose(g, cg_matmul(g, x, matrix, 0, transpose), swap);
    return cg_reshape(g, x, CG_SHAPE(s, heads * m->dim[transpose ? 1 : 2]));
}

static cg_value *absorbed(cg_graph *g, const cg_node *n, const cg_node *k, const cg_node *v) {
    const cg_attention_attr *attr = n->attr;
    cg_value *x = k->in[0], *q = n->in[0];
    int64_t heads = attr->heads, s = q->shape.dim[0], c = x->shape.dim[1];
    int64_t d = q->shape.dim[1] / heads, e = v->out[0]->shape.dim[1] / heads;
    q = per_head(g, q, cg_reshape(g, k->in[1], CG_SHAPE(heads, d, c)), 0);
    cg_value *o = cg_attention(
        g, cg_reshape(g, q, CG_SHAPE(s * heads, c)), x, x, cg_i32_range(g, s + 1, heads), n->in[4],
        (cg_attention_options){
            .heads = 1, .scale = attr->scale, .key_mask = n->n_in > 5 ? n->in[5] : NULL});
    o = per_head(g, cg_reshape(g, o, CG_SHAPE(s, heads * c)),
                 cg_reshape(g, v->in[1], CG_SHAPE(heads, e, c)), 1);
    return v->n_in == 3 ? cg_add(g, o, v->in[2]) : o;
}

static int absorb(cg_graph *g, cg_node *n) {
    const cg_node *k = projection(g, n->in[1]), *v = projection(g, n->in[2]);
    const cg_attention_attr *attr = n->attr;
    if (!k || !v || k->in[0] != v->in[0] || !are_single(n->in[0], n->in[3])) return 0;
    if (!none_is_blind(n)) return 0;
    if (cg_readers(g, n->out[1]) > 0 || cg_is_output(g, n->out[1])) return 0;
    int64_t s = n->in[0]->shape.dim[0], rows = k->in[0]->shape.dim[0];
    int64_t d = n->in[0]->shape.dim[1] / attr->heads;
    if (s == 0 || rows * (d - 1) <= s * d) return 0; /* the rows per query are too few to gain */
    g->named = n->name;
    cg_value *o = absorbed(g, n, k, v);
    if (!o) return 0;
    cg_value_replace(g, n->out[0], o);
    n->dead = 1;
    return 1;
}

int cg_pass_absorb(cg_graph *g) {
    int rewrites = 0;
    for (int i = 0, n = g->n_node; i < n && g->status == CG_OK; i++)
        if (g->node[i]->op == &cg_op_attention) rewrites += absorb(g, g->node[i]);
    return rewrites;
}
