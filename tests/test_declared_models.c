/* labels: unit */
/* A model as it is declared: what its parameters start as, how wide its layers are, and which
 * batches it refuses. */
#include "graph/op.h"
#include "graph/plan.h"
#include "models/clip.h"
#include "tests/support/ok.h"
#include "train/program.h"
#include "train/runner.h"

#include <fnmatch.h>
#include <math.h>
#include <string.h>

enum { EMBED = 32, PATCH = 8, VISION = 64, TEXT = 48, LAYERS = 3, STEM = 6 };

/* A ViT and a transformer. */
static cg_clip_desc transformers(void) {
    cg_clip_desc d = cg_clip_desc_default();
    d.embed_dim = EMBED;
    d.vision.image_size = 4 * PATCH;
    d.vision.patch_size = PATCH;
    d.vision.layers[0] = 2;
    d.vision.width = VISION;
    d.vision.head_width = 16;
    d.text.context_length = 12;
    d.text.vocab_size = 80;
    d.text.width = TEXT;
    d.text.heads = 4;
    d.text.layers = LAYERS;
    return d;
}

static cg_clip_desc resnet_and_cbow(void) {
    cg_clip_desc d = transformers();
    d.vision.n_layers = 4;
    for (int i = 0; i < 4; i++) d.vision.layers[i] = 1 + (i == 0);
    d.vision.width = STEM;
    d.vision.head_width = 32;
    d.text.text_arch = CG_TEXT_CBOW;
    return d;
}

/* --- initialisation --------------------------------------------------------------------------- */

typedef enum start_kind { CONSTANT, NORMAL, UNIFORM, KAIMING } start_kind;

/* The first pattern that a name matches tells its value, standard deviation or bound. KAIMING: as
 * PyTorch's convolutions, uniform within fan_in^-½. */
typedef struct start {
    const char *pattern;
    start_kind kind;
    double value;
} start;

static double root(double x) { /* x^-½ */
    return 1 / sqrt(x);
}

static void check_start(const cg_param *p, const start *s) {
    const float *x = p->data;
    double mean = 0, square = 0, most = 0, n = (double)p->count, value = s->value;
    if (s->kind == KAIMING) value = root(n / (double)p->shape.dim[0]);
    for (int64_t k = 0; k < p->count; k++) {
        mean += (double)x[k] / n;
        square += (double)x[k] * (double)x[k] / n;
        most = fmax(most, fabs((double)x[k]));
        if (s->kind == CONSTANT && (double)x[k] != (double)(float)value)
            fail_msg("%s is %g, wanted %g", p->name, (double)x[k], value);
    }
    if (s->kind == CONSTANT) return;
    double wanted = s->kind == NORMAL ? value : value / sqrt(3), spread = 5 / sqrt(n);
    if (fabs(mean) > spread * wanted || fabs(sqrt(square) / wanted - 1) > spread / sqrt(2))
        fail_msg("%s: mean %g, deviation %g, wanted 0 and %g", p->name, mean, sqrt(square), wanted);
    if ((most > wanted * sqrt(3) * (1 + 1e-6)) != (s->kind == NORMAL))
        fail_msg("%s is not %s", p->name, s->kind == NORMAL ? "normal" : "uniform");
}

/* openai/CLIP and open_clip, model.py and transformer.py: initialize_parameters, init_parameters,
 * and PyTorch's defaults for what they leave alone. */
static void check_starts(const cg_clip_desc *d, const start *starts) {
    cg_context *ctx;
    cg_runner *r;
    ok(cg_context_create(1, &ctx));
    ok(cg_runner_create(ctx, d, &r));
    const cg_params *params = cg_runner_params(r);
    cg_params_init(cg_runner_params(r), 3);
    for (int i = 0; i < cg_params_count(params); i++) {
        const cg_param *p = cg_params_at(params, i);
        const start *s = starts;
        while (s->pattern && fnmatch(s->pattern, p->name, 0) != 0) s++;
        if (!s->pattern) fail_msg("%s: nothing is known of it", p->name);
        if (p->dtype == CG_I64)
            assert_int_equal(*(const int64_t *)p->data, 0);
        else
            check_start(p, s);
    }
    cg_runner_free(r);
    cg_context_free(ctx);
}

