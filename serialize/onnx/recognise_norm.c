/* Layer norm, and rows of unit length:
 *   (x - m) / √(Σ (x - m)² / K + eps) · gain + bias,  m = Σ x / K
 *   x / √(Σ x² + eps)
 * over the last K elements. */
#include "ops/passes/rewrite.h"
#include "serialize/onnx/recognise.h"
#include "serialize/onnx/view.h"

/* The axes of a sum. */
static const cg_shape *axes_of(const cg_node *sum) {
    return (const cg_shape *)sum->attr; /* its first attribute */
}

/* If n sums the last axes away: how many elements. Else 0. */
static int64_t summed(const cg_node *n) {
    const cg_shape *axes = axes_of(n), *x = &n->in[0]->shape;
    int64_t count = 1;
    unsigned bits = 0;
    for (int i = 0; i < axes->rank; i++) bits |= 1u << axes->dim[i];
    for (int d = x->rank - 1; d >= 0 && bits >> d & 1; d--) {
        count *= x->dim[d];
        bits &= ~(1u << d);
    }
    return bits ? 0 : count;
}

/* Beside an operand of rows of K, v has one number a row. */
static int is_per_row(const cg_value *v, const cg_shape *out, int64_t k) {
    int64_t inner = 1;
    const cg_shape *s = &v->shape;
    if (cg_shape_count(s) * k != cg_shape_count(out)) return 0;
    for (int i = s->rank - 1, o = out->rank - 1; inner < k && i >= 0 && o >= 0; i--, o--) {
        if (s->dim[i] != 1) return 0;
        inner *= out->dim[o];
    }
    return inner == k;
}

/* The sum of the squares of x over K, where v is that; or NULL. */
static cg_node *squares(cg_value *v, const cg_value *x, int64_t *k) {
    cg_node *sum = cg_made_by(v, &cg_op_sum);
    cg_node *square = sum ? cg_made_by(sum->in[0], &cg_op_mul) : NULL;
    if (!square || cg_unshaped(square->in[0]) != x || cg_unshaped(square->in[1]) != x) return NULL;
    if (cg_shape_count(&square->out[0]->shape) != cg_shape_count(&x->shape)) return NULL; /* x xᵀ */
    *k = summed(sum);
    return *k > 1 ? sum : NULL;
}

/* v = x / K · … : what is divided. */
static cg_value *mean_of(cg_value *v, float *factor) {
    cg_node *n = cg_made_by(v, &cg_op_scale);
    return n ? cg_with_number(n, factor) : NULL;
}

static int is_inverse(float factor, int64_t k) {
    return factor * (float)k > 0.99999f && factor * (float)k < 1.00001f;
}

/* The operand of which d is the distance from its mean over K. */
static cg_value *centred(cg_value *d, int64_t k) {
    float factor;
    cg_node *sub = cg_made_by(d, &cg_op_sub);
    cg_value *sum = sub ? mean_of(sub->in[1], &factor) : NULL;
    cg_node *n = sum ? cg_made_by(sum, &cg_op_sum) : NULL;
    if (!n || summed(n) != k || !is_inverse(factor, k)) return NULL;
    if (!is_per_row(sub->in[1], &sub->out[0]->shape, k)) return NULL;
    return cg_unshaped(n->in[0]) == cg_unshaped(sub->in[0]) ? cg_unshaped(sub->in[0]) : NULL;
}

/* The fixed row [K] that the only reader of v, of that op, has beside it; *reader. */
static cg_value *row_behind(cg_graph *g, cg_value *v, const cg_op *op, int64_t k,
                            cg_node **reader) {
    *reader = cg_only_reader(g, v);
    if (!*reader || (*reader)->op != op) return NULL;
    cg_value *row = (*reader)->in[(*reader)->in[0] == v];
    const cg_shape *s = &row->shape;
    if (!cg_numbers(row, CG_F32, NULL) || s->rank < 1 || s->dim[s->rank - 1] != k ||
        cg_shape_count(s) != k)
        return NULL;
    return cg_shape_equal(&v->shape, &(*reader)->out[0]->shape) ? row : NULL;
}

static cg_value *rows(cg_graph *g, cg_value *x, int64_t k) {
    return cg_shaped(g, x, CG_SHAPE(cg_shape_count(&x->shape) / k, k));
}

static cg_value *vector(cg_graph *g, cg_value *v, int64_t k) {
    return cg_shaped(g, cg_unshaped(v), CG_SHAPE(k));
}

static int replace(cg_graph *g, cg_node *last, cg_value *y) {
    if (y) y = cg_shaped(g, y, last->out[0]->shape);
    if (!y) return 0;
    cg_value_replace(g, last->out[0], y);
    last->dead = 1;
    return 1;
}

static int layer_norm(cg_graph *g, cg_node *div) {
    float eps, factor;
    int64_t k;
    cg_value *d = cg_unshaped(div->in[0]);
    cg_node *root = cg_made_by(div->in[1], &cg_op_sqrt);
    cg_node *plus = root ? cg_made_by(root->in[0], &cg_op_add) : NULL;
    cg_value *var = plus ? cg_with_number(plus, &eps) : NULL;
    cg_value *sum = var ? mean_of(var, &factor) : NULL;
    if (!sum || !squares(sum, d, &k) || !is_inverse(factor, k) || !(eps >= 0)) return 0;
    cg_value *x = centred(d, k);
    cg_node *scale, *shift;
    if (!x || !is_per_row(div->in[1], &div->out[0]->shape, k)) return 0;
    cg_value *gain = row_behind(g, div->out[0], &cg_op_mul, k, &scale);
    cg_value *bias = gain ? row_behind(g, scale->out[0], &cg_op_add, k, &shift) : NULL;
    if (!bias) return 0;
    g->named = shift->name;
    return replace(g, shift,
                   cg_layer_norm(g, rows(g, x, k), vector(g, gain, k), vector(g, bias, k), eps));
}

/* The length may be repeated, and what is repeated have another shape: each number must then be
 * that of the row in whose place it is repeated. A row of zeros stays one, where a file has NaN. A
 * length that is held above a small number is left as it is: rows shorter than that are not of unit
 * length. */
static int l2norm(cg_graph *g, cg_node *div) {
    int64_t k;
    float eps = 0;
    cg_value *x = cg_unshaped(div->in[0]), *length = cg_unshaped(div->in[1]), *per_row = div->in[1];
    const cg_shape *out = &div->out[0]->shape, *beside = out;
    if (length->node && length->node->op == &cg_op_broadcast) {
        beside = &length->shape;
        per_row = length->node->in[0];
        length = cg_unshaped(per_row);
    }
    if (!length->node || length->node->op != &cg_op_sqrt) return 0;
    cg_value *sum = cg_unshaped(length->node->in[0]), *rest;
    if (sum->node && sum->node->op == &cg_op_add && (rest = cg_with_number(sum->node, &eps)))
        sum = rest;
    if (!squares(sum, x, &k) || !(eps >= 0)) return 0;
    if (!is_per_row(per_row, beside, k) || cg_shape_count(beside) != cg_shape_count(out)) return 0;
    g->named = div->name;
    return replace(g, div, cg_l2norm(g, rows(g, x, k), eps));
}

int cg_recognise_norm(cg_graph *g) {
    int rewrites = 0;
    for (int i = 0, n = g->n_node; i < n && g->status == CG_OK; i++) {
        cg_node *node = g->node[i];
        if (node->dead || node->op != &cg_op_div) continue;
        int done = layer_norm(g, node);
        rewrites += done ? done : l2norm(g, node);
    }
    return rewrites;
}
