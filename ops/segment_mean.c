/* segment_mean: the mean over each segment of consecutive rows.
 *   y_s = 1/n_s * sum of x_r for offset_s <= r < offset_(s+1),  n_s = offset_(s+1) - offset_s
 * shapes  x [R, D] f32 or bf16, offset i32 [S+1], rising from 0 or more to R or less -> y [S, D];
 *         an empty segment's mean is 0; rows outside all segments are not read
 * vjp     dx_r = dy_s / n_s for a row of segment s, else 0 (op segment_mean_grad)
 * errors  CG_ESHAPE: x is not of rank 2, offset not of rank 1 or empty. CG_EDTYPE.
 *         A run: CG_EINVAL: offsets that fall or leave the rows
 * onnx    of segments of one length: ReduceMean */
#include "ops/bf16.h"
#include "ops/elementwise.h"
#include "ops/ops.h"
#include "ops/reduce.h"
#include "ops/segment.h"

typedef struct cg_segment_mean_grad_attr {
    int64_t rows; /* R */
} cg_segment_mean_grad_attr;

static const cg_attr_field grad_fields[] = {CG_ATTR(cg_segment_mean_grad_attr, rows, INT), {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    const cg_value *x = n->in[0], *offset = n->in[1];
    CG_TRY(cg_check_float(n, 0, "x"));
    CG_TRY(cg_check_rank(x, "x", 2));
    CG_TRY(cg_check_offset(offset, "offset"));
    *out = (cg_type){CG_F32, CG_SHAPE(offset->shape.dim[0] - 1, x->shape.dim[1])};
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    cg_segment_mean_grad_attr attr = {n->in[0]->shape.dim[0]};
    dx[0] = cg_node_add1(g, &cg_op_segment_mean_grad, &attr, 2, (cg_value *[]){dy[0], n->in[1]});
}

/* Unit: (segment, block of columns). */
enum { COLUMN_BLOCK = 256 };

static int64_t column_blocks(int64_t width) {
    return (width + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
}

static void means(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    const int32_t *offset = t->in[1];
    int64_t width = t->node->out[0]->shape.dim[1], blocks = column_blocks(width);
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t s = unit / blocks, c = unit % blocks * COLUMN_BLOCK;
        int64_t n = offset[s + 1] - offset[s], left = width - c;
        int64_t from = offset[s] * width + c, to = s * width + c;
        float sum[COLUMN_BLOCK], factor = n ? 1 / (float)n : 0;
        left = left < COLUMN_BLOCK ? left : COLUMN_BLOCK;
        if (cg_is_bf16(t->node->in[0]))
            cg_column_sum_bf16((const uint16_t *)t->in[0] + from, n, left, width, sum);
        else
            cg_column_sum((const float *)t->in[0] + from, n, left, width, sum);
        for (int64_t i = 0; i < left; i++)
            cg_store(t->out[0], to + i, sum[i] * factor, cg_is_bf16(t->node->out[0]));
    }
}

static cg_status run(const cg_task *t) {
    const cg_shape *x = &t->node->in[0]->shape, *y = &t->node->out[0]->shape;
    CG_TRY(cg_check_rising(t->in[1], y->dim[0], x->dim[0], "offset"));
    cg_parallel(t->threads, y->dim[0] * column_blocks(y->dim[1]), 1, x->dim[0] * x->dim[1], means,
                t);
    return CG_OK;
}

static cg_status grad_infer(const cg_node *n, cg_type *out) {
    const cg_value *dy = n->in[0], *offset = n->in[1];
    CG_TRY(cg_check_float(n, 0, "dy"));
    CG_TRY(cg_check_rank(dy, "dy", 2));
    CG_TRY(cg_check_offset(offset, "offset"));
    if (dy->shape.dim[0] != offset->shape.dim[0] - 1)
        return cg_error(CG_ESHAPE, "dy has %lld rows, wanted one for each of %lld segments",
                        (long long)dy->shape.dim[0], (long long)offset->shape.dim[0] - 1);
    *out = (cg_type){
        CG_F32, CG_SHAPE(((const cg_segment_mean_grad_attr *)n->attr)->rows, dy->shape.dim[1])};
    return CG_OK;
}

CG_INLINE void spread_rows(const cg_task *t, int64_t begin, int64_t end, int dy_bf16, int dx_bf16) {
    const int32_t *offset = t->in[1];
    int64_t width = t->node->out[0]->shape.dim[1];
    for (int64_t s = begin; s < end; s++) {
        float factor = 1 / (float)(offset[s + 1] - offset[s]);
        for (int64_t r = offset[s]; r < offset[s + 1]; r++) {
#pragma omp simd
            for (int64_t c = 0; c < width; c++)
                cg_store(t->out[0], r * width + c,
                         cg_load(t->in[0], s * width + c, dy_bf16) * factor, dx_bf16);
        }
    }
}

CG_KERNEL static void spread(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    CG_TYPED(spread_rows, cg_is_bf16(t->node->in[0]), cg_is_bf16(t->node->out[0]), t, begin, end)
}

static cg_status grad_run(const cg_task *t) {
    const int32_t *offset = t->in[1];
    int64_t segments = t->node->in[0]->shape.dim[0];
    const cg_shape *x = &t->node->out[0]->shape;
    CG_TRY(cg_check_rising(offset, segments, x->dim[0], "offset"));
    size_t row = (size_t)x->dim[1] * cg_dtype_size(t->node->out[0]->dtype);
    char *dx = t->out[0];
    cg_zero(t->threads, dx, (size_t)offset[0] * row);
    cg_parallel(t->threads, segments, 1, x->dim[0] * x->dim[1], spread, t);
    cg_zero(t->threads, dx + (size_t)offset[segments] * row,
            (size_t)(x->dim[0] - offset[segments]) * row);
    return CG_OK;
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    cg_onnx_size count, length;
    if (!cg_onnx_segments(s, n->in[1], &count, &length)) return CG_EUNSUPPORTED;
    cg_onnx_size size[] = {count, length, cg_onnx_size_of(s, n->in[0], 1)};
    cg_onnx_ref *x = cg_onnx_reshape(s, cg_onnx_value(s, n->in[0]), 3, size);
    return cg_onnx_give(s, n->out[0], cg_onnx_reduce(s, "ReduceMean", x, CG_SHAPE(1), 0));
}

const cg_op cg_op_segment_mean = {
    .name = "segment_mean",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
    .bf16_in = 1,
    .bf16_out = 1,
};

/* in dy, offset -> dx */
const cg_op cg_op_segment_mean_grad = {
    .name = "segment_mean_grad",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .attr_size = sizeof(cg_segment_mean_grad_attr),
    .attr = grad_fields,
    .infer = grad_infer,
    .run = grad_run,
    .bf16_in = 1,
    .bf16_out = 1,
};

cg_value *cg_segment_mean(cg_graph *g, cg_value *x, cg_value *offset) {
    return cg_node_add1(g, &cg_op_segment_mean, NULL, 2, (cg_value *[]){x, offset});
}
