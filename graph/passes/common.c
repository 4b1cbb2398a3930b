/* Common subexpressions. Two nodes are the same where op, attributes and operands are; random
 * nodes never are, because each carries a key of its own among its attributes. Constants of
 * equal bytes are merged first. */
#include "graph/op.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_node(const cg_node *n) {
    uint64_t h = 1469598103934665603u ^ (uint64_t)(uintptr_t)n->op;
    for (int i = 0; i < n->n_in; i++) h = (h ^ (uint64_t)(uintptr_t)n->in[i]) * 1099511628211u;
    return h ^ (h >> 29);
}

static int same_field(const cg_attr_field *f, const void *a, const void *b) {
    const char *x = (const char *)a + f->offset, *y = (const char *)b + f->offset;
    switch (f->type) {
    case CG_ATTR_INT:
        return memcmp(x, y, sizeof(int64_t)) == 0;
    case CG_ATTR_FLOAT:
        return memcmp(x, y, sizeof(float)) == 0; /* 0 and -0 differ */
    case CG_ATTR_SHAPE:
        return cg_shape_equal((const cg_shape *)(const void *)x, (const cg_shape *)(const void *)y);
    }
    return 0;
}

static int same_node(const cg_node *a, const cg_node *b) {
    if (a->op != b->op || a->n_in != b->n_in || a->n_out != b->n_out) return 0;
    for (int i = 0; i < a->n_in; i++)
        if (a->in[i] != b->in[i]) return 0;
    for (int i = 0; i < a->n_out; i++)
        if (a->out[i]->dtype != b->out[i]->dtype) return 0;
    for (const cg_attr_field *f = a->op->attr; f && f->name; f++)
        if (!same_field(f, a->attr, b->attr)) return 0;
    return 1;
}

static int same_constant(const cg_value *a, const cg_value *b) {
    return a->kind == CG_VALUE_CONSTANT && b->kind == CG_VALUE_CONSTANT && a->dtype == b->dtype &&
           cg_shape_equal(&a->shape, &b->shape) &&
           memcmp(a->data, b->data, (size_t)cg_shape_count(&a->shape) * cg_dtype_size(a->dtype)) ==
               0;
}

static void merge_constants(cg_graph *g) {
    for (int i = 0; i < g->n_value; i++) {
        if (g->value[i]->kind != CG_VALUE_CONSTANT) continue;
        for (int k = 0; k < i; k++)
            if (same_constant(g->value[k], g->value[i])) {
                cg_value_replace(g, g->value[i], g->value[k]);
                break;
            }
    }
}

int cg_pass_common(cg_graph *g) {
    size_t slots = 64;
    while (slots < 2 * (size_t)g->n_node) slots *= 2;
    cg_node **table = calloc(slots, sizeof *table);
    if (!table) return 0; /* an optimisation: without memory for it the graph stays right */
    merge_constants(g);
    int merged = 0;
    for (int i = 0; i < g->n_node; i++) {
        cg_node *n = g->node[i];
        size_t at = hash_node(n) & (slots - 1);
        while (table[at] && !same_node(table[at], n)) at = (at + 1) & (slots - 1);
        if (!table[at]) {
            table[at] = n;
            continue;
        }
        for (int k = 0; k < n->n_out; k++) cg_value_replace(g, n->out[k], table[at]->out[k]);
        n->dead = 1;
        merged++;
    }
    free(table);
    cg_graph_sweep(g);
    return merged;
}
