/* labels: unit */
/* Building a graph, its names, verification, passes. */
#include "graph/nearest.h"
#include "tests/support/toy_ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- building ---------------------------------------------------------------------------------- */

static void errors_are_sticky(void **state) {
    toy_fixture *f = *state;
    cg_value *x = toy_input(f), *y = cg_input(f->g, "y", CG_F32, CG_SHAPE(4));
    cg_scope_push(f->g, "visual");
    cg_scope_push(f->g, "layer%d", 3);
    const char *sentence = "visual/layer3: add: b is [4], wanted as many elements as a, [2, 3]";
    assert_null(toy_add(f->g, x, y));
    assert_failed(cg_graph_status(f->g), CG_ESHAPE, sentence);
    /* what follows is quiet, and changes neither the graph nor its sentence */
    assert_null(toy_scale(f->g, NULL, 2));
    assert_null(toy_scale(f->g, x, 2));
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
    cg_graph_update(g, cg_parameter(g, "w", CG_SHAPE(2), (cg_param_spec){0}), toy_scale(g, x, 2));
}
static void twice_an_update(cg_graph *g, cg_value *x) {
    cg_value *w = cg_parameter(g, "w", two_by_three, (cg_param_spec){0});
    cg_graph_update(g, w, toy_scale(g, x, 2));
    cg_graph_update(g, w, toy_scale(g, x, 3));
}
static void null_operand(cg_graph *g, cg_value *x) {
    toy_add(g, NULL, x);
}
static void too_few_operands(cg_graph *g, cg_value *x) {
    cg_node_add(g, &toy_op_add, NULL, 1, &x);
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
        ok(cg_params_create(&params));
        ok(cg_graph_create(params, &g));
        cases[i].make(g, cg_input(g, "x", CG_F32, two_by_three));
        assert_int_equal(cg_graph_status(g), cases[i].code);
        if (strncmp(cg_error_message(), cases[i].sentence, strlen(cases[i].sentence)) != 0)
            fail_msg("case %zu: \"%s\", wanted \"%s\"", i, cg_error_message(), cases[i].sentence);
        cg_graph_free(g);
        cg_params_free(params);
    }
}

static void foreign_values_and_no_store(void **state) {
    toy_fixture *f = *state;
    cg_graph *other;
    ok(cg_graph_create(NULL, &other));
    assert_null(cg_parameter(other, "w", CG_SCALAR, (cg_param_spec){0}));
    assert_failed(cg_graph_status(other), CG_EINVAL,
                  "parameter w: the graph has no parameter store");
    cg_graph_free(other);

    ok(cg_graph_create(NULL, &other));
    cg_value *theirs = cg_input(other, "x", CG_F32, two_by_three);
    assert_null(toy_add(f->g, toy_input(f), theirs));
    assert_failed(cg_graph_status(f->g), CG_EINVAL, "add: operand 1 is a value of another graph");
    cg_graph_free(other);
}

static void names_follow_scopes(void **state) {
    toy_fixture *f = *state;
    cg_value *x = toy_input(f);
    assert_string_equal(toy_scale(f->g, x, 1)->name, "scale");
    cg_scope_push(f->g, "visual");
    cg_scope_push(f->g, "%d", 7);
    assert_string_equal(toy_scale(f->g, x, 1)->name, "visual/7");
    assert_string_equal(toy_scale(f->g, x, 1)->name, "visual/7/scale");
    assert_string_equal(toy_add(f->g, x, x)->name, "visual/7/add");
    cg_scope_pop(f->g);
    assert_string_equal(toy_flat(f->g, x)->name, "visual");
    cg_scope_pop(f->g);
    f->g->derivative_of = "visual/7";
    assert_string_equal(toy_flat(f->g, x)->name, "d(visual/7)");
    f->g->derivative_of = NULL;
    assert_string_equal(toy_flat(f->g, x)->name, "flat");
    assert_int_equal(cg_graph_find_input(f->g, "x") == x, 1);
    assert_null(cg_graph_find_input(f->g, "visual"));
    assert_null(cg_graph_find_output(f->g, "x"));
    assert_true(cg_graph_key(f->g) != cg_graph_key(f->g));
    ok(cg_graph_verify(f->g));
}

static void parameters_are_shared(void **state) {
    toy_fixture *f = *state;
    cg_param_spec spec = {.scale = 1};
    cg_value *w = cg_parameter(f->g, "w", two_by_three, spec);
    assert_ptr_equal(cg_parameter(f->g, "w", two_by_three, spec), w);
    assert_ptr_equal(w->param, cg_params_find(f->params, "w"));
    cg_value *seven = cg_constant_f32(f->g, 7);
    assert_true(*(const float *)seven->data == 7);
    ok(cg_graph_status(f->g));
}

/* -- verifying --------------------------------------------------------------------------------- */

static void verify_finds_a_wrong_type(void **state) {
    toy_fixture *f = *state;
    cg_scope_push(f->g, "block");
    cg_value *y = toy_scale(f->g, toy_scale(f->g, toy_input(f), 2), 3);
    ok(cg_graph_verify(f->g));
    y->shape.dim[1] = 4;
    assert_failed(cg_graph_verify(f->g), CG_EINVAL,
                  "node 1, block/scale: scale: output 0 is f32 [2, 4], its operands make it f32 "
                  "[2, 3]");
}

