#include "ops/conv_matrix.h"

#include "ops/elementwise.h"
#include "ops/kernel.h"

#include <string.h>

int64_t cg_conv_matrix_count(const cg_dnn_conv *g) {
    return g->oh * g->ow * g->o * g->h * g->w * g->c;
}

typedef struct job {
    const cg_dnn_conv *g;
    float *weight, *matrix, *x, *patch;
    int back; /* fold, put */
} job;

/* One row of pixels of one row of the matrix, as far as it has taps: m[pixel][c] and
 * w[c][tap]; the longer loop is the inner one. */
static inline __attribute__((always_inline)) void copy_taps(float *restrict m, float *restrict w,
                                                            int64_t pixels, int64_t channels,
                                                            int64_t taps, int fold) {
    if (channels >= pixels) {
        for (int64_t p = 0; p < pixels; p++)
            for (int64_t c = 0; c < channels; c++)
                if (fold)
                    w[c * taps + p] += m[p * channels + c];
                else
                    m[p * channels + c] = w[c * taps + p];
        return;
    }
    for (int64_t c = 0; c < channels; c++)
        for (int64_t p = 0; p < pixels; p++)
            if (fold)
                w[c * taps + p] += m[p * channels + c];
            else
                m[p * channels + c] = w[c * taps + p];
}

/* The row (oy, ox, o) of the matrix and the weights of o. */
static inline __attribute__((always_inline)) void
walk_row(const cg_dnn_conv *g, float *row, float *weight, int64_t oy, int64_t ox, int fold) {
    int64_t kx = g->padding - ox * g->stride, x0 = kx < 0 ? -kx : 0; /* tap of pixel 0 */
    int64_t x1 = g->kw - kx < g->w ? g->kw - kx : g->w;
    int64_t width = g->w * g->c;
    for (int64_t iy = 0; iy < g->h; iy++) {
        float *m = row + iy * width;
        int64_t ky = iy - oy * g->stride + g->padding;
        if (ky < 0 || ky >= g->kh || x0 >= x1) {
            if (!fold) memset(m, 0, (size_t)width * sizeof *m);
            continue;
        }
        if (!fold) {
            memset(m, 0, (size_t)(x0 * g->c) * sizeof *m);
            memset(m + x1 * g->c, 0, (size_t)((g->w - x1) * g->c) * sizeof *m);
        }
        copy_taps(m + x0 * g->c, weight + ky * g->kw + kx + x0, x1 - x0, g->c, g->kh * g->kw, fold);
    }
}

CG_KERNEL
static void expand_range(const cg_dnn_conv *g, float *weight, float *matrix, int64_t begin,
                         int64_t end) {
    int64_t columns = g->h * g->w * g->c, taps = g->c * g->kh * g->kw;
    for (int64_t o = begin; o < end; o++)
        for (int64_t oy = 0; oy < g->oh; oy++)
            for (int64_t ox = 0; ox < g->ow; ox++)
                walk_row(g, matrix + ((oy * g->ow + ox) * g->o + o) * columns, weight + o * taps,
                         oy, ox, 0);
}

CG_KERNEL
static void fold_range(const cg_dnn_conv *g, float *weight, float *matrix, int64_t begin,
                       int64_t end) {
    int64_t columns = g->h * g->w * g->c, taps = g->c * g->kh * g->kw;
    for (int64_t o = begin; o < end; o++) {
        memset(weight + o * taps, 0, (size_t)taps * sizeof *weight);
        for (int64_t oy = 0; oy < g->oh; oy++)
            for (int64_t ox = 0; ox < g->ow; ox++)
                walk_row(g, matrix + ((oy * g->ow + ox) * g->o + o) * columns, weight + o * taps,
                         oy, ox, 1);
    }
}

static void matrix_part(const void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    (j->back ? fold_range : expand_range)(j->g, j->weight, j->matrix, begin, end);
}

void cg_conv_matrix_expand(const cg_dnn_conv *g, int threads, const float *weight, float *matrix) {
    job j = {.g = g, .weight = (float *)weight, .matrix = matrix};
    cg_parallel(threads, g->o, 1, cg_conv_matrix_count(g), matrix_part, &j);
}

void cg_conv_matrix_fold(const cg_dnn_conv *g, int threads, const float *matrix, float *weight) {
    job j = {.g = g, .weight = weight, .matrix = (float *)matrix, .back = 1};
    cg_parallel(threads, g->o, 1, cg_conv_matrix_count(g), matrix_part, &j);
}

/* Patches of the picture rows [begin, end), of n·oh. */
static void patches_part(const void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    const cg_dnn_conv *g = j->g;
    const int64_t run = g->kw * g->c, patch = g->kh * run;
    for (int64_t r = begin; r < end; r++)
        for (int64_t ox = 0; ox < g->ow; ox++)
            for (int64_t ky = 0; ky < g->kh; ky++) {
                int64_t row = r / g->oh * g->h + r % g->oh * g->stride + ky;
                float *x = j->x + (row * g->w + ox * g->stride) * g->c;
                float *p = j->patch + (r * g->ow + ox) * patch + ky * run;
                memcpy(j->back ? x : p, j->back ? p : x, (size_t)run * sizeof *x);
            }
}

void cg_conv_patches_get(const cg_dnn_conv *g, int threads, const float *x, float *patch) {
    job j = {.g = g, .x = (float *)x, .patch = patch};
    int64_t rows = g->n * g->oh;
    cg_parallel(threads, rows, 1, rows * g->ow * g->kh * g->kw * g->c, patches_part, &j);
}

void cg_conv_patches_put(const cg_dnn_conv *g, int threads, const float *patch, float *x) {
    job j = {.g = g, .x = x, .patch = (float *)patch, .back = 1};
    int64_t rows = g->n * g->oh, count = g->n * g->h * g->w * g->c;
    if (g->oh * g->kh != g->h || g->ow * g->kw != g->w) memset(x, 0, (size_t)count * sizeof *x);
    cg_parallel(threads, rows, 1, count, patches_part, &j);
}
