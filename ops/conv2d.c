/* conv2d: convolves pictures with a bank of filters.
 *   y[n,i,j,o] = sum_c,k,l x[n, i·stride - padding + k·dilation, j·stride - padding + l·dilation,
 *                            g·C/groups + c] weight[o,c,k,l],  g = floor(o / (O/groups))
 *   where pixels outside the picture count as 0; bias[o] and the residual are added where they are
 *   operands, then relu takes the positive part
 * shapes  x [N, H, W, C], weight [O, C/groups, kh, kw], [bias [O], [residual as y]]
 *         -> y [N, H', W', O], H' = floor((H + 2·padding - (dilation·(kh-1) + 1)) / stride) + 1
 * vjp     dx = conv2d_grad_data(dy, weight); dweight = conv2d_grad_weights(dy, x)
 * errors  CG_ESHAPE: ranks, channels that differ or are no multiple of groups, a (dilated) kernel
 *         larger than the padded picture, an empty kernel. CG_EDTYPE: not f32. CG_EINVAL: stride,
 *         dilation or groups < 1; padding < 0 or ≥ (dilated) kernel
 * flops   of taps inside the picture only
 * onnx    Conv, of [N, C, H, W], Add, Relu
 *
 * conv2d_grad_data and conv2d_grad_weights: its gradients, for an x or a weight of the attributes'
 * height and width.
 *   dx [N, height, width, C] from dy, weight;  dweight [O, C/groups, height, width] from dy, x
 *
 * Kernels: without groups and dilation, a 1×1 convolution of stride 1 is a product over pixels
 * ("rows"); one whose windows are tiles of the picture, or of which the 1×1 weights are wanted, is
 * a product over patches; pictures hardly larger than the kernel are each a row of one product with
 * expanded weights ("dense", conv_matrix.h); 3×3 of stride 1 and enough channels takes Winograd's
 * form ("winograd", conv_winograd.h). The rest, and 1×1 weights of few channels, is oneDNN's
 * convolution. */
#include "ops/conv2d.h"

#include "ops/check.h"

#define OPTIONS                                                                                    \
    CG_ATTR(cg_conv2d_attr, stride, INT), CG_ATTR(cg_conv2d_attr, padding, INT),                   \
        CG_ATTR(cg_conv2d_attr, dilation, INT), CG_ATTR(cg_conv2d_attr, groups, INT)

static const cg_attr_field forward_fields[] = {OPTIONS, CG_ATTR(cg_conv2d_attr, relu, INT), {0}};

static const cg_attr_field grad_fields[] = {
    OPTIONS, CG_ATTR(cg_conv2d_attr, height, INT), CG_ATTR(cg_conv2d_attr, width, INT), {0}};

/* --- shapes ----------------------------------------------------------------------------------- */

