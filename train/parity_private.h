/* What the files of the parity check share. Only for them. */
#ifndef CG_TRAIN_PARITY_PRIVATE_H
#define CG_TRAIN_PARITY_PRIVATE_H

#include "graph/arena.h"
#include "train/parity.h"

/* Pictures as files have them, as the tower reads them, and embedded. */
typedef struct cg_parity_pictures {
    int64_t n, given; /* the last `given` are given, the others drawn */
    int64_t left_out; /* of the given, which could not be read */
    cg_image *image;
    float *pixels; /* [n, size, size, 3] */
    float *row;    /* [n, embed_dim] */
} cg_parity_pictures;

/* Captions one after another, as a tokenizer gives them, and embedded. */
typedef struct cg_parity_captions {
    int64_t n;
    int32_t *token, *offset; /* offset[n + 1] */
    float *row;
} cg_parity_captions;

struct cg_parity {
    cg_arena arena; /* all below but the images' pixels */
    cg_clip_desc desc;
    cg_parity_options o;
    double temperature, bias;
    cg_parity_pictures pictures;
    cg_parity_captions captions;
    cg_parity_case *test;
    int n_test;
};

/* Memory of the arena; NULL leaves the message. */
void *cg_parity_alloc(cg_parity *p, int64_t count, size_t size);

/* [area, 3] as [3, area] */
void cg_parity_planes(const float *from, int64_t area, float *to);

double cg_parity_dot(const float *a, const float *b, int64_t n);

/* parity_inputs.c: makes the pictures and captions and embeds them. */
cg_status cg_parity_make_pictures(cg_parity *p, cg_runner *reference);
cg_status cg_parity_make_captions(cg_parity *p, cg_runner *reference, const cg_tokenizer *t);

/* parity_cases.c: the batches that they are run in. */
cg_status cg_parity_make_cases(cg_parity *p);

/* What o, logits or probabilities, is by embeddings of its pictures and texts. */
cg_status cg_parity_scores(const cg_parity *p, const cg_parity_output *o, const float *image,
                           const float *text, float *out);

#endif
