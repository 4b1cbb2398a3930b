/* A run's folder: configuration, metrics, checkpoints. */
#ifndef CG_TRAIN_RUN_FOLDER_H
#define CG_TRAIN_RUN_FOLDER_H

#include "train/train.h"

typedef struct cg_run_folder cg_run_folder;

/* Makes the folder and its parents. A new run (step -1) writes config.json and wants a folder
 * without checkpoints; a resumed one wants none newer than `step`, and keeps config.json and the
 * metrics up to it, so that steps that are made again do not stand there twice. What a crash left
 * half written in checkpoints/ is removed.
 * errors  CG_EINVAL: a run of that name is there already, or newer checkpoints are; CG_EIO */
cg_status cg_run_folder_open(const char *path, const struct json_t *config, int64_t step,
                             cg_run_folder **out);
void cg_run_folder_close(cg_run_folder *f); /* NULL is allowed */

/* A line of metrics.jsonl, flushed. */
cg_status cg_run_folder_log_step(cg_run_folder *f, const cg_train_progress *p);
cg_status cg_run_folder_log_retrieval(cg_run_folder *f, int64_t step, const cg_retrieval *r);

/* Where the checkpoint of a step belongs; and removes all but the `keep` newest (0: keeps all). A
 * checkpoint that cannot be removed is left: the run is no worse for it. */
cg_status cg_run_folder_checkpoint(const cg_run_folder *f, int64_t step, char *path, size_t size);
void cg_run_folder_prune(const cg_run_folder *f, int64_t keep);

#endif
