/* Cases of convolutions and means of pictures [N, H, W, C]. */
#include "op_case.h"

// clang-format off
#define R3(a, b, c) {3, {a, b, c}}
#define R4(a, b, c, d) {4, {a, b, c, d}}
#define OPERAND(...) {CG_F32, __VA_ARGS__, CG_FILL_UNIFORM, -1, 1, 1}
#define I32(...) {CG_I32, __VA_ARGS__, CG_FILL_INTEGER, 0, 3, 0}
// clang-format on

/* --- conv2d ----------------------------------------------------------------------------------- */

static double conv_pixel(const cg_case_data *d, cg_conv2d_options a, int64_t n, int64_t i,
                         int64_t j, int64_t o) {
    const int64_t *x = d->in_shape[0].dim, *w = d->in_shape[1].dim;
    int64_t first = o / (w[0] / a.groups) * w[1]; /* channel of the group */
    double sum = 0;
    for (int64_t c = 0; c < w[1]; c++)
        for (int64_t k = 0; k < w[2]; k++)
            for (int64_t l = 0; l < w[3]; l++) {
                int64_t row = i * a.stride - a.padding + k * a.dilation,
                        column = j * a.stride - a.padding + l * a.dilation;
                if (row < 0 || row >= x[1] || column < 0 || column >= x[2]) continue;
                sum += d->in[0][((n * x[1] + row) * x[2] + column) * x[3] + first + c] *
                       d->in[1][((o * w[1] + c) * w[2] + k) * w[3] + l];
            }
    return sum;
}

static void conv_reference(cg_case_data *d, cg_conv2d_options a) {
    const int64_t *y = d->out_shape[0].dim;
    double *out = d->out[0];
    for (int64_t n = 0; n < y[0]; n++)
        for (int64_t i = 0; i < y[1]; i++)
            for (int64_t j = 0; j < y[2]; j++)
                for (int64_t o = 0; o < y[3]; o++) *out++ = conv_pixel(d, a, n, i, j, o);
}

#define CONV_OPTIONS(s, p, d, g)                                                                   \
    (cg_conv2d_options) {                                                                          \
        .stride = (s), .padding = (p), .dilation = (d), .groups = (g)                              \
    }

#define CONV(name, stride, padding)                                                                \
    static void name##_build(cg_graph *g, cg_value *const *in, cg_value **out) {                   \
        out[0] = cg_conv2d(g, in[0], in[1], stride, padding);                                      \
    }                                                                                              \
    static void name##_reference(cg_case_data *d) {                                                \
        conv_reference(d, CONV_OPTIONS(stride, padding, 1, 1));                                    \
    }

/* stride, padding, dilation, groups */
#define CONV_WITH(name, ...)                                                                       \
    static void name##_build(cg_graph *g, cg_value *const *in, cg_value **out) {                   \
        out[0] = cg_conv2d_with(g, in[0], in[1], CONV_OPTIONS(__VA_ARGS__));                       \
    }                                                                                              \
    static void name##_reference(cg_case_data *d) {                                                \
        conv_reference(d, CONV_OPTIONS(__VA_ARGS__));                                              \
    }

CONV(conv_s1p0, 1, 0)
CONV(conv_s1p1, 1, 1)
CONV(conv_s2p0, 2, 0)
CONV(conv_s2p1, 2, 1)
CONV(conv_s3p2, 3, 2)
CONV(conv_s4p0, 4, 0)
CONV_WITH(conv_p2d2, 1, 2, 2, 1)
CONV_WITH(conv_p3d3, 1, 3, 3, 1)
CONV_WITH(conv_s2p2d2, 2, 2, 2, 1)
CONV_WITH(conv_s3p0d2, 3, 0, 2, 1)
CONV_WITH(conv_p1g2, 1, 1, 1, 2)
CONV_WITH(conv_p0g2, 1, 0, 1, 2)
CONV_WITH(conv_s2p0g2, 2, 0, 1, 2)
CONV_WITH(conv_s2p1g3, 2, 1, 1, 3)
CONV_WITH(conv_p1g7, 1, 1, 1, 7)
CONV_WITH(conv_s2p3g19, 2, 3, 1, 19)
CONV_WITH(conv_p1g32, 1, 1, 1, 32)
CONV_WITH(conv_s2p2d2g2, 2, 2, 2, 2)
CONV_WITH(conv_p2d2g16, 1, 2, 2, 16)

