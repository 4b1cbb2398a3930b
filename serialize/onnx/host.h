/* Tensors on the host, and operators on them: what a file computes from shapes, constants and
 * integers is known when a graph is imported, and is computed here. Numbers are doubles whatever
 * their type: integers are exact to 2^53, and results of type float are rounded to it. For
 * serialize/onnx/ only. */
#ifndef CG_ONNX_HOST_H
#define CG_ONNX_HOST_H

#include "serialize/onnx/budget.h"
#include "serialize/onnx/file.h"
#include "serialize/onnx/strides.h"

/* What comes again and again is held once: a mask that is the same for all of a batch, as one row
 * of it. Element i is x[i % held]. */
typedef struct cg_host {
    int type; /* CG_ONNX__TENSOR_PROTO__DATA_TYPE__… */
    cg_shape shape;
    double *x;    /* [held] in an arena */
    int64_t held; /* as many as the shape has, or fewer */
} cg_host;

#define CG_ONNX_TYPE(name) CG_ONNX__TENSOR_PROTO__DATA_TYPE__##name

enum {
    CG_HOST_ROOM = 1 << 27, /* elements for which a budget has memory */
    CG_HOST_SMALL = 256     /* tensors of no more, as lists of sizes are, are held whole */
};

/* Memory for tensors; all zero: empty, an import's. */
typedef struct cg_host_room {
    cg_arena arena;
    cg_budget budget;
} cg_host_room;

/* A tensor without numbers yet, of which all are held, or the first `held` unless it is small.
 * errors  CG_EUNSUPPORTED: beyond the budget; CG_ENOMEM */
cg_status cg_host_new(cg_host_room *a, int type, cg_shape shape, cg_host *out);
cg_status cg_host_new_rows(cg_host_room *a, int type, cg_shape shape, int64_t held, cg_host *out);
cg_status cg_host_of(cg_host_room *a, const cg_onnx_tensor *t, cg_host *out);

int64_t cg_host_count(const cg_host *h);
int64_t cg_host_int(double x); /* nearest within int64_t */

static inline double cg_host_at(const cg_host *h, int64_t i) {
    return h->x[i < h->held ? i : i % h->held];
}

/* The same, with all of its elements held. */
cg_status cg_host_whole(cg_host_room *a, const cg_host *h, cg_host *out);

/* Are the numbers the same for each row of the first axis? */
int cg_host_is_one_row(const cg_host *h);

/* Holds no more than one row of the first axis where the others are the same. */
void cg_host_shorten(cg_host *h);

/* A walk over n operands that broadcast to *out, which on entry is scalar, or what they are to be
 * expanded to: over its first *held elements, after which the same come again. Operands of which
 * that cannot be told are made whole in whole[]; in[] then is that. */
cg_status cg_host_broadcast(cg_host_room *a, const cg_host **in, int n, cg_host *whole,
                            cg_shape *out, int64_t *held, cg_strides *w);

/* --- attributes of nodes ---------------------------------------------------------------------- */

const CgOnnx__AttributeProto *cg_onnx_attribute(const CgOnnx__NodeProto *n, const char *name);
int64_t cg_onnx_int(const CgOnnx__NodeProto *n, const char *name, int64_t otherwise);
float cg_onnx_float(const CgOnnx__NodeProto *n, const char *name, float otherwise);

/* A list of integers: the attribute's, or of input `in` where the node has that; *n is -1 where
 * there is neither. errors  CG_EUNSUPPORTED: more than CG_MAX_RANK */
cg_status cg_onnx_ints(const CgOnnx__NodeProto *node, const char *name, const cg_host *in,
                       int64_t list[CG_MAX_RANK], int *n);

/* An axis counted from the end where it is negative. errors  CG_EFORMAT */
cg_status cg_onnx_axis(int64_t axis, int rank, int *out);

/* --- shape rules that graphs need, too -------------------------------------------------------- */

/* Of Reshape (a 0 copies, a -1 is what is left), Flatten, Squeeze and Unsqueeze: the shape of the
 * result. in: [0] the operand (its numbers are not read), [1] shape or axes, or NULL. */
cg_status cg_onnx_new_shape(const CgOnnx__NodeProto *n, const cg_shape *x, const cg_host *second,
                            cg_shape *out);

/* One axis of a Slice: length elements from start, `step` apart; 1 where there are no two. */
typedef struct cg_onnx_cut {
    int axis;
    int64_t start, step, length;
} cg_onnx_cut;
cg_status cg_onnx_cuts(const cg_shape *x, const cg_host *const *in, int n_in,
                       cg_onnx_cut cut[CG_MAX_RANK], int *n);

/* Lengths of a Split along its axis, one for each output. */
cg_status cg_onnx_split(const CgOnnx__NodeProto *n, const cg_shape *x, const cg_host *second,
                        int *axis, int64_t *length);

/* --- evaluation ------------------------------------------------------------------------------- */

/* Results of n from its inputs, of which absent ones are NULL; *known is 0, and there are none,
 * where the operator is not one of these. errors  CG_EFORMAT, CG_EUNSUPPORTED */
cg_status cg_host_run(cg_host_room *a, const CgOnnx__NodeProto *n, const cg_host *const *in,
                      int n_in, cg_host *out, int n_out, int *known);

/* The families that cg_host_run asks in turn: *known is 0 where the operator is of another. */
typedef struct cg_host_job {
    cg_host_room *arena;
    const CgOnnx__NodeProto *node;
    const cg_host *const *in;
    int n_in;
    cg_host *out;
    int n_out;
} cg_host_job;
cg_status cg_host_math(const cg_host_job *j, int *known);
cg_status cg_host_move(const cg_host_job *j, int *known);
cg_status cg_host_reduce(const cg_host_job *j, int *known);

/* The same job with all elements of its operands held. */
cg_status cg_host_job_whole(const cg_host_job *j, cg_host_job *out);

#endif
