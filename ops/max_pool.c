/* max_pool: the largest of each window of pixels.
 *   y[n,i,j,c] = max_k,l x[n, i·stride - padding + k, j·stride - padding + l, c],
 *                k = 0 … kernel_height-1, l = 0 … kernel_width-1
 *   where pixels outside the picture never win; global_max_pool has one window, the picture
 * shapes  x [N, H, W, C] -> y [N, H', W', C],
 *         H' = floor((H + 2·padding - kernel_height) / stride) + 1
 * vjp     dx = max_pool_grad(dy, x, y)
 * errors  CG_ESHAPE: rank, a kernel larger than the padded picture, a picture without pixels.
 *         CG_EDTYPE: not f32. CG_EINVAL: kernel or stride < 1; padding < 0 or ≥ kernel
 * onnx    MaxPool, of [N, C, H, W]
 *
 * max_pool_grad: its gradient, dx [N, H, W, C] from dy, x, y. A window's dy goes to its first
 * maximum, row by row. That is the first pixel of x equal to y: both are kept for the layers on
 * either side anyway, an index of each winner would be a third tensor to write and keep.
 *
 * A window that sees a NaN is NaN, and its gradient goes to the first NaN. */
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/kernel.h"
#include "ops/ops.h"

#include <math.h>

typedef struct pool_attr {
    int64_t kernel_height, kernel_width, stride, padding;
} pool_attr;

static const cg_attr_field fields[] = {CG_ATTR(pool_attr, kernel_height, INT),
                                       CG_ATTR(pool_attr, kernel_width, INT),
                                       CG_ATTR(pool_attr, stride, INT),
                                       CG_ATTR(pool_attr, padding, INT),
                                       {0}};

/* --- shapes ----------------------------------------------------------------------------------- */

/* Output pixels along one axis. */
static cg_status output_size(const char *axis, int64_t x, int64_t kernel, const pool_attr *a,
                             int64_t *out) {
    if (x < 1) return cg_error(CG_ESHAPE, "x has %s 0, wanted 1 or more", axis);
    if (kernel < 1)
        return cg_error(CG_EINVAL, "the kernel's %s is %lld, wanted 1 or more", axis,
                        (long long)kernel);
    if (a->padding < 0 || a->padding >= kernel)
        return cg_error(CG_EINVAL,
                        "padding is %lld, wanted 0 or more and less than the kernel's %s %lld",
                        (long long)a->padding, axis, (long long)kernel);
    if (kernel - a->padding > x + a->padding)
        return cg_error(CG_ESHAPE,
                        "x has %s %lld, too small for a kernel of %lld with padding %lld", axis,
                        (long long)x, (long long)kernel, (long long)a->padding);
    *out = (x + a->padding - (kernel - a->padding)) / a->stride + 1;
    return CG_OK;
}

static cg_status output_shape(const cg_shape *x, const pool_attr *a, cg_shape *y) {
    if (a->stride < 1)
        return cg_error(CG_EINVAL, "stride is %lld, wanted 1 or more", (long long)a->stride);
    *y = *x;
    CG_TRY(output_size("height", x->dim[1], a->kernel_height, a, &y->dim[1]));
    return output_size("width", x->dim[2], a->kernel_width, a, &y->dim[2]);
}

static cg_status infer(const cg_node *n, cg_type *out) {
    CG_TRY(cg_check_dtype(n->in[0], "x", CG_F32));
    CG_TRY(cg_check_rank(n->in[0], "x", 4));
    out[0].dtype = CG_F32;
    return output_shape(&n->in[0]->shape, n->attr, &out[0].shape);
}

