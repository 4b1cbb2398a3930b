/* A trained model as it is used: everything that a checkpoint holds for it.
 *
 *     cg_model m;
 *     CG_TRY(cg_model_load("logs/first", 0, &m));
 *     CG_TRY(cg_embed_texts(m.runner, m.tokenizer, texts, n, &rows, NULL));
 *     cg_model_free(&m); */
#ifndef CG_TRAIN_MODEL_H
#define CG_TRAIN_MODEL_H

#include "data/tokenizer.h"
#include "data/transform.h"
#include "train/runner.h"

CG_API_BEGIN

typedef struct cg_model {
    cg_context *ctx;
    cg_runner *runner;
    cg_tokenizer *tokenizer;  /* NULL after cg_model_load_pictures */
    cg_preprocess preprocess; /* of pictures */
    char *folder;             /* the checkpoint really used */
} cg_model;

/* Loads a run's newest checkpoint, one checkpoint, or an open_clip hub folder. threads 0: one for
 * each processor. The weights are mapped (cg_params_map in serialize/params_io.h): it takes the
 * same moment whatever their size, processes that use the same file share its memory, and the file
 * must not be rewritten in place meanwhile. They are not all looked at: embeddings that are not
 * finite are refused when they are made (train/runner.h). Such a model cannot be trained;
 * cg_runner_create and cg_checkpoint_weights make one that can. errors  CG_ENOTFOUND, CG_EIO;
 * CG_EFORMAT: a temperature or bias of the logits that is not finite, a tokenizer with ids that the
 * model lacks; those of serialize/checkpoint.h. *out is empty then */
cg_status cg_model_load(const char *checkpoint, int threads, cg_model *out);

/* The same without the tokenizer, which a large vocabulary makes slower to read than a picture is
 * to embed. */
cg_status cg_model_load_pictures(const char *checkpoint, int threads, cg_model *out);
void cg_model_free(cg_model *m); /* an all-zero or freed one is allowed */

CG_API_END

#endif
