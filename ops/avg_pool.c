/* avg_pool: means over windows of pixels.
 *   y[n,i,j,c] = mean_k,l x[n, i·stride + k, j·stride + l, c],  k, l = 0 … kernel-1
 *   global_avg_pool is a mean over axes 1 and 2
 * shapes  x [N, H, W, C] f32 or bf16 -> y [N, H', W', C], H' = floor((H - kernel) / stride) + 1;
 *         rows and columns left over are not read
 * vjp     dx = avg_pool_grad(dy): each pixel the sum of dy / kernel² of the windows it is in
 * errors  CG_ESHAPE: rank, a picture smaller than the kernel. CG_EDTYPE: x is not f32 or bf16.
 *         CG_EINVAL: kernel or stride < 1
 * onnx    AveragePool, of [N, C, H, W]
 *
 * avg_pool_grad: its gradient, dx [N, height, width, C] from dy. */
#include "ops/bf16.h"
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/kernel.h"
#include "ops/ops.h"

typedef struct pool_attr {
    int64_t kernel, stride;
    int64_t height, width; /* of the gradient's result; 0 forward */
} pool_attr;

static const cg_attr_field forward_fields[] = {
    CG_ATTR(pool_attr, kernel, INT), CG_ATTR(pool_attr, stride, INT), {0}};

static const cg_attr_field grad_fields[] = {CG_ATTR(pool_attr, kernel, INT),
                                            CG_ATTR(pool_attr, stride, INT),
                                            CG_ATTR(pool_attr, height, INT),
                                            CG_ATTR(pool_attr, width, INT),
                                            {0}};

static cg_status output_shape(const cg_shape *x, const pool_attr *a, cg_shape *y) {
    if (a->kernel < 1 || a->stride < 1)
        return cg_error(CG_EINVAL, "kernel is %lld and stride is %lld, wanted 1 or more",
                        (long long)a->kernel, (long long)a->stride);
    if (x->dim[1] < a->kernel || x->dim[2] < a->kernel) {
        char text[CG_SHAPE_TEXT];
        return cg_error(CG_ESHAPE, "x is %s, its pictures are smaller than the kernel %lld",
                        cg_shape_print(x, text), (long long)a->kernel);
    }
    *y = CG_SHAPE(x->dim[0], (x->dim[1] - a->kernel) / a->stride + 1,
                  (x->dim[2] - a->kernel) / a->stride + 1, x->dim[3]);
    return CG_OK;
}

static cg_status infer(const cg_node *n, cg_type *out) {
    CG_TRY(cg_check_float(n, 0, "x"));
    CG_TRY(cg_check_rank(n->in[0], "x", 4));
    out[0].dtype = CG_F32;
    return output_shape(&n->in[0]->shape, n->attr, &out[0].shape);
}

static cg_status infer_grad(const cg_node *n, cg_type *out) {
    const pool_attr *a = n->attr;
    CG_TRY(cg_check_float(n, 0, "dy"));
    CG_TRY(cg_check_rank(n->in[0], "dy", 4));
    const cg_shape *dy = &n->in[0]->shape;
    cg_shape y;
    out[0].dtype = CG_F32;
    out[0].shape = CG_SHAPE(dy->dim[0], a->height, a->width, dy->dim[3]);
    CG_TRY(output_shape(&out[0].shape, a, &y));
    if (cg_shape_equal(&y, dy)) return CG_OK;
    char found[CG_SHAPE_TEXT], wanted[CG_SHAPE_TEXT];
    return cg_error(CG_ESHAPE, "dy is %s, wanted %s", cg_shape_print(dy, found),
                    cg_shape_print(&y, wanted));
}

typedef struct pool_job {
    int64_t kernel, stride, h, w, oh, ow, c;
    const void *in;
    void *out;
    int in_bf16, out_bf16;
} pool_job;

enum { LANES = 64 }; /* channels summed at a time */

/* to[0 … n-1] = factor · the sum of n neighbours from each of rows × columns places of `in`. */
CG_INLINE void mean_of(const void *in, int64_t first, int64_t rows, int64_t row_step,
                       int64_t columns, int64_t column_step, int64_t n, float factor, void *out,
                       int64_t to, int in_bf16, int out_bf16) {
    float sum[LANES];
    for (int64_t i = 0; i < n; i++) sum[i] = 0;
    for (int64_t y = 0; y < rows; y++)
        for (int64_t x = 0; x < columns; x++) {
            int64_t from = first + y * row_step + x * column_step;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) sum[i] += cg_load(in, from + i, in_bf16);
        }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) cg_store(out, to + i, factor * sum[i], out_bf16);
}

/* All channels of a pixel; full sets of lanes have a constant count. */
CG_INLINE void pixel(const pool_job *j, int64_t first, int64_t rows, int64_t row_step,
                     int64_t columns, int64_t to, int in_bf16, int out_bf16) {
    const float factor = 1.0f / (float)(j->kernel * j->kernel);
    int64_t i = 0;
    for (; i + LANES <= j->c; i += LANES)
        mean_of(j->in, first + i, rows, row_step, columns, j->c, LANES, factor, j->out, to + i,
                in_bf16, out_bf16);
    if (i < j->c)
        mean_of(j->in, first + i, rows, row_step, columns, j->c, j->c - i, factor, j->out, to + i,
                in_bf16, out_bf16);
}

