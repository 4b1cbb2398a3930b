/* The grid, sweeps over it, the statistics and the affine map. */
#include "ops/batch_norm.h"
#include "ops/kernel.h"

#include <math.h>
#include <string.h>

/* --- the grid --------------------------------------------------------------------------------- */

enum {
    BLOCK_ELEMENTS = 1 << 11, /* 8 KiB of f32 of each tensor */
    CHUNKS = 64,              /* to share among threads */
    CHUNK_MIN = 32,           /* rows, so that merging chunks costs little */
    CHUNK_MAX = 1024,         /* for the accuracy of f32 sums */
    WIDE = 64,                /* channels from which rows stay as they are */
    MAX_FOLD = 16,
};

cg_batch_norm_grid cg_batch_norm_grid_of(const cg_shape *x) {
    int64_t channels = x->dim[x->rank - 1], fold = 1;
    int64_t rows = cg_shape_count(x) / channels;
    while (channels * fold < WIDE && fold < MAX_FOLD && rows % (2 * fold) == 0) fold *= 2;
    rows /= fold;
    channels *= fold;
    int64_t block = BLOCK_ELEMENTS / channels / 4 * 4;
    if (block < 4) block = 4;
    int64_t chunk = (rows + CHUNKS - 1) / CHUNKS;
    if (chunk < CHUNK_MIN) chunk = CHUNK_MIN;
    if (chunk > CHUNK_MAX) chunk = CHUNK_MAX;
    chunk = (chunk + block - 1) / block * block;
    return (cg_batch_norm_grid){rows, channels, fold, block, chunk, (rows + chunk - 1) / chunk};
}

static size_t block_floats(const cg_batch_norm_grid *g) {
    return (size_t)(g->block * g->channels);
}

cg_batch_norm_room cg_batch_norm_room_of(void *scratch, const cg_batch_norm_grid *g) {
    cg_batch_norm_room r = {.doubles = scratch};
    r.floats = (float *)(r.doubles + CG_BATCH_NORM_DOUBLES * g->channels);
    r.partial = r.floats + CG_BATCH_NORM_FLOATS * g->channels;
    r.block = r.partial + 4 * g->chunks * g->channels;
    return r;
}

size_t cg_batch_norm_scratch(const cg_prep *p, const cg_batch_norm_grid *g) {
    int bf16 = 0;
    for (int i = 0; i < p->node->n_in; i++) bf16 |= cg_is_bf16(p->node->in[i]);
    for (int i = 0; i < p->node->n_out; i++) bf16 |= cg_is_bf16(p->node->out[i]);
    double base; /* only distances from it count */
    cg_batch_norm_room r = cg_batch_norm_room_of(&base, g);
    size_t blocks = bf16 ? (size_t)p->ctx->threads * CG_BATCH_NORM_BLOCKS * block_floats(g) : 0;
    return (size_t)((char *)r.block - (char *)&base) + blocks * sizeof(float);
}

static int threads_for(const cg_task *t, int64_t elements) {
    return elements < CG_PARALLEL_MIN ? 1 : t->threads;
}

static int64_t chunk_rows(const cg_batch_norm_grid *g, int64_t chunk) {
    int64_t left = g->rows - chunk * g->chunk;
    return left < g->chunk ? left : g->chunk;
}

static void walk_chunk(const cg_batch_norm_grid *g, int64_t chunk, float *buffer,
                       cg_batch_norm_fn fn, const void *job) {
    int64_t rows = chunk_rows(g, chunk);
    for (int64_t r = 0; r < rows; r += g->block) {
        int64_t n = rows - r < g->block ? rows - r : g->block;
        cg_batch_norm_block b = {.grid = g,
                                 .chunk = chunk,
                                 .before = r,
                                 .at = (chunk * g->chunk + r) * g->channels,
                                 .rows = n,
                                 .count = n * g->channels,
                                 .buffer = buffer};
        fn(job, &b);
    }
}

void cg_batch_norm_sweep(const cg_task *t, const cg_batch_norm_grid *g, int backwards,
                         cg_batch_norm_fn fn, const void *job) {
    int threads = threads_for(t, g->rows * g->channels);
    float *block = cg_batch_norm_room_of(t->scratch, g).block;
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int i = 0; i < threads; i++) {
        cg_range part = cg_range_of(g->chunks, i, threads);
        float *buffer = block + (size_t)i * CG_BATCH_NORM_BLOCKS * block_floats(g);
        for (int64_t k = part.begin; k < part.end; k++)
            walk_chunk(g, backwards ? part.begin + part.end - 1 - k : k, buffer, fn, job);
    }
}

