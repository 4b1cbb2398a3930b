#include "ops/conv_winograd.h"

#include "ops/conv_winograd_tile.h"
#include "ops/elementwise.h"
#include "ops/kernel.h"

#include <string.h>

enum {
    VECTOR = 8,
    BLOCK_BYTES = 640 << 10, /* of transformed x and y: in the second-level cache */
    BLOCK_LEAST = 48,        /* tiles, so that weights are read often; a multiple of STRIP */
    BLOCK_MOST = 96,
};

/* The convolution as all directions see it: x [n, h, w, c] to y [n, h, w, o]; of a gradient of the
 * data x is dy and y is dx. */
typedef struct shape {
    int64_t n, h, w, c, o;
    int64_t rows, columns, tiles; /* tiles of a picture, of all */
    int64_t block;                /* tiles */
    int64_t wide;                 /* o in whole panels */
    int64_t deep, results;    /* c and o in whole vectors: what is computed beyond is not used */
    int64_t x_point, y_point; /* from point to point of a block's x and y, transformed: not a
                               * multiple of 4 KiB, whose lines would push one another out */
    cg_dnn_direction direction;
    int relu;
} shape;

static shape shape_of(const cg_dnn_conv *g) {
    shape s = {.n = g->n, .h = g->h, .w = g->w, .c = g->c, .o = g->o};
    if (g->direction == CG_DNN_DATA) {
        s.c = g->o;
        s.o = g->c;
    }
    s.direction = g->direction;
    s.relu = g->relu;
    s.rows = (g->h + 1) / 2;
    s.columns = (g->w + 1) / 2;
    s.tiles = s.n * s.rows * s.columns;
    s.wide = (s.o + PANEL - 1) / PANEL * PANEL;
    s.deep = (s.c + VECTOR - 1) / VECTOR * VECTOR;
    s.results = (s.o + VECTOR - 1) / VECTOR * VECTOR;
    s.block = BLOCK_BYTES / (POINTS * (int64_t)sizeof(float) * (s.c + s.wide)) / STRIP * STRIP;
    if (s.block < BLOCK_LEAST) s.block = BLOCK_LEAST;
    if (s.block > BLOCK_MOST || s.direction == CG_DNN_WEIGHTS) s.block = BLOCK_MOST;
    s.x_point = s.block * s.deep + 16;
    s.y_point = s.block * s.wide + 16;
    return s;
}

/* Floats of a thread: transformed x and y of a block, a patch of 4×4 pixels, and for the gradient
 * of the weights their sums. */
static size_t weights_count(const shape *s) {
    return (size_t)(POINTS * s->c * s->wide);
}
static size_t block_count(const shape *s) {
    return (size_t)(POINTS * (s->x_point + s->y_point));
}
static size_t patch_count(const shape *s) {
    return (size_t)(POINTS * (s->deep > s->wide ? s->deep : s->wide));
}
static size_t thread_count(const shape *s) {
    size_t count = block_count(s) + patch_count(s);
    if (s->direction == CG_DNN_WEIGHTS) count += weights_count(s);
    return (count + 15) / 16 * 16;
}

size_t cg_winograd_scratch(const cg_dnn_conv *g, int threads) {
    shape s = shape_of(g);
    size_t count = (size_t)threads * thread_count(&s);
    if (s.direction != CG_DNN_WEIGHTS && !g->pack_b) count += weights_count(&s);
    return count * sizeof(float);
}

size_t cg_winograd_pack_bytes(const cg_dnn_conv *g) {
    shape s = shape_of(g);
    return weights_count(&s) * sizeof(float);
}

/* --- weights --------------------------------------------------------------------------------- */

/* g [9 taps][PANEL], of the filters o … o + PANEL - 1 of channel c, 0 beyond the last; of a
 * gradient of the data, the filters turned round. */
CG_INLINE void take_filters(const shape *s, const float *w, int64_t o, int64_t c,
                            float g[9][PANEL]) {
    int64_t count = s->o - o < PANEL ? s->o - o : PANEL;
    if (count < PANEL) memset(g, 0, sizeof(float[9][PANEL]));
    if (s->direction == CG_DNN_DATA) {
        const float *at = w + (c * s->o + o) * 9;
        for (int64_t i = 0; i < count; i++)
            for (int k = 0; k < 9; k++) g[8 - k][i] = at[i * 9 + k];
        return;
    }
    const float *at = w + (o * s->c + c) * 9;
    for (int64_t i = 0; i < count; i++)
        for (int k = 0; k < 9; k++) g[k][i] = at[i * s->c * 9 + k];
}

