/* labels: unit grad */
/* Every op against the table of cases (tests/support/op_case.h), each case in several modes:
 *
 *   kernel    results against the double reference; no kernel is an unoptimised one
 *   gradient  vjp against central differences of the double reference
 *   threads   one thread against two; twice the same run gives the same bits
 *   reuse     the same results where operands are results that may be overwritten, and where
 *             they are kept
 *   again     where a gradient can give the result again: the same bits, and the same gradients
 *   bf16      operands and results as bf16, each alone and all together (of attention every
 *             choice), against f32 operands rounded to bf16
 *
 * and refusals: uses that must fail with a sentence. test_ops PATTERN runs what matches
 * ("conv2d*", "*gradient"). */
#include "tests/support/op_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph/exec.h"
#include "graph/rng.h"

static const cg_op_case *const tables[] = {
    cg_cases_elementwise, cg_cases_activation,    cg_cases_shape,    cg_cases_reduce,
    cg_cases_matrix,      cg_cases_picture,       cg_cases_max_pool, cg_cases_norm,
    cg_cases_attention,   cg_cases_attention_qkv, cg_cases_loss,     cg_cases_chance,
    cg_cases_batch_norm};
static const cg_bad_case *const bad_tables[] = {
    cg_bad_elementwise, cg_bad_activation, cg_bad_shape,     cg_bad_reduce,    cg_bad_matrix,
    cg_bad_picture,     cg_bad_max_pool,   cg_bad_norm,      cg_bad_attention, cg_bad_attention_qkv,
    cg_bad_loss,        cg_bad_chance,     cg_bad_batch_norm};
enum { TABLES = sizeof tables / sizeof *tables };

static cg_context *one, *two; /* threads */

/* --- comparing -------------------------------------------------------------------------------- */

static double largest(const double *x, int64_t n) {
    double m = 0;
    for (int64_t i = 0; i < n; i++)
        if (fabs(x[i]) > m) m = fabs(x[i]);
    return m;
}

/* |got - want| <= tolerance * max(floor, max |want|), element by element; the worst is reported.
 * NaN equals NaN only. */
static void compare(const cg_fixture *f, const char *what, int which, const double *got,
                    const double *want, int64_t n, double tolerance, double floor) {
    double limit = tolerance * fmax(floor, largest(want, n)), worst = -1;
    int64_t at = -1;
    for (int64_t i = 0; i < n; i++) {
        double error = fabs(got[i] - want[i]);
        if (isnan(got[i]) || isnan(want[i])) error = isnan(got[i]) && isnan(want[i]) ? 0 : INFINITY;
        if (got[i] == want[i] || error <= limit || error <= worst) continue;
        worst = error;
        at = i;
    }
    if (at >= 0)
        fail_msg("%s: %s: %s %d, element %lld of %lld: got %.9g, want %.9g (off by %.3g, at most "
                 "%.3g)",
                 f->c->op->name, f->c->label, what, which, (long long)at, (long long)n, got[at],
                 want[at], worst, limit);
}

static void compare_outputs(const cg_fixture *f, const cg_case_run *a, double *const *want,
                            double tolerance, double floor) {
    for (int o = 0; o < f->c->n_out; o++)
        compare(f, "output", o, a->out[o], want[o], cg_fixture_out_count(f, o), tolerance, floor);
}

/* b's results against a's, to rounding. */
static void compare_runs(const cg_fixture *f, const cg_case_run *b, const cg_case_run *a) {
    compare_outputs(f, b, a->out, 1e-6, 0);
    for (int i = 0; i < f->c->n_in; i++)
        if (a->dx[i])
            compare(f, "gradient of operand", i, b->dx[i], a->dx[i], cg_fixture_in_count(f, i),
                    1e-6, 0);
}

static unsigned all_seeds(const cg_fixture *f) {
    unsigned bits = 0;
    for (int o = 0; o < f->c->n_out; o++) bits |= f->seed[o] ? 1u << o : 0;
    return f->c->op->vjp ? bits : 0;
}

/* --- modes ------------------------------------------------------------------------------------ */

static double **reference_outputs(const cg_fixture *f) {
    double **out = calloc(CG_CASE_OUT, sizeof *out);
    for (int o = 0; o < f->c->n_out; o++)
        out[o] = calloc((size_t)cg_fixture_out_count(f, o) + 1, sizeof **out);
    return out;
}

static void free_outputs(double **out) {
    for (int o = 0; o < CG_CASE_OUT; o++) free(out[o]);
    free(out);
}

