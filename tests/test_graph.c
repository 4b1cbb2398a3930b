/* labels: unit */
#include "graph/exec.h"
#include "graph/nearest.h"
#include "graph/plan_private.h"
#include "graph/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* -- toy ops: all that the graph knows of an op, and nothing of ops/ --------------------------- */

typedef struct toy_attr {
    float factor;
    int64_t times;
    cg_shape shape;
} toy_attr;

static const cg_attr_field toy_fields[] = {CG_ATTR(toy_attr, factor, FLOAT),
                                           CG_ATTR(toy_attr, times, INT),
                                           CG_ATTR(toy_attr, shape, SHAPE),
                                           {NULL, 0, 0}};

static int64_t count_of(const cg_value *v) {
    return cg_shape_count(&v->shape);
}

static cg_status infer_same(const cg_node *n, cg_type *out) {
    for (int i = 1; i < n->n_in; i++) {
        char found[CG_SHAPE_TEXT], wanted[CG_SHAPE_TEXT];
        if (count_of(n->in[i]) != count_of(n->in[0]))
            return cg_error(CG_ESHAPE, "b is %s, wanted as many elements as a, %s",
                            cg_shape_print(&n->in[i]->shape, found),
                            cg_shape_print(&n->in[0]->shape, wanted));
    }
    *out = (cg_type){n->in[0]->dtype, n->in[0]->shape};
    return CG_OK;
}

static cg_status infer_flat(const cg_node *n, cg_type *out) {
    *out = (cg_type){n->in[0]->dtype, CG_SHAPE(count_of(n->in[0]))};
    return CG_OK;
}

static cg_status infer_extremes(const cg_node *n, cg_type *out) {
    out[0] = out[1] = (cg_type){n->in[0]->dtype, CG_SCALAR};
    return CG_OK;
}

static cg_status run_scale(const cg_task *t) {
    const toy_attr *a = t->node->attr;
    for (int64_t i = 0; i < count_of(t->node->out[0]); i++)
        ((float *)t->out[0])[i] = a->factor * ((const float *)t->in[0])[i];
    return CG_OK;
}

/* In index order backwards, so that a wrong overwrite of one operand by another's shows. */
static cg_status run_plus(const cg_task *t) {
    int64_t n = count_of(t->node->out[0]);
    for (int64_t i = n - 1; i >= 0; i--)
        ((float *)t->out[0])[i] =
            ((const float *)t->in[0])[i] + ((const float *)t->in[1])[n - 1 - i];
    return CG_OK;
}

static cg_status run_flat(const cg_task *t) {
    if (t->in[0] != t->out[0])
        memcpy(t->out[0], t->in[0], (size_t)count_of(t->node->out[0]) * sizeof(float));
    return CG_OK;
}

/* Works in scratch, which it spoils. */
static cg_status run_extremes(const cg_task *t) {
    int64_t n = count_of(t->node->in[0]);
    float *copy = t->scratch;
    memcpy(copy, t->in[0], (size_t)n * sizeof *copy);
    float low = copy[0], high = copy[0];
    for (int64_t i = 0; i < n; i++) {
        low = fminf(low, copy[i]);
        high = fmaxf(high, copy[i]);
        copy[i] = NAN;
    }
    *(float *)t->out[0] = low;
    *(float *)t->out[1] = high;
    return CG_OK;
}

static int alive_states; /* kernels prepared and not yet released */

static cg_status prepare_extremes(cg_prep *p) {
    p->scratch = (size_t)count_of(p->node->in[0]) * sizeof(float);
    p->impl = "toy:copy";
    p->state = &alive_states;
    alive_states++;
    return CG_OK;
}

static void release_extremes(void *state) {
    (*(int *)state)--;
}

static int64_t flops_scale(const cg_node *n) {
    return count_of(n->out[0]);
}

static cg_status run_broken(const cg_task *t) {
    (void)t;
    return cg_error(CG_EKERNEL, "the kernel is out of order");
}

static cg_status prepare_broken(cg_prep *p) {
    (void)p;
    return cg_error(CG_EUNSUPPORTED, "no kernel for this processor");
}

static const cg_op op_scale = {.name = "scale",
                               .min_in = 1,
                               .max_in = 1,
                               .n_out = 1,
                               .attr_size = sizeof(toy_attr),
                               .attr = toy_fields,
                               .infer = infer_same,
                               .run = run_scale,
                               .flops = flops_scale,
                               .inplace = 1};
/* y = a + reversed b: never written over an operand */
static const cg_op op_plus = {
    .name = "plus", .min_in = 2, .max_in = 2, .n_out = 1, .infer = infer_same, .run = run_plus};
static const cg_op op_flat = {.name = "flat",
                              .min_in = 1,
                              .max_in = 1,
                              .n_out = 1,
                              .infer = infer_flat,
                              .run = run_flat,
                              .view = 1};
static const cg_op op_extremes = {.name = "extremes",
                                  .min_in = 1,
                                  .max_in = 1,
                                  .n_out = 2,
                                  .infer = infer_extremes,
                                  .prepare = prepare_extremes,
                                  .run = run_extremes,
                                  .release = release_extremes};
static const cg_op op_broken = {
    .name = "broken", .min_in = 1, .max_in = 1, .n_out = 1, .infer = infer_same, .run = run_broken};
static const cg_op op_unprepared = {.name = "unprepared",
                                    .min_in = 1,
                                    .max_in = 1,
                                    .n_out = 1,
                                    .infer = infer_same,
                                    .prepare = prepare_broken,
                                    .run = run_broken};

/* c = a + b, element by element: may be written over either */
static cg_status run_add(const cg_task *t) {
    for (int64_t i = 0; i < count_of(t->node->out[0]); i++)
        ((float *)t->out[0])[i] = ((const float *)t->in[0])[i] + ((const float *)t->in[1])[i];
    return CG_OK;
}
static const cg_op op_add = {.name = "add",
                             .min_in = 2,
                             .max_in = 2,
                             .n_out = 1,
                             .infer = infer_same,
                             .run = run_add,
                             .inplace = 3};

static cg_value *scale(cg_graph *g, cg_value *x, float factor) {
    toy_attr a = {.factor = factor};
    return cg_node_add1(g, &op_scale, &a, 1, &x);
}

