/* What a file may ask for before a run: it is untrusted, and some bytes of it can name any size.
 * One budget goes through import, host evaluation and recognition; another through what is computed
 * of a run's integers. For serialize/onnx/ only. */
#ifndef CG_ONNX_BUDGET_H
#define CG_ONNX_BUDGET_H

#include "graph/types.h"

/* The bounds; a step is an element that is made, read or compared, and takes some nanoseconds. A
 * run's are higher: what it computes is what its import did, at sizes that the caller gives. */
#define CG_BUDGET_BYTES     (INT64_C(1) << 30)
#define CG_BUDGET_STEPS     (INT64_C(1) << 26)
#define CG_BUDGET_RUN_STEPS (INT64_C(1) << 29)

/* What has been spent; all zero: nothing, of an import. */
typedef struct cg_budget {
    int64_t bytes; /* of tensors on the host, and of constants of the graph */
    int64_t steps;
    int is_run;
} cg_budget;

/* Both are asked before the memory or the time is taken. does: what the sentence begins with,
 * "makes", and shape of what. errors  CG_EUNSUPPORTED */
cg_status cg_budget_hold(cg_budget *b, const char *does, const cg_shape *shape, int64_t bytes);
cg_status cg_budget_walk(cg_budget *b, int64_t steps);

/* The memory that the machine has for this process: what is free or can be freed, and what the
 * process has of it. */
int64_t cg_machine_bytes(void);

/* A run's memory against the machine's: frozen is what is kept beside the weights. A plan costs
 * nothing until it is run. errors  CG_ENOMEM */
cg_status cg_budget_check_run(size_t bytes, size_t frozen);

#endif
