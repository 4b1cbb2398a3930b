/* transpose: permutes axes; dimension i of y is dimension axes[i] of x.
 * shapes  x [d0, d1, …] f32, bf16 or i32 -> y [d(axes0), d(axes1), …]
 * vjp     dx = transpose(dy, inverse of axes)
 * errors  CG_EINVAL: axes are not a permutation of x's. CG_EDTYPE: x is not f32, bf16 or i32
 * onnx    Transpose, where a reader wants it */
#include "ops/bf16.h"
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

#include <string.h>

typedef struct cg_transpose_attr {
    cg_shape axes;
} cg_transpose_attr;

static const cg_attr_field fields[] = {CG_ATTR(cg_transpose_attr, axes, SHAPE), {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    const cg_value *x = n->in[0];
    const cg_shape *axes = &((const cg_transpose_attr *)n->attr)->axes;
    if (x->dtype != CG_I32) CG_TRY(cg_check_float(n, 0, "x"));
    unsigned seen = 0;
    for (int i = 0; i < axes->rank && i < CG_MAX_RANK; i++)
        if (axes->dim[i] >= 0 && axes->dim[i] < x->shape.rank) seen |= 1u << axes->dim[i];
    if (axes->rank != x->shape.rank || seen != (1u << x->shape.rank) - 1) {
        char text[CG_SHAPE_TEXT], shape[CG_SHAPE_TEXT];
        return cg_error(CG_EINVAL, "axes are %s, wanted each axis of %s once",
                        cg_shape_print(axes, text), cg_shape_print(&x->shape, shape));
    }
    *out = (cg_type){x->dtype == CG_I32 ? CG_I32 : CG_F32, {.rank = axes->rank}};
    for (int i = 0; i < axes->rank; i++) out->shape.dim[i] = x->shape.dim[axes->dim[i]];
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    const cg_shape *axes = &((const cg_transpose_attr *)n->attr)->axes;
    cg_shape inverse = {.rank = axes->rank};
    for (int i = 0; i < axes->rank; i++) inverse.dim[axes->dim[i]] = i;
    dx[0] = cg_transpose(g, dy[0], inverse);
}

static void copy_tile(void *y, const void *const *in, const cg_tile *t) {
    for (int64_t r = 0; r < t->rows; r++)
        memcpy((uint32_t *)y + r * t->n, (const uint32_t *)in[0] + r * t->row[0],
               (size_t)t->n * sizeof(uint32_t));
}

/* Rows of y, P apart in its memory, lie along x's contiguous dimension; blocks of them are read
 * and written a cache line at a time. */
enum { BLOCK_P = 16, BLOCK_Q = 64 };
typedef struct block_job {
    cg_walk walk; /* of y; the last dimension is Q, dimension `p` is P */
    int p;
    int64_t y_stride[CG_MAX_RANK];
    int64_t p_blocks, q_blocks;
    const cg_task *t;
} block_job;

typedef struct block_of {
    const void *x;
    void *y;
    int64_t x_stride, y_stride, p_end, q_end;
} block_of;

CG_INLINE void copy_block(const block_of *b, int x_bf16, int y_bf16) {
    for (int64_t p = 0; p < b->p_end; p++)
        for (int64_t q = 0; q < b->q_end; q++) {
            int64_t to = p * b->y_stride + q, from = q * b->x_stride + p;
            if (x_bf16 && y_bf16)
                ((uint16_t *)b->y)[to] = ((const uint16_t *)b->x)[from];
            else if (!x_bf16 && !y_bf16) /* f32 or i32 */
                ((uint32_t *)b->y)[to] = ((const uint32_t *)b->x)[from];
            else
                cg_store(b->y, to, cg_load(b->x, from, x_bf16), y_bf16);
        }
}

CG_KERNEL static void block(const block_of *b, int x_bf16, int y_bf16) {
    CG_TYPED(copy_block, x_bf16, y_bf16, b)
}

static void block_range(const void *arg, int64_t begin, int64_t end) {
    const block_job *job = arg;
    const cg_walk *w = &job->walk;
    const cg_value *from = job->t->node->in[0], *to = job->t->node->out[0];
    int q_dim = w->rank - 1;
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t q = unit % job->q_blocks * BLOCK_Q, rest = unit / job->q_blocks;
        int64_t p = rest % job->p_blocks * BLOCK_P, batch = rest / job->p_blocks;
        int64_t x_at = p + q * w->stride[0][q_dim], y_at = p * job->y_stride[job->p] + q;
        for (int d = q_dim - 1; d >= 0; d--) {
            if (d == job->p) continue;
            x_at += batch % w->dim[d] * w->stride[0][d];
            y_at += batch % w->dim[d] * job->y_stride[d];
            batch /= w->dim[d];
        }
        int64_t p_left = w->dim[job->p] - p, q_left = w->dim[q_dim] - q;
        block_of b = {
            .x = (const char *)job->t->in[0] + (size_t)x_at * cg_dtype_size(from->dtype),
            .y = (char *)job->t->out[0] + (size_t)y_at * cg_dtype_size(to->dtype),
            .x_stride = w->stride[0][q_dim],
            .y_stride = job->y_stride[job->p],
            .p_end = p_left < BLOCK_P ? p_left : BLOCK_P,
            .q_end = q_left < BLOCK_Q ? q_left : BLOCK_Q,
        };
        block(&b, cg_is_bf16(from), cg_is_bf16(to));
    }
}

static void run_blocks(const cg_task *t, const cg_walk *w) {
    block_job job = {.walk = *w, .t = t};
    int64_t count = 1, batch = 1;
    for (int d = w->rank - 1; d >= 0; d--) {
        job.y_stride[d] = count;
        count *= w->dim[d];
        if (w->stride[0][d] == 1) job.p = d;
    }
    for (int d = 0; d < w->rank - 1; d++) batch *= d == job.p ? 1 : w->dim[d];
    job.p_blocks = (w->dim[job.p] + BLOCK_P - 1) / BLOCK_P;
    job.q_blocks = (w->dim[w->rank - 1] + BLOCK_Q - 1) / BLOCK_Q;
    cg_parallel(t->threads, batch * job.p_blocks * job.q_blocks, 1, count, block_range, &job);
}

static cg_status run(const cg_task *t) {
    const cg_shape *from = &t->node->in[0]->shape, *to = &t->node->out[0]->shape;
    const cg_shape *axes = &((const cg_transpose_attr *)t->node->attr)->axes;
    int64_t stride[CG_MAX_RANK] = {0}, step[CG_MAX_RANK] = {0}, count = 1;
    for (int d = from->rank - 1; d >= 0; d--) {
        step[d] = count;
        count *= from->dim[d];
    }
    if (count == 0) return CG_OK;
    for (int i = 0; i < to->rank; i++) stride[i] = step[axes->dim[i]];
    cg_walk w = cg_walk_strided(to, stride);
    if (w.stride[0][w.rank - 1] == 1)
        cg_walk_tiles(t, &w, copy_tile);
    else
        run_blocks(t, &w);
    return CG_OK;
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    const cg_transpose_attr *attr = n->attr;
    return cg_onnx_give(s, n->out[0], cg_onnx_transpose(s, cg_onnx_value(s, n->in[0]), attr->axes));
}

const cg_op cg_op_transpose = {
    .name = "transpose",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .attr_size = sizeof(cg_transpose_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
    .bf16_in = 1,
    .bf16_out = 1,
};

cg_value *cg_transpose(cg_graph *g, cg_value *x, cg_shape axes) {
    cg_transpose_attr attr = {axes};
    return cg_node_add1(g, &cg_op_transpose, &attr, 1, &x);
}
