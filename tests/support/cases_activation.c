/* Cases: gelu, gelu_tanh, quickgelu, silu, sigmoid, log_sigmoid, tanh, erf, softmax. */
#include "tests/support/op_case.h"

#include <math.h>

#define F32(...)                                                                                   \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -4, 4, 1 }
#define F32_SCALAR                                                                                 \
    { CG_F32, CG_SCALAR, CG_FILL_UNIFORM, -4, 4, 1 }
#define WIDE(...)                                                                                  \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -200, 200, 1 }
#define I32(n)                                                                                     \
    { CG_I32, CG_SHAPE(n), CG_FILL_INTEGER, 0, 9, 0 }

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

#define ACTIVATION(name, expression)                                                               \
    static void build_##name(cg_graph *g, cg_value *const *in, cg_value **out) {                   \
        out[0] = cg_##name(g, in[0]);                                                              \
    }                                                                                              \
    static void reference_##name(cg_case_data *d) {                                                \
        for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++) {                           \
            double x = d->in[0][i];                                                                \
            d->out[0][i] = (expression);                                                           \
        }                                                                                          \
    }
ACTIVATION(gelu, 0.5 * x * erfc(-x / sqrt(2)))
ACTIVATION(gelu_tanh, 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x))))
ACTIVATION(quickgelu, x *sigmoid(1.702 * x))
ACTIVATION(silu, x *sigmoid(x))
ACTIVATION(sigmoid, sigmoid(x))
ACTIVATION(log_sigmoid, fmin(x, 0) - log1p(exp(-fabs(x))))
ACTIVATION(tanh, tanh(x))
ACTIVATION(erf, erf(x))

static void build_softmax(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_softmax(g, in[0]);
}

static void reference_softmax(cg_case_data *d) {
    const cg_shape *s = &d->in_shape[0];
    int64_t width = s->dim[s->rank - 1], count = cg_shape_count(s);
    for (int64_t i = 0; i < count; i += width) {
        double top = -INFINITY, sum = 0;
        for (int64_t j = i; j < i + width; j++) top = fmax(top, d->in[0][j]);
        for (int64_t j = i; j < i + width; j++) sum += exp(d->in[0][j] - top);
        for (int64_t j = i; j < i + width; j++) d->out[0][j] = exp(d->in[0][j] - top) / sum;
    }
}

#define CASE(name, text, ...)                                                                      \
    { &cg_op_##name, text, {__VA_ARGS__}, 1, 1, build_##name, reference_##name, 5e-7, 1e-6 }
#define CASES(name)                                                                                \
    CASE(name, "scalar", F32_SCALAR), CASE(name, "odd size", F32(7, 19)),                          \
        CASE(name, "wide range", WIDE(311)), CASE(name, "empty", F32(3, 0)),                       \
        CASE(name, "large", F32(129, 131))

const cg_op_case cg_cases_activation[] = {
    CASES(gelu),
    CASES(gelu_tanh),
    CASES(quickgelu),
    CASES(silu),
    CASES(sigmoid),
    CASES(log_sigmoid),
    CASES(tanh),
    CASES(erf),
    CASE(erf, "near 0", {CG_F32, CG_SHAPE(257), CG_FILL_UNIFORM, -0.6, 0.6, 1}),
    CASE(softmax, "vector", F32(37)),
    CASE(softmax, "one column", F32(5, 1)),
    CASE(softmax, "odd size", F32(2, 3, 19)),
    CASE(softmax, "wide range", WIDE(7, 33)),
    CASE(softmax, "no rows", F32(0, 5)),
    CASE(softmax, "rows of nothing", F32(5, 0)),
    CASE(softmax, "large", F32(131, 257)),
    CASE(softmax, "large, one row", F32(1, 20011)),
    {0},
};

#define REFUSED(name)                                                                              \
    { &cg_op_##name, {I32(3)}, 1, build_##name, CG_EDTYPE, "x is i32, wanted f32" }

const cg_bad_case cg_bad_activation[] = {
    REFUSED(gelu),
    REFUSED(gelu_tanh),
    REFUSED(quickgelu),
    REFUSED(silu),
    REFUSED(sigmoid),
    REFUSED(log_sigmoid),
    REFUSED(tanh),
    REFUSED(erf),
    REFUSED(softmax),
    {&cg_op_softmax, {F32_SCALAR}, 1, build_softmax, CG_ESHAPE, "x is a scalar"},
    {0},
};
