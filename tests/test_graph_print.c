/* labels: unit */
/* Graphs as text, and as Graphviz draws them. */
#include "tests/support/toy_ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void build_printed(cg_graph *g) {
    static const int32_t label[] = {0, 1};
    cg_value *x = cg_input(g, "image", CG_F32, two_by_three);
    cg_value *w = cg_parameter(g, "visual.w", two_by_three, (cg_param_spec){.scale = 1});
    cg_constant(g, CG_I32, CG_SHAPE(2), label);
    cg_scope_push(g, "visual");
    cg_scope_push(g, "layer1");
    toy_attr a;
    memset(&a, 0, sizeof a);
    a.factor = .5f;
    a.times = 3;
    a.shape = CG_SHAPE(4, 5);
    cg_value *y = cg_node_add1(g, &toy_op_scale, &a, 1, &x);
    cg_scope_pop(g);
    cg_scope_push(g, "layer2");
    y = toy_add(g, y, w);
    y = toy_flat(g, y);
    cg_scope_pop(g);
    cg_scope_pop(g);
    cg_value *z = cg_node_add(g, &toy_op_extremes, NULL, 1, &y)->out[1];
    g->derivative_of = "visual/layer2";
    cg_value *d = toy_add(g, z, cg_constant_f32(g, 2.5f));
    g->derivative_of = NULL;
    cg_graph_output(g, "high", z, CG_KEEP);
    cg_graph_output(g, "grad", d, CG_SET);
    cg_graph_output(g, "sum", d, CG_ADD);
    cg_graph_update(g, w, toy_add(g, w, w));
}

static void prints_text(void **state) {
    toy_fixture *f = *state;
    char *text;
    build_printed(f->g);
    ok(cg_graph_text(f->g, &text));
    assert_string_equal(
        text, "input image : f32[2, 3]\n"
              "parameter visual.w : f32[2, 3]\n"
              "constant2 : i32[2]\n"
              "%0 visual/layer1 = scale(image) factor=0.5 times=3 shape=[4, 5] : f32[2, 3]\n"
              "%1 visual/layer2 = add(%0, visual.w) : f32[2, 3]\n"
              "%2 visual/layer2/flat = flat(%1) : f32[6]\n"
              "%3 extremes = extremes(%2) : f32[], f32[]\n"
              "%4 d(visual/layer2) = add(%3.1, 2.5) : f32[]\n"
              "%5 add = add(visual.w, visual.w) : f32[2, 3]\n"
              "output high = %3.1\n"
              "output (set) grad = %4\n"
              "output (added) sum = %4\n"
              "update visual.w = %5\n");
    free(text);
}

/* The node, input, output and edge lines alone: without the head, which says how it looks. */
static char *drawn(const cg_graph *g, int collapse, const char *title) {
    char *text;
    const cg_dot_options o = {.collapse = collapse, .title = title};
    ok(cg_graph_dot(g, &o, &text));
    assert_true(strncmp(text, "strict digraph clipgraph {\n  graph [", 36) == 0);
    if (title) assert_non_null(strstr(text, ", label=<a &lt; b &amp; c&gt;>];\n"));
    const char *lines = strstr(text, "  edge [");
    assert_non_null(lines);
    lines = strchr(lines, '\n') + 1;
    memmove(text, lines, strlen(lines) + 1);
    return text;
}

#define GREY(text)   "<br/><font color=\"#666666\" point-size=\"10\">" text "</font>"
#define ORANGE(text) "<br/><font color=\"#a04800\" point-size=\"10\">" text "</font>"
#define VISUAL       ">, fillcolor=\"#dbe9f6\"];"
#define FRAME        "  subgraph \"cluster_visual\" { "
#define INNER        "subgraph \"cluster_visual/layer2\" { "
#define GRADIENT     ">, fillcolor=\"#fbe3e0\"];\n"
#define ENDS(last)                                                                                 \
    "  v0 [label=<<b>image</b><br/>f32[2, 3]>, shape=ellipse, fillcolor=\"#e2f2dd\"];\n"           \
    "  o0 [label=<<b>high</b>>, shape=ellipse, fillcolor=\"#fff5c2\"];\n"                          \
    "  " last " -> o0 [label=\"f32[]\"];\n"
