/* Cases of layer_norm, rms_norm and l2norm. */
#include "tests/support/op_case.h"

#include <math.h>

#define EPS 1e-5
#define F32(low, high, ...)                                                                        \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, low, high, 1 }
#define F32_FIXED(low, high, ...)                                                                  \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, low, high, 0 }

static int64_t last_axis(const cg_shape *s) {
    return s->dim[s->rank - 1];
}

/* --- references ------------------------------------------------------------------------------ */

static void layer_norm_reference(cg_case_data *d) {
    int64_t width = last_axis(&d->in_shape[0]);
    for (int64_t r = 0; r < cg_shape_count(&d->in_shape[0]) / width; r++) {
        const double *x = d->in[0] + r * width;
        double mean = 0, var = 0, *y = d->out[0] + r * width;
        for (int64_t j = 0; j < width; j++) mean += x[j] / (double)width;
        for (int64_t j = 0; j < width; j++) var += pow(x[j] - mean, 2) / (double)width;
        for (int64_t j = 0; j < width; j++)
            y[j] = (x[j] - mean) / sqrt(var + (double)(float)EPS) * d->in[1][j] + d->in[2][j];
    }
}

static void rms_norm_reference(cg_case_data *d) {
    int64_t width = last_axis(&d->in_shape[0]);
    for (int64_t r = 0; r < cg_shape_count(&d->in_shape[0]) / width; r++) {
        const double *x = d->in[0] + r * width;
        double sum = 0, *y = d->out[0] + r * width;
        for (int64_t j = 0; j < width; j++) sum += x[j] * x[j] / (double)width;
        for (int64_t j = 0; j < width; j++)
            y[j] = x[j] / sqrt(sum + (double)(float)EPS) * d->in[1][j];
    }
}

static void l2norm_zeros_reference(cg_case_data *d) {
    for (int64_t i = 0; i < cg_shape_count(&d->in_shape[0]); i++) d->out[0][i] = 0;
}

static void l2norm_reference(cg_case_data *d) {
    int64_t width = last_axis(&d->in_shape[0]);
    for (int64_t r = 0; r < cg_shape_count(&d->in_shape[0]) / width; r++) {
        const double *x = d->in[0] + r * width;
        double sum = 0;
        for (int64_t j = 0; j < width; j++) sum += x[j] * x[j];
        for (int64_t j = 0; j < width; j++)
            d->out[0][r * width + j] = x[j] / sqrt(sum + (double)(float)EPS);
    }
}

/* --- builders -------------------------------------------------------------------------------- */

static void layer_norm(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_layer_norm(g, in[0], in[1], in[2], (float)EPS);
}

static void l2norm(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_l2norm(g, in[0], (float)EPS);
}

static void l2norm_no_eps(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_l2norm(g, in[0], 0);
}

static void rms_norm(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_rms_norm(g, in[0], in[1], (float)EPS);
}

static void rms_norm_bad_eps(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_rms_norm(g, in[0], in[1], -1);
}

static void layer_norm_bad_eps(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_layer_norm(g, in[0], in[1], in[2], -1);
}

static void l2norm_bad_eps(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_l2norm(g, in[0], -1);
}

/* --- tables ---------------------------------------------------------------------------------- */

