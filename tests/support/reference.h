/* Walking tensors in row-major order, for the references of the op cases. */
#ifndef CG_TEST_REFERENCE_H
#define CG_TEST_REFERENCE_H

#include "graph/types.h"

/* Index of element i in each dimension. */
void cg_ref_index(const cg_shape *s, int64_t i, int64_t index[CG_MAX_RANK]);

/* And back. */
int64_t cg_ref_element(const cg_shape *s, const int64_t index[CG_MAX_RANK]);

/* Which element of a tensor of shape s, broadcast to `out`, stands at element i of it. */
int64_t cg_ref_broadcast(const cg_shape *s, const cg_shape *out, int64_t i);

#endif
