/* --profile[=FILE]: where the time of a command goes, as tables and as a trace. */
#ifndef CG_CLI_PROFILE_H
#define CG_CLI_PROFILE_H

#include "train/runner.h"

#include <argp.h>

#define CLI_PROFILE_DOC                                                                            \
    "print the time spent by operator and by layer; with FILE also write a trace of the last 16 "  \
    "runs (131072 events at most) for chrome://tracing or ui.perfetto.dev"

/* The names of the times outside of runs that the command line takes. */
#define CLI_PROFILE_LOADING "loading the model"

typedef struct cli_profile {
    int on;
    const char *trace; /* FILE; NULL: none */
    cg_profile *profile;
} cli_profile;

/* What the option's text asks for (NULL: no FILE). An empty name is a usage error, which exits. */
cli_profile cli_profile_option(const struct argp_state *state, char *text);

/* Makes the profile, where one is asked for; its clock starts. Tries whether FILE can be written:
 * better known before hours of work. errors  those of cg_file_create */
cg_status cli_profile_begin(cli_profile *p);

/* Prints the tables, to stderr where stdout is for JSON, and writes FILE. r is told no more; it may
 * be NULL. Returns `code`, or 1 where that is 0 and something failed, having said what. */
int cli_profile_end(const char *command, cli_profile *p, cg_runner *r, int json, int code);

/* The same for an execution of that many threads; e may be NULL. */
int cli_profile_end_exec(const char *command, cli_profile *p, cg_exec *e, int threads, int json,
                         int code);

#endif
