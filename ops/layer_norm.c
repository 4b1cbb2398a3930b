/* layer_norm: normalises each row.
 *   mean = Σ x / D,  rstd = 1 / sqrt(Σ (x - mean)² / D + eps),  y = (x - mean) · rstd · gain + bias
 * shapes  x [..., D] f32 or bf16, gain, bias [D] -> y [..., D]; mean, rstd [..., 1], kept for the
 *         gradient
 * attr    eps: float, 0 or more
 * vjp     layer_norm_grad, below
 * errors  CG_ESHAPE: x is a scalar, D is 0, or gain or bias is not [D]. CG_EDTYPE: not f32
 *         or bf16. CG_EINVAL: eps is negative
 * onnx    LayerNormalization
 * source  Ba, Kiros, Hinton, arXiv:1607.06450
 *
 * layer_norm_grad: its gradient, x and dy read once; and y again where that is asked for, which
 * then need not be kept.
 *   h = (x - mean) · rstd,  g = dy · gain,  dx = rstd (g - Σ g / D - h Σ (g h) / D)
 *   dgain = Σ over rows of dy h,  dbias = Σ over rows of dy
 * shapes  x, gain, mean, rstd, dy, [bias] (with y) -> dx as x, dgain [D], dbias [D], [y] as x;
 *         x, dy f32 or bf16
 * numeric Sums over rows are taken in chunks that do not depend on the number of threads. */
#include "ops/bf16.h"
#include "ops/check.h"
#include "ops/kernel.h"
#include "ops/ops.h"

#include <math.h>
#include <omp.h>
#include <string.h>

typedef struct layer_norm_attr {
    float eps;
} layer_norm_attr;

static const cg_attr_field fields[] = {CG_ATTR(layer_norm_attr, eps, FLOAT), {0}};

static cg_status check(const cg_node *n, int first, int last, const char *const *name) {
    char text[CG_SHAPE_TEXT];
    const cg_value *x = n->in[0];
    CG_TRY(cg_check_float(n, 0, "x"));
    if (x->shape.rank < 1) return cg_error(CG_ESHAPE, "x is a scalar, wanted rank 1 or more");
    cg_shape width = CG_SHAPE(x->shape.dim[x->shape.rank - 1]);
    if (width.dim[0] == 0)
        return cg_error(CG_ESHAPE, "rows of x %s are empty", cg_shape_print(&x->shape, text));
    for (int i = first; i <= last; i++) {
        CG_TRY(cg_check_dtype(n->in[i], name[i], CG_F32));
        if (!cg_shape_equal(&n->in[i]->shape, &width))
            return cg_error(CG_ESHAPE, "%s is %s, wanted [%lld], the last axis of x", name[i],
                            cg_shape_print(&n->in[i]->shape, text), (long long)width.dim[0]);
    }
    return CG_OK;
}

static cg_status infer(const cg_node *n, cg_type *out) {
    static const char *const name[] = {"x", "gain", "bias"};
    const layer_norm_attr *attr = n->attr;
    CG_TRY(check(n, 1, 2, name));
    if (!(attr->eps >= 0))
        return cg_error(CG_EINVAL, "eps is %g, wanted 0 or more", (double)attr->eps);
    out[0] = out[1] = out[2] = (cg_type){CG_F32, n->in[0]->shape};
    int last = n->in[0]->shape.rank - 1;
    out[1].shape.dim[last] = out[2].shape.dim[last] = 1;
    return CG_OK;
}

