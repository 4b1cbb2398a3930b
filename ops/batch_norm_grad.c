/* The gradients of batch_norm, whose file has their manual: one sweep for the sums, one for dx,
 * the residual's gradient and y. */
#include "ops/batch_norm.h"
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/kernel.h"

#include <math.h>
#include <string.h>

/* --- sums ------------------------------------------------------------------------------------- */

/* A block's tensors. */
typedef struct block_rows {
    const void *x, *dy, *other;
    void *dx, *dresidual, *y;
} block_rows;

/* d, dy masked by relu; kind, a cg_batch_norm_mask, says how, and is constant where this is called.
 * other: NULL, or the residual (the kinds below), or y. */
enum { AGAIN_WITH_RESIDUAL = CG_MASK_FROM_Y + 1, NONE_WITH_RESIDUAL };

CG_INLINE float masked(const block_rows *p, int64_t i, float v, int kind, int bf16) {
    float dy = cg_load(p->dy, i, bf16);
    if (kind == CG_MASK_NONE || kind == NONE_WITH_RESIDUAL) return dy;
    if (kind == CG_MASK_FROM_Y) v = cg_load(p->other, i, bf16);
    return v <= 0 ? 0 : dy; /* dy passes where y is NaN */
}

/* y before relu, where it is computed again. */
CG_INLINE float value_again(const block_rows *p, int64_t i, float centred, float factor, float bias,
                            int kind, int bf16) {
    float v = centred * factor + bias;
    int residual = kind == AGAIN_WITH_RESIDUAL || kind == NONE_WITH_RESIDUAL;
    return residual ? v + cg_load(p->other, i, bf16) : v;
}

CG_INLINE void sum_lanes(const block_rows *p, const cg_batch_norm_block *b,
                         const cg_batch_norm_affine *a, float *sum, int kind, int bf16, int64_t c,
                         int lanes) {
    const int64_t channels = b->grid->channels;
    float mean[CG_LANES], factor[CG_LANES], bias[CG_LANES], d[CG_LANES], dx[CG_LANES];
    const size_t bytes = (size_t)lanes * sizeof(float);
    memcpy(mean, a->mean + c, bytes);
    memcpy(factor, a->factor + c, bytes);
    memcpy(bias, a->bias + c, bytes);
    memset(d, 0, bytes);
    memset(dx, 0, bytes);
    if (b->before > 0) {
        memcpy(d, sum + c, bytes);
        memcpy(dx, sum + c + channels, bytes);
    }
    int64_t at = c;
    for (; at + channels < b->count; at += 2 * channels) {
#pragma omp simd
        for (int i = 0; i < lanes; i++) {
            int64_t k = at + i, l = k + channels;
            float x0 = cg_load(p->x, k, bf16) - mean[i], x1 = cg_load(p->x, l, bf16) - mean[i];
            float v0 = value_again(p, k, x0, factor[i], bias[i], kind, bf16);
            float v1 = value_again(p, l, x1, factor[i], bias[i], kind, bf16);
            float d0 = masked(p, k, v0, kind, bf16), d1 = masked(p, l, v1, kind, bf16);
            d[i] += d0 + d1;
            dx[i] += d0 * x0 + d1 * x1;
        }
    }
    if (at < b->count) {
#pragma omp simd
        for (int i = 0; i < lanes; i++) {
            float x0 = cg_load(p->x, at + i, bf16) - mean[i];
            float v0 = value_again(p, at + i, x0, factor[i], bias[i], kind, bf16);
            float d0 = masked(p, at + i, v0, kind, bf16);
            d[i] += d0;
            dx[i] += d0 * x0;
        }
    }
    memcpy(sum + c, d, bytes);
    memcpy(sum + c + channels, dx, bytes);
}

CG_INLINE void sum_kind(const block_rows *p, const cg_batch_norm_block *b,
                        const cg_batch_norm_affine *a, float *sum, int kind){
    CG_EACH_LANES(b->grid->channels, b->bf16, sum_lanes, p, b, a, sum, kind)}