/* --- blocks ----------------------------------------------------------------------------------- */

CG_KERNEL static void widen(const uint16_t *x, int64_t n, float *y) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = cg_bf16_widen(x[i]);
}

CG_KERNEL static void narrow(const float *x, int64_t n, uint16_t *y) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = cg_bf16_round(x[i]);
}

const float *cg_batch_norm_load(cg_batch_norm_tensor x, const cg_batch_norm_block *b, int which) {
    if (!x.data) return NULL;
    if (!x.bf16) return (const float *)x.data + b->at;
    float *buffer = b->buffer + (size_t)which * block_floats(b->grid);
    widen((const uint16_t *)x.data + b->at, b->count, buffer);
    return buffer;
}

float *cg_batch_norm_open(cg_batch_norm_tensor y, const cg_batch_norm_block *b, int which) {
    if (!y.data) return NULL;
    return y.bf16 ? b->buffer + (size_t)which * block_floats(b->grid) : (float *)y.data + b->at;
}

void cg_batch_norm_close(cg_batch_norm_tensor y, const cg_batch_norm_block *b, int which) {
    if (y.data && y.bf16)
        narrow(b->buffer + (size_t)which * block_floats(b->grid), b->count,
               (uint16_t *)y.data + b->at);
}

void cg_batch_norm_spread(const cg_batch_norm_grid *g, const float *from, float *to) {
    int64_t channels = g->channels / g->fold;
    for (int64_t k = 0; k < g->fold; k++)
        memcpy(to + k * channels, from, (size_t)channels * sizeof *to);
}

/* --- the affine map --------------------------------------------------------------------------- */

cg_batch_norm_affine cg_batch_norm_affine_of(const cg_task *t, const cg_batch_norm_grid *g,
                                             const float *gain, const float *bias,
                                             const float *mean, const float *var, float eps) {
    int64_t channels = g->channels / g->fold;
    float *m = cg_batch_norm_room_of(t->scratch, g).floats, *f = m + g->channels;
    float *b = f + g->channels;
    cg_batch_norm_spread(g, mean, m);
    cg_batch_norm_spread(g, bias, b);
    for (int64_t c = 0; c < g->channels; c++)
        f[c] = gain[c % channels] / sqrtf(var[c % channels] + eps);
    return (cg_batch_norm_affine){m, f, b};
}

typedef struct apply_job {
    cg_batch_norm_tensor x, residual, y;
    cg_batch_norm_affine a;
    int relu;
} apply_job;

CG_INLINE void apply_rows(const float *x, const float *residual, const cg_batch_norm_block *k,
                          const cg_batch_norm_affine *a, float *y, int add, int relu) {
    const float *mean = a->mean, *factor = a->factor, *bias = a->bias;
    int64_t channels = k->grid->channels;
    for (int64_t r = 0; r < k->count; r += channels) {
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            float v = (x[r + c] - mean[c]) * factor[c] + bias[c];
            if (add) v += residual[r + c];
            y[r + c] = relu && v < 0 ? 0 : v;
        }
    }
}

CG_KERNEL static void apply_kernel(const float *x, const float *residual,
                                   const cg_batch_norm_block *k, const cg_batch_norm_affine *a,
                                   float *y, int add, int relu) {
    CG_TYPED(apply_rows, add, relu, x, residual, k, a, y)
}

static void apply_block(const void *arg, const cg_batch_norm_block *b) {
    const apply_job *j = arg;
    const float *x = cg_batch_norm_load(j->x, b, 0);
    const float *residual = cg_batch_norm_load(j->residual, b, 1);
    float *y = cg_batch_norm_open(j->y, b, 2);
    apply_kernel(x, residual, b, &j->a, y, residual != NULL, j->relu);
    cg_batch_norm_close(j->y, b, 2);
}

void cg_batch_norm_apply(const cg_task *t, const cg_batch_norm_grid *g, cg_batch_norm_tensor x,
                         cg_batch_norm_tensor residual, cg_batch_norm_affine a, int relu,
                         cg_batch_norm_tensor y) {
    apply_job j = {x, residual, y, a, relu};
    cg_batch_norm_sweep(t, g, 1, apply_block, &j);
}
