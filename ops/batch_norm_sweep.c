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

static void walk_chunk(const cg_batch_norm_grid *g, int64_t chunk, float *buffer, int bf16,
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
                                 .buffer = buffer,
                                 .bf16 = bf16};
        fn(job, &b);
    }
}

void cg_batch_norm_sweep(const cg_task *t, const cg_batch_norm_grid *g, int backwards, int bf16,
                         cg_batch_norm_fn fn, const void *job) {
    int threads = threads_for(t, g->rows * g->channels);
    float *block = cg_batch_norm_room_of(t->scratch, g).block;
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int i = 0; i < threads; i++) {
        cg_range part = cg_range_of(g->chunks, i, threads);
        float *buffer = block + (size_t)i * CG_BATCH_NORM_BLOCKS * block_floats(g);
        for (int64_t k = part.begin; k < part.end; k++)
            walk_chunk(g, backwards ? part.begin + part.end - 1 - k : k, buffer, bf16, fn, job);
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

int cg_batch_norm_all_bf16(int n, const cg_batch_norm_tensor *x) {
    for (int i = 0; i < n; i++)
        if (x[i].data && !x[i].bf16) return 0;
    return 1;
}

/* Asks for the block after this one: of bf16, kernels read a few channels of all rows, then the
 * next few, which the processor does not foresee. */
static void look_ahead(const uint16_t *block, int64_t count) {
    for (int64_t i = 0; i < count; i += 32) __builtin_prefetch(block + count + i, 0, 2);
}

const void *cg_batch_norm_load(cg_batch_norm_tensor x, const cg_batch_norm_block *b, int which) {
    if (!x.data) return NULL;
    const uint16_t *block = (const uint16_t *)x.data + b->at;
    if (b->bf16) look_ahead(block, b->count);
    if (b->bf16) return block;
    if (!x.bf16) return (const float *)x.data + b->at;
    float *buffer = b->buffer + (size_t)which * block_floats(b->grid);
    widen((const uint16_t *)x.data + b->at, b->count, buffer);
    return buffer;
}

void *cg_batch_norm_open(cg_batch_norm_tensor y, const cg_batch_norm_block *b, int which) {
    if (!y.data) return NULL;
    if (b->bf16) return (uint16_t *)y.data + b->at;
    return y.bf16 ? b->buffer + (size_t)which * block_floats(b->grid) : (float *)y.data + b->at;
}

void cg_batch_norm_close(cg_batch_norm_tensor y, const cg_batch_norm_block *b, int which) {
    if (y.data && y.bf16 && !b->bf16)
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

typedef struct apply_rows {
    const void *x, *residual;
    void *y;
} apply_rows;

CG_INLINE void apply_lanes(const apply_rows *p, const cg_batch_norm_block *b,
                           const cg_batch_norm_affine *a, int add, int relu, int bf16, int64_t c,
                           int lanes) {
    float mean[CG_LANES], factor[CG_LANES], bias[CG_LANES];
    memcpy(mean, a->mean + c, (size_t)lanes * sizeof *mean);
    memcpy(factor, a->factor + c, (size_t)lanes * sizeof *factor);
    memcpy(bias, a->bias + c, (size_t)lanes * sizeof *bias);
    for (int64_t at = c; at < b->count; at += b->grid->channels) {
#pragma omp simd
        for (int i = 0; i < lanes; i++) {
            float v = (cg_load(p->x, at + i, bf16) - mean[i]) * factor[i] + bias[i];
            if (add) v += cg_load(p->residual, at + i, bf16);
            cg_store(p->y, at + i, relu && v < 0 ? 0 : v, bf16);
        }
    }
}

CG_INLINE void apply_kind(const apply_rows *p, const cg_batch_norm_block *b,
                          const cg_batch_norm_affine *a, int add, int relu){
    CG_EACH_LANES(b->grid->channels, b->bf16, apply_lanes, p, b, a, add, relu)}

CG_KERNEL static void apply_kernel(const apply_rows *p, const cg_batch_norm_block *b,
                                   const cg_batch_norm_affine *a, int relu) {
    CG_TYPED(apply_kind, p->residual != NULL, relu, p, b, a)
}

static void apply_block(const void *arg, const cg_batch_norm_block *b) {
    const apply_job *j = arg;
    apply_rows p = {cg_batch_norm_load(j->x, b, 0), cg_batch_norm_load(j->residual, b, 1),
                    cg_batch_norm_open(j->y, b, 2)};
    apply_kernel(&p, b, &j->a, j->relu);
    cg_batch_norm_close(j->y, b, 2);
}

void cg_batch_norm_apply(const cg_task *t, const cg_batch_norm_grid *g, cg_batch_norm_tensor x,
                         cg_batch_norm_tensor residual, cg_batch_norm_affine a, int relu,
                         cg_batch_norm_tensor y) {
    apply_job j = {x, residual, y, a, relu};
    int bf16 = cg_batch_norm_all_bf16(3, (cg_batch_norm_tensor[]){x, residual, y});
    cg_batch_norm_sweep(t, g, 1, bf16, apply_block, &j);
}
