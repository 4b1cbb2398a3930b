/* batch_norm: normalises each channel by the batch's own statistics.
 *   mean = Σ x / R,  var = Σ (x - mean)² / R,  y = (x - mean) · gain / sqrt(var + eps) + bias
 * over the R rows, that is all axes but the last
 * shapes  x [..., C] f32, gain, bias [C] -> y [..., C], mean [C], var [C] (biased)
 * attr    eps: float, 0 or more
 * vjp     batch_norm_grad, below; gradients of mean and var are taken too
 * errors  CG_ESHAPE: x is a scalar or empty; gain or bias is not [C]. CG_EDTYPE: not f32.
 *         CG_EINVAL: eps is negative
 * numeric Blocks of rows give their moments about the mean so far and are merged (Chan, Golub,
 *         LeVeque 1983), so a large mean costs no digits of var. Two reads of x and a write of y.
 * source  Ioffe and Szegedy, arXiv:1502.03167
 *
 * batch_norm_grad: its gradient.
 *   r = 1 / sqrt(var + eps),  dbias = Σ dy,  dgain = r Σ dy (x - mean)
 *   dx = gain r (dy - dbias / R - (x - mean) r dgain / R) + dmean / R + dvar 2 (x - mean) / R
 * shapes  x, gain, mean, var, dy, [dmean, [dvar]] -> dx as x, dgain [C], dbias [C] */
#include "ops/batch_norm.h"
#include "ops/kernel.h"

#include <math.h>
#include <string.h>

const cg_attr_field cg_batch_norm_fields[] = {CG_ATTR(cg_batch_norm_attr, eps, FLOAT), {0}};

/* --- the grid -------------------------------------------------------------------------------- */

enum {
    BLOCK_ELEMENTS = 1 << 12, /* 16 KiB of x, and as much of dy */
    CHUNKS = 64,              /* to share among threads */
    CHUNK_ROWS = 1024,        /* at most, for the accuracy of its f32 sums */
};

cg_batch_norm_grid cg_batch_norm_grid_of(const cg_shape *x) {
    int64_t channels = x->dim[x->rank - 1];
    int64_t rows = cg_shape_count(x) / channels;
    int64_t block = BLOCK_ELEMENTS / channels / 4 * 4;
    if (block < 4) block = 4;
    int64_t chunk = (rows + CHUNKS - 1) / CHUNKS;
    if (chunk > CHUNK_ROWS) chunk = CHUNK_ROWS;
    chunk = (chunk + block - 1) / block * block;
    return (cg_batch_norm_grid){rows, channels, block, chunk, (rows + chunk - 1) / chunk};
}

size_t cg_batch_norm_scratch(const cg_batch_norm_grid *grid, int doubles) {
    return (size_t)grid->channels *
           ((size_t)doubles * sizeof(double) + (size_t)grid->chunks * 4 * sizeof(float));
}

int cg_batch_norm_threads(const cg_task *t, int64_t elements) {
    return elements < CG_PARALLEL_MIN ? 1 : t->threads;
}

static int64_t rows_end(const cg_batch_norm_grid *g, int64_t chunk) {
    int64_t end = (chunk + 1) * g->chunk;
    return end < g->rows ? end : g->rows;
}

/* --- statistics ------------------------------------------------------------------------------ */