static void test_kernel(void **state) {
    cg_fixture f = cg_fixture_make(*state);
    double **want = reference_outputs(&f);
    cg_case_data d = cg_fixture_data(&f, want);
    f.c->reference(&d);
    cg_case_run r = {.ctx = two, .seeds = all_seeds(&f)};
    cg_case_run_do(&f, &r);
    compare_outputs(&f, &r, want, f.c->tolerance > 0 ? f.c->tolerance : 1e-5, 1);
    if (r.slow[0]) fail_msg("%s: %s: unoptimised kernel, %s", f.c->op->name, f.c->label, r.slow);
    cg_case_run_free(&r);
    free_outputs(want);
    cg_fixture_free(&f);
}

/* d (seed · output o) / d operand[e] of the reference, for all o at once. */
static void difference(const cg_fixture *f, int operand, int64_t e, double *const *plus,
                       double *const *minus, double slope[CG_CASE_OUT]) {
    const double step = 1e-5;
    double *x = &f->in[operand][e], saved = *x;
    cg_case_data at_plus = cg_fixture_data(f, plus), at_minus = cg_fixture_data(f, minus);
    *x = saved + step;
    f->c->reference(&at_plus);
    *x = saved - step;
    f->c->reference(&at_minus);
    *x = saved;
    for (int o = 0; o < f->c->n_out; o++) {
        double sum = 0;
        for (int64_t i = 0; f->seed[o] && i < cg_fixture_out_count(f, o); i++)
            sum += f->seed[o][i] * (plus[o][i] - minus[o][i]);
        slope[o] = sum / (2 * step);
    }
}

/* Which elements of n are tried: all of them where they are few, else a fixed random sample. */
enum { ALL_UP_TO = 256, SAMPLE = 200 };

static int64_t sample_count(int64_t n) {
    return n <= ALL_UP_TO ? n : SAMPLE;
}

static int64_t sample_at(int64_t i, int64_t n) {
    return n <= ALL_UP_TO ? i : (int64_t)(cg_mix64((uint64_t)i) % (uint64_t)n);
}

/* The gradients of one operand in the runs r[n_run], each with its own outputs seeded. */
static void check_operand(const cg_fixture *f, int operand, const cg_case_run *r, int n_run,
                          double *const *plus, double *const *minus) {
    int64_t n = cg_fixture_in_count(f, operand), count = sample_count(n);
    double *want = calloc((size_t)count + 1, sizeof(double) * CG_CASE_OUT);
    double *got = calloc((size_t)count + 1, sizeof *got), *sum = calloc((size_t)count + 1, 8);
    for (int64_t i = 0; i < count; i++)
        difference(f, operand, sample_at(i, n), plus, minus, want + i * CG_CASE_OUT);
    for (int k = 0; k < n_run; k++) {
        for (int64_t i = 0; i < count; i++) {
            got[i] = r[k].dx[operand][sample_at(i, n)];
            sum[i] = 0;
            for (int o = 0; o < f->c->n_out; o++)
                if (r[k].seeds >> o & 1) sum[i] += want[i * CG_CASE_OUT + o];
        }
        compare(f, n <= ALL_UP_TO ? "gradient of operand" : "sampled gradient of operand", operand,
                got, sum, count, f->c->grad_tolerance > 0 ? f->c->grad_tolerance : 1e-4, 1);
    }
    free(want);
    free(got);
    free(sum);
}

static void test_gradient(void **state) {
    cg_fixture f = cg_fixture_make(*state);
    double **plus = reference_outputs(&f), **minus = reference_outputs(&f);
    cg_case_run r[1 + CG_CASE_OUT] = {{.ctx = two, .seeds = all_seeds(&f)}};
    int n_run = 1;
    if (r[0].seeds & (r[0].seeds - 1)) /* several outputs: each alone, too */
        for (int o = 0; o < f.c->n_out; o++)
            if (r[0].seeds >> o & 1) r[n_run++] = (cg_case_run){.ctx = two, .seeds = 1u << o};
    for (int k = 0; k < n_run; k++) cg_case_run_do(&f, &r[k]);
    for (int i = 0; i < f.c->n_in; i++)
        if (f.c->in[i].differentiate) check_operand(&f, i, r, n_run, plus, minus);
    for (int k = 0; k < n_run; k++) cg_case_run_free(&r[k]);
    free_outputs(plus);
    free_outputs(minus);
    cg_fixture_free(&f);
}

