/* recompute: what the gradient of a norm or an activation can give again is not kept for it. The
 * weight gradient of a linear layer reads the layer's operand y = f(x) a second time; f's gradient
 * reads x anyway and writes y again in the same sweep, for those of y's readers that it does not
 * itself wait for. y then dies with its last reader of the forward half.
 *
 * Only where that makes room: y is alive when memory is fullest, and will not be. */
#include "ops/passes/recompute.h"
#include "graph/op.h"
#include "ops/passes/rewrite.h"

#include <stdlib.h>
#include <string.h>

/* An op, the op of its gradient, and the operands of that: x = in[0], then those of the op from 1
 * to `own`, its results from 1 on, dy, and the op's operands behind `own`, where it needs them or y
 * is asked for. */
static const struct pair {
    const cg_op *op, *gradient;
    int own;
} pairs[] = {
    {&cg_op_batch_norm, &cg_op_batch_norm_grad, 2},
    {&cg_op_batch_norm, &cg_op_batch_norm_residual_grad, 2},
    {&cg_op_layer_norm, &cg_op_layer_norm_grad, 1},
    {&cg_op_rms_norm, &cg_op_rms_norm_grad, 1},
    {&cg_op_erf, &cg_op_erf_grad, 0},
    {&cg_op_gelu, &cg_op_gelu_grad, 0},
    {&cg_op_gelu_tanh, &cg_op_gelu_tanh_grad, 0},
    {&cg_op_quickgelu, &cg_op_quickgelu_grad, 0},
    {&cg_op_silu, &cg_op_silu_grad, 0},
    {&cg_op_log_sigmoid, &cg_op_log_sigmoid_grad, 0},
};
enum { PAIRS = sizeof pairs / sizeof *pairs, MOST_IN = 8 };

/* gradient NULL: any. */
static const struct pair *pair_of(const cg_op *op, const cg_op *gradient) {
    for (int i = 0; i < PAIRS; i++)
        if (pairs[i].op == op && (!gradient || pairs[i].gradient == gradient)) return &pairs[i];
    return NULL;
}

static int reads(const cg_node *n, const cg_value *v) {
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] == v) return 1;
    return 0;
}

/* Can the gradient read what it lacks of n's operands? That of batch norm takes no residual unless
 * relu follows. */
static int takes_operands(const cg_node *n, const cg_node *gradient, int own) {
    int lacks = 0;
    for (int i = own + 1; i < n->n_in; i++) lacks += !reads(gradient, n->in[i]);
    return gradient->n_in + lacks <= gradient->op->max_in;
}

/* Is `gradient` the gradient of n, can it give y again, and does not yet? */
static int is_gradient(const cg_node *n, const cg_node *gradient) {
    const struct pair *p = pair_of(n->op, gradient->op);
    if (!p || gradient->n_out == gradient->op->n_out || reads(gradient, n->out[0])) return 0;
    for (int i = 0; i <= p->own; i++)
        if (gradient->in[i] != n->in[i]) return 0;
    for (int o = 1; o < n->n_out; o++)
        if (gradient->in[p->own + o] != n->out[o]) return 0;
    return takes_operands(n, gradient, p->own);
}

cg_node *cg_gradient_of(const cg_graph *g, const cg_node *n) {
    for (int i = 0; i < g->n_node; i++)
        if (!g->node[i]->dead && is_gradient(n, g->node[i])) return g->node[i];
    return NULL;
}

cg_value *cg_gradient_gives_again(cg_graph *g, const cg_node *n, cg_node *gradient) {
    const struct pair *p = pair_of(n->op, gradient->op);
    cg_value *in[MOST_IN];
    int n_in = gradient->n_in;
    memcpy(in, gradient->in, (size_t)n_in * sizeof *in);
    for (int i = p->own + 1; i < n->n_in; i++)
        if (!reads(gradient, n->in[i])) in[n_in++] = n->in[i];
    g->named = gradient->name;
    cg_node *both = cg_node_add_out(g, gradient->op, gradient->attr, n_in, in, gradient->op->n_out);
    g->named = NULL;
    if (!both) return NULL;
    for (int o = 0; o < gradient->n_out; o++) {
        both->out[o]->dtype = gradient->out[o]->dtype;
        cg_value_replace(g, gradient->out[o], both->out[o]);
    }
    gradient->dead = 1;
    cg_value *y = both->out[both->n_out - 1];
    y->dtype = n->out[0]->dtype;
    return y;
}