/* sum[c] = Σ (x - shift), square[c] = Σ (x - shift)² over n rows */
static inline __attribute__((always_inline)) void shifted_sums(const float *x, int64_t n,
                                                               int64_t channels, const float *shift,
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

/* partial, four rows of channels: the mean of rows begin … end-1 and their squared deviations from
 * it, then two rows for the block at hand. A block is shifted by the mean so far, the first one by
 * that of its first rows: what cancels is then never large beside the result. */
CG_KERNEL static void chunk_moments(const float *x, int64_t begin, int64_t end, int64_t block,
                                    int64_t channels, float *partial) {
    float *mean = partial, *square = mean + channels;
    float *block_sum = square + channels, *block_square = block_sum + channels;
    int64_t head = end - begin < 4 ? end - begin : 4;
    memset(partial, 0, (size_t)channels * 2 * sizeof *partial);
    for (int64_t r = 0; r < head; r++)
        for (int64_t c = 0; c < channels; c++)
            mean[c] += (x[(begin + r) * channels + c] - mean[c]) / (float)(r + 1);
    for (int64_t r = begin; r < end; r += block) {
        int64_t n = end - r < block ? end - r : block;
        float inverse = 1.0f / (float)n, before = (float)(r - begin);
        float weight = (float)n / (before + (float)n);
        shifted_sums(x + r * channels, n, channels, mean, block_sum, block_square);
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            float d = block_sum[c] * inverse; /* mean of the block less the mean so far */
            mean[c] += d * weight;
            square[c] += (block_square[c] - block_sum[c] * d) + d * d * (before * weight);
        }
    }
}

/* Merges the chunks' moments of channels begin … end-1 in double, in the chunks' order. */
CG_KERNEL static void merge_moments(const cg_batch_norm_grid *g, const float *partial,
                                    double *moment, int64_t begin, int64_t end, float *mean,
                                    float *var) {
    double *m = moment, *s = moment + g->channels;
    for (int64_t c = begin; c < end; c++) m[c] = s[c] = 0;
    for (int64_t k = 0; k < g->chunks; k++) {
        const float *chunk_mean = partial + k * 4 * g->channels;
        const float *square = chunk_mean + g->channels;
        double before = (double)(k * g->chunk), n = (double)(rows_end(g, k) - k * g->chunk);
        double weight = n / (before + n);
#pragma omp simd
        for (int64_t c = begin; c < end; c++) {
            double d = (double)chunk_mean[c] - m[c];
            m[c] += d * weight;
            s[c] += (double)square[c] + d * d * (before * weight);
        }
    }
    for (int64_t c = begin; c < end; c++) {
        mean[c] = (float)m[c];
        var[c] = (float)(s[c] / (double)g->rows);
    }
}

static void statistics(const cg_task *t, const cg_batch_norm_grid *g, const float *x, float *mean,
                       float *var) {
    double *moment = t->scratch;
    float *partial = (float *)(moment + 2 * g->channels);
    int threads = cg_batch_norm_threads(t, g->rows * g->channels);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t k = 0; k < g->chunks; k++)
        chunk_moments(x, k * g->chunk, rows_end(g, k), g->block, g->channels,
                      partial + k * 4 * g->channels);
    threads = cg_batch_norm_threads(t, g->chunks * g->channels);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < threads; i++) {
        cg_range c = cg_range_of(g->channels, i, threads);
        merge_moments(g, partial, moment, c.begin, c.end, mean, var);
    }
}

/* --- the affine map -------------------------------------------------------------------------- */

CG_KERNEL static void apply_rows(const float *x, int64_t begin, int64_t end, int64_t channels,
                                 const float *mean, const float *factor, const float *bias,
                                 float *y) {
    int64_t r = begin;
    for (; r + 4 <= end; r += 4) {
        const float *x0 = x + r * channels;
        float *y0 = y + r * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            float m = mean[c], f = factor[c], b = bias[c];
            y0[c] = (x0[c] - m) * f + b;
            y0[c + channels] = (x0[c + channels] - m) * f + b;
            y0[c + 2 * channels] = (x0[c + 2 * channels] - m) * f + b;
            y0[c + 3 * channels] = (x0[c + 3 * channels] - m) * f + b;
        }
    }
    for (; r < end; r++) {
        const float *x0 = x + r * channels;
        float *y0 = y + r * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) y0[c] = (x0[c] - mean[c]) * factor[c] + bias[c];
    }
}

void cg_batch_norm_apply(const cg_task *t, const cg_batch_norm_grid *grid, const float *x,
                         const float *mean, const float *factor, const float *bias, float *y) {
    int threads = cg_batch_norm_threads(t, grid->rows * grid->channels);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t k = 0; k < grid->chunks; k++)
        apply_rows(x, k * grid->chunk, rows_end(grid, k), grid->channels, mean, factor, bias, y);
}

