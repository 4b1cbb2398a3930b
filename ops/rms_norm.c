/* rms_norm: scales each row by its root mean square.
 *   y = x · r · gain,  r = 1 / sqrt(Σ x² / D + eps)
 * shapes  x [..., D] f32 or bf16, gain [D] -> y [..., D]; r [..., 1], kept for the gradient
 * attr    eps: float, 0 or more; a row of zeros wants it positive
 * vjp     rms_norm_grad, below
 * errors  CG_ESHAPE: x is a scalar, D is 0, or gain is not [D]. CG_EDTYPE: not f32.
 *         CG_EINVAL: eps is negative
 * onnx    Mul, ReduceMean, Add (eps), Sqrt, Div, Mul
 * source  Zhang and Sennrich, arXiv:1910.07467
 *
 * rms_norm_grad: its gradient, x and dy read once; and, where it is asked for, y again, which then
 * need not be kept.
 *   h = x · r,  g = dy · gain,  dx = r (g - h Σ (g h) / D),  dgain = Σ over rows of dy h
 * shapes  x, gain, r, dy (x, dy f32 or bf16) -> dx as x, dgain [D], y as x
 *         or absent
 * The sum over rows is taken in chunks of rows that do not depend on the number of threads. */
#include "ops/bf16.h"
#include "ops/check.h"
#include "ops/kernel.h"
#include "ops/ops.h"
#include "ops/reduce.h"

#include <math.h>
#include <omp.h>
#include <string.h>

typedef struct rms_norm_attr {
    float eps;
} rms_norm_attr;

static const cg_attr_field fields[] = {CG_ATTR(rms_norm_attr, eps, FLOAT), {0}};

static cg_status check(const cg_node *n) {
    char text[CG_SHAPE_TEXT];
    const cg_value *x = n->in[0], *gain = n->in[1];
    CG_TRY(cg_check_float(n, 0, "x"));
    CG_TRY(cg_check_dtype(gain, "gain", CG_F32));
    if (x->shape.rank < 1) return cg_error(CG_ESHAPE, "x is a scalar, wanted rank 1 or more");
    cg_shape width = CG_SHAPE(x->shape.dim[x->shape.rank - 1]);
    if (width.dim[0] == 0)
        return cg_error(CG_ESHAPE, "rows of x %s are empty", cg_shape_print(&x->shape, text));
    if (!cg_shape_equal(&gain->shape, &width))
        return cg_error(CG_ESHAPE, "gain is %s, wanted [%lld], the last axis of x",
                        cg_shape_print(&gain->shape, text), (long long)width.dim[0]);
    return CG_OK;
}

static cg_status infer(const cg_node *n, cg_type *out) {
    const rms_norm_attr *attr = n->attr;
    CG_TRY(check(n));
    if (!(attr->eps >= 0))
        return cg_error(CG_EINVAL, "eps is %g, wanted 0 or more", (double)attr->eps);
    out[0] = out[1] = (cg_type){CG_F32, n->in[0]->shape};
    out[1].shape.dim[out[1].shape.rank - 1] = 1;
    return CG_OK;
}

/* row: room for one, where x or y is bf16 */
CG_KERNEL static void rows_forward(const cg_task *t, int64_t width, float *row, int64_t begin,
                                   int64_t end) {
    const float *gain = t->in[1];
    float *kept = t->out[1], inverse = 1.0f / (float)width;
    float eps = ((const rms_norm_attr *)t->node->attr)->eps;
    int x_bf16 = cg_is_bf16(t->node->in[0]), y_bf16 = cg_is_bf16(t->node->out[0]);
    for (int64_t i = begin; i < end; i++) {
        const float *x = cg_row_widen(t->in[0], i * width, width, x_bf16, row);
        float *y = cg_row_begin(t->out[0], i * width, y_bf16, row), square = 0;
#pragma omp simd reduction(+ : square)
        for (int64_t j = 0; j < width; j++) square += x[j] * x[j];
        float r = 1.0f / sqrtf(square * inverse + eps);
#pragma omp simd
        for (int64_t j = 0; j < width; j++) y[j] = x[j] * r * gain[j];
        cg_row_narrow(t->out[0], i * width, width, y_bf16, y);
        kept[i] = r;
    }
}

