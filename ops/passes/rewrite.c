#include "ops/passes/rewrite.h"

#include <stdlib.h>

int cg_readers(const cg_graph *g, const cg_value *v) {
    int count = 0;
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; k < g->node[i]->n_in && !g->node[i]->dead; k++)
            count += g->node[i]->in[k] == v;
    return count;
}

cg_node *cg_only_reader(const cg_graph *g, const cg_value *v) {
    if (cg_is_output(g, v) || cg_readers(g, v) != 1) return NULL;
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; k < g->node[i]->n_in && !g->node[i]->dead; k++)
            if (g->node[i]->in[k] == v) return g->node[i];
    return NULL;
}

int cg_is_output(const cg_graph *g, const cg_value *v) {
    for (int i = 0; i < g->n_output; i++)
        if (g->output[i].value == v) return 1;
    return 0;
}

int cg_is_affine(const cg_node *linear) {
    return linear->n_in <= 3 && cg_linear_epilogue(linear) == CG_EPILOGUE_NONE;
}

cg_value *cg_i32_range(cg_graph *g, int64_t count, int64_t step) {
    int32_t *x = malloc((size_t)count * sizeof *x + 1);
    if (!x)
        return cg_graph_fail(g,
                             cg_error(CG_ENOMEM, "no memory for %lld numbers", (long long)count));
    for (int64_t i = 0; i < count; i++) x[i] = (int32_t)(i * step);
    cg_value *v = cg_constant(g, CG_I32, CG_SHAPE(count), x);
    free(x);
    return v;
}
