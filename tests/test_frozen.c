/* labels: unit */
/* Plans for inference, which compute once what follows from parameters alone: they give what plain
 * plans do, before and after parameters change, share what they keep, and can be looked into. */
#include "graph/derived.h"
#include "graph/exec.h"
#include "ops/ops.h"
#include "tests/support/hash.h"
#include "tests/support/models.h"
#include "tests/support/ok.h"
#include "train/optimizer.h"
#include "train/program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static cg_context *ctx;

static int set_up(void **state) {
    (void)state;
    return cg_context_create(2, &ctx) != CG_OK;
}

static int tear_down(void **state) {
    (void)state;
    cg_context_free(ctx);
    return 0;
}

/* --- a plan that can be run ------------------------------------------------------------------- */

typedef struct machine {
    cg_graph *g;
    cg_plan *plan;
    cg_exec *exec;
} machine;

static machine start(cg_graph *g, int freeze) {
    machine m = {.g = g};
    ok(cg_graph_verify(g));
    ok(freeze ? cg_plan_create_frozen(ctx, g, &m.plan) : cg_plan_create(ctx, g, &m.plan));
    ok(cg_exec_create(&m.exec));
    ok(cg_exec_use(m.exec, m.plan));
    return m;
}

static void stop(machine *m) {
    cg_exec_free(m->exec);
    cg_plan_free(m->plan);
    cg_graph_free(m->g);
}

static const float *run(machine *m, const char *output) {
    ok(cg_exec_run(m->exec));
    return cg_exec_output(m->exec, output);
}

static int entries(cg_params *p) {
    int n = 0;
    for (const cg_derived *d = cg_params_derived(p)->first; d; d = d->next) n++;
    return n;
}

static double distance(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += pow((double)a[i] - (double)b[i], 2);
    return sqrt(sum);
}

/* --- models ----------------------------------------------------------------------------------- */

enum { SMALL = 2, LARGE = 5 };

static const char *const models[] = {"tiny-resnet-cbow", "tiny-resnet-transformer",
                                     "tiny-vit-transformer"};
enum { MODELS = sizeof models / sizeof *models };

/* The first n pairs' embeddings. */
static machine embedder(cg_params *params, const cg_clip_desc *d, const cg_batch *p, int64_t n,
                        cg_precision precision, int freeze) {
    cg_clip_build b = {
        .images = n, .texts = n, .layout = CG_TEXT_PACKED, .rows = cg_clip_rows(p->offset[p->n])};
    cg_program how = {.precision = precision};
    cg_graph *g;
    ok(cg_program_build(params, d, &b, &how, &g));
    if (!cg_params_ready(params)) {
        ok(cg_params_alloc(params));
        cg_hash_params(params);
    }
    machine m = start(g, freeze);
    ok(cg_exec_bind_input(m.exec, "image", p->image));
    ok(cg_exec_bind_input(m.exec, "token", p->token));
    ok(cg_exec_bind_input(m.exec, "token_offset", p->offset));
    return m;
}

/* Runs both; returns how far b's embeddings are from a's. */
static double compare(machine *a, machine *b, int64_t n) {
    double off = 0;
    const char *const name[] = {"image_embedding", "text_embedding"};
    ok(cg_exec_run(a->exec));
    ok(cg_exec_run(b->exec));
    for (int i = 0; i < 2; i++)
        off = fmax(off,
                   distance(cg_exec_output(a->exec, name[i]), cg_exec_output(b->exec, name[i]), n));
    return off;
}

/* A trained step's worth of change to all parameters, by the optimizer. */
static void train(cg_params *params) {
    cg_optimizer *o;
    size_t n = (size_t)cg_params_trained_elements(params);
    float *gradient = calloc(n, sizeof *gradient);
    if (!gradient) fail_msg("no memory for a gradient");
    for (size_t i = 0; i < n; i++) gradient[i] = i % 3 ? 1.0f : -2.0f;
    ok(cg_optimizer_create(params, (cg_adamw){.beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-6f}, 1, &o));
    cg_optimizer_step(o, gradient, cg_optimizer_norm(o, gradient), 0.01);
    cg_optimizer_free(o);
    free(gradient);
}

