/* Cases of batch_norm, with and without what is fused with it, and batch_norm_inference. */
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

static void affine(const double *x, int64_t rows, int64_t channels, const double *gain,
                   const double *bias, const double *mean, const double *var, double *y) {
    for (int64_t i = 0; i < rows * channels; i++) {
        int64_t c = i % channels;
        y[i] = (x[i] - mean[c]) * gain[c] / sqrt(var[c] + (double)(float)EPS) + bias[c];
    }
}

static void batch_norm_reference(cg_case_data *d) {
    int64_t channels = last_axis(&d->in_shape[0]);
    int64_t rows = cg_shape_count(&d->in_shape[0]) / channels;
    const double *x = d->in[0];
    double *mean = d->out[1], *var = d->out[2];
    for (int64_t c = 0; c < channels; c++) {
        mean[c] = var[c] = 0;
        for (int64_t r = 0; r < rows; r++) mean[c] += x[r * channels + c] / (double)rows;
        for (int64_t r = 0; r < rows; r++)
            var[c] += pow(x[r * channels + c] - mean[c], 2) / (double)rows;
    }
    affine(x, rows, channels, d->in[1], d->in[2], mean, var, d->out[0]);
}

static void batch_norm_inference_reference(cg_case_data *d) {
    int64_t channels = last_axis(&d->in_shape[0]);
    affine(d->in[0], cg_shape_count(&d->in_shape[0]) / channels, channels, d->in[1], d->in[2],
           d->in[3], d->in[4], d->out[0]);
}

enum { LARGEST = 4 * 37 * 41 * 19 };

/* relu(batch_norm(x) + residual), without the residual where there are three operands. */
static void relu_reference(cg_case_data *d) {
    double mean[256], var[256];
    cg_case_data all = *d;
    all.out[1] = mean;
    all.out[2] = var;
    batch_norm_reference(&all);
    for (int64_t i = 0; i < cg_shape_count(&d->in_shape[0]); i++) {
        double y = d->out[0][i] + (d->n_in > 3 ? d->in[3][i] : 0);
        d->out[0][i] = y < 0 ? 0 : y;
    }
}

static void residual_reference(cg_case_data *d) {
    batch_norm_reference(d);
    for (int64_t i = 0; i < cg_shape_count(&d->in_shape[0]); i++) d->out[0][i] += d->in[3][i];
}

/* Blocks, each the residual of the next, as many as there are operands for; the norms share their
 * parameters. */
static void chain_reference(cg_case_data *d) {
    static double y[2][LARGEST];
    const double *residual = d->in[1];
    int blocks = d->n_in - 3;
    for (int i = 0; i < blocks; i++) {
        cg_case_data one = {.n_in = 4,
                            .in_shape = {d->in_shape[0]},
                            .in = {d->in[i == 0 ? 0 : i + 3], d->in[2], d->in[3], residual},
                            .out = {i == blocks - 1 ? d->out[0] : y[i]}};
        relu_reference(&one);
        residual = one.out[0];
    }
}

/* --- builders -------------------------------------------------------------------------------- */

static void batch_norm(cg_graph *g, cg_value *const *in, cg_value **out) {
    cg_batch_norm_result r = cg_batch_norm(g, in[0], in[1], in[2], (float)EPS);
    out[0] = r.y;
    out[1] = r.mean;
    out[2] = r.var;
}

static void batch_norm_y(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_batch_norm(g, in[0], in[1], in[2], (float)EPS).y;
}

static void batch_norm_var(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_batch_norm(g, in[0], in[1], in[2], (float)EPS).var;
}

static void batch_norm_y_reference(cg_case_data *d) {
    double mean[256], var[256];
    cg_case_data all = *d;
    all.out[1] = mean;
    all.out[2] = var;
    batch_norm_reference(&all);
}

static void batch_norm_var_reference(cg_case_data *d) {
    double y[4096], mean[256];
    cg_case_data all = *d;
    all.out[0] = y;
    all.out[1] = mean;
    all.out[2] = d->out[0];
    batch_norm_reference(&all);
}

static void batch_norm_inference(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_batch_norm_inference(g, in[0], in[1], in[2], in[3], in[4], (float)EPS);
}

static void with(cg_graph *g, cg_value *const *in, int relu, cg_value *residual, cg_value **out) {
    cg_batch_norm_result r = cg_batch_norm_with(
        g, in[0], in[1], in[2],
        (cg_batch_norm_options){.eps = (float)EPS, .relu = relu, .residual = residual});
    out[0] = r.y;
    out[1] = r.mean;
    out[2] = r.var;
}

static void relu(cg_graph *g, cg_value *const *in, cg_value **out) {
    cg_value *all[3];
    with(g, in, 1, NULL, all);
    out[0] = all[0];
}

static void residual_relu(cg_graph *g, cg_value *const *in, cg_value **out) {
    cg_value *all[3];
    with(g, in, 1, in[3], all);
    out[0] = all[0];
}