CG_KERNEL static void sum_kernel(const block_rows *p, const cg_batch_norm_block *b,
                                 const cg_batch_norm_affine *a, float *sum, int kind) {
    if (kind == CG_MASK_NONE || kind == NONE_WITH_RESIDUAL)
        sum_kind(p, b, a, sum, CG_MASK_NONE);
    else if (kind == CG_MASK_AGAIN)
        sum_kind(p, b, a, sum, CG_MASK_AGAIN);
    else if (kind == CG_MASK_FROM_Y)
        sum_kind(p, b, a, sum, CG_MASK_FROM_Y);
    else
        sum_kind(p, b, a, sum, AGAIN_WITH_RESIDUAL);
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
    int bf16 = cg_batch_norm_all_bf16(3, (cg_batch_norm_tensor[]){j->x, j->dy, j->other});
    cg_batch_norm_sweep(t, g, 0, bf16, sum_block, j);
    merge_job merge = {g, room.partial, room.doubles};
    cg_parallel(t->threads, g->channels / g->fold, 64, g->chunks * g->channels, merge_part, &merge);
}

/* --- results ---------------------------------------------------------------------------------- */

CG_INLINE void back_lanes(const block_rows *p, const cg_batch_norm_block *b,
                          const cg_batch_norm_back *j, int kind, int residual, int again, int bf16,
                          int64_t c, int lanes) {
    const int relu = kind == CG_MASK_AGAIN || kind == AGAIN_WITH_RESIDUAL;
    const size_t bytes = (size_t)lanes * sizeof(float);
    float mean[CG_LANES], factor[CG_LANES], bias[CG_LANES], slope[CG_LANES], shift[CG_LANES];
    memcpy(mean, j->affine.mean + c, bytes);
    memcpy(factor, j->affine.factor + c, bytes);
    memcpy(bias, j->affine.bias + c, bytes);
    memcpy(slope, j->b + c, bytes);
    memcpy(shift, j->e + c, bytes);
    for (int64_t at = c; at < b->count; at += b->grid->channels) {
#pragma omp simd
        for (int i = 0; i < lanes; i++) {
            float x = cg_load(p->x, at + i, bf16) - mean[i];
            float v = value_again(p, at + i, x, factor[i], bias[i], kind, bf16);
            float d = masked(p, at + i, v, kind, bf16);
            cg_store(p->dx, at + i, d * factor[i] + (x * slope[i] + shift[i]), bf16);
            if (residual) cg_store(p->dresidual, at + i, d, bf16);
            if (again) cg_store(p->y, at + i, relu && v < 0 ? 0 : v, bf16);
        }
    }
}

CG_INLINE void back_kind(const block_rows *p, const cg_batch_norm_block *b,
                         const cg_batch_norm_back *j, int kind, int residual, int again){
    CG_EACH_LANES(b->grid->channels, b->bf16, back_lanes, p, b, j, kind, residual, again)}

CG_INLINE void back_each(const block_rows *p, const cg_batch_norm_block *b,
                         const cg_batch_norm_back *j, int kind, int residual, int again) {
    if (kind == CG_MASK_NONE)
        back_kind(p, b, j, CG_MASK_NONE, 0, again);
    else if (kind == NONE_WITH_RESIDUAL)
        back_kind(p, b, j, NONE_WITH_RESIDUAL, 0, again);
    else if (kind == CG_MASK_AGAIN)
        back_kind(p, b, j, CG_MASK_AGAIN, 0, again);
    else if (kind == CG_MASK_FROM_Y)
        back_kind(p, b, j, CG_MASK_FROM_Y, residual, 0);
    else
        back_kind(p, b, j, AGAIN_WITH_RESIDUAL, residual, again);
}

CG_KERNEL static void back_kernel(const block_rows *p, const cg_batch_norm_block *b,
                                  const cg_batch_norm_back *j, int kind) {
    CG_TYPED(back_each, p->dresidual != NULL, p->y != NULL, p, b, j, kind)
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
    cg_batch_norm_tensor all[] = {j->x, j->dy, j->other, j->dx, j->dresidual, j->y};
    cg_batch_norm_sweep(t, g, 1, cg_batch_norm_all_bf16(6, all), back_block, j);
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
