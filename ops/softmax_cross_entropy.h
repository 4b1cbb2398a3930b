/* What softmax_cross_entropy shares with the loss over both axes and the pass that makes it. */
#ifndef CG_OPS_SOFTMAX_CROSS_ENTROPY_H
#define CG_OPS_SOFTMAX_CROSS_ENTROPY_H

#include "ops/ops.h"

typedef struct cg_cross_entropy_attr {
    int64_t axis;
} cg_cross_entropy_attr;

/* Refuses logits that are not f32 of rank 2, and a label that is not i32, one for each row (axis 1)
 * or column (axis 0). */
cg_status cg_cross_entropy_check(const cg_value *logits, const cg_value *label, int64_t axis);

#endif