static cg_status prepare(cg_prep *p) {
    const cg_value *x = p->node->in[0];
    size_t width = (size_t)x->shape.dim[x->shape.rank - 1];
    if (cg_any_bf16(p->node)) p->scratch = (size_t)p->ctx->threads * width * sizeof(float);
    return CG_OK;
}

static cg_status run(const cg_task *t) {
    const cg_shape *x = &t->node->in[0]->shape;
    int64_t width = x->dim[x->rank - 1], count = cg_shape_count(x), rows = count / width;
    int threads = count < CG_PARALLEL_MIN ? 1 : t->threads;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < threads; i++) {
        cg_range r = cg_range_of(rows, i, threads);
        float *row = t->scratch ? (float *)t->scratch + i * width : NULL;
        rows_forward(t, width, row, r.begin, r.end);
    }
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    if (dy[1]) {
        cg_graph_fail(g, cg_error(CG_EUNSUPPORTED,
                                  "%s: rms_norm: the gradient of r is not supported", n->name));
        return;
    }
    cg_value *in[] = {n->in[0], n->in[1], n->out[1], dy[0]};
    cg_node *grad = cg_node_add(g, &cg_op_rms_norm_grad, NULL, 4, in);
    if (!grad) return;
    dx[0] = grad->out[0];
    dx[1] = grad->out[1];
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    const rms_norm_attr *attr = n->attr;
    cg_onnx_ref *x = cg_onnx_rows(s, cg_onnx_value(s, n->in[0]));
    cg_onnx_ref *r = cg_onnx_reduce(s, "ReduceMean", cg_onnx_binary(s, "Mul", x, x),
                                    CG_SHAPE(n->in[0]->shape.rank - 1), 1);
    r = cg_onnx_binary(s, "Add", r, cg_onnx_scalar(s, attr->eps));
    x = cg_onnx_binary(s, "Div", x, cg_onnx_unary(s, "Sqrt", r));
    return cg_onnx_give(s, n->out[0], cg_onnx_binary(s, "Mul", x, cg_onnx_value(s, n->in[1])));
}