/* --- sums of the gradient -------------------------------------------------------------------- */

/* partial: Σ dy and Σ dy (x - mean) of rows begin … end-1. */
CG_KERNEL static void chunk_sums(const float *x, const float *mean, const float *dy, int64_t begin,
                                 int64_t end, int64_t channels, float *partial) {
    float *sum_dy = partial, *sum_dyx = partial + channels;
    memset(partial, 0, (size_t)channels * 2 * sizeof *partial);
    int64_t r = begin;
    for (; r + 4 <= end; r += 4) {
        const float *x0 = x + r * channels, *d0 = dy + r * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            float m = mean[c];
            float a0 = d0[c], a1 = d0[c + channels];
            float a2 = d0[c + 2 * channels], a3 = d0[c + 3 * channels];
            sum_dy[c] += (a0 + a1) + (a2 + a3);
            float b0 = a0 * (x0[c] - m) + a1 * (x0[c + channels] - m);
            float b1 = a2 * (x0[c + 2 * channels] - m) + a3 * (x0[c + 3 * channels] - m);
            sum_dyx[c] += b0 + b1;
        }
    }
    for (; r < end; r++) {
        const float *x0 = x + r * channels, *d0 = dy + r * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            sum_dy[c] += d0[c];
            sum_dyx[c] += d0[c] * (x0[c] - mean[c]);
        }
    }
}

CG_KERNEL static void merge_sums(const cg_batch_norm_grid *g, const float *partial, int64_t begin,
                                 int64_t end, double *sum_dy, double *sum_dyx) {
    for (int64_t c = begin; c < end; c++) sum_dy[c] = sum_dyx[c] = 0;
    for (int64_t k = 0; k < g->chunks; k++) {
        const float *dy = partial + k * 4 * g->channels, *dyx = dy + g->channels;
#pragma omp simd
        for (int64_t c = begin; c < end; c++) {
            sum_dy[c] += (double)dy[c];
            sum_dyx[c] += (double)dyx[c];
        }
    }
}

void cg_batch_norm_sums(const cg_task *t, const cg_batch_norm_grid *grid, const float *x,
                        const float *mean, const float *dy, float *partial, double *sum_dy,
                        double *sum_dyx) {
    int threads = cg_batch_norm_threads(t, grid->rows * grid->channels);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t k = 0; k < grid->chunks; k++)
        chunk_sums(x, mean, dy, k * grid->chunk, rows_end(grid, k), grid->channels,
                   partial + k * 4 * grid->channels);
    threads = cg_batch_norm_threads(t, grid->chunks * grid->channels);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < threads; i++) {
        cg_range c = cg_range_of(grid->channels, i, threads);
        merge_sums(grid, partial, c.begin, c.end, sum_dy, sum_dyx);
    }
}

/* --- batch_norm ------------------------------------------------------------------------------ */

cg_status cg_batch_norm_check(const cg_node *n, int first, int last, const char *const *name) {
    char text[CG_SHAPE_TEXT];
    const cg_value *x = n->in[0];
    const cg_batch_norm_attr *attr = n->attr;
    if (x->dtype != CG_F32)
        return cg_error(CG_EDTYPE, "x is %s, wanted f32", cg_dtype_name(x->dtype));
    if (x->shape.rank < 1) return cg_error(CG_ESHAPE, "x is a scalar, wanted rank 1 or more");
    if (cg_shape_count(&x->shape) == 0)
        return cg_error(CG_ESHAPE, "x %s is empty", cg_shape_print(&x->shape, text));
    if (!(attr->eps >= 0))
        return cg_error(CG_EINVAL, "eps is %g, wanted 0 or more", (double)attr->eps);
    cg_shape channels = CG_SHAPE(x->shape.dim[x->shape.rank - 1]);
    /* NOLINTBEGIN(clang-analyzer-core.CallAndMessage): name has last + 1 entries */
    for (int i = first; i <= last; i++) {
        if (n->in[i]->dtype != CG_F32)
            return cg_error(CG_EDTYPE, "%s is %s, wanted f32", name[i],
                            cg_dtype_name(n->in[i]->dtype));
        if (!cg_shape_equal(&n->in[i]->shape, &channels))
            return cg_error(CG_ESHAPE, "%s is %s, wanted [%lld], the channels of x", name[i],
                            cg_shape_print(&n->in[i]->shape, text), (long long)channels.dim[0]);
    }
    /* NOLINTEND(clang-analyzer-core.CallAndMessage) */
    return CG_OK;
}

