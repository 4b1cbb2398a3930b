/* A linear layer without a bias, and a row of fixed numbers added to each row of its result: the
 * layer's bias. */
#include "ops/passes/rewrite.h"
#include "serialize/onnx/recognise.h"
#include "serialize/onnx/view.h"

static int is_fixed(cg_value *v) {
    const cg_value *x = cg_unshaped(v);
    return x->kind == CG_VALUE_PARAM || x->kind == CG_VALUE_CONSTANT;
}

static int is_row(cg_value *v, int64_t width) {
    const cg_shape *s = &v->shape;
    return s->rank > 0 && s->dim[s->rank - 1] == width && cg_shape_count(s) == width && is_fixed(v);
}

static int rewrite(cg_graph *g, cg_node *add) {
    for (int k = 0; k < 2; k++) {
        cg_node *n = add->in[k]->node;
        if (!n || n->op != &cg_op_linear || n->n_in != 2 || cg_only_reader(g, n->out[0]) != add)
            continue;
        int64_t width = n->in[1]->shape.dim[0];
        if (!is_row(add->in[1 - k], width)) continue;
        g->named = n->name;
        cg_value *bias = cg_shaped(g, cg_unshaped(add->in[1 - k]), CG_SHAPE(width));
        cg_value *y = cg_linear(g, n->in[0], n->in[1], bias);
        if (!y || !cg_shape_equal(&y->shape, &add->out[0]->shape)) return 0;
        cg_value_replace(g, add->out[0], y);
        add->dead = n->dead = 1;
        return 1;
    }
    return 0;
}

int cg_recognise_linear(cg_graph *g) {
    int rewrites = 0;
    for (int i = 0, n = g->n_node; i < n && g->status == CG_OK; i++)
        if (g->node[i]->op == &cg_op_add) rewrites += rewrite(g, g->node[i]);
    return rewrites;
}