static void check_model(const char *name, cg_precision precision, double rounding) {
    cg_clip_desc d = describe(name);
    cg_params *params;
    cg_batch p = make_pairs(&d, LARGE);
    int64_t n = SMALL * d.embed_dim;
    ok(cg_params_create(&params));
    machine plain = embedder(params, &d, &p, SMALL, precision, 0);
    machine frozen = embedder(params, &d, &p, SMALL, precision, 1);
    machine large = embedder(params, &d, &p, LARGE, precision, 1);
    float *before = calloc((size_t)n, sizeof *before);
    if (!before) fail_msg("no memory for embeddings");
    for (int change = 0; change < 4; change++) {
        if (change == 1) { /* by hand */
            cg_param *w = cg_params_find(params, "text_projection");
            for (int64_t i = 0; i < w->count; i++) ((float *)w->data)[i] *= i % 2 ? 1.5f : 0.5f;
            cg_params_changed(params);
        }
        if (change == 2) train(params);
        if (change == 3) cg_params_init(params, 7);
        double off = compare(&plain, &frozen, n), again = compare(&plain, &frozen, n);
        double other = compare(&plain, &large, n);
        if (!(off <= rounding) || !(other <= rounding) || memcmp(&off, &again, sizeof off) != 0)
            fail_msg(
                "%s, change %d: embeddings are off by %.3g, then %.3g, by %.3g in a larger batch",
                name, change, off, again, other);
        const float *text = cg_exec_output(frozen.exec, "text_embedding");
        if (change && !(distance(before, text, n) > 1e-3))
            fail_msg("%s, change %d: embeddings stayed", name, change);
        memcpy(before, text, (size_t)n * sizeof *before);
    }
    free(before);
    stop(&plain);
    stop(&frozen);
    stop(&large);
    free_pairs(&p);
    cg_params_free(params);
}

static void test_models(void **state) {
    (void)state;
    for (int i = 0; i < MODELS; i++) check_model(models[i], CG_PRECISION_F32, 1e-5);
}

/* Weights that are narrowed once are those that are narrowed in each run. */
static void test_models_bf16(void **state) {
    (void)state;
    if (!cg_context_has_bf16()) { /* then it is refused, by name */
        assert_int_equal(cg_context_check_bf16(), CG_EUNSUPPORTED);
        return;
    }
    for (int i = 0; i < MODELS; i++) check_model(models[i], CG_PRECISION_BF16, 0.02);
}

/* What a plan keeps, another of the same model does not keep again. */
static void test_shared_model(void **state) {
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        cg_clip_desc d = describe(models[i]);
        cg_params *params;
        cg_batch p = make_pairs(&d, LARGE);
        ok(cg_params_create(&params));
        machine a = embedder(params, &d, &p, SMALL, CG_PRECISION_F32, 1);
        int one = entries(params);
        machine same = embedder(params, &d, &p, SMALL, CG_PRECISION_F32, 1);
        assert_true(one > 0);
        assert_int_equal(entries(params), one);
        machine other = embedder(params, &d, &p, LARGE, CG_PRECISION_F32, 1);
        assert_true(entries(params) < 2 * one);
        stop(&a); /* its entries serve the others */
        ok(cg_exec_run(same.exec));
        ok(cg_exec_run(other.exec));
        stop(&same);
        stop(&other);
        free_pairs(&p);
        cg_params_free(params);
    }
}

/* --- a small graph ---------------------------------------------------------------------------- */

enum { WIDTH = 6 };

