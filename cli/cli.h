/* What the subcommands of `clipgraph` share. A subcommand is one cmd_NAME.c, with its own argp
 * parser and --help, and returns the exit code: 0, 1 (failure) or 2 (usage). Only this folder
 * prints, reads the environment, or exits. */
#ifndef CG_CLI_H
#define CG_CLI_H

#include "cli/how.h"
#include "cli/profile.h"
#include "data/dataset.h"
#include "serialize/checkpoint.h"
#include "train/evaluate.h"
#include "train/model.h"

#include <argp.h>

typedef struct cli_command {
    const char *name, *summary;        /* the summary stands in `clipgraph --help` */
    int (*run)(int argc, char **argv); /* argv[0] is "clipgraph NAME" */
} cli_command;

int cli_train(int argc, char **argv);
int cli_eval(int argc, char **argv);
int cli_classify(int argc, char **argv);
int cli_search(int argc, char **argv);
int cli_embed(int argc, char **argv);
int cli_export(int argc, char **argv);
int cli_inspect(int argc, char **argv);
int cli_check_grad(int argc, char **argv);
int cli_run_onnx(int argc, char **argv);

/* Prints "clipgraph NAME: message" (the thread's message) to stderr; returns the exit code that
 * fits: 2 for what is wrong with the command line, else 1. */
int cli_fail(const char *command, cg_status s);

/* A usage error: the sentence, and where to find help, to stderr; returns 2. */
int cli_usage(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* argp_parse, but an unknown option names the nearest one there is. Exits with 2 on misuse. */
void cli_parse(const struct argp *argp, int argc, char **argv, void *input);

/* Numbers from the command line, whole and in range; otherwise a usage error through argp_error
 * that names the option, what was found and what was wanted (and so exits with 2). */
int64_t cli_int(const struct argp_state *state, const char *option, const char *text, int64_t low,
                int64_t high);
double cli_float(const struct argp_state *state, const char *option, const char *text, double low,
                 double high);

/* A separator: one character, or "tab", "comma". */
char cli_separator(const struct argp_state *state, const char *option, const char *text);

/* Reads a table of pairs; with separator 0 it is what the header line has: a tab, else a comma. */
cg_status cli_table(const char *path, cg_table_options options, cg_dataset **out);

/* Drawn scenes of combinations that training never draws: the same for every run. */
cg_status cli_held_out(int64_t image_size, cg_dataset **out);

/* Options every command that runs a model has: --threads, --workers, --batch-size, --json,
 * --profile. An argp child: {&cli_run_argp, 0, "Running:", 0} with a cli_run as its input. */
typedef struct cli_run {
    int threads;        /* 0: all processors */
    int workers;        /* loader threads; 0: as many as threads */
    int64_t batch_size; /* 0 before parsing: 64 */
    cg_precision precision;
    cg_passes_off off; /* passes left out */
    int json;          /* one JSON object on stdout instead of text */
    cli_profile profile;
} cli_run;
extern const struct argp cli_run_argp;

/* The same for a command that has but some of them, with words of its own: keys for its options,
 * and what its parser does with them. ARGP_ERR_UNKNOWN: the key is another. */
enum {
    CLI_KEY_THREADS = 1000,
    CLI_KEY_WORKERS,
    CLI_KEY_BATCH,
    CLI_KEY_JSON,
    CLI_KEY_PROFILE,
    CLI_KEY_PRECISION,
    CLI_KEY_PASSES
};
error_t cli_run_option(int key, char *text, const struct argp_state *state, cli_run *run);

/* cg_model_load, or where no text is embedded cg_model_load_pictures, by those options: from now on
 * its runs are profiled, where that is asked for. cli_profile_end is to be called before the model
 * is freed. */
cg_status cli_model_load(const char *checkpoint, cli_run *run, int texts, cg_model *out);

/* How a model is evaluated, by those options. */
cg_embed_options cli_evaluate_options(const cg_model *m, const cli_run *run);

/* The file of a model description: `model` itself where it is a path (has a slash or ends in
 * .json), else NAME.json of the folders of descriptions ($CLIPGRAPH_CONFIGS, those beside the
 * executable, the one this program was built with). Allocated; the caller frees it.
 * errors  CG_EINVAL: no such name (names the nearest, or all) */
cg_status cli_config_find(const char *model, char **path);

/* Warns on stderr about what the loader left out or cut ("3 of 120 pictures left out: …"). */
void cli_report_left_out(const char *command, int64_t total, const cg_loader_report *r);

/* A duration as people say it: "8.2 s", "3 min 20 s", "2 h 05 min". */
const char *cli_duration(double seconds, char text[32]);

#endif
