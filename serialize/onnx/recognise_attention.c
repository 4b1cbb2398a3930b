/* Attention that is spelt out: softmax(c q kᵀ + mask) v of matrices [B, rows, columns], B being
 * (sequences, heads). Queries, keys and values are traced back to the matrices whose columns they
 * are; factors on the way multiply c; a mask is the causal one, or hides keys, or both, which is
 * read in its numbers. Rows of the softmax are rows of the scores: only shapes that keep them lie
 * between. */
#include "ops/attention.h"
#include "ops/passes/rewrite.h"
#include "serialize/onnx/computed.h"
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
    cg_onnx_computed *computed;
    cg_mask mask;
    int of_run; /* it follows from the run's integers */
    int causal;
    cg_value *key_mask;
    sizes s;
    part q, k, v;
} found;

/* --- from the softmax up to the scores -------------------------------------------------------- */

/* The operand through which the scores come, of a sum with a mask, or a choice beside a low number;
 * *beside is the other: what is added, or chooses. */
static cg_value *past_mask(const found *f, const cg_node *n, cg_value **beside) {
    float low;
    if (n->op == &cg_op_add) {
        int at = cg_numbers(n->in[0], CG_F32, f->computed) != NULL;
        *beside = n->in[1 - at];
        return n->in[at];
    }
    *beside = n->in[0];
    int at = cg_one_number(cg_unshaped(n->in[1]), &low) ? 2 : 1;
    return n->in[at];
}

/* The operand of n through which the scores come; *scale is multiplied by a factor. */
static cg_value *above(const found *f, const cg_node *n, float *scale) {
    cg_value *beside;
    if (n->op == &cg_op_reshape) return n->in[0];
    if (n->op == &cg_op_add || n->op == &cg_op_select) return past_mask(f, n, &beside);
    if (n->op != &cg_op_scale) return NULL;
    *scale *= *(const float *)n->attr;
    return n->in[0];
}

static int find_scores(found *f) {
    cg_value *v = f->softmax->in[0];
    f->scale = 1;
    for (int steps = 0; v && v->node && steps < 12; steps++) {
        f->scores = v->node;
        if (v->node->op == &cg_op_matmul) return f->scale > 0;
        v = above(f, v->node, &f->scale);
    }
    return 0;
}

/* --- masks ------------------------------------------------------------------------------------ */

/* behind: the factor that stands between the mask and the softmax. */
static int add_part(found *f, const cg_node *n, float behind) {
    cg_value *beside, *scores = past_mask(f, n, &beside);
    cg_mask *m = &f->mask;
    cg_mask_part *p = &m->part[m->n];
    float low = 0;
    if (m->n == CG_MASK_PARTS || !(behind > 0)) return 0;
    *p = (cg_mask_part){.behind = behind};
    if (n->op == &cg_op_select) {
        p->seen_where_0 = scores == n->in[2];
        if (!cg_one_number(cg_unshaped(n->in[p->seen_where_0 ? 1 : 2]), &low)) return 0;
        if (!(low * behind <= CG_MASK_LOW)) return 0;
        p->chosen = cg_numbers(beside, CG_I32, f->computed);
    } else {
        p->added = cg_numbers(beside, CG_F32, f->computed);
    }
    m->n++;
    f->of_run |= cg_unshaped(beside)->kind == CG_VALUE_INPUT;
    return (p->added || p->chosen) &&
           cg_mask_strides(m, &beside->shape, &n->out[0]->shape, p->stride);
}

static int find_parts_of_mask(found *f) {
    float behind = 1;
    for (cg_value *v = f->softmax->in[0]; v->node != f->scores;) {
        const cg_node *n = v->node;
        v = above(f, n, &behind);
        if ((n->op == &cg_op_add || n->op == &cg_op_select) && !add_part(f, n, behind)) return 0;
    }
    return 1;
}

