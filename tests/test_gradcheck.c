/* labels: unit grad */
/* The check itself: right gradients pass, wrong ones are caught, whatever is wrong with them. */
#include "autodiff/grad.h"
#include "autodiff/gradcheck.h"
#include "graph/exec.h"
#include "graph/rng.h"
#include "ops/ops.h"
#include "tests/support/ok.h"
#include "train/account.h"
#include "train/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 3, IN = 4, OUT = 5, PARAMS = 3 };
static const char *const names[PARAMS] = {"weight", "bias", "scale"};

/* loss = sum over all of exp(scale · (x · weightᵀ + bias)) / 15, and its gradients */
typedef struct small {
    cg_context *ctx;
    cg_params *params;
    cg_graph *graph;
    cg_plan *plan;
    cg_exec *exec;
    float x[ROWS * IN], *gradient;
    cg_gradcheck_row row[PARAMS];
    int n;
} small;

static void build(small *s) {
    cg_param_spec normal = {.init = CG_INIT_NORMAL, .scale = .5f}, half = {.scale = .5f};
    cg_value *wrt[PARAMS], *grad[PARAMS];
    cg_value *x = cg_input(s->graph, "x", CG_F32, CG_SHAPE(ROWS, IN));
    wrt[0] = cg_parameter(s->graph, names[0], CG_SHAPE(OUT, IN), normal);
    wrt[1] = cg_parameter(s->graph, names[1], CG_SHAPE(OUT), normal);
    wrt[2] = cg_parameter(s->graph, names[2], CG_SCALAR, half);
    cg_value *y = cg_mul(s->graph, cg_linear(s->graph, x, wrt[0], wrt[1]), wrt[2]);
    cg_value *each = cg_scale(s->graph, cg_exp(s->graph, y), 1.f / (ROWS * OUT));
    cg_value *loss = cg_sum(s->graph, each, CG_SHAPE(0, 1), 0);
    ok(cg_grad(s->graph, 1, &loss, NULL, PARAMS, wrt, grad));
    for (int i = 0; i < PARAMS; i++) cg_graph_output(s->graph, names[i], grad[i], CG_SET);
    cg_graph_output(s->graph, "each", each, CG_KEEP);
    ok(cg_graph_verify(s->graph));
}

static int setup(void **state) {
    small *s = *state = calloc(1, sizeof *s);
    ok(cg_context_create(1, &s->ctx));
    ok(cg_params_create(&s->params));
    ok(cg_graph_create(s->params, &s->graph));
    build(s);
    ok(cg_params_alloc(s->params));
    cg_params_init(s->params, 1);
    ok(cg_plan_create(s->ctx, s->graph, &s->plan));
    ok(cg_exec_create(&s->exec));
    ok(cg_exec_use(s->exec, s->plan));
    s->gradient = calloc((size_t)cg_params_trained_elements(s->params), sizeof *s->gradient);
    cg_rng r = cg_rng_at(1, CG_RNG_TEST, 0, 0);
    for (int i = 0; i < ROWS * IN; i++) s->x[i] = (float)cg_rng_normal(&r);
    ok(cg_exec_bind_input(s->exec, "x", s->x));
    for (int i = 0; i < PARAMS; i++) {
        size_t at = cg_params_find(s->params, names[i])->offset / sizeof(float);
        ok(cg_exec_bind_output(s->exec, names[i], s->gradient + at));
    }
    ok(cg_exec_run(s->exec));
    return 0;
}

static int teardown(void **state) {
    small *s = *state;
    cg_exec_free(s->exec);
    cg_plan_free(s->plan);
    cg_graph_free(s->graph);
    cg_params_free(s->params);
    cg_context_free(s->ctx);
    free(s->gradient);
    free(s);
    return 0;
}

