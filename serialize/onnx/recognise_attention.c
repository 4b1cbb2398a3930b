/* Attention that is spelt out: softmax(c q kᵀ + mask) v of matrices [B, rows, columns], B being
 * (sequences, heads). Queries, keys and values are traced back to the matrices whose columns they
 * are; factors on the way multiply c; a mask is the causal one, or hides keys, or both. */
#include "ops/attention.h"
#include "ops/passes/rewrite.h"
#include "serialize/onnx/host.h"
#include "serialize/onnx/recognise.h"
#include "serialize/onnx/trace.h"

#include <stdlib.h>

typedef struct sizes {
    int64_t batch, sequences, heads, q, k, d, e;
} sizes;

/* One of q, k, v: columns [column, column + heads · size) of a matrix of rows `width` wide. */
typedef struct part {
    cg_trace trace; /* [B, rows, size] */
    int64_t rows, size, width, column;
} part;

typedef struct found {
    cg_budget *budget;
    cg_node *softmax, *scores, *product;
    float scale, scale_above; /* all of it, and what is behind the product */
    int q_is_turned;
    int causal;
    cg_value *key_mask;
    sizes s;
    part q, k, v;
} found;

/* --- masks ------------------------------------------------------------------------------------ */

/* How an operand of `add` lies beside the result, under another shape of that: along what it is
 * repeated it has a stride of 0. Returns 0 where that cannot be told by strides. */
static int lies_beside(const cg_value *operand, const cg_shape *out, const cg_shape *as,
                       cg_view *v) {
    int64_t stride[CG_MAX_RANK];
    cg_strides_broadcast(&operand->shape, out, stride);
    *v = (cg_view){.shape = *out};
    for (int d = 0; d < out->rank; d++)
        if (out->dim[d] > 1) v->atom[v->n++] = (cg_atom){out->dim[d], stride[d], d};
    return cg_view_reshape(v, as);
}

/* behind: the factor that stands between the mask and the softmax.
 *
 * Numbers that hide keys: all that a causal query does not see, and none that it sees; or none. */
static int is_known_mask(const cg_node *add, const cg_value *mask, float behind, found *f) {
    const float *x = cg_numbers(mask);
    const sizes *s = &f->s;
    const cg_shape *out = &add->out[0]->shape;
    cg_view v;
    int once = lies_beside(mask, out, &CG_SHAPE(s->batch, s->q, s->k), &v);
    once = once && cg_view_stride(&v, 0) == 0; /* the same for all */
    int64_t steps = (once ? 1 : s->batch) * s->q * s->k;
    if (!x || cg_budget_walk(f->budget, steps) != CG_OK) return 0;
    cg_strides w = cg_strides_over(out, 1);
    cg_strides_broadcast(&mask->shape, out, w.stride[0]);
    int causal = 0, all = 1, nothing = 1;
    for (int64_t i = 0; i < steps; i += s->k)
        for (int64_t j = 0; j < s->k; j++, cg_strides_step(&w)) {
            int hides = x[w.offset[0]] * behind <= -1e4f;
            int beyond = j > i / s->k % s->q + s->k - s->q;
            if (!hides && x[w.offset[0]] != 0) return 0;
            all &= hides == beyond;
            nothing &= !hides;
            causal |= hides;
        }
    f->causal |= causal;
    return all || nothing;
}

/* (m - 1) c for a large c: the m of each key, f32 [sequences · keys]; or NULL. */
static cg_value *hidden_keys(const cg_node *add, cg_value *mask, float behind, const sizes *s) {
    float c, one;
    cg_node *scale = cg_made_by(mask, &cg_op_scale);
    cg_node *minus = scale ? cg_made_by(scale->in[0], &cg_op_add) : NULL;
    cg_value *m = minus ? cg_with_number(minus, &one) : NULL;
    if (!m || !cg_with_number(scale, &c) || c * behind < 1e9f || one != -1) return NULL;
    if (cg_shape_count(&mask->shape) != s->sequences * s->k) return NULL;
    if (cg_shape_count(&m->shape) != s->sequences * s->k) return NULL;
    cg_view v;
    const cg_shape as = CG_SHAPE(s->sequences, s->heads, s->q, s->k);
    if (!lies_beside(mask, &add->out[0]->shape, &as, &v)) return NULL;
    const int64_t wanted[4] = {s->k, 0, 0, 1};
    for (int d = 0; d < 4; d++)
        if (as.dim[d] > 1 && cg_view_stride(&v, d) != wanted[d]) return NULL;
    return m;
}

static int is_mask(const cg_node *add, cg_value *mask, float behind, found *f) {
    if (is_known_mask(add, mask, behind, f)) return 1;
    if (f->key_mask) return 0;
    f->key_mask = hidden_keys(add, mask, behind, &f->s);
    return f->key_mask != NULL;
}

/* --- from the softmax up to the scores -------------------------------------------------------- */