const cg_op_case cg_cases_norm[] = {
    {.op = &cg_op_layer_norm,
     .label = "rank 3",
     .in = {F32(-2, 3, 3, 5, 24), F32(0.5, 1.5, 24), F32(-1, 1, 24)},
     .n_in = 3,
     .n_out = 1,
     .build = layer_norm,
     .reference = layer_norm_reference},
    {.op = &cg_op_layer_norm,
     .label = "odd width, two chunks",
     .in = {F32(-2, 3, 19, 13), F32(0.5, 1.5, 13), F32(-1, 1, 13)},
     .n_in = 3,
     .n_out = 1,
     .build = layer_norm,
     .reference = layer_norm_reference},
    {.op = &cg_op_layer_norm,
     .label = "width 512",
     .in = {F32_FIXED(-2, 3, 130, 512), F32_FIXED(0.5, 1.5, 512), F32_FIXED(-1, 1, 512)},
     .n_in = 3,
     .n_out = 1,
     .build = layer_norm,
     .reference = layer_norm_reference},
    {.op = &cg_op_rms_norm,
     .label = "rank 3",
     .in = {F32(-2, 3, 3, 5, 24), F32(0.5, 1.5, 24)},
     .n_in = 2,
     .n_out = 1,
     .build = rms_norm,
     .reference = rms_norm_reference},
    {.op = &cg_op_rms_norm,
     .label = "odd width, two chunks",
     .in = {F32(-2, 3, 19, 13), F32(0.5, 1.5, 13)},
     .n_in = 2,
     .n_out = 1,
     .build = rms_norm,
     .reference = rms_norm_reference},
    {.op = &cg_op_rms_norm,
     .label = "vector",
     .in = {F32(-2, 3, 9), F32(0.5, 1.5, 9)},
     .n_in = 2,
     .n_out = 1,
     .build = rms_norm,
     .reference = rms_norm_reference},
    {.op = &cg_op_rms_norm,
     .label = "no row",
     .in = {F32(-2, 3, 0, 9), F32(0.5, 1.5, 9)},
     .n_in = 2,
     .n_out = 1,
     .build = rms_norm,
     .reference = rms_norm_reference},
    {.op = &cg_op_rms_norm,
     .label = "width 512",
     .in = {F32(-2, 3, 130, 512), F32(0.5, 1.5, 512)},
     .n_in = 2,
     .n_out = 1,
     .build = rms_norm,
     .reference = rms_norm_reference},
    {.op = &cg_op_l2norm,
     .label = "rows of zeros, no eps",
     .in = {{CG_F32, CG_SHAPE(3, 21), CG_FILL_UNIFORM, 0, 0, 0}},
     .n_in = 1,
     .n_out = 1,
     .build = l2norm_no_eps,
     .reference = l2norm_zeros_reference},
    {.op = &cg_op_l2norm,
     .label = "matrix",
     .in = {F32(-2, 2, 5, 21)},
     .n_in = 1,
     .n_out = 1,
     .build = l2norm,
     .reference = l2norm_reference},
    {.op = &cg_op_l2norm,
     .label = "vector",
     .in = {F32(-2, 2, 9)},
     .n_in = 1,
     .n_out = 1,
     .build = l2norm,
     .reference = l2norm_reference},
    {.op = &cg_op_l2norm,
     .label = "embeddings",
     .in = {F32_FIXED(-2, 2, 70, 512)},
     .n_in = 1,
     .n_out = 1,
     .build = l2norm,
     .reference = l2norm_reference},
    {0},
};

#define SCALAR                                                                                     \
    { CG_F32, {0, {0}}, CG_FILL_UNIFORM, -1, 1, 0 }
#define I32(...)                                                                                   \
    { CG_I32, CG_SHAPE(__VA_ARGS__), CG_FILL_INTEGER, 0, 2, 0 }
#define ANY(...) F32_FIXED(-1, 1, __VA_ARGS__)

const cg_bad_case cg_bad_norm[] = {
    {&cg_op_layer_norm, {SCALAR, ANY(1), ANY(1)}, 3, layer_norm, CG_ESHAPE, "x is a scalar"},
    {&cg_op_layer_norm, {ANY(2, 0), ANY(0), ANY(0)}, 3, layer_norm, CG_ESHAPE, "[2, 0] are empty"},
    {&cg_op_layer_norm, {I32(2, 3), ANY(3), ANY(3)}, 3, layer_norm, CG_EDTYPE, "x is i32"},
    {&cg_op_layer_norm, {ANY(2, 3), ANY(3), I32(3)}, 3, layer_norm, CG_EDTYPE, "bias is i32"},
    {&cg_op_layer_norm,
     {ANY(2, 3), ANY(2), ANY(3)},
     3,
     layer_norm,
     CG_ESHAPE,
     "gain is [2], wanted [3]"},
    {&cg_op_layer_norm, {ANY(2, 3), ANY(3), ANY(3)}, 3, layer_norm_bad_eps, CG_EINVAL, "eps is -1"},
    {&cg_op_rms_norm, {SCALAR, ANY(1)}, 2, rms_norm, CG_ESHAPE, "x is a scalar"},
    {&cg_op_rms_norm, {ANY(2, 0), ANY(0)}, 2, rms_norm, CG_ESHAPE, "[2, 0] are empty"},
    {&cg_op_rms_norm, {I32(2, 3), ANY(3)}, 2, rms_norm, CG_EDTYPE, "x is i32"},
    {&cg_op_rms_norm, {ANY(2, 3), I32(3)}, 2, rms_norm, CG_EDTYPE, "gain is i32"},
    {&cg_op_rms_norm, {ANY(2, 3), ANY(2)}, 2, rms_norm, CG_ESHAPE, "gain is [2], wanted [3]"},
    {&cg_op_rms_norm, {ANY(2, 3), ANY(3)}, 2, rms_norm_bad_eps, CG_EINVAL, "eps is -1"},
    {&cg_op_l2norm, {SCALAR}, 1, l2norm, CG_ESHAPE, "x is a scalar"},
    {&cg_op_l2norm, {ANY(2, 0)}, 1, l2norm, CG_ESHAPE, "[2, 0] are empty"},
    {&cg_op_l2norm, {I32(2, 3)}, 1, l2norm, CG_EDTYPE, "x is i32"},
    {&cg_op_l2norm, {ANY(2, 3)}, 1, l2norm_bad_eps, CG_EINVAL, "eps is -1"},
    {0},
};
