/* What `clipgraph train` makes of its options: which run, which model, which data. */
#ifndef CG_CLI_TRAIN_JOB_H
#define CG_CLI_TRAIN_JOB_H

#include "cli/inputs.h"
#include "cli/train_args.h"
#include "data/dataset.h"
#include "data/tokenizer.h"
#include "train/runner.h"
#include "train/train.h"

enum { CLI_PATH_ROOM = 4096 };

/* All that a run needs, made in the order of the fields. */
typedef struct cli_job {
    cli_train_args a;
    char *resume;               /* the checkpoint to start from; NULL: a new run */
    char folder[CLI_PATH_ROOM]; /* of the run */
    char model[128];            /* its name */
    cg_clip_desc desc;
    cg_preprocess preprocess;
    cli_templates templates;
    cg_dataset *train, *val;
    cg_tokenizer *tokenizer;
    cg_context *ctx;
    cg_runner *runner;
    int64_t steps; /* of an epoch */
    struct json_t *config;
    cg_train_options options;
} cli_job;

/* Reads the command line and finds the run's folder, and the checkpoint where one is resumed.
 * Returns 0, or the exit code after having said why. */
int cli_job_choose(cli_job *j, int argc, char **argv);

/* Makes model, data and options. errors  those of what is read and made */
cg_status cli_job_make(cli_job *j);
void cli_job_free(cli_job *j); /* also of one that is all zero, or made in part */

int cli_job_synthetic(const cli_job *j);

#endif