static cg_status infer(const cg_node *n, cg_type *out) {
    static const char *const name[] = {"x", "gain", "bias"};
    CG_TRY(cg_batch_norm_check(n, 1, 2, name));
    out[0] = (cg_type){CG_F32, n->in[0]->shape};
    out[1] = out[2] = (cg_type){CG_F32, n->in[1]->shape};
    return CG_OK;
}

static cg_status prepare(cg_prep *p) {
    cg_batch_norm_grid grid = cg_batch_norm_grid_of(&p->node->in[0]->shape);
    p->scratch = cg_batch_norm_scratch(&grid, 2);
    return CG_OK;
}

static cg_status run(const cg_task *t) {
    const float *x = t->in[0], *gain = t->in[1], *bias = t->in[2];
    float *y = t->out[0], *mean = t->out[1], *var = t->out[2];
    const cg_batch_norm_attr *attr = t->node->attr;
    cg_batch_norm_grid grid = cg_batch_norm_grid_of(&t->node->in[0]->shape);
    statistics(t, &grid, x, mean, var);
    float *factor = t->scratch;
    for (int64_t c = 0; c < grid.channels; c++) factor[c] = gain[c] / sqrtf(var[c] + attr->eps);
    cg_batch_norm_apply(t, &grid, x, mean, factor, bias, y);
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    cg_value *zero = cg_constant_f32(g, 0);
    cg_value *d = dy[0] ? dy[0] : cg_broadcast(g, zero, n->in[0]->shape);
    cg_value *dmean = dy[1], *dvar = dy[2];
    if (dvar && !dmean) dmean = cg_broadcast(g, zero, n->out[1]->shape);
    cg_value *in[] = {n->in[0], n->in[1], n->out[1], n->out[2], d, dmean, dvar};
    cg_node *grad = cg_node_add(g, &cg_op_batch_norm_grad, n->attr, 7, in);
    if (!grad) return;
    for (int i = 0; i < 3; i++) dx[i] = grad->out[i];
}

const cg_op cg_op_batch_norm = {
    .name = "batch_norm",
    .min_in = 3,
    .max_in = 3,
    .n_out = 3,
    .attr_size = sizeof(cg_batch_norm_attr),
    .attr = cg_batch_norm_fields,
    .infer = infer,
    .vjp = vjp,
    .prepare = prepare,
    .run = run,
    .inplace = 1u << 0,
};

cg_batch_norm_result cg_batch_norm(cg_graph *g, cg_value *x, cg_value *gain, cg_value *bias,
                                   float eps) {
    cg_batch_norm_attr attr = {eps};
    cg_node *n = cg_node_add(g, &cg_op_batch_norm, &attr, 3, (cg_value *[]){x, gain, bias});
    if (!n) return (cg_batch_norm_result){0};
    return (cg_batch_norm_result){n->out[0], n->out[1], n->out[2]};
}

/* --- batch_norm_grad ------------------------------------------------------------------------- */

static cg_status grad_infer(const cg_node *n, cg_type *out) {
    static const char *const name[] = {"x", "gain", "mean", "var", "dy", "dmean", "dvar"};
    CG_TRY(cg_batch_norm_check(n, 1, 3, name));
    if (n->in[4]->dtype != CG_F32 || !cg_shape_equal(&n->in[4]->shape, &n->in[0]->shape))
        return cg_error(CG_ESHAPE, "dy is not of x's shape and type");
    CG_TRY(cg_batch_norm_check(n, 5, n->n_in - 1, name));
    out[0] = (cg_type){CG_F32, n->in[0]->shape};
    out[1] = out[2] = (cg_type){CG_F32, n->in[1]->shape};
    return CG_OK;
}