static void transformers_start_as_in_clip(void **state) {
    (void)state;
    double deep = root(TEXT) * root(2 * LAYERS);
    cg_clip_desc d = transformers();
    start starts[] = {{"logit_scale", CONSTANT, d.init_logit_scale},
                      {"*.gamma", CONSTANT, 0.25},
                      {"*ln_*.weight", CONSTANT, 1},
                      {"*ln_*.bias", CONSTANT, 0},
                      {"*.in_proj_bias", CONSTANT, 0},
                      {"*.out_proj.bias", CONSTANT, 0},
                      {"visual.conv1.weight", KAIMING, 0},
                      {"visual.class_embedding", NORMAL, root(VISION)},
                      {"visual.positional_embedding", NORMAL, root(VISION)},
                      {"visual.proj", NORMAL, root(VISION)},
                      {"visual.*.in_proj_weight", UNIFORM, sqrt(6.0 / (VISION + 3 * VISION))},
                      {"visual.*.out_proj.weight", UNIFORM, root(VISION)},
                      {"visual.*.c_fc.*", UNIFORM, root(VISION)},
                      {"visual.*.c_proj.*", UNIFORM, root(4 * VISION)},
                      {"token_embedding.weight", NORMAL, 0.02},
                      {"positional_embedding", NORMAL, 0.01},
                      {"*.in_proj_weight", NORMAL, root(TEXT)},
                      {"*.out_proj.weight", NORMAL, deep},
                      {"*.c_fc.weight", NORMAL, root(2 * TEXT)},
                      {"*.c_fc.bias", UNIFORM, root(TEXT)},
                      {"*.c_proj.weight", NORMAL, deep},
                      {"*.c_proj.bias", UNIFORM, root(4 * TEXT)},
                      {"text_projection.bias", CONSTANT, 0},
                      {"text_projection*", NORMAL, root(TEXT)},
                      {"logit_bias", CONSTANT, -10},
                      {NULL, CONSTANT, 0}};
    check_starts(&d, starts);
    d.vision.ls_init_value = d.text.ls_init_value = 0.25f;
    d.text.proj_bias = 1;
    d.init_logit_scale = 2.5f;
    d.init_logit_bias = -10;
    starts[0].value = 2.5;
    check_starts(&d, starts);
}

static void resnets_and_cbow_start_as_in_clip(void **state) {
    (void)state;
    cg_clip_desc d = resnet_and_cbow();
    double features = root(32 * STEM);
    const start starts[] = {{"visual.layer?.?.bn3.weight", CONSTANT, 0},
                            {"visual*bn?.weight", CONSTANT, 1},
                            {"visual*downsample.1.weight", CONSTANT, 1},
                            {"visual*bn?.bias", CONSTANT, 0},
                            {"visual*downsample.1.bias", CONSTANT, 0},
                            {"*.running_mean", CONSTANT, 0},
                            {"*.running_var", CONSTANT, 1},
                            {"*.num_batches_tracked", CONSTANT, 0},
                            {"visual*conv?.weight", KAIMING, 0},
                            {"visual*downsample.0.weight", KAIMING, 0},
                            {"visual.attnpool.positional_embedding", NORMAL, features},
                            {"visual.attnpool.?_proj.weight", NORMAL, features},
                            {"visual.attnpool.?_proj.bias", UNIFORM, features},
                            {"token_embedding.weight", NORMAL, 0.02},
                            {"ln_final.weight", CONSTANT, 1},
                            {"ln_final.bias", CONSTANT, 0},
                            {"text_projection", NORMAL, root(TEXT)},
                            {"logit_scale", CONSTANT, d.init_logit_scale},
                            {NULL, CONSTANT, 0}};
    check_starts(&d, starts);
}

/* --- sizes ------------------------------------------------------------------------------------ */

/* A float of 2.6 is a little less, and 40 of it would be 103 channels; of 0.2 a little more, and
 * 19 of 25 patches would stay. */
static void sizes_follow_the_decimals_written(void **state) {
    (void)state;
    cg_clip_desc d = transformers();
    cg_clip_build b = {.images = 1, .texts = 1, .rows = 64, .training = 1, .loss = 1};
    cg_params *params;
    cg_graph *g;
    int64_t kept = 0;
    d.vision.image_size = 5 * PATCH;
    d.vision.patch_dropout = 0.2f;
    d.vision.width = d.text.width = 40;
    d.vision.head_width = 10;
    d.vision.mlp_ratio = d.text.mlp_ratio = 2.6f;
    ok(cg_params_create(&params));
    ok(cg_program_build(params, &d, &b, &(cg_program){.gradients = 1}, &g));
    static const char *const fc[] = {"visual.transformer.resblocks.0.mlp.c_fc.bias",
                                     "transformer.resblocks.0.mlp.c_fc.bias"};
    for (int i = 0; i < 2; i++) assert_int_equal(cg_params_find(params, fc[i])->count, 104);
    for (int i = 0; i < g->n_node; i++)
        if (strcmp(g->node[i]->op->name, "patch_dropout") == 0)
            kept = g->node[i]->out[0]->shape.dim[1];
    assert_int_equal(kept, 20);
    cg_graph_free(g);
    cg_params_free(params);
}

