/* labels: golden */
/* Whole small models (every pair of towers, every key of the description, every parameter
 * randomised) against what tools/make_golden.py computed in double with PyTorch: embeddings,
 * logits, loss, each gradient, running statistics, inference, ten training steps; with captions
 * packed and padded. And each plan against itself: with and without passes, with one thread and
 * two. */
#include "graph/op.h"
#include "tests/support/golden.h"
#include "tests/support/hash.h"
#include "train/optimizer.h"
#include "train/runner.h"
#include "train/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

static const double embedding_tolerance = 1e-5;

/* The small models, and whether padding cannot reach their embeddings. */
static const struct {
    const char *name;
    int packs;
} files[] = {
    {"resnet_cbow", 1},
    {"resnet_transformer", 1},
    {"resnet_transformer_last", 0},
    {"vit_cbow", 1},
    {"vit_transformer", 1},
    {"vit_transformer_mean", 1},
    {"vit_transformer_rms", 0},
    {"vit_transformer_last", 0},
};

static size_t current; /* the file of the running group */

static int open_golden(void **state) {
    golden *g = *state = golden_open(files[current].name);
    assert_int_equal(cg_clip_text_packs(&g->desc), files[current].packs);
    return 0;
}

static int close_golden(void **state) {
    golden_close(*state);
    return 0;
}

/* --- against PyTorch -------------------------------------------------------------------------- */

static void the_hash_is_the_same_on_both_sides(void **state) {
    const float *wanted = golden_expected(*state, "", "hash", 16);
    for (int64_t i = 0; i < 16; i++) {
        float found = (float)cg_hash_unit(cg_hash_name("hash"), i);
        if (found != wanted[i])
            fail_msg("hash element %d: found %.9g, wanted %.9g", (int)i, (double)found,
                     (double)wanted[i]);
    }
}

static void check_gradients(const golden *g, const golden_model *m) {
    verdict v = {.what = "gradients"};
    int found = 0;
    for (int i = 0; i < cg_params_count(m->params); i++) {
        const cg_param *p = cg_params_at(m->params, i);
        if (!p->trainable) continue;
        judge_gradient(&v, g, p, golden_gradient(m, p),
                       golden_expected(g, "grad.", p->name, p->count), 1e-4);
        found++;
    }
    pronounce(&v);
    assert_int_equal(found, golden_gradients(g));
}

static void check_statistics(const golden *g, const golden_model *m) {
    verdict v = {.what = "running statistics"};
    for (int i = 0; i < cg_params_count(m->params); i++) {
        const cg_param *p = cg_params_at(m->params, i);
        if (p->trainable) continue;
        if (p->dtype == CG_I64) {
            assert_int_equal(*(int64_t *)p->data, 6);
            continue;
        }
        const float *wanted = golden_expected(g, "stat.", p->name, p->count);
        judge(&v, p->name, largest_difference(p->data, wanted, p->count),
              1e-5 * largest(wanted, p->count));
    }
    if (v.worst[0]) pronounce(&v); /* of a model that has statistics */
}

static void check_step(const golden *g, cg_text_layout layout) {
    golden_model m =
        golden_run(g, (golden_setting){.backward = 1, .passes = 2, .threads = 1, .layout = layout});
    verdict v = {.what = "embeddings"}, l = {.what = "logits and loss"};
    golden_compare(&v, g, &m, "image_embedding", "", embedding_tolerance);
    golden_compare(&v, g, &m, "text_embedding", "", embedding_tolerance);
    golden_compare(&l, g, &m, "logits", "", 1e-5 * g->scale);
    golden_compare(&l, g, &m, "loss", "", 1e-5 * g->scale);
    pronounce(&v);
    pronounce(&l);
    check_gradients(g, &m);
    cg_exec_commit(m.exec);
    check_statistics(g, &m);
    golden_forget(&m);
}

static void step_of_training_packed(void **state) {
    check_step(*state, CG_TEXT_PACKED);
}

static void step_of_training_uniform(void **state) {
    check_step(*state, CG_TEXT_UNIFORM);
}

