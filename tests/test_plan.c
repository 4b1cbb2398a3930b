/* labels: unit */
/* Planning memory and kernels, and execution. */
#include "graph/plan_private.h"
#include "graph/rng.h"
#include "tests/support/toy_ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- planning ---------------------------------------------------------------------------------- */

static void chains_run_in_place(void **state) {
    toy_fixture *f = *state;
    cg_value *y = toy_input(f);
    for (int i = 0; i < 5; i++) y = toy_scale(f->g, y, 2);
    cg_graph_output(f->g, "y", y, CG_KEEP);
    cg_plan_report r = toy_plan(f);
    assert_int_equal(r.n_inplace, 4); /* all but the first, which must not touch the input */
    assert_int_equal(r.arena_bytes, 64);
    assert_int_equal(r.lower_bound, 64);
    assert_int_equal(r.all_bytes, 5 * 64);
    assert_int_equal(r.flops, 5 * 6);
    assert_int_equal(r.n_nodes, 5);
    ok(cg_exec_bind_input(f->exec, "x", six));
    ok(cg_exec_run(f->exec));
    for (int i = 0; i < 6; i++)
        assert_true(((const float *)cg_exec_output(f->exec, "y"))[i] == 32 * six[i]);
}

static void what_is_read_later_is_not_overwritten(void **state) {
    toy_fixture *f = *state;
    cg_value *a = toy_scale(f->g, toy_input(f), 2);
    cg_value *b = toy_scale(f->g, a, 3); /* a is read again */
    cg_value *c = toy_scale(f->g, b, 5); /* b is an output that stays */
    cg_graph_output(f->g, "b", b, CG_KEEP);
    cg_graph_output(f->g, "sum", toy_add(f->g, a, c), CG_KEEP);
    cg_plan_report r = toy_plan(f);
    assert_int_equal(r.n_inplace, 1); /* the add alone */
    ok(cg_exec_bind_input(f->exec, "x", six));
    ok(cg_exec_run(f->exec));
    for (int i = 0; i < 6; i++) {
        assert_true(((const float *)cg_exec_output(f->exec, "b"))[i] == 6 * six[i]);
        assert_true(((const float *)cg_exec_output(f->exec, "sum"))[i] == 32 * six[i]);
    }
}

static void views_cost_nothing(void **state) {
    toy_fixture *f = *state;
    cg_value *x = toy_input(f), *a = toy_scale(f->g, x, 2);
    cg_value *b = toy_flat(f->g, a);   /* in the arena */
    cg_value *c = toy_add(f->g, a, b); /* both are the same bytes, of two shapes */
    cg_value *d = toy_add(f->g, toy_flat(f->g, x), toy_flat(f->g, c)); /* of an input */
    cg_graph_output(f->g, "view", b, CG_KEEP);
    cg_graph_output(f->g, "d", d, CG_KEEP);
    cg_plan_report r = toy_plan(f);
    assert_int_equal(r.n_views, 3);
    assert_int_equal(r.n_inplace, 1); /* d over c; c may not go over a, which is an output's */
    assert_int_equal(r.arena_bytes, 128);
    ok(cg_exec_bind_input(f->exec, "x", six));
    ok(cg_exec_run(f->exec));
    for (int i = 0; i < 6; i++) {
        assert_true(((const float *)cg_exec_output(f->exec, "view"))[i] == 2 * six[i]);
        assert_true(((const float *)cg_exec_output(f->exec, "d"))[i] == 5 * six[i]);
    }
}

static void scratch_and_kernels(void **state) {
    toy_fixture *f = *state;
    cg_value *big = cg_input(f->g, "big", CG_F32, CG_SHAPE(100));
    cg_node *n = cg_node_add(f->g, &toy_op_extremes, NULL, 1, &big);
    cg_graph_output(f->g, "high", n->out[1], CG_KEEP);
    cg_plan_report r = toy_plan(f);
    assert_int_equal(r.scratch_bytes, 400);
    assert_int_equal(r.arena_bytes, 64 + 64 + 448);
    assert_string_equal(cg_plan_impl(f->plan, 0), "toy:copy");
    assert_ptr_equal(cg_plan_graph(f->plan), f->g);
    assert_int_equal(toy_alive_states, 1);
    cg_plan_free(f->plan);
    f->plan = NULL;
    assert_int_equal(toy_alive_states, 0);
}

static void refused_kernels_release_the_rest(void **state) {
    toy_fixture *f = *state;
    cg_value *x = toy_input(f);
    cg_node_add(f->g, &toy_op_extremes, NULL, 1, &x);
    cg_scope_push(f->g, "head");
    cg_node_add1(f->g, &toy_op_unprepared, NULL, 1, &x);
    assert_failed(cg_plan_create(f->ctx, f->g, &f->plan), CG_EUNSUPPORTED,
                  "head: unprepared: no kernel for this processor");
    assert_null(f->plan);
    assert_int_equal(toy_alive_states, 0);
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
        ok(cg_offsets_choose(s, n, nodes + 8, &arena, &bound));
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
    ok(cg_offsets_choose(s, 0, 0, &arena, &bound));
    assert_int_equal(arena, 0);
    assert_int_equal(bound, 0);
}