#define NEEDED(from, to)                                                                           \
    "  " from " -> " to " [minlen=0, weight=0, color=\"#bbbbbb\", arrowsize=0.5, style=dashed];\n"

static void prints_dot(void **state) {
    toy_fixture *f = *state;
    build_printed(f->g);
    char *text = drawn(f->g, 0, "a < b & c>");
    assert_string_equal(
        text, FRAME "label=<visual>; n0 [label=<<b>layer1</b><br/>scale factor=0.5 times=3 "
                    "shape=[4, 5]" GREY("6 FLOP") VISUAL
        " }\n" FRAME INNER
        "label=<visual/layer2>; n1 [label=<<b>layer2</b><br/>add" ORANGE("visual.w [2, 3]") VISUAL
        " } }\n" FRAME INNER "n2 [label=<<b>flat</b><br/>flat" VISUAL " } }\n"
        "  n3 [label=<<b>extremes</b><br/>extremes>, fillcolor=\"#e6e0f3\"];\n"
        "  n4 [label=<<b>d(visual/layer2)</b><br/>add" GREY("&rarr; grad") GREY("&rarr; sum")
            GRADIENT "  n5 [label=<<b>add</b><br/>add" ORANGE("visual.w [2, 3]")
                ORANGE("visual.w [2, 3]")
                    GREY("&rarr; visual.w") ">, fillcolor=\"#eeeeee\"];\n" ENDS(
                        "n3") "  v0 -> n0 [label=\"[2, 3]\"];\n"
                              "  n0 -> n1 [label=\"[2, 3]\"];\n"
                              "  n1 -> n2 [label=\"[2, 3]\"];\n"
                              "  n2 -> n3 [label=\"[6]\"];\n" NEEDED("n3", "n4") "}\n");
    free(text);
}

static void prints_dot_collapsed(void **state) {
    toy_fixture *f = *state;
    build_printed(f->g);
    char *text = drawn(f->g, 1, NULL);
    assert_string_equal(
        text,
        "  n0 [label=<<b>visual</b><br/>3 nodes" ORANGE("6 in 1 parameter") GREY("6 FLOP") VISUAL
        "\n"
        "  n1 [label=<<b>extremes</b><br/>extremes>, fillcolor=\"#e6e0f3\"];\n"
        "  n2 [label=<<b>d(visual)</b><br/>add" GREY("&rarr; grad") GREY("&rarr; sum") GRADIENT
        "  n3 [label=<<b>add</b><br/>add" ORANGE("visual.w [2, 3]") ORANGE("visual.w [2, 3]")
            GREY("&rarr; visual.w") ">, fillcolor=\"#eeeeee\"];\n" ENDS(
                "n1") "  v0 -> n0 [label=\"[2, 3]\"];\n"
                      "  n0 -> n1 [label=\"[6]\"];\n" NEEDED("n1", "n2") "}\n");
    free(text);
}

/* Gradients run upwards; an input that more than three read has light edges. */
static void prints_dot_of_gradients(void **state) {
    toy_fixture *f = *state;
    cg_value *x = toy_input(f), *y[4];
    for (int i = 0; i < 4; i++) y[i] = toy_scale(f->g, x, (float)i);
    f->g->derivative_of = "a";
    cg_value *d = toy_add(f->g, y[0], y[1]);
    toy_scale(f->g, d, 5);
    f->g->derivative_of = NULL;
    char *text = drawn(f->g, 0, NULL);
    assert_non_null(strstr(text, "  n5 -> n4 [dir=back, label=\"[2, 3]\"];\n"));
    assert_non_null(strstr(text, NEEDED("n1", "n4")));
    assert_non_null(
        strstr(text, "  v0 -> n3 [minlen=0, weight=0, color=\"#bbbbbb\", arrowsize=0.5];\n"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_GRAPH(prints_text),
        WITH_GRAPH(prints_dot),
        WITH_GRAPH(prints_dot_collapsed),
        WITH_GRAPH(prints_dot_of_gradients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
