/* Tensors on the host, and operators on them: what a file computes from shapes, constants and
 * integers is known when a graph is imported, and is computed here. Numbers are doubles whatever
 * their type: integers are exact to 2^53, and results of type float are rounded to it. For
 * serialize/onnx/ only. */
#ifndef CG_ONNX_HOST_H
#define CG_ONNX_HOST_H

#include "serialize/onnx/file.h"

typedef struct cg_host {
    int type; /* CG_ONNX__TENSOR_PROTO__DATA_TYPE__… */
    cg_shape shape;
    double *x; /* in an arena */
} cg_host;

#define CG_ONNX_TYPE(name) CG_ONNX__TENSOR_PROTO__DATA_TYPE__##name

/* Elements that a tensor on the host may have, and all of an import together. */
enum { CG_HOST_MOST = 1 << 24, CG_HOST_ROOM = 1 << 27 };

/* Memory for tensors; all zero: empty. */
typedef struct cg_host_room {
    cg_arena arena;
    int64_t used; /* elements */
} cg_host_room;

/* A tensor without numbers yet. errors  CG_EUNSUPPORTED: too large; CG_ENOMEM */
cg_status cg_host_new(cg_host_room *a, int type, cg_shape shape, cg_host *out);
cg_status cg_host_of(cg_host_room *a, const cg_onnx_tensor *t, cg_host *out);

int64_t cg_host_count(const cg_host *h);
int64_t cg_host_int(double x); /* nearest within int64_t */

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

/* One axis of a Slice: length elements from start, `step` apart. */
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

/* Strides of an operand that broadcasts to `out`: 0 where it is repeated. */
void cg_host_strides(const cg_shape *x, const cg_shape *out, int64_t stride[CG_MAX_RANK]);

/* A walk over `shape`, element by element: `offset` is that of an operand with such strides. */
typedef struct cg_host_walk {
    cg_shape shape;
    int64_t at[CG_MAX_RANK], stride[CG_MAX_RANK], offset;
} cg_host_walk;
void cg_host_step(cg_host_walk *w);

#endif
