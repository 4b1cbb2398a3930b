/* bf16: matrix operands become bf16, and what makes or reads them stores and loads it where its op
 * can. Parameters keep their f32 and are cast, once a run; sums are f32 in every kernel.
 *
 * What stays f32: statistics, softmax, losses, weight gradients; the products of embeddings, whose
 * logits are what the loss looks at; and sums of a transformer's residual branches, that is results
 * of `add`, so that a small branch is not rounded away. A ResNet's sums are rounded: they are
 * operands of the next convolution. Both as under PyTorch's autocast. */
#include "ops/passes/rewrite.h"

/* The operands of matrix ops that are multiplied, as bits; 0: no matrix op. */
static unsigned multiplied(const cg_op *op) {
    static const struct {
        const cg_op *op;
        unsigned operands;
    } list[] = {
        {&cg_op_linear, 3},
        {&cg_op_matmul, 3},
        {&cg_op_conv2d, 3},
        {&cg_op_conv2d_grad_data, 3},
        {&cg_op_conv2d_grad_weights, 3},
        {&cg_op_attention, 7},
        {&cg_op_attention_grad, 7 | 1u << 5 | 1u << 7}, /* q, k, v, o, do */
        {&cg_op_attention_qkv, 1},
        {&cg_op_attention_qkv_grad, 1 | 1u << 2 | 1u << 4},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (list[i].op == op) return list[i].operands;
    return 0;
}

/* A product of embeddings, or its gradient. */
static int is_logits(const cg_node *n) {
    if (n->op != &cg_op_matmul) return 0;
    for (int k = 0; k < 2; k++)
        if (n->in[k]->node && n->in[k]->node->op == &cg_op_l2norm) return 1;
    return 0;
}

/* Bits of n's operands that are to be bf16; 0 where n stays f32, or its op cannot. */
static unsigned wanted(const cg_node *n) {
    unsigned operands = multiplied(n->op);
    if ((operands & ~n->op->bf16_in) || is_logits(n)) return 0;
    return operands;
}

/* Whether v, a result of which no product is asked, is stored as bf16: where a matrix op makes it,
 * unless it is a sum with the residual stream. */
static int is_product(const cg_value *v) {
    const cg_node *n = v->node;
    if (!n || !wanted(n)) return 0;
    return n->op != &cg_op_linear || n->n_in < 4 || n->in[3]->dtype == CG_BF16;
}

static int may_narrow(const cg_value *v) {
    return v->node && v->node->op != &cg_op_add && (!multiplied(v->node->op) || is_product(v));
}

/* Operand k of n, and of all others that multiply it, becomes bf16. */
static void convert(cg_graph *g, cg_node *n, int k) {
    cg_value *v = n->in[k], *root = g->value[cg_value_root(v)->id];
    if (v->dtype != CG_F32) return;
    if (may_narrow(root) && cg_value_narrow(g, root)) return;
    g->named = v->node ? v->node->name : n->name;
    cg_value *cast = cg_cast(g, v, CG_BF16);
    if (!cast) return;
    for (int i = 0; i < g->n_node; i++) {
        unsigned operands = wanted(g->node[i]);
        for (int j = 0; operands >> j; j++)
            if ((operands >> j & 1) && g->node[i]->in[j] == v) g->node[i]->in[j] = cast;
    }
}

int cg_pass_bf16(cg_graph *g) {
    int count = 0, nodes = g->n_node;
    for (int i = 0; i < nodes && g->status == CG_OK; i++) {
        unsigned operands = wanted(g->node[i]);
        count += operands != 0;
        for (int k = 0; operands >> k && g->status == CG_OK; k++)
            if (operands >> k & 1) convert(g, g->node[i], k);
    }
    for (int i = 0; i < nodes && g->status == CG_OK; i++)
        for (int k = 0; k < g->node[i]->n_out; k++)
            if (is_product(g->node[i]->out[k])) cg_value_narrow(g, g->node[i]->out[k]);
    g->named = NULL;
    cg_graph_order(g);
    return count;
}
