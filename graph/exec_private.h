/* What an execution holds; for exec.c and profile.c only. */
#ifndef CG_EXEC_PRIVATE_H
#define CG_EXEC_PRIVATE_H

#include "graph/exec.h"
#include "graph/op.h"

typedef struct cg_op_profile {
    const cg_op *op;
    int64_t calls, flops;
    double seconds;
} cg_op_profile;

struct cg_exec {
    const cg_plan *plan;
    char *memory; /* the arena */
    size_t memory_bytes;
    char **address; /* [n_value] */
    void **bound;   /* [n_output] the caller's memory */
    void **io;      /* [max_io] operands and results of the node that runs */
    int profiling;
    int64_t profiled_runs;
    cg_op_profile *profile; /* [n_profile] one for each op met */
    int n_profile;
};

/* Adds a run of node i to its op's line. */
void cg_profile_add(cg_exec *e, int node, double seconds);

#endif
