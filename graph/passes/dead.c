#include "graph/op.h"

int cg_pass_dead(cg_graph *g) {
    int before = g->n_node;
    for (int i = 0; i < g->n_node; i++) g->node[i]->dead = 1;
    for (int i = 0; i < g->n_output; i++)
        if (g->output[i].value->node) g->output[i].value->node->dead = 0;
    for (int i = g->n_node - 1; i >= 0; i--) { /* readers stand after what they read */
        if (g->node[i]->dead) continue;
        for (int k = 0; k < g->node[i]->n_in; k++)
            if (g->node[i]->in[k]->node) g->node[i]->in[k]->node->dead = 0;
    }
    cg_graph_sweep(g);
    return before - g->n_node;
}
