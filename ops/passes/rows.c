/* rows: only what is asked for. A selection of rows (gather) moves up through ops that treat each
 * row by itself, so that they work on the selected rows alone: after a tower's last attention, on
 * one row a sequence. Through self-attention it splits the in-projection: queries are made of the
 * selected rows, keys and values of all. Gradients follow, because the pass runs before them. */
#include "ops/attention.h"
#include "ops/passes/rewrite.h"

/* Row r of the result depends on row r of those operands that have rows, and on nothing else. */
static int is_rowwise(const cg_op *op) {
    static const cg_op *const list[] = {
        &cg_op_add,        &cg_op_sub,       &cg_op_mul,      &cg_op_div,    &cg_op_scale,
        &cg_op_layer_norm, &cg_op_l2norm,    &cg_op_rms_norm, &cg_op_linear, &cg_op_gelu,
        &cg_op_gelu_tanh,  &cg_op_quickgelu, &cg_op_relu,     &cg_op_silu,   &cg_op_sigmoid,
        &cg_op_tanh,       &cg_op_exp,       &cg_op_cast,     NULL};
    for (int i = 0; list[i]; i++)
        if (list[i] == op) return 1;
    return 0;
}

/* An operand of rows, as against one that is the same for all of them: a bias, a weight. */
static int has_rows(const cg_node *n, int i) {
    if (n->op == &cg_op_linear) return i == 0 || i == 3;
    if (n->op == &cg_op_layer_norm || n->op == &cg_op_rms_norm) return i == 0;
    return cg_shape_equal(&n->in[i]->shape, &n->out[0]->shape);
}

/* All operands are matrices of such rows, or are repeated for each. */
static int operands_fit(const cg_node *n) {
    for (int i = 0; i < n->n_in; i++) {
        const cg_shape *s = &n->in[i]->shape;
        int repeated = s->rank < 2 || (s->rank == 2 && s->dim[0] == 1);
        if (n->op == &cg_op_linear && i == 1) continue;
        if (!repeated && !has_rows(n, i)) return 0;
    }
    return n->out[0]->shape.rank == 2 && n->in[0]->shape.rank == 2;
}

/* Nobody wants other rows of v than those that `index` selects, nor other results of its node. */
static int only_selected(const cg_graph *g, const cg_value *v, const cg_value *index) {
    const cg_node *maker = v->node;
    for (int k = 0; k < maker->n_out; k++) {
        if (cg_is_output(g, maker->out[k])) return 0;
        for (int i = 0; i < g->n_node; i++) {
            const cg_node *n = g->node[i];
            for (int j = 0; j < n->n_in; j++)
                if (n->in[j] == maker->out[k] && !n->dead &&
                    (k > 0 || n->op != &cg_op_gather || j != 0 || n->in[1] != index))
                    return 0;
        }
    }
    return v->index == 0;
}

/* --- through rows ----------------------------------------------------------------------------- */

static cg_value *through_rowwise(cg_graph *g, const cg_node *n, cg_value *index) {
    cg_value *in[8];
    if (!is_rowwise(n->op) || n->n_in > 8 || !operands_fit(n)) return NULL;
    for (int i = 0; i < n->n_in; i++)
        in[i] = has_rows(n, i) ? cg_gather(g, n->in[i], index) : n->in[i];
    return cg_node_add1(g, n->op, n->attr, n->n_in, in);
}

/* --- through self-attention ------------------------------------------------------------------- */

/* Row index_s is one of segment s, for each s. *last: it is the last one. */
static int one_of_each(const cg_value *index, const cg_value *offset, int *last) {
    const cg_node *n = index->node;
    int64_t segments = offset->shape.dim[0] - 1;
    *last = 0;
    if (index->shape.dim[0] != segments) return 0;
    if (n && n->op == &cg_op_end_token) return n->in[1] == offset;
    if (index->kind != CG_VALUE_CONSTANT || offset->kind != CG_VALUE_CONSTANT) return 0;
    const int32_t *row = index->data, *begin = offset->data;
    *last = 1;
    for (int64_t s = 0; s < segments; s++) {
        if (row[s] < begin[s] || row[s] >= begin[s + 1]) return 0;
        *last &= row[s] == begin[s + 1] - 1;
    }
    return 1;
}

/* Part `part` of three of a linear layer of x. */
static cg_value *third(cg_graph *g, const cg_node *linear, cg_value *x, int part) {
    cg_value *weight = linear->in[1], *bias = linear->n_in == 3 ? linear->in[2] : NULL;
    int64_t width = weight->shape.dim[0] / 3;
    weight = cg_slice(g, weight, 0, part * width, width);
    if (bias) bias = cg_slice(g, bias, 0, part * width, width);
    return cg_linear(g, x, weight, bias);
}

static cg_value *through_attention(cg_graph *g, const cg_node *n, cg_value *index) {
    const cg_attention_attr *attr = n->attr;
    cg_value *qkv = n->in[0], *offset = n->in[1], *mask = n->n_in == 3 ? n->in[2] : NULL;
    const cg_node *project = qkv->node;
    int last;
    if (n->op != &cg_op_attention_qkv || !project || project->op != &cg_op_linear ||
        !cg_is_affine(project) || cg_readers(g, qkv) != 1 || cg_is_output(g, qkv) ||
        !one_of_each(index, offset, &last))
        return NULL;
    int64_t segments = index->shape.dim[0];
    if (attr->causal && !last) {
        cg_value *seen = cg_segment_prefix(g, index, offset, qkv->shape.dim[0]);
        mask = mask ? cg_mul(g, mask, seen) : seen;
    }
    cg_value *x = project->in[0], *q = third(g, project, cg_gather(g, x, index), 0);
    return cg_attention(
        g, q, third(g, project, x, 1), third(g, project, x, 2), cg_i32_range(g, segments + 1, 1),
        offset,
        (cg_attention_options){.heads = attr->heads, .scale = attr->scale, .key_mask = mask});
}

/* One step up: `n` selects what its maker is then asked for. */
static int move_up(cg_graph *g, cg_node *n) {
    cg_node *maker = n->in[0]->node;
    if (!maker || !only_selected(g, n->in[0], n->in[1])) return 0;
    g->named = maker->name;
    cg_value *y = through_rowwise(g, maker, n->in[1]);
    if (!y) y = through_attention(g, maker, n->in[1]);
    if (!y) return 0;
    for (int i = 0; i < g->n_node; i++) { /* all that select these rows read them here */
        cg_node *same = g->node[i];
        if (same->op != &cg_op_gather || same->in[0] != maker->out[0]) continue;
        cg_value_replace(g, same->out[0], y);
        same->dead = 1;
    }
    maker->dead = 1;
    return 1;
}

int cg_pass_rows(cg_graph *g) {
    int rewrites = 0;
    for (int i = 0; i < g->n_node && g->status == CG_OK; i++) { /* those appended, too */
        if (g->node[i]->dead || g->node[i]->op != &cg_op_gather) continue;
        rewrites += move_up(g, g->node[i]);
    }
    return rewrites;
}
