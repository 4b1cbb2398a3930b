/* Frozen nodes of a plan; for plan.c and exec.c only. */
#ifndef CG_FROZEN_H
#define CG_FROZEN_H

#include "graph/plan_private.h"

/* Fills key[] and frozen[]: which values follow from parameters alone. errors  CG_ENOMEM */
cg_status cg_frozen_mark(cg_plan *p);

/* Fills kept[], once kernels have said what they want packed. errors  CG_ENOMEM */
cg_status cg_frozen_keep(cg_plan *p);

/* Computes what is kept, unless it is there for these parameters. memory: the arena.
 * errors  CG_ENOMEM, those of kernels */
cg_status cg_frozen_refresh(const cg_plan *p, char *memory);

#endif
