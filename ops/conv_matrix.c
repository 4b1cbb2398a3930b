#include "ops/conv_matrix.h"

#include "ops/bf16.h"
#include "ops/elementwise.h"
#include "ops/kernel.h"

#include <string.h>

int64_t cg_conv_matrix_count(const cg_dnn_conv *g) {
    return g->oh * g->ow * g->o * g->h * g->w * g->c;
}

typedef struct job {
    const cg_dnn_conv *g;
    char *weight, *matrix, *x, *patch;
    size_t size; /* of an element */
    int back;    /* fold, put */
} job;

/* What is done with a weight and its place in the matrix. */
typedef enum how {
    COPY_2, /* bytes */
    COPY_4,
    FOLD, /* f32: adds the place to the weight */
} how;

CG_INLINE void visit(char *m, int64_t i, char *w, int64_t k, how act) {
    if (act == FOLD)
        ((float *)(void *)w)[k] += ((const float *)(const void *)m)[i];
    else if (act == COPY_4)
        ((uint32_t *)(void *)m)[i] = ((const uint32_t *)(const void *)w)[k];
    else
        ((uint16_t *)(void *)m)[i] = ((const uint16_t *)(const void *)w)[k];
}

/* One row of pixels of one row of the matrix, as far as it has taps: m[pixel][c] and
 * w[c][tap]; the longer loop is the inner one. */
CG_INLINE void visit_taps(char *restrict m, char *restrict w, int64_t pixels, int64_t channels,
                          int64_t taps, how act) {
    if (channels >= pixels) {
        for (int64_t p = 0; p < pixels; p++)
            for (int64_t c = 0; c < channels; c++) visit(m, p * channels + c, w, c * taps + p, act);
        return;
    }
    for (int64_t c = 0; c < channels; c++)
        for (int64_t p = 0; p < pixels; p++) visit(m, p * channels + c, w, c * taps + p, act);
}

/* The row (oy, ox, o) of the matrix and the weights of o. */
CG_INLINE void walk_row(const cg_dnn_conv *g, char *row, char *weight, int64_t oy, int64_t ox,
                        how act) {
    int64_t kx = g->padding - ox * g->stride, x0 = kx < 0 ? -kx : 0; /* tap of pixel 0 */
    int64_t x1 = g->kw - kx < g->w ? g->kw - kx : g->w, size = act == COPY_2 ? 2 : 4;
    int64_t pixel = g->c * size, width = g->w * pixel;
    for (int64_t iy = 0; iy < g->h; iy++) {
        char *m = row + iy * width;
        int64_t ky = iy - oy * g->stride + g->padding;
        if (ky < 0 || ky >= g->kh || x0 >= x1) {
            if (act != FOLD) memset(m, 0, (size_t)width);
            continue;
        }
        if (act != FOLD) {
            memset(m, 0, (size_t)(x0 * pixel));
            memset(m + x1 * pixel, 0, (size_t)((g->w - x1) * pixel));
        }
        visit_taps(m + x0 * pixel, weight + (ky * g->kw + kx + x0) * size, x1 - x0, g->c,
                   g->kh * g->kw, act);
    }
}

CG_INLINE void walk_range(const cg_dnn_conv *g, char *weight, char *matrix, int64_t begin,
                          int64_t end, how act) {
    int64_t size = act == COPY_2 ? 2 : 4;
    int64_t columns = g->h * g->w * g->c * size, taps = g->c * g->kh * g->kw * size;
    for (int64_t o = begin; o < end; o++) {
        if (act == FOLD) memset(weight + o * taps, 0, (size_t)taps);
        for (int64_t oy = 0; oy < g->oh; oy++)
            for (int64_t ox = 0; ox < g->ow; ox++)
                walk_row(g, matrix + ((oy * g->ow + ox) * g->o + o) * columns, weight + o * taps,
                         oy, ox, act);
    }
}

CG_KERNEL
static void expand_range(const job *j, int64_t begin, int64_t end) {
    if (j->size == 2)
        walk_range(j->g, j->weight, j->matrix, begin, end, COPY_2);
    else
        walk_range(j->g, j->weight, j->matrix, begin, end, COPY_4);
}

CG_KERNEL
static void fold_range(const job *j, int64_t begin, int64_t end) {
    walk_range(j->g, j->weight, j->matrix, begin, end, FOLD);
}

static void matrix_part(const void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    (j->back ? fold_range : expand_range)(j, begin, end);
}

void cg_conv_matrix_expand(const cg_dnn_conv *g, int threads, const void *weight, void *matrix) {
    job j = {.g = g,
             .weight = (char *)(uintptr_t)weight,
             .matrix = matrix,
             .size = cg_dtype_size(g->type)};
    cg_parallel(threads, g->o, 1, cg_conv_matrix_count(g), matrix_part, &j);
}

void cg_conv_matrix_fold(const cg_dnn_conv *g, int threads, const float *matrix, float *weight) {
    job j = {.g = g,
             .weight = (char *)weight,
             .matrix = (char *)(uintptr_t)matrix,
             .size = 4,
             .back = 1};
    cg_parallel(threads, g->o, 1, cg_conv_matrix_count(g), matrix_part, &j);
}

/* Patches of the picture rows [begin, end), of n·oh. */
static void patches_part(const void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    const cg_dnn_conv *g = j->g;
    const int64_t pixel = g->c * (int64_t)j->size, run = g->kw * pixel, patch = g->kh * run;
    for (int64_t r = begin; r < end; r++)
        for (int64_t ox = 0; ox < g->ow; ox++)
            for (int64_t ky = 0; ky < g->kh; ky++) {
                int64_t row = r / g->oh * g->h + r % g->oh * g->stride + ky;
                char *x = j->x + (row * g->w + ox * g->stride) * pixel;
                char *p = j->patch + (r * g->ow + ox) * patch + ky * run;
                memcpy(j->back ? x : p, j->back ? p : x, (size_t)run);
            }
}

void cg_conv_patches_get(const cg_dnn_conv *g, int threads, const void *x, void *patch) {
    job j = {.g = g, .x = (char *)(uintptr_t)x, .patch = patch, .size = cg_dtype_size(g->type)};
    int64_t rows = g->n * g->oh;
    cg_parallel(threads, rows, 1, rows * g->ow * g->kh * g->kw * g->c, patches_part, &j);
}

void cg_conv_patches_put(const cg_dnn_conv *g, int threads, const void *patch, void *x) {
    job j = {.g = g,
             .x = x,
             .patch = (char *)(uintptr_t)patch,
             .size = cg_dtype_size(g->c_type),
             .back = 1};
    int64_t rows = g->n * g->oh, count = g->n * g->h * g->w * g->c;
    if (g->oh * g->kh != g->h || g->ow * g->kw != g->w) memset(x, 0, (size_t)count * j.size);
    cg_parallel(threads, rows, 1, count, patches_part, &j);
}