/* The operand of n through which the scores come, if it can be told without the sizes. */
static cg_value *above(const cg_node *n, float *scale) {
    float c;
    if (n->op == &cg_op_reshape) return n->in[0];
    if (n->op == &cg_op_scale) {
        *scale *= *(const float *)n->attr;
        return n->in[0];
    }
    if (n->op != &cg_op_add) return NULL;
    for (int i = 0; i < 2; i++) { /* the larger one, and the one that is computed */
        const cg_value *other = n->in[1 - i];
        if (cg_numbers(other) || cg_with_number(n, &c) == n->in[i]) return n->in[i];
        if (cg_shape_count(&other->shape) < cg_shape_count(&n->in[i]->shape)) return n->in[i];
    }
    cg_node *m = cg_made_by(n->in[0], &cg_op_scale);
    return n->in[m && cg_made_by(m->in[0], &cg_op_add) ? 1 : 0];
}

static int find_scores(found *f) {
    cg_value *v = f->softmax->in[0];
    f->scale = 1;
    for (int steps = 0; v && v->node && steps < 12; steps++) {
        f->scores = v->node;
        if (v->node->op == &cg_op_matmul) return f->scale > 0;
        v = above(v->node, &f->scale);
    }
    return 0;
}

/* A mask that is added before a factor is multiplied, too. */
static int find_masks(found *f) {
    float behind = 1;
    for (cg_value *v = f->softmax->in[0]; v->node != f->scores;) {
        const cg_node *n = v->node;
        cg_value *next = above(n, &behind);
        if (n->op == &cg_op_add && !is_mask(n, n->in[n->in[0] == next], behind, f)) return 0;
        v = next;
    }
    return 1;
}

/* --- queries, keys and values ----------------------------------------------------------------- */

/* v, or v with its last two axes swapped, as [B, rows, size]. */
static part part_of(cg_value *v, int swap) {
    part p = {.trace = cg_trace_of(v, CG_TRACE_MOVES | CG_TRACE_SLICES | CG_TRACE_SCALES)};
    if (swap) cg_view_permute(&p.trace.view, (int[]){0, 2, 1});
    p.rows = p.trace.view.shape.dim[1];
    p.size = p.trace.view.shape.dim[2];
    return p;
}

/* Is head h of sequence s columns [h size, (h + 1) size) of rows s · rows …, in a matrix? */
static int lies(part *p, int64_t sequences, int64_t heads) {
    cg_view view = p->trace.view;
    const cg_shape *base = &p->trace.base->shape;
    cg_shape split = CG_SHAPE(sequences, heads, p->rows, p->size);
    int64_t stride[4];
    if (!cg_view_reshape(&view, &split)) return 0;
    for (int i = 0; i < 4; i++)
        if ((stride[i] = cg_view_stride(&view, i)) < 0) return 0;
    p->width = base->rank ? base->dim[base->rank - 1] : 1;
    if (p->rows > 1)
        p->width = stride[2];
    else if (sequences > 1)
        p->width = stride[0];
    p->column = p->width ? p->trace.offset % p->width : 0;
    return (p->size == 1 || stride[3] == 1) && (heads == 1 || stride[1] == p->size) &&
           (sequences == 1 || stride[0] == p->rows * p->width) && p->trace.offset == p->column &&
           p->column + heads * p->size <= p->width &&
           cg_shape_count(base) == sequences * p->rows * p->width;
}

/* The operand itself, which lies as [B, rows, size]: of one head. */
static part itself(cg_value *v) {
    part p = {.trace = {.base = v, .view = cg_view_of(&v->shape), .scale = 1}};
    p.rows = v->shape.dim[1];
    p.size = v->shape.dim[2];
    return p;
}

enum { MOST_HEADS = 1024 };

static int split_heads(found *f) {
    for (int64_t heads = f->s.batch < MOST_HEADS ? f->s.batch : MOST_HEADS; heads > 0; heads--) {
        if (f->s.batch % heads) continue;
        f->s.heads = heads;
        f->s.sequences = f->s.batch / heads;
        if (heads == 1 && !lies(&f->q, f->s.sequences, 1) && !f->q_is_turned) {
            f->q = itself(f->scores->in[0]); /* moved into place: by absorption, say */
            f->scale = f->scale_above * f->k.trace.scale;
        }
        if (lies(&f->q, f->s.sequences, heads) && lies(&f->k, f->s.sequences, heads) &&
            lies(&f->v, f->s.sequences, heads))
            return f->scale > 0;
    }
    return 0;
}

typedef struct product {
    int64_t transpose_a, transpose_b;
} product;

static int find_parts(found *f) {
    const product *top = (const product *)f->product->attr, *low = (const product *)f->scores->attr;
    const cg_shape *scores = &f->scores->out[0]->shape;
    if (top->transpose_a || scores->rank != 3 || f->product->in[0]->shape.rank != 3) return 0;
    if (!cg_shape_equal(scores, &f->product->in[0]->shape)) return 0;
    f->q = part_of(f->scores->in[0], low->transpose_a != 0);
    f->k = part_of(f->scores->in[1], low->transpose_b == 0);
    f->v = part_of(f->product->in[1], top->transpose_b != 0);
    f->scale_above = f->scale;
    f->q_is_turned = low->transpose_a != 0;
    f->scale *= f->q.trace.scale * f->k.trace.scale;
    if (f->v.trace.scale != 1 || !(f->scale > 0)) return 0;
    f->s = (sizes){.batch = scores->dim[0],
                   .q = scores->dim[1],
                   .k = scores->dim[2],
                   .d = f->q.size,
                   .e = f->v.size};
    return split_heads(f);
}