static void check_inference(const golden *g, cg_text_layout layout) {
    golden_model m = golden_run(g, (golden_setting){.passes = 2, .threads = 1, .layout = layout});
    verdict v = {.what = "embeddings at inference"};
    golden_compare(&v, g, &m, "image_embedding", "eval.", embedding_tolerance);
    golden_compare(&v, g, &m, "text_embedding", "", embedding_tolerance);
    golden_forget(&m);
    pronounce(&v);
}

static void inference_packed(void **state) {
    check_inference(*state, CG_TEXT_PACKED);
}

static void inference_uniform(void **state) {
    check_inference(*state, CG_TEXT_UNIFORM);
}

/* --- ten steps of training, through the runner ------------------------------------------------ */

static cg_adamw adamw(const golden *g) {
    return (cg_adamw){.beta1 = (float)golden_training(g, "beta1"),
                      .beta2 = (float)golden_training(g, "beta2"),
                      .eps = (float)golden_training(g, "eps"),
                      .weight_decay = (float)golden_training(g, "weight_decay"),
                      .clip_norm = (float)golden_training(g, "clip_norm")};
}

static double train_step(const golden *g, cg_runner *r, cg_optimizer *o, float *gradient_block,
                         int step) {
    int64_t size = g->desc.vision.image_size, tokens = 2 * g->texts;
    double loss;
    for (int64_t t = 0; t < g->texts; t++) tokens += g->length[t];
    float *image = malloc((size_t)(g->images * size * size * 3) * sizeof *image);
    int32_t *token = malloc((size_t)tokens * sizeof *token), offset[GOLDEN_CAPTIONS + 1];
    assert_true(image && token);
    cg_hash_image(g->first + step, g->images, size, image);
    cg_hash_captions(g->first + step, &g->desc.text, g->texts, g->length, token, offset);
    cg_batch b = {.n = g->images, .image = image, .token = token, .offset = offset};
    ok(cg_runner_backward(r, &b, gradient_block, &loss));
    cg_runner_commit(r);
    double lr =
        cg_schedule_lr(golden_training(g, "lr"), step, (int64_t)golden_training(g, "warmup"),
                       (int64_t)golden_training(g, "steps"));
    cg_optimizer_step(o, gradient_block, cg_optimizer_norm(o, gradient_block), lr);
    float *t = cg_params_find(cg_runner_params(r), "logit_scale")->data;
    *t = fminf(fmaxf(*t, 0), (float)golden_training(g, "logit_scale_max"));
    free(image);
    free(token);
    return loss;
}

static void ten_losses(void **state) {
    const golden *g = *state;
    int steps = (int)golden_training(g, "steps");
    const float *wanted = golden_expected(g, "", "losses", steps);
    cg_context *ctx;
    cg_runner *r;
    cg_optimizer *o;
    ok(cg_context_create(1, &ctx));
    ok(cg_runner_create(ctx, &g->desc, &r));
    cg_hash_params(cg_runner_params(r));
    ok(cg_optimizer_create(cg_runner_params(r), adamw(g), 1, &o));
    size_t elements = (size_t)cg_params_trained_elements(cg_runner_params(r));
    float *block = calloc(elements, sizeof *block);
    assert_non_null(block);
    verdict v = {.what = "losses of training"};
    for (int step = 0; step < steps; step++) {
        char name[32];
        snprintf(name, sizeof name, "step %d", step);
        judge(&v, name, fabs(train_step(g, r, o, block, step) - (double)wanted[step]), 1e-4);
    }
    free(block);
    cg_optimizer_free(o);
    cg_runner_free(r);
    cg_context_free(ctx);
    pronounce(&v);
}

/* --- against itself --------------------------------------------------------------------------- */

/* Whether a kernel's name is that of oneDNN's scalar reference: "ref", "ref:any", "gemm ref:any".
 */
static int is_reference(const char *impl) {
    return strcmp(impl, "ref") == 0 || strstr(impl, "ref:") != NULL;
}