static void residual(cg_graph *g, cg_value *const *in, cg_value **out) {
    with(g, in, 0, in[3], out);
}

static void relu_2(cg_graph *g, cg_value *const *in, cg_value **out) {
    with(g, in, 2, NULL, out);
}

static void chain(cg_graph *g, cg_value *const *in, cg_value **out) {
    cg_value *y = in[1];
    for (int i = 0; i == 0 || in[i + 3]; i++) {
        cg_value *operand[] = {in[i == 0 ? 0 : i + 3], in[2], in[3]}, *all[3];
        with(g, operand, 1, y, all);
        y = all[0];
    }
    out[0] = y;
}

static void batch_norm_bad_eps(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_batch_norm(g, in[0], in[1], in[2], -1).y;
}

/* --- tables ---------------------------------------------------------------------------------- */

const cg_op_case cg_cases_batch_norm[] = {
    {.op = &cg_op_batch_norm,
     .label = "pictures; y, mean and var",
     .in = {F32(-2, 3, 3, 4, 5, 6), F32(0.5, 1.5, 6), F32(-1, 1, 6)},
     .n_in = 3,
     .n_out = 3,
     .build = batch_norm,
     .reference = batch_norm_reference},
    {.op = &cg_op_batch_norm,
     .label = "y alone, 17 channels",
     .in = {F32(-2, 3, 33, 17), F32(0.5, 1.5, 17), F32(-1, 1, 17)},
     .n_in = 3,
     .n_out = 1,
     .build = batch_norm_y,
     .reference = batch_norm_y_reference},
    {.op = &cg_op_batch_norm,
     .label = "var alone",
     .in = {F32(-2, 3, 9, 5), F32_FIXED(0.5, 1.5, 5), F32_FIXED(-1, 1, 5)},
     .n_in = 3,
     .n_out = 1,
     .build = batch_norm_var,
     .reference = batch_norm_var_reference},
    {.op = &cg_op_batch_norm,
     .label = "many rows, many chunks",
     .in = {F32_FIXED(-1, 3, 4, 37, 41, 19), F32_FIXED(0.5, 1.5, 19), F32_FIXED(-1, 1, 19)},
     .n_in = 3,
     .n_out = 3,
     .build = batch_norm,
     .reference = batch_norm_reference},
    {.op = &cg_op_batch_norm,
     .label = "mean far above the deviation",
     .in = {F32_FIXED(1000, 1001, 700, 24), F32_FIXED(0.5, 1.5, 24), F32_FIXED(-1, 1, 24)},
     .n_in = 3,
     .n_out = 3,
     .build = batch_norm,
     .reference = batch_norm_reference,
     .tolerance = 2e-4}, /* the rounding of the mean itself: 3e-5 of a deviation of 0.3 */
    {.op = &cg_op_batch_norm,
     .label = "one row",
     .in = {F32_FIXED(-2, 3, 1, 7), F32_FIXED(0.5, 1.5, 7), F32_FIXED(-1, 1, 7)},
     .n_in = 3,
     .n_out = 3,
     .build = batch_norm,
     .reference = batch_norm_reference},
    {.op = &cg_op_batch_norm_inference,
     .label = "all five operands",
     .in = {F32(-2, 3, 2, 3, 4, 7), F32(0.5, 1.5, 7), F32(-1, 1, 7), F32(-1, 1, 7), F32(0.5, 2, 7)},
     .n_in = 5,
     .n_out = 1,
     .build = batch_norm_inference,
     .reference = batch_norm_inference_reference},
    {.op = &cg_op_batch_norm_inference,
     .label = "large",
     .in = {F32_FIXED(-2, 3, 2, 33, 31, 40), F32_FIXED(0.5, 1.5, 40), F32_FIXED(-1, 1, 40),
            F32_FIXED(-1, 1, 40), F32_FIXED(0.5, 2, 40)},
     .n_in = 5,
     .n_out = 1,
     .build = batch_norm_inference,
     .reference = batch_norm_inference_reference},
    {.op = &cg_op_batch_norm,
     .label = "relu",
     .in = {F32(-2, 3, 3, 4, 5, 6), F32(0.5, 1.5, 6), F32(-1, 1, 6)},
     .n_in = 3,
     .n_out = 1,
     .build = relu,
     .reference = relu_reference},
    {.op = &cg_op_batch_norm,
     .label = "relu, an odd number of rows",
     .in = {F32(-2, 3, 33, 17), F32(0.5, 1.5, 17), F32(-1, 1, 17)},
     .n_in = 3,
     .n_out = 1,
     .build = relu,
     .reference = relu_reference},
    {.op = &cg_op_batch_norm,
     .label = "relu, many rows, few channels",
     .in = {F32_FIXED(-1, 3, 4, 32, 40, 12), F32_FIXED(0.5, 1.5, 12), F32(-1, 1, 12)},
     .n_in = 3,
     .n_out = 1,
     .build = relu,
     .reference = relu_reference},
    {.op = &cg_op_batch_norm,
     .label = "residual and relu",
     .in = {F32(-2, 3, 3, 4, 5, 6), F32(0.5, 1.5, 6), F32(-1, 1, 6), F32(-1, 1, 3, 4, 5, 6)},
     .n_in = 4,
     .n_out = 1,
     .build = residual_relu,
     .reference = relu_reference},
    {.op = &cg_op_batch_norm,
     .label = "residual and relu, many rows",
     .in = {F32(-1, 3, 4, 37, 41, 19), F32_FIXED(0.5, 1.5, 19), F32_FIXED(-1, 1, 19),
            F32(-1, 1, 4, 37, 41, 19)},
     .n_in = 4,
     .n_out = 1,
     .build = residual_relu,
     .reference = relu_reference},
    {.op = &cg_op_batch_norm,
     .label = "residual",
     .in = {F32(-2, 3, 9, 10), F32(0.5, 1.5, 10), F32(-1, 1, 10), F32(-1, 1, 9, 10)},
     .n_in = 4,
     .n_out = 3,
     .build = residual,
     .reference = residual_reference},
    {.op = &cg_op_batch_norm,
     .label = "two blocks, each the residual of the next",
     .in = {F32(-2, 3, 2, 4, 5, 6), F32(-1, 1, 2, 4, 5, 6), F32(0.5, 1.5, 6), F32(-1, 1, 6),
            F32(-2, 3, 2, 4, 5, 6)},
     .n_in = 5,
     .n_out = 1,
     .build = chain,
     .reference = chain_reference},
    {.op = &cg_op_batch_norm,
     .label = "three blocks, each the residual of the next",
     .in = {F32(-2, 3, 2, 4, 5, 6), F32(-1, 1, 2, 4, 5, 6), F32(0.5, 1.5, 6), F32(-1, 1, 6),
            F32(-2, 3, 2, 4, 5, 6), F32(-2, 3, 2, 4, 5, 6)},
     .n_in = 6,
     .n_out = 1,
     .build = chain,
     .reference = chain_reference},
    {0},
};

