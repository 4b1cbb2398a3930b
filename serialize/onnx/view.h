/* Views: how a tensor lies in the elements of another, without its being moved. Reshapes and
 * transpositions of a file only change the view of a value; elements move where an operator needs
 * them otherwise. For serialize/onnx/ only. */
#ifndef CG_ONNX_VIEW_H
#define CG_ONNX_VIEW_H

#include "ops/ops.h"

enum { CG_VIEW_ATOMS = 16 };

/* An axis, or a part of one: `size` steps, `stride` elements apart. An axis of several parts counts
 * through them as digits, the first the highest. Axes of size 1 have none. */
typedef struct cg_atom {
    int64_t size, stride;
    int axis;
} cg_atom;

typedef struct cg_view {
    cg_shape shape;
    int n;
    cg_atom atom[CG_VIEW_ATOMS]; /* in the order of axes */
} cg_view;

/* A tensor that lies as its shape says; of no use where a dimension is 0. */
cg_view cg_view_of(const cg_shape *shape);

/* Both leave v as it was where they return 0: it cannot be done without moving elements. */
int cg_view_reshape(cg_view *v, const cg_shape *to);
int cg_view_split(cg_view *v, const cg_view *by); /* atoms of v become as fine as those of `by`,
                                                     axis by axis where dimensions are equal */

void cg_view_permute(cg_view *v, const int *axes); /* axis i of the result is axis axes[i] */
void cg_view_join(cg_view *v);                     /* parts of an axis that need be none */
int cg_view_is_plain(const cg_view *v);            /* lies as its shape says */

/* Where element `axis index` = 1 of an axis lies, if it is one atom (or of size 1: 0); else -1. */
int64_t cg_view_stride(const cg_view *v, int axis);

/* The tensor that v is of x, as a value that lies as its shape says: reshape, transpose, reshape as
 * needed. NULL after a failure. */
cg_value *cg_view_move(cg_graph *g, cg_value *x, const cg_view *v);

/* cg_reshape, but x itself where it has that shape. */
cg_value *cg_shaped(cg_graph *g, cg_value *x, cg_shape shape);

#endif