static void no_reference_kernel(void **state) {
    const golden *g = *state;
    int wrong = 0;
    for (int backward = 0; backward < 2; backward++) {
        golden_model m = golden_run(
            g, (golden_setting){
                   .backward = backward, .passes = 2, .threads = 1, .layout = golden_layout(g)});
        for (int i = 0; i < m.graph->n_node; i++) {
            const cg_node *n = m.graph->node[i];
            if (!is_reference(cg_plan_impl(m.plan, i))) continue;
            print_error("%s: %s runs %s\n", n->name, n->op->name, cg_plan_impl(m.plan, i));
            wrong++;
        }
        golden_forget(&m);
    }
    assert_int_equal(wrong, 0);
}

static golden_model backward(const golden *g, int passes, int threads) {
    return golden_run(
        g, (golden_setting){
               .backward = 1, .passes = passes, .threads = threads, .layout = golden_layout(g)});
}

static void assert_same_bits(const char *what, const golden_model *a, const golden_model *b) {
    for (int i = 0; i < cg_params_count(a->params); i++) {
        const cg_param *p = cg_params_at(a->params, i);
        const float *x = golden_gradient(a, p), *y = golden_gradient(b, p);
        if (p->trainable && memcmp(x, y, (size_t)p->count * sizeof(float)))
            fail_msg("%s: the gradient of %s differs by %.3g, wanted the same bits", what, p->name,
                     largest_difference(x, y, p->count));
    }
    int64_t n = cg_shape_count(&cg_graph_find_output(a->graph, "logits")->value->shape);
    const float *x = golden_output(a, "logits"), *y = golden_output(b, "logits");
    if (memcmp(x, y, (size_t)n * sizeof(float)))
        fail_msg("%s: the logits differ by %.3g, wanted the same bits", what,
                 largest_difference(x, y, n));
}

static void passes_keep_every_bit(void **state) {
    golden_model a = backward(*state, 0, 1), b = backward(*state, 1, 1);
    assert_true(b.graph->n_node < a.graph->n_node);
    assert_same_bits("passes", &a, &b);
    golden_forget(&a);
    golden_forget(&b);
}

static void second_run_keeps_every_bit(void **state) {
    for (int threads = 1; threads <= 2; threads++) {
        golden_model a = backward(*state, 1, threads), b = backward(*state, 1, threads);
        assert_same_bits("two executions", &a, &b);
        ok(cg_exec_run(b.exec)); /* not committed: the same again */
        assert_same_bits("two runs", &a, &b);
        golden_forget(&a);
        golden_forget(&b);
    }
}

static void two_threads_differ_by_rounding_only(void **state) {
    const golden *g = *state;
    golden_model a = backward(g, 1, 1), b = backward(g, 1, 2);
    verdict v = {.what = "one thread and two"};
    for (int i = 0; i < cg_params_count(a.params); i++) {
        const cg_param *p = cg_params_at(a.params, i);
        if (p->trainable)
            judge_gradient(&v, g, p, golden_gradient(&b, p), golden_gradient(&a, p), 1e-5);
    }
    int64_t n = g->images * g->texts;
    judge(&v, "logits",
          largest_difference(golden_output(&a, "logits"), golden_output(&b, "logits"), n),
          2e-6 * g->scale);
    golden_forget(&a);
    golden_forget(&b);
    pronounce(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_is_the_same_on_both_sides),
        cmocka_unit_test(step_of_training_uniform),
        cmocka_unit_test(inference_uniform),
        cmocka_unit_test(ten_losses),
        cmocka_unit_test(no_reference_kernel),
        cmocka_unit_test(passes_keep_every_bit),
        cmocka_unit_test(second_run_keeps_every_bit),
        cmocka_unit_test(two_threads_differ_by_rounding_only),
    };
    const struct CMUnitTest packed[] = {
        cmocka_unit_test(step_of_training_packed),
        cmocka_unit_test(inference_packed),
    };
    int failed = 0;
    for (current = 0; current < sizeof files / sizeof *files; current++) {
        const char *name = files[current].name;
        failed += cmocka_run_group_tests_name(name, tests, open_golden, close_golden);
        if (files[current].packs)
            failed += cmocka_run_group_tests_name(name, packed, open_golden, close_golden);
    }
    return failed;
}
