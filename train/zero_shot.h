/* Zero-shot accuracy: how often a picture's class, by its name alone, fits it best. */
#ifndef CG_TRAIN_ZERO_SHOT_H
#define CG_TRAIN_ZERO_SHOT_H

#include "train/evaluate.h"

CG_API_BEGIN

/* Fractions. A hit is the right class within the first k; ties count against. */
typedef struct cg_zero_shot {
    double top1, top5, chance;      /* chance: of top1, 1 / classes */
    double per_class;               /* top1 of each class that has a picture, averaged */
    int64_t images, classes, shown; /* shown: classes that have a picture */
    int64_t left_out;               /* pairs that could not be read, or whose caption is no class */
    int64_t no_class;               /* the latter */
    char first[256];                /* what the first of them says */
    double seconds;
} cg_zero_shot;

/* Ranks n pictures [n, width], of class class_of[i], by similarity among the rows of `label`
 * [n_classes, width]. errors  CG_ENOMEM */
cg_status cg_rank_classes(const float *image, const int32_t *class_of, int64_t n,
                          const float *label, int64_t n_classes, int64_t width, int threads,
                          cg_zero_shot *out);

/* Zero-shot accuracy on pictures that are embedded already: a pair's class is the one whose name
 * is its caption; each class is embedded by o->templates, see train/match.h.
 * errors  CG_EFORMAT: not one caption is a class */
cg_status cg_score_zero_shot(cg_runner *r, const cg_dataset *d, const cg_classes *classes,
                             const cg_embed_options *o, const cg_embeddings *e, cg_zero_shot *out);

CG_API_END

#endif
