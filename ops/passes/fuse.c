/* fuse: what follows a linear layer is done while its result is in registers: an activation whose
 * operand nobody else reads (in training its gradient does), and the residual added to it. */
#include "ops/passes/rewrite.h"

static cg_epilogue epilogue_of(const cg_op *op) {
#define X(NAME, name, from_result)                                                                 \
    if (op == &cg_op_##name) return CG_EPILOGUE_##NAME;
    CG_EPILOGUE_LIST(X)
#undef X
    return CG_EPILOGUE_NONE;
}

/* The linear layer that makes v for n alone, if nothing has been fused to it that must come later;
 * or NULL. */
static const cg_node *layer(const cg_graph *g, const cg_value *v, const cg_node *n) {
    const cg_node *linear = v->node;
    if (!linear || linear->op != &cg_op_linear || linear->n_in > 3) return NULL;
    return cg_only_reader(g, v) == n ? linear : NULL;
}

static cg_value *with_activation(cg_graph *g, const cg_node *n) {
    cg_epilogue f = epilogue_of(n->op);
    const cg_node *linear = f ? layer(g, n->in[0], n) : NULL;
    if (!linear || cg_linear_epilogue(linear)) return NULL;
    if (f == CG_EPILOGUE_RELU) return NULL; /* oneDNN's turns NaN into 0, and hides it */
    return cg_linear_with(g, linear->in[0], linear->in[1], linear->n_in > 2 ? linear->in[2] : NULL,
                          f, NULL);
}

static cg_value *with_residual(cg_graph *g, const cg_node *n) {
    if (n->op != &cg_op_add) return NULL;
    for (int i = 1; i >= 0; i--) {
        const cg_node *linear = layer(g, n->in[i], n);
        cg_value *other = n->in[1 - i];
        if (linear && linear->n_in == 3 && cg_shape_equal(&other->shape, &n->in[i]->shape))
            return cg_linear_with(g, linear->in[0], linear->in[1], linear->in[2],
                                  cg_linear_epilogue(linear), other);
    }
    return NULL;
}

int cg_pass_fuse(cg_graph *g) {
    int rewrites = 0;
    for (int i = 0; i < g->n_node && g->status == CG_OK; i++) { /* those appended, too */
        cg_node *n = g->node[i];
        if (n->dead) continue;
        g->named = n->name;
        cg_value *y = with_activation(g, n);
        if (!y) y = with_residual(g, n);
        if (!y) continue;
        cg_value_replace(g, n->out[0], y);
        n->dead = 1;
        rewrites++;
    }
    return rewrites;
}
