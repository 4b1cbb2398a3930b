/* conv2d: convolves pictures with a bank of filters.
 *   y[n,i,j,o] = sum_c,k,l x[n, i·stride - padding + k·dilation, j·stride - padding + l·dilation,
 *                            g·C/groups + c] weight[o,c,k,l],  g = floor(o / (O/groups))
 *   where pixels outside the picture count as 0
 * shapes  x [N, H, W, C], weight [O, C/groups, kh, kw] -> y [N, H', W', O],
 *         H' = floor((H + 2·padding - (dilation·(kh-1) + 1)) / stride) + 1
 * vjp     dx = conv2d_grad_data(dy, weight); dweight = conv2d_grad_weights(dy, x)
 * errors  CG_ESHAPE: ranks, channels that differ or are no multiple of groups, a (dilated) kernel
 *         larger than the padded picture, an empty kernel. CG_EDTYPE: not f32. CG_EINVAL: stride,
 *         dilation or groups < 1; padding < 0 or ≥ (dilated) kernel
 * flops   of taps inside the picture only
 * onnx    Transpose, Conv, Transpose
 *
 * conv2d_grad_data and conv2d_grad_weights: its gradients, for an x or a weight of the attributes'
 * height and width.
 *   dx [N, height, width, C] from dy, weight;  dweight [O, C/groups, height, width] from dy, x
 *
 * Kernels: without groups and dilation, a 1×1 convolution of stride 1 is a product over pixels
 * ("rows"); one whose windows are tiles of the picture, or of which the 1×1 weights are wanted, is
 * a product over patches; pictures hardly larger than the kernel are each a row of one product with
 * expanded weights ("dense", conv_matrix.h). The rest, and 1×1 weights of few channels, is oneDNN's
 * convolution. */
#include "ops/check.h"
#include "ops/conv_matrix.h"
#include "ops/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct conv_attr {
    int64_t stride, padding, dilation, groups;
    int64_t height, width; /* of the gradient's result; 0 forward */
} conv_attr;

#define OPTIONS                                                                                    \
    CG_ATTR(conv_attr, stride, INT), CG_ATTR(conv_attr, padding, INT),                             \
        CG_ATTR(conv_attr, dilation, INT), CG_ATTR(conv_attr, groups, INT)

static const cg_attr_field forward_fields[] = {OPTIONS, {NULL, 0, 0}};

static const cg_attr_field grad_fields[] = {
    OPTIONS, CG_ATTR(conv_attr, height, INT), CG_ATTR(conv_attr, width, INT), {NULL, 0, 0}};

/* --- shapes ----------------------------------------------------------------------------------- */

/* Output pixels along one axis. */
static cg_status output_size(const char *axis, int64_t x, int64_t kernel, const conv_attr *a,
                             int64_t *out) {
    if (kernel < 1) return cg_error(CG_ESHAPE, "the kernel's %s is 0, wanted 1 or more", axis);
    int64_t reach = a->dilation * (kernel - 1) + 1;
    const char *dilated = a->dilation > 1 ? "dilated " : "";
    if (a->padding >= reach)
        return cg_error(CG_EINVAL, "padding is %lld, wanted less than the %skernel's %s %lld",
                        (long long)a->padding, dilated, axis, (long long)reach);
    if (x + 2 * a->padding < reach)
        return cg_error(CG_ESHAPE,
                        "x has %s %lld, too small for a %skernel of %lld with padding %lld", axis,
                        (long long)x, dilated, (long long)reach, (long long)a->padding);
    *out = (x + 2 * a->padding - reach) / a->stride + 1;
    return CG_OK;
}

static cg_status check_channels(int64_t x, int64_t y, int64_t weight, int64_t groups) {
    if (x % groups || y % groups)
        return cg_error(CG_ESHAPE, "%s has %lld %s channels, wanted a multiple of groups %lld",
                        x % groups ? "x" : "weight", (long long)(x % groups ? x : y),
                        x % groups ? "input" : "output", (long long)groups);
    if (weight != x / groups)
        return cg_error(CG_ESHAPE, "weight has %lld input channels, x has %lld%s",
                        (long long)weight, (long long)(x / groups),
                        groups > 1 ? " in each group" : "");
    if (y < 1 || weight < 1) return cg_error(CG_ESHAPE, "weight has no channels, wanted 1 or more");
    return CG_OK;
}

/* y's shape from those of x and weight. */
static cg_status output_shape(const cg_shape *x, const cg_shape *w, const conv_attr *a,
                              cg_shape *y) {
    CG_TRY(check_channels(x->dim[3], w->dim[0], w->dim[1], a->groups));
    *y = CG_SHAPE(x->dim[0], 0, 0, w->dim[0]);
    CG_TRY(output_size("height", x->dim[1], w->dim[2], a, &y->dim[1]));
    return output_size("width", x->dim[2], w->dim[3], a, &y->dim[2]);
}

