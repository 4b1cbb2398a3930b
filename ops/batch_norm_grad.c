/* The gradients of batch_norm, whose file has their manual: one sweep for the sums, one for dx,
 * the residual's gradient and y. */
#include "ops/batch_norm.h"
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/kernel.h"

#include <math.h>
#include <string.h>

/* --- sums ------------------------------------------------------------------------------------- */

/* A block's tensors as f32. */
typedef struct block_rows {
    const float *x, *dy, *other;
    float *dx, *dresidual, *y;
} block_rows;

/* d, dy masked by relu; kind, a cg_batch_norm_mask, says how, and is constant where this is called.
 * other: NULL, or the residual (the kinds below), or y. */
enum { AGAIN_WITH_RESIDUAL = CG_MASK_FROM_Y + 1, NONE_WITH_RESIDUAL };

CG_INLINE float masked(const block_rows *p, int64_t i, float v, int kind) {
    float dy = p->dy[i];
    if (kind == CG_MASK_NONE || kind == NONE_WITH_RESIDUAL) return dy;
    if (kind == CG_MASK_FROM_Y) v = p->other[i];
    return v <= 0 ? 0 : dy; /* dy passes where y is NaN */
}

/* y before relu, where it is computed again. */
CG_INLINE float value_again(const block_rows *p, int64_t i, float centred, float factor, float bias,
                            int kind) {
    float v = centred * factor + bias;
    return kind == AGAIN_WITH_RESIDUAL || kind == NONE_WITH_RESIDUAL ? v + p->other[i] : v;
}

CG_INLINE void sum_rows(const block_rows *p, const cg_batch_norm_block *b,
                        const cg_batch_norm_affine *a, float *sum, int kind) {
    const float *mean = a->mean, *factor = a->factor, *bias = a->bias;
    int64_t channels = b->grid->channels;
    float *sum_d = sum, *sum_dx = sum + channels;
    if (b->before == 0) memset(sum, 0, (size_t)channels * 2 * sizeof *sum);
    int64_t r = 0;
    for (; r + 2 * channels <= b->count; r += 2 * channels) {
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            int64_t i = r + c, j = i + channels;
            float x0 = p->x[i] - mean[c], x1 = p->x[j] - mean[c];
            float d0 = masked(p, i, value_again(p, i, x0, factor[c], bias[c], kind), kind);
            float d1 = masked(p, j, value_again(p, j, x1, factor[c], bias[c], kind), kind);
            sum_d[c] += d0 + d1;
            sum_dx[c] += d0 * x0 + d1 * x1;
        }
    }
    if (r < b->count) {
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            float x0 = p->x[r + c] - mean[c];
            float d = masked(p, r + c, value_again(p, r + c, x0, factor[c], bias[c], kind), kind);
            sum_d[c] += d;
            sum_dx[c] += d * x0;
        }
    }
}

CG_KERNEL static void sum_kernel(const block_rows *p, const cg_batch_norm_block *b,
                                 const cg_batch_norm_affine *a, float *sum, int kind) {
    if (kind == CG_MASK_NONE || kind == NONE_WITH_RESIDUAL)
        sum_rows(p, b, a, sum, CG_MASK_NONE);
    else if (kind == CG_MASK_AGAIN)
        sum_rows(p, b, a, sum, CG_MASK_AGAIN);
    else if (kind == CG_MASK_FROM_Y)
        sum_rows(p, b, a, sum, CG_MASK_FROM_Y);
    else
        sum_rows(p, b, a, sum, AGAIN_WITH_RESIDUAL);
}

static int kind_of(const cg_batch_norm_back *j) {
    if (!j->other.data || j->mask == CG_MASK_FROM_Y) return (int)j->mask;
    return j->mask == CG_MASK_AGAIN ? (int)AGAIN_WITH_RESIDUAL : (int)NONE_WITH_RESIDUAL;
}

static block_rows rows_of(const cg_batch_norm_back *j, const cg_batch_norm_block *b) {
    return (block_rows){.x = cg_batch_norm_load(j->x, b, 0),
                        .dy = cg_batch_norm_load(j->dy, b, 1),
                        .other = cg_batch_norm_load(j->other, b, 2)};
}

static void sum_block(const void *arg, const cg_batch_norm_block *b) {
    const cg_batch_norm_back *j = arg;
    block_rows p = rows_of(j, b);
    sum_kernel(&p, b, &j->affine, j->partial + b->chunk * 4 * b->grid->channels, kind_of(j));
}

typedef struct merge_job {
    const cg_batch_norm_grid *grid;
    const float *partial;
    double *sum;
} merge_job;

