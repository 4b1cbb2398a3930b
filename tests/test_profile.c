/* labels: unit */
/* The profile of runs: its tables, its trace, and the machine's peak that they refer to. */
#include "graph/file.h"
#include "graph/profile_private.h"
#include "tests/support/toy_ops.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES = 6 * 4 }; /* of "x" and of all that is made of it */

/* blocks/0: scale (view's operand), flat (a view), scale; blocks/1: plus; d(blocks/1): scale */
static void build(toy_fixture *f) {
    cg_value *x = toy_input(f);
    cg_scope_push(f->g, "tower");
    cg_scope_push(f->g, "blocks");
    cg_scope_push(f->g, "0");
    cg_value *y = toy_scale(f->g, x, 2);
    cg_graph_output(f->g, "flat", toy_flat(f->g, y), CG_KEEP);
    y = toy_scale(f->g, y, 3);
    cg_scope_pop(f->g);
    cg_scope_push(f->g, "1");
    y = toy_plus(f->g, y, x);
    cg_scope_pop(f->g);
    f->g->derivative_of = "tower/blocks/1";
    y = toy_scale(f->g, y, 4);
    f->g->derivative_of = NULL;
    cg_graph_output(f->g, "y", y, CG_KEEP);
    cg_scope_pop(f->g);
    cg_scope_pop(f->g);
    toy_plan(f);
    ok(cg_exec_bind_input(f->exec, "x", six));
}

static void run(toy_fixture *f, int times) {
    for (int i = 0; i < times; i++) ok(cg_exec_run(f->exec));
}

static cg_profile *profile(toy_fixture *f, int64_t events) {
    cg_profile *p;
    ok(cg_profile_create(events, &p));
    ok(cg_exec_profile(f->exec, p));
    assert_ptr_equal(cg_exec_get_profile(f->exec), p);
    return p;
}

static void has_line(const char *text, const char *start) {
    char wanted[160];
    snprintf(wanted, sizeof wanted, "\n%s", start);
    if (!strstr(text, wanted)) fail_msg("no line \"%s\" in:\n%s", start, text);
}

static void tables_name_ops_and_layers(void **state) {
    toy_fixture *f = *state;
    char *text;
    run((build(f), f), 1); /* not told of */
    cg_profile *p = profile(f, 0);
    run(f, 3);
    ok(cg_exec_profile(f->exec, NULL));
    run(f, 1);
    assert_int_equal(cg_profile_runs(p), 3);
    cg_profile_end(p, "waiting", cg_profile_begin(p));
    cg_profile_stop(p);
    ok(cg_profile_text(p, NULL, &text));
    assert_true(strncmp(text, "profile of 3 runs\n", 18) == 0);
    has_line(text, "scale                                  3.0");
    has_line(text, "flat                                   1.0");
    has_line(text, "plus                                   1.0");
    has_line(text, "all nodes                              5.0");
    has_line(text, "layer                            forward ms backward ms ");
    has_line(text, "tower/blocks/0 ");
    has_line(text, "tower/blocks/1 ");
    has_line(text, "waiting ");
    assert_null(strstr(text, "d(tower"));
    assert_null(strstr(text, "of peak"));
    free(text);
    cg_profile_free(p);
}

static void sites_sum_up(void **state) {
    toy_fixture *f = *state;
    build(f);
    cg_profile *p = profile(f, 0);
    run(f, 4);
    int64_t calls = 0;
    double seconds = 0;
    for (int i = 0; i < p->n_site; i++) {
        const cg_site *s = &p->site[i];
        calls += s->calls;
        seconds += s->seconds;
        int scale = strcmp(s->op, "scale") == 0;
        assert_int_equal(s->flops, scale ? 6 : 0);
        /* flat is a view; plus reads two operands */
        assert_int_equal(s->bytes, scale ? 2 * BYTES : strcmp(s->op, "plus") == 0 ? 3 * BYTES : 0);
    }
    double runs = 0;
    for (int i = 0; i < 4; i++) runs += p->run[i].end - p->run[i].begin;
    assert_int_equal(calls, 4 * 5);
    assert_true(seconds > 0 && seconds <= runs);
    cg_exec_profile(f->exec, NULL);
    cg_profile_free(p);
}