static cg_status infer_grad(const cg_node *n, cg_type *out) {
    const cg_value *dy = n->in[0], *x = n->in[1], *y = n->in[2];
    CG_TRY(cg_check_dtype(dy, "dy", CG_F32));
    CG_TRY(cg_check_dtype(x, "x", CG_F32));
    CG_TRY(cg_check_dtype(y, "y", CG_F32));
    CG_TRY(cg_check_rank(x, "x", 4));
    cg_shape wanted;
    CG_TRY(output_shape(&x->shape, n->attr, &wanted));
    CG_TRY(cg_check_same(dy, "dy", y, "y"));
    *out = (cg_type){CG_F32, x->shape};
    if (cg_shape_equal(&y->shape, &wanted)) return CG_OK;
    char found[CG_SHAPE_TEXT], text[CG_SHAPE_TEXT];
    return cg_error(CG_ESHAPE, "y is %s, wanted %s", cg_shape_print(&y->shape, found),
                    cg_shape_print(&wanted, text));
}

/* --- kernels ---------------------------------------------------------------------------------- */

typedef struct pool_job {
    const pool_attr *a;
    int64_t h, w, oh, ow, c;
    const float *x;
    float *y;        /* forward */
    const float *dy; /* gradient */
    float *dx;
} pool_job;

/* The pixels [low, high) along one axis that window i sees: at least one. */
static inline cg_range window(int64_t i, int64_t x, int64_t kernel, const pool_attr *a) {
    int64_t low = i * a->stride - a->padding, high = low + kernel;
    return (cg_range){low > 0 ? low : 0, high < x ? high : x};
}

/* Rows [begin, end) of the N·H' rows of y. */
CG_KERNEL
static void max_rows(const pool_job *j, int64_t begin, int64_t end) {
    const int64_t c = j->c;
    for (int64_t r = begin; r < end; r++) {
        const float *picture = j->x + r / j->oh * j->h * j->w * c;
        cg_range row = window(r % j->oh, j->h, j->a->kernel_height, j->a);
        for (int64_t ox = 0; ox < j->ow; ox++) {
            cg_range column = window(ox, j->w, j->a->kernel_width, j->a);
            float *restrict y = j->y + (r * j->ow + ox) * c;
            for (int64_t i = 0; i < c; i++) y[i] = -INFINITY;
            for (int64_t iy = row.begin; iy < row.end; iy++)
                for (int64_t ix = column.begin; ix < column.end; ix++) {
                    const float *restrict x = picture + (iy * j->w + ix) * c;
                    for (int64_t i = 0; i < c; i++)
                        y[i] = (x[i] > y[i]) | (x[i] != x[i]) ? x[i] : y[i];
                }
        }
    }
}

/* Channels that one thread owns: windows overlap, so their pixels must not be shared out. */
enum { BLOCK = 64 };

/* dx of one window and the n ≤ BLOCK channels from `x`, `dx` on. */
static inline __attribute__((always_inline)) void
grad_window(const pool_job *j, cg_range row, cg_range column, int64_t n, const float *x,
            const float *restrict y, const float *restrict dy, float *dx) {
    float left[BLOCK]; /* dy until its winner is found, then 0 */
    for (int64_t i = 0; i < n; i++) left[i] = dy[i];
    for (int64_t iy = row.begin; iy < row.end; iy++)
        for (int64_t ix = column.begin; ix < column.end; ix++) {
            const float *restrict a = x + (iy * j->w + ix) * j->c;
            float *restrict d = dx + (iy * j->w + ix) * j->c;
            for (int64_t i = 0; i < n; i++) {
                int wins = (a[i] == y[i]) | (a[i] != a[i]);
                d[i] += wins ? left[i] : 0;
                left[i] = wins ? 0 : left[i];
            }
        }
}

/* Blocks [begin, end) of channels, of those of each of the N pictures. */
CG_KERNEL
static void grad_blocks(const pool_job *j, int64_t begin, int64_t end) {
    const int64_t c = j->c, blocks = (c + BLOCK - 1) / BLOCK;
    for (int64_t b = begin; b < end; b++) {
        int64_t picture = b / blocks, first = b % blocks * BLOCK;
        int64_t n = c - first < BLOCK ? c - first : BLOCK;
        const float *x = j->x + picture * j->h * j->w * c + first;
        float *dx = j->dx + picture * j->h * j->w * c + first;
        for (int64_t p = 0; p < j->h * j->w; p++)
            for (int64_t i = 0; i < n; i++) dx[p * c + i] = 0;
        for (int64_t oy = 0; oy < j->oh; oy++)
            for (int64_t ox = 0; ox < j->ow; ox++) {
                int64_t at = ((picture * j->oh + oy) * j->ow + ox) * c + first;
                grad_window(j, window(oy, j->h, j->a->kernel_height, j->a),
                            window(ox, j->w, j->a->kernel_width, j->a), n, x, j->y + at, j->dy + at,
                            dx);
            }
    }
}