static cg_status check_option(const char *name, int64_t value, int64_t least) {
    if (value >= least && value <= INT32_MAX) return CG_OK;
    return cg_error(CG_EINVAL, "%s is %lld, wanted %lld %s", name, (long long)value,
                    (long long)least, value < least ? "or more" : "to 2147483647");
}

static cg_status check_operands(const cg_node *n, const char *first, const char *second) {
    const conv_attr *a = n->attr;
    CG_TRY(cg_check_dtype(n->in[0], first, CG_F32));
    CG_TRY(cg_check_dtype(n->in[1], second, CG_F32));
    CG_TRY(cg_check_rank(n->in[0], first, 4));
    CG_TRY(cg_check_rank(n->in[1], second, 4));
    CG_TRY(check_option("stride", a->stride, 1));
    CG_TRY(check_option("padding", a->padding, 0));
    CG_TRY(check_option("dilation", a->dilation, 1));
    return check_option("groups", a->groups, 1);
}

static cg_status infer(const cg_node *n, cg_type *out) {
    CG_TRY(check_operands(n, "x", "weight"));
    out[0].dtype = CG_F32;
    return output_shape(&n->in[0]->shape, &n->in[1]->shape, n->attr, &out[0].shape);
}

/* A gradient's result is right where the convolution of such shapes has the shape of dy. */
static cg_status check_dy(const cg_shape *x, const cg_shape *w, const cg_node *n) {
    cg_shape y;
    CG_TRY(output_shape(x, w, n->attr, &y));
    if (cg_shape_equal(&y, &n->in[0]->shape)) return CG_OK;
    char found[CG_SHAPE_TEXT], wanted[CG_SHAPE_TEXT];
    return cg_error(CG_ESHAPE, "dy is %s, wanted %s", cg_shape_print(&n->in[0]->shape, found),
                    cg_shape_print(&y, wanted));
}

static cg_status infer_data(const cg_node *n, cg_type *out) {
    const conv_attr *a = n->attr;
    CG_TRY(check_operands(n, "dy", "weight"));
    const cg_shape *w = &n->in[1]->shape;
    out[0].dtype = CG_F32;
    out[0].shape = CG_SHAPE(n->in[0]->shape.dim[0], a->height, a->width, w->dim[1] * a->groups);
    return check_dy(&out[0].shape, w, n);
}

static cg_status infer_weights(const cg_node *n, cg_type *out) {
    const conv_attr *a = n->attr;
    CG_TRY(check_operands(n, "dy", "x"));
    const cg_shape *x = &n->in[1]->shape;
    out[0].dtype = CG_F32;
    out[0].shape = CG_SHAPE(n->in[0]->shape.dim[3], x->dim[3] / a->groups, a->height, a->width);
    return check_dy(x, &out[0].shape, n);
}

static cg_dnn_conv geometry(const cg_node *n) {
    const cg_shape *a = &n->in[0]->shape, *b = &n->in[1]->shape, *c = &n->out[0]->shape;
    const conv_attr *attr = n->attr;
    cg_dnn_direction direction = n->op == &cg_op_conv2d             ? CG_DNN_FORWARD
                                 : n->op == &cg_op_conv2d_grad_data ? CG_DNN_DATA
                                                                    : CG_DNN_WEIGHTS;
    const cg_shape *x = direction == CG_DNN_FORWARD ? a : direction == CG_DNN_DATA ? c : b;
    const cg_shape *y = direction == CG_DNN_FORWARD ? c : a;
    const cg_shape *w = direction == CG_DNN_WEIGHTS ? c : b;
    return (cg_dnn_conv){.direction = direction,
                         .n = x->dim[0],
                         .h = x->dim[1],
                         .w = x->dim[2],
                         .c = x->dim[3],
                         .oh = y->dim[1],
                         .ow = y->dim[2],
                         .o = y->dim[3],
                         .kh = w->dim[2],
                         .kw = w->dim[3],
                         .stride = attr->stride,
                         .padding = attr->padding,
                         .dilation = w->dim[2] * w->dim[3] > 1 ? attr->dilation : 1,
                         .groups = attr->groups};
}

/* --- kernels ---------------------------------------------------------------------------------- */

typedef struct conv_state {
    cg_dnn *dnn;
    cg_dnn_conv g, matrix; /* matrix: with patches as its pictures, where patch is set */
    int expand, patch;
    size_t matrix_at, patch_at; /* offsets in scratch */
    char impl[80];
} conv_state;

