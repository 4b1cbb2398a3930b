/* The loader: threads that decode, transform and tokenize ahead of the consumer, and hand
 * out batches in an order and with pixels that do not depend on the number of threads. */
#ifndef CG_DATA_LOADER_H
#define CG_DATA_LOADER_H

#include "data/dataset.h"
#include "data/tokenizer.h"
#include "data/transform.h"

CG_API_BEGIN

typedef struct cg_loader_options {
    int64_t batch;
    int workers;  /* threads; at least 1 */
    int prefetch; /* batches made ahead; 0: 2 */
    uint64_t seed;
    int shuffle;               /* a new order each epoch; otherwise the dataset's order */
    int distinct_captions;     /* no caption twice in a batch: repeats are dealt to other batches */
    int drop_last;             /* training: only whole batches; otherwise every pair, and the last
                                  batch may be smaller (with distinct_captions: several may be) */
    int64_t cache_bytes;       /* keep decoded pictures up to this many bytes, so that later epochs
                                  need not decode them; the batches are the same. 0: none */
    cg_preprocess preprocess;  /* size 0: no pictures, only tokens */
    const cg_augment *augment; /* NULL: none. Copied */
    const cg_tokenizer *tokenizer; /* NULL: no tokens. Borrowed */
    cg_templates templates;        /* n > 0: a caption stands in one of them, anew in each epoch */
    int context_length;            /* cut captions to it, start and end included */
    int need_caption;              /* leave out pairs with an empty caption */
} cg_loader_options;

typedef struct cg_batch {
    int64_t n;             /* pairs */
    float *image;          /* [n, size, size, 3], normalised; NULL: no pictures */
    int32_t *token;        /* [offset[n]]: every caption's ids in a row, start and end included */
    int32_t *offset;       /* [n + 1] */
    int64_t *sample;       /* [n] global ids: epoch · size + index */
    int64_t *index;        /* [n] index in the dataset */
    int64_t epoch, number; /* which batch of which epoch this is */
} cg_batch;

/* What was left out up to the last batch handed out, and why; the loader never stops for it. A
 * pair that cannot be read is left out and its place filled by the next pair in order, so batches
 * stay whole. A pair counts once, however many epochs meet it; with need_caption, those without a
 * caption are all known, and counted, from the start. */
typedef struct cg_loader_report {
    int64_t unreadable, too_large, empty_caption;
    int64_t truncated;  /* captions cut (not left out) */
    char first[5][256]; /* the first few messages, in the order of the pairs */
    int n_first;
} cg_loader_report;

typedef struct cg_loader cg_loader;

/* Starts the threads at batch `start` of epoch `epoch`, so that a run resumes exactly: to know
 * which pairs stood in earlier batches of that epoch, those are decoded again (not transformed).
 * Whether a pair can be read must not change while a run lasts.
 * errors  CG_EINVAL: a batch larger than the data, or with distinct_captions than the captions
 *         (names both numbers) where drop_last; no pair; an option out of range */
cg_status cg_loader_open(const cg_dataset *d, const cg_loader_options *options, int64_t epoch,
                         int64_t start, cg_loader **out);

/* Batches in an epoch, counted before any unreadable pair is left out; the same for every epoch.
 * With distinct_captions the order of an epoch is planned as a whole, so this is exact. */
int64_t cg_loader_batches(const cg_loader *l);

/* The next batch, borrowed until the next call; *out is NULL at the end of the epoch, after
 * which calls go on with the next epoch. To be called by one thread at a time.
 * errors  CG_EFORMAT: so many pairs were left out that an epoch had no batch; CG_ENOMEM */
cg_status cg_loader_next(cg_loader *l, const cg_batch **out);

void cg_loader_get_report(const cg_loader *l, cg_loader_report *out);
void cg_loader_close(cg_loader *l); /* at any time; NULL is allowed */

CG_API_END

#endif
