/* What ops of packed segments share. offset i32 [S+1]: segment s has the rows offset[s] …
 * offset[s+1]-1; rows before the first offset and past the last belong to none. */
#ifndef CG_OPS_SEGMENT_H
#define CG_OPS_SEGMENT_H

#include "ops/check.h"

/* The operand's type. errors  CG_EDTYPE, CG_ESHAPE */
static inline cg_status cg_check_offset(const cg_value *offset, const char *name) {
    CG_TRY(cg_check_dtype(offset, name, CG_I32));
    CG_TRY(cg_check_rank(offset, name, 1));
    if (offset->shape.dim[0] < 1)
        return cg_error(CG_ESHAPE, "%s is [0], wanted one more than there are segments", name);
    return CG_OK;
}

/* Its values, found in a run. errors  CG_EINVAL */
static inline cg_status cg_check_rising(const int32_t *offset, int64_t segments, int64_t rows,
                                        const char *name) {
    if (offset[0] < 0)
        return cg_error(CG_EINVAL, "%s[0] is %d, wanted 0 or more", name, (int)offset[0]);
    for (int64_t s = 0; s < segments; s++)
        if (offset[s + 1] < offset[s])
            return cg_error(CG_EINVAL, "%s falls from %d to %d at %lld, wanted rising offsets",
                            name, (int)offset[s], (int)offset[s + 1], (long long)s + 1);
    if (offset[segments] > rows)
        return cg_error(CG_EINVAL, "%s ends at %d, wanted at most %lld rows", name,
                        (int)offset[segments], (long long)rows);
    return CG_OK;
}

#endif
