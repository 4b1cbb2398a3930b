/* Training: the loop, its run folder, and coming back to it.
 *
 *   LOGS/NAME/config.json          what the run was told
 *   LOGS/NAME/metrics.jsonl        one JSON object a line: steps and evaluations
 *   LOGS/NAME/checkpoints/step-N/  see serialize/checkpoint.h */
#ifndef CG_TRAIN_TRAIN_H
#define CG_TRAIN_TRAIN_H

#include "data/dataset.h"
#include "serialize/checkpoint.h"
#include "train/evaluate.h"
#include "train/optimizer.h"

CG_API_BEGIN

struct json_t;

typedef struct cg_train_options {
    const char *folder;          /* LOGS/NAME */
    const struct json_t *config; /* written to config.json at the start of a new run; may be NULL */
    int64_t batch_size, epochs, warmup; /* warmup in steps */
    double lr;
    cg_adamw adamw;
    uint64_t seed;
    int workers;
    cg_preprocess preprocess;
    cg_augment augment;
    int64_t cache_bytes; /* of decoded pictures, see data/loader.h */
    int distinct_captions;
    cg_templates
        templates;        /* captions stand in them (see data/loader.h); validation: in the first */
    int64_t save_every;   /* epochs between checkpoints; the last is always saved */
    int64_t keep;         /* newest checkpoints kept; 0: all */
    int64_t val_every;    /* epochs between evaluations; 0: only at the end */
    int64_t log_every;    /* steps between lines of metrics.jsonl; 0: the last step's only */
    double learned_limit; /* the log temperature is clamped to [0, this]; ln 100 */
} cg_train_options;

/* What a progress line shows. */
typedef struct cg_train_progress {
    int64_t step, total_steps; /* made so far, and of the run */
    int64_t epoch, epochs;     /* that this step belongs to, from 0; an epoch is total / epochs */
    double loss, temperature, lr, gradient_norm;
    double pairs_per_second, seconds_left;
} cg_train_progress;

/* The caller's eyes and brake; every function may be NULL. */
typedef struct cg_train_watch {
    void *user;
    void (*progress)(void *user, const cg_train_progress *p);
    void (*evaluated)(void *user, int64_t step, const cg_retrieval *r);
    void (*saved)(void *user, const char *folder);
    int (*stop)(void *user); /* asked after each step: nonzero ends the run after saving */
} cg_train_watch;

/* Why and where a run ended. */
typedef struct cg_train_result {
    int64_t step, total_steps;
    int stopped;           /* the brake was pulled: resume to go on */
    char checkpoint[4096]; /* the last one saved; "" if none */
    double seconds, loss;
    cg_loader_report loader;
    cg_retrieval val; /* the last evaluation; images 0: none */
} cg_train_result;

/* Trains the runner's model on `train` from `resume` (a checkpoint folder; NULL: from the start,
 * parameters as they are in the store). val may be NULL.
 *
 * errors  CG_ENONFINITE: the loss or the gradient was not finite; the message names the step and
 *         the first node that was not, the step is not made, and the last checkpoint stays.
 *         CG_EIO: a checkpoint could not be written; the one before it stays.
 *         CG_EINVAL: resumed with another batch size, seed, captions or templates */
cg_status cg_train(cg_runner *r, const cg_dataset *train, const cg_dataset *val,
                   const cg_tokenizer *tokenizer, const cg_train_options *o, const char *resume,
                   const cg_train_watch *watch, cg_train_result *out);

CG_API_END

#endif