static void plans_may_be_gone(void **state) {
    toy_fixture *f = *state;
    char *text;
    build(f);
    cg_profile *p = profile(f, 64);
    run(f, 1);
    for (int i = 0; i < 3; i++) { /* other plans of the same, and of another size */
        cg_graph *g;
        cg_plan *plan;
        float big[700] = {0};
        ok(cg_graph_create(NULL, &g));
        cg_scope_push(g, "other \"%d\"", i / 2);
        cg_graph_output(g, "y", toy_scale(g, cg_input(g, "x", CG_F32, CG_SHAPE(700)), 3), CG_KEEP);
        ok(cg_plan_create(f->ctx, g, &plan));
        ok(cg_exec_use(f->exec, plan));
        ok(cg_exec_bind_input(f->exec, "x", big));
        run(f, 1);
        cg_exec_forget(f->exec);
        cg_plan_free(plan);
        cg_graph_free(g);
    }
    assert_int_equal(p->n_site, 5 + 2);
    ok(cg_profile_text(p, &(cg_peak){.flops = 1e9, .vector = "toy", .bytes = 1e9}, &text));
    assert_true(strncmp(text, "profile of 4 runs; peak 1.0 GFLOP/s (toy); memory 1.0 GB/s\n", 59) ==
                0);
    has_line(text, "other \"0\" ");
    assert_non_null(strstr(text, " of peak "));
    free(text);
    cg_exec_profile(f->exec, NULL);
    cg_profile_free(p);
}

static void failed_runs_are_no_runs(void **state) {
    toy_fixture *f = *state;
    cg_value *y = toy_scale(f->g, toy_input(f), 2);
    cg_graph_output(f->g, "y", cg_node_add1(f->g, &toy_op_broken, NULL, 1, &y), CG_KEEP);
    toy_plan(f);
    ok(cg_exec_bind_input(f->exec, "x", six));
    cg_profile *p = profile(f, 8);
    assert_int_not_equal(cg_exec_run(f->exec), CG_OK);
    assert_int_equal(cg_profile_runs(p), 0);
    cg_exec_profile(f->exec, NULL);
    cg_profile_free(p);
}

/* -- the trace --------------------------------------------------------------------------------- */

static json_t *trace(const cg_profile *p, const char *name, int64_t *dropped) {
    cg_folder *d;
    char path[512];
    json_error_t e;
    ok(cg_folder_create("test_profile", &d));
    snprintf(path, sizeof path, "%s/%s", cg_folder_path(d), name);
    ok(cg_profile_trace(p, path, dropped));
    json_t *j = json_load_file(path, JSON_REJECT_DUPLICATES, &e);
    if (!j) fail_msg("line %d: %s", e.line, e.text);
    cg_folder_abandon(d);
    return j;
}

static double number(const json_t *event, const char *key) {
    const json_t *x = json_object_get(event, key);
    assert_true(json_is_number(x));
    return json_number_value(x);
}

