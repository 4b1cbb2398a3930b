/* Printing graphs: text, one line a node, and Graphviz. */
#include "graph/op.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_value(FILE *f, const cg_value *v) {
    switch (v->kind) {
    case CG_VALUE_INPUT:
    case CG_VALUE_PARAM:
        fputs(v->name, f);
        break;
    case CG_VALUE_CONSTANT:
        if (v->dtype == CG_F32 && v->shape.rank == 0)
            fprintf(f, "%g", (double)*(const float *)v->data);
        else
            fprintf(f, "constant%d", v->id);
        break;
    case CG_VALUE_RESULT:
        fprintf(f, "%%%d", v->node->id);
        if (v->node->n_out > 1) fprintf(f, ".%d", v->index);
    }
}

static void print_type(FILE *f, const cg_value *v) {
    char shape[CG_SHAPE_TEXT];
    fprintf(f, "%s%s", cg_dtype_name(v->dtype), cg_shape_print(&v->shape, shape));
}

static void print_attributes(FILE *f, const cg_node *n, const char *separator) {
    for (const cg_attr_field *a = n->op->attr; a && a->name; a++) {
        const char *at = (const char *)n->attr + a->offset;
        char shape[CG_SHAPE_TEXT];
        fputs(separator, f);
        switch (a->type) {
        case CG_ATTR_INT:
            fprintf(f, "%s=%" PRId64, a->name, *(const int64_t *)(const void *)at);
            break;
        case CG_ATTR_FLOAT:
            fprintf(f, "%s=%g", a->name, (double)*(const float *)(const void *)at);
            break;
        case CG_ATTR_SHAPE:
            fprintf(f, "%s=%s", a->name, cg_shape_print((const cg_shape *)(const void *)at, shape));
        }
    }
}

static void print_node(FILE *f, const cg_node *n) {
    fprintf(f, "%%%d %s = %s(", n->id, n->name, n->op->name);
    for (int i = 0; i < n->n_in; i++) {
        if (i) fputs(", ", f);
        print_value(f, n->in[i]);
    }
    fputc(')', f);
    print_attributes(f, n, " ");
    fputs(" :", f);
    for (int i = 0; i < n->n_out; i++) {
        fputs(i ? ", " : " ", f);
        print_type(f, n->out[i]);
    }
    fputc('\n', f);
}

/* Closes the stream; text is NULL and the status ENOMEM where it ran out of memory. */
static cg_status finish(FILE *f, char **text) {
    int failed = ferror(f);
    if (fclose(f) == 0 && !failed) return CG_OK;
    free(*text);
    *text = NULL;
    return cg_error(CG_ENOMEM, "no memory to print a graph");
}

static FILE *start(char **text, size_t *size) {
    *text = NULL;
    FILE *f = open_memstream(text, size);
    if (!f) cg_error(CG_ENOMEM, "no memory to print a graph");
    return f;
}

cg_status cg_graph_text(const cg_graph *g, char **text) {
    size_t size;
    FILE *f = start(text, &size);
    if (!f) return CG_ENOMEM;
    for (int i = 0; i < g->n_value; i++) {
        const cg_value *v = g->value[i];
        if (v->kind == CG_VALUE_RESULT) continue;
        if (v->kind == CG_VALUE_CONSTANT && v->shape.rank == 0 && v->dtype == CG_F32) continue;
        fputs(v->kind == CG_VALUE_INPUT   ? "input "
              : v->kind == CG_VALUE_PARAM ? "parameter "
                                          : "",
              f);
        print_value(f, v);
        fputs(" : ", f);
        print_type(f, v);
        fputc('\n', f);
    }
    for (int i = 0; i < g->n_node; i++) print_node(f, g->node[i]);
    static const char *const mode[] = {"output", "output (set)", "output (added)", "update"};
    for (int i = 0; i < g->n_output; i++) {
        fprintf(f, "%s %s = ", mode[g->output[i].mode], g->output[i].name);
        print_value(f, g->output[i].value);
        fputc('\n', f);
    }
    return finish(f, text);
}

/* --- Graphviz --------------------------------------------------------------------------------- */

