/* contrast: the two losses of a batch of pairs, over the rows and over the columns of the same
 * logits, become one op, so that these and their gradient are read and written once. */
#include "ops/passes/rewrite.h"
#include "ops/softmax_cross_entropy.h"

static int is_loss(const cg_node *n, int64_t axis) {
    return !n->dead && n->op == &cg_op_softmax_cross_entropy &&
           ((const cg_cross_entropy_attr *)n->attr)->axis == axis;
}

/* Is v there before node `id`, so that it cannot depend on it? */
static int is_before(const cg_value *v, int id) {
    return !v->node || v->node->id < id;
}

/* The loss over the columns of what `rows` looks at; both labels are known before either loss. */
static cg_node *other_axis(const cg_graph *g, const cg_node *rows) {
    for (int i = 0; i < g->n_node; i++) {
        cg_node *n = g->node[i];
        int first = n->id < rows->id ? n->id : rows->id;
        if (is_loss(n, 0) && n->in[0] == rows->in[0] && is_before(n->in[1], first) &&
            is_before(rows->in[1], first))
            return n;
    }
    return NULL;
}

static int rewrite(cg_graph *g, cg_node *rows) {
    cg_node *columns = other_axis(g, rows);
    if (!columns) return 0;
    g->named = rows->name;
    cg_contrastive_loss r =
        cg_contrastive_cross_entropy(g, rows->in[0], rows->in[1], columns->in[1]);
    if (!r.row_loss) return 0;
    cg_value_replace(g, rows->out[0], r.row_loss);
    cg_value_replace(g, rows->out[1], r.row_lse);
    cg_value_replace(g, columns->out[0], r.column_loss);
    cg_value_replace(g, columns->out[1], r.column_lse);
    rows->dead = columns->dead = 1;
    return 1;
}

int cg_pass_contrast(cg_graph *g) {
    int rewrites = 0;
    for (int i = 0, n = g->n_node; i < n && g->status == CG_OK; i++)
        if (is_loss(g->node[i], 1)) rewrites += rewrite(g, g->node[i]);
    return rewrites;
}