/* In double, in the chunks' order, then over the folds. */
CG_KERNEL static void merge_sums(const merge_job *j, int64_t begin, int64_t end) {
    const cg_batch_norm_grid *g = j->grid;
    int64_t channels = g->channels / g->fold;
    double *d = j->sum, *dx = d + channels;
    for (int64_t c = begin; c < end; c++) d[c] = dx[c] = 0;
    for (int64_t k = 0; k < g->chunks * g->fold; k++) {
        const float *at = j->partial + k / g->fold * 4 * g->channels + k % g->fold * channels;
#pragma omp simd
        for (int64_t c = begin; c < end; c++) {
            d[c] += (double)at[c];
            dx[c] += (double)at[c + g->channels];
        }
    }
}

static void merge_part(const void *arg, int64_t begin, int64_t end) {
    merge_sums(arg, begin, end);
}

void cg_batch_norm_sums(const cg_task *t, const cg_batch_norm_grid *g, cg_batch_norm_back *j) {
    cg_batch_norm_room room = cg_batch_norm_room_of(t->scratch, g);
    j->partial = room.partial;
    cg_batch_norm_sweep(t, g, 0, sum_block, j);
    merge_job merge = {g, room.partial, room.doubles};
    cg_parallel(t->threads, g->channels / g->fold, 64, g->chunks * g->channels, merge_part, &merge);
}

/* --- results ---------------------------------------------------------------------------------- */

CG_INLINE void back_rows(const block_rows *p, const cg_batch_norm_block *k,
                         const cg_batch_norm_back *j, int kind, int residual, int again) {
    const float *mean = j->affine.mean, *factor = j->affine.factor, *bias = j->affine.bias;
    const float *b = j->b, *e = j->e;
    int64_t channels = k->grid->channels;
    for (int64_t r = 0; r < k->count; r += channels) {
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            int64_t i = r + c;
            float x = p->x[i] - mean[c];
            float v = value_again(p, i, x, factor[c], bias[c], kind);
            float d = masked(p, i, v, kind);
            p->dx[i] = d * factor[c] + (x * b[c] + e[c]);
            if (residual) p->dresidual[i] = d;
            int relu = kind == CG_MASK_AGAIN || kind == AGAIN_WITH_RESIDUAL;
            if (again) p->y[i] = relu && v < 0 ? 0 : v;
        }
    }
}

CG_INLINE void back_kind(const block_rows *p, const cg_batch_norm_block *k,
                         const cg_batch_norm_back *j, int kind, int residual, int again) {
    if (kind == CG_MASK_NONE)
        back_rows(p, k, j, CG_MASK_NONE, 0, again);
    else if (kind == NONE_WITH_RESIDUAL)
        back_rows(p, k, j, NONE_WITH_RESIDUAL, 0, again);
    else if (kind == CG_MASK_AGAIN)
        back_rows(p, k, j, CG_MASK_AGAIN, 0, again);
    else if (kind == CG_MASK_FROM_Y)
        back_rows(p, k, j, CG_MASK_FROM_Y, residual, 0);
    else
        back_rows(p, k, j, AGAIN_WITH_RESIDUAL, residual, again);
}

CG_KERNEL static void back_kernel(const block_rows *p, const cg_batch_norm_block *k,
                                  const cg_batch_norm_back *j, int kind) {
    CG_TYPED(back_kind, p->dresidual != NULL, p->y != NULL, p, k, j, kind)
}

static void back_block(const void *arg, const cg_batch_norm_block *b) {
    const cg_batch_norm_back *j = arg;
    block_rows p = rows_of(j, b);
    p.dx = cg_batch_norm_open(j->dx, b, 0);
    p.dresidual = cg_batch_norm_open(j->dresidual, b, 3);
    p.y = cg_batch_norm_open(j->y, b, 4);
    back_kernel(&p, b, j, kind_of(j));
    cg_batch_norm_close(j->dx, b, 0);
    cg_batch_norm_close(j->dresidual, b, 3);
    cg_batch_norm_close(j->y, b, 4);
}

void cg_batch_norm_back_apply(const cg_task *t, const cg_batch_norm_grid *g,
                              const cg_batch_norm_back *j) {
    cg_batch_norm_sweep(t, g, 1, back_block, j);
}

/* --- the ops ---------------------------------------------------------------------------------- */