/* u [points, panels, c, PANEL] = G g Gᵀ of the panels begin … end-1. */
CG_KERNEL static void weights_range(const shape *s, const float *w, float *u, int64_t begin,
                                    int64_t end) {
    int64_t point = s->wide * s->c;
    for (int64_t at = begin * s->c; at < end * s->c; at++) {
        float g[9][PANEL], *to = u + at * PANEL;
        take_filters(s, w, at / s->c * PANEL, at % s->c, g);
#pragma omp simd
        for (int o = 0; o < PANEL; o++) {
            float t[4][3];
#pragma GCC unroll 3
            for (int j = 0; j < 3; j++) {
                float ends = g[j][o] + g[6 + j][o];
                t[0][j] = g[j][o];
                t[1][j] = 0.5f * (ends + g[3 + j][o]);
                t[2][j] = 0.5f * (ends - g[3 + j][o]);
                t[3][j] = g[6 + j][o];
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                float ends = t[i][0] + t[i][2];
                to[o + (4 * i) * point] = t[i][0];
                to[o + (4 * i + 1) * point] = 0.5f * (ends + t[i][1]);
                to[o + (4 * i + 2) * point] = 0.5f * (ends - t[i][1]);
                to[o + (4 * i + 3) * point] = t[i][2];
            }
        }
    }
}

/* g [9 taps][PANEL] = Gᵀ m G, m the sum of the threads' du of PANEL filters. */
CG_INLINE void fold_panel(const float *du, int64_t point, size_t next, int threads,
                          float g[9][PANEL]) {
#pragma omp simd
    for (int o = 0; o < PANEL; o++) {
        float m[POINTS], t[3][4];
#pragma GCC unroll 16
        for (int k = 0; k < POINTS; k++) m[k] = du[k * point + o];
        for (int i = 1; i < threads; i++) {
#pragma GCC unroll 16
            for (int k = 0; k < POINTS; k++) m[k] += du[(size_t)i * next + (size_t)(k * point + o)];
        }
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            float half = 0.5f * (m[4 + j] + m[8 + j]);
            t[0][j] = m[j] + half;
            t[1][j] = 0.5f * (m[4 + j] - m[8 + j]);
            t[2][j] = half + m[12 + j];
        }
#pragma GCC unroll 3
        for (int i = 0; i < 3; i++) {
            float half = 0.5f * (t[i][1] + t[i][2]);
            g[3 * i][o] = t[i][0] + half;
            g[3 * i + 1][o] = 0.5f * (t[i][1] - t[i][2]);
            g[3 * i + 2][o] = half + t[i][3];
        }
    }
}

/* dw of the panels begin … end-1; du [points, c, wide]. */
CG_KERNEL static void fold_range(const shape *s, const float *du, size_t next, int threads,
                                 float *dw, int64_t begin, int64_t end) {
    for (int64_t at = begin * s->c; at < end * s->c; at++) {
        int64_t o = at / s->c * PANEL, c = at % s->c;
        int64_t count = s->o - o < PANEL ? s->o - o : PANEL;
        float g[9][PANEL], *to = dw + (o * s->c + c) * 9;
        fold_panel(du + c * s->wide + o, s->c * s->wide, next, threads, g);
        for (int64_t i = 0; i < count; i++)
            for (int k = 0; k < 9; k++) to[i * s->c * 9 + k] = g[k][i];
    }
}

/* --- blocks ---------------------------------------------------------------------------------- */

typedef struct job {
    shape s;
    const cg_dnn_operands *o;
    const float *u; /* transformed weights */
    float *own;     /* the threads' memory */
    size_t next;    /* from thread to thread */
    int threads;
} job;

typedef struct place {
    int64_t picture, row, column; /* of a tile's first result */
} place;

static inline place place_of(const shape *s, int64_t t) {
    int64_t at = t % (s->rows * s->columns);
    return (place){t / (s->rows * s->columns), at / s->columns * 2, at % s->columns * 2};
}