static void verify_finds_a_wrong_order(void **state) {
    toy_fixture *f = *state;
    toy_scale(f->g, toy_scale(f->g, toy_input(f), 2), 3);
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
    toy_fixture *f = *state;
    cg_value *y = toy_scale(f->g, toy_input(f), 2);
    toy_scale(f->g, y, 3);
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
    toy_fixture *f = *state;
    cg_value *x = toy_input(f), *w = cg_parameter(f->g, "w", two_by_three, (cg_param_spec){0});
    cg_value *kept = toy_scale(f->g, x, 2);
    toy_scale(f->g, toy_scale(f->g, kept, 3), 4); /* two that nobody asks for */
    cg_value *updated = toy_add(f->g, w, toy_scale(f->g, x, 5));
    cg_graph_output(f->g, "kept", kept, CG_KEEP);
    cg_graph_update(f->g, w, updated);
    assert_int_equal(cg_pass_dead(f->g), 2);
    assert_int_equal(f->g->n_node, 3);
    assert_int_equal(cg_pass_dead(f->g), 0);
    ok(cg_graph_verify(f->g));
    for (int i = 0; i < f->g->n_value; i++) assert_int_equal(f->g->value[i]->id, i);
}

static void equal_nodes_merge(void **state) {
    toy_fixture *f = *state;
    cg_value *x = toy_input(f);
    cg_value *a = toy_add(f->g, toy_scale(f->g, x, 2), x);
    cg_value *b = toy_add(f->g, toy_scale(f->g, x, 2), x); /* the same, two deep */
    cg_value *c = toy_add(f->g, toy_scale(f->g, x, 3), x); /* another attribute */
    cg_value *d = toy_add(f->g, x, toy_scale(f->g, x, 2)); /* operands the other way round */
    cg_value *sum = toy_add(f->g, toy_add(f->g, a, b), toy_add(f->g, c, d));
    cg_graph_output(f->g, "sum", sum, CG_KEEP);
    cg_graph_output(f->g, "b", b, CG_KEEP);
    int before = f->g->n_node;
    assert_int_equal(cg_pass_common(f->g), 3); /* two scales, one add */
    assert_int_equal(f->g->n_node, before - 3);
    assert_ptr_equal(cg_graph_find_output(f->g, "b")->value, a);
    assert_int_equal(cg_pass_common(f->g), 0);
    toy_plan(f);
    ok(cg_exec_bind_input(f->exec, "x", six));
    ok(cg_exec_run(f->exec));
    const float *out = cg_exec_output(f->exec, "sum");
    for (int i = 0; i < 6; i++) assert_true(out[i] == six[i] * (3 + 3 + 4 + 3));
}

/* Attributes are compared field by field: what lies between the fields says nothing. */
static void padding_is_not_compared(void **state) {
    toy_fixture *f = *state;
    cg_value *x = toy_input(f), *made[3];
    for (int i = 0; i < 3; i++) {
        toy_attr a;
        memset(&a, i == 0 ? 0 : 255, sizeof a);
        a.factor = i == 2 ? 3 : 2;
        a.times = 0;
        a.shape = CG_SCALAR;
        if (i) a.shape.dim[CG_MAX_RANK - 1] = 7; /* past its rank */
        made[i] = cg_node_add1(f->g, &toy_op_scale, &a, 1, &x);
        cg_graph_output(f->g, (const char *const[]){"a", "b", "c"}[i], made[i], CG_KEEP);
    }
    assert_int_equal(cg_pass_common(f->g), 1);
    assert_ptr_equal(cg_graph_find_output(f->g, "b")->value, made[0]);
    assert_ptr_equal(cg_graph_find_output(f->g, "c")->value, made[2]);
}

static void equal_constants_merge(void **state) {
    toy_fixture *f = *state;
    cg_value *one = cg_constant_f32(f->g, 1), *again = cg_constant_f32(f->g, 1);
    cg_value *two = cg_constant_f32(f->g, 2);
    float bits = 1;
    cg_value *row = cg_constant(f->g, CG_F32, CG_SHAPE(1), &bits); /* same bytes, another shape */
    cg_value *a = toy_scale(f->g, one, 5), *b = toy_scale(f->g, again, 5);
    cg_value *c = toy_scale(f->g, two, 5), *d = toy_scale(f->g, row, 5);
    cg_graph_output(f->g, "a", a, CG_KEEP);
    cg_graph_output(f->g, "b", b, CG_KEEP);
    cg_graph_output(f->g, "c", c, CG_KEEP);
    cg_graph_output(f->g, "d", d, CG_KEEP);
    assert_int_equal(cg_pass_common(f->g), 1);
    assert_ptr_equal(cg_graph_find_output(f->g, "b")->value, a);
    ok(cg_graph_verify(f->g));
}

/* -- contexts and names ------------------------------------------------------------------------ */

static void contexts(void **state) {
    (void)state;
    cg_context *c;
    ok(cg_context_create(0, &c));
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

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_GRAPH(errors_are_sticky),
        cmocka_unit_test(mistakes_are_named),
        WITH_GRAPH(foreign_values_and_no_store),
        WITH_GRAPH(names_follow_scopes),
        WITH_GRAPH(parameters_are_shared),
        WITH_GRAPH(verify_finds_a_wrong_type),
        WITH_GRAPH(verify_finds_a_wrong_order),
        WITH_GRAPH(verify_finds_lost_values),
        WITH_GRAPH(dead_nodes_go),
        WITH_GRAPH(equal_nodes_merge),
        WITH_GRAPH(padding_is_not_compared),
        WITH_GRAPH(equal_constants_merge),
        cmocka_unit_test(contexts),
        cmocka_unit_test(nearest_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