static cg_status infer(const cg_node *n, cg_type *out) {
    static const char *const name[] = {"x", "gain", "bias", "mean", "var"};
    int64_t relu = ((const cg_batch_norm_attr *)n->attr)->relu;
    CG_TRY(cg_batch_norm_check(n, 1, 4, name));
    CG_TRY(cg_batch_norm_check_like(n, 5, "dy"));
    if (relu < CG_MASK_NONE || relu > CG_MASK_FROM_Y)
        return cg_error(CG_EINVAL, "relu is %lld, wanted 0 to 2", (long long)relu);
    if (n->n_in > 6) CG_TRY(cg_batch_norm_check_like(n, 6, relu == 2 ? "y" : "residual"));
    if (n->n_in == 6 && relu == CG_MASK_FROM_Y)
        return cg_error(CG_EINVAL, "relu is 2, but y is no operand");
    out[0] = (cg_type){CG_F32, n->in[0]->shape};
    out[1] = out[2] = (cg_type){CG_F32, n->in[1]->shape};
    out[3] = out[4] = out[0]; /* dresidual, y */
    return CG_OK;
}

static cg_status prepare(cg_prep *p) {
    cg_batch_norm_grid grid = cg_batch_norm_grid_of(&p->node->in[0]->shape);
    p->scratch = cg_batch_norm_scratch(p, &grid);
    return CG_OK;
}

/* dgain and dbias, and the coefficients of dx, from the sums. */
static void channels_back(const cg_task *t, const cg_batch_norm_grid *g, cg_batch_norm_back *j) {
    const float *gain = t->in[1], *var = t->in[4];
    float *dgain = t->out[1], *dbias = t->out[2];
    cg_batch_norm_room room = cg_batch_norm_room_of(t->scratch, g);
    float *b = room.floats + 3 * g->channels, *e = b + g->channels, *value = e + g->channels;
    double eps = (double)((const cg_batch_norm_attr *)t->node->attr)->eps;
    int64_t channels = g->channels / g->fold;
    double rows = (double)(g->rows * g->fold), *d = room.doubles, *dx = d + channels;
    for (int64_t c = 0; c < channels; c++) {
        double r = 1 / sqrt((double)var[c] + eps);
        dgain[c] = (float)(r * dx[c]);
        dbias[c] = (float)d[c];
        value[c] = (float)(-(double)gain[c] * r * r * r * dx[c] / rows);
    }
    cg_batch_norm_spread(g, value, b);
    for (int64_t c = 0; c < channels; c++)
        value[c] = (float)(-(double)gain[c] / sqrt((double)var[c] + eps) * d[c] / rows);
    cg_batch_norm_spread(g, value, e);
    j->b = b;
    j->e = e;
}

static cg_status run(const cg_task *t) {
    const cg_batch_norm_attr *attr = t->node->attr;
    cg_batch_norm_grid grid = cg_batch_norm_grid_of(&t->node->in[0]->shape);
    cg_batch_norm_back j = {.x = cg_batch_norm_in(t, 0),
                            .dy = cg_batch_norm_in(t, 5),
                            .mask = (cg_batch_norm_mask)attr->relu,
                            .dx = cg_batch_norm_out(t, 0)};
    if (t->node->n_in > 6) j.other = cg_batch_norm_in(t, 6);
    int again = t->node->op->min_out; /* where y stands, if it is asked for */
    if (again > 3) j.dresidual = cg_batch_norm_out(t, 3);
    if (t->node->n_out > again) j.y = cg_batch_norm_out(t, again);
    j.affine = cg_batch_norm_affine_of(t, &grid, t->in[1], t->in[2], t->in[3], t->in[4], attr->eps);
    cg_batch_norm_sums(t, &grid, &j);
    channels_back(t, &grid, &j);
    cg_batch_norm_back_apply(t, &grid, &j);
    return CG_OK;
}

const cg_op cg_op_batch_norm_grad = {
    .name = "batch_norm_grad",
    .min_in = 6,
    .max_in = 7,
    .n_out = 4,
    .min_out = 3,
    .attr_size = sizeof(cg_batch_norm_attr),
    .attr = cg_batch_norm_fields,
    .infer = infer,
    .prepare = prepare,
    .run = run,
    .inplace = 1u << 0 | 1u << 5,
    .bf16_in = 1u << 0 | 1u << 5 | 1u << 6,
    .bf16_out = 1u << 0 | 1u << 3,
};

const cg_op cg_op_batch_norm_residual_grad = {
    .name = "batch_norm_residual_grad",
    .min_in = 7,
    .max_in = 7,
    .n_out = 5,
    .min_out = 4,
    .attr_size = sizeof(cg_batch_norm_attr),
    .attr = cg_batch_norm_fields,
    .infer = infer,
    .prepare = prepare,
    .run = run,
    .inplace = 1u << 0 | 1u << 5,
    .bf16_in = 1u << 0 | 1u << 5 | 1u << 6,
    .bf16_out = 1u << 0 | 1u << 3 | 1u << 4,
};
