/* l2norm: scales each row to unit length.
 *   y = x · r,  r = 1 / sqrt(Σ x² + eps), and 0 where Σ x² is 0
 * A row of zeros has no direction: it stays 0, and so does its gradient, which would be dy /
 * sqrt(eps) by the formula, a million times what other rows get.
 * shapes  x [..., D] f32 -> y [..., D]; r [..., 1], kept for the gradient
 * attr    eps: float, 0 or more
 * vjp     l2norm_grad, below
 * errors  CG_ESHAPE: x is a scalar, or D is 0. CG_EDTYPE: x is not f32. CG_EINVAL: eps is negative
 * onnx    Mul, ReduceSum, Add (eps), Sqrt, Div
 * source  CLIP, arXiv:2103.00020, fig. 3
 *
 * l2norm_grad: its gradient.
 *   dx = r (dy - y Σ (dy y))
 * shapes  y, r, dy -> dx as y */
#include "ops/kernel.h"
#include "ops/ops.h"

#include <float.h>
#include <math.h>

typedef struct l2norm_attr {
    float eps;
} l2norm_attr;

static const cg_attr_field fields[] = {CG_ATTR(l2norm_attr, eps, FLOAT), {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    char text[CG_SHAPE_TEXT];
    const cg_value *x = n->in[0];
    const l2norm_attr *attr = n->attr;
    if (x->dtype != CG_F32)
        return cg_error(CG_EDTYPE, "x is %s, wanted f32", cg_dtype_name(x->dtype));
    if (x->shape.rank < 1) return cg_error(CG_ESHAPE, "x is a scalar, wanted rank 1 or more");
    if (x->shape.dim[x->shape.rank - 1] == 0)
        return cg_error(CG_ESHAPE, "rows of x %s are empty", cg_shape_print(&x->shape, text));
    if (!(attr->eps >= 0))
        return cg_error(CG_EINVAL, "eps is %g, wanted 0 or more", (double)attr->eps);
    out[0] = out[1] = (cg_type){CG_F32, x->shape};
    out[1].shape.dim[x->shape.rank - 1] = 1;
    return CG_OK;
}

CG_KERNEL static void rows_forward(const float *in, int64_t width, float eps, int64_t begin,
                                   int64_t end, float *out, float *length) {
    for (int64_t i = begin; i < end; i++) {
        const float *x = in + i * width;
        float *y = out + i * width;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < width; j++) sum += x[j] * x[j];
        float r = sum == 0.0f ? 0.0f : 1.0f / sqrtf(sum + eps);
#pragma omp simd
        for (int64_t j = 0; j < width; j++) y[j] = x[j] * r;
        length[i] = r;
    }
}

static cg_status run(const cg_task *t) {
    const cg_shape *x = &t->node->in[0]->shape;
    const l2norm_attr *attr = t->node->attr;
    int64_t width = x->dim[x->rank - 1], count = cg_shape_count(x), rows = count / width;
    int threads = count < CG_PARALLEL_MIN ? 1 : t->threads;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < threads; i++) {
        cg_range r = cg_range_of(rows, i, threads);
        rows_forward(t->in[0], width, attr->eps, r.begin, r.end, t->out[0], t->out[1]);
    }
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    if (dy[1]) {
        cg_graph_fail(g, cg_error(CG_EUNSUPPORTED, "%s: l2norm: the gradient of r is not supported",
                                  n->name));
        return;
    }
    dx[0] =
        cg_node_add1(g, &cg_op_l2norm_grad, NULL, 3, (cg_value *[]){n->out[0], n->out[1], dy[0]});
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    const l2norm_attr *attr = n->attr;
    cg_onnx_ref *x = cg_onnx_rows(s, cg_onnx_value(s, n->in[0]));
    cg_onnx_ref *r = cg_onnx_reduce(s, "ReduceSum", cg_onnx_binary(s, "Mul", x, x),
                                    CG_SHAPE(n->in[0]->shape.rank - 1), 1);
    if (attr->eps > 0)
        r = cg_onnx_binary(s, "Add", r, cg_onnx_scalar(s, attr->eps));
    else
        r = cg_onnx_binary(s, "Max", r, cg_onnx_scalar(s, FLT_MIN));
    r = cg_onnx_unary(s, "Sqrt", r);
    return cg_onnx_give(s, n->out[0], cg_onnx_binary(s, "Div", x, r));
}

const cg_op cg_op_l2norm = {
    .name = "l2norm",
    .min_in = 1,
    .max_in = 1,
    .n_out = 2,
    .attr_size = sizeof(l2norm_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
    .inplace = 1u << 0,
};

cg_value *cg_l2norm(cg_graph *g, cg_value *x, float eps) {
    l2norm_attr attr = {eps};
    return cg_node_add1(g, &cg_op_l2norm, &attr, 1, &x);
}

/* --- l2norm_grad ------------------------------------------------------------------------------ */

static cg_status grad_infer(const cg_node *n, cg_type *out) {
    const cg_value *y = n->in[0];
    for (int i = 0; i < 3; i++)
        if (n->in[i]->dtype != CG_F32) return cg_error(CG_EDTYPE, "operand %d is not f32", i);
    if (y->shape.rank < 1 || y->shape.dim[y->shape.rank - 1] == 0)
        return cg_error(CG_ESHAPE, "y has no rows");
    cg_shape kept = y->shape;
    kept.dim[y->shape.rank - 1] = 1;
    if (!cg_shape_equal(&n->in[1]->shape, &kept))
        return cg_error(CG_ESHAPE, "r is not one number for each row of y");
    if (!cg_shape_equal(&n->in[2]->shape, &y->shape))
        return cg_error(CG_ESHAPE, "dy is not of y's shape");
    out[0] = (cg_type){CG_F32, y->shape};
    return CG_OK;
}

CG_KERNEL static void rows_backward(const void *const *in, float *out, int64_t width, int64_t begin,
                                    int64_t end) {
    const float *length = in[1];
    for (int64_t i = begin; i < end; i++) {
        const float *y = (const float *)in[0] + i * width, *dy = (const float *)in[2] + i * width;
        float *dx = out + i * width;
        float sum = 0, r = length[i];
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < width; j++) sum += dy[j] * y[j];
#pragma omp simd
        for (int64_t j = 0; j < width; j++) dx[j] = r * (dy[j] - y[j] * sum);
    }
}

static cg_status grad_run(const cg_task *t) {
    const cg_shape *y = &t->node->in[0]->shape;
    int64_t width = y->dim[y->rank - 1], count = cg_shape_count(y), rows = count / width;
    int threads = count < CG_PARALLEL_MIN ? 1 : t->threads;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < threads; i++) {
        cg_range r = cg_range_of(rows, i, threads);
        rows_backward(t->in, t->out[0], width, r.begin, r.end);
    }
    return CG_OK;
}

const cg_op cg_op_l2norm_grad = {
    .name = "l2norm_grad",
    .min_in = 3,
    .max_in = 3,
    .n_out = 1,
    .infer = grad_infer,
    .run = grad_run,
    .inplace = 1u << 0 | 1u << 2,
};
