/* Printing graphs for Graphviz. */
#include "graph/print_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What is drawn as one: a node, or all nodes whose names begin alike. */
typedef struct box {
    const cg_node *node; /* its first */
    int prefix;          /* characters of the names that are alike; 0: a node alone */
    int count, part;     /* its nodes; the number of the name's first part */
    int outputs;         /* that are delivered, added or updated rather than kept */
    int params;          /* that it is the first to read, and their elements */
    int64_t elements, flops;
} box;

/* Everything that flows from one box, or input, to another. */
typedef struct edge {
    const cg_value *value; /* the first */
    int from, to, count;   /* from: a box, or the input's id */
    int dashed;            /* a gradient needs it */
} edge;

typedef struct boxes {
    const cg_graph *g;
    box *box;
    edge *edge;
    int n, n_edge, parts;
    int *of_node;
    int *last;    /* by value: the edge, from 1, that was drawn last from there */
    int *seen;    /* by value: the box, from 1, that was found to read it last */
    int *readers; /* by input's id: boxes that read it */
} boxes;

enum { MANY = 3 }; /* readers of an input from where on its edges are drawn lightly */

/* --- what is one box -------------------------------------------------------------------------- */

static void boxes_free(boxes *b) {
    free(b->box);
    free(b->edge);
    free(b->of_node);
    free(b->last);
    free(b->seen);
    free(b->readers);
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

/* Counts a node's operations, and the parameters that nothing before it reads. */
static void count_node(boxes *b, box *x, const cg_node *n) {
    x->count++;
    x->flops += n->op->flops ? n->op->flops(n) : 0;
    for (int j = 0; j < n->n_in; j++) {
        const cg_value *v = n->in[j];
        if (!v->param || b->seen[v->id]) continue;
        b->seen[v->id] = 1;
        x->params++;
        x->elements += v->param->count;
    }
}

/* As the caller numbers them, or in order of appearance. */
static int part_of(boxes *b, const char *name, const char *const part[2]) {
    int length = prefix_of(name, 1);
    for (int i = 0; i < 2 && part[0]; i++)
        if (strncmp(name, part[i], (size_t)length) == 0 && !part[i][length]) return i;
    if (part[0]) return 2;
    int like = find_box(b, name, length, 1);
    return like < b->n ? b->box[like].part : b->parts++;
}

static void boxes_fill(boxes *b, const cg_dot_options *o) {
    const cg_graph *g = b->g;
    for (int i = 0; i < g->n_node; i++) {
        const char *name = g->node[i]->name;
        int prefix = prefix_of(name, o->collapse);
        int k = prefix ? find_box(b, name, prefix, o->collapse) : b->n;
        if (k == b->n) {
            int part = part_of(b, name, o->part);
            b->box[b->n++] = (box){.node = g->node[i], .prefix = prefix, .part = part};
        }
        b->of_node[i] = k;
        count_node(b, &b->box[k], g->node[i]);
    }
    for (int i = 0; i < g->n_output; i++)
        if (g->output[i].mode != CG_KEEP && g->output[i].value->node)
            b->box[b->of_node[g->output[i].value->node->id]].outputs++;
    memset(b->seen, 0, (size_t)g->n_value * sizeof *b->seen);
}

/* Adds operand v of a node of box `to` to the edges. */
static void add_edge(boxes *b, int to, const cg_node *n, const cg_value *v) {
    int from = v->node ? b->of_node[v->node->id] : v->id;
    if (v->node ? from == to : v->kind != CG_VALUE_INPUT) return;
    if (b->seen[v->id] == to + 1) return;
    b->seen[v->id] = to + 1;
    int *last = &b->last[v->node ? b->box[from].node->out[0]->id : v->id];
    if (*last && b->edge[*last - 1].to == to) {
        b->edge[*last - 1].count++;
        return;
    }
    b->edge[b->n_edge] =
        (edge){v, from, to, 1, is_gradient(n) && !(v->node && is_gradient(b->box[from].node))};
    *last = ++b->n_edge;
    if (!v->node) b->readers[from]++;
}

static cg_status boxes_make(const cg_graph *g, const cg_dot_options *o, boxes *b) {
    size_t n = (size_t)g->n_node + 1, values = (size_t)g->n_value + 1, reads = 1;
    for (int i = 0; i < g->n_node; i++) reads += (size_t)g->node[i]->n_in;
    *b = (boxes){.g = g,
                 .box = calloc(n, sizeof *b->box),
                 .edge = calloc(reads, sizeof *b->edge),
                 .of_node = calloc(n, sizeof(int)),
                 .last = calloc(values, sizeof(int)),
                 .seen = calloc(values, sizeof(int)),
                 .readers = calloc(values, sizeof(int))};
    if (!b->box || !b->edge || !b->of_node || !b->last || !b->seen || !b->readers) {
        boxes_free(b);
        return cg_error(CG_ENOMEM, "no memory to draw a graph");
    }
    boxes_fill(b, o);
    for (int to = 0; to < b->n; to++)
        for (int i = b->box[to].node->id; i < g->n_node; i++)
            for (int j = 0; b->of_node[i] == to && j < g->node[i]->n_in; j++)
                add_edge(b, to, g->node[i], g->node[i]->in[j]);
    return CG_OK;
}

/* --- what stands in it ------------------------------------------------------------------------ */

/* The first n bytes of a name inside a label of marked-up text. */
static void print_name(FILE *f, const char *name, int n) {
    for (int i = 0; i < n && name[i]; i++) switch (name[i]) {
        case '<':
            fputs("&lt;", f);
            break;
        case '>':
            fputs("&gt;", f);
            break;
        case '&':
            fputs("&amp;", f);
            break;
        default:
            fputc(name[i], f);
        }
}

/* 38316896 as 38.3 M, and what is counted */
static void print_count(FILE *f, int64_t n, const char *what) {
    static const char *const unit[] = {"", "k", "M", "G", "T"};
    double x = (double)n;
    int u = 0;
    for (; x >= 999.5 && u < 4; u++) x /= 1000;
    fprintf(f, "%.*f%s%s%s", u && x < 99.95 ? 1 : 0, x, u || what[0] != ' ' ? " " : "", unit[u],
            what);
}

/* f32 goes without saying. */
static void print_flow(FILE *f, const cg_value *v) {
    char shape[CG_SHAPE_TEXT];
    if (v->dtype == CG_F32 && v->shape.rank)
        fputs(cg_shape_print(&v->shape, shape), f);
    else
        cg_print_type(f, v);
}

#define GREY   "<font color=\"#666666\" point-size=\"10\">"
#define ORANGE "<font color=\"#a04800\" point-size=\"10\">"
#define END    "</font>"

static void print_node_lines(FILE *f, const boxes *b, const cg_node *n) {
    fputs("<br/>", f);
    fputs(n->op->name, f);
    cg_print_attributes(f, n, " ");
    for (int j = 0; j < n->n_in; j++) {
        const cg_value *v = n->in[j];
        char shape[CG_SHAPE_TEXT];
        if (!v->param) continue;
        fputs("<br/>" ORANGE, f);
        print_name(f, v->name, INT32_MAX);
        fprintf(f, " %s" END, cg_shape_print(&v->shape, shape));
    }
    for (int i = 0; i < b->g->n_output; i++) {
        const cg_output *o = &b->g->output[i];
        if (o->mode == CG_KEEP || o->value->node != n) continue;
        fputs("<br/>" GREY "&rarr; ", f);
        print_name(f, o->name, INT32_MAX);
        fputs(END, f);
    }
}

static void print_box_lines(FILE *f, const box *x) {
    fprintf(f, "<br/>%d nodes", x->count);
    if (x->params) {
        fputs("<br/>" ORANGE, f);
        print_count(f, x->elements, " in ");
        fprintf(f, "%d parameter%s" END, x->params, x->params == 1 ? "" : "s");
    }
    if (x->outputs)
        fprintf(f, "<br/>" GREY "&rarr; %d output%s" END, x->outputs, x->outputs == 1 ? "" : "s");
}

static void draw_box(FILE *f, const boxes *b, int k, int framed) {
    static const char *const fill[] = {"#dbe9f6", "#e6e0f3", "#eeeeee"};
    const box *x = &b->box[k];
    const cg_node *n = x->node;
    int length = x->prefix ? x->prefix : (int)strlen(n->name), gradient = is_gradient(n);
    if (!x->prefix && gradient) length--;
    fprintf(f, "n%d [label=<<b>", k);
    print_name(f, n->name + framed, length - framed);
    if (gradient && framed == 0) fputc(')', f);
    fputs("</b>", f);
    if (x->count == 1)
        print_node_lines(f, b, n);
    else
        print_box_lines(f, x);
    if (x->flops) {
        fputs("<br/>" GREY, f);
        print_count(f, x->flops, "FLOP" END);
    }
    fprintf(f, ">, fillcolor=\"%s\"];", gradient ? "#fbe3e0" : fill[x->part < 2 ? x->part : 2]);
}

/* --- frames ----------------------------------------------------------------------------------- */

/* How many boxes there are whose names have these characters and then end or go on in a new part;
 * *first is the first of them. */
static int inside(const boxes *b, const char *name, int prefix, int *first) {
    int n = 0;
    for (int k = b->n - 1; k >= 0; k--) {
        const char *other = b->box[k].node->name;
        if (strncmp(other, name, (size_t)prefix) != 0 || !strchr("/)", other[prefix])) continue;
        *first = k;
        n++;
    }
    return n;
}

/* A box in the frames of its scopes, each of which has two boxes or more. */
static void draw_framed(FILE *f, const boxes *b, int k, int collapse) {
    const box *x = &b->box[k];
    const char *name = x->node->name;
    int framed = 0, frames = 0, skip = is_gradient(x->node) ? 2 : 0;
    fputs("  ", f);
    for (int depth = 1; collapse <= 0 || depth < collapse; depth++) {
        int prefix = prefix_of(name, depth), first;
        if (!prefix || inside(b, name, prefix, &first) < 2) break;
        fprintf(f, "subgraph \"cluster_%.*s\" { ", prefix, name);
        frames++;
        if (first == k) {
            fputs("label=<", f);
            if (skip) fputs("gradient of ", f);
            print_name(f, name + skip, prefix - skip);
            fputs(">; ", f);
        }
        if (name[prefix] == '/') framed = prefix + 1;
    }
    draw_box(f, b, k, framed);
    for (; frames; frames--) fputs(" }", f);
    fputc('\n', f);
}

/* --- the whole -------------------------------------------------------------------------------- */

static void draw_ends(FILE *f, const boxes *b) {
    const cg_graph *g = b->g;
    for (int i = 0; i < g->n_value; i++) {
        if (g->value[i]->kind != CG_VALUE_INPUT) continue;
        fprintf(f, "  v%d [label=<<b>", i);
        print_name(f, g->value[i]->name, INT32_MAX);
        fputs("</b><br/>", f);
        cg_print_type(f, g->value[i]);
        fputs(">, shape=ellipse, fillcolor=\"#e2f2dd\"];\n", f);
    }
    for (int i = 0; i < g->n_output; i++) {
        const cg_output *o = &g->output[i];
        if (!o->value->node || o->mode != CG_KEEP) continue;
        fprintf(f, "  o%d [label=<<b>", i);
        print_name(f, o->name, INT32_MAX);
        fprintf(f, "</b>>, shape=ellipse, fillcolor=\"#fff5c2\"];\n  n%d -> o%d [label=\"",
                b->of_node[o->value->node->id], i);
        print_flow(f, o->value);
        fputs("\"];\n", f);
    }
}

/* Gradients run upwards, beside what they are the gradients of. What they need of that, and inputs
 * that go everywhere, must not decide where things stand. */
static void draw_edge(FILE *f, const boxes *b, const edge *e) {
    const cg_node *n = b->box[e->to].node, *maker = e->value->node;
    int back = maker && is_gradient(n) && is_gradient(b->box[e->from].node);
    if (e->dashed || (!maker && b->readers[e->from] > MANY)) {
        fprintf(f, "  %c%d -> n%d [minlen=0, weight=0, color=\"#bbbbbb\", arrowsize=0.5%s];\n",
                maker ? 'n' : 'v', e->from, e->to, e->dashed ? ", style=dashed" : "");
        return;
    }
    if (back)
        fprintf(f, "  n%d -> n%d [dir=back, label=\"", e->to, e->from);
    else
        fprintf(f, "  %c%d -> n%d [label=\"", maker ? 'n' : 'v', e->from, e->to);
    print_flow(f, e->value);
    if (e->count > 1) fprintf(f, " and %d more", e->count - 1);
    fputs("\"];\n", f);
}

static void draw_head(FILE *f, const char *title) {
    fputs("strict digraph clipgraph {\n"
          "  graph [bgcolor=white, nodesep=0.2, ranksep=0.3, fontname=\"Helvetica\", fontsize=12, "
          "color=\"#999999\", style=rounded, labelloc=t, labeljust=l",
          f);
    if (title) {
        fputs(", label=<", f);
        print_name(f, title, INT32_MAX);
        fputs(">", f);
    }
    fputs("];\n"
          "  node [shape=box, style=\"filled,rounded\", color=\"#666666\", fontname=\"Helvetica\", "
          "fontsize=11, height=0.3, margin=\"0.12,0.05\"];\n"
          "  edge [color=\"#444444\", arrowsize=0.7, fontname=\"Helvetica\", fontsize=9, "
          "fontcolor=\"#444444\"];\n",
          f);
}

cg_status cg_graph_dot(const cg_graph *g, const cg_dot_options *o, char **text) {
    boxes b;
    CG_TRY(boxes_make(g, o, &b));
    size_t size;
    FILE *f = cg_print_start(text, &size);
    if (!f) {
        boxes_free(&b);
        return CG_ENOMEM;
    }
    draw_head(f, o->title);
    for (int k = 0; k < b.n; k++) draw_framed(f, &b, k, o->collapse);
    draw_ends(f, &b);
    for (int i = 0; i < b.n_edge; i++) draw_edge(f, &b, &b.edge[i]);
    fputs("}\n", f);
    boxes_free(&b);
    return cg_print_finish(f, text);
}
