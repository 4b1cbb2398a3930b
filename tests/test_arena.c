/* labels: unit */
/* Arenas of whole models: hardly larger than what is alive at once, training and in use, at any
 * batch size. */
#include "graph/plan.h"
#include "tests/support/models.h"
#include "tests/support/ok.h"
#include "train/account.h"

#include <stdint.h>

static const char *const models[] = {"tiny-resnet-cbow",
                                     "tiny-resnet-transformer",
                                     "tiny-vit-cbow",
                                     "tiny-vit-transformer",
                                     "emoji-resnet-cbow",
                                     "emoji-resnet-transformer",
                                     "emoji-vit-cbow",
                                     "emoji-vit-transformer",
                                     "RN50",
                                     "ViT-B-32",
                                     "ViT-B-32-CBOW"};
enum { MODELS = sizeof models / sizeof *models };
static const int64_t batches[] = {1, 7, 32, 64};
enum { BATCHES = sizeof batches / sizeof *batches };

static const double allowed = 1.05; /* of the lower bound */

static void check(cg_context *ctx, const char *name, const cg_clip_desc *d, int64_t n) {
    static const char *const what[] = {"a training step", "pictures", "captions"};
    for (int i = 0; i < 3; i++) {
        cg_account a;
        cg_clip_build b = cg_clip_batch(d, n, n, n * (d->text.context_length - 2));
        b.training = b.loss = i == 0;
        if (i == 1) b = (cg_clip_build){.images = n};
        if (i == 2) b.images = 0;
        ok(cg_account_plan(ctx, d, &b, &(cg_program){.gradients = i == 0}, &a));
        if ((double)a.plan.arena_bytes > allowed * (double)a.plan.lower_bound)
            fail_msg("%s, %s, batch of %lld: an arena of %zu bytes, the lower bound is %zu", name,
                     what[i], (long long)n, a.plan.arena_bytes, a.plan.lower_bound);
    }
}

static void test_arenas(void **state) {
    (void)state;
    cg_context *ctx;
    ok(cg_context_create(2, &ctx));
    for (int m = 0; m < MODELS; m++) {
        cg_clip_desc d = describe(models[m]);
        for (int i = 0; i < BATCHES; i++) check(ctx, models[m], &d, batches[i]);
    }
    cg_context_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_arenas)};
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