/* row: room for one, where x or y is bf16 */
CG_KERNEL static void rows_forward(const cg_task *t, int64_t width, float *row, int64_t begin,
                                   int64_t end) {
    const float *gain = t->in[1], *bias = t->in[2];
    float *mean = t->out[1], *rstd = t->out[2];
    float inverse = 1.0f / (float)width, eps = ((const layer_norm_attr *)t->node->attr)->eps;
    int x_bf16 = cg_is_bf16(t->node->in[0]), y_bf16 = cg_is_bf16(t->node->out[0]);
    for (int64_t i = begin; i < end; i++) {
        const float *x = cg_row_widen(t->in[0], i * width, width, x_bf16, row);
        float *y = cg_row_begin(t->out[0], i * width, y_bf16, row);
        float sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < width; j++) sum += x[j];
        float m = sum * inverse;
#pragma omp simd reduction(+ : square)
        for (int64_t j = 0; j < width; j++) square += (x[j] - m) * (x[j] - m);
        float r = 1.0f / sqrtf(square * inverse + eps);
#pragma omp simd
        for (int64_t j = 0; j < width; j++) y[j] = (x[j] - m) * r * gain[j] + bias[j];
        cg_row_narrow(t->out[0], i * width, width, y_bf16, y);
        mean[i] = m;
        rstd[i] = r;
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
    if (dy[1] || dy[2]) {
        cg_graph_fail(g, cg_error(CG_EUNSUPPORTED,
                                  "%s: layer_norm: the gradient of mean and rstd "
                                  "is not supported",
                                  n->name));
        return;
    }
    cg_value *in[] = {n->in[0], n->in[1], n->out[1], n->out[2], dy[0]};
    cg_node *grad = cg_node_add(g, &cg_op_layer_norm_grad, NULL, 5, in);
    if (!grad) return;
    for (int i = 0; i < 3; i++) dx[i] = grad->out[i];
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    const layer_norm_attr *attr = n->attr;
    cg_onnx_ref *x = cg_onnx_rows(s, cg_onnx_value(s, n->in[0]));
    cg_onnx_node norm = {"LayerNormalization",
                         3,
                         {x, cg_onnx_value(s, n->in[1]), cg_onnx_value(s, n->in[2])},
                         {CG_ONNX_INT("axis", -1), CG_ONNX_FLOAT("epsilon", attr->eps)}};
    return cg_onnx_give(s, n->out[0], cg_onnx_like(s, &norm, x));
}

const cg_op cg_op_layer_norm = {
    .name = "layer_norm",
    .min_in = 3,
    .max_in = 3,
    .n_out = 3,
    .attr_size = sizeof(layer_norm_attr),
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

cg_value *cg_layer_norm(cg_graph *g, cg_value *x, cg_value *gain, cg_value *bias, float eps) {
    layer_norm_attr attr = {eps};
    return cg_node_add1(g, &cg_op_layer_norm, &attr, 3, (cg_value *[]){x, gain, bias});
}

/* --- layer_norm_grad -------------------------------------------------------------------------- */

enum { CHUNKS = 64, CHUNK_ROWS = 16 }; /* at most so many chunks, of at least so many rows */

static int64_t chunk_rows(int64_t rows) {
    int64_t n = (rows + CHUNKS - 1) / CHUNKS;
    return n < CHUNK_ROWS ? CHUNK_ROWS : n;
}

static cg_status grad_infer(const cg_node *n, cg_type *out) {
    static const char *const name[] = {"x", "gain"};
    CG_TRY(check(n, 1, 1, name));
    const cg_shape *x = &n->in[0]->shape;
    cg_shape kept = *x;
    kept.dim[x->rank - 1] = 1;
    if (!cg_shape_equal(&n->in[2]->shape, &kept) || !cg_shape_equal(&n->in[3]->shape, &kept))
        return cg_error(CG_ESHAPE, "mean or rstd is not one number for each row of x");
    CG_TRY(cg_check_float(n, 4, "dy"));
    CG_TRY(cg_check_same(n->in[0], "x", n->in[4], "dy"));
    if (n->n_in > 5) CG_TRY(check(n, 5, 5, (const char *const[6]){[5] = "bias"}));
    if ((n->n_in > 5) != (n->n_out > 3))
        return cg_error(CG_EINVAL,
                        "has %d operands and %d results, wanted bias where y is asked for", n->n_in,
                        n->n_out);
    out[0] = out[3] = (cg_type){CG_F32, *x};
    out[1] = out[2] = (cg_type){CG_F32, n->in[1]->shape};
    return CG_OK;
}

/* sum: dgain and dbias of rows begin … end-1. row: room for two, where a value is bf16. dx may be x
 * or dy. again: y is asked for. */
CG_INLINE void backward(const cg_task *t, int64_t width, float *row, float *sum, int64_t begin,
                        int64_t end, int again) {
    const float *bias = again ? t->in[5] : NULL;
    int y_bf16 = again && cg_is_bf16(t->node->out[3]);
    const float *gain = t->in[1], *mean = t->in[2], *rstd = t->in[3];
    float *dgain = sum, *dbias = sum + width;
    float inverse = 1.0f / (float)width;
    int x_bf16 = cg_is_bf16(t->node->in[0]), dy_bf16 = cg_is_bf16(t->node->in[4]);
    int dx_bf16 = cg_is_bf16(t->node->out[0]);
    memset(sum, 0, (size_t)width * 2 * sizeof *sum);
    for (int64_t i = begin; i < end; i++) {
        const float *x = cg_row_widen(t->in[0], i * width, width, x_bf16, row);
        const float *dy = cg_row_widen(t->in[4], i * width, width, dy_bf16, row + width);
        float *dx = cg_row_begin(t->out[0], i * width, dx_bf16, row + width);
        float *y = again ? cg_row_begin(t->out[3], i * width, y_bf16, row) : NULL;
        float m = mean[i], r = rstd[i], sum_g = 0, sum_gh = 0;
#pragma omp simd reduction(+ : sum_g, sum_gh)
        for (int64_t j = 0; j < width; j++) {
            float g = dy[j] * gain[j];
            sum_g += g;
            sum_gh += g * (x[j] - m);
        }
        float a = -sum_g * inverse, b = -sum_gh * r * inverse;
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            float h = (x[j] - m) * r, d = dy[j];
            dgain[j] += d * h;
            dbias[j] += d;
            if (again) y[j] = h * gain[j] + bias[j];
            dx[j] = r * (d * gain[j] + (h * b + a));
        }
        cg_row_narrow(t->out[0], i * width, width, dx_bf16, dx);
        if (again) cg_row_narrow(t->out[3], i * width, width, y_bf16, y);
    }
}