static void conv_zeros_build(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_conv2d_with(g, in[0], in[1], (cg_conv2d_options){0});
}

static void conv_zeros_reference(cg_case_data *d) {
    conv_reference(d, CONV_OPTIONS(1, 0, 1, 1));
}

#define CONV_CASE(f, text, x, w)                                                                   \
    { &cg_op_conv2d, text, {OPERAND(x), OPERAND(w)}, 2, 1, f##_build, f##_reference, 0, 0 }

/* relu(conv + bias + residual), as far as there are operands. */
static void fused_reference(cg_case_data *d, cg_conv2d_options a) {
    conv_reference(d, a);
    int64_t o = d->in_shape[1].dim[0];
    for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++) {
        double y = d->out[0][i] + d->in[2][i % o] + (d->n_in > 3 ? d->in[3][i] : 0);
        d->out[0][i] = a.relu && y < 0 ? 0 : y;
    }
}

#define CONV_FUSED(name, s, p, g, has_residual, has_relu)                                          \
    static void name##_build(cg_graph *graph, cg_value *const *in, cg_value **out) {               \
        out[0] = cg_conv2d_with(graph, in[0], in[1],                                               \
                                (cg_conv2d_options){.stride = (s),                                 \
                                                    .padding = (p),                                \
                                                    .groups = (g),                                 \
                                                    .bias = in[2],                                 \
                                                    .residual = (has_residual) ? in[3] : NULL,     \
                                                    .relu = (has_relu)});                          \
    }                                                                                              \
    static void name##_reference(cg_case_data *d) {                                                \
        cg_conv2d_options a = CONV_OPTIONS(s, p, 1, g);                                            \
        a.relu = (has_relu);                                                                       \
        fused_reference(d, a);                                                                     \
    }

CONV_FUSED(bias_p1, 1, 1, 1, 0, 0)
CONV_FUSED(bias_s4p0, 4, 0, 1, 0, 0)
CONV_FUSED(relu_p1, 1, 1, 1, 0, 1)
CONV_FUSED(relu_p1g2, 1, 1, 2, 0, 1)
CONV_FUSED(relu_p0, 1, 0, 1, 0, 1)
CONV_FUSED(residual_p1, 1, 1, 1, 1, 1)
CONV_FUSED(residual_p0, 1, 0, 1, 1, 1)
CONV_FUSED(sum_p0, 1, 0, 1, 1, 0)

#define FUSED_CASE(f, text, x, w, o)                                                               \
    {                                                                                              \
        &cg_op_conv2d, text, {OPERAND(x), OPERAND(w), OPERAND(CG_SHAPE(o))}, 3, 1, f##_build,      \
            f##_reference, 0, 0                                                                    \
    }
#define RESIDUAL_CASE(f, text, x, w, o, y)                                                         \
    {                                                                                              \
        &cg_op_conv2d, text, {OPERAND(x), OPERAND(w), OPERAND(CG_SHAPE(o)), OPERAND(y)}, 4, 1,     \
            f##_build, f##_reference, 0, 0                                                         \
    }

/* --- avg_pool --------------------------------------------------------------------------------- */

static void pool_reference(cg_case_data *d, int64_t kernel, int64_t stride) {
    const int64_t *x = d->in_shape[0].dim, *y = d->out_shape[0].dim;
    double *out = d->out[0];
    for (int64_t n = 0; n < y[0]; n++)
        for (int64_t i = 0; i < y[1]; i++)
            for (int64_t j = 0; j < y[2]; j++)
                for (int64_t c = 0; c < y[3]; c++) {
                    double sum = 0;
                    for (int64_t k = 0; k < kernel; k++)
                        for (int64_t l = 0; l < kernel; l++) {
                            int64_t row = i * stride + k, column = j * stride + l;
                            sum += d->in[0][((n * x[1] + row) * x[2] + column) * x[3] + c];
                        }
                    *out++ = sum / (double)(kernel * kernel);
                }
}

#define POOL(name, kernel, stride)                                                                 \
    static void name##_build(cg_graph *g, cg_value *const *in, cg_value **out) {                   \
        out[0] = cg_avg_pool(g, in[0], kernel, stride);                                            \
    }                                                                                              \
    static void name##_reference(cg_case_data *d) {                                                \
        pool_reference(d, kernel, stride);                                                         \
    }

POOL(pool_k2s2, 2, 2)
POOL(pool_k3s2, 3, 2)
POOL(pool_k2s3, 2, 3)
POOL(pool_k1s1, 1, 1)
POOL(pool_k3s1, 3, 1)

