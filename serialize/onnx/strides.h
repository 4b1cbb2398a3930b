/* A walk over the elements of a shape, in their order, and where up to three operands have each of
 * them: what broadcasting, transposing and slicing share. For serialize/onnx/ only. */
#ifndef CG_STRIDES_H
#define CG_STRIDES_H

#include "graph/onnx.h"

enum { CG_STRIDES_OPERANDS = 3 };

typedef struct cg_strides {
    int rank, n; /* n operands */
    int64_t dim[CG_ONNX_RANK], at[CG_ONNX_RANK];
    int64_t stride[CG_STRIDES_OPERANDS][CG_ONNX_RANK], offset[CG_STRIDES_OPERANDS];
} cg_strides;

/* At the first element; strides are 0, and the caller's to fill. */
cg_strides cg_strides_over(const cg_shape *shape, int operands);

/* Strides of elements that lie as their shape says. */
void cg_strides_dense(const cg_shape *x, int64_t *stride);

/* Strides of an operand that broadcasts to `out`: 0 where it is repeated. */
void cg_strides_broadcast(const cg_shape *x, const cg_shape *out, int64_t *stride);

/* To the next element; behind the last comes the first again. */
static inline void cg_strides_step(cg_strides *w) {
    for (int d = w->rank - 1; d >= 0; d--) {
        for (int k = 0; k < w->n; k++) w->offset[k] += w->stride[k][d];
        if (++w->at[d] < w->dim[d]) return;
        for (int k = 0; k < w->n; k++) w->offset[k] -= w->stride[k][d] * w->dim[d];
        w->at[d] = 0;
    }
}

#endif