CG_KERNEL static void rows_backward(const cg_task *t, int64_t width, float *row, float *sum,
                                    int64_t begin, int64_t end) {
    if (t->node->n_out > 3)
        backward(t, width, row, sum, begin, end, 1);
    else
        backward(t, width, row, sum, begin, end, 0);
}

/* dgain and dbias are the sums of the chunks, in their order. */
CG_KERNEL static void merge(const float *partial, int64_t chunks, int64_t width, float *dgain,
                            float *dbias) {
    memset(dgain, 0, (size_t)width * sizeof *dgain);
    memset(dbias, 0, (size_t)width * sizeof *dbias);
    for (int64_t k = 0; k < chunks; k++) {
        const float *g = partial + k * 2 * width, *b = g + width;
#pragma omp simd
        for (int64_t j = 0; j < width; j++) {
            dgain[j] += g[j];
            dbias[j] += b[j];
        }
    }
}

static cg_status grad_prepare(cg_prep *p) {
    const cg_shape *x = &p->node->in[0]->shape;
    int64_t width = x->dim[x->rank - 1], rows = cg_shape_count(x) / width, n = chunk_rows(rows);
    size_t sums = (size_t)((rows + n - 1) / n * 2 * width);
    size_t buffers = cg_any_bf16(p->node) ? (size_t)p->ctx->threads * 2 * (size_t)width : 0;
    p->scratch = (sums + buffers) * sizeof(float);
    return CG_OK;
}

static cg_status grad_run(const cg_task *t) {
    const cg_shape *x = &t->node->in[0]->shape;
    int64_t width = x->dim[x->rank - 1], count = cg_shape_count(x), rows = count / width;
    int64_t n = chunk_rows(rows), chunks = (rows + n - 1) / n;
    float *partial = t->scratch, *buffers = partial + chunks * 2 * width;
    int threads = count < CG_PARALLEL_MIN ? 1 : t->threads;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t k = 0; k < chunks; k++) {
        int64_t end = (k + 1) * n < rows ? (k + 1) * n : rows;
        rows_backward(t, width, buffers + omp_get_thread_num() * 2 * width, partial + k * 2 * width,
                      k * n, end);
    }
    merge(partial, chunks, width, t->out[1], t->out[2]);
    return CG_OK;
}

const cg_op cg_op_layer_norm_grad = {
    .name = "layer_norm_grad",
    .min_in = 5,
    .max_in = 6,
    .n_out = 4,
    .min_out = 3,
    .infer = grad_infer,
    .prepare = grad_prepare,
    .run = grad_run,
    .inplace = 1u << 0 | 1u << 4,
    .bf16_in = 1u << 0 | 1u << 4,
    .bf16_out = 1u << 0 | 1u << 3,
};