static void test_threads(void **state) {
    cg_fixture f = cg_fixture_make(*state);
    cg_case_run a = {.ctx = one, .seeds = all_seeds(&f)};
    cg_case_run b = {.ctx = two, .seeds = all_seeds(&f), .shift = 1};
    cg_case_run_do(&f, &a);
    cg_case_run_do(&f, &b);
    compare_runs(&f, &b, &a);
    if (a.unstable || b.unstable)
        fail_msg("%s: %s: a second run on %s gave other bits", f.c->op->name, f.c->label,
                 a.unstable ? "one thread" : "two threads");
    cg_case_run_free(&a);
    cg_case_run_free(&b);
    cg_fixture_free(&f);
}

static void test_reuse(void **state) {
    cg_fixture f = cg_fixture_make(*state);
    cg_case_run plain = {.ctx = two, .seeds = all_seeds(&f)};
    cg_case_run_do(&f, &plain);
    for (int i = 0; i < 4; i++) { /* forward alone, and with gradients */
        cg_case_run r = {.ctx = two, .seeds = i & 1 ? plain.seeds : 0, .wrap = 1, .keep = i >> 1};
        cg_case_run_do(&f, &r);
        if (r.seeds)
            compare_runs(&f, &r, &plain);
        else
            compare_outputs(&f, &r, plain.out, 1e-6, 0);
        for (int k = 0; r.keep && k < f.c->n_in; k++)
            compare(&f, "kept operand", k, r.kept[k], f.in[k], cg_fixture_in_count(&f, k), 0, 0);
        if (r.unstable) fail_msg("%s: %s: a second run gave other bits", f.c->op->name, f.c->label);
        cg_case_run_free(&r);
    }
    cg_case_run_free(&plain);
    cg_fixture_free(&f);
}

static void test_again(void **state) {
    cg_fixture f = cg_fixture_make(*state);
    cg_case_run plain = {.ctx = two, .seeds = all_seeds(&f)};
    cg_case_run_do(&f, &plain);
    for (int wrap = 0; wrap < 2; wrap++) { /* dx over x or dy, or not */
        cg_case_run r = {.ctx = two, .seeds = plain.seeds, .again = 1, .wrap = wrap};
        cg_case_run_do(&f, &r);
        compare_runs(&f, &r, &plain);
        if (r.repeated)
            compare(&f, "output given again", 0, r.repeated, r.out[0], cg_fixture_out_count(&f, 0),
                    0, 0);
        cg_case_run_free(&r);
    }
    cg_case_run_free(&plain);
    cg_fixture_free(&f);
}

/* |got - want| within what a result loses that is stored as bf16, and a little of the largest. */
static void compare_bf16(const cg_fixture *f, const char *what, int which, const double *got,
                         const double *want, int64_t n) {
    double least = 1e-5 * fmax(1, largest(want, n));
    for (int64_t i = 0; i < n; i++) {
        double limit = 0x1p-8 * fabs(want[i]) + least;
        if (fabs(got[i] - want[i]) > limit || isnan(got[i]) != isnan(want[i]))
            fail_msg("%s: %s: %s %d, element %lld of %lld: bf16 gives %.9g, f32 %.9g",
                     f->c->op->name, f->c->label, what, which, (long long)i, (long long)n, got[i],
                     want[i]);
    }
}

static void run_bf16(const cg_fixture *f, unsigned in, unsigned out) {
    cg_case_run r = {.ctx = two, .seeds = all_seeds(f), .bf16_in = in, .bf16_out = out, .again = 1};
    cg_case_run want = r;
    want.rounded = 1;
    cg_case_run_do(f, &r);
    if (r.narrowed == 0) return;
    cg_case_run_do(f, &want);
    for (int o = 0; o < f->c->n_out; o++)
        compare_bf16(f, "output", o, r.out[o], want.out[o], cg_fixture_out_count(f, o));
    for (int i = 0; i < f->c->n_in; i++)
        if (r.dx[i])
            compare_bf16(f, "gradient of operand", i, r.dx[i], want.dx[i],
                         cg_fixture_in_count(f, i));
    if (r.repeated)
        compare_bf16(f, "output given again", 0, r.repeated, want.repeated,
                     cg_fixture_out_count(f, 0));
    if (r.unstable) fail_msg("%s: %s: a second run gave other bits", f->c->op->name, f->c->label);
    cg_case_run_free(&r);
    cg_case_run_free(&want);
}

/* Attention has a path for each choice of its matrices: q, k and v together, o, do, and each
 * result. Operands of attention_grad and of attention_qkv_grad, of which attention reads the first
 * three. */
