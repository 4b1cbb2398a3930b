/* avg_pool: means over windows of pixels.
 *   y[n,i,j,c] = mean_k,l x[n, i·stride + k, j·stride + l, c],  k, l = 0 … kernel-1
 *   global_avg_pool is a mean over axes 1 and 2
 * shapes  x [N, H, W, C] -> y [N, H', W', C], H' = floor((H - kernel) / stride) + 1; rows and
 *         columns left over are not read
 * vjp     dx = avg_pool_grad(dy): each pixel the sum of dy / kernel² of the windows it is in
 * errors  CG_ESHAPE: rank, a picture smaller than the kernel. CG_EDTYPE: not f32.
 *         CG_EINVAL: kernel or stride < 1
 * onnx    AveragePool, of [N, C, H, W]
 *
 * avg_pool_grad: its gradient, dx [N, height, width, C] from dy. */
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/kernel.h"
#include "ops/ops.h"

typedef struct pool_attr {
    int64_t kernel, stride;
    int64_t height, width; /* of the gradient's result; 0 forward */
} pool_attr;

static const cg_attr_field forward_fields[] = {
    CG_ATTR(pool_attr, kernel, INT), CG_ATTR(pool_attr, stride, INT), {NULL, 0, 0}};

static const cg_attr_field grad_fields[] = {CG_ATTR(pool_attr, kernel, INT),
                                            CG_ATTR(pool_attr, stride, INT),
                                            CG_ATTR(pool_attr, height, INT),
                                            CG_ATTR(pool_attr, width, INT),
                                            {NULL, 0, 0}};

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
    CG_TRY(cg_check_dtype(n->in[0], "x", CG_F32));
    CG_TRY(cg_check_rank(n->in[0], "x", 4));
    out[0].dtype = CG_F32;
    return output_shape(&n->in[0]->shape, n->attr, &out[0].shape);
}

static cg_status infer_grad(const cg_node *n, cg_type *out) {
    const pool_attr *a = n->attr;
    CG_TRY(cg_check_dtype(n->in[0], "dy", CG_F32));
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
    const float *in;
    float *out;
} pool_job;

/* Rows [begin, end) of the N·H' rows of y. */
CG_KERNEL
static void pool_rows(const pool_job *j, int64_t begin, int64_t end) {
    const float scale = 1.0f / (float)(j->kernel * j->kernel);
    const int64_t c = j->c, width = j->w * c;
    for (int64_t r = begin; r < end; r++) {
        const float *top = j->in + (r / j->oh * j->h + r % j->oh * j->stride) * width;
        for (int64_t ox = 0; ox < j->ow; ox++) {
            float *restrict y = j->out + (r * j->ow + ox) * c;
            for (int64_t i = 0; i < c; i++) y[i] = 0;
            for (int64_t ky = 0; ky < j->kernel; ky++)
                for (int64_t kx = 0; kx < j->kernel; kx++) {
                    const float *restrict x = top + ky * width + (ox * j->stride + kx) * c;
                    for (int64_t i = 0; i < c; i++) y[i] += x[i];
                }
            for (int64_t i = 0; i < c; i++) y[i] *= scale;
        }
    }
}

/* Rows [begin, end) of the N·H rows of dx, each gathered from the windows that it is in. */
CG_KERNEL
static void grad_rows(const pool_job *j, int64_t begin, int64_t end) {
    const float scale = 1.0f / (float)(j->kernel * j->kernel);
    const int64_t c = j->c, width = j->w * c;
    for (int64_t r = begin; r < end; r++) {
        float *dx = j->out + r * width;
        int64_t y = r % j->h, low = (y - j->kernel + j->stride) / j->stride, high = y / j->stride;
        if (y < j->kernel) low = 0;
        if (high > j->oh - 1) high = j->oh - 1;
        for (int64_t i = 0; i < width; i++) dx[i] = 0;
        for (int64_t oy = low; oy <= high; oy++)
            for (int64_t ox = 0; ox < j->ow; ox++) {
                const float *restrict dy = j->in + ((r / j->h * j->oh + oy) * j->ow + ox) * c;
                for (int64_t kx = 0; kx < j->kernel; kx++) {
                    float *restrict d = dx + (ox * j->stride + kx) * c;
                    for (int64_t i = 0; i < c; i++) d[i] += scale * dy[i];
                }
            }
    }
}

static void pool_part(const void *arg, int64_t begin, int64_t end) {
    pool_rows(arg, begin, end);
}
static void grad_part(const void *arg, int64_t begin, int64_t end) {
    grad_rows(arg, begin, end);
}

static cg_status run_rows(const cg_task *t, const cg_shape *x, const cg_shape *y, cg_range_fn fn) {
    const pool_attr *a = t->node->attr;
    pool_job j = {a->kernel, a->stride, x->dim[1], x->dim[2], y->dim[1],
                  y->dim[2], x->dim[3], t->in[0],  t->out[0]};
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
