/* labels: unit grad */
/* Passes change what a model costs and not what it computes: small models of every kind, each pass
 * left out in turn, give the same losses, embeddings and gradients within rounding; to the bit
 * where a pass leaves the arithmetic alone. */
#include "graph/op.h"
#include "ops/ops.h"
#include "tests/support/hash.h"
#include "tests/support/models.h"
#include "tests/support/ok.h"
#include "train/account.h"
#include "train/runner.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- models ----------------------------------------------------------------------------------- */

/* A description of models/configs, and what is changed in it: the blocks' activation and norm. */
typedef struct model {
    const char *name;
    cg_activation act;
    cg_norm norm;
} model;

static const model models[] = {
    {"tiny-resnet-cbow", CG_ACT_DEFAULT, CG_NORM_LAYER},
    {"tiny-resnet-transformer", CG_ACT_GELU_TANH, CG_NORM_LAYER},
    {"tiny-vit-cbow", CG_ACT_QUICKGELU, CG_NORM_RMS},
    {"tiny-vit-transformer", CG_ACT_DEFAULT, CG_NORM_LAYER},
    {"tiny-vit-transformer", CG_ACT_SILU, CG_NORM_RMS},
    {"tiny-vit-transformer", CG_ACT_RELU, CG_NORM_LAYER},
};
enum { MODELS = sizeof models / sizeof *models, PAIRS = 6 };

static cg_clip_desc change(const model *m) {
    cg_clip_desc d = describe(m->name);
    d.vision.act = d.text.act = m->act;
    d.vision.norm = d.text.norm = m->norm;
    return d;
}

/* --- what a model computes -------------------------------------------------------------------- */

typedef struct result {
    cg_params *params; /* the runner's */
    float *gradient, *image, *text;
    int64_t n_gradient, n_embedding;
    double loss;
} result;

static float *numbers(int64_t n) {
    float *x = calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    return x;
}

static result compute(cg_runner *r, const cg_batch *b, cg_precision precision, cg_passes_off off,
                      cg_pass_saving *saved) {
    result out = {.params = cg_runner_params(r)};
    cg_runner_set_program(r, precision, off, saved);
    out.n_gradient = cg_params_trained_elements(out.params);
    out.n_embedding = PAIRS * cg_runner_desc(r)->embed_dim;
    out.gradient = numbers(out.n_gradient);
    out.image = numbers(out.n_embedding);
    out.text = numbers(out.n_embedding);
    ok(cg_runner_backward(r, b, out.gradient, &out.loss));
    ok(cg_runner_embed_images(r, b->image, PAIRS, out.image));
    ok(cg_runner_embed_texts(r, b->token, b->offset, PAIRS, out.text));
    return out;
}

static void forget(result *r) {
    free(r->gradient);
    free(r->image);
    free(r->text);
}

static double length_of(const float *x, const float *minus, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)x[i] - (minus ? (double)minus[i] : 0);
        sum += d * d;
    }
    return sqrt(sum);
}

static void compare_gradients(const char *where, const result *a, const result *b) {
    double all = length_of(a->gradient, NULL, a->n_gradient);
    for (int i = 0; i < cg_params_count(a->params); i++) {
        const cg_param *p = cg_params_at(a->params, i);
        if (!p->trainable) continue;
        size_t at = p->offset / sizeof(float);
        double own = length_of(a->gradient + at, NULL, p->count);
        double off = length_of(a->gradient + at, b->gradient + at, p->count);
        if (!(off <= 1e-4 * own + 1e-6 * all))
            fail_msg("%s: the gradient of %s, %.3g long, is off by %.3g", where, p->name, own, off);
    }
}

/* exact: to the bit. */
static void compare(const char *where, const result *a, const result *b, int exact) {
    size_t gradient = (size_t)a->n_gradient * sizeof(float);
    size_t embedding = (size_t)a->n_embedding * sizeof(float);
    if (exact) {
        if (memcmp(&a->loss, &b->loss, sizeof a->loss) != 0 ||
            memcmp(a->gradient, b->gradient, gradient) != 0 ||
            memcmp(a->image, b->image, embedding) != 0 || memcmp(a->text, b->text, embedding) != 0)
            fail_msg("%s: the bits differ", where);
        return;
    }
    double image = length_of(a->image, b->image, a->n_embedding);
    double text = length_of(a->text, b->text, a->n_embedding);
    if (!(fabs(a->loss - b->loss) <= 1e-5 * fabs(a->loss)) || !(image <= 1e-5) || !(text <= 1e-5))
        fail_msg("%s: losses are %.9g and %.9g, embeddings off by %.3g and %.3g", where, a->loss,
                 b->loss, image, text);
    compare_gradients(where, a, b);
}

/* --- each pass -------------------------------------------------------------------------------- */

/* Those after which the same additions are made in the same order. */
static int leaves_arithmetic(const char *pass) {
    return strcmp(pass, "recompute") == 0;
}

