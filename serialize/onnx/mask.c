#include "serialize/onnx/mask.h"

#include "serialize/onnx/strides.h"

#include <stdlib.h>
#include <string.h>

/* --- strides ---------------------------------------------------------------------------------- */

int cg_mask_strides(const cg_mask *m, const cg_shape *operand, const cg_shape *out,
                    int64_t stride[4]) {
    int64_t by[CG_MAX_RANK];
    cg_shape size = *out;
    int d = out->rank - 1;
    cg_strides_broadcast(operand, out, by);
    for (int t = 3; t >= 0; t--) {
        int64_t taken = 1;
        stride[t] = 0;
        while (taken < m->dim[t]) {
            while (d >= 0 && size.dim[d] == 1) d--;
            if (d < 0) return 0;
            int64_t need = m->dim[t] / taken, piece = size.dim[d] < need ? size.dim[d] : need;
            if (m->dim[t] % taken || need % piece || size.dim[d] % piece) return 0;
            if (taken == 1) stride[t] = by[d];
            if (by[d] != stride[t] * taken) return 0;
            taken *= piece;
            size.dim[d] /= piece;
            by[d] *= piece;
        }
    }
    while (d >= 0 && size.dim[d] == 1) d--;
    return d < 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* A row of keys: sets hidden[j], which is 0 before the first part. 0: a score is changed. */
static int hide(const cg_mask_part *p, int64_t at, int64_t keys, unsigned char *hidden) {
    int64_t step = p->stride[3];
    int other = 0;
    if (p->added) {
        const float *x = p->added + at;
        for (int64_t j = 0; j < keys; j++) {
            int low = x[j * step] * p->behind <= CG_MASK_LOW;
            hidden[j] |= (unsigned char)low;
            other |= !low & !(x[j * step] == 0);
        }
    } else {
        const int32_t *c = p->chosen + at;
        for (int64_t j = 0; j < keys; j++)
            hidden[j] |= (unsigned char)((c[j * step] == 0) != p->seen_where_0);
    }
    return !other;
}

static int hide_row(const cg_mask *m, const int64_t index[3], unsigned char *hidden) {
    memset(hidden, 0, (size_t)m->dim[3]);
    for (int k = 0; k < m->n; k++) {
        int64_t at = 0;
        for (int t = 0; t < 3; t++) at += index[t] * m->part[k].stride[t];
        if (!hide(&m->part[k], at, m->dim[3], hidden)) return 0;
    }
    return 1;
}

/* Keys are those that the last query sees: causal or not, it sees all that any does. */
static int take_keys(const cg_mask *m, int64_t sequence, unsigned char *hidden, float *keys) {
    if (!hide_row(m, (int64_t[]){sequence, 0, m->dim[2] - 1}, hidden)) return 0;
    for (int64_t j = 0; j < m->dim[3]; j++) keys[j] = !hidden[j];
    return 1;
}

/* seen: of keys before `end`. */
static int is_row(const unsigned char *hidden, const float *keys, int64_t n, int64_t end) {
    int same = 1, sees = 0;
    for (int64_t j = 0; j < end; j++) {
        same &= hidden[j] == (keys[j] == 0);
        sees |= !hidden[j];
    }
    for (int64_t j = end; j < n; j++) same &= hidden[j];
    return same && sees;
}

static int read_sequence(const cg_mask *m, const int64_t walk[3], int64_t sequence, int causal,
                         unsigned char *hidden, float *keys) {
    int64_t n = m->dim[3];
    if (!take_keys(m, sequence, hidden, keys)) return 0;
    for (int64_t h = 0; h < walk[1]; h++)
        for (int64_t i = 0; i < walk[2]; i++) {
            int64_t end = causal ? i + 1 + n - m->dim[2] : n;
            if (end < 1 || !hide_row(m, (int64_t[]){sequence, h, i}, hidden)) return 0;
            if (!is_row(hidden, keys, n, end)) return 0;
        }
    return 1;
}

/* Along what no part differs there is one step. */
static void find_walk(const cg_mask *m, int causal, int64_t walk[3]) {
    walk[0] = walk[1] = walk[2] = 1;
    for (int k = 0; k < m->n; k++)
        for (int t = 0; t < 3; t++)
            if (m->part[k].stride[t]) walk[t] = m->dim[t];
    if (causal) walk[2] = m->dim[2];
}

int64_t cg_mask_steps(const cg_mask *m, int causal) {
    int64_t walk[3], steps = m->dim[3];
    find_walk(m, causal, walk);
    for (int t = 0; t < 3; t++) steps *= walk[t]; /* no more than there are scores */
    steps = steps > m->dim[0] * m->dim[3] ? steps : m->dim[0] * m->dim[3];
    return steps > INT64_MAX / CG_MASK_PARTS ? INT64_MAX : steps * m->n;
}

int cg_mask_is_of_keys(const cg_mask *m, int causal, float *keys) {
    int64_t walk[3], n = m->dim[3];
    find_walk(m, causal, walk);
    unsigned char *hidden = malloc((size_t)n + 1);
    int fits = hidden != NULL;
    for (int64_t s = 0; s < walk[0] && fits; s++)
        fits = read_sequence(m, walk, s, causal, hidden, keys + s * n);
    for (int64_t s = walk[0]; s < m->dim[0] && fits; s++)
        memcpy(keys + s * n, keys, (size_t)n * sizeof *keys);
    free(hidden);
    return fits;
}
