#include "graph/summary.h"

#include "graph/op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Marks the nodes that an output which is no update needs. */
static void mark(const cg_graph *g, char *wanted) {
    for (int i = 0; i < g->n_output; i++)
        if (g->output[i].mode != CG_UPDATE && g->output[i].value->node)
            wanted[g->output[i].value->node->id] = 1;
    for (int i = g->n_node - 1; i >= 0; i--) {
        const cg_node *n = g->node[i];
        for (int k = 0; wanted[i] && k < n->n_in; k++)
            if (n->in[k]->node) wanted[n->in[k]->node->id] = 1;
    }
}

/* The name's first `depth` parts; all of it for depth 0. */
static void layer_name(const char *name, int depth, char *out, size_t size) {
    size_t n = strlen(name);
    for (size_t i = 0; i < n && depth; i++)
        if (name[i] == '/' && --depth == 0) n = i;
    snprintf(out, size, "%.*s", (int)n, name);
}

static void add_node(cg_layer *l, const cg_node *n, char *counted) {
    l->op = l->nodes++ ? NULL : n->op->name;
    l->shape = n->out[0]->shape;
    l->flops += n->op->flops ? n->op->flops(n) : 0;
    for (int k = 0; k < n->n_in; k++) {
        const cg_value *v = n->in[k];
        if (!v->param || !v->param->trainable || counted[v->id]) continue;
        counted[v->id] = 1;
        l->params += v->param->count;
    }
    for (int k = 0; k < n->n_out; k++)
        if (!n->op->view)
            l->activation_bytes +=
                (size_t)cg_shape_count(&n->out[k]->shape) * cg_dtype_size(n->out[k]->dtype);
}

cg_status cg_graph_layers(const cg_graph *g, int depth, cg_layer **out, int *n) {
    char *wanted = calloc((size_t)g->n_node + 1, 1), *counted = calloc((size_t)g->n_value + 1, 1);
    *out = calloc((size_t)g->n_node + 1, sizeof **out);
    *n = 0;
    if (!wanted || !counted || !*out) {
        free(wanted);
        free(counted);
        free(*out);
        *out = NULL;
        return cg_error(CG_ENOMEM, "no memory for a summary of %d nodes", g->n_node);
    }
    mark(g, wanted);
    for (int i = 0; i < g->n_node; i++) {
        char name[sizeof(*out)->name];
        int k = 0;
        if (!wanted[i]) continue;
        layer_name(g->node[i]->name, depth, name, sizeof name);
        while (k < *n && (depth == 0 || strcmp((*out)[k].name, name) != 0)) k++;
        if (k == *n) memcpy((*out)[(*n)++].name, name, sizeof name);
        add_node(&(*out)[k], g->node[i], counted);
    }
    free(wanted);
    free(counted);
    return CG_OK;
}
