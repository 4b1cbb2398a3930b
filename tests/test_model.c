/* labels: unit */
/* A checkpoint as it is used: mapped, and the same bits as the store that wrote it. */
#include "graph/file.h"
#include "serialize/checkpoint.h"
#include "tests/support/models.h"
#include "tests/support/ok.h"
#include "train/embed.h"
#include "train/model.h"
#include "train/optimizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PICTURES = 3, SIDE = 32, WIDTH = 512 };

static cg_folder *scratch;
static char folder[512], weights[600];
static cg_context *ctx;
static cg_runner *runner;
static cg_tokenizer *tokenizer;
static float pictures[PICTURES * SIDE * SIDE * 3];
static const char *const texts[] = {"a red circle", "two blue squares"};

static int prepare(void **state) {
    (void)state;
    cg_clip_desc d = describe("tiny-vit-transformer");
    cg_preprocess p = cg_preprocess_default();
    ok(cg_folder_create("test_model", &scratch));
    snprintf(folder, sizeof folder, "%s/model", cg_folder_path(scratch));
    snprintf(weights, sizeof weights, "%s/open_clip_model.safetensors", folder);
    ok(cg_tokenizer_train(texts, 2, 514, &tokenizer));
    ok(cg_context_create(1, &ctx));
    ok(cg_runner_create(ctx, &d, &runner));
    cg_params_init(cg_runner_params(runner), 5);
    assert_int_equal(d.vision.image_size, SIDE);
    p.size = SIDE;
    cg_checkpoint c = {
        .desc = &d, .preprocess = &p, .params = cg_runner_params(runner), .tokenizer = tokenizer};
    ok(cg_checkpoint_save(folder, &c));
    for (int i = 0; i < PICTURES * SIDE * SIDE * 3; i++)
        pictures[i] = (float)(i * 7919 % 1021) / 510.5f - 1;
    return 0;
}

static int finish(void **state) {
    (void)state;
    cg_runner_free(runner);
    cg_context_free(ctx);
    cg_tokenizer_free(tokenizer);
    cg_folder_abandon(scratch);
    return 0;
}

/* The model's embeddings are those of the store that the checkpoint was written from. */
static void embeds_the_same(cg_model *m) {
    static float found[PICTURES * WIDTH], wanted[PICTURES * WIDTH];
    int64_t width = cg_runner_desc(runner)->embed_dim;
    assert_true(width <= WIDTH);
    ok(cg_runner_embed_images(m->runner, pictures, PICTURES, found));
    ok(cg_runner_embed_images(runner, pictures, PICTURES, wanted));
    assert_memory_equal(found, wanted, (size_t)(PICTURES * width) * sizeof *found);
    if (!m->tokenizer) return;
    float *a, *b;
    ok(cg_embed_texts(m->runner, m->tokenizer, texts, 2, &a, NULL));
    ok(cg_embed_texts(runner, tokenizer, texts, 2, &b, NULL));
    assert_memory_equal(a, b, (size_t)(2 * width) * sizeof *a);
    free(a);
    free(b);
}

static void embeds_what_was_saved(void **state) {
    (void)state;
    cg_model m;
    ok(cg_model_load(folder, 1, &m));
    embeds_the_same(&m);
    int aligned = 0, n = cg_params_count(cg_runner_params(m.runner));
    for (int i = 0; i < n; i++)
        aligned += (uintptr_t)cg_params_at(cg_runner_params(m.runner), i)->data % 64 == 0;
    assert_true(aligned > n - 4); /* all but those of a few numbers */
    cg_model_free(&m);
    ok(cg_model_load_pictures(folder, 1, &m));
    assert_null(m.tokenizer);
    embeds_the_same(&m);
    cg_model_free(&m);
}

/* Data may begin anywhere, in the files of others: alignment must not show in the results. */
static void embeds_what_lies_askew(void **state) {
    (void)state;
    cg_map map;
    ok(cg_file_map(weights, &map));
    uint64_t length;
    memcpy(&length, map.data, 8);
    size_t start = 8 + (size_t)length;
    for (size_t shift = 1; shift < 64; shift = 2 * shift + 2) { /* 1, 4, 10, 22, 46 */
        cg_file *f;
        cg_model m;
        char spaces[64];
        uint64_t longer = length + shift;
        memset(spaces, ' ', sizeof spaces);
        ok(cg_file_create(weights, &f));
        cg_file_write(f, &longer, 8);
        cg_file_write(f, map.data + 8, (size_t)length);
        cg_file_write(f, spaces, shift);
        cg_file_write(f, map.data + start, map.bytes - start);
        ok(cg_file_commit(f));
        ok(cg_model_load(folder, 1, &m));
        embeds_the_same(&m);
        cg_model_free(&m);
    }
    ok(cg_file_save(weights, map.data, map.bytes));
    cg_file_unmap(&map);
}

static void is_not_trained(void **state) {
    (void)state;
    cg_model m;
    double loss;
    float gradient;
    cg_optimizer *o;
    cg_batch batch = {0};
    ok(cg_model_load(folder, 1, &m));
    assert_int_equal(cg_runner_backward(m.runner, &batch, &gradient, &loss), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "opened for inference"));
    assert_int_equal(cg_optimizer_create(cg_runner_params(m.runner), (cg_adamw){0}, 1, &o),
                     CG_EINVAL);
    assert_null(o);
    cg_model_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embeds_what_was_saved),
        cmocka_unit_test(embeds_what_lies_askew),
        cmocka_unit_test(is_not_trained),
    };
    return cmocka_run_group_tests(tests, prepare, finish);
}