/* -- executing --------------------------------------------------------------------------------- */

static void outputs_arrive_in_every_mode(void **state) {
    toy_fixture *f = *state;
    cg_value *x = toy_input(f),
             *w = cg_parameter(f->g, "w", two_by_three, (cg_param_spec){.scale = 1});
    cg_value *y = toy_scale(f->g, x, 2);
    cg_graph_output(f->g, "kept", y, CG_KEEP);
    cg_graph_output(f->g, "added", y, CG_ADD);
    cg_graph_output(f->g, "set", y, CG_SET);
    cg_graph_output(f->g, "direct", toy_scale(f->g, x, 7), CG_SET);
    cg_graph_output(f->g, "input", x, CG_SET);
    cg_graph_output(f->g, "view", toy_flat(f->g, x), CG_SET);
    cg_graph_update(f->g, w, toy_add(f->g, w, y));
    ok(cg_params_alloc(f->params));
    cg_params_init(f->params, 0);
    toy_plan(f);

    float added[6] = {100, 100, 100, 100, 100, 100}, set[6], direct[6], copied[6], view[6];
    const float *now = cg_params_find(f->params, "w")->data;
    ok(cg_exec_bind_input(f->exec, "x", six));
    ok(cg_exec_bind_output(f->exec, "added", added));
    ok(cg_exec_bind_output(f->exec, "set", set));
    ok(cg_exec_bind_output(f->exec, "direct", direct));
    ok(cg_exec_bind_output(f->exec, "input", copied));
    ok(cg_exec_bind_output(f->exec, "view", view));
    for (int run = 1; run <= 2; run++) {
        ok(cg_exec_run(f->exec));
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
    toy_fixture *f = *state;
    cg_value *x = toy_input(f), *second = cg_input(f->g, "second", CG_F32, two_by_three);
    cg_value *y = toy_scale(f->g, toy_add(f->g, x, second), 2);
    cg_graph_output(f->g, "y", y, CG_SET);
    cg_graph_output(f->g, "kept", y, CG_KEEP);
    assert_failed(cg_exec_run(f->exec), CG_EINVAL, "the execution has no plan");
    toy_plan(f);
    assert_failed(cg_exec_run(f->exec), CG_EINVAL, "input x has no memory");
    ok(cg_exec_bind_input(f->exec, "x", six));
    assert_failed(cg_exec_run(f->exec), CG_EINVAL, "input second has no memory");
    ok(cg_exec_bind_input(f->exec, "second", six));
    assert_failed(cg_exec_run(f->exec), CG_EINVAL, "output y is not bound");
    float out[6];
    assert_failed(cg_exec_bind_input(f->exec, "third", six), CG_ENOTFOUND,
                  "the graph has no input third");
    assert_failed(cg_exec_bind_output(f->exec, "z", out), CG_ENOTFOUND,
                  "the graph has no output z");
    assert_failed(cg_exec_bind_output(f->exec, "kept", out), CG_EINVAL,
                  "output kept is kept in the arena: it takes no memory");
    ok(cg_exec_bind_output(f->exec, "y", out));
    ok(cg_exec_run(f->exec));
    assert_null(cg_exec_output(f->exec, "y")); /* it went to the caller's memory */
    assert_null(cg_exec_output(f->exec, "z"));
    ok(cg_exec_use(f->exec, f->plan)); /* which forgets the bindings */
    assert_failed(cg_exec_run(f->exec), CG_EINVAL, "input x has no memory");
}

static void parameters_need_memory(void **state) {
    toy_fixture *f = *state;
    cg_value *w = cg_parameter(f->g, "w", CG_SHAPE(3), (cg_param_spec){0});
    cg_graph_output(f->g, "y", toy_scale(f->g, w, 2), CG_KEEP);
    toy_plan(f);
    assert_failed(cg_exec_run(f->exec), CG_EINVAL, "parameter w has no memory");
}

static void kernel_errors_name_the_node(void **state) {
    toy_fixture *f = *state;
    cg_value *x = toy_input(f);
    cg_scope_push(f->g, "text");
    cg_graph_output(f->g, "y", cg_node_add1(f->g, &toy_op_broken, NULL, 1, &x), CG_KEEP);
    toy_plan(f);
    ok(cg_exec_bind_input(f->exec, "x", six));
    assert_failed(cg_exec_run(f->exec), CG_EKERNEL, "text: broken: the kernel is out of order");
}

static void the_first_nonfinite_is_named(void **state) {
    toy_fixture *f = *state;
    cg_value *x = toy_input(f), *w = cg_parameter(f->g, "w", two_by_three, (cg_param_spec){0});
    cg_value *y = toy_add(f->g, x, w);
    cg_scope_push(f->g, "block");
    y = toy_scale(f->g, y, 1e30f);
    cg_scope_push(f->g, "mlp");
    y = toy_scale(f->g, y, 1e30f); /* beyond f32 where y is not 0 */
    cg_scope_pop(f->g);
    y = toy_scale(f->g, y, 0); /* and then no number */
    float sum[6] = {0};
    cg_graph_output(f->g, "y", y, CG_ADD);
    ok(cg_params_alloc(f->params));
    toy_plan(f);
    float zero[6] = {0}, some[6] = {0, 0, 0, -4, 0, 0}, bad[6] = {0, 0, NAN, 0, 0, 0};
    ok(cg_exec_bind_output(f->exec, "y", sum));

    cg_nonfinite found;
    ok(cg_exec_bind_input(f->exec, "x", zero));
    ok(cg_exec_find_nonfinite(f->exec, &found));
    assert_null(found.node);
    assert_null(found.name);

    ok(cg_exec_bind_input(f->exec, "x", some));
    ok(cg_exec_find_nonfinite(f->exec, &found));
    assert_string_equal(found.name, "block/mlp");
    assert_ptr_equal(found.node, f->g->node[2]);
    assert_int_equal(found.element, 3);
    assert_true(found.value < 0 && isinf(found.value));

    ok(cg_exec_bind_input(f->exec, "x", bad));
    ok(cg_exec_find_nonfinite(f->exec, &found));
    assert_null(found.node);
    assert_string_equal(found.name, "x");
    assert_int_equal(found.element, 2);

    ok(cg_exec_bind_input(f->exec, "x", some));
    ((float *)cg_params_find(f->params, "w")->data)[5] = INFINITY;
    ok(cg_exec_find_nonfinite(f->exec, &found));
    assert_string_equal(found.name, "w");
    assert_int_equal(found.element, 5);
    for (int i = 0; i < 6; i++) assert_true(sum[i] == 0); /* searching adds to nothing */
}

static void executions_serve_several_plans(void **state) {
    toy_fixture *f = *state;
    cg_graph_output(f->g, "y", toy_scale(f->g, toy_input(f), 2), CG_KEEP);
    toy_plan(f);
    cg_graph *other;
    cg_plan *larger;
    ok(cg_graph_create(NULL, &other));
    float big[400];
    for (int i = 0; i < 400; i++) big[i] = (float)i;
    cg_graph_output(other, "y", toy_scale(other, cg_input(other, "x", CG_F32, CG_SHAPE(400)), 3),
                    CG_KEEP);
    ok(cg_plan_create(f->ctx, other, &larger));
    for (int turn = 0; turn < 3; turn++) {
        ok(cg_exec_use(f->exec, larger));
        ok(cg_exec_bind_input(f->exec, "x", big));
        ok(cg_exec_run(f->exec));
        assert_true(((const float *)cg_exec_output(f->exec, "y"))[399] == 3 * 399);
        ok(cg_exec_use(f->exec, f->plan));
        ok(cg_exec_bind_input(f->exec, "x", six));
        ok(cg_exec_run(f->exec));
        assert_true(((const float *)cg_exec_output(f->exec, "y"))[5] == 12);
    }
    ok(cg_exec_use(f->exec, f->plan));
    cg_plan_free(larger);
    cg_graph_free(other);
}

/* -- random graphs against an evaluation that never reuses memory ------------------------------ */

enum { NODES = 24, ELEMENTS = 6 };

/* A graph of n nodes over x and w; v[i] are its values' numbers, worked out one by one. */
static int random_graph(toy_fixture *f, cg_rng *r, cg_value **v, float (*expected)[ELEMENTS]) {
    int n = 2;
    v[0] = toy_input(f);
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
        v[n] = kind == 0   ? toy_scale(f->g, v[a], -.5f)
               : kind == 1 ? toy_add(f->g, v[a], v[b])
               : kind == 2 ? toy_plus(f->g, v[a], v[b])
                           : toy_flat(f->g, v[a]);
        n++;
    }
    return n;
}

