#include "serialize/onnx/strides.h"

#include <string.h>

cg_strides cg_strides_over(const cg_shape *shape, int operands) {
    cg_strides w = {.rank = shape->rank, .n = operands};
    memcpy(w.dim, shape->dim, sizeof shape->dim);
    return w;
}

void cg_strides_dense(const cg_shape *x, int64_t *stride) {
    int64_t n = 1;
    for (int i = x->rank - 1; i >= 0; n *= x->dim[i--]) stride[i] = n;
}

void cg_strides_broadcast(const cg_shape *x, const cg_shape *out, int64_t *stride) {
    int64_t own[CG_MAX_RANK];
    cg_strides_dense(x, own);
    for (int i = 0; i < out->rank; i++) {
        int from = i - (out->rank - x->rank);
        stride[i] = from < 0 || x->dim[from] == 1 ? 0 : own[from];
    }
}