/* The box a node is drawn in: its name cut after `depth` parts, d( … ) kept around. */
static void box_name(const char *name, int depth, char *box, size_t size) {
    int gradient = strncmp(name, "d(", 2) == 0;
    const char *from = gradient ? name + 2 : name, *p = from;
    for (; *p && depth > 0; p++)
        if (*p == '/' && --depth == 0) break;
    size_t n = (size_t)(p - from);
    if (gradient && n && from[n - 1] == ')') n--;
    snprintf(box, size, gradient ? "d(%.*s)" : "%.*s", (int)n, from);
}

typedef struct boxes {
    char (*name)[320];
    int *first, *count; /* a node of the box, and how many nodes it has */
    int *of_node, n;
} boxes;

static void boxes_free(boxes *b) {
    free(b->name);
    free(b->first);
    free(b->count);
    free(b->of_node);
}

static cg_status boxes_make(const cg_graph *g, int collapse, boxes *b) {
    size_t n = (size_t)g->n_node + 1;
    *b = (boxes){.name = calloc(n, sizeof *b->name),
                 .first = calloc(n, sizeof(int)),
                 .count = calloc(n, sizeof(int)),
                 .of_node = calloc(n, sizeof(int))};
    if (!b->name || !b->first || !b->count || !b->of_node) {
        boxes_free(b);
        return cg_error(CG_ENOMEM, "no memory to draw a graph");
    }
    for (int i = 0; i < g->n_node; i++) {
        char name[320];
        int k = b->n;
        if (collapse > 0) {
            box_name(g->node[i]->name, collapse, name, sizeof name);
            for (k = 0; k < b->n && strcmp(b->name[k], name) != 0;) k++;
        }
        if (k == b->n) {
            snprintf(b->name[k], sizeof *b->name, "%s", collapse > 0 ? name : g->node[i]->name);
            b->first[b->n++] = i;
        }
        b->count[k]++;
        b->of_node[i] = k;
    }
    return CG_OK;
}

static void draw_boxes(FILE *f, const cg_graph *g, const boxes *b) {
    for (int k = 0; k < b->n; k++) {
        const cg_node *n = g->node[b->first[k]];
        int gradient = b->name[k][0] == 'd' && b->name[k][1] == '(';
        fprintf(f, "  n%d [label=\"%s\\n", k, b->name[k]);
        if (b->count[k] == 1) {
            fputs(n->op->name, f);
            print_attributes(f, n, " ");
            fputs("\\n", f);
            print_type(f, n->out[0]);
        } else
            fprintf(f, "%d nodes", b->count[k]);
        fprintf(f, "\"%s];\n", gradient ? ", fillcolor=\"#fde0dd\"" : "");
    }
}

cg_status cg_graph_dot(const cg_graph *g, int collapse, char **text) {
    boxes b;
    CG_TRY(boxes_make(g, collapse, &b));
    size_t size;
    FILE *f = start(text, &size);
    if (!f) {
        boxes_free(&b);
        return CG_ENOMEM;
    }
    fputs("strict digraph clipgraph {\n  rankdir=TB;\n  node [shape=box, style=\"filled,rounded\", "
          "fillcolor=\"#deebf7\", fontname=\"Helvetica\", fontsize=10];\n",
          f);
    for (int i = 0; i < g->n_value; i++) {
        if (g->value[i]->kind != CG_VALUE_INPUT) continue;
        fprintf(f, "  v%d [label=\"%s\\n", i, g->value[i]->name);
        print_type(f, g->value[i]);
        fputs("\", shape=ellipse, fillcolor=\"#e5f5e0\"];\n", f);
    }
    draw_boxes(f, g, &b);
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; k < g->node[i]->n_in; k++) {
            const cg_value *v = g->node[i]->in[k];
            int to = b.of_node[i];
            if (v->kind == CG_VALUE_INPUT)
                fprintf(f, "  v%d -> n%d;\n", v->id, to);
            else if (v->node && b.of_node[v->node->id] != to)
                fprintf(f, "  n%d -> n%d;\n", b.of_node[v->node->id], to);
        }
    for (int i = 0; i < g->n_output; i++) {
        const cg_output *o = &g->output[i];
        if (!o->value->node || o->mode != CG_KEEP) continue;
        fprintf(f, "  o%d [label=\"%s\", shape=ellipse, fillcolor=\"#fff7bc\"];\n", i, o->name);
        fprintf(f, "  n%d -> o%d;\n", b.of_node[o->value->node->id], i);
    }
    fputs("}\n", f);
    boxes_free(&b);
    return finish(f, text);
}
