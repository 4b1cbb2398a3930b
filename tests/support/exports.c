#include "tests/support/exports.h"

#include "serialize/checkpoint.h"
#include "tests/support/models.h"

void make_model(const char *config, const char *name, void (*change)(cg_clip_desc *d),
                cg_model *out) {
    static const char *const captions[] = {"a red circle", "two blue squares",
                                           "circles and squares"};
    cg_clip_desc d = describe(config);
    cg_context *ctx;
    cg_runner *runner;
    cg_tokenizer *tokenizer;
    cg_preprocess p = cg_preprocess_default();
    if (change) change(&d);
    ok(cg_tokenizer_train(captions, 3, 514, &tokenizer));
    ok(cg_context_create(1, &ctx));
    ok(cg_runner_create(ctx, &d, &runner));
    cg_params_init(cg_runner_params(runner), 7);
    p.size = (int)d.vision.image_size;
    cg_checkpoint c = {
        .desc = &d, .preprocess = &p, .params = cg_runner_params(runner), .tokenizer = tokenizer};
    ok(cg_checkpoint_save(in_folder(name), &c));
    cg_runner_free(runner);
    cg_tokenizer_free(tokenizer);
    cg_context_free(ctx);
    ok(cg_model_load(in_folder(name), 1, out));
}

void export_to(cg_model *m, const char *name, const cg_export_options *o, cg_certificate *c) {
    ok(cg_export(m, in_folder(name), o, c));
}
