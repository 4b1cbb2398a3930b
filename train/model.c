#include "train/model.h"

#include "serialize/checkpoint.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* A comparison with NaN is never true, so that a broken model would look like a perfect one. */
static cg_status check_weights(const char *folder, const cg_params *params) {
    for (int i = 0; i < cg_params_count(params); i++) {
        const cg_param *p = cg_params_at(params, i);
        const float *x = p->data;
        for (int64_t k = 0; p->dtype == CG_F32 && k < p->count; k++)
            if (!isfinite(x[k]))
                return cg_error(CG_EFORMAT,
                                "%s: %s, element %" PRId64 " is %g, not a finite number", folder,
                                p->name, k, (double)x[k]);
    }
    return CG_OK;
}

static cg_status load(const char *checkpoint, int threads, cg_model *m) {
    cg_clip_desc desc;
    CG_TRY(cg_checkpoint_find(checkpoint, &m->folder));
    CG_TRY(cg_checkpoint_config(m->folder, &desc, &m->preprocess));
    CG_TRY(cg_context_create(threads, &m->ctx));
    CG_TRY(cg_runner_create(m->ctx, &desc, &m->runner));
    CG_TRY(cg_checkpoint_weights(m->folder, cg_runner_params(m->runner)));
    CG_TRY(check_weights(m->folder, cg_runner_params(m->runner)));
    CG_TRY(cg_checkpoint_tokenizer(m->folder, &m->tokenizer));
    int have = cg_tokenizer_vocab_size(m->tokenizer);
    if (have <= desc.text.vocab_size) return CG_OK;
    return cg_error(CG_EFORMAT,
                    "%s: tokenizer.json has ids up to %d, but the model's vocab_size is %" PRId64,
                    m->folder, have - 1, desc.text.vocab_size);
}

cg_status cg_model_load(const char *checkpoint, int threads, cg_model *out) {
    *out = (cg_model){0};
    cg_status s = load(checkpoint, threads, out);
    if (s != CG_OK) cg_model_free(out);
    return s;
}

void cg_model_free(cg_model *m) {
    cg_tokenizer_free(m->tokenizer);
    cg_runner_free(m->runner);
    cg_context_free(m->ctx);
    free(m->folder);
    *m = (cg_model){0};
}