static void release(void *p) {
    conv_state *s = p;
    cg_dnn_free(s->dnn);
    free(s);
}

/* Products of matrix_geometry: x [n, columns], y [n, rows], matrix [rows, columns]. */
static cg_status product_create(cg_context *ctx, const cg_dnn_conv *g, cg_dnn **out) {
    int64_t rows = g->oh * g->ow * g->o, columns = g->h * g->w * g->c;
    const cg_dnn_matmul m[] = {
        [CG_DNN_FORWARD] = {.m = g->n, .n = rows, .k = columns, .transpose_b = 1},
        [CG_DNN_DATA] = {.m = g->n, .n = columns, .k = rows},
        [CG_DNN_WEIGHTS] = {.m = rows, .n = columns, .k = g->n, .transpose_a = 1},
    };
    cg_dnn_matmul shape = m[g->direction];
    shape.batch = 1;
    return cg_dnn_matmul_create(ctx, &shape, out);
}

/* Decides how to run, makes the kernel; *how names what stands before it. */
static cg_status choose(cg_context *ctx, conv_state *s, const char **how) {
    cg_dnn_conv *m = &s->matrix;
    const cg_dnn_conv *g = &s->g;
    *m = *g;
    int plain = g->groups == 1 && g->dilation == 1;
    int tiled = g->kh == g->stride && g->kw == g->stride && g->padding == 0;
    int weights_1x1 = g->direction == CG_DNN_WEIGHTS && g->kh * g->kw == 1;
    /* oneDNN sums 1×1 weights of few input channels up to 1.5 times as fast as its product. With a
     * stride, 2.6 sums them wrongly, and writes beyond its scratch. */
    int narrow = weights_1x1 && g->stride == 1 && g->c < 64 && g->c <= g->o;
    if (plain && (tiled || weights_1x1) && !narrow) {
        m->n = g->n * g->oh * g->ow;
        m->h = g->kh;
        m->w = g->kw;
        m->oh = m->ow = 1;
        s->expand = g->kh * g->kw > 1;
        s->patch = g->stride > 1;
        *how = s->patch ? "patches+" : "rows+";
        return product_create(ctx, m, &s->dnn);
    }
    /* Expanded weights of at most twice their size, where oneDNN's kernels are slow. */
    if (plain && g->h * g->w * g->oh * g->ow <= 2 * g->kh * g->kw) {
        s->expand = 1;
        *how = "dense+";
        return product_create(ctx, m, &s->dnn);
    }
    *how = "";
    return cg_dnn_conv_create(ctx, g, &s->dnn);
}

static cg_status prepare(cg_prep *p) {
    conv_state *s = calloc(1, sizeof *s);
    if (!s) return cg_error(CG_ENOMEM, "no memory for a kernel");
    p->state = s;
    s->g = geometry(p->node);
    if (s->g.n * s->g.h * s->g.w == 0) return CG_OK;
    const char *how;
    cg_status status = choose(p->ctx, s, &how);
    if (status != CG_OK) {
        p->state = NULL;
        release(s);
        return status;
    }
    snprintf(s->impl, sizeof s->impl, "%s%s", how, cg_dnn_impl(s->dnn));
    p->impl = s->impl;
    s->matrix_at = cg_align64(cg_dnn_scratch(s->dnn));
    s->patch_at = s->matrix_at;
    if (s->expand)
        s->patch_at += cg_align64((size_t)cg_conv_matrix_count(&s->matrix) * sizeof(float));
    p->scratch = s->patch_at;
    const cg_dnn_conv *m = &s->matrix;
    if (s->patch) p->scratch += (size_t)(m->n * m->h * m->w * m->c) * sizeof(float);
    return CG_OK;
}

static cg_status run_forward(const conv_state *s, const cg_task *t) {
    const float *x = t->in[0], *w = t->in[1];
    if (s->expand) {
        float *matrix = (float *)((char *)t->scratch + s->matrix_at);
        cg_conv_matrix_expand(&s->matrix, t->threads, w, matrix);
        w = matrix;
    }
    if (s->patch) {
        float *patch = (float *)((char *)t->scratch + s->patch_at);
        cg_conv_patches_get(&s->g, t->threads, x, patch);
        x = patch;
    }
    return cg_dnn_run(s->dnn, &(cg_dnn_operands){
                                  .a = x, .b = w, .c = t->out[0], .scratch = t->scratch});
}

