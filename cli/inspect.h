/* What the parts of `clipgraph inspect` share. */
#ifndef CG_CLI_INSPECT_H
#define CG_CLI_INSPECT_H

#include "cli/cli.h"
#include "graph/summary.h"
#include "train/account.h"
#include "train/program.h"

typedef enum inspect_format {
    INSPECT_NO_GRAPH,
    INSPECT_GRAPH_TEXT,
    INSPECT_GRAPH_DOT,
    INSPECT_GRAPH_SVG,
    INSPECT_GRAPH_JSON,
} inspect_format;

typedef struct inspect_arguments {
    const char *model, *out; /* out NULL: to stdout */
    int64_t tokens;          /* 0: the context length */
    int inference, layers, collapse, gradients;
    int images, texts; /* towers of an inference */
    inspect_format graph;
    cli_run run; /* batch size, threads, precision, passes, json */
    int passes_given, after_given;
    int after; /* passes that run, from the list's first on; INSPECT_EACH: a graph after each */
} inspect_arguments;

enum { INSPECT_EACH = -1 };

typedef struct inspected {
    char *path; /* the description or the checkpoint */
    cg_clip_desc desc;
    cg_clip_build build; /* of a training step */
    int64_t tokens;
    cg_context *ctx;
    cg_params *params;
    cg_graph *graph;
    cg_layer *layer;
    int n_layers;
    cg_account_params count;
    cg_account training, images, texts;
    cg_pass_saving saved[2][CG_MAX_PASSES]; /* in a training step, and in inference */
} inspected;

/* The graph that the arguments ask for, with these passes off; into m->graph, in the place of what
 * is there. saved as in cg_program. */
cg_status inspect_build(const inspect_arguments *a, cg_passes_off off, cg_pass_saving *saved,
                        inspected *m);

/* What is printed: layers, parameters and memory; or the graph. */
void inspect_print_text(const inspect_arguments *a, const inspected *m);
cg_status inspect_print_json(const inspect_arguments *a, const inspected *m);
cg_status inspect_print_graph(const inspect_arguments *a, inspected *m);

/* "training step, forward" and the like. */
const char *inspect_program(const inspect_arguments *a);

#endif