/* y = 2 x + gain / sqrt(var), and a view of what is frozen as another output. */
static machine small(cg_params *params, int64_t rows, int freeze, const float *x) {
    cg_graph *g;
    ok(cg_graph_create(params, &g));
    cg_value *gain = cg_parameter(g, "gain", CG_SHAPE(WIDTH), (cg_param_spec){.scale = 3});
    cg_value *var = cg_parameter(g, "var", CG_SHAPE(WIDTH), (cg_param_spec){.scale = 4});
    cg_value *in = cg_input(g, "x", CG_F32, CG_SHAPE(rows, WIDTH));
    cg_value *factor = cg_div(g, gain, cg_sqrt(g, var));
    cg_graph_output(g, "y", cg_add(g, cg_scale(g, in, 2), factor), CG_KEEP);
    cg_graph_output(g, "row", cg_reshape(g, factor, CG_SHAPE(1, WIDTH)), CG_KEEP);
    if (!cg_params_ready(params)) {
        ok(cg_params_alloc(params));
        cg_params_init(params, 1);
    }
    machine m = start(g, freeze);
    ok(cg_exec_bind_input(m.exec, "x", x));
    return m;
}

static void test_small(void **state) {
    (void)state;
    float x[9 * WIDTH];
    cg_params *params;
    cg_plan_report report;
    for (int i = 0; i < 9 * WIDTH; i++) x[i] = (float)i;
    ok(cg_params_create(&params));
    machine plain = small(params, 3, 0, x), m = small(params, 3, 1, x);
    assert_int_equal(entries(params), 1); /* the quotient; the root is only passed on */
    machine large = small(params, 9, 1, x);
    assert_int_equal(entries(params), 1);
    cg_plan_get_report(m.plan, &report);
    assert_int_equal(report.frozen_bytes, 64);
    float *var = cg_params_find(params, "var")->data;
    for (int i = 0; i < 3; i++) {
        assert_memory_equal(run(&plain, "y"), run(&m, "y"), 3 * WIDTH * sizeof(float));
        assert_memory_equal(run(&plain, "row"), run(&m, "row"), WIDTH * sizeof(float));
        assert_memory_equal(run(&plain, "y"), run(&large, "y"), 3 * WIDTH * sizeof(float));
        const float *row = run(&m, "row");
        assert_float_equal(row[0], 3 / sqrt((double)var[0]), 1e-6);
        var[0] += 5;
        cg_params_changed(params);
        assert_null(cg_params_derived(params)->first->data); /* memory is given back */
    }
    stop(&m);
    stop(&plain);
    stop(&large);
    assert_int_equal(entries(params), 1); /* for the next plan; freed with the parameters */
    cg_params_free(params);
}

/* A graph that changes its own parameters: what is committed is seen by the next run. */
/* A convolution in Winograd's form, whose weights are transformed once, for two batch sizes. */
static void test_winograd(void **state) {
    (void)state;
    enum { SIDE = 8, CHANNELS = 24, FILTERS = 40, MOST = 3 };
    static float x[MOST * SIDE * SIDE * CHANNELS];
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) x[i] = (float)cg_hash_unit(5, (int64_t)i);
    cg_params *p;
    ok(cg_params_create(&p));
    machine m[2][2]; /* frozen, large */
    for (int k = 0; k < 4; k++) {
        cg_graph *g;
        ok(cg_graph_create(p, &g));
        cg_value *w = cg_parameter(g, "w", CG_SHAPE(FILTERS, CHANNELS, 3, 3),
                                   (cg_param_spec){.init = CG_INIT_NORMAL, .scale = 1});
        cg_value *in = cg_input(g, "x", CG_F32, CG_SHAPE(k % 2 ? MOST : 1, SIDE, SIDE, CHANNELS));
        cg_graph_output(g, "y", cg_conv2d(g, in, w, 1, 1), CG_KEEP);
        ok(cg_graph_status(g));
        if (k == 0) ok(cg_params_alloc(p));
        if (k == 0) cg_params_init(p, 1);
        m[k / 2][k % 2] = start(g, k / 2);
        ok(cg_exec_bind_input(m[k / 2][k % 2].exec, "x", x));
        assert_string_equal(cg_plan_impl(m[k / 2][k % 2].plan, 0), "winograd");
    }
    for (int large = 0; large < 2; large++) {
        int64_t count = (int64_t)(large ? MOST : 1) * SIDE * SIDE * FILTERS;
        const float *plain = run(&m[0][large], "y"), *frozen = run(&m[1][large], "y");
        assert_memory_equal(plain, frozen, (size_t)count * sizeof *plain);
    }
    assert_int_equal(entries(p), 1);
    for (int k = 0; k < 4; k++) stop(&m[k / 2][k % 2]);
    cg_params_free(p);
}

