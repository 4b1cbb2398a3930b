/* Transpositions and reshapes, one behind another, of which the last lies as its operand did. */
#include "ops/passes/rewrite.h"
#include "serialize/onnx/recognise.h"
#include "serialize/onnx/trace.h"

static int is_mover(const cg_node *n) {
    return n->op == &cg_op_reshape || n->op == &cg_op_transpose;
}

int cg_recognise_views(cg_graph *g) {
    int rewrites = 0;
    for (int i = 0, n = g->n_node; i < n && g->status == CG_OK; i++) {
        cg_node *node = g->node[i];
        if (node->dead || !is_mover(node) || !node->in[0]->node || !is_mover(node->in[0]->node))
            continue;
        cg_trace t = cg_trace_of(node->out[0], CG_TRACE_MOVES);
        if (t.base == node->out[0] || !cg_view_is_plain(&t.view)) continue;
        g->named = node->name;
        cg_value *v = cg_shaped(g, t.base, node->out[0]->shape);
        if (!v) return rewrites;
        if (v == t.base && cg_is_output(g, node->out[0]) && !v->node)
            continue; /* an input as it is */
        cg_value_replace(g, node->out[0], v);
        node->dead = 1;
        rewrites++;
    }
    return rewrites;
}
