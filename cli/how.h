/* --precision and --passes: how graphs are made. */
#ifndef CG_CLI_HOW_H
#define CG_CLI_HOW_H

#include "train/runner.h"

#include <argp.h>

#define CLI_PRECISION_DOC                                                                          \
    "fp32, or bf16 (amp_bf16): matrix products of bf16 numbers, summed in f32 (fp32)"
#define CLI_PASSES_DOC                                                                             \
    "rewrites of the graph: all, none, or all but some, as in -rows,-fuse (all); `clipgraph "      \
    "inspect MODEL` lists them"

/* The text of an option; what is misspelt is a usage error, which exits with 2. */
cg_precision cli_precision(const struct argp_state *state, const char *text);
cg_passes_off cli_passes(const struct argp_state *state, const char *text);

const char *cli_precision_name(cg_precision p); /* "fp32" */

#endif