/* By its own loop in double, so that the check does not lean on what it checks. */
static double loss(void *user) {
    const small *s = user;
    const float *w = cg_params_find(s->params, "weight")->data;
    const float *b = cg_params_find(s->params, "bias")->data;
    double scale = (double)*(const float *)cg_params_find(s->params, "scale")->data, sum = 0;
    for (int r = 0; r < ROWS; r++)
        for (int o = 0; o < OUT; o++) {
            double y = (double)b[o];
            for (int i = 0; i < IN; i++) y += (double)s->x[r * IN + i] * (double)w[o * IN + i];
            sum += exp(scale * y) / (ROWS * OUT);
        }
    return sum;
}

static double no_number(void *user) {
    (void)user;
    return NAN;
}

static void check(small *s, uint64_t seed) {
    cg_gradcheck c = {.params = s->params,
                      .gradient = s->gradient,
                      .loss = loss,
                      .user = s,
                      .seed = seed,
                      .step = 1e-3,
                      .tolerance = 1e-3,
                      .floor = 1e-6,
                      .attempts = 4};
    ok(cg_gradcheck_run(&c, s->row, &s->n));
    assert_int_equal(s->n, PARAMS);
    for (int i = 0; i < PARAMS; i++) assert_string_equal(s->row[i].param->name, names[i]);
}

static void right_gradients_pass(void **state) {
    small *s = *state;
    size_t bytes = cg_params_bytes(s->params);
    void *before = malloc(bytes);
    memcpy(before, cg_params_block(s->params), bytes);
    for (uint64_t seed = 0; seed < 50; seed++) { /* a scalar's directions may cancel out */
        check(s, seed);
        for (int i = 0; i < PARAMS; i++)
            if (!s->row[i].ok)
                fail_msg("seed %d, %s: computed %g, measured %g", (int)seed, names[i],
                         s->row[i].computed, s->row[i].measured);
    }
    assert_memory_equal(before, cg_params_block(s->params), bytes); /* as they were */
    free(before);
}

static size_t largest(const float *g, size_t n) {
    size_t at = 0;
    for (size_t i = 1; i < n; i++)
        if (fabsf(g[i]) > fabsf(g[at])) at = i;
    return at;
}

/* Perturbs one parameter's gradient at a time: only its row may fail, and it must. */
static void wrong_gradients_are_caught(void **state) {
    small *s = *state;
    static const char *const mistakes[] = {"1 % too long", "a sign", "one element left out",
                                           "all left out", "two elements exchanged"};
    float saved[OUT * IN];
    for (int m = 0; m < 5; m++)
        for (int i = 0; i < PARAMS; i++) {
            const cg_param *p = cg_params_find(s->params, names[i]);
            float *g = s->gradient + p->offset / sizeof *g;
            size_t n = (size_t)p->count;
            if (m == 4 && n < 2) continue;
            memcpy(saved, g, n * sizeof *g);
            for (size_t k = 0; m == 0 && k < n; k++) g[k] *= 1.01f;
            for (size_t k = 0; m == 1 && k < n; k++) g[k] = -g[k];
            if (m == 2) g[largest(g, n)] = 0;
            if (m == 3) memset(g, 0, n * sizeof *g);
            if (m == 4) {
                g[0] = saved[1];
                g[1] = saved[0];
            }
            check(s, 7);
            for (int k = 0; k < PARAMS; k++)
                if (s->row[k].ok != (k != i))
                    fail_msg("%s, %s: the row of %s is %s (computed %g, measured %g)", names[i],
                             mistakes[m], names[k], s->row[k].ok ? "ok" : "not ok",
                             s->row[k].computed, s->row[k].measured);
            memcpy(g, saved, n * sizeof *g);
        }
}

static void losses_must_be_finite(void **state) {
    small *s = *state;
    cg_gradcheck c = {.params = s->params,
                      .gradient = s->gradient,
                      .loss = no_number,
                      .step = 1e-3,
                      .tolerance = 1e-3};
    assert_int_equal(cg_gradcheck_run(&c, s->row, &s->n), CG_ENONFINITE);
    assert_string_equal(cg_error_message(), "weight: the loss beside its value is not finite");
}

