/* Mean and variance of each channel. Blocks give their sums, shifted; chunks merge blocks and the
 * whole merges chunks by Chan, Golub and LeVeque's rule. */
#include "ops/batch_norm.h"
#include "ops/elementwise.h"
#include "ops/kernel.h"

#include <string.h>

/* sum[c] = Σ (x - shift), square[c] = Σ (x - shift)² over n rows */
CG_INLINE void shifted_sums(const float *x, int64_t n, int64_t channels, const float *shift,
                            float *sum, float *square) {
    memset(sum, 0, (size_t)channels * sizeof *sum);
    memset(square, 0, (size_t)channels * sizeof *square);
    int64_t r = 0;
    for (; r + 4 <= n; r += 4) {
        const float *x0 = x + r * channels, *x1 = x0 + channels, *x2 = x1 + channels,
                    *x3 = x2 + channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            float d0 = x0[c] - shift[c], d1 = x1[c] - shift[c];
            float d2 = x2[c] - shift[c], d3 = x3[c] - shift[c];
            sum[c] += (d0 + d1) + (d2 + d3);
            square[c] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
        }
    }
    for (; r < n; r++) {
        const float *x0 = x + r * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            float d = x0[c] - shift[c];
            sum[c] += d;
            square[c] += d * d;
        }
    }
}

/* partial, four rows of channels: the mean of the chunk's rows so far and their squared deviations
 * from it, then two rows for the block at hand. A block is shifted by the mean so far, the first
 * one by that of its first rows: what cancels is then never large beside the result. */
CG_KERNEL static void block_moments(const float *x, const cg_batch_norm_block *b, float *partial) {
    int64_t channels = b->grid->channels;
    float *mean = partial, *square = mean + channels;
    float *block_sum = square + channels, *block_square = block_sum + channels;
    if (b->before == 0) {
        int64_t head = b->rows < 4 ? b->rows : 4;
        memset(partial, 0, (size_t)channels * 2 * sizeof *partial);
        for (int64_t r = 0; r < head; r++)
            for (int64_t c = 0; c < channels; c++)
                mean[c] += (x[r * channels + c] - mean[c]) / (float)(r + 1);
    }
    float inverse = 1.0f / (float)b->rows, before = (float)b->before;
    float weight = (float)b->rows / (before + (float)b->rows);
    shifted_sums(x, b->rows, channels, mean, block_sum, block_square);
#pragma omp simd
    for (int64_t c = 0; c < channels; c++) {
        float d = block_sum[c] * inverse; /* mean of the block less the mean so far */
        mean[c] += d * weight;
        square[c] += (block_square[c] - block_sum[c] * d) + d * d * (before * weight);
    }
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
    cg_batch_norm_sweep(t, g, 0, moments_block, &j);
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
