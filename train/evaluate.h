/* Evaluation: retrieval, and a baseline to hold it against. */
#ifndef CG_TRAIN_EVALUATE_H
#define CG_TRAIN_EVALUATE_H

#include "train/embed.h"

CG_API_BEGIN

/* R@1, R@5, R@10 as fractions. The candidates of a picture are the distinct captions of the
 * dataset, those of a caption are its pictures; a hit is any correct one within the first k;
 * ties count against. */
typedef struct cg_recall {
    double at1, at5, at10;
} cg_recall;

typedef struct cg_retrieval {
    cg_recall image_to_text, text_to_image;
    cg_recall chance; /* of image_to_text: k / captions */
    int64_t images, captions, left_out;
    int64_t truncated; /* texts cut to the context length */
    double seconds;
} cg_retrieval;

/* The distinct captions of a dataset that are not empty, text[k], borrowed from it, and
 * number[caption id] = k (-1: empty). Both lists are allocated; the caller frees them. */
cg_status cg_distinct_captions(const cg_dataset *d, const char ***text, int32_t **number,
                               int64_t *n);

/* Embeds all pictures and distinct captions of a dataset and ranks them. report (may be NULL)
 * receives what the loader left out. errors  CG_EFORMAT: no picture could be read */
cg_status cg_evaluate_retrieval(cg_runner *r, const cg_dataset *d, const cg_embed_options *o,
                                cg_retrieval *out, cg_loader_report *report);

/* Retrieval among pictures that are embedded already, by pairs with a caption (need_caption).
 * errors  CG_EFORMAT: there is none */
cg_status cg_score_retrieval(cg_runner *r, const cg_dataset *d, const cg_embed_options *o,
                             const cg_embeddings *e, cg_retrieval *out);

/* How many of n rows are at least as similar to the query as row `right` (itself not counted): its
 * rank from 0. What is not a number counts against, as ties do. */
int64_t cg_rank_before(const float *query, int64_t right, const float *row, int64_t n,
                       int64_t width);

/* Ranks by similarity: image row i is right with caption id caption_of[i] among n_captions. */
void cg_rank_retrieval(const float *image, const int32_t *caption_of, int64_t n_images,
                       const float *text, int64_t n_captions, int64_t width, int threads,
                       cg_retrieval *out);

/* The nearest neighbour on 16 × 16 pixels: a test picture's candidates are ranked by the least
 * squared distance to a training picture of that caption. Fills out->image_to_text and chance. A
 * caption that the training set lacks is ranked last.
 * errors  CG_EFORMAT: no training picture, or no test picture, could be read */
cg_status cg_evaluate_pixels(const cg_dataset *train, const cg_dataset *test, int workers,
                             cg_retrieval *out);

CG_API_END

#endif
