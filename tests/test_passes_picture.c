/* labels: unit grad */
/* The passes that rewrite what image ResNets are made of: a model with one of them is, within
 * rounding, the model without any, in embeddings, loss and every gradient. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "tests/support/hash.h"
#include "tests/support/models.h"
#include "tests/support/ok.h"
#include "train/runner.h"

enum { PAIRS = 6 };

static const char *const model[] = {"tiny-resnet-cbow", "tiny-resnet-transformer"};

typedef struct result {
    float *embedding, *gradient;
    int64_t n_embedding, n_gradient;
    double loss;
    int rewrites;
} result;

static result run(const char *name, const char *passes) {
    cg_clip_desc d = describe(name);
    cg_context *ctx;
    cg_runner *r;
    cg_passes_off off;
    cg_pass_saving saved[CG_MAX_PASSES] = {{0}};
    result out = {0};
    ok(cg_context_create(2, &ctx));
    ok(cg_runner_create(ctx, &d, &r));
    ok(cg_passes_parse(passes, &off));
    cg_runner_set_program(r, CG_PRECISION_F32, off, saved);
    cg_params *params = cg_runner_params(r);
    cg_hash_params(params);
    cg_batch b = make_pairs(&d, PAIRS);
    out.n_embedding = PAIRS * d.embed_dim;
    out.n_gradient = cg_params_trained_elements(params);
    out.embedding = calloc((size_t)out.n_embedding, sizeof *out.embedding);
    out.gradient = calloc((size_t)out.n_gradient, sizeof *out.gradient);
    ok(cg_runner_embed_images(r, b.image, PAIRS, out.embedding));
    ok(cg_runner_backward(r, &b, out.gradient, &out.loss));
    for (int i = 0; i < CG_MAX_PASSES; i++) out.rewrites += saved[i].rewrites;
    free_pairs(&b);
    cg_runner_free(r);
    cg_context_free(ctx);
    return out;
}

static void forget(result *r) {
    free(r->embedding);
    free(r->gradient);
}

static double length(const float *x, const float *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += pow((double)x[i] - (y ? (double)y[i] : 0), 2);
    return sqrt(sum);
}

static void same_model(const char *passes) {
    for (size_t m = 0; m < sizeof model / sizeof *model; m++) {
        result a = run(model[m], "none"), b = run(model[m], passes);
        if (b.rewrites == 0) fail_msg("%s: %s rewrote nothing", model[m], passes);
        double e = length(a.embedding, b.embedding, a.n_embedding);
        double g = length(a.gradient, b.gradient, a.n_gradient);
        double all = length(a.gradient, NULL, a.n_gradient);
        if (!(e <= 1e-5) || !(fabs(a.loss - b.loss) <= 1e-5) || !(g <= 1e-4 * all))
            fail_msg("%s: with %s embeddings differ by %.3g, losses by %.3g, gradients of length "
                     "%.3g by %.3g",
                     model[m], passes, e, fabs(a.loss - b.loss), all, g);
        forget(&a);
        forget(&b);
    }
}

static void batch_norm(void **state) {
    (void)state;
    same_model("none,+batch_norm");
}

static void fold(void **state) {
    (void)state;
    same_model("none,+fold");
}

static void all(void **state) {
    (void)state;
    same_model("all");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batch_norm),
        cmocka_unit_test(fold),
        cmocka_unit_test(all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