/* dx = dy · a + (x - mean) · b + e */
CG_KERNEL static void grad_rows(const float *x, const float *dy, int64_t begin, int64_t end,
                                int64_t channels, const float *mean, const float *coefficient,
                                float *dx) {
    const float *a = coefficient, *b = a + channels, *e = b + channels;
    int64_t r = begin;
    for (; r + 2 <= end; r += 2) {
        const float *x0 = x + r * channels, *d0 = dy + r * channels;
        float *o0 = dx + r * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            float m = mean[c], ac = a[c], bc = b[c], ec = e[c];
            o0[c] = d0[c] * ac + ((x0[c] - m) * bc + ec);
            o0[c + channels] = d0[c + channels] * ac + ((x0[c + channels] - m) * bc + ec);
        }
    }
    if (r < end) {
        const float *x0 = x + r * channels, *d0 = dy + r * channels;
        float *o0 = dx + r * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++)
            o0[c] = d0[c] * a[c] + ((x0[c] - mean[c]) * b[c] + e[c]);
    }
}

static cg_status grad_prepare(cg_prep *p) {
    cg_batch_norm_grid grid = cg_batch_norm_grid_of(&p->node->in[0]->shape);
    p->scratch = cg_batch_norm_scratch(&grid, 4);
    return CG_OK;
}

static cg_status grad_run(const cg_task *t) {
    const float *x = t->in[0], *gain = t->in[1], *mean = t->in[2], *var = t->in[3], *dy = t->in[4];
    const float *dmean = t->node->n_in > 5 ? t->in[5] : NULL;
    const float *dvar = t->node->n_in > 6 ? t->in[6] : NULL;
    float *dx = t->out[0], *dgain = t->out[1], *dbias = t->out[2];
    const cg_batch_norm_attr *attr = t->node->attr;
    cg_batch_norm_grid grid = cg_batch_norm_grid_of(&t->node->in[0]->shape);
    int64_t channels = grid.channels;
    double *sum_dy = t->scratch, *sum_dyx = sum_dy + channels;
    float *coefficient = (float *)(sum_dyx + channels); /* three rows, in two doubles' room */
    cg_batch_norm_sums(t, &grid, x, mean, dy, (float *)(sum_dy + 4 * channels), sum_dy, sum_dyx);
    for (int64_t c = 0; c < channels; c++) {
        double r = 1 / sqrt((double)var[c] + (double)attr->eps), n = (double)grid.rows;
        double a = (double)gain[c] * r;
        double b = -a * r * r * sum_dyx[c] / n + (dvar ? 2 * (double)dvar[c] / n : 0);
        double e = -a * sum_dy[c] / n + (dmean ? (double)dmean[c] / n : 0);
        coefficient[c] = (float)a;
        coefficient[c + channels] = (float)b;
        coefficient[c + 2 * channels] = (float)e;
        dgain[c] = (float)(r * sum_dyx[c]);
        dbias[c] = (float)sum_dy[c];
    }
    int threads = cg_batch_norm_threads(t, grid.rows * channels);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t k = 0; k < grid.chunks; k++)
        grad_rows(x, dy, k * grid.chunk, rows_end(&grid, k), channels, mean, coefficient, dx);
    return CG_OK;
}

const cg_op cg_op_batch_norm_grad = {
    .name = "batch_norm_grad",
    .min_in = 5,
    .max_in = 7,
    .n_out = 3,
    .attr_size = sizeof(cg_batch_norm_attr),
    .attr = cg_batch_norm_fields,
    .infer = grad_infer,
    .prepare = grad_prepare,
    .run = grad_run,
    .inplace = 1u << 0 | 1u << 4,
};
