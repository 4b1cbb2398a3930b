/* A convolution with a bias, a residual added to it and the relu behind them, in one:
 *   relu(conv(x) + b), relu(conv(x) + b + residual) */
#include "ops/conv2d.h"
#include "ops/passes/rewrite.h"
#include "serialize/onnx/recognise.h"

/* The convolution that makes v for n alone, with a bias and nothing behind it yet; or NULL. */
static cg_node *conv_of(const cg_graph *g, const cg_value *v, const cg_node *n) {
    cg_node *c = v->node;
    if (!c || c->op != &cg_op_conv2d || c->n_in != 3 || cg_only_reader(g, v) != n) return NULL;
    return ((const cg_conv2d_attr *)c->attr)->relu ? NULL : c;
}

static int rewrite(cg_graph *g, cg_node *relu) {
    cg_node *sum = relu->in[0]->node, *conv = conv_of(g, relu->in[0], relu);
    cg_value *residual = NULL;
    if (!conv && sum && sum->op == &cg_op_add && cg_only_reader(g, sum->out[0]) == relu)
        for (int k = 0; k < 2 && !conv; k++) {
            residual = sum->in[1 - k];
            if (cg_shape_equal(&residual->shape, &sum->in[k]->shape))
                conv = conv_of(g, sum->in[k], sum);
        }
    if (!conv) return 0;
    const cg_conv2d_attr *a = conv->attr;
    g->named = conv->name;
    cg_value *y = cg_conv2d_with(g, conv->in[0], conv->in[1],
                                 (cg_conv2d_options){.stride = a->stride,
                                                     .padding = a->padding,
                                                     .dilation = a->dilation,
                                                     .groups = a->groups,
                                                     .bias = conv->in[2],
                                                     .residual = residual,
                                                     .relu = 1});
    if (!y) return 0;
    cg_value_replace(g, relu->out[0], y);
    relu->dead = conv->dead = 1;
    if (residual) sum->dead = 1;
    return 1;
}

int cg_recognise_conv(cg_graph *g) {
    int rewrites = 0;
    for (int i = 0, n = g->n_node; i < n && g->status == CG_OK; i++)
        if (!g->node[i]->dead && g->node[i]->op == &cg_op_relu) rewrites += rewrite(g, g->node[i]);
    return rewrites;
}