static void random_graphs_compute_the_same(void **state) {
    (void)state;
    for (int k = 0; k < 500; k++) {
        toy_fixture *f = NULL;
        assert_int_equal(toy_setup((void **)&f), 0);
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
        ok(cg_params_alloc(f->params));
        cg_params_init(f->params, 0);
        if (k % 2) {
            cg_pass_common(f->g);
            cg_pass_dead(f->g);
        }
        toy_plan(f);
        ok(cg_exec_bind_input(f->exec, "x", six));
        for (int i = 0; i < n; i++) {
            char name[16];
            snprintf(name, sizeof name, "v%d", i);
            if (mode[i] == CG_SET || mode[i] == CG_ADD)
                ok(cg_exec_bind_output(f->exec, name, memory[i]));
        }
        ok(cg_exec_run(f->exec));
        for (int i = 0; i < n; i++) {
            char name[16];
            snprintf(name, sizeof name, "v%d", i);
            const float *found = mode[i] == CG_KEEP ? cg_exec_output(f->exec, name) : memory[i];
            for (int e = 0; mode[i] <= CG_ADD && e < ELEMENTS; e++)
                if (found[e] != expected[i][e])
                    fail_msg("graph %d, value %d (%s): element %d is %g, wanted %g", k, i,
                             v[i]->name, e, (double)found[e], (double)expected[i][e]);
        }
        toy_teardown((void **)&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
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
        cmocka_unit_test(random_graphs_compute_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
