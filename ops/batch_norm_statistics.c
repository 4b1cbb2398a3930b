/* Mean and variance of each channel. Blocks give their sums, shifted; chunks merge blocks and the
 * whole merges chunks by Chan, Golub and LeVeque's rule. */
#include "ops/batch_norm.h"
#include "ops/elementwise.h"
#include "ops/kernel.h"

#include <string.h>

/* Lanes of a block. partial, two rows of the grid's channels: the mean of the chunk's rows so far
 * and their squared deviations from it. A block is shifted by the mean so far, the first one by
 * that of its first rows: what cancels is then never large beside the result. */
CG_INLINE void block_lanes(const void *x, const cg_batch_norm_block *b, float *partial, int bf16,
                           int64_t c, int lanes) {
    const int64_t channels = b->grid->channels;
    float *mean = partial + c, *square = mean + channels;
    float shift[CG_LANES], sum[CG_LANES], sum_square[CG_LANES];
    if (b->before == 0)
        for (int i = 0; i < lanes; i++) {
            mean[i] = square[i] = 0;
            for (int64_t r = 0; r < 4 && r < b->rows; r++)
                mean[i] += (cg_load(x, r * channels + c + i, bf16) - mean[i]) / (float)(r + 1);
        }
    for (int i = 0; i < lanes; i++) {
        shift[i] = mean[i];
        sum[i] = sum_square[i] = 0;
    }
    int64_t at = c;
    for (; at + 3 * channels < b->count; at += 4 * channels) {
#pragma omp simd
        for (int i = 0; i < lanes; i++) {
            float d0 = cg_load(x, at + i, bf16) - shift[i];
            float d1 = cg_load(x, at + i + channels, bf16) - shift[i];
            float d2 = cg_load(x, at + i + 2 * channels, bf16) - shift[i];
            float d3 = cg_load(x, at + i + 3 * channels, bf16) - shift[i];
            sum[i] += (d0 + d1) + (d2 + d3);
            sum_square[i] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
        }
    }
    for (; at < b->count; at += channels) {
#pragma omp simd
        for (int i = 0; i < lanes; i++) {
            float d = cg_load(x, at + i, bf16) - shift[i];
            sum[i] += d;
            sum_square[i] += d * d;
        }
    }
    float inverse = 1.0f / (float)b->rows, before = (float)b->before;
    float weight = (float)b->rows / (before + (float)b->rows);
    for (int i = 0; i < lanes; i++) {
        float d = sum[i] * inverse; /* mean of the block less the mean so far */
        mean[i] += d * weight;
        square[i] += (sum_square[i] - sum[i] * d) + d * d * (before * weight);
    }
}

CG_KERNEL static void block_moments(const void *x, const cg_batch_norm_block *b, float *partial) {
    CG_EACH_LANES(b->grid->channels, b->bf16, block_lanes, x, b, partial)
}

typedef struct moments_job {
    cg_batch_norm_tensor x;
    float *partial;
} moments_job;

static void moments_block(const void *arg, const cg_batch_norm_block *b) {
    const moments_job *j = arg;
    block_moments(cg_batch_norm_load(j->x, b, 0), b, j->partial + b->chunk * 4 * b->grid->channels);
}

/* Merges the chunks' moments of channels begin … end-1 in double, in the chunks' order: m, the mean
 * of each of the grid's channels, and behind all of them the squared deviations. */
CG_KERNEL static void merge_chunks(const cg_batch_norm_grid *g, const float *partial, double *m,
                                   int64_t begin, int64_t end) {
    double *s = m + g->channels;
    for (int64_t c = begin; c < end; c++) m[c] = s[c] = 0;
    for (int64_t k = 0; k < g->chunks; k++) {
        const float *mean = partial + k * 4 * g->channels, *square = mean + g->channels;
        int64_t left = g->rows - k * g->chunk;
        double before = (double)(k * g->chunk), n = (double)(left < g->chunk ? left : g->chunk);
        double weight = n / (before + n);
#pragma omp simd
        for (int64_t c = begin; c < end; c++) {
            double d = (double)mean[c] - m[c];
            m[c] += d * weight;
            s[c] += (double)square[c] + d * d * (before * weight);
        }
    }
}

typedef struct merge_job {
    const cg_batch_norm_grid *grid;
    const float *partial;
    double *moment;
} merge_job;

static void merge_part(const void *arg, int64_t begin, int64_t end) {
    const merge_job *j = arg;
    merge_chunks(j->grid, j->partial, j->moment, begin, end);
}

void cg_batch_norm_statistics(const cg_task *t, const cg_batch_norm_grid *g, cg_batch_norm_tensor x,
                              float *mean, float *var) {
    cg_batch_norm_room room = cg_batch_norm_room_of(t->scratch, g);
    moments_job j = {x, room.partial};
    cg_batch_norm_sweep(t, g, 0, x.bf16, moments_block, &j);
    double *m = room.doubles, *s = m + g->channels;
    merge_job merge = {g, room.partial, m};
    cg_parallel(t->threads, g->channels, 64, g->chunks * g->channels, merge_part, &merge);
    int64_t channels = g->channels / g->fold;
    for (int64_t c = 0; c < channels; c++) { /* the same number of rows in each fold */
        double all = 0, square = 0;
        for (int64_t k = 0; k < g->fold; k++) all += m[c + k * channels] / (double)g->fold;
        for (int64_t k = 0; k < g->fold; k++) {
            double d = m[c + k * channels] - all;
            square += s[c + k * channels] + (double)g->rows * d * d;
        }
        mean[c] = (float)all;
        var[c] = (float)(square / (double)(g->rows * g->fold));
    }
}