/* Output pixels along one axis. */
static cg_status output_size(const char *axis, int64_t x, int64_t kernel, const cg_conv2d_attr *a,
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
static cg_status output_shape(const cg_shape *x, const cg_shape *w, const cg_conv2d_attr *a,
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
    const cg_conv2d_attr *a = n->attr;
    CG_TRY(cg_check_float(n, 0, first));
    CG_TRY(cg_check_float(n, 1, second));
    CG_TRY(cg_check_dtype(n->in[1], second, n->in[0]->dtype));
    CG_TRY(cg_check_rank(n->in[0], first, 4));
    CG_TRY(cg_check_rank(n->in[1], second, 4));
    CG_TRY(check_option("stride", a->stride, 1));
    CG_TRY(check_option("padding", a->padding, 0));
    CG_TRY(check_option("dilation", a->dilation, 1));
    return check_option("groups", a->groups, 1);
}

static cg_status infer(const cg_node *n, cg_type *out) {
    const cg_conv2d_attr *a = n->attr;
    char found[CG_SHAPE_TEXT], wanted[CG_SHAPE_TEXT];
    CG_TRY(check_operands(n, "x", "weight"));
    if (a->relu != 0 && a->relu != 1)
        return cg_error(CG_EINVAL, "relu is %lld, wanted 0 or 1", (long long)a->relu);
    out[0].dtype = CG_F32;
    CG_TRY(output_shape(&n->in[0]->shape, &n->in[1]->shape, n->attr, &out[0].shape));
    const cg_shape want[] = {CG_SHAPE(out[0].shape.dim[3]), out[0].shape};
    for (int i = 2; i < n->n_in; i++) {
        const char *name = i == 2 ? "bias" : "residual";
        CG_TRY(cg_check_float(n, i, name));
        if (!cg_shape_equal(&n->in[i]->shape, &want[i - 2]))
            return cg_error(CG_ESHAPE, "%s is %s, wanted %s", name,
                            cg_shape_print(&n->in[i]->shape, found),
                            cg_shape_print(&want[i - 2], wanted));
    }
    return CG_OK;
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
    const cg_conv2d_attr *a = n->attr;
    CG_TRY(check_operands(n, "dy", "weight"));
    const cg_shape *w = &n->in[1]->shape;
    out[0].dtype = CG_F32;
    out[0].shape = CG_SHAPE(n->in[0]->shape.dim[0], a->height, a->width, w->dim[1] * a->groups);
    return check_dy(&out[0].shape, w, n);
}

static cg_status infer_weights(const cg_node *n, cg_type *out) {
    const cg_conv2d_attr *a = n->attr;
    CG_TRY(check_operands(n, "dy", "x"));
    const cg_shape *x = &n->in[1]->shape;
    out[0].dtype = CG_F32;
    out[0].shape = CG_SHAPE(n->in[0]->shape.dim[3], x->dim[3] / a->groups, a->height, a->width);
    return check_dy(x, &out[0].shape, n);
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
    cg_dnn_conv g = cg_conv2d_geometry(n);
    return 2 * g.n * g.o * (g.c / g.groups) * taps(&g, g.h, g.oh, g.kh) * taps(&g, g.w, g.ow, g.kw);
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    cg_value *x = n->in[0], *w = n->in[1];
    cg_conv2d_attr data = *(const cg_conv2d_attr *)n->attr, weights = data;
    data.height = x->shape.dim[1];
    data.width = x->shape.dim[2];
    weights.height = w->shape.dim[2];
    weights.width = w->shape.dim[3];
    cg_value *d = dy[0];
    if (data.relu) d = cg_node_add1(g, &cg_op_relu_grad, NULL, 2, (cg_value *[]){n->out[0], d});
    data.relu = weights.relu = 0;
    dx[0] = cg_node_add1(g, &cg_op_conv2d_grad_data, &data, 2, (cg_value *[]){d, w});
    dx[1] = cg_node_add1(g, &cg_op_conv2d_grad_weights, &weights, 2, (cg_value *[]){d, x});
    for (int i = 2; i < n->n_in; i++) dx[i] = d; /* of the bias: summed by autodiff */
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    const cg_conv2d_attr *attr = n->attr;
    const cg_shape *w = &n->in[1]->shape;
    int64_t stride = attr->stride, pad = attr->padding, apart = attr->dilation;
    cg_onnx_node conv = {
        "Conv",
        n->n_in > 2 ? 3 : 2,
        {cg_onnx_pictures(s, cg_onnx_value(s, n->in[0])),
         cg_onnx_plain(s, cg_onnx_value(s, n->in[1]))},
        {CG_ONNX_INTS("kernel_shape", w->dim[2], w->dim[3]),
         CG_ONNX_INTS("strides", stride, stride), CG_ONNX_INTS("pads", pad, pad, pad, pad),
         CG_ONNX_INTS("dilations", apart, apart), CG_ONNX_INT("group", attr->groups)}};
    if (n->n_in > 2) conv.in[2] = cg_onnx_value(s, n->in[2]);
    cg_onnx_ref *y = cg_onnx_make_pictures(s, &conv, n->out[0]);
    if (n->n_in > 3) y = cg_onnx_binary(s, "Add", y, cg_onnx_value(s, n->in[3]));
    if (attr->relu) y = cg_onnx_unary(s, "Relu", y);
    return cg_onnx_give(s, n->out[0], y);
}

const cg_op cg_op_conv2d = {
    .name = "conv2d",
    .min_in = 2,
    .max_in = 4,
    .n_out = 1,
    .attr_size = sizeof(cg_conv2d_attr),
    .attr = forward_fields,
    .infer = infer,
    .vjp = vjp,
    .prepare = cg_conv2d_prepare,
    .run = cg_conv2d_run,
    .release = cg_conv2d_release,
    .pack = cg_conv2d_pack,
    .bf16_in = 1u << 0 | 1u << 1 | 1u << 3,
    .bf16_out = 1,
    .flops = flops,
    .onnx = onnx,
};

const cg_op cg_op_conv2d_grad_data = {
    .name = "conv2d_grad_data",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .attr_size = sizeof(cg_conv2d_attr),
    .attr = grad_fields,
    .infer = infer_data,
    .prepare = cg_conv2d_prepare,
    .run = cg_conv2d_run,
    .release = cg_conv2d_release,
    .bf16_in = 3,
    .bf16_out = 1,
    .flops = flops,
};

const cg_op cg_op_conv2d_grad_weights = {
    .name = "conv2d_grad_weights",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .attr_size = sizeof(cg_conv2d_attr),
    .attr = grad_fields,
    .infer = infer_weights,
    .prepare = cg_conv2d_prepare,
    .run = cg_conv2d_run,
    .release = cg_conv2d_release,
    .bf16_in = 3,
    .flops = flops,
};

cg_value *cg_conv2d(cg_graph *g, cg_value *x, cg_value *weight, int64_t stride, int64_t padding) {
    cg_conv2d_attr a = {.stride = stride, .padding = padding, .dilation = 1, .groups = 1};
    return cg_node_add1(g, &cg_op_conv2d, &a, 2, (cg_value *[]){x, weight});
}

cg_value *cg_conv2d_with(cg_graph *g, cg_value *x, cg_value *weight, cg_conv2d_options options) {
    cg_conv2d_attr a = {.stride = options.stride ? options.stride : 1,
                        .padding = options.padding,
                        .dilation = options.dilation ? options.dilation : 1,
                        .groups = options.groups ? options.groups : 1,
                        .relu = options.relu};
    cg_value *in[] = {x, weight, options.bias, options.residual};
    return cg_node_add1(g, &cg_op_conv2d, &a, 4, in);
}