static cg_status run_data(const conv_state *s, const cg_task *t) {
    const float *w = t->in[1];
    float *dx = t->out[0];
    if (s->expand) {
        float *matrix = (float *)((char *)t->scratch + s->matrix_at);
        cg_conv_matrix_expand(&s->matrix, t->threads, w, matrix);
        w = matrix;
    }
    if (s->patch) dx = (float *)((char *)t->scratch + s->patch_at);
    CG_TRY(cg_dnn_run(
        s->dnn, &(cg_dnn_operands){.a = t->in[0], .b = w, .c = dx, .scratch = t->scratch}));
    if (s->patch) cg_conv_patches_put(&s->g, t->threads, dx, t->out[0]);
    return CG_OK;
}

static cg_status run_weights(const conv_state *s, const cg_task *t) {
    const float *x = t->in[1];
    float *dw = t->out[0];
    if (s->patch) {
        float *patch = (float *)((char *)t->scratch + s->patch_at);
        cg_conv_patches_get(&s->g, t->threads, x, patch);
        x = patch;
    }
    if (s->expand) dw = (float *)((char *)t->scratch + s->matrix_at);
    CG_TRY(cg_dnn_run(
        s->dnn, &(cg_dnn_operands){.a = t->in[0], .b = x, .c = dw, .scratch = t->scratch}));
    if (s->expand) cg_conv_matrix_fold(&s->matrix, t->threads, dw, t->out[0]);
    return CG_OK;
}

static cg_status run(const cg_task *t) {
    const conv_state *s = t->state;
    if (!s->dnn) { /* nothing in x: results are empty or 0 */
        size_t count = (size_t)cg_shape_count(&t->node->out[0]->shape);
        if (count > 0) memset(t->out[0], 0, count * sizeof(float));
        return CG_OK;
    }
    switch (s->g.direction) {
    case CG_DNN_FORWARD:
        return run_forward(s, t);
    case CG_DNN_DATA:
        return run_data(s, t);
    default:
        return run_weights(s, t);
    }
}

/* --- gradient, cost, descriptors -------------------------------------------------------------- */

/* Taps along one axis that fall into the picture, over all outputs. */
static int64_t taps(const cg_dnn_conv *g, int64_t x, int64_t y, int64_t kernel) {
    int64_t n = 0;
    for (int64_t i = 0; i < y; i++)
        for (int64_t k = 0; k < kernel; k++) {
            int64_t at = i * g->stride - g->padding + k * g->dilation;
            n += at >= 0 && at < x;
        }
    return n;
}

static int64_t flops(const cg_node *n) {
    cg_dnn_conv g = geometry(n);
    return 2 * g.n * g.o * (g.c / g.groups) * taps(&g, g.h, g.oh, g.kh) * taps(&g, g.w, g.ow, g.kw);
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    cg_value *x = n->in[0], *w = n->in[1];
    conv_attr data = *(const conv_attr *)n->attr, weights = data;
    data.height = x->shape.dim[1];
    data.width = x->shape.dim[2];
    weights.height = w->shape.dim[2];
    weights.width = w->shape.dim[3];
    dx[0] = cg_node_add1(g, &cg_op_conv2d_grad_data, &data, 2, (cg_value *[]){dy[0], w});
    dx[1] = cg_node_add1(g, &cg_op_conv2d_grad_weights, &weights, 2, (cg_value *[]){dy[0], x});
}

const cg_op cg_op_conv2d = {
    .name = "conv2d",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .attr_size = sizeof(conv_attr),
    .attr = forward_fields,
    .infer = infer,
    .vjp = vjp,
    .prepare = prepare,
    .run = run,
    .release = release,
    .flops = flops,
};

const cg_op cg_op_conv2d_grad_data = {
    .name = "conv2d_grad_data",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .attr_size = sizeof(conv_attr),
    .attr = grad_fields,
    .infer = infer_data,
    .prepare = prepare,
    .run = run,
    .release = release,
    .flops = flops,
};

const cg_op cg_op_conv2d_grad_weights = {
    .name = "conv2d_grad_weights",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .attr_size = sizeof(conv_attr),
    .attr = grad_fields,
    .infer = infer_weights,
    .prepare = prepare,
    .run = run,
    .release = release,
    .flops = flops,
};

cg_value *cg_conv2d(cg_graph *g, cg_value *x, cg_value *weight, int64_t stride, int64_t padding) {
    conv_attr a = {.stride = stride, .padding = padding, .dilation = 1, .groups = 1};
    return cg_node_add1(g, &cg_op_conv2d, &a, 2, (cg_value *[]){x, weight});
}

cg_value *cg_conv2d_with(cg_graph *g, cg_value *x, cg_value *weight, cg_conv2d_options options) {
    conv_attr a = {.stride = options.stride ? options.stride : 1,
                   .padding = options.padding,
                   .dilation = options.dilation ? options.dilation : 1,
                   .groups = options.groups ? options.groups : 1};
    return cg_node_add1(g, &cg_op_conv2d, &a, 2, (cg_value *[]){x, weight});
}
