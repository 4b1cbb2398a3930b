/* fold: a batch norm by given statistics becomes part of the convolution before it,
 *   norm(conv(x, w)) = conv(x, w · f) + (bias - mean · f),  f = gain / sqrt(var + eps)
 * and so do a residual and relu behind it: they are applied to the convolution's result before it
 * is stored. The new weights are made of parameters alone, so they are computed once. */
#include "ops/batch_norm.h"
#include "ops/conv2d.h"
#include "ops/passes/rewrite.h"

/* The node that makes v for one reader, if it is of that op. */
static cg_node *maker(const cg_graph *g, const cg_value *v, const cg_op *op) {
    if (!v->node || v->node->op != op || v->index != 0) return NULL;
    return cg_readers(g, v) == 1 && !cg_is_output(g, v) ? v->node : NULL;
}

static int is_fixed(const cg_value *v) {
    return v->kind == CG_VALUE_PARAM || v->kind == CG_VALUE_CONSTANT;
}

/* The convolution that a norm can be folded into, or NULL. */
static cg_node *conv_before(const cg_graph *g, const cg_node *norm) {
    cg_node *conv = maker(g, norm->in[0], &cg_op_conv2d);
    if (!conv || conv->n_in > 2 || !is_fixed(conv->in[1])) return NULL;
    if (((const cg_conv2d_attr *)conv->attr)->relu) return NULL;
    for (int i = 1; i < 5; i++)
        if (!is_fixed(norm->in[i])) return NULL;
    return conv;
}

/* Folds norm, and what stands between it and `last`, into its convolution. */
static int fold(cg_graph *g, cg_node *norm, cg_value *residual, int relu, cg_node *last) {
    cg_node *conv = conv_before(g, norm);
    if (!conv) return 0;
    const cg_conv2d_attr *attr = conv->attr;
    g->named = conv->name;
    cg_value *eps = cg_constant_f32(g, ((const cg_batch_norm_attr *)norm->attr)->eps);
    cg_value *f = cg_div(g, norm->in[1], cg_sqrt(g, cg_add(g, norm->in[4], eps)));
    cg_value *column = cg_reshape(g, f, CG_SHAPE(conv->in[1]->shape.dim[0], 1, 1, 1));
    cg_value *y = cg_conv2d_with(
        g, conv->in[0], cg_mul(g, conv->in[1], column),
        (cg_conv2d_options){.stride = attr->stride,
                            .padding = attr->padding,
                            .dilation = attr->dilation,
                            .groups = attr->groups,
                            .bias = cg_sub(g, norm->in[2], cg_mul(g, norm->in[3], f)),
                            .residual = residual,
                            .relu = relu});
    if (!y) return 0;
    cg_value_replace(g, last->out[0], y);
    conv->dead = norm->dead = last->dead = 1;
    return 1;
}

/* relu(norm) and relu(norm + residual); of two norms that are added, the first one takes the other
 * as its residual. */
static int fold_relu(cg_graph *g, cg_node *relu) {
    cg_value *v = relu->in[0];
    cg_node *sum = maker(g, v, &cg_op_add), *norm;
    if (!sum) {
        norm = maker(g, v, &cg_op_batch_norm_inference);
        return norm ? fold(g, norm, NULL, 1, relu) : 0;
    }
    for (int k = 0; k < 2; k++) {
        norm = maker(g, sum->in[k], &cg_op_batch_norm_inference);
        cg_value *residual = sum->in[1 - k];
        if (!norm || !cg_shape_equal(&residual->shape, &v->shape)) continue;
        if (!fold(g, norm, residual, 1, relu)) continue;
        sum->dead = 1;
        return 1;
    }
    return 0;
}

int cg_pass_fold(cg_graph *g) {
    int rewrites = 0, n = g->n_node;
    for (int i = 0; i < n && g->status == CG_OK; i++)
        if (g->node[i]->op == &cg_op_relu) rewrites += fold_relu(g, g->node[i]);
    for (int i = 0; i < n && g->status == CG_OK; i++)
        if (g->node[i]->op == &cg_op_batch_norm_inference && !g->node[i]->dead)
            rewrites += fold(g, g->node[i], NULL, 0, g->node[i]);
    return rewrites;
}