/* Copies size × size pixels from (row, column), those outside of the picture being 0. */
CG_INLINE void copy_patch(const shape *s, const float *x, int64_t c, int64_t row, int64_t column,
                          int size, float *patch) {
    for (int64_t i = 0; i < size; i++)
        for (int64_t j = 0; j < size; j++, patch += c) {
            int64_t y = row + i, z = column + j;
            if (y < 0 || y >= s->h || z < 0 || z >= s->w)
                memset(patch, 0, (size_t)c * sizeof *patch);
            else
                memcpy(patch, x + (y * s->w + z) * c, (size_t)c * sizeof *patch);
        }
}

/* v [points, block, deep] of n tiles from t. */
CG_INLINE void transform_pixels(const shape *s, const float *x, int64_t t, int64_t n, float *v,
                                float *patch) {
    int64_t step = s->x_point;
    for (int64_t i = 0; i < n; i++) {
        place p = place_of(s, t + i);
        const float *picture = x + p.picture * s->h * s->w * s->c;
        int64_t row = p.row - 1, column = p.column - 1;
        float *to = v + i * s->deep;
        /* Vectors may reach into the next pixel, which the last row of a picture need not have. */
        int inside = row >= 0 && column >= 0 && row + 4 <= s->h && column + 4 <= s->w;
        if (inside && (row + 4 < s->h || s->deep == s->c)) {
            from_pixels(picture + (row * s->w + column) * s->c, s->w * s->c, s->c, s->deep, to,
                        step);
            continue;
        }
        copy_patch(s, picture, s->c, row, column, 4, patch);
        from_pixels(patch, 4 * s->c, s->c, s->deep, to, step);
    }
}

/* One pixel, at element `at` of y. */
CG_INLINE void store_pixel(const job *j, int64_t at, const float *y, int plain) {
    const shape *s = &j->s;
    const float *bias = j->o->bias, *residual = j->o->residual;
    float *to = (float *)j->o->c + at;
    if (plain) {
        memcpy(to, y, (size_t)s->o * sizeof *to);
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < s->o; i++) {
        float v = y[i];
        if (bias) v += bias[i];
        if (residual) v += residual[at + i];
        to[i] = s->relu && v < 0 ? 0 : v;
    }
}

CG_INLINE void store_tiles(const job *j, const float *m, int64_t t, int64_t n, float *patch) {
    const shape *s = &j->s;
    int plain = !j->o->bias && !j->o->residual && !s->relu, whole = plain && s->o == s->results;
    for (int64_t i = 0; i < n; i++, m += s->wide) {
        place p = place_of(s, t + i);
        int64_t row = s->w * s->o, first = (p.picture * s->h + p.row) * row + p.column * s->o;
        if (whole && p.row + 2 <= s->h && p.column + 2 <= s->w) {
            to_pixels(m, s->y_point, s->o, (float *)j->o->c + first, row, s->o);
            continue;
        }
        to_pixels(m, s->y_point, s->results, patch, 2 * s->results, s->results);
        for (int64_t k = 0; k < 4; k++)
            if (p.row + k / 2 < s->h && p.column + k % 2 < s->w)
                store_pixel(j, first + k / 2 * row + k % 2 * s->o, patch + k * s->results, plain);
    }
}

CG_KERNEL static void forward_block(const job *j, int64_t t, int64_t n, float *own) {
    const shape *s = &j->s;
    float *v = own, *m = v + POINTS * s->x_point, *patch = m + POINTS * s->y_point;
    transform_pixels(s, j->o->a, t, n, v, patch);
    for (int64_t k = 0; k < POINTS; k++)
        product(m + k * s->y_point, s->wide, s->o, v + k * s->x_point, s->deep, 1,
                j->u + k * s->c * s->wide, s->c * PANEL, s->c, n, 0);
    store_tiles(j, m, t, n, patch);
}