static void run_bf16_parts(const cg_fixture *f) {
    static const unsigned part[2][3] = {{7, 1u << 5, 1u << 7}, {1, 1u << 2, 1u << 4}};
    const unsigned *p = part[f->c->op == &cg_op_attention_qkv];
    if (cg_fixture_in_count(f, 0) > 1024) return;
    for (unsigned in = 0; in < 8; in++)
        for (unsigned out = in == 0; out < 8; out++)
            run_bf16(f, (in & 1) * p[0] | (in >> 1 & 1) * p[1] | (in >> 2) * p[2], out);
}

static void test_bf16(void **state) {
    cg_fixture f = cg_fixture_make(*state);
    for (int i = 0; i < CG_CASE_IN; i++) run_bf16(&f, 1u << i, 0);
    for (int o = 0; o < CG_CASE_OUT; o++) run_bf16(&f, 0, 1u << o);
    run_bf16(&f, ~0u, ~0u);
    if (f.c->op == &cg_op_attention || f.c->op == &cg_op_attention_qkv) run_bf16_parts(&f);
    cg_fixture_free(&f);
}

/* --- refusals --------------------------------------------------------------------------------- */

static void test_bad(void **state) {
    const cg_bad_case *c = *state;
    cg_graph *g;
    cg_value *in[CG_CASE_IN] = {0}, *out[CG_CASE_OUT];
    assert_int_equal(cg_graph_create(NULL, &g), CG_OK);
    cg_case_inputs(g, c->in, c->n_in, in);
    for (int o = 0; o < CG_CASE_OUT; o++) out[o] = in[0];
    if (cg_graph_status(g) != CG_OK)
        fail_msg("%s: the case's own operands: %s", c->op->name, cg_error_message());
    c->build(g, in, out);
    cg_status s = cg_graph_status(g);
    const char *message = s == CG_OK ? "" : cg_error_message();
    if (s != c->status)
        fail_msg("%s: status is %s (%s), want %s \"…%s…\"", c->op->name, cg_status_name(s), message,
                 cg_status_name(c->status), c->message);
    if (out[0]) fail_msg("%s: the builder did not return NULL", c->op->name);
    if (!strstr(message, c->message))
        fail_msg("%s: the sentence is \"%s\", want \"%s\" in it", c->op->name, message, c->message);
    if (!strstr(message, c->op->name))
        fail_msg("%s: the sentence does not name the op: \"%s\"", c->op->name, message);
    cg_graph_free(g);
}

/* Runs op(x [4, 2], i32 [3]) and wants the run to fail with that sentence. */
static void refuse_run(cg_value *(*op)(cg_graph *, cg_value *, cg_value *), const int32_t index[3],
                       const char *sentence) {
    float x[8] = {0};
    cg_graph *g;
    cg_plan *p;
    cg_exec *e;
    assert_int_equal(cg_graph_create(NULL, &g), CG_OK);
    cg_value *v = cg_input(g, "x", CG_F32, CG_SHAPE(4, 2));
    cg_graph_output(g, "y", op(g, v, cg_input(g, "index", CG_I32, CG_SHAPE(3))), CG_KEEP);
    assert_int_equal(cg_plan_create(two, g, &p), CG_OK);
    assert_int_equal(cg_exec_create(&e), CG_OK);
    assert_int_equal(cg_exec_use(e, p), CG_OK);
    assert_int_equal(cg_exec_bind_input(e, "x", x), CG_OK);
    assert_int_equal(cg_exec_bind_input(e, "index", index), CG_OK);
    assert_int_equal(cg_exec_run(e), CG_EINVAL);
    if (!strstr(cg_error_message(), sentence))
        fail_msg("the sentence is \"%s\", want \"%s\" in it", cg_error_message(), sentence);
    cg_exec_free(e);
    cg_plan_free(p);
    cg_graph_free(g);
}

static cg_value *position_of_4(cg_graph *g, cg_value *x, cg_value *offset) {
    (void)x;
    return cg_segment_position(g, offset, 4);
}

static cg_value *end_of_4(cg_graph *g, cg_value *x, cg_value *offset) {
    (void)x;
    const int32_t token[4] = {0};
    return cg_end_token(g, cg_constant(g, CG_I32, CG_SHAPE(4), token), offset, -1);
}

static void test_bad_values(void **state) {
    (void)state;
    refuse_run(cg_gather, (int32_t[]){0, 3, 4},
               "gather: index 4 at position 2, wanted 0 or more and less than 4");
    refuse_run(cg_gather, (int32_t[]){-1, 3, 3}, "gather: index -1 at position 0, wanted 0");
    cg_value *(*const segments[])(cg_graph *, cg_value *, cg_value *) = {cg_segment_mean,
                                                                         position_of_4, end_of_4};
    for (int i = 0; i < 3; i++) {
        refuse_run(segments[i], (int32_t[]){0, 3, 5}, "offset ends at 5, wanted at most 4 rows");
        refuse_run(segments[i], (int32_t[]){2, 1, 4}, "offset falls from 2 to 1 at 1, wanted");
        refuse_run(segments[i], (int32_t[]){-1, 1, 4}, "offset[0] is -1, wanted 0 or more");
    }
    refuse_run(end_of_4, (int32_t[]){0, 4, 4}, "end_token: segment 1 is empty, wanted at least");
}

