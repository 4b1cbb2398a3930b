/* Passes: rewrites of a graph that leave its results as they are, within rounding, and make it
 * cheaper. Each is one file and one line of passes.def, and can be switched off by name. */
#ifndef CG_OPS_PASSES_H
#define CG_OPS_PASSES_H

#include "graph/graph.h"

CG_API_BEGIN

/* Passes of the first stage see a model before it is differentiated, so that gradients follow from
 * what they leave; those of the second see the whole graph. */
typedef enum cg_pass_stage {
    CG_STAGE_MODEL,
    CG_STAGE_WHOLE,
} cg_pass_stage;

typedef struct cg_pass {
    const char *name, *what; /* a word; what it does, half a sentence */
    cg_pass_stage stage;
    int (*run)(cg_graph *g); /* returns the number of rewrites; errors stay with the graph */
} cg_pass;

enum { CG_MAX_PASSES = 16 };

/* All of them, in the order in which they run. */
const cg_pass *cg_pass_list(int *n);

/* Which passes are off: bit i is pass i of the list. 0: all are on. */
typedef unsigned cg_passes_off;
#define CG_PASSES_NONE (~0u) /* all are off: the graph as its model describes it */

/* Reads "-rows,-fuse" (all but these), "none,+rows" (only this), "all". errors  CG_EINVAL: no such
 * pass (names the nearest) */
cg_status cg_passes_parse(const char *text, cg_passes_off *out);

/* What a pass did, over all the graphs it was run on. */
typedef struct cg_pass_saving {
    int rewrites;
    int64_t flops; /* useful ones of a run */
    int64_t bytes; /* alive at once, at most, in the nodes' order, each value a place of its own */
} cg_pass_saving;

/* Runs a stage's passes, those that are off left out; adds to saved[i], for pass i of the list,
 * unless saved is NULL. Dead nodes are removed, and the order is one that can run.
 * errors  the graph's */
cg_status cg_passes_run(cg_graph *g, cg_pass_stage stage, cg_passes_off off, cg_pass_saving *saved);

/* Makes matrix operands bf16 (see bf16.c): not a pass of the list, because it changes results by
 * more than rounding to f32 does. Returns how many ops then multiply bf16. */
int cg_pass_bf16(cg_graph *g);

CG_API_END

#endif