static void max_part(const void *arg, int64_t begin, int64_t end) {
    max_rows(arg, begin, end);
}
static void grad_part(const void *arg, int64_t begin, int64_t end) {
    grad_blocks(arg, begin, end);
}

static pool_job job_of(const cg_node *n, const cg_shape *x, const cg_shape *y) {
    return (pool_job){.a = n->attr,
                      .h = x->dim[1],
                      .w = x->dim[2],
                      .oh = y->dim[1],
                      .ow = y->dim[2],
                      .c = x->dim[3]};
}

static cg_status run(const cg_task *t) {
    const cg_shape *x = &t->node->in[0]->shape, *y = &t->node->out[0]->shape;
    pool_job j = job_of(t->node, x, y);
    j.x = t->in[0];
    j.y = t->out[0];
    cg_parallel(t->threads, y->dim[0] * y->dim[1], 1, cg_shape_count(x), max_part, &j);
    return CG_OK;
}

static cg_status run_grad(const cg_task *t) {
    const cg_shape *x = &t->node->in[1]->shape, *y = &t->node->in[2]->shape;
    pool_job j = job_of(t->node, x, y);
    j.dy = t->in[0];
    j.x = t->in[1];
    j.y = (float *)t->in[2];
    j.dx = t->out[0];
    int64_t blocks = (x->dim[3] + BLOCK - 1) / BLOCK;
    cg_parallel(t->threads, x->dim[0] * blocks, 1, cg_shape_count(x), grad_part, &j);
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    dx[0] = cg_node_add1(g, &cg_op_max_pool_grad, n->attr, 3,
                         (cg_value *[]){dy[0], n->in[0], n->out[0]});
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    const pool_attr *attr = n->attr;
    int64_t pad = attr->padding;
    cg_onnx_node pool = {"MaxPool",
                         1,
                         {cg_onnx_pictures(s, cg_onnx_value(s, n->in[0]))},
                         {CG_ONNX_INTS("kernel_shape", attr->kernel_height, attr->kernel_width),
                          CG_ONNX_INTS("strides", attr->stride, attr->stride),
                          CG_ONNX_INTS("pads", pad, pad, pad, pad)}};
    return cg_onnx_give(s, n->out[0], cg_onnx_make_pictures(s, &pool, n->out[0]));
}

const cg_op cg_op_max_pool = {
    .name = "max_pool",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .attr_size = sizeof(pool_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
};

const cg_op cg_op_max_pool_grad = {
    .name = "max_pool_grad",
    .min_in = 3,
    .max_in = 3,
    .n_out = 1,
    .attr_size = sizeof(pool_attr),
    .attr = fields,
    .infer = infer_grad,
    .run = run_grad,
};

cg_value *cg_max_pool(cg_graph *g, cg_value *x, int64_t kernel, int64_t stride, int64_t padding) {
    pool_attr a = {kernel, kernel, stride, padding};
    return cg_node_add1(g, &cg_op_max_pool, &a, 1, &x);
}

cg_value *cg_global_max_pool(cg_graph *g, cg_value *x) {
    if (!x) return NULL;
    pool_attr a = {x->shape.dim[1], x->shape.dim[2], 1, 0};
    cg_value *y = cg_node_add1(g, &cg_op_max_pool, &a, 1, &x);
    return cg_reshape(g, y, CG_SHAPE(x->shape.dim[0], x->shape.dim[3]));
}
