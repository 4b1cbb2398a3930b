/* The profile: what the time of runs went into, by op, by layer, and run by run.
 *
 *     cg_profile *p;
 *     CG_TRY(cg_profile_create(1 << 17, &p));      room for a trace of that many events; 0: none
 *     cg_exec_profile(exec, p);                    from now on; graph/exec.h
 *     … runs …
 *     cg_profile_text(p, &peak, &text);            tables; the peak is graph/peak.h's
 *     cg_profile_trace(p, "trace.json");           for chrome://tracing and Perfetto
 *
 * One profile may serve several executions, one at a time. It keeps copies of all that it tells of:
 * plans and graphs may be gone by then. What is new is allocated when an execution takes up a plan;
 * a run allocates nothing. An execution without a profile does not even read the clock. */
#ifndef CG_PROFILE_H
#define CG_PROFILE_H

#include "graph/peak.h"
#include "graph/plan.h"

CG_API_BEGIN

typedef struct cg_profile cg_profile;

enum {
    CG_TRACE_RUNS = 16,        /* the last runs, which a trace tells of */
    CG_TRACE_EVENTS = 1 << 17, /* a usual room for it, 3 MiB: runs of 8192 nodes */
};

/* Its clock starts now. trace_events: 24 bytes each. errors  CG_ENOMEM */
cg_status cg_profile_create(int64_t trace_events, cg_profile **out);
void cg_profile_free(cg_profile *p); /* NULL is allowed; no execution may have it any more */

/* The whole time ends here, not when the tables are made. */
void cg_profile_stop(cg_profile *p);

/* Time spent outside of runs, under a name: between begin and end there must be no run and no other
 * such time. p NULL: nothing happens. What memory is lacking for is not counted. */
double cg_profile_begin(const cg_profile *p);
void cg_profile_end(cg_profile *p, const char *what, double begun);

int64_t cg_profile_runs(const cg_profile *p); /* those that succeeded */

/* Three tables. By op, the slowest first: calls, milliseconds and share of a run; useful GFLOP/s,
 * and that as a share of the peak (of bf16's where an operand is bf16); GB/s, operands read once
 * and results written once, views nothing; the kernel that took most time. By layer, in the order
 * of the network: nodes whose names share what stands up to their first number, else the first two
 * parts; gradients, named d(…), beside their layer. And the whole time, from cg_profile_create to
 * cg_profile_stop. peak NULL: no shares of it. Allocated; the caller frees it. errors  CG_ENOMEM */
cg_status cg_profile_text(const cg_profile *p, const cg_peak *peak, char **text);

/* Chrome's trace format: a complete event (ph X) for each run, node and time outside of runs; name,
 * cat (the op), ts and dur in µs, args shape, flops, bytes and impl. Of the last CG_TRACE_RUNS
 * runs, and of them as much as there was room for: otherData.dropped says how many events are
 * lacking, as does *dropped (may be NULL). The file is whole or absent. errors  CG_EIO,
 * CG_ENOTFOUND */
cg_status cg_profile_trace(const cg_profile *p, const char *path, int64_t *dropped);

CG_API_END

#endif