static void impossible_batches_are_refused(void **state) {
    (void)state;
    static const struct {
        cg_clip_build build;
        const char *message;
    } cases[] = {
        {{.loss = 1}, "a batch of 0 pictures, wanted 1 or more"},
        {{.images = 2, .loss = 1}, "a batch of 0 captions, wanted 1 or more"},
        {{.images = 2, .texts = 3, .rows = 64, .loss = 1},
         "a loss over 2 pictures and 3 captions: wanted pairs"},
        {{.images = -1}, "a batch of -1 pictures, wanted 0 or more"},
        {{.texts = -1, .rows = 64}, "a batch of -1 captions, wanted 0 or more"},
        {{.images = INT64_MAX},
         "a batch of 9223372036854775807 pictures, wanted 0 or more, but less "
         "than 2147483647"},
        {{.images = 1 << 28}, "the batch is too large: row 4563402752 of it"},
        {{.texts = 1 << 28, .layout = CG_TEXT_UNIFORM, .tokens = 12},
         "the batch is too large: row 3221225472 of it, wanted at most 2147483647"},
        {{.texts = 1, .layout = CG_TEXT_UNIFORM, .tokens = 13},
         "13 tokens a caption, wanted 1 to 12"},
    };
    cg_clip_desc d = transformers();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cg_params *params;
        cg_graph *g;
        ok(cg_params_create(&params));
        assert_int_equal(cg_program_build(params, &d, &cases[i].build, &(cg_program){0}, &g),
                         CG_EINVAL);
        if (!strstr(cg_error_message(), cases[i].message))
            fail_msg("found \"%s\", wanted \"%s\"", cg_error_message(), cases[i].message);
        cg_params_free(params);
    }
}

static void pictures_beyond_kernels_are_refused(void **state) {
    (void)state;
    cg_clip_desc d = resnet_and_cbow();
    cg_params *params;
    cg_graph *g;
    cg_plan *plan;
    cg_context *ctx;
    d.vision.image_size = 4096;
    d.vision.width = 65536;
    ok(cg_context_create(1, &ctx));
    ok(cg_params_create(&params));
    ok(cg_program_build(params, &d, &(cg_clip_build){.images = 1}, &(cg_program){0}, &g));
    assert_int_equal(cg_plan_create(ctx, g, &plan), CG_EKERNEL);
    assert_string_equal(cg_error_message(), "visual/conv1: conv2d: pictures of 137438953472 "
                                            "elements, more than oneDNN takes");
    cg_graph_free(g);
    cg_params_free(params);
    cg_context_free(ctx);
}

static void captions_end_where_the_tower_pools(void **state) {
    (void)state;
    cg_clip_desc d = transformers();
    int32_t token[] = {78, 5, 79, 78, 6, 7}, offset[] = {0, 3, 6};
    float embedding[2 * EMBED];
    cg_context *ctx;
    cg_runner *r;
    d.text.pool_type = CG_POOL_EOS;
    d.text.eos_id = 79;
    ok(cg_context_create(1, &ctx));
    ok(cg_runner_create(ctx, &d, &r));
    cg_params_init(cg_runner_params(r), 1);
    assert_int_equal(cg_runner_embed_texts(r, token, offset, 2, embedding), CG_EINVAL);
    assert_string_equal(cg_error_message(),
                        "caption 1 ends with token 7, but the model pools at eos_id 79");
    token[5] = 79;
    ok(cg_runner_embed_texts(r, token, offset, 2, embedding));
    offset[2] = 4;
    assert_int_equal(cg_runner_embed_texts(r, token, offset, 2, embedding), CG_EINVAL);
    assert_string_equal(cg_error_message(), "caption 1 has 1 tokens, wanted start and end at least "
                                            "and 12 at most");
    cg_runner_free(r);
    cg_context_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transformers_start_as_in_clip),
        cmocka_unit_test(resnets_and_cbow_start_as_in_clip),
        cmocka_unit_test(sizes_follow_the_decimals_written),
        cmocka_unit_test(impossible_batches_are_refused),
        cmocka_unit_test(pictures_beyond_kernels_are_refused),
        cmocka_unit_test(captions_end_where_the_tower_pools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