static void compare_models(cg_precision precision, cg_pass_saving *saved) {
    int n;
    const cg_pass *pass = cg_pass_list(&n);
    cg_context *ctx;
    ok(cg_context_create(2, &ctx));
    for (int m = 0; m < MODELS; m++) {
        cg_clip_desc d = change(&models[m]);
        cg_batch b = make_pairs(&d, PAIRS);
        cg_runner *r;
        ok(cg_runner_create(ctx, &d, &r));
        cg_hash_params(cg_runner_params(r));
        result all = compute(r, &b, precision, 0, saved);
        for (int p = 0; p < n; p++) {
            char where[128];
            int exact = leaves_arithmetic(pass[p].name);
            if (precision == CG_PRECISION_BF16 && !exact) continue; /* rounded elsewhere */
            snprintf(where, sizeof where, "%s (number %d) without %s", models[m].name, m,
                     pass[p].name);
            result less = compute(r, &b, precision, 1u << p, NULL);
            compare(where, &all, &less, exact);
            forget(&less);
        }
        forget(&all);
        cg_runner_free(r);
        free_pairs(&b);
    }
    cg_context_free(ctx);
}

static void test_each(void **state) {
    (void)state;
    int n;
    const cg_pass *pass = cg_pass_list(&n);
    cg_pass_saving saved[CG_MAX_PASSES] = {{0}};
    compare_models(CG_PRECISION_F32, saved);
    for (int p = 0; p < n; p++)
        if (saved[p].rewrites == 0) fail_msg("%s rewrote nothing in any model", pass[p].name);
}

/* Where rounding to bf16 amplifies what differs, only what does not differ can be compared. */
static void test_each_bf16(void **state) {
    (void)state;
    compare_models(CG_PRECISION_BF16, NULL);
}

/* --- recompute -------------------------------------------------------------------------------- */

static void test_recompute_memory(void **state) {
    (void)state;
    cg_clip_desc d = change(&models[3]);
    cg_clip_build b = cg_clip_batch(&d, 64, 64, 64 * 32);
    b.training = b.loss = 1;
    cg_passes_off alone;
    ok(cg_passes_parse("none,+recompute", &alone));
    size_t bytes[2];
    for (int i = 0; i < 2; i++) {
        cg_params *params;
        cg_graph *g;
        cg_context *ctx;
        cg_plan *plan;
        cg_plan_report report;
        cg_program how = {.gradients = 1, .off = i ? CG_PASSES_NONE : alone};
        ok(cg_params_create(&params));
        ok(cg_context_create(2, &ctx));
        ok(cg_program_build(params, &d, &b, &how, &g));
        ok(cg_plan_create(ctx, g, &plan));
        cg_plan_get_report(plan, &report);
        bytes[i] = report.arena_bytes;
        cg_plan_free(plan);
        cg_graph_free(g);
        cg_context_free(ctx);
        cg_params_free(params);
    }
    if (bytes[0] * 5 > bytes[1] * 4)
        fail_msg("the arena has %zu bytes, %zu where what gradients can give again is kept",
                 bytes[0], bytes[1]);
}

/* y = gelu(x) is read by a node that gelu's gradient waits for, and by one that it does not: the
 * first keeps y, the second gets it from the gradient, unless y is kept anyway. */
static void rewrites_of(int is_output, int wanted) {
    cg_graph *g;
    ok(cg_graph_create(NULL, &g));
    cg_value *x = cg_input(g, "x", CG_F32, CG_SHAPE(64, 64));
    cg_value *y = cg_gelu(g, cg_scale(g, x, 2)), *dy = cg_matmul(g, y, y, 0, 1);
    cg_value *wide = cg_concat(g, 2, (cg_value *[]){dy, dy}, 0); /* where memory is fullest */
    dy = cg_slice(g, wide, 0, 0, 64);
    cg_value *in[] = {y->node->in[0], dy};
    cg_value *dx = cg_node_add1(g, &cg_op_gelu_grad, NULL, 2, in);
    cg_graph_output(g, "dw", cg_matmul(g, dy, y, 1, 0), CG_KEEP);
    cg_graph_output(g, "dx", dx, CG_KEEP);
    if (is_output) cg_graph_output(g, "y", y, CG_KEEP);
    cg_passes_off off;
    cg_pass_saving saved[CG_MAX_PASSES] = {{0}};
    ok(cg_passes_parse("none,+recompute", &off));
    ok(cg_passes_run(g, CG_STAGE_WHOLE, off, saved));
    ok(cg_graph_verify(g));
    int rewrites = 0;
    for (int i = 0; i < CG_MAX_PASSES; i++) rewrites += saved[i].rewrites;
    assert_int_equal(rewrites, wanted);
    const cg_value *dw = cg_graph_find_output(g, "dw")->value;
    assert_ptr_equal(dw->node->in[1]->node->op, wanted ? &cg_op_gelu_grad : &cg_op_gelu);
    cg_graph_free(g);
}

static void test_recompute_readers(void **state) {
    (void)state;
    rewrites_of(0, 1);
    rewrites_of(1, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_each_bf16),
        cmocka_unit_test(test_recompute_memory),
        cmocka_unit_test(test_recompute_readers),
    };
    return cmocka_run_group_tests_name("passes", tests, NULL, NULL);
}