static double cubic(void *user, double t) {
    (void)user;
    return 2 + 3 * t - t * t + 4 * t * t * t;
}

static void derivatives_are_of_fourth_order(void **state) {
    (void)state;
    assert_float_equal(cg_derivative(cubic, NULL, .5), 3, 1e-12); /* exact up to t⁴ */
}

/* -- a whole model ----------------------------------------------------------------------------- */

/* What `inspect` shows is what a step then takes. */
static void plans_are_as_announced(cg_context *ctx, cg_runner *runner) {
    enum { N = 4, SIZE = 32 };
    static float image[N * SIZE * SIZE * 3];
    int32_t token[3 * N], offset[N + 1];
    for (int i = 0; i < 3 * N; i++) token[i] = i;
    for (int i = 0; i <= N; i++) offset[i] = 3 * i;
    cg_batch batch = {.n = N, .image = image, .token = token, .offset = offset};
    cg_clip_build b = {.images = N, .texts = N, .rows = cg_clip_rows(N), .training = 1, .loss = 1};
    int64_t elements = cg_params_trained_elements(cg_runner_params(runner));
    float *gradient = calloc((size_t)elements, sizeof *gradient);
    cg_plan_report found;
    cg_account announced;
    double value;
    ok(cg_runner_backward(runner, &batch, gradient, &value));
    cg_runner_report(runner, &found);
    ok(cg_account_plan(ctx, cg_runner_desc(runner), &b, &(cg_program){.gradients = 1}, &announced));
    assert_int_equal(announced.plan.arena_bytes, found.arena_bytes);
    assert_int_equal(announced.plan.flops, found.flops);
    assert_int_equal(announced.plan.n_nodes, found.n_nodes);
    assert_int_equal(announced.gradients, (size_t)elements * sizeof(float));
    assert_int_equal(announced.params, cg_params_bytes(cg_runner_params(runner)));
    free(gradient);
}

static void whole_models_pass(void **state) {
    (void)state;
    cg_clip_desc d = cg_clip_desc_default();
    d.embed_dim = 16;
    d.vision.image_size = 32;
    d.vision.n_layers = 4;
    for (int i = 0; i < 4; i++) d.vision.layers[i] = 1;
    d.vision.width = 8;
    d.vision.head_width = 32;
    d.text.text_arch = CG_TEXT_CBOW;
    d.text.context_length = 8;
    d.text.vocab_size = 50;
    d.text.width = 16;
    cg_context *ctx;
    cg_runner *runner;
    cg_check_options o = cg_check_options_default();
    cg_check_result r;
    ok(cg_context_create(2, &ctx));
    ok(cg_runner_create(ctx, &d, &runner));
    ok(cg_check_model(runner, &o, &r));
    assert_true(r.n > 60 && isfinite(r.loss));
    int alive = 0;
    for (int i = 0; i < r.n; i++) {
        if (!r.row[i].ok)
            fail_msg("%s: computed %g, measured %g", r.row[i].param->name, r.row[i].computed,
                     r.row[i].measured);
        alive += fabs(r.row[i].computed) > 1e-4;
    }
    assert_true(alive >= r.n - 2); /* no dead branch: all but a key bias have a gradient */
    free(r.row);
    plans_are_as_announced(ctx, runner);
    o.batch = 1;
    assert_int_equal(cg_check_model(runner, &o, &r), CG_EINVAL);
    cg_runner_free(runner);
    cg_context_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(right_gradients_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_gradients_are_caught, setup, teardown),
        cmocka_unit_test_setup_teardown(losses_must_be_finite, setup, teardown),
        cmocka_unit_test(derivatives_are_of_fourth_order),
        cmocka_unit_test(whole_models_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