static void global_build(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_global_avg_pool(g, in[0]);
}

static void global_reference(cg_case_data *d) {
    const int64_t *x = d->in_shape[0].dim, pixels = x[1] * x[2];
    for (int64_t n = 0; n < x[0]; n++)
        for (int64_t c = 0; c < x[3]; c++) {
            double sum = 0;
            for (int64_t p = 0; p < pixels; p++) sum += d->in[0][(n * pixels + p) * x[3] + c];
            d->out[0][n * x[3] + c] = sum / (double)pixels;
        }
}

#define POOL_CASE(f, text, x)                                                                      \
    { &cg_op_avg_pool, text, {OPERAND(x)}, 1, 1, f##_build, f##_reference, 0, 0 }

const cg_op_case cg_cases_picture[] = {
    CONV_CASE(conv_s1p1, "3x3, 24 to 40 channels, odd picture", R4(2, 7, 9, 24), R4(40, 24, 3, 3)),
    CONV_CASE(conv_s1p1, "3x3, 33 to 24 channels, small picture", R4(3, 4, 5, 33),
              R4(24, 33, 3, 3)),
    CONV_CASE(conv_s1p1, "3x3, 48 to 28 channels, many tiles", R4(5, 16, 12, 48), R4(28, 48, 3, 3)),
    FUSED_CASE(relu_p1, "3x3, 24 to 27 channels, bias, relu", R4(2, 6, 6, 24), R4(27, 24, 3, 3),
               27),
    RESIDUAL_CASE(residual_p1, "3x3, 24 to 32 channels, bias, residual, relu", R4(2, 5, 6, 24),
                  R4(32, 24, 3, 3), 32, R4(2, 5, 6, 32)),
    FUSED_CASE(bias_p1, "3x3, bias", R4(2, 5, 6, 4), R4(6, 4, 3, 3), 6),
    FUSED_CASE(bias_s4p0, "4x4 patches, bias", R4(2, 8, 8, 3), R4(6, 3, 4, 4), 6),
    FUSED_CASE(relu_p1, "3x3, bias, relu", R4(2, 5, 6, 4), R4(6, 4, 3, 3), 6),
    FUSED_CASE(relu_p1, "3x3, bias, relu, picture of 1x1", R4(2, 1, 1, 4), R4(6, 4, 3, 3), 6),
    FUSED_CASE(relu_p1, "3x3, bias, relu, no picture", R4(0, 5, 6, 4), R4(6, 4, 3, 3), 6),
    FUSED_CASE(relu_p1g2, "3x3, 2 groups, bias, relu", R4(2, 5, 6, 4), R4(6, 2, 3, 3), 6),
    FUSED_CASE(relu_p0, "1x1, bias, relu", R4(2, 5, 6, 4), R4(6, 4, 1, 1), 6),
    RESIDUAL_CASE(residual_p1, "3x3, bias, residual, relu", R4(2, 5, 6, 4), R4(6, 4, 3, 3), 6,
                  R4(2, 5, 6, 6)),
    RESIDUAL_CASE(residual_p0, "1x1, bias, residual, relu", R4(2, 5, 6, 4), R4(6, 4, 1, 1), 6,
                  R4(2, 5, 6, 6)),
    RESIDUAL_CASE(sum_p0, "1x1, bias, residual", R4(2, 5, 6, 4), R4(6, 4, 1, 1), 6, R4(2, 5, 6, 6)),
    CONV_CASE(conv_s1p1, "3x3, padding 1", R4(2, 7, 6, 5), R4(4, 5, 3, 3)),
    CONV_CASE(conv_s2p1, "stem: 3 channels, stride 2", R4(2, 9, 8, 3), R4(24, 3, 3, 3)),
    CONV_CASE(conv_s2p1, "odd size, stride 2", R4(1, 9, 11, 4), R4(6, 4, 3, 3)),
    CONV_CASE(conv_s2p0, "rows left over, stride 2", R4(2, 8, 8, 4), R4(5, 4, 3, 3)),
    CONV_CASE(conv_s3p2, "5x5, stride 3, padding 2", R4(2, 8, 7, 3), R4(4, 3, 5, 5)),
    CONV_CASE(conv_s1p1, "kernel wider than high", R4(2, 6, 7, 3), R4(4, 3, 2, 4)),
    CONV_CASE(conv_s1p1, "channels of a vector", R4(1, 3, 3, 16), R4(16, 16, 3, 3)),
    CONV_CASE(conv_s1p1, "one channel", R4(2, 5, 5, 1), R4(1, 1, 3, 3)),
    CONV_CASE(conv_s1p0, "1x1", R4(3, 5, 4, 6), R4(7, 6, 1, 1)),
    CONV_CASE(conv_s1p0, "1x1, one picture of one pixel", R4(1, 1, 1, 6), R4(7, 6, 1, 1)),
    CONV_CASE(conv_s2p0, "1x1, stride 2", R4(2, 5, 4, 6), R4(7, 6, 1, 1)),
    CONV_CASE(conv_s1p1, "2x2 picture", R4(3, 2, 2, 6), R4(5, 6, 3, 3)),
    CONV_CASE(conv_s1p1, "picture of one row", R4(3, 1, 2, 6), R4(5, 6, 3, 3)),
    CONV_CASE(conv_s1p1, "one pixel", R4(3, 1, 1, 6), R4(5, 6, 3, 3)),
    CONV_CASE(conv_s1p0, "picture as large as the kernel", R4(3, 3, 4, 2), R4(5, 2, 3, 4)),
    CONV_CASE(conv_s4p0, "patches", R4(2, 12, 8, 3), R4(6, 3, 4, 4)),
    CONV_CASE(conv_s4p0, "patches, pixels left over", R4(2, 9, 11, 3), R4(6, 3, 4, 4)),
    CONV_CASE(conv_s2p0, "patches, many channels", R4(2, 4, 4, 9), R4(6, 9, 2, 2)),
    CONV_CASE(conv_s1p1, "no pictures", R4(0, 4, 4, 2), R4(3, 2, 3, 3)),
    CONV_CASE(conv_s3p2, "pictures of no rows", R4(2, 0, 4, 2), R4(3, 2, 3, 3)),
    CONV_CASE(conv_s2p0, "1x1, stride 2, one channel", R4(1, 12, 12, 1), R4(1, 1, 1, 1)),
    CONV_CASE(conv_s2p0, "1x1, stride 2, more channels out", R4(2, 6, 12, 3), R4(16, 3, 1, 1)),
    CONV_CASE(conv_zeros, "zeros mean 1", R4(2, 5, 4, 3), R4(4, 3, 3, 2)),
    CONV_CASE(conv_p2d2, "dilation 2", R4(2, 7, 6, 5), R4(4, 5, 3, 3)),
    CONV_CASE(conv_p2d2, "dilation 2, kernel wider than high", R4(2, 6, 7, 3), R4(4, 3, 2, 3)),
    CONV_CASE(conv_p3d3, "dilation 3", R4(1, 9, 8, 3), R4(4, 3, 3, 3)),
    CONV_CASE(conv_s2p2d2, "dilation 2, stride 2", R4(2, 9, 8, 16), R4(8, 16, 3, 3)),
    CONV_CASE(conv_p2d2, "dilation 2, small picture", R4(3, 2, 2, 6), R4(5, 6, 3, 3)),
    CONV_CASE(conv_s3p0d2, "dilation 2, stride as large as the kernel", R4(2, 7, 8, 3),
              R4(4, 3, 3, 3)),
    CONV_CASE(conv_s3p0d2, "dilation 2, 1x1", R4(2, 7, 8, 3), R4(4, 3, 1, 1)),
    CONV_CASE(conv_p1g2, "2 groups", R4(2, 7, 6, 4), R4(6, 2, 3, 3)),
    CONV_CASE(conv_p1g2, "2 groups of vectors", R4(1, 5, 6, 32), R4(32, 16, 3, 3)),
    CONV_CASE(conv_p1g2, "2 groups, picture smaller than the kernel", R4(3, 2, 2, 6),
              R4(4, 3, 3, 3)),
    CONV_CASE(conv_p0g2, "2 groups, 1x1", R4(3, 5, 4, 6), R4(8, 3, 1, 1)),
    CONV_CASE(conv_s2p0g2, "2 groups, patches", R4(2, 8, 6, 6), R4(10, 3, 2, 2)),
    CONV_CASE(conv_s2p0g2, "2 groups, 1x1, stride 2", R4(2, 6, 12, 6), R4(16, 3, 1, 1)),
    CONV_CASE(conv_s2p1g3, "3 groups, odd channels, stride 2", R4(2, 7, 6, 9), R4(15, 3, 3, 3)),
    CONV_CASE(conv_p1g7, "depthwise", R4(2, 7, 6, 7), R4(7, 1, 3, 3)),
    CONV_CASE(conv_p1g7, "depthwise, two filters a channel", R4(2, 7, 6, 7), R4(14, 1, 3, 3)),
    CONV_CASE(conv_s2p3g19, "depthwise, 7x7, stride 2", R4(2, 9, 8, 19), R4(19, 1, 7, 7)),
    CONV_CASE(conv_p1g32, "depthwise, channels of vectors", R4(2, 14, 14, 32), R4(32, 1, 3, 3)),
    CONV_CASE(conv_s2p2d2g2, "2 groups, dilation 2, stride 2", R4(2, 8, 7, 6), R4(4, 3, 3, 3)),
    CONV_CASE(conv_p2d2g16, "depthwise, dilation 2", R4(2, 7, 6, 16), R4(16, 1, 3, 3)),
    POOL_CASE(pool_k2s2, "2x2", R4(2, 4, 6, 5)),
    POOL_CASE(pool_k2s2, "2x2, rows and columns left over", R4(2, 5, 7, 3)),
    POOL_CASE(pool_k3s2, "overlapping windows", R4(2, 7, 8, 4)),
    POOL_CASE(pool_k3s1, "overlapping windows, stride 1", R4(1, 5, 4, 18)),
    POOL_CASE(pool_k2s3, "gaps", R4(2, 6, 9, 4)),
    POOL_CASE(pool_k1s1, "one pixel", R4(2, 2, 3, 4)),
    POOL_CASE(pool_k2s2, "no pictures", R4(0, 4, 4, 2)),
    {&cg_op_sum,
     "global_avg_pool",
     {OPERAND(R4(3, 4, 5, 6))},
     1,
     1,
     global_build,
     global_reference,
     0,
     0},
    {0},
};

#define BAD_CONV(f, x, w, status, text)                                                            \
    { &cg_op_conv2d, {x, w}, 2, f##_build, status, text }
#define BAD_POOL(f, x, status, text)                                                               \
    { &cg_op_avg_pool, {x}, 1, f##_build, status, text }

static void conv_s0_build(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_conv2d(g, in[0], in[1], 0, 1);
}

static void conv_negative_build(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_conv2d(g, in[0], in[1], 1, -1);
}

#define CONV_BAD(name, ...)                                                                        \
    static void name##_build(cg_graph *g, cg_value *const *in, cg_value **out) {                   \
        out[0] = cg_conv2d_with(g, in[0], in[1], (cg_conv2d_options){__VA_ARGS__});                \
    }

CONV_BAD(conv_relu, .relu = 2)
CONV_BAD(conv_stride, .stride = -2)
CONV_BAD(conv_dilation, .dilation = -1)
CONV_BAD(conv_far, .dilation = (int64_t)1 << 40)
CONV_BAD(conv_groups, .groups = -2)
CONV_BAD(conv_p5d2, .padding = 5, .dilation = 2)
CONV_BAD(conv_p1d2, .padding = 1, .dilation = 2)

static void pool_k0_build(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_avg_pool(g, in[0], 0, 1);
}

const cg_bad_case cg_bad_picture[] = {
    {&cg_op_conv2d,
     {OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(6, 4, 1, 1)), OPERAND(CG_SHAPE(5))},
     3,
     relu_p0_build,
     CG_ESHAPE,
     "bias is [5], wanted [6]"},
    {&cg_op_conv2d,
     {OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(6, 4, 1, 1)), OPERAND(CG_SHAPE(6)),
      OPERAND(R4(2, 5, 5, 4))},
     4,
     sum_p0_build,
     CG_ESHAPE,
     "residual is [2, 5, 5, 4], wanted [2, 5, 5, 6]"},
    {&cg_op_conv2d,
     {OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(6, 4, 1, 1)), I32(CG_SHAPE(6))},
     3,
     relu_p0_build,
     CG_EDTYPE,
     "bias is i32"},
    BAD_CONV(conv_relu, OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(6, 4, 1, 1)), CG_EINVAL,
             "relu is 2, wanted 0 or 1"),
    BAD_CONV(conv_s1p1, OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(6, 3, 3, 3)), CG_ESHAPE,
             "weight has 3 input channels, x has 4"),
    BAD_CONV(conv_s1p1, OPERAND(R3(5, 5, 4)), OPERAND(R4(6, 4, 3, 3)), CG_ESHAPE, "x is [5, 5, 4]"),
    BAD_CONV(conv_s1p1, OPERAND(R4(2, 5, 5, 4)), OPERAND(R3(6, 4, 3)), CG_ESHAPE,
             "weight is [6, 4, 3]"),
    BAD_CONV(conv_s1p0, OPERAND(R4(2, 2, 5, 4)), OPERAND(R4(6, 4, 3, 3)), CG_ESHAPE,
             "x has height 2, too small for a kernel of 3 with padding 0"),
    BAD_CONV(conv_s1p0, OPERAND(R4(2, 5, 2, 4)), OPERAND(R4(6, 4, 3, 3)), CG_ESHAPE,
             "x has width 2, too small for a kernel of 3 with padding 0"),
    BAD_CONV(conv_s1p1, OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(6, 4, 1, 1)), CG_EINVAL,
             "padding is 1, wanted less than the kernel's height 1"),
    BAD_CONV(conv_s0, OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(6, 4, 3, 3)), CG_EINVAL,
             "stride is 0, wanted 1 or more"),
    BAD_CONV(conv_negative, OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(6, 4, 3, 3)), CG_EINVAL,
             "padding is -1, wanted 0 or more"),
    BAD_CONV(conv_stride, OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(6, 4, 3, 3)), CG_EINVAL,
             "stride is -2, wanted 1 or more"),
    BAD_CONV(conv_dilation, OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(6, 4, 3, 3)), CG_EINVAL,
             "dilation is -1, wanted 1 or more"),
    BAD_CONV(conv_far, OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(6, 4, 3, 3)), CG_EINVAL,
             "dilation is 1099511627776, wanted 1 to 2147483647"),
    BAD_CONV(conv_groups, OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(6, 2, 3, 3)), CG_EINVAL,
             "groups is -2, wanted 1 or more"),
    BAD_CONV(conv_p1g2, OPERAND(R4(2, 5, 5, 5)), OPERAND(R4(6, 2, 3, 3)), CG_ESHAPE,
             "x has 5 input channels, wanted a multiple of groups 2"),
    BAD_CONV(conv_p1g2, OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(5, 2, 3, 3)), CG_ESHAPE,
             "weight has 5 output channels, wanted a multiple of groups 2"),
    BAD_CONV(conv_p1g2, OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(6, 4, 3, 3)), CG_ESHAPE,
             "weight has 4 input channels, x has 2 in each group"),
    BAD_CONV(conv_p5d2, OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(6, 4, 3, 3)), CG_EINVAL,
             "padding is 5, wanted less than the dilated kernel's height 5"),
    BAD_CONV(conv_p1d2, OPERAND(R4(2, 2, 5, 4)), OPERAND(R4(6, 4, 3, 3)), CG_ESHAPE,
             "x has height 2, too small for a dilated kernel of 5 with padding 1"),
    BAD_CONV(conv_s1p0, OPERAND(R4(2, 5, 5, 4)), OPERAND(R4(6, 4, 0, 3)), CG_ESHAPE,
             "the kernel's height is 0"),
    BAD_CONV(conv_s1p1, OPERAND(R4(2, 5, 5, 0)), OPERAND(R4(6, 0, 3, 3)), CG_ESHAPE,
             "weight has no channels"),
    BAD_CONV(conv_s1p1, I32(R4(2, 5, 5, 4)), OPERAND(R4(6, 4, 3, 3)), CG_EDTYPE, "x is i32"),
    BAD_CONV(conv_s1p1, OPERAND(R4(2, 5, 5, 4)), I32(R4(6, 4, 3, 3)), CG_EDTYPE, "weight is i32"),
    BAD_POOL(pool_k2s2, OPERAND(R4(2, 1, 5, 4)), CG_ESHAPE, "smaller than the kernel 2"),
    BAD_POOL(pool_k2s2, OPERAND(R3(5, 5, 4)), CG_ESHAPE, "x is [5, 5, 4]"),
    BAD_POOL(pool_k0, OPERAND(R4(2, 5, 5, 4)), CG_EINVAL, "kernel is 0 and stride is 1"),
    BAD_POOL(global, OPERAND(R3(5, 5, 4)), CG_ESHAPE, "global_avg_pool: x is [5, 5, 4]"),
    BAD_POOL(global, OPERAND(R4(2, 0, 5, 4)), CG_ESHAPE, "x's pictures have no pixels"),
    BAD_POOL(pool_k2s2, I32(R4(2, 5, 5, 4)), CG_EDTYPE, "x is i32"),
    {0},
};