static void test_commit(void **state) {
    (void)state;
    cg_params *params;
    cg_graph *g;
    ok(cg_params_create(&params));
    ok(cg_graph_create(params, &g));
    cg_value *w = cg_parameter(g, "w", CG_SHAPE(WIDTH), (cg_param_spec){.scale = 1, .state = 1});
    cg_value *x = cg_input(g, "x", CG_F32, CG_SHAPE(WIDTH));
    cg_graph_output(g, "y", cg_add(g, x, cg_scale(g, w, 10)), CG_KEEP);
    cg_graph_update(g, w, cg_add(g, x, w));
    ok(cg_params_alloc(params));
    cg_params_init(params, 1);
    const float one[WIDTH] = {1, 1, 1, 1, 1, 1};
    machine m = start(g, 1);
    ok(cg_exec_bind_input(m.exec, "x", one));
    for (int i = 1; i < 4; i++) {
        assert_true(run(&m, "y")[0] == 1 + 10 * (float)i);
        cg_exec_commit(m.exec);
    }
    stop(&m);
    cg_params_free(params);
}

/* --- looking into it -------------------------------------------------------------------------- */

static void test_nonfinite(void **state) {
    (void)state;
    float x[3 * WIDTH] = {0};
    cg_params *params;
    cg_nonfinite found;
    ok(cg_params_create(&params));
    machine m = small(params, 3, 1, x);
    ok(cg_exec_find_nonfinite(m.exec, &found));
    assert_null(found.name);
    float *var = cg_params_find(params, "var")->data;
    var[2] = -1; /* finite, but not its root */
    cg_params_changed(params);
    ok(cg_exec_find_nonfinite(m.exec, &found));
    assert_non_null(found.node);
    assert_ptr_equal(found.node->op, &cg_op_div);
    assert_int_equal(found.element, 2);
    assert_true(isnan(found.value));
    var[2] = INFINITY;
    cg_params_changed(params);
    ok(cg_exec_find_nonfinite(m.exec, &found));
    assert_null(found.node);
    assert_string_equal(found.name, "var");
    var[2] = 1;
    cg_params_changed(params);
    x[4] = INFINITY;
    ok(cg_exec_find_nonfinite(m.exec, &found));
    assert_string_equal(found.name, "x");
    stop(&m);
    cg_params_free(params);
}

/* What is frozen takes no part in a run, and so none in its profile. */
static void test_profile(void **state) {
    (void)state;
    float x[3 * WIDTH] = {0};
    for (int freeze = 0; freeze < 2; freeze++) {
        cg_params *params;
        cg_profile *profile;
        char *text;
        ok(cg_params_create(&params));
        machine m = small(params, 3, freeze, x);
        ok(cg_profile_create(0, &profile));
        ok(cg_exec_profile(m.exec, profile));
        for (int i = 0; i < 3; i++) run(&m, "y");
        assert_int_equal(cg_profile_runs(profile), 3);
        cg_profile_stop(profile);
        ok(cg_profile_text(profile, NULL, &text));
        assert_non_null(strstr(text, "add"));
        if ((strstr(text, "sqrt") == NULL) != freeze) fail_msg("the profile says:\n%s", text);
        free(text);
        ok(cg_exec_profile(m.exec, NULL));
        cg_profile_free(profile);
        stop(&m);
        cg_params_free(params);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),       cmocka_unit_test(test_models_bf16),
        cmocka_unit_test(test_shared_model), cmocka_unit_test(test_small),
        cmocka_unit_test(test_winograd),     cmocka_unit_test(test_commit),
        cmocka_unit_test(test_nonfinite),    cmocka_unit_test(test_profile),
    };
    return cmocka_run_group_tests_name("frozen", tests, set_up, tear_down);
}
