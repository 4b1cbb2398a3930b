#include "tests/support/reference.h"

#include <math.h>

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

/* Row i of q, of head h, against rows begin … end-1 of k and v. */
static void attend_row(const cg_ref_attention *a, int64_t i, int64_t h, int64_t begin,
                       int64_t end) {
    const double *q = a->q + i * a->q_row + h * a->d;
    double top = -INFINITY, sum = 0, *o = a->o + (i * a->heads + h) * a->e;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t j = begin; j < end; j++) {
            const double *k = a->k + j * a->k_row + h * a->d, *v = a->v + j * a->v_row + h * a->e;
            double score = 0;
            if (a->key_mask && a->key_mask[j] == 0) continue;
            for (int64_t c = 0; c < a->d; c++) score += q[c] * k[c] * a->scale;
            if (pass == 0) {
                top = fmax(top, score);
                continue;
            }
            sum += exp(score - top);
            for (int64_t c = 0; c < a->e; c++) o[c] += exp(score - top) * v[c];
        }
    for (int64_t c = 0; c < a->e && sum > 0; c++) o[c] /= sum;
}

void cg_ref_attend(const cg_ref_attention *a) {
    for (int64_t i = 0; i < a->rows * a->heads * a->e; i++) a->o[i] = 0;
    for (int64_t s = 0; s < a->sequences; s++) {
        int64_t q_begin = (int64_t)a->q_offset[s], q_end = (int64_t)a->q_offset[s + 1];
        int64_t k_begin = (int64_t)a->k_offset[s], k_end = (int64_t)a->k_offset[s + 1];
        for (int64_t i = q_begin; i < q_end; i++) {
            int64_t hidden = a->causal ? q_end - 1 - i : 0; /* keys at the end */
            for (int64_t h = 0; h < a->heads; h++) attend_row(a, i, h, k_begin, k_end - hidden);
        }
    }
}