#define SCALAR                                                                                     \
    { CG_F32, {0, {0}}, CG_FILL_UNIFORM, -1, 1, 0 }
#define I32(...)                                                                                   \
    { CG_I32, CG_SHAPE(__VA_ARGS__), CG_FILL_INTEGER, 0, 2, 0 }
#define ANY(...) F32_FIXED(-1, 1, __VA_ARGS__)

const cg_bad_case cg_bad_batch_norm[] = {
    {&cg_op_batch_norm, {SCALAR, ANY(1), ANY(1)}, 3, batch_norm, CG_ESHAPE, "x is a scalar"},
    {&cg_op_batch_norm, {ANY(0, 3), ANY(3), ANY(3)}, 3, batch_norm, CG_ESHAPE, "[0, 3] is empty"},
    {&cg_op_batch_norm, {I32(2, 3), ANY(3), ANY(3)}, 3, batch_norm, CG_EDTYPE, "x is i32"},
    {&cg_op_batch_norm, {ANY(2, 3), I32(3), ANY(3)}, 3, batch_norm, CG_EDTYPE, "gain is i32"},
    {&cg_op_batch_norm,
     {ANY(2, 3), ANY(3), ANY(4)},
     3,
     batch_norm,
     CG_ESHAPE,
     "bias is [4], wanted [3]"},
    {&cg_op_batch_norm, {ANY(2, 3), ANY(3), ANY(3)}, 3, batch_norm_bad_eps, CG_EINVAL, "eps is -1"},
    {&cg_op_batch_norm_inference,
     {ANY(2, 3), ANY(3), ANY(3), ANY(2), ANY(3)},
     5,
     batch_norm_inference,
     CG_ESHAPE,
     "mean is [2], wanted [3]"},
    {&cg_op_batch_norm_inference,
     {ANY(2, 3), ANY(3), ANY(3), ANY(3), I32(3)},
     5,
     batch_norm_inference,
     CG_EDTYPE,
     "var is i32"},
    {&cg_op_batch_norm, {ANY(2, 3), ANY(3), ANY(3)}, 3, relu_2, CG_EINVAL, "relu is 2, wanted 0"},
    {&cg_op_batch_norm,
     {ANY(2, 3), ANY(3), ANY(3), ANY(3, 3)},
     4,
     residual,
     CG_ESHAPE,
     "x is [2, 3] but residual is [3, 3]"},
    {&cg_op_batch_norm,
     {ANY(2, 3), ANY(3), ANY(3), I32(2, 3)},
     4,
     residual,
     CG_EDTYPE,
     "residual is i32"},
    {0},
};