static cg_value *add(cg_graph *g, cg_value *a, cg_value *b) {
    return cg_node_add1(g, &op_add, NULL, 2, (cg_value *[]){a, b});
}

static cg_value *plus(cg_graph *g, cg_value *a, cg_value *b) {
    return cg_node_add1(g, &op_plus, NULL, 2, (cg_value *[]){a, b});
}

static cg_value *flat(cg_graph *g, cg_value *x) {
    return cg_node_add1(g, &op_flat, NULL, 1, &x);
}

/* -- a graph, its plan and execution ----------------------------------------------------------- */

typedef struct fixture {
    cg_params *params;
    cg_graph *g;
    cg_context *ctx;
    cg_plan *plan;
    cg_exec *exec;
} fixture;

static int setup(void **state) {
    fixture *f = *state = calloc(1, sizeof *f);
    return !f || cg_params_create(&f->params) != CG_OK ||
           cg_graph_create(f->params, &f->g) != CG_OK || cg_context_create(2, &f->ctx) != CG_OK ||
           cg_exec_create(&f->exec) != CG_OK;
}

static int teardown(void **state) {
    fixture *f = *state;
    cg_exec_free(f->exec);
    cg_plan_free(f->plan);
    cg_graph_free(f->g);
    cg_params_free(f->params);
    cg_context_free(f->ctx);
    free(f);
    return 0;
}

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != CG_OK) fail_msg("%s: %s", #call, cg_error_message());                        \
    } while (0)

#define assert_failed(call, code, sentence)                                                        \
    do {                                                                                           \
        assert_int_equal(call, code);                                                              \
        assert_string_equal(cg_error_message(), sentence);                                         \
    } while (0)

static cg_plan_report plan(fixture *f) {
    cg_plan_report report;
    assert_ok(cg_graph_verify(f->g));
    cg_plan_free(f->plan);
    assert_ok(cg_plan_create(f->ctx, f->g, &f->plan));
    assert_ok(cg_exec_use(f->exec, f->plan));
    cg_plan_get_report(f->plan, &report);
    return report;
}

static const float six[] = {1, -2, 3, -4, 5, 6};
static const cg_shape two_by_three = {2, {2, 3}};

static cg_value *input(fixture *f) {
    return cg_input(f->g, "x", CG_F32, two_by_three);
}

/* -- building ---------------------------------------------------------------------------------- */

static void errors_are_sticky(void **state) {
    fixture *f = *state;
    cg_value *x = input(f), *y = cg_input(f->g, "y", CG_F32, CG_SHAPE(4));
    cg_scope_push(f->g, "visual");
    cg_scope_push(f->g, "layer%d", 3);
    const char *sentence = "visual/layer3: add: b is [4], wanted as many elements as a, [2, 3]";
    assert_null(add(f->g, x, y));
    assert_failed(cg_graph_status(f->g), CG_ESHAPE, sentence);
    /* what follows is quiet, and changes neither the graph nor its sentence */
    assert_null(scale(f->g, NULL, 2));
    assert_null(scale(f->g, x, 2));
    assert_null(cg_input(f->g, "z", CG_F32, CG_SCALAR));
    assert_null(cg_constant_f32(f->g, 1));
    assert_null(cg_parameter(f->g, "w", CG_SCALAR, (cg_param_spec){0}));
    cg_graph_output(f->g, "out", NULL, CG_KEEP);
    cg_graph_update(f->g, NULL, NULL);
    cg_error(CG_EIO, "another sentence");
    assert_failed(cg_graph_status(f->g), CG_ESHAPE, sentence);
    assert_int_equal(f->g->n_node, 0);
    assert_int_equal(f->g->n_output, 0);
    assert_int_equal(cg_graph_verify(f->g), CG_ESHAPE);
    assert_failed(cg_plan_create(f->ctx, f->g, &f->plan), CG_ESHAPE, sentence);
    assert_null(f->plan);
}

typedef void (*mistake)(cg_graph *g, cg_value *x);

static void twice_an_input(cg_graph *g, cg_value *x) {
    (void)x;
    cg_input(g, "x", CG_F32, CG_SCALAR);
}
static void negative_input(cg_graph *g, cg_value *x) {
    (void)x;
    cg_input(g, "n", CG_F32, CG_SHAPE(2, -3));
}
static void other_shape(cg_graph *g, cg_value *x) {
    (void)x;
    cg_parameter(g, "w", CG_SHAPE(2), (cg_param_spec){0});
    cg_parameter(g, "w", CG_SHAPE(3), (cg_param_spec){0});
}
static void twice_an_output(cg_graph *g, cg_value *x) {
    cg_graph_output(g, "y", x, CG_KEEP);
    cg_graph_output(g, "y", x, CG_SET);
}
static void no_output(cg_graph *g, cg_value *x) {
    (void)x;
    cg_graph_output(g, "y", NULL, CG_KEEP);
}
static void added_integers(cg_graph *g, cg_value *x) {
    (void)x;
    cg_graph_output(g, "y", cg_input(g, "i", CG_I32, CG_SCALAR), CG_ADD);
}
static void update_of_an_input(cg_graph *g, cg_value *x) {
    cg_graph_update(g, x, x);
}
static void update_of_another_shape(cg_graph *g, cg_value *x) {
    cg_graph_update(g, cg_parameter(g, "w", CG_SHAPE(2), (cg_param_spec){0}), scale(g, x, 2));
}
static void twice_an_update(cg_graph *g, cg_value *x) {
    cg_value *w = cg_parameter(g, "w", two_by_three, (cg_param_spec){0});
    cg_graph_update(g, w, scale(g, x, 2));
    cg_graph_update(g, w, scale(g, x, 3));
}
static void null_operand(cg_graph *g, cg_value *x) {
    add(g, NULL, x);
}
static void too_few_operands(cg_graph *g, cg_value *x) {
    cg_node_add(g, &op_add, NULL, 1, &x);
}
static void long_scope(cg_graph *g, cg_value *x) {
    (void)x;
    for (int i = 0; i < 60; i++) cg_scope_push(g, "part%d", i);
    for (int i = 0; i < 60; i++) cg_scope_pop(g);
}

