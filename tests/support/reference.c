#include "tests/support/reference.h"

void cg_ref_index(const cg_shape *s, int64_t i, int64_t index[CG_MAX_RANK]) {
    for (int d = s->rank - 1; d >= 0; d--) {
        index[d] = i % s->dim[d];
        i /= s->dim[d];
    }
}

int64_t cg_ref_element(const cg_shape *s, const int64_t index[CG_MAX_RANK]) {
    int64_t i = 0;
    for (int d = 0; d < s->rank; d++) i = i * s->dim[d] + index[d];
    return i;
}

int64_t cg_ref_broadcast(const cg_shape *s, const cg_shape *out, int64_t i) {
    if (cg_shape_equal(s, out)) return i;
    int64_t at[CG_MAX_RANK] = {0}, from[CG_MAX_RANK] = {0};
    cg_ref_index(out, i, at);
    for (int d = 0; d < s->rank; d++) from[d] = s->dim[d] == 1 ? 0 : at[d + out->rank - s->rank];
    return cg_ref_element(s, from);
}
