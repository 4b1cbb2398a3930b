/* What `clipgraph train` is told: one table reads the options, explains them, and writes them to
 * a run's config.json, from which a resumed run takes them again. */
#ifndef CG_CLI_TRAIN_ARGS_H
#define CG_CLI_TRAIN_ARGS_H

#include "cli/how.h"
#include "cli/profile.h"
#include "data/transform.h"

#include <stdint.h>

struct json_t;

enum { CLI_TRAIN_OPTIONS = 64 };

/* Strings point into argv or into `stored`. */
typedef struct cli_train_args {
    const char *train_data, *val_data, *dataset_type;
    const char *image_column, *caption_column;
    const char *classes, *templates; /* files; NULL: none */
    int separator;                   /* 0: as the header line has it */
    int64_t num_samples;
    const char *model;
    int64_t vocab_size, context_length; /* 0: the description's */
    int siglip, quick_gelu;
    double patch_dropout;               /* -1: the description's */
    int64_t batch_size, epochs, warmup; /* warmup -1: a tenth of the steps, at most 10000 */
    double lr, wd, beta1, beta2, eps;   /* beta2, eps -1: by the kind of model */
    double grad_clip_norm;              /* 0: never */
    int64_t seed;
    cg_precision precision;
    const char *passes; /* NULL: all */
    cg_passes_off off;
    int64_t workers, threads; /* 0: all processors */
    const char *resume, *logs, *name;
    int64_t save_frequency, keep, val_frequency, log_every;
    double aug_scale[2], aug_ratio, aug_shift, aug_rotation, aug_gain, aug_saturation, aug_flip;
    double image_mean[3], image_std[3];
    int interpolation, resize_mode;
    int allow_repeated;
    int64_t cache_mb;
    int json, quiet;
    cli_profile profile;
    char given[CLI_TRAIN_OPTIONS];
    struct json_t *arguments; /* the options given that a resumed run needs again: ["--lr=1", …] */
    struct json_t *stored;    /* those of the run that is resumed; NULL: none */
} cli_train_args;

/* Reads the command line, over the arguments `stored` of a run that is resumed (NULL: none; taken
 * over). Exits with 2 on misuse, also on options that clash. */
void cli_train_args_parse(int argc, char **argv, struct json_t *stored, cli_train_args *out);
void cli_train_args_free(cli_train_args *a);

int cli_train_args_given(const cli_train_args *a, const char *option);

/* All options as an object; NULL when memory is out. */
struct json_t *cli_train_args_json(const cli_train_args *a);

/* The sentence that says which options clash, or NULL. */
const char *cli_train_args_clash(const cli_train_args *a);

#endif
