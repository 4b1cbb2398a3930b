/* batch_norm: makes one op of a batch norm, the residual added to it and the relu behind them:
 *   relu(batch_norm(x)) and relu(batch_norm(x) + residual)
 * where nothing else reads what lies between. Of two norms that are added, the first takes the
 * other as its residual. */
#include "ops/batch_norm.h"
#include "ops/passes/rewrite.h"

/* The node that makes v for one reader, if it is of that op and v is its first result. */
static cg_node *maker(const cg_graph *g, const cg_value *v, const cg_op *op) {
    if (!v->node || v->node->op != op || v->index != 0) return NULL;
    return cg_readers(g, v) == 1 && !cg_is_output(g, v) ? v->node : NULL;
}

/* The norm that makes v, if it is one, without relu and residual, and nothing else reads v. */
static cg_node *norm_of(const cg_graph *g, const cg_value *v) {
    cg_node *n = maker(g, v, &cg_op_batch_norm);
    if (!n || n->n_in > 3 || ((const cg_batch_norm_attr *)n->attr)->relu) return NULL;
    return n;
}

static int rewrite(cg_graph *g, cg_node *relu) {
    const cg_value *v = relu->in[0];
    cg_node *sum = maker(g, v, &cg_op_add), *norm = NULL;
    cg_value *residual = NULL;
    for (int k = 0; sum && !norm && k < 2; k++) {
        norm = norm_of(g, sum->in[k]);
        residual = sum->in[1 - k];
    }
    if (!sum) norm = norm_of(g, v);
    if (!norm || (residual && !cg_shape_equal(&residual->shape, &norm->in[0]->shape))) return 0;
    g->named = norm->name;
    cg_batch_norm_result r = cg_batch_norm_with(
        g, norm->in[0], norm->in[1], norm->in[2],
        (cg_batch_norm_options){
            .eps = ((const cg_batch_norm_attr *)norm->attr)->eps, .relu = 1, .residual = residual});
    if (!r.y) return 0;
    cg_value_replace(g, relu->out[0], r.y);
    cg_value_replace(g, norm->out[1], r.mean);
    cg_value_replace(g, norm->out[2], r.var);
    relu->dead = norm->dead = 1;
    if (sum) sum->dead = 1;
    return 1;
}

int cg_pass_batch_norm(cg_graph *g) {
    int rewrites = 0;
    for (int i = 0, n = g->n_node; i < n && g->status == CG_OK; i++)
        if (g->node[i]->op == &cg_op_relu) rewrites += rewrite(g, g->node[i]);
    return rewrites;
}
