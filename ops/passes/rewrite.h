/* What passes that name ops share. */
#ifndef CG_OPS_PASSES_REWRITE_H
#define CG_OPS_PASSES_REWRITE_H

#include "ops/ops.h"
#include "ops/passes/passes.h"

/* The passes' functions. */
#define CG_PASS(name, stage, what) int cg_pass_##name(cg_graph *g);
#include "ops/passes/passes.def"
#undef CG_PASS

/* Reads of v by nodes that are not dead; an operand that is there twice counts twice. */
int cg_readers(const cg_graph *g, const cg_value *v);

/* The only reader of v, of which v is one operand and no output; or NULL. */
cg_node *cg_only_reader(const cg_graph *g, const cg_value *v);

int cg_is_output(const cg_graph *g, const cg_value *v);

/* Is a linear layer its weight and bias alone, without activation and residual? */
int cg_is_affine(const cg_node *linear);

/* A constant i32 [count]: 0, step, 2 step, … */
cg_value *cg_i32_range(cg_graph *g, int64_t count, int64_t step);

#endif
