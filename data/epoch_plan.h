/* The order of an epoch: which pair stands where before any is left out. */
#ifndef CG_DATA_EPOCH_PLAN_H
#define CG_DATA_EPOCH_PLAN_H

#include "data/dataset.h"

typedef struct cg_epoch_plan {
    int64_t n;     /* pairs: all, or those with a caption */
    int64_t *pair; /* [n] in order: batch after batch, then those that are in none */
    int64_t batch, batches, planned; /* planned: pairs in the batches */
    int64_t left_out;                /* pairs without a caption */
    const cg_dataset *d;
    int distinct, need_caption;
    int64_t *scratch;    /* [n], distinct only */
    int64_t *of_caption; /* [n_captions] */
} cg_epoch_plan;

/* Counts batches; they are the same number in every epoch. With `distinct` no batch holds a
 * caption twice, and as many whole batches are made as can be.
 * errors  CG_ENOMEM. Free the plan in any case. */
cg_status cg_epoch_plan_init(const cg_dataset *d, int64_t batch, int distinct, int drop_last,
                             int need_caption, cg_epoch_plan *out);

/* Puts the pairs in the order of an epoch. */
void cg_epoch_plan_order(cg_epoch_plan *p, uint64_t seed, int shuffle, int64_t epoch);

/* Pairs wanted in batch b. */
int64_t cg_epoch_plan_size(const cg_epoch_plan *p, int64_t b);

void cg_epoch_plan_free(cg_epoch_plan *p);

#endif
