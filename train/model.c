#include "train/model.h"

#include "serialize/checkpoint.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* What scales or shifts all results, and is in no embedding: the runner checks those. */
static cg_status check_scalars(const char *folder, const cg_params *params) {
    for (int i = 0; i < cg_params_count(params); i++) {
        const cg_param *p = cg_params_at(params, i);
        const float *x = p->data;
        if (p->dtype == CG_F32 && p->count == 1 && !isfinite(*x))
            return cg_error(CG_EFORMAT, "%s: %s is %g, not a finite number", folder, p->name,
                            (double)*x);
    }
    return CG_OK;
}

static cg_status load_tokenizer(cg_model *m) {
    int64_t room = cg_runner_desc(m->runner)->text.vocab_size;
    CG_TRY(cg_checkpoint_tokenizer(m->folder, &m->tokenizer));
    int have = cg_tokenizer_vocab_size(m->tokenizer);
    if (have <= room) return CG_OK;
    return cg_error(CG_EFORMAT,
                    "%s: tokenizer.json has ids up to %d, but the model's vocab_size is %" PRId64,
                    m->folder, have - 1, room);
}

static cg_status load(const char *checkpoint, int threads, int texts, cg_model *m) {
    cg_clip_desc desc;
    CG_TRY(cg_checkpoint_find(checkpoint, &m->folder));
    CG_TRY(cg_checkpoint_config(m->folder, &desc, &m->preprocess));
    CG_TRY(cg_context_create(threads, &m->ctx));
    CG_TRY(cg_runner_open(m->ctx, &desc, m->folder, &m->runner));
    CG_TRY(check_scalars(m->folder, cg_runner_params(m->runner)));
    return texts ? load_tokenizer(m) : CG_OK;
}

static cg_status load_or_free(const char *checkpoint, int threads, int texts, cg_model *out) {
    *out = (cg_model){0};
    cg_status s = load(checkpoint, threads, texts, out);
    if (s != CG_OK) cg_model_free(out);
    return s;
}

cg_status cg_model_load(const char *checkpoint, int threads, cg_model *out) {
    return load_or_free(checkpoint, threads, 1, out);
}

cg_status cg_model_load_pictures(const char *checkpoint, int threads, cg_model *out) {
    return load_or_free(checkpoint, threads, 0, out);
}

void cg_model_free(cg_model *m) {
    cg_tokenizer_free(m->tokenizer);
    cg_runner_free(m->runner);
    cg_context_free(m->ctx);
    free(m->folder);
    *m = (cg_model){0};
}
