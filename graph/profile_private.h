/* What a profile holds; for exec.c and profile*.c only. */
#ifndef CG_PROFILE_PRIVATE_H
#define CG_PROFILE_PRIVATE_H

#include "graph/arena.h"
#include "graph/profile.h"

/* A place where time goes: all nodes of the same name, op, kernel, shape and cost, in whichever
 * plan; or (op NULL) a name for time outside of runs. */
typedef struct cg_site {
    const char *name, *op, *impl, *shape; /* in the profile's arena */
    int64_t flops, bytes;                 /* of a call */
    int bf16;                             /* an operand is */
    int64_t calls;
    double seconds;
} cg_site;

typedef struct cg_event {
    int64_t site;
    double begin, end; /* on the profile's clock */
} cg_event;

typedef struct cg_profile_run {
    double begin, end;
    int64_t first_event;
} cg_profile_run;

struct cg_profile {
    cg_arena arena;
    cg_site *site;
    int n_site, cap_site;
    int *slot; /* open addressing: index + 1, or 0 where free */
    size_t slots;
    cg_event *event; /* a ring: event i is at i % cap_event */
    int64_t n_event, cap_event;
    cg_profile_run run[CG_TRACE_RUNS]; /* a ring, too */
    int64_t n_run;
    double begun, ended; /* ended 0: not stopped */
};

/* The sites of a plan's nodes; allocates those that are new. errors  CG_ENOMEM */
cg_status cg_profile_sites(cg_profile *p, const cg_plan *plan, int *site);

void cg_profile_add(cg_profile *p, int site, double begin, double end);

#endif
