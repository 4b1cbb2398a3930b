/* What a file may ask for before a run: it is untrusted, and some bytes of it can name any size.
 * One budget goes through import, host evaluation and recognition, and one through what is computed
 * of each run's integers. For serialize/onnx/ only. */
#ifndef CG_ONNX_BUDGET_H
#define CG_ONNX_BUDGET_H

#include "graph/types.h"

/* The bounds; a step is an element that is made, read or compared, and takes some nanoseconds.
 * There are more of them for each integer that the caller gives to be computed with, as masks want.
 */
#define CG_BUDGET_BYTES     (INT64_C(1) << 30)
#define CG_BUDGET_STEPS     (INT64_C(1) << 26)
#define CG_BUDGET_EACH      (INT64_C(1) << 12) /* steps for an integer of a run */
#define CG_BUDGET_MOST_MORE (INT64_C(1) << 30) /* for all of them */

/* What has been spent; all zero: nothing. */
typedef struct cg_budget {
    int64_t bytes; /* of tensors on the host, and of constants of the graph */
    int64_t steps;
    int64_t integers; /* of the run */
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