/* Keys of a mask whose numbers are known: a constant where it hides some. */
static int take_keys(cg_graph *g, found *f) {
    int64_t n = f->s.sequences * f->s.k;
    float *keys = malloc((size_t)n * sizeof *keys);
    int fits = keys && cg_mask_is_of_keys(&f->mask, f->causal, keys), some = 0;
    for (int64_t i = 0; fits && i < n; i++) some |= keys[i] == 0;
    if (some) f->key_mask = cg_constant(g, CG_F32, CG_SHAPE(n), keys);
    free(keys);
    return fits;
}

/* Is it of keys, causal or not? As it is known, or as it is in this run. */
static int is_of_keys(cg_graph *g, found *f, int causal) {
    f->causal = causal;
    if (cg_budget_walk(f->budget, cg_mask_steps(&f->mask, causal)) != CG_OK) return 0;
    if (!f->of_run) return take_keys(g, f);
    f->key_mask = cg_onnx_computed_keys(f->computed, g, &f->mask, causal);
    return f->key_mask != NULL;
}

static int find_mask(cg_graph *g, found *f) {
    const sizes *s = &f->s;
    int64_t n = s->sequences * s->k;
    f->mask = (cg_mask){.dim = {s->sequences, s->heads, s->q, s->k}};
    if (!find_parts_of_mask(f)) return 0;
    if (!f->mask.n) return 1;
    const cg_shape shape = CG_SHAPE(n); /* twice: causal, and not; or read, and a constant */
    if (cg_budget_hold(f->budget, "makes", &shape, n * 2 * (int64_t)sizeof(float)) != CG_OK)
        return 0;
    int by_query = 0;
    for (int i = 0; i < f->mask.n; i++) by_query |= f->mask.part[i].stride[2] != 0;
    return (by_query && s->q > 1 && is_of_keys(g, f, 1)) || is_of_keys(g, f, 0);
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

/* Is each row that the softmax sums over a row of the scores, and nothing repeated between? */
static int keeps_rows(const found *f) {
    const cg_shape *p = &f->softmax->out[0]->shape, *scores = &f->scores->out[0]->shape;
    return p->rank > 0 && p->dim[p->rank - 1] == scores->dim[scores->rank - 1] &&
           cg_shape_count(p) == cg_shape_count(scores);
}

static int find_parts(found *f) {
    const product *top = (const product *)f->product->attr, *low = (const product *)f->scores->attr;
    const cg_shape *scores = &f->scores->out[0]->shape;
    if (top->transpose_a || scores->rank != 3 || f->product->in[0]->shape.rank != 3) return 0;
    if (!cg_shape_equal(scores, &f->product->in[0]->shape) || !keeps_rows(f)) return 0;
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

/* The softmax behind v; a row of NaN may have become 0 on the way, as attention has it. */
static cg_node *find_softmax(cg_value *v) {
    float other;
    cg_node *select = cg_made_by(v, &cg_op_select);
    cg_node *is_nan = select ? cg_made_by(select->in[0], &cg_op_is_nan) : NULL;
    if (is_nan && cg_unshaped(is_nan->in[0]) == cg_unshaped(select->in[2]) &&
        cg_one_number(cg_unshaped(select->in[1]), &other) && other == 0 &&
        cg_shape_equal(&select->in[0]->shape, &select->in[2]->shape) &&
        cg_shape_count(&select->out[0]->shape) == cg_shape_count(&select->in[2]->shape))
        v = select->in[2];
    return cg_made_by(v, &cg_op_softmax);
}

static int rewrite(cg_graph *g, cg_node *node, cg_onnx_computed *computed, cg_budget *b) {
    found f = {
        .product = node, .softmax = find_softmax(node->in[0]), .computed = computed, .budget = b};
    if (!f.softmax || !find_scores(&f) || !find_parts(&f) || !find_mask(g, &f)) return 0;
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

int cg_recognise_attention(cg_graph *g, cg_onnx_computed *computed, cg_budget *b) {
    int rewrites = 0;
    for (int i = 0, n = g->n_node; i < n && g->status == CG_OK; i++)
        if (!g->node[i]->dead && g->node[i]->op == &cg_op_matmul)
            rewrites += rewrite(g, g->node[i], computed, b);
    return rewrites;
}