/* m [points, panels, block, PANEL] of n tiles of dy; what pads the last panel is anything. */
CG_INLINE void transform_gradient(const shape *s, const float *dy, int64_t t, int64_t n, float *m,
                                  float *patch) {
    for (int64_t i = 0; i < n; i++) {
        place p = place_of(s, t + i);
        const float *y = dy + ((p.picture * s->h + p.row) * s->w + p.column) * s->o;
        int64_t row = s->w * s->o;
        /* The last panel reaches into the next pixel, which the last tile of all has not. */
        if (p.row + 2 > s->h || p.column + 2 > s->w || t + i + 1 == s->tiles) {
            copy_patch(s, dy + p.picture * s->h * row, s->o, p.row, p.column, 2, patch);
            y = patch;
            row = 2 * s->o;
        }
        float *to = m + i * PANEL;
        for (int64_t o = 0; o < s->wide; o += PANEL)
            from_gradient(y + o, row, s->o, PANEL, to + o * s->block, s->y_point);
    }
}

/* du += Σ over n tiles of v mᵀ */
CG_KERNEL static void weights_block(const job *j, int64_t t, int64_t n, float *own) {
    const shape *s = &j->s;
    float *v = own, *m = v + POINTS * s->x_point, *patch = m + POINTS * s->y_point;
    float *du = patch + patch_count(s);
    transform_pixels(s, j->o->b, t, n, v, patch);
    transform_gradient(s, j->o->a, t, n, m, patch);
    for (int64_t k = 0; k < POINTS; k++)
        product(du + k * s->c * s->wide, s->wide, s->o, v + k * s->x_point, 1, s->deep,
                m + k * s->y_point, s->block * PANEL, n, s->c, 1);
}

typedef struct weights_job {
    shape s;
    const float *weights;
    float *to;
} weights_job;

static void weights_part(const void *arg, int64_t begin, int64_t end) {
    const weights_job *j = arg;
    weights_range(&j->s, j->weights, j->to, begin, end);
}

void cg_winograd_pack(const cg_dnn_conv *g, int threads, const float *weights, float *to) {
    weights_job j = {shape_of(g), weights, to};
    cg_parallel(threads, j.s.wide / PANEL, 1, (int64_t)weights_count(&j.s), weights_part, &j);
}

static void fold_part(const void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    const float *du = j->own + block_count(&j->s) + patch_count(&j->s);
    fold_range(&j->s, du, j->next, j->threads, j->o->c, begin, end);
}

static void thread_run(const job *j, int thread, int threads) {
    const shape *s = &j->s;
    float *own = j->own + (size_t)thread * j->next;
    cg_range part = cg_range_of((s->tiles + s->block - 1) / s->block, thread, threads);
    int weights = s->direction == CG_DNN_WEIGHTS;
    if (weights) memset(own + block_count(s) + patch_count(s), 0, weights_count(s) * sizeof *own);
    for (int64_t b = part.begin; b < part.end; b++) {
        int64_t t = b * s->block, n = s->tiles - t < s->block ? s->tiles - t : s->block;
        (weights ? weights_block : forward_block)(j, t, n, own);
    }
}

void cg_winograd_run(const cg_dnn_conv *g, int threads, const cg_dnn_operands *o) {
    job j = {.s = shape_of(g), .o = o, .u = o->b, .own = o->scratch, .threads = threads};
    j.next = thread_count(&j.s);
    if (g->direction != CG_DNN_WEIGHTS && !g->pack_b) {
        j.u = o->scratch;
        j.own += weights_count(&j.s);
        cg_winograd_pack(g, threads, o->b, o->scratch);
    }
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int i = 0; i < threads; i++) thread_run(&j, i, threads);
    if (g->direction == CG_DNN_WEIGHTS)
        cg_parallel(threads, j.s.wide / PANEL, 1, (int64_t)weights_count(&j.s), fold_part, &j);
}

/* Measured: with 12 channels on both sides vectors are half empty; with few tiles to share them,
 * transformed weights cost more than they save. */
int cg_winograd_gains(const cg_dnn_conv *g) {
    int plain = g->kh == 3 && g->kw == 3 && g->stride == 1 && g->padding == 1 && g->groups == 1 &&
                g->dilation == 1 && g->type == CG_F32 && g->c_type == CG_F32 &&
                (!g->residual || g->residual_type == CG_F32);
    int64_t tiles = g->n * ((g->h + 1) / 2) * ((g->w + 1) / 2);
    int64_t narrow = g->c < g->o ? g->c : g->o;
    if (!plain || narrow < 12 || g->c + g->o < 36 || g->h < 4 || g->w < 4) return 0;
    return tiles >= (g->direction == CG_DNN_WEIGHTS ? narrow / 4 : narrow / 8);
}