/* --- where memory is fullest ------------------------------------------------------------------ */

/* The node at which most bytes of results are alive; -1 where memory is out. */
static int fullest(const cg_graph *g) {
    int *last = malloc(((size_t)g->n_value + 1) * sizeof *last), at = -1;
    int64_t *change = calloc((size_t)g->n_node + 1, sizeof *change), alive = 0, most = -1;
    for (int i = 0; last && i < g->n_value; i++)
        last[i] = g->value[i]->node ? g->value[i]->node->id : 0;
    for (int i = 0; last && i < g->n_node; i++)
        for (int k = 0; k < g->node[i]->n_in; k++) last[cg_value_root(g->node[i]->in[k])->id] = i;
    for (int i = 0; last && change && i < g->n_value; i++) {
        const cg_value *v = g->value[i];
        if (!v->node || cg_value_root(v) != v) continue;
        int64_t bytes = cg_shape_count(&v->shape) * (int64_t)cg_dtype_size(v->dtype);
        change[v->node->id] += bytes;
        change[last[i] + 1] -= bytes;
    }
    for (int i = 0; last && change && i < g->n_node; i++) {
        alive += change[i];
        if (alive <= most) continue;
        most = alive;
        at = i;
    }
    free(last);
    free(change);
    return at;
}

/* --- which readers can wait ------------------------------------------------------------------- */

/* Marks n and what it waits for. */
static void mark_waited_for(const cg_node *n, char *waited) {
    if (waited[n->id]) return;
    waited[n->id] = 1;
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k]->node) mark_waited_for(n->in[k]->node, waited);
}

/* Does y, in memory at node `full`, leave it when those readers read it elsewhere that the gradient
 * does not wait for? */
static int makes_room(const cg_graph *g, const cg_value *y, const char *waited, int full) {
    int kept_until = y->node->id, moved_until = -1;
    for (int i = 0; i < g->n_node; i++) {
        if (g->node[i]->dead || !reads(g->node[i], y)) continue;
        if (g->node[i]->op->view) return 0; /* its readers are not seen here */
        *(waited[i] ? &kept_until : &moved_until) = i;
    }
    return kept_until < full && full <= moved_until;
}

static int rewrite(cg_graph *g, const cg_node *n, char *waited, int full) {
    cg_node *gradient =
        pair_of(n->op, NULL) && !cg_is_output(g, n->out[0]) ? cg_gradient_of(g, n) : NULL;
    if (!gradient) return 0;
    memset(waited, 0, (size_t)g->n_node);
    mark_waited_for(gradient, waited);
    if (!makes_room(g, n->out[0], waited, full)) return 0;
    int nodes = g->n_node;
    cg_value *again = cg_gradient_gives_again(g, n, gradient);
    for (int i = 0; again && i < nodes; i++)
        for (int k = 0; k < g->node[i]->n_in && !waited[i]; k++)
            if (g->node[i]->in[k] == n->out[0]) g->node[i]->in[k] = again;
    return again != NULL;
}

/* Once through the graph as it is ordered now. */
static int sweep(cg_graph *g) {
    int full = fullest(g), nodes = g->n_node, rewrites = 0;
    char *waited = malloc(2 * (size_t)nodes + 1); /* one is appended for each, at most */
    for (int i = 0; waited && full >= 0 && i < nodes && g->status == CG_OK; i++)
        rewrites += rewrite(g, g->node[i], waited, full);
    free(waited);
    cg_graph_sweep(g);
    cg_graph_order(g);
    return rewrites;
}

/* Where memory is fullest changes with what is no longer kept. */
int cg_pass_recompute(cg_graph *g) {
    int all = 0, found;
    do all += found = sweep(g);
    while (found && g->status == CG_OK);
    return all;
}
