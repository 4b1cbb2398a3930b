/* What the references of the op cases share: walking tensors in row-major order, attention. */
#ifndef CG_TEST_REFERENCE_H
#define CG_TEST_REFERENCE_H

#include "graph/types.h"

/* Index of element i in each dimension. */
void cg_ref_index(const cg_shape *s, int64_t i, int64_t index[CG_MAX_RANK]);

/* And back. */
int64_t cg_ref_element(const cg_shape *s, const int64_t index[CG_MAX_RANK]);

/* Which element of a tensor of shape s, broadcast to `out`, stands at element i of it. */
int64_t cg_ref_broadcast(const cg_shape *s, const cg_shape *out, int64_t i);

/* Multi-head attention in plain loops. Rows lie x_row apart; key_mask may be NULL. Writes
 * o [rows, heads·e]. */
typedef struct cg_ref_attention {
    int64_t heads, d, e, sequences, rows;
    double scale;
    int causal;
    const double *q, *k, *v, *q_offset, *k_offset, *key_mask;
    int64_t q_row, k_row, v_row;
    double *o;
} cg_ref_attention;

void cg_ref_attend(const cg_ref_attention *a);

#endif
