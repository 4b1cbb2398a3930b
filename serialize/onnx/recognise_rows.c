/* A row of each sequence, as that of its end token: rows, or elements, that are gathered by numbers
 * which follow from the run's integers. That they are one of each sequence is seen in the numbers;
 * as an end token's row it is known to the passes. */
#include "ops/passes/rewrite.h"
#include "serialize/onnx/computed.h"
#include "serialize/onnx/recognise.h"
#include "serialize/onnx/view.h"

static int rewrite(cg_graph *g, cg_node *n, cg_onnx_computed *computed, cg_budget *b) {
    const cg_value *x = cg_unshaped(n->in[0]), *index = cg_unshaped(n->in[1]);
    cg_chosen_rows r = {.index = cg_onnx_computed_numbers(computed, index), .width = 1};
    int64_t rows = n->in[0]->shape.dim[0], count = cg_shape_count(&index->shape);
    if (!r.index || x->kind != CG_VALUE_RESULT) return 0;
    if (n->in[0]->shape.dim[1] == 1) r.width = x->shape.dim[x->shape.rank - 1]; /* by elements */
    if (r.width < 1 || count % r.width || rows % r.width) return 0;
    r.sequences = count / r.width;
    if (r.sequences < 1 || rows / r.width % r.sequences) return 0;
    r.rows = rows / r.width / r.sequences;
    if (cg_budget_walk(b, rows + count) != CG_OK) return 0;
    cg_value *mark = r.rows > 1 ? cg_onnx_computed_rows(computed, g, &r) : NULL;
    if (!mark) return 0;
    g->named = n->name;
    cg_value *row = cg_end_token(g, mark, cg_offsets(g, b, r.sequences, r.rows), 1);
    int64_t width = r.width * n->in[0]->shape.dim[1];
    cg_value *y = cg_gather(g, cg_shaped(g, n->in[0], CG_SHAPE(r.sequences * r.rows, width)), row);
    if (y) y = cg_shaped(g, y, n->out[0]->shape);
    if (!y) return 0;
    cg_value_replace(g, n->out[0], y);
    n->dead = 1;
    return 1;
}

int cg_recognise_rows(cg_graph *g, cg_onnx_computed *computed, cg_budget *b) {
    int rewrites = 0;
    for (int i = 0, n = g->n_node; i < n && g->status == CG_OK; i++)
        if (!g->node[i]->dead && g->node[i]->op == &cg_op_gather)
            rewrites += rewrite(g, g->node[i], computed, b);
    return rewrites;
}
