/* What a model costs, known before any step is run: graphs as the runner makes them, and the
 * memory of their plans. No memory is taken for parameters or activations. */
#ifndef CG_TRAIN_ACCOUNT_H
#define CG_TRAIN_ACCOUNT_H

#include "graph/plan.h"
#include "models/clip.h"
#include "train/program.h"

CG_API_BEGIN

/* Bytes of everything a process holds beside its program; zero what it does not need. */
typedef struct cg_account {
    cg_plan_report plan;
    size_t params, gradients, moments;
    size_t inputs; /* the batch: pictures and tokens */
    size_t total;  /* params + gradients + moments + inputs + the arena */
} cg_account;

/* A training step (how->gradients; AdamW's two moments), or inference. */
cg_status cg_account_plan(cg_context *ctx, const cg_clip_desc *d, const cg_clip_build *b,
                          const cg_program *how, cg_account *out);

/* Trained elements. */
typedef struct cg_account_params {
    int64_t image, text, logits, all; /* logits: their scale and bias */
    int tensors;                      /* how many parameters, trained ones */
} cg_account_params;
void cg_account_count(const cg_params *params, cg_account_params *out);

CG_API_END

#endif
