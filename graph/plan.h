/* A plan: the order of a graph's nodes, an offset for every value in one arena, and kernels
 * made once. Immutable; may be shared by executions. */
#ifndef CG_PLAN_H
#define CG_PLAN_H

#include "graph/context.h"
#include "graph/graph.h"

CG_API_BEGIN

typedef struct cg_plan cg_plan;

/* ctx and graph are borrowed and must outlive the plan; the graph must not change after. */
cg_status cg_plan_create(cg_context *ctx, const cg_graph *g, cg_plan **out);

/* The same for inference: parameters do not change between runs, but for cg_params_changed. What
 * follows from them alone is computed before the first run, and kept with the parameters, for all
 * plans that want the same. */
cg_status cg_plan_create_frozen(cg_context *ctx, const cg_graph *g, cg_plan **out);
void cg_plan_free(cg_plan *p);

typedef struct cg_plan_report {
    size_t arena_bytes;   /* what a run needs beyond parameters and the caller's memory */
    size_t lower_bound;   /* largest sum of values and scratch alive at once: no arena is smaller */
    size_t frozen_bytes;  /* of what is kept with the parameters, as far as nothing is shared */
    size_t scratch_bytes; /* the largest scratch of a node, part of the arena */
    size_t all_bytes;     /* the values without any reuse */
    int64_t flops;        /* useful ones of a run */
    int n_nodes, n_inplace, n_views;
} cg_plan_report;

void cg_plan_get_report(const cg_plan *p, cg_plan_report *out);

/* Name of the kernel chosen for a node, never NULL ("" where the op has one kernel only). */
const char *cg_plan_impl(const cg_plan *p, int node);

const cg_graph *cg_plan_graph(const cg_plan *p);

CG_API_END

#endif
