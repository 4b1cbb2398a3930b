/* The order in which a file's nodes can run: as they stand, but for what a node reads that stands
 * behind it. */
#include "serialize/onnx/file.h"

#include <stdlib.h>

/* Of each node i the nodes that make what it reads: need[begin[i] … begin[i + 1]). */
typedef struct needs {
    size_t *begin;
    int *need;
    size_t n, room;
} needs;

static cg_status add(needs *w, const cg_onnx_names *maker, const char *name, size_t n_node) {
    int at = *name ? cg_onnx_names_get(maker, name) : -1;
    if (at < 0 || (size_t)at >= n_node) return CG_OK;
    if (w->n == w->room) {
        size_t room = w->room ? 2 * w->room : 256;
        int *list = realloc(w->need, room * sizeof *list);
        if (!list) return cg_error(CG_ENOMEM, "no memory for %zu nodes", room);
        w->need = list;
        w->room = room;
    }
    w->need[w->n++] = at;
    return CG_OK;
}

/* What branches read of the graph around them is the node's need, too. */
static cg_status add_all(needs *w, const cg_onnx_names *maker, const CgOnnx__NodeProto *n,
                         size_t n_node) {
    for (size_t k = 0; k < n->n_input; k++) CG_TRY(add(w, maker, n->input[k], n_node));
    for (size_t i = 0; i < n->n_attribute; i++) {
        const CgOnnx__GraphProto *g = n->attribute[i]->g;
        for (size_t k = 0; g && k < g->n_node; k++) CG_TRY(add_all(w, maker, g->node[k], n_node));
        for (size_t k = 0; g && k < g->n_output; k++)
            CG_TRY(add(w, maker, g->output[k]->name, n_node));
    }
    return CG_OK;
}

static cg_status find_needs(const CgOnnx__GraphProto *g, const cg_onnx_names *maker, needs *w) {
    w->begin = calloc(g->n_node + 1, sizeof *w->begin);
    if (!w->begin) return cg_error(CG_ENOMEM, "no memory for %zu nodes", g->n_node);
    for (size_t i = 0; i < g->n_node; i++) {
        CG_TRY(add_all(w, maker, g->node[i], g->n_node));
        w->begin[i + 1] = w->n;
    }
    return CG_OK;
}

/* Each node behind those that it needs. at [n_node]: the need of it that comes next; stack
 * [n_node]. */
static cg_status walk(const CgOnnx__GraphProto *g, const needs *w, size_t *at, int *stack,
                      int *order) {
    enum { NEW, OPEN, DONE };
    char text[200], *state = calloc(g->n_node + 1, 1);
    size_t count = 0;
    cg_status s = state ? CG_OK : cg_error(CG_ENOMEM, "no memory for %zu nodes", g->n_node);
    for (size_t i = 0; i < g->n_node && s == CG_OK; i++) {
        size_t depth = 0;
        if (state[i] == NEW) stack[depth++] = (int)i;
        while (depth > 0 && s == CG_OK) {
            int n = stack[depth - 1];
            if (state[n] == NEW) at[n] = w->begin[n];
            state[n] = OPEN;
            while (at[n] < w->begin[n + 1] && state[w->need[at[n]]] == DONE) at[n]++;
            if (at[n] == w->begin[n + 1]) {
                state[n] = DONE;
                order[count++] = n;
                depth--;
            } else if (state[w->need[at[n]]] == OPEN) {
                s = cg_error(CG_EFORMAT, "%s waits for its own result: the graph has a cycle",
                             cg_onnx_node_text(g->node[n], text));
            } else {
                stack[depth++] = w->need[at[n]];
            }
        }
    }
    free(state);
    return s;
}

cg_status cg_onnx_sort(cg_onnx_file *f, const cg_onnx_names *maker) {
    const CgOnnx__GraphProto *g = f->model->graph;
    needs w = {0};
    size_t *at = calloc(g->n_node + 1, sizeof *at);
    int *stack = calloc(g->n_node + 1, sizeof *stack);
    f->order = calloc(g->n_node + 1, sizeof *f->order);
    cg_status s = CG_OK;
    if (!at || !stack || !f->order) s = cg_error(CG_ENOMEM, "no memory for %zu nodes", g->n_node);
    if (s == CG_OK) s = find_needs(g, maker, &w);
    if (s == CG_OK) s = walk(g, &w, at, stack, f->order);
    free(w.begin);
    free(w.need);
    free(stack);
    free(at);
    return s;
}