/* Complete events: those of cat "run" counted in *runs; nodes must lie within one of them. */
static int events(const json_t *j, int *runs) {
    const json_t *list = json_object_get(j, "traceEvents");
    int nodes = 0;
    *runs = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *e = json_array_get(list, i);
        const char *cat = json_string_value(json_object_get(e, "cat"));
        if (strcmp(json_string_value(json_object_get(e, "ph")), "X") != 0) continue;
        double ts = number(e, "ts"), end = ts + number(e, "dur");
        assert_true(ts >= 0 && end >= ts);
        *runs += strcmp(cat, "run") == 0;
        if (strcmp(cat, "run") == 0 || strcmp(cat, "outside") == 0) continue;
        int within = 0;
        for (size_t k = 0; k < json_array_size(list); k++) {
            const json_t *r = json_array_get(list, k);
            const char *of = json_string_value(json_object_get(r, "cat"));
            if (!of || strcmp(of, "run") != 0) continue;
            double from = number(r, "ts"); /* 1e-4 µs: numbers are rounded to binary ones */
            within |= ts >= from - 1e-4 && end <= from + number(r, "dur") + 1e-4;
        }
        assert_true(within);
        const json_t *args = json_object_get(e, "args");
        assert_true(number(args, "flops") >= 0 && number(args, "bytes") >= 0);
        assert_true(json_is_string(json_object_get(args, "impl")));
        assert_string_equal(json_string_value(json_object_get(args, "shape")),
                            strcmp(cat, "flat") == 0 ? "[6]" : "[2, 3]");
        nodes++;
    }
    return nodes;
}

static void traces_are_json(void **state) {
    toy_fixture *f = *state;
    int64_t dropped = -1;
    int runs;
    build(f);
    cg_profile *p = profile(f, 1000);
    cg_profile_end(p, "quote \" back\\slash \n \xff", cg_profile_begin(p));
    run(f, 3);
    json_t *j = trace(p, "t.json", &dropped);
    assert_int_equal(events(j, &runs), 3 * 5);
    assert_int_equal(runs, 3);
    assert_int_equal(dropped, 0);
    const json_t *list = json_object_get(j, "traceEvents");
    int found = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *name = json_object_get(json_array_get(list, i), "name");
        found += strcmp(json_string_value(name), "quote \" back\\slash ? ?") == 0;
    }
    assert_int_equal(found, 1);
    json_decref(j);
    cg_exec_profile(f->exec, NULL);
    cg_profile_free(p);
}

static void traces_keep_the_last(void **state) {
    toy_fixture *f = *state;
    int64_t dropped = -1;
    int runs;
    build(f);
    cg_profile *p = profile(f, 1000);
    run(f, CG_TRACE_RUNS + 9);
    json_t *j = trace(p, "t.json", &dropped);
    assert_int_equal(events(j, &runs), CG_TRACE_RUNS * 5);
    assert_int_equal(runs, CG_TRACE_RUNS);
    assert_int_equal(dropped, 0);
    json_decref(j);
    cg_profile_free(p);
    p = profile(f, 12); /* two runs and two nodes */
    run(f, 4);
    j = trace(p, "t.json", &dropped);
    assert_int_equal(events(j, &runs), 12);
    assert_int_equal(dropped, 8);
    assert_int_equal(number(json_object_get(j, "otherData"), "dropped"), 8);
    json_decref(j);
    cg_exec_profile(f->exec, NULL);
    assert_int_equal(cg_profile_trace(p, "no/such/folder/t.json", NULL), CG_ENOTFOUND);
    cg_profile_free(p);
}

/* -- the peak ---------------------------------------------------------------------------------- */

static void the_peak_is_measured(void **state) {
    (void)state;
    cg_peak peak;
    ok(cg_peak_measure(1, &peak));
    assert_true(peak.flops > 1e8 && peak.flops < 1e13);
    assert_true(peak.bf16 == 0 || (peak.bf16 > 1e8 && peak.bf16 < 1e14));
    assert_true(peak.bytes > 1e8 && peak.bytes < 1e13);
    assert_non_null(peak.vector);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_GRAPH(tables_name_ops_and_layers),
        WITH_GRAPH(sites_sum_up),
        WITH_GRAPH(plans_may_be_gone),
        WITH_GRAPH(failed_runs_are_no_runs),
        WITH_GRAPH(traces_are_json),
        WITH_GRAPH(traces_keep_the_last),
        cmocka_unit_test(the_peak_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
