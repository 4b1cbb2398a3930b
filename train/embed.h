/* Embeddings of a dataset's pictures and of texts. */
#ifndef CG_TRAIN_EMBED_H
#define CG_TRAIN_EMBED_H

#include "data/dataset.h"
#include "data/loader.h"
#include "train/runner.h"

CG_API_BEGIN

/* How pictures and texts are prepared, and by how many at a time. */
typedef struct cg_embed_options {
    int64_t batch;
    int workers;
    cg_preprocess preprocess;
    const cg_tokenizer *tokenizer;
    int need_caption;       /* leave out pairs without a caption; retrieval always does */
    cg_templates templates; /* the sentences a caption stands in, averaged; n 0: it stands alone */
} cg_embed_options;

/* Pictures' embeddings [n, embed_dim] and their indices in the dataset, in its order, pairs that
 * cannot be read left out; allocated, the caller frees both. */
typedef struct cg_embeddings {
    int64_t n, width;
    float *row;
    int64_t *index;
} cg_embeddings;

cg_status cg_embed_dataset(cg_runner *r, const cg_dataset *d, const cg_embed_options *o,
                           cg_embeddings *out, cg_loader_report *report);
void cg_embeddings_free(cg_embeddings *e);

/* Texts' embeddings [n, embed_dim]; allocated, the caller frees. truncated may be NULL. */
cg_status cg_embed_texts(cg_runner *r, const cg_tokenizer *t, const char *const *text, int64_t n,
                         float **out, int64_t *truncated);

CG_API_END

#endif