/* Rows [begin, end) of the N·H' rows of y. */
CG_INLINE void pool_body(const pool_job *j, int64_t begin, int64_t end, int in_bf16, int out_bf16) {
    const int64_t width = j->w * j->c;
    for (int64_t r = begin; r < end; r++) {
        int64_t top = (r / j->oh * j->h + r % j->oh * j->stride) * width;
        for (int64_t x = 0; x < j->ow; x++)
            pixel(j, top + x * j->stride * j->c, j->kernel, width, j->kernel,
                  (r * j->ow + x) * j->c, in_bf16, out_bf16);
    }
}

/* The windows, of `windows`, that pixel i lies in. */
static cg_range windows_of(const pool_job *j, int64_t i, int64_t windows) {
    cg_range w = {i < j->kernel ? 0 : (i - j->kernel) / j->stride + 1, i / j->stride + 1};
    if (w.end > windows) w.end = windows;
    if (w.begin > w.end) w.begin = w.end;
    return w;
}

/* Rows [begin, end) of the N·H rows of dx, each pixel gathered from the windows that it is in. */
CG_INLINE void grad_body(const pool_job *j, int64_t begin, int64_t end, int in_bf16, int out_bf16) {
    const int64_t width = j->ow * j->c;
    for (int64_t r = begin; r < end; r++) {
        cg_range y = windows_of(j, r % j->h, j->oh);
        int64_t top = (r / j->h * j->oh + y.begin) * width;
        for (int64_t i = 0; i < j->w; i++) {
            cg_range x = windows_of(j, i, j->ow);
            pixel(j, top + x.begin * j->c, y.end - y.begin, width, x.end - x.begin,
                  (r * j->w + i) * j->c, in_bf16, out_bf16);
        }
    }
}

CG_KERNEL
static void pool_rows(const pool_job *j, int64_t begin,
                      int64_t end){CG_TYPED(pool_body, j->in_bf16, j->out_bf16, j, begin, end)}

CG_KERNEL static void grad_rows(const pool_job *j, int64_t begin, int64_t end) {
    CG_TYPED(grad_body, j->in_bf16, j->out_bf16, j, begin, end)
}

static void pool_part(const void *arg, int64_t begin, int64_t end) {
    pool_rows(arg, begin, end);
}
static void grad_part(const void *arg, int64_t begin, int64_t end) {
    grad_rows(arg, begin, end);
}

static cg_status run_rows(const cg_task *t, const cg_shape *x, const cg_shape *y, cg_range_fn fn) {
    const pool_attr *a = t->node->attr;
    pool_job j = {.kernel = a->kernel,
                  .stride = a->stride,
                  .h = x->dim[1],
                  .w = x->dim[2],
                  .oh = y->dim[1],
                  .ow = y->dim[2],
                  .c = x->dim[3],
                  .in = t->in[0],
                  .out = t->out[0],
                  .in_bf16 = cg_is_bf16(t->node->in[0]),
                  .out_bf16 = cg_is_bf16(t->node->out[0])};
    const cg_shape *out = &t->node->out[0]->shape;
    cg_parallel(t->threads, out->dim[0] * out->dim[1], 1, cg_shape_count(x), fn, &j);
    return CG_OK;
}

static cg_status run(const cg_task *t) {
    return run_rows(t, &t->node->in[0]->shape, &t->node->out[0]->shape, pool_part);
}

static cg_status run_grad(const cg_task *t) {
    return run_rows(t, &t->node->out[0]->shape, &t->node->in[0]->shape, grad_part);
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    pool_attr a = *(const pool_attr *)n->attr;
    a.height = n->in[0]->shape.dim[1];
    a.width = n->in[0]->shape.dim[2];
    dx[0] = cg_node_add1(g, &cg_op_avg_pool_grad, &a, 1, (cg_value *[]){dy[0]});
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    const pool_attr *attr = n->attr;
    cg_onnx_node pool = {"AveragePool",
                         1,
                         {cg_onnx_pictures(s, cg_onnx_value(s, n->in[0]))},
                         {CG_ONNX_INTS("kernel_shape", attr->kernel, attr->kernel),
                          CG_ONNX_INTS("strides", attr->stride, attr->stride)}};
    return cg_onnx_give(s, n->out[0], cg_onnx_make_pictures(s, &pool, n->out[0]));
}

const cg_op cg_op_avg_pool = {
    .name = "avg_pool",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .attr_size = sizeof(pool_attr),
    .attr = forward_fields,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
    .bf16_in = 1,
    .bf16_out = 1,
};

const cg_op cg_op_avg_pool_grad = {
    .name = "avg_pool_grad",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .attr_size = sizeof(pool_attr),
    .attr = grad_fields,
    .infer = infer_grad,
    .run = run_grad,
    .bf16_in = 1,
    .bf16_out = 1,
};

cg_value *cg_avg_pool(cg_graph *g, cg_value *x, int64_t kernel, int64_t stride) {
    pool_attr a = {.kernel = kernel, .stride = stride};
    return cg_node_add1(g, &cg_op_avg_pool, &a, 1, (cg_value *[]){x});
}

cg_value *cg_global_avg_pool(cg_graph *g, cg_value *x) {
    if (!x) return NULL;
    cg_status status = cg_check_rank(x, "x", 4);
    if (status == CG_OK && x->shape.dim[1] * x->shape.dim[2] == 0)
        status = cg_error(CG_ESHAPE, "x's pictures have no pixels, wanted 1 or more");
    if (status != CG_OK) return cg_graph_fail(g, cg_error_in(status, "global_avg_pool"));
    return cg_mean(g, x, CG_SHAPE(1, 2), 0);
}