static void mistakes_are_named(void **state) {
    (void)state;
    static const struct {
        mistake make;
        cg_status code;
        const char *sentence;
    } cases[] = {
        {twice_an_input, CG_EINVAL, "input x is declared twice"},
        {negative_input, CG_ESHAPE, "input n: "},
        {other_shape, CG_ESHAPE, "parameter w"},
        {twice_an_output, CG_EINVAL, "output y is declared twice"},
        {no_output, CG_EINVAL, "output y: no value, or not a mode for it"},
        {added_integers, CG_EDTYPE, "output y: only f32 is added to memory, this is i32"},
        {update_of_an_input, CG_EINVAL, "an update wants a parameter and a node's result"},
        {twice_an_update, CG_EINVAL, "w is updated twice"},
        {update_of_another_shape, CG_ESHAPE, "update of w: found [2, 3], wanted [2]"},
        {null_operand, CG_EINVAL, "add: operand 0 is NULL"},
        {too_few_operands, CG_EINVAL, "add: has 1 operand, wanted 2"},
        {long_scope, CG_EINVAL, "scope part0/part1/"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cg_params *params;
        cg_graph *g;
        assert_ok(cg_params_create(&params));
        assert_ok(cg_graph_create(params, &g));
        cases[i].make(g, cg_input(g, "x", CG_F32, two_by_three));
        assert_int_equal(cg_graph_status(g), cases[i].code);
        if (strncmp(cg_error_message(), cases[i].sentence, strlen(cases[i].sentence)) != 0)
            fail_msg("case %zu: \"%s\", wanted \"%s\"", i, cg_error_message(), cases[i].sentence);
        cg_graph_free(g);
        cg_params_free(params);
    }
}

static void foreign_values_and_no_store(void **state) {
    fixture *f = *state;
    cg_graph *other;
    assert_ok(cg_graph_create(NULL, &other));
    assert_null(cg_parameter(other, "w", CG_SCALAR, (cg_param_spec){0}));
    assert_failed(cg_graph_status(other), CG_EINVAL,
                  "parameter w: the graph has no parameter store");
    cg_graph_free(other);

    assert_ok(cg_graph_create(NULL, &other));
    cg_value *theirs = cg_input(other, "x", CG_F32, two_by_three);
    assert_null(add(f->g, input(f), theirs));
    assert_failed(cg_graph_status(f->g), CG_EINVAL, "add: operand 1 is a value of another graph");
    cg_graph_free(other);
}

static void names_follow_scopes(void **state) {
    fixture *f = *state;
    cg_value *x = input(f);
    assert_string_equal(scale(f->g, x, 1)->name, "scale");
    cg_scope_push(f->g, "visual");
    cg_scope_push(f->g, "%d", 7);
    assert_string_equal(scale(f->g, x, 1)->name, "visual/7");
    assert_string_equal(scale(f->g, x, 1)->name, "visual/7/scale");
    assert_string_equal(add(f->g, x, x)->name, "visual/7/add");
    cg_scope_pop(f->g);
    assert_string_equal(flat(f->g, x)->name, "visual");
    cg_scope_pop(f->g);
    f->g->derivative_of = "visual/7";
    assert_string_equal(flat(f->g, x)->name, "d(visual/7)");
    f->g->derivative_of = NULL;
    assert_string_equal(flat(f->g, x)->name, "flat");
    assert_int_equal(cg_graph_find_input(f->g, "x") == x, 1);
    assert_null(cg_graph_find_input(f->g, "visual"));
    assert_null(cg_graph_find_output(f->g, "x"));
    assert_true(cg_graph_key(f->g) != cg_graph_key(f->g));
    assert_ok(cg_graph_verify(f->g));
}

static void parameters_are_shared(void **state) {
    fixture *f = *state;
    cg_param_spec spec = {.scale = 1};
    cg_value *w = cg_parameter(f->g, "w", two_by_three, spec);
    assert_ptr_equal(cg_parameter(f->g, "w", two_by_three, spec), w);
    assert_ptr_equal(w->param, cg_params_find(f->params, "w"));
    cg_value *seven = cg_constant_f32(f->g, 7);
    assert_true(*(const float *)seven->data == 7);
    assert_ok(cg_graph_status(f->g));
}

/* -- printing ---------------------------------------------------------------------------------- */

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
    cg_value *y = cg_node_add1(g, &op_scale, &a, 1, &x);
    cg_scope_pop(g);
    cg_scope_push(g, "layer2");
    y = add(g, y, w);
    y = flat(g, y);
    cg_scope_pop(g);
    cg_scope_pop(g);
    cg_value *z = cg_node_add(g, &op_extremes, NULL, 1, &y)->out[1];
    g->derivative_of = "visual/layer2";
    cg_value *d = add(g, z, cg_constant_f32(g, 2.5f));
    g->derivative_of = NULL;
    cg_graph_output(g, "high", z, CG_KEEP);
    cg_graph_output(g, "grad", d, CG_SET);
    cg_graph_output(g, "sum", d, CG_ADD);
    cg_graph_update(g, w, add(g, w, w));
}