/* --- building --------------------------------------------------------------------------------- */

/* The columns of a part as a matrix of their own. */
static cg_value *matrix(cg_graph *g, const part *p, int64_t columns) {
    cg_value *base = cg_shaped(
        g, p->trace.base, CG_SHAPE(cg_shape_count(&p->trace.base->shape) / p->width, p->width));
    return p->width == columns ? base : cg_slice(g, base, 1, p->column, columns);
}

static int is_packed(const found *f) {
    int64_t width = f->s.heads * f->s.d;
    const cg_value *base = f->q.trace.base;
    return f->s.q == f->s.k && f->s.d == f->s.e && f->k.trace.base == base &&
           f->v.trace.base == base && f->q.width == 3 * width && f->q.column == 0 &&
           f->k.column == width && f->v.column == 2 * width;
}

/* The layer, with a bias, that makes a part's matrix for it alone. */
static const cg_node *layer_of(const cg_graph *g, const part *p) {
    const cg_node *n = p->trace.base->node;
    if (!n || n->op != &cg_op_linear || n->n_in != 3 || !cg_is_affine(n)) return NULL;
    return p->column == 0 && p->width == n->in[1]->shape.dim[0] && n->in[0]->shape.rank == 2 &&
                   !cg_is_output(g, n->out[0])
               ? n
               : NULL;
}

/* Three layers of one operand as one layer, and so one product; NULL: they are not that. */
static cg_value *packed(cg_graph *g, const found *f) {
    const cg_node *n[3] = {layer_of(g, &f->q), layer_of(g, &f->k), layer_of(g, &f->v)};
    cg_value *weight[3], *bias[3];
    int64_t width = f->s.heads * f->s.d;
    if (f->s.q != f->s.k || f->s.d != f->s.e) return NULL;
    for (int i = 0; i < 3; i++) {
        if (!n[i] || n[i]->in[0] != n[0]->in[0] || n[i]->in[1]->shape.dim[0] != width) return NULL;
        weight[i] = n[i]->in[1];
        bias[i] = n[i]->in[2];
    }
    return cg_linear(g, n[0]->in[0], cg_concat(g, 3, weight, 0), cg_concat(g, 3, bias, 0));
}

static cg_value *build(cg_graph *g, const found *f) {
    const sizes *s = &f->s;
    cg_attention_options o = {.heads = s->heads, .scale = f->scale, .causal = f->causal};
    if (f->key_mask) o.key_mask = cg_shaped(g, f->key_mask, CG_SHAPE(s->sequences * s->k));
    cg_value *k_offset = cg_offsets(g, f->budget, s->sequences, s->k), *qkv = NULL;
    if (is_packed(f))
        qkv = cg_shaped(g, f->q.trace.base, CG_SHAPE(s->sequences * s->q, f->q.width));
    else
        qkv = packed(g, f);
    if (qkv || g->status != CG_OK) return cg_attention_qkv(g, qkv, k_offset, o);
    return cg_attention(g, matrix(g, &f->q, s->heads * s->d), matrix(g, &f->k, s->heads * s->d),
                        matrix(g, &f->v, s->heads * s->e),
                        cg_offsets(g, f->budget, s->sequences, s->q), k_offset, o);
}

static int rewrite(cg_graph *g, cg_node *node, cg_budget *b) {
    found f = {.budget = b, .product = node, .softmax = cg_made_by(node->in[0], &cg_op_softmax)};
    if (!f.softmax || !find_scores(&f) || !find_parts(&f) || !find_masks(&f)) return 0;
    g->named = f.softmax->name;
    cg_value *o = build(g, &f);
    if (!o) return 0;
    /* where product stood, its result is [B, rows, e]: what turns it back is undone by views */
    const sizes *s = &f.s;
    o = cg_reshape(g, o, CG_SHAPE(s->sequences, s->q, s->heads, s->e));
    o = cg_transpose(g, o, CG_SHAPE(0, 2, 1, 3));
    o = cg_reshape(g, o, node->out[0]->shape);
    if (!o) return 0;
    cg_value_replace(g, node->out[0], o);
    node->dead = 1;
    return 1;
}

int cg_recognise_attention(cg_graph *g, cg_budget *b) {
    int rewrites = 0;
    for (int i = 0, n = g->n_node; i < n && g->status == CG_OK; i++)
        if (!g->node[i]->dead && g->node[i]->op == &cg_op_matmul)
            rewrites += rewrite(g, g->node[i], b);
    return rewrites;
}