/* --- coverage --------------------------------------------------------------------------------- */

static int has_case(const cg_op *op) {
    for (int t = 0; t < TABLES; t++)
        for (const cg_op_case *c = tables[t]; c->op; c++)
            if (c->op == op) return 1;
    return 0;
}

/* Has each operand and result been bf16 that may be? Of any number of operands, one. */
static int ran_bf16(const cg_op *op) {
    unsigned in, out, may = op->max_in < 0 ? op->bf16_in & 1 : op->bf16_in;
    cg_op_ran_bf16(op, &in, &out);
    return !(may & ~in) && !(op->bf16_out & ~out);
}

/* Runs last: an op with a gradient has a case; every op has run in some graph, and with bf16 where
 * it reads or writes it. */
static void test_coverage(void **state) {
    (void)state;
    int n;
    char missing[1024] = "";
    const cg_op *const *op = cg_op_list(&n);
    for (int i = 0; i < n; i++) {
        size_t used = strlen(missing);
        if (op[i]->vjp && !has_case(op[i]))
            snprintf(missing + used, sizeof missing - used, " %s has no case;", op[i]->name);
        else if (!cg_op_was_run(op[i]))
            snprintf(missing + used, sizeof missing - used, " %s was never run;", op[i]->name);
        else if (cg_op_most_out(op[i]) < op[i]->n_out)
            snprintf(missing + used, sizeof missing - used, " %s was not run with all results;",
                     op[i]->name);
        else if (!ran_bf16(op[i]))
            snprintf(missing + used, sizeof missing - used,
                     " %s was not run with all the bf16 it "
                     "allows;",
                     op[i]->name);
    }
    if (missing[0]) fail_msg("%s", missing);
}

/* --- the list of tests ------------------------------------------------------------------------ */

typedef struct test_list {
    struct CMUnitTest *test;
    size_t n, cap;
} test_list;

static void append(test_list *l, CMUnitTestFunction fn, const void *state, const char *op,
                   const char *label, const char *mode) {
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 256;
        l->test = realloc(l->test, l->cap * sizeof *l->test);
    }
    size_t bytes = strlen(op) + strlen(label) + strlen(mode) + 5;
    char *name = l->test ? malloc(bytes) : NULL;
    if (!name) abort();
    snprintf(name, bytes, "%s: %s%s%s", op, label, *label ? ": " : "", mode);
    l->test[l->n++] = (struct CMUnitTest){
        .name = name, .test_func = fn, .initial_state = (void *)(uintptr_t)state};
}

static void append_cases(test_list *l) {
    for (int t = 0; t < TABLES; t++) {
        for (const cg_op_case *c = tables[t]; c->op; c++) {
            int grad = 0;
            for (int i = 0; i < c->n_in; i++) grad |= c->in[i].differentiate;
            append(l, test_kernel, c, c->op->name, c->label, "kernel");
            if (grad) append(l, test_gradient, c, c->op->name, c->label, "gradient");
            append(l, test_threads, c, c->op->name, c->label, "threads");
            append(l, test_reuse, c, c->op->name, c->label, "reuse");
            if (grad) append(l, test_again, c, c->op->name, c->label, "again");
            append(l, test_bf16, c, c->op->name, c->label, "bf16");
        }
        for (const cg_bad_case *c = bad_tables[t]; c->op; c++)
            append(l, test_bad, c, c->op->name, "refused", c->message);
    }
    append(l, test_bad_values, NULL, "all ops", "refused", "values found in a run");
    append(l, test_coverage, NULL, "all ops", "", "coverage");
}

static int set_up(void **state) {
    (void)state;
    return cg_context_create(1, &one) != CG_OK || cg_context_create(2, &two) != CG_OK;
}

static int tear_down(void **state) {
    (void)state;
    cg_context_free(one);
    cg_context_free(two);
    return 0;
}

int main(int argc, char **argv) {
    test_list l = {0};
    append_cases(&l);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    int failed = _cmocka_run_group_tests("ops", l.test, l.n, set_up, tear_down);
    for (size_t i = 0; i < l.n; i++) free((char *)(uintptr_t)l.test[i].name);
    free(l.test);
    return failed;
}