const cg_op cg_op_rms_norm = {
    .name = "rms_norm",
    .min_in = 2,
    .max_in = 2,
    .n_out = 2,
    .attr_size = sizeof(rms_norm_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .prepare = prepare,
    .run = run,
    .onnx = onnx,
    .inplace = 1u << 0,
    .bf16_in = 1u << 0,
    .bf16_out = 1u << 0,
};

cg_value *cg_rms_norm(cg_graph *g, cg_value *x, cg_value *gain, float eps) {
    rms_norm_attr attr = {eps};
    return cg_node_add1(g, &cg_op_rms_norm, &attr, 2, (cg_value *[]){x, gain});
}

/* --- rms_norm_grad ---------------------------------------------------------------------------- */

enum { CHUNKS = 64, CHUNK_ROWS = 16 }; /* at most so many chunks, of at least so many rows */

static int64_t chunk_rows(int64_t rows) {
    int64_t n = (rows + CHUNKS - 1) / CHUNKS;
    return n < CHUNK_ROWS ? CHUNK_ROWS : n;
}

static cg_status grad_infer(const cg_node *n, cg_type *out) {
    const cg_shape *x = &n->in[0]->shape;
    CG_TRY(check(n));
    cg_shape kept = *x;
    kept.dim[x->rank - 1] = 1;
    if (n->in[2]->dtype != CG_F32 || !cg_shape_equal(&n->in[2]->shape, &kept))
        return cg_error(CG_ESHAPE, "r is not one f32 for each row of x");
    CG_TRY(cg_check_float(n, 3, "dy"));
    CG_TRY(cg_check_same(n->in[0], "x", n->in[3], "dy"));
    out[0] = out[2] = (cg_type){CG_F32, *x};
    out[1] = (cg_type){CG_F32, n->in[1]->shape};
    return CG_OK;
}

/* dgain: the sum over rows begin … end-1. row: room for two, where a value is bf16. dx may be x or
 * dy. again: y is asked for. */
CG_INLINE void backward(const cg_task *t, int64_t width, float *row, float *dgain, int64_t begin,
                        int64_t end, int again) {
    int y_bf16 = again && cg_is_bf16(t->node->out[2]);
    const float *gain = t->in[1], *kept = t->in[2];
    float inverse = 1.0f / (float)width;
    int x_bf16 = cg_is_bf16(t->node->in[0]), dy_bf16 = cg_is_bf16(t->node->in[3]);
    int dx_bf16 = cg_is_bf16(t->node->out[0]);
    memset(dgain, 0, (size_t)width * sizeof *dgain);
    for (int64_t i = begin; i < end; i++) {
        const float *x = cg_row_widen(t->in[0], i * width, width, x_bf16, row);
        const float *dy = cg_row_widen(t->in[3], i * width, width, dy_bf16, row + width);
        float *dx = cg_row_begin(t->out[0], i * width, dx_bf16, row + width);
        float *y = again ? cg_row_begin(t->out[2], i * width, y_bf16, row) : NULL;
        float r = kept[i], sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < width; j++) sum += dy[j] * gain[j] * x[j];
        float a = -sum * r * inverse;
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            float h = x[j] * r, d = dy[j];
            dgain[j] += d * h;
            if (again) y[j] = h * gain[j];
            dx[j] = r * (d * gain[j] + h * a);
        }
        cg_row_narrow(t->out[0], i * width, width, dx_bf16, dx);
        if (again) cg_row_narrow(t->out[2], i * width, width, y_bf16, y);
    }
}

CG_KERNEL static void rows_backward(const cg_task *t, int64_t width, float *row, float *dgain,
                                    int64_t begin, int64_t end) {
    if (t->node->n_out > 2)
        backward(t, width, row, dgain, begin, end, 1);
    else
        backward(t, width, row, dgain, begin, end, 0);
}

static cg_status grad_prepare(cg_prep *p) {
    const cg_shape *x = &p->node->in[0]->shape;
    int64_t width = x->dim[x->rank - 1], rows = cg_shape_count(x) / width, n = chunk_rows(rows);
    size_t sums = (size_t)((rows + n - 1) / n * width);
    size_t buffers = cg_any_bf16(p->node) ? (size_t)p->ctx->threads * 2 * (size_t)width : 0;
    p->scratch = (sums + buffers) * sizeof(float);
    return CG_OK;
}

static cg_status grad_run(const cg_task *t) {
    const cg_shape *x = &t->node->in[0]->shape;
    int64_t width = x->dim[x->rank - 1], count = cg_shape_count(x), rows = count / width;
    int64_t n = chunk_rows(rows), chunks = (rows + n - 1) / n;
    float *partial = t->scratch, *buffers = partial + chunks * width;
    int threads = count < CG_PARALLEL_MIN ? 1 : t->threads;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t k = 0; k < chunks; k++) {
        int64_t end = (k + 1) * n < rows ? (k + 1) * n : rows;
        rows_backward(t, width, buffers + omp_get_thread_num() * 2 * width, partial + k * width,
                      k * n, end);
    }
    cg_column_sum(partial, chunks, width, width, t->out[1]);
    return CG_OK;
}

const cg_op cg_op_rms_norm_grad = {
    .name = "rms_norm_grad",
    .min_in = 4,
    .max_in = 4,
    .n_out = 3,
    .min_out = 2,
    .infer = grad_infer,
    .prepare = grad_prepare,
    .run = grad_run,
    .inplace = 1u << 0 | 1u << 3,
    .bf16_in = 1u << 0 | 1u << 3,
    .bf16_out = 1u << 0 | 1u << 2,
};