static void prints_text(void **state) {
    fixture *f = *state;
    char *text;
    build_printed(f->g);
    assert_ok(cg_graph_text(f->g, &text));
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

#define DOT_HEAD                                                                                   \
    "strict digraph clipgraph {\n"                                                                 \
    "  graph [bgcolor=white, nodesep=0.2, ranksep=0.25];\n"                                        \
    "  node [shape=box, style=\"filled,rounded\", color=\"#666666\", fontname=\"Helvetica\", "     \
    "fontsize=11, height=0.3, margin=\"0.12,0.04\"];\n"                                            \
    "  edge [color=\"#444444\", arrowsize=0.7];\n"                                                 \
    "  v0 [label=\"image\\nf32[2, 3]\", shape=ellipse, fillcolor=\"#e2f2dd\"];\n"
#define DOT_HIGH             "  o0 [label=\"high\", shape=ellipse, fillcolor=\"#fff5c2\"];\n"
#define DOT_NEEDED(from, to) "  " from " -> " to " [style=dashed, color=\"#999999\"];\n"
#define VISUAL               "fillcolor=\"#dbe9f6\"];\n"

static void prints_dot(void **state) {
    fixture *f = *state;
    char *text;
    build_printed(f->g);
    assert_ok(cg_graph_dot(f->g, 0, &text));
    assert_string_equal(
        text, DOT_HEAD
        "  n0 [label=\"visual/layer1\\nscale factor=0.5 times=3 shape=[4, 5]\\nf32[2, 3]\", " VISUAL
        "  n1 [label=\"visual/layer2\\nadd\\nf32[2, 3]\", " VISUAL
        "  n2 [label=\"visual/layer2/flat\\nflat\\nf32[6]\", " VISUAL
        "  n3 [label=\"extremes\\nextremes\\nf32[]\", fillcolor=\"#e6e0f3\"];\n"
        "  n4 [label=\"d(visual/layer2)\\nadd\\nf32[]\", fillcolor=\"#fbe3e0\"];\n"
        "  n5 [label=\"add\\nadd\\nf32[2, 3]\", fillcolor=\"#eeeeee\"];\n"
        "  v0 -> n0;\n  n0 -> n1;\n  n1 -> n2;\n  n2 -> n3;\n" DOT_NEEDED("n3", "n4") DOT_HIGH
        "  n3 -> o0;\n}\n");
    free(text);
    assert_ok(cg_graph_dot(f->g, 1, &text));
    assert_string_equal(text, DOT_HEAD
                        "  n0 [label=\"visual\\n3 nodes\\nf32[6]\", " VISUAL
                        "  n1 [label=\"extremes\\nextremes\\nf32[]\", fillcolor=\"#e6e0f3\"];\n"
                        "  n2 [label=\"d(visual)\\nadd\\nf32[]\", fillcolor=\"#fbe3e0\"];\n"
                        "  n3 [label=\"add\\nadd\\nf32[2, 3]\", fillcolor=\"#eeeeee\"];\n"
                        "  v0 -> n0;\n  n0 -> n1;\n" DOT_NEEDED("n1", "n2") DOT_HIGH
                        "  n1 -> o0;\n}\n");
    free(text);
    assert_ok(cg_graph_dot(f->g, 3, &text)); /* names of fewer parts stand alone, attributes not */
    assert_non_null(strstr(text, "[label=\"visual/layer1\\nscale\\nf32[2, 3]\""));
    assert_non_null(strstr(text, "[label=\"visual/layer2\\nadd\\nf32[2, 3]\""));
    assert_non_null(strstr(text, "[label=\"visual/layer2/flat\\nflat\\nf32[6]\""));
    free(text);
}

/* -- verifying --------------------------------------------------------------------------------- */

static void verify_finds_a_wrong_type(void **state) {
    fixture *f = *state;
    cg_scope_push(f->g, "block");
    cg_value *y = scale(f->g, scale(f->g, input(f), 2), 3);
    assert_ok(cg_graph_verify(f->g));
    y->shape.dim[1] = 4;
    assert_failed(cg_graph_verify(f->g), CG_EINVAL,
                  "node 1, block/scale: scale: output 0 is f32 [2, 4], its operands make it f32 "
                  "[2, 3]");
}

static void verify_finds_a_wrong_order(void **state) {
    fixture *f = *state;
    scale(f->g, scale(f->g, input(f), 2), 3);
    cg_node *first = f->g->node[0];
    f->g->node[0] = f->g->node[1];
    f->g->node[1] = first;
    assert_failed(cg_graph_verify(f->g), CG_EINVAL, "node 0, scale: scale: is numbered 1");
    f->g->node[0]->id = 0;
    f->g->node[1]->id = 1;
    assert_failed(cg_graph_verify(f->g), CG_EINVAL,
                  "node 0, scale: scale: operand 0 is made by scale, which runs later");
}

static void verify_finds_lost_values(void **state) {
    fixture *f = *state;
    cg_value *y = scale(f->g, input(f), 2);
    scale(f->g, y, 3);
    cg_graph_output(f->g, "y", y, CG_KEEP);
    y->node->dead = 1; /* as a faulty pass would: others still read it */
    cg_graph_sweep(f->g);
    assert_failed(cg_graph_verify(f->g), CG_EINVAL,
                  "node 0, scale: scale: operand 0 is a value of another graph");
    f->g->node[0]->dead = 1;
    cg_graph_sweep(f->g);
    assert_failed(cg_graph_verify(f->g), CG_EINVAL, "output y is not a value of the graph");
}

/* -- passes ------------------------------------------------------------------------------------ */

static void dead_nodes_go(void **state) {
    fixture *f = *state;
    cg_value *x = input(f), *w = cg_parameter(f->g, "w", two_by_three, (cg_param_spec){0});
    cg_value *kept = scale(f->g, x, 2);
    scale(f->g, scale(f->g, kept, 3), 4); /* two that nobody asks for */
    cg_value *updated = add(f->g, w, scale(f->g, x, 5));
    cg_graph_output(f->g, "kept", kept, CG_KEEP);
    cg_graph_update(f->g, w, updated);
    assert_int_equal(cg_pass_dead(f->g), 2);
    assert_int_equal(f->g->n_node, 3);
    assert_int_equal(cg_pass_dead(f->g), 0);
    assert_ok(cg_graph_verify(f->g));
    for (int i = 0; i < f->g->n_value; i++) assert_int_equal(f->g->value[i]->id, i);
}

static void equal_nodes_merge(void **state) {
    fixture *f = *state;
    cg_value *x = input(f);
    cg_value *a = add(f->g, scale(f->g, x, 2), x);
    cg_value *b = add(f->g, scale(f->g, x, 2), x); /* the same, two deep */
    cg_value *c = add(f->g, scale(f->g, x, 3), x); /* another attribute */
    cg_value *d = add(f->g, x, scale(f->g, x, 2)); /* operands the other way round */
    cg_value *sum = add(f->g, add(f->g, a, b), add(f->g, c, d));
    cg_graph_output(f->g, "sum", sum, CG_KEEP);
    cg_graph_output(f->g, "b", b, CG_KEEP);
    int before = f->g->n_node;
    assert_int_equal(cg_pass_common(f->g), 3); /* two scales, one add */
    assert_int_equal(f->g->n_node, before - 3);
    assert_ptr_equal(cg_graph_find_output(f->g, "b")->value, a);
    assert_int_equal(cg_pass_common(f->g), 0);
    plan(f);
    assert_ok(cg_exec_bind_input(f->exec, "x", six));
    assert_ok(cg_exec_run(f->exec));
    const float *out = cg_exec_output(f->exec, "sum");
    for (int i = 0; i < 6; i++) assert_true(out[i] == six[i] * (3 + 3 + 4 + 3));
}

/* Attributes are compared field by field: what lies between the fields says nothing. */
static void padding_is_not_compared(void **state) {
    fixture *f = *state;
    cg_value *x = input(f), *made[3];
    for (int i = 0; i < 3; i++) {
        toy_attr a;
        memset(&a, i == 0 ? 0 : 255, sizeof a);
        a.factor = i == 2 ? 3 : 2;
        a.times = 0;
        a.shape = CG_SCALAR;
        if (i) a.shape.dim[CG_MAX_RANK - 1] = 7; /* past its rank */
        made[i] = cg_node_add1(f->g, &op_scale, &a, 1, &x);
        cg_graph_output(f->g, (const char *const[]){"a", "b", "c"}[i], made[i], CG_KEEP);
    }
    assert_int_equal(cg_pass_common(f->g), 1);
    assert_ptr_equal(cg_graph_find_output(f->g, "b")->value, made[0]);
    assert_ptr_equal(cg_graph_find_output(f->g, "c")->value, made[2]);
}

static void equal_constants_merge(void **state) {
    fixture *f = *state;
    cg_value *one = cg_constant_f32(f->g, 1), *again = cg_constant_f32(f->g, 1);
    cg_value *two = cg_constant_f32(f->g, 2);
    float bits = 1;
    cg_value *row = cg_constant(f->g, CG_F32, CG_SHAPE(1), &bits); /* same bytes, another shape */
    cg_value *a = scale(f->g, one, 5), *b = scale(f->g, again, 5);
    cg_value *c = scale(f->g, two, 5), *d = scale(f->g, row, 5);
    cg_graph_output(f->g, "a", a, CG_KEEP);
    cg_graph_output(f->g, "b", b, CG_KEEP);
    cg_graph_output(f->g, "c", c, CG_KEEP);
    cg_graph_output(f->g, "d", d, CG_KEEP);
    assert_int_equal(cg_pass_common(f->g), 1);
    assert_ptr_equal(cg_graph_find_output(f->g, "b")->value, a);
    assert_ok(cg_graph_verify(f->g));
}

/* -- planning ---------------------------------------------------------------------------------- */

static void chains_run_in_place(void **state) {
    fixture *f = *state;
    cg_value *y = input(f);
    for (int i = 0; i < 5; i++) y = scale(f->g, y, 2);
    cg_graph_output(f->g, "y", y, CG_KEEP);
    cg_plan_report r = plan(f);
    assert_int_equal(r.n_inplace, 4); /* all but the first, which must not touch the input */
    assert_int_equal(r.arena_bytes, 64);
    assert_int_equal(r.lower_bound, 64);
    assert_int_equal(r.all_bytes, 5 * 64);
    assert_int_equal(r.flops, 5 * 6);
    assert_int_equal(r.n_nodes, 5);
    assert_ok(cg_exec_bind_input(f->exec, "x", six));
    assert_ok(cg_exec_run(f->exec));
    for (int i = 0; i < 6; i++)
        assert_true(((const float *)cg_exec_output(f->exec, "y"))[i] == 32 * six[i]);
}

static void what_is_read_later_is_not_overwritten(void **state) {
    fixture *f = *state;
    cg_value *a = scale(f->g, input(f), 2);
    cg_value *b = scale(f->g, a, 3); /* a is read again */
    cg_value *c = scale(f->g, b, 5); /* b is an output that stays */
    cg_graph_output(f->g, "b", b, CG_KEEP);
    cg_graph_output(f->g, "sum", add(f->g, a, c), CG_KEEP);
    cg_plan_report r = plan(f);
    assert_int_equal(r.n_inplace, 1); /* the add alone */
    assert_ok(cg_exec_bind_input(f->exec, "x", six));
    assert_ok(cg_exec_run(f->exec));
    for (int i = 0; i < 6; i++) {
        assert_true(((const float *)cg_exec_output(f->exec, "b"))[i] == 6 * six[i]);
        assert_true(((const float *)cg_exec_output(f->exec, "sum"))[i] == 32 * six[i]);
    }
}

static void views_cost_nothing(void **state) {
    fixture *f = *state;
    cg_value *x = input(f), *a = scale(f->g, x, 2);
    cg_value *b = flat(f->g, a);   /* in the arena */
    cg_value *c = add(f->g, a, b); /* both are the same bytes, of two shapes */
    cg_value *d = add(f->g, flat(f->g, x), flat(f->g, c)); /* of an input */
    cg_graph_output(f->g, "view", b, CG_KEEP);
    cg_graph_output(f->g, "d", d, CG_KEEP);
    cg_plan_report r = plan(f);
    assert_int_equal(r.n_views, 3);
    assert_int_equal(r.n_inplace, 1); /* d over c; c may not go over a, which is an output's */
    assert_int_equal(r.arena_bytes, 128);
    assert_ok(cg_exec_bind_input(f->exec, "x", six));
    assert_ok(cg_exec_run(f->exec));
    for (int i = 0; i < 6; i++) {
        assert_true(((const float *)cg_exec_output(f->exec, "view"))[i] == 2 * six[i]);
        assert_true(((const float *)cg_exec_output(f->exec, "d"))[i] == 5 * six[i]);
    }
}

static void scratch_and_kernels(void **state) {
    fixture *f = *state;
    cg_value *big = cg_input(f->g, "big", CG_F32, CG_SHAPE(100));
    cg_node *n = cg_node_add(f->g, &op_extremes, NULL, 1, &big);
    cg_graph_output(f->g, "high", n->out[1], CG_KEEP);
    cg_plan_report r = plan(f);
    assert_int_equal(r.scratch_bytes, 400);
    assert_int_equal(r.arena_bytes, 64 + 64 + 448);
    assert_string_equal(cg_plan_impl(f->plan, 0), "toy:copy");
    assert_ptr_equal(cg_plan_graph(f->plan), f->g);
    assert_int_equal(alive_states, 1);
    cg_plan_free(f->plan);
    f->plan = NULL;
    assert_int_equal(alive_states, 0);
}

static void refused_kernels_release_the_rest(void **state) {
    fixture *f = *state;
    cg_value *x = input(f);
    cg_node_add(f->g, &op_extremes, NULL, 1, &x);
    cg_scope_push(f->g, "head");
    cg_node_add1(f->g, &op_unprepared, NULL, 1, &x);
    assert_failed(cg_plan_create(f->ctx, f->g, &f->plan), CG_EUNSUPPORTED,
                  "head: unprepared: no kernel for this processor");
    assert_null(f->plan);
    assert_int_equal(alive_states, 0);
}

enum { MOST = 120 };

/* Random lifetimes: mode 0 short and equal sizes, 1 short and mixed, 2 nested as in training (a
 * value made on the way there is read on the way back), 3 a mixture. */
static int random_storage(cg_rng *r, int mode, cg_storage *s, int *nodes) {
    int n = 1 + (int)cg_rng_below(r, MOST);
    *nodes = 2 * n;
    for (int i = 0; i < n; i++) {
        int kind = mode == 3 ? (int)cg_rng_below(r, 3) : mode;
        s[i] = (cg_storage){.bytes = 64 * (kind ? 1 + (size_t)cg_rng_below(r, 64) : 1),
                            .first = i,
                            .last = kind == 2 ? 2 * n - 1 - i : i + (int)cg_rng_below(r, 8)};
    }
    return n;
}

static void offsets_never_overlap(void **state) {
    (void)state;
    cg_storage s[MOST];
    for (int k = 0; k < 2000; k++) {
        cg_rng r = cg_rng_at(1, CG_RNG_TEST, (uint64_t)k, 0);
        int nodes, n = random_storage(&r, k % 4, s, &nodes);
        size_t arena, bound;
        assert_ok(cg_offsets_choose(s, n, &arena));
        assert_ok(cg_offsets_lower_bound(s, n, nodes + 8, &bound));
        for (int i = 0; i < n; i++) {
            assert_true(s[i].offset + s[i].bytes <= arena);
            assert_int_equal(s[i].offset % 64, 0);
            for (int j = 0; j < i; j++)
                if (s[i].first <= s[j].last && s[j].first <= s[i].last &&
                    s[i].offset < s[j].offset + s[j].bytes &&
                    s[j].offset < s[i].offset + s[i].bytes)
                    fail_msg("case %d: storages %d and %d overlap", k, j, i);
        }
        if (arena < bound || arena > bound + bound / 4)
            fail_msg("case %d: an arena of %zu bytes, the lower bound is %zu", k, arena, bound);
    }
    size_t arena = 1, bound = 1;
    assert_ok(cg_offsets_choose(s, 0, &arena));
    assert_ok(cg_offsets_lower_bound(s, 0, 0, &bound));
    assert_int_equal(arena, 0);
    assert_int_equal(bound, 0);
}

/* -- executing --------------------------------------------------------------------------------- */

static void outputs_arrive_in_every_mode(void **state) {
    fixture *f = *state;
    cg_value *x = input(f), *w = cg_parameter(f->g, "w", two_by_three, (cg_param_spec){.scale = 1});
    cg_value *y = scale(f->g, x, 2);
    cg_graph_output(f->g, "kept", y, CG_KEEP);
    cg_graph_output(f->g, "added", y, CG_ADD);
    cg_graph_output(f->g, "set", y, CG_SET);
    cg_graph_output(f->g, "direct", scale(f->g, x, 7), CG_SET);
    cg_graph_output(f->g, "input", x, CG_SET);
    cg_graph_output(f->g, "view", flat(f->g, x), CG_SET);
    cg_graph_update(f->g, w, add(f->g, w, y));
    assert_ok(cg_params_alloc(f->params));
    cg_params_init(f->params, 0);
    plan(f);

    float added[6] = {100, 100, 100, 100, 100, 100}, set[6], direct[6], copied[6], view[6];
    const float *now = cg_params_find(f->params, "w")->data;
    assert_ok(cg_exec_bind_input(f->exec, "x", six));
    assert_ok(cg_exec_bind_output(f->exec, "added", added));
    assert_ok(cg_exec_bind_output(f->exec, "set", set));
    assert_ok(cg_exec_bind_output(f->exec, "direct", direct));
    assert_ok(cg_exec_bind_output(f->exec, "input", copied));
    assert_ok(cg_exec_bind_output(f->exec, "view", view));
    for (int run = 1; run <= 2; run++) {
        assert_ok(cg_exec_run(f->exec));
        const float *kept = cg_exec_output(f->exec, "kept");
        for (int i = 0; i < 6; i++) {
            assert_true(kept[i] == 2 * six[i]);
            assert_true(added[i] == 100 + (float)run * 2 * six[i]);
            assert_true(set[i] == 2 * six[i]);
            assert_true(direct[i] == 7 * six[i]);
            assert_true(copied[i] == six[i] && view[i] == six[i]);
            assert_true(now[i] == 1); /* an update waits … */
        }
    }
    cg_exec_commit(f->exec); /* … until it is committed, and a run that was not leaves no trace */
    for (int i = 0; i < 6; i++) assert_true(now[i] == 1 + 2 * six[i]);
}

static void unbound_memory_is_named(void **state) {
    fixture *f = *state;
    cg_value *x = input(f), *second = cg_input(f->g, "second", CG_F32, two_by_three);
    cg_value *y = scale(f->g, add(f->g, x, second), 2);
    cg_graph_output(f->g, "y", y, CG_SET);
    cg_graph_output(f->g, "kept", y, CG_KEEP);
    assert_failed(cg_exec_run(f->exec), CG_EINVAL, "the execution has no plan");
    plan(f);
    assert_failed(cg_exec_run(f->exec), CG_EINVAL, "input x has no memory");
    assert_ok(cg_exec_bind_input(f->exec, "x", six));
    assert_failed(cg_exec_run(f->exec), CG_EINVAL, "input second has no memory");
    assert_ok(cg_exec_bind_input(f->exec, "second", six));
    assert_failed(cg_exec_run(f->exec), CG_EINVAL, "output y is not bound");
    float out[6];
    assert_failed(cg_exec_bind_input(f->exec, "third", six), CG_ENOTFOUND,
                  "the graph has no input third");
    assert_failed(cg_exec_bind_output(f->exec, "z", out), CG_ENOTFOUND,
                  "the graph has no output z");
    assert_failed(cg_exec_bind_output(f->exec, "kept", out), CG_EINVAL,
                  "output kept is kept in the arena: it takes no memory");
    assert_ok(cg_exec_bind_output(f->exec, "y", out));
    assert_ok(cg_exec_run(f->exec));
    assert_null(cg_exec_output(f->exec, "y")); /* it went to the caller's memory */
    assert_null(cg_exec_output(f->exec, "z"));
    assert_ok(cg_exec_use(f->exec, f->plan)); /* which forgets the bindings */
    assert_failed(cg_exec_run(f->exec), CG_EINVAL, "input x has no memory");
}

static void parameters_need_memory(void **state) {
    fixture *f = *state;
    cg_value *w = cg_parameter(f->g, "w", CG_SHAPE(3), (cg_param_spec){0});
    cg_graph_output(f->g, "y", scale(f->g, w, 2), CG_KEEP);
    plan(f);
    assert_failed(cg_exec_run(f->exec), CG_EINVAL, "parameter w has no memory");
}

static void kernel_errors_name_the_node(void **state) {
    fixture *f = *state;
    cg_value *x = input(f);
    cg_scope_push(f->g, "text");
    cg_graph_output(f->g, "y", cg_node_add1(f->g, &op_broken, NULL, 1, &x), CG_KEEP);
    plan(f);
    assert_ok(cg_exec_bind_input(f->exec, "x", six));
    assert_failed(cg_exec_run(f->exec), CG_EKERNEL, "text: broken: the kernel is out of order");
}

static void the_first_nonfinite_is_named(void **state) {
    fixture *f = *state;
    cg_value *x = input(f), *w = cg_parameter(f->g, "w", two_by_three, (cg_param_spec){0});
    cg_value *y = add(f->g, x, w);
    cg_scope_push(f->g, "block");
    y = scale(f->g, y, 1e30f);
    cg_scope_push(f->g, "mlp");
    y = scale(f->g, y, 1e30f); /* beyond f32 where y is not 0 */
    cg_scope_pop(f->g);
    y = scale(f->g, y, 0); /* and then no number */
    float sum[6] = {0};
    cg_graph_output(f->g, "y", y, CG_ADD);
    assert_ok(cg_params_alloc(f->params));
    plan(f);
    float zero[6] = {0}, some[6] = {0, 0, 0, -4, 0, 0}, bad[6] = {0, 0, NAN, 0, 0, 0};
    assert_ok(cg_exec_bind_output(f->exec, "y", sum));

    cg_nonfinite found;
    assert_ok(cg_exec_bind_input(f->exec, "x", zero));
    assert_ok(cg_exec_find_nonfinite(f->exec, &found));
    assert_null(found.node);
    assert_null(found.name);

    assert_ok(cg_exec_bind_input(f->exec, "x", some));
    assert_ok(cg_exec_find_nonfinite(f->exec, &found));
    assert_string_equal(found.name, "block/mlp");
    assert_ptr_equal(found.node, f->g->node[2]);
    assert_int_equal(found.element, 3);
    assert_true(found.value < 0 && isinf(found.value));

    assert_ok(cg_exec_bind_input(f->exec, "x", bad));
    assert_ok(cg_exec_find_nonfinite(f->exec, &found));
    assert_null(found.node);
    assert_string_equal(found.name, "x");
    assert_int_equal(found.element, 2);

    assert_ok(cg_exec_bind_input(f->exec, "x", some));
    ((float *)cg_params_find(f->params, "w")->data)[5] = INFINITY;
    assert_ok(cg_exec_find_nonfinite(f->exec, &found));
    assert_string_equal(found.name, "w");
    assert_int_equal(found.element, 5);
    for (int i = 0; i < 6; i++) assert_true(sum[i] == 0); /* searching adds to nothing */
}

static void executions_serve_several_plans(void **state) {
    fixture *f = *state;
    cg_graph_output(f->g, "y", scale(f->g, input(f), 2), CG_KEEP);
    plan(f);
    cg_graph *other;
    cg_plan *larger;
    assert_ok(cg_graph_create(NULL, &other));
    float big[400];
    for (int i = 0; i < 400; i++) big[i] = (float)i;
    cg_graph_output(other, "y", scale(other, cg_input(other, "x", CG_F32, CG_SHAPE(400)), 3),
                    CG_KEEP);
    assert_ok(cg_plan_create(f->ctx, other, &larger));
    for (int turn = 0; turn < 3; turn++) {
        assert_ok(cg_exec_use(f->exec, larger));
        assert_ok(cg_exec_bind_input(f->exec, "x", big));
        assert_ok(cg_exec_run(f->exec));
        assert_true(((const float *)cg_exec_output(f->exec, "y"))[399] == 3 * 399);
        assert_ok(cg_exec_use(f->exec, f->plan));
        assert_ok(cg_exec_bind_input(f->exec, "x", six));
        assert_ok(cg_exec_run(f->exec));
        assert_true(((const float *)cg_exec_output(f->exec, "y"))[5] == 12);
    }
    assert_ok(cg_exec_use(f->exec, f->plan));
    cg_plan_free(larger);
    cg_graph_free(other);
}

static void profiles_name_ops(void **state) {
    fixture *f = *state;
    char *text;
    cg_graph_output(f->g, "y", scale(f->g, scale(f->g, input(f), 2), 2), CG_KEEP);
    plan(f);
    assert_ok(cg_exec_bind_input(f->exec, "x", six));
    cg_exec_profile(f->exec, 1);
    for (int i = 0; i < 3; i++) assert_ok(cg_exec_run(f->exec));
    cg_exec_profile(f->exec, 0);
    assert_ok(cg_exec_run(f->exec)); /* not counted */
    assert_ok(cg_exec_profile_text(f->exec, &text));
    assert_non_null(strstr(text, "\nscale                              2.0"));
    assert_non_null(strstr(text, "all, runs                            3"));
    free(text);
}

/* -- random graphs against an evaluation that never reuses memory ------------------------------ */

enum { NODES = 24, ELEMENTS = 6 };

/* A graph of n nodes over x and w; v[i] are its values' numbers, worked out one by one. */
static int random_graph(fixture *f, cg_rng *r, cg_value **v, float (*expected)[ELEMENTS]) {
    int n = 2;
    v[0] = input(f);
    v[1] = cg_parameter(f->g, "w", CG_SHAPE(ELEMENTS), (cg_param_spec){.scale = 1});
    for (int i = 0; i < ELEMENTS; i++) {
        expected[0][i] = six[i];
        expected[1][i] = 1;
    }
    while (n < NODES) {
        /* mostly recent values: chains are where memory is reused */
        int span = n < 4 ? n : 4;
        int a = n - 1 - (int)cg_rng_below(r, (uint64_t)span), b = (int)cg_rng_below(r, (uint64_t)n);
        uint64_t kind = cg_rng_below(r, 4);
        for (int i = 0; i < ELEMENTS; i++) {
            float other = kind == 2 ? expected[b][ELEMENTS - 1 - i] : expected[b][i];
            expected[n][i] = kind == 0   ? -.5f * expected[a][i]
                             : kind == 3 ? expected[a][i]
                                         : expected[a][i] + other;
        }
        v[n] = kind == 0   ? scale(f->g, v[a], -.5f)
               : kind == 1 ? add(f->g, v[a], v[b])
               : kind == 2 ? plus(f->g, v[a], v[b])
                           : flat(f->g, v[a]);
        n++;
    }
    return n;
}

static void random_graphs_compute_the_same(void **state) {
    (void)state;
    for (int k = 0; k < 500; k++) {
        fixture *f = NULL;
        assert_int_equal(setup((void **)&f), 0);
        cg_rng r = cg_rng_at(2, CG_RNG_TEST, (uint64_t)k, 0);
        cg_value *v[NODES];
        float expected[NODES][ELEMENTS], memory[NODES][ELEMENTS] = {{0}};
        int n = random_graph(f, &r, v, expected), mode[NODES];
        for (int i = 0; i < n; i++) {
            char name[16];
            snprintf(name, sizeof name, "v%d", i);
            mode[i] = i == n - 1 ? CG_KEEP : (int)cg_rng_below(&r, 12); /* a quarter are outputs */
            if (mode[i] <= CG_ADD) cg_graph_output(f->g, name, v[i], (cg_output_mode)mode[i]);
        }
        assert_ok(cg_params_alloc(f->params));
        cg_params_init(f->params, 0);
        if (k % 2) {
            cg_pass_common(f->g);
            cg_pass_dead(f->g);
        }
        plan(f);
        assert_ok(cg_exec_bind_input(f->exec, "x", six));
        for (int i = 0; i < n; i++) {
            char name[16];
            snprintf(name, sizeof name, "v%d", i);
            if (mode[i] == CG_SET || mode[i] == CG_ADD)
                assert_ok(cg_exec_bind_output(f->exec, name, memory[i]));
        }
        assert_ok(cg_exec_run(f->exec));
        for (int i = 0; i < n; i++) {
            char name[16];
            snprintf(name, sizeof name, "v%d", i);
            const float *found = mode[i] == CG_KEEP ? cg_exec_output(f->exec, name) : memory[i];
            for (int e = 0; mode[i] <= CG_ADD && e < ELEMENTS; e++)
                if (found[e] != expected[i][e])
                    fail_msg("graph %d, value %d (%s): element %d is %g, wanted %g", k, i,
                             v[i]->name, e, (double)found[e], (double)expected[i][e]);
        }
        teardown((void **)&f);
    }
}

/* -- contexts and names ------------------------------------------------------------------------ */

static void contexts(void **state) {
    (void)state;
    cg_context *c;
    assert_ok(cg_context_create(0, &c));
    assert_true(c->threads >= 1);
    cg_context_free(c);
    assert_failed(cg_context_create(-1, &c), CG_EINVAL,
                  "-1 threads asked for, wanted 0 (all) to 1024");
    assert_null(c);
    cg_context_free(NULL);
}

static void nearest_names(void **state) {
    (void)state;
    static const char *const keys[] = {"width",          "layers",     "image_size",
                                       "context_length", "vocab_size", NULL};
    static const struct {
        const char *word, *wanted;
    } cases[] = {
        {"widht", "width"},
        {"Width", "width"},
        {"layer", "layers"},
        {"imagesize", "image_size"},
        {"vocabsize", "vocab_size"},
        {"contextlength", "context_length"},
        {"width", "width"},
        {"heads", NULL},
        {"", NULL},
        {"zzzzzz", NULL},
        {"w", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *found = cg_nearest(cases[i].word, keys);
        if (!found != !cases[i].wanted || (found && strcmp(found, cases[i].wanted) != 0))
            fail_msg("%s: found %s, wanted %s", cases[i].word, found ? found : "none",
                     cases[i].wanted ? cases[i].wanted : "none");
    }
    char longer[200];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_null(cg_nearest(longer, keys));
    assert_null(cg_nearest("width", (const char *const[]){NULL}));
}

#define WITH_GRAPH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_GRAPH(errors_are_sticky),
        cmocka_unit_test(mistakes_are_named),
        WITH_GRAPH(foreign_values_and_no_store),
        WITH_GRAPH(names_follow_scopes),
        WITH_GRAPH(parameters_are_shared),
        WITH_GRAPH(prints_text),
        WITH_GRAPH(prints_dot),
        WITH_GRAPH(verify_finds_a_wrong_type),
        WITH_GRAPH(verify_finds_a_wrong_order),
        WITH_GRAPH(verify_finds_lost_values),
        WITH_GRAPH(dead_nodes_go),
        WITH_GRAPH(equal_nodes_merge),
        WITH_GRAPH(padding_is_not_compared),
        WITH_GRAPH(equal_constants_merge),
        WITH_GRAPH(chains_run_in_place),
        WITH_GRAPH(what_is_read_later_is_not_overwritten),
        WITH_GRAPH(views_cost_nothing),
        WITH_GRAPH(scratch_and_kernels),
        WITH_GRAPH(refused_kernels_release_the_rest),
        cmocka_unit_test(offsets_never_overlap),
        WITH_GRAPH(outputs_arrive_in_every_mode),
        WITH_GRAPH(unbound_memory_is_named),
        WITH_GRAPH(parameters_need_memory),
        WITH_GRAPH(kernel_errors_name_the_node),
        WITH_GRAPH(the_first_nonfinite_is_named),
        WITH_GRAPH(executions_serve_several_plans),
        WITH_GRAPH(profiles_name_ops),
        cmocka_unit_test(random_graphs_compute_the_same),
        cmocka_unit_test(contexts),
        cmocka_unit_test(nearest_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
