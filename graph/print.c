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

/* What is drawn as one: a node, or all nodes whose names begin alike. */
typedef struct box {
    const cg_node *node;    /* its first */
    const cg_value *leaves; /* what others read of it, as the first of them does; or NULL */
    int prefix;             /* characters of the names that are alike; 0: a node alone */
    int count, part; /* its nodes; the number of the name's first part, in order of appearance */
} box;

typedef struct boxes {
    box *box;
    int n, parts;
    int *of_node;
    int *drawn; /* by value: the box, from 1, that an edge from there was drawn to last */
} boxes;

static void boxes_free(boxes *b) {
    free(b->box);
    free(b->of_node);
    free(b->drawn);
}

static int is_gradient(const cg_node *n) {
    return strncmp(n->name, "d(", 2) == 0;
}

/* How many characters the first `depth` parts of a name have; 0 where it has fewer parts. */
static int prefix_of(const char *name, int depth) {
    size_t n = strcspn(name, "/)");
    for (; depth > 1 && name[n] == '/'; depth--) n += 1 + strcspn(name + n + 1, "/)");
    return depth == 1 ? (int)n : 0;
}

/* The box whose names begin with these characters, `depth` parts; b->n where there is none. */
static int find_box(const boxes *b, const char *name, int prefix, int depth) {
    int k = 0;
    while (k < b->n && (prefix_of(b->box[k].node->name, depth) != prefix ||
                        strncmp(b->box[k].node->name, name, (size_t)prefix) != 0))
        k++;
    return k;
}

static cg_status boxes_make(const cg_graph *g, int collapse, boxes *b) {
    size_t n = (size_t)g->n_node + 1;
    *b = (boxes){.box = calloc(n, sizeof *b->box),
                 .of_node = calloc(n, sizeof(int)),
                 .drawn = calloc((size_t)g->n_value + 1, sizeof(int))};
    if (!b->box || !b->of_node || !b->drawn) {
        boxes_free(b);
        return cg_error(CG_ENOMEM, "no memory to draw a graph");
    }
    for (int i = 0; i < g->n_node; i++) {
        const char *name = g->node[i]->name;
        int prefix = prefix_of(name, collapse);
        int k = prefix ? find_box(b, name, prefix, collapse) : b->n;
        if (k == b->n) {
            int like = find_box(b, name, prefix_of(name, 1), 1);
            b->box[b->n++] = (box){.node = g->node[i],
                                   .prefix = prefix,
                                   .part = like < k ? b->box[like].part : b->parts++};
        }
        b->box[k].count++;
        b->of_node[i] = k;
        for (int j = 0; j < g->node[i]->n_in; j++) {
            const cg_value *v = g->node[i]->in[j];
            box *from = v->node ? &b->box[b->of_node[v->node->id]] : NULL;
            if (from && from != &b->box[k] && !from->leaves) from->leaves = v;
        }
    }
    return CG_OK;
}

static void draw_box(FILE *f, const boxes *b, int k, int attributes) {
    static const char *const fill[] = {"#dbe9f6", "#e6e0f3", "#eeeeee"};
    const box *x = &b->box[k];
    const cg_node *n = x->node;
    int gradient = is_gradient(n);
    if (x->prefix)
        fprintf(f, "  n%d [label=\"%.*s%s\\n", k, x->prefix, n->name, gradient ? ")" : "");
    else
        fprintf(f, "  n%d [label=\"%s\\n", k, n->name);
    if (x->count > 1)
        fprintf(f, "%d nodes", x->count);
    else {
        fputs(n->op->name, f);
        if (attributes) print_attributes(f, n, " ");
    }
    if (x->leaves || x->count == 1) {
        fputs("\\n", f);
        print_type(f, x->leaves ? x->leaves : n->out[0]);
    }
    fprintf(f, "\", fillcolor=\"%s\"];\n", gradient ? "#fbe3e0" : fill[x->part < 2 ? x->part : 2]);
}

/* Each edge once. Dashed is what a gradient needs of the forward part. */
static void draw_edges(FILE *f, const cg_graph *g, const boxes *b) {
    for (int to = 0; to < b->n; to++)
        for (int i = b->box[to].node->id; i < g->n_node; i++)
            for (int j = 0; b->of_node[i] == to && j < g->node[i]->n_in; j++) {
                const cg_value *v = g->node[i]->in[j];
                int from = v->node ? b->of_node[v->node->id] : v->id;
                if (v->node ? from == to : v->kind != CG_VALUE_INPUT) continue;
                int *drawn = &b->drawn[v->node ? b->box[from].node->out[0]->id : v->id];
                if (*drawn == to + 1) continue;
                *drawn = to + 1;
                int needed =
                    is_gradient(g->node[i]) && !(v->node && is_gradient(b->box[from].node));
                fprintf(f, "  %c%d -> n%d%s;\n", v->node ? 'n' : 'v', from, to,
                        needed ? " [style=dashed, color=\"#999999\"]" : "");
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
    fputs("strict digraph clipgraph {\n"
          "  graph [bgcolor=white, nodesep=0.2, ranksep=0.25];\n"
          "  node [shape=box, style=\"filled,rounded\", color=\"#666666\", fontname=\"Helvetica\", "
          "fontsize=11, height=0.3, margin=\"0.12,0.04\"];\n"
          "  edge [color=\"#444444\", arrowsize=0.7];\n",
          f);
    for (int i = 0; i < g->n_value; i++) {
        if (g->value[i]->kind != CG_VALUE_INPUT) continue;
        fprintf(f, "  v%d [label=\"%s\\n", i, g->value[i]->name);
        print_type(f, g->value[i]);
        fputs("\", shape=ellipse, fillcolor=\"#e2f2dd\"];\n", f);
    }
    for (int k = 0; k < b.n; k++) draw_box(f, &b, k, collapse <= 0);
    draw_edges(f, g, &b);
    for (int i = 0; i < g->n_output; i++) {
        const cg_output *o = &g->output[i];
        if (!o->value->node || o->mode != CG_KEEP) continue;
        fprintf(f, "  o%d [label=\"%s\", shape=ellipse, fillcolor=\"#fff5c2\"];\n", i, o->name);
        fprintf(f, "  n%d -> o%d;\n", b.of_node[o->value->node->id], i);
    }
    fputs("}\n", f);
    boxes_free(&b);
    return finish(f, text);
}
