/* An execution: memory for plans, and the caller's bindings. One per thread of control. A run
 * allocates nothing and makes no primitive. */
#ifndef CG_EXEC_H
#define CG_EXEC_H

#include "graph/plan.h"
#include "graph/profile.h"

CG_API_BEGIN

typedef struct cg_exec cg_exec;

cg_status cg_exec_create(cg_exec **out);
void cg_exec_free(cg_exec *e);

/* Makes the plan current and forgets all bindings. Memory grows to the largest plan seen and is
 * shared by all of them. The plan is borrowed. */
cg_status cg_exec_use(cg_exec *e, const cg_plan *p);

/* No plan is current any more: to be called before the current one is freed. */
void cg_exec_forget(cg_exec *e);

/* Binds an input (by name) to memory that the caller owns and keeps until the run is over.
 * errors  CG_ENOTFOUND */
cg_status cg_exec_bind_input(cg_exec *e, const char *name, const void *data);

/* Binds an output of mode CG_SET or CG_ADD to the caller's memory, which a run sets or adds to.
 * The memory must not overlap an input, a parameter or another output's: it is written, and read
 * again, while the graph runs.
 * errors  CG_ENOTFOUND: no such output; CG_EINVAL: it has mode CG_KEEP */
cg_status cg_exec_bind_output(cg_exec *e, const char *name, void *data);

/* Runs all nodes. After an error the outputs' memory is unspecified (CG_ADD may be half added), and
 * there is nothing to commit. errors  CG_EINVAL: an input, or an output in mode CG_SET or CG_ADD,
 * is not bound; whatever a kernel reports (named by node) */
cg_status cg_exec_run(cg_exec *e);

/* Writes the CG_UPDATE outputs of the last run, which must have succeeded, into their parameters.
 */
void cg_exec_commit(cg_exec *e);

/* A CG_KEEP output's bytes after a run, valid until the next run or cg_exec_use; NULL: no such
 * output. */
const void *cg_exec_output(const cg_exec *e, const char *name);

/* Runs again and returns in *node the first node with an f32 result that is not finite, NULL
 * where all are (*value: which of its elements, its value). Inputs and parameters that are not
 * finite are found first: *node is NULL and *name names them. */
typedef struct cg_nonfinite {
    const cg_node *node; /* NULL: an input or a parameter, or nothing at all */
    const char *name;    /* of the node, input or parameter; NULL: everything is finite */
    int64_t element;
    float value;
} cg_nonfinite;
cg_status cg_exec_find_nonfinite(cg_exec *e, cg_nonfinite *out);

/* --- profile -------------------------------------------------------------------------------- */

/* From now on each run is told to p, which the caller owns and keeps as long; NULL: no more.
 * errors  CG_ENOMEM: p is not told anything */
cg_status cg_exec_profile(cg_exec *e, cg_profile *p);

/* What runs are told to, NULL if nothing: for times outside of runs (cg_profile_end). */
cg_profile *cg_exec_get_profile(const cg_exec *e);

CG_API_END

#endif
