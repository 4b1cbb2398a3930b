/* Cases of ops on matrices. */
#include "op_case.h"

#include <math.h>

// clang-format off
#define SCALAR {0, {0}}
#define R1(a) {1, {a}}
#define R2(a, b) {2, {a, b}}
#define R3(a, b, c) {3, {a, b, c}}
#define R4(a, b, c, d) {4, {a, b, c, d}}
#define OPERAND(...) {CG_F32, __VA_ARGS__, CG_FILL_UNIFORM, -1, 1, 1}
#define I32(...) {CG_I32, __VA_ARGS__, CG_FILL_INTEGER, 0, 3, 0}
// clang-format on

/* --- matmul ----------------------------------------------------------------------------------- */

static void product(cg_case_data *d, int ta, int tb) {
    const cg_shape *a = &d->in_shape[0], *y = &d->out_shape[0];
    int last = a->rank - 1;
    int64_t m = y->dim[last - 1], n = y->dim[last], k = a->dim[ta ? last - 1 : last];
    int64_t batch = 1;
    for (int i = 0; i < last - 1; i++) batch *= y->dim[i];
    for (int64_t s = 0; s < batch; s++)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++) {
                double sum = 0;
                for (int64_t l = 0; l < k; l++)
                    sum += d->in[0][s * m * k + (ta ? l * m + i : i * k + l)] *
                           d->in[1][s * k * n + (tb ? j * k + l : l * n + j)];
                d->out[0][(s * m + i) * n + j] = sum;
            }
}

#define MATMUL(name, ta, tb)                                                                       \
    static void name##_build(cg_graph *g, cg_value *const *in, cg_value **out) {                   \
        out[0] = cg_matmul(g, in[0], in[1], ta, tb);                                               \
    }                                                                                              \
    static void name##_reference(cg_case_data *d) {                                                \
        product(d, ta, tb);                                                                        \
    }

MATMUL(matmul, 0, 0)
MATMUL(matmul_ta, 1, 0)
MATMUL(matmul_tb, 0, 1)
MATMUL(matmul_tatb, 1, 1)

#define MATMUL_CASE(f, text, a, b)                                                                 \
    { &cg_op_matmul, text, {OPERAND(a), OPERAND(b)}, 2, 1, f##_build, f##_reference, 0, 0 }

/* --- linear ----------------------------------------------------------------------------------- */

static void linear_build(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_linear(g, in[0], in[1], NULL);
}

static void linear_bias_build(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_linear(g, in[0], in[1], in[2]);
}

/* f(x · weightᵀ + bias) + residual, of so many operands */
static void layer_reference(cg_case_data *d, double (*f)(double)) {
    int64_t n = d->in_shape[1].dim[0], k = d->in_shape[1].dim[1];
    int64_t rows = cg_shape_count(&d->out_shape[0]) / n;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < n; j++) {
            double sum = d->n_in >= 3 ? d->in[2][j] : 0;
            for (int64_t l = 0; l < k; l++) sum += d->in[0][r * k + l] * d->in[1][j * k + l];
            d->out[0][r * n + j] = f(sum) + (d->n_in == 4 ? d->in[3][r * n + j] : 0);
        }
}

static double none(double u) {
    return u;
}
static double relu(double u) {
    return u > 0 ? u : 0;
}
static double gelu(double u) {
    return u * 0.5 * (1 + erf(u * sqrt(0.5)));
}
static double gelu_tanh(double u) {
    return 0.5 * u * (1 + tanh(0.7978845608028654 * (u + 0.044715 * u * u * u)));
}
static double quickgelu(double u) {
    return u / (1 + exp(-1.702 * u));
}
static double silu(double u) {
    return u / (1 + exp(-u));
}

static void linear_reference(cg_case_data *d) {
    layer_reference(d, none);
}

/* f_layer_build: of two operands, three, or four */
#define LAYER(f, F)                                                                                \
    static void f##_layer_build(cg_graph *g, cg_value *const *in, cg_value **out) {                \
        out[0] = cg_linear_with(g, in[0], in[1], in[2], CG_EPILOGUE_##F, in[3]);                   \
    }                                                                                              \
    static void f##_layer_reference(cg_case_data *d) {                                             \
        layer_reference(d, f);                                                                     \
    }
LAYER(none, NONE)
LAYER(relu, RELU)
LAYER(gelu, GELU)
LAYER(gelu_tanh, GELU_TANH)
LAYER(quickgelu, QUICKGELU)
LAYER(silu, SILU)

static void beyond_layer_build(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_linear_with(g, in[0], in[1], in[2], CG_EPILOGUES, in[3]);
}

#define LAYER_CASE(f, text, n, ...)                                                                \
    { &cg_op_linear, text, {__VA_ARGS__}, n, 1, f##_layer_build, f##_layer_reference, 0, 0 }
#define LAYER_CASES(f)                                                                             \
    LAYER_CASE(f, #f, 3, OPERAND(R2(6, 5)), OPERAND(R2(4, 5)), OPERAND(R1(4))),                    \
        LAYER_CASE(f, #f ", no bias", 2, OPERAND(R2(6, 5)), OPERAND(R2(4, 5))),                    \
        LAYER_CASE(f, #f ", residual", 4, OPERAND(R2(7, 5)), OPERAND(R2(3, 5)), OPERAND(R1(3)),    \
                   OPERAND(R2(7, 3))),                                                             \
        LAYER_CASE(f, #f ", residual, three axes", 4, OPERAND(R3(2, 3, 5)), OPERAND(R2(4, 5)),     \
                   OPERAND(R1(4)), OPERAND(R3(2, 3, 4)))

#define LINEAR_CASE(text, x, w)                                                                    \
    { &cg_op_linear, text, {OPERAND(x), OPERAND(w)}, 2, 1, linear_build, linear_reference, 0, 0 }
#define LINEAR_BIAS_CASE(text, x, w, b)                                                            \
    {                                                                                              \
        &cg_op_linear, text, {OPERAND(x), OPERAND(w), OPERAND(b)}, 3, 1, linear_bias_build,        \
            linear_reference, 0, 0                                                                 \
    }

const cg_op_case cg_cases_matrix[] = {
    MATMUL_CASE(matmul, "plain", R2(5, 7), R2(7, 3)),
    MATMUL_CASE(matmul_ta, "a transposed", R2(7, 5), R2(7, 3)),
    MATMUL_CASE(matmul_tb, "b transposed", R2(5, 7), R2(3, 7)),
    MATMUL_CASE(matmul_tatb, "both transposed", R2(7, 5), R2(3, 7)),
    MATMUL_CASE(matmul, "batch", R3(3, 5, 7), R3(3, 7, 4)),
    MATMUL_CASE(matmul_ta, "batch, a transposed", R3(3, 7, 5), R3(3, 7, 4)),
    MATMUL_CASE(matmul_tb, "batch, b transposed", R3(3, 5, 7), R3(3, 4, 7)),
    MATMUL_CASE(matmul_tatb, "batch, both transposed", R3(3, 7, 5), R3(3, 4, 7)),
    MATMUL_CASE(matmul, "two leading axes", R4(2, 3, 4, 5), R4(2, 3, 5, 6)),
    MATMUL_CASE(matmul, "a batch of 1", R3(1, 4, 5), R3(1, 5, 6)),
    MATMUL_CASE(matmul, "a row and a column", R2(1, 9), R2(9, 1)),
    MATMUL_CASE(matmul, "an outer product", R2(6, 1), R2(1, 5)),
    MATMUL_CASE(matmul, "nothing to sum", R2(3, 0), R2(0, 4)),
    MATMUL_CASE(matmul, "no rows", R2(0, 3), R2(3, 4)),
    MATMUL_CASE(matmul, "wider than a vector", R2(9, 33), R2(33, 66)),
    LINEAR_BIAS_CASE("bias", R2(6, 5), R2(4, 5), R1(4)),
    LINEAR_CASE("no bias", R2(6, 5), R2(4, 5)),
    LINEAR_BIAS_CASE("three axes", R3(2, 3, 5), R2(4, 5), R1(4)),
    LINEAR_BIAS_CASE("one axis", R1(5), R2(4, 5), R1(4)),
    LINEAR_BIAS_CASE("one row, one output", R2(1, 5), R2(1, 5), R1(1)),
    LINEAR_BIAS_CASE("no rows", R2(0, 5), R2(4, 5), R1(4)),
    LINEAR_BIAS_CASE("wider than a vector", R2(9, 20), R2(66, 20), R1(66)),
    LAYER_CASES(none),
    LAYER_CASES(relu),
    LAYER_CASES(gelu),
    LAYER_CASES(gelu_tanh),
    LAYER_CASES(quickgelu),
    LAYER_CASES(silu),
    LAYER_CASE(gelu, "residual, wider than a vector", 4, OPERAND(R2(9, 20)), OPERAND(R2(66, 20)),
               OPERAND(R1(66)), OPERAND(R2(9, 66))),
    LAYER_CASE(gelu, "residual, no rows", 4, OPERAND(R2(0, 5)), OPERAND(R2(4, 5)), OPERAND(R1(4)),
               OPERAND(R2(0, 4))),
    {0},
};

#define BAD_MATMUL(a, b, status, text)                                                             \
    { &cg_op_matmul, {a, b}, 2, matmul_build, status, text }
#define BAD_LINEAR(x, w, b, status, text)                                                          \
    { &cg_op_linear, {x, w, b}, 3, linear_bias_build, status, text }

#define BAD_LAYER(f, x, w, b, r, status, text)                                                     \
    { &cg_op_linear, {x, w, b, r}, 4, f##_layer_build, status, text }

const cg_bad_case cg_bad_matrix[] = {
    BAD_MATMUL(OPERAND(R2(5, 7)), OPERAND(R2(6, 3)), CG_ESHAPE,
               "a [5, 7] has 7 columns, b [6, 3] has 6 rows"),
    {&cg_op_matmul,
     {OPERAND(R2(5, 7)), OPERAND(R2(5, 7))},
     2,
     matmul_tatb_build,
     CG_ESHAPE,
     "a [5, 7] transposed has 5 columns, b [5, 7] transposed has 7 rows"},
    BAD_MATMUL(OPERAND(R1(7)), OPERAND(R1(7)), CG_ESHAPE, "wanted equal ranks of 2 or more"),
    BAD_MATMUL(OPERAND(R3(2, 5, 7)), OPERAND(R2(7, 3)), CG_ESHAPE, "wanted equal ranks"),
    BAD_MATMUL(OPERAND(R3(2, 5, 7)), OPERAND(R3(3, 7, 3)), CG_ESHAPE, "wanted equal leading axes"),
    BAD_MATMUL(I32(R2(5, 7)), OPERAND(R2(7, 3)), CG_EDTYPE, "a is i32, wanted f32"),
    BAD_MATMUL(OPERAND(R2(5, 7)), I32(R2(7, 3)), CG_EDTYPE, "b is i32, wanted f32"),
    BAD_LINEAR(OPERAND(R2(6, 5)), OPERAND(R2(4, 7)), OPERAND(R1(4)), CG_ESHAPE,
               "weight has 7 columns, x has 5"),
    BAD_LINEAR(OPERAND(R2(6, 5)), OPERAND(R2(4, 5)), OPERAND(R1(3)), CG_ESHAPE,
               "bias has 3 elements, weight has 4 rows"),
    BAD_LINEAR(OPERAND(R2(6, 5)), OPERAND(R2(4, 5)), OPERAND(R2(1, 4)), CG_ESHAPE,
               "bias is [1, 4]"),
    BAD_LINEAR(OPERAND(R2(6, 5)), OPERAND(R1(5)), OPERAND(R1(4)), CG_ESHAPE, "weight is [5]"),
    BAD_LINEAR(OPERAND(SCALAR), OPERAND(R2(4, 5)), OPERAND(R1(4)), CG_ESHAPE, "x is a scalar"),
    BAD_LINEAR(OPERAND(R2(6, 0)), OPERAND(R2(4, 0)), OPERAND(R1(4)), CG_ESHAPE, "x has no columns"),
    BAD_LINEAR(I32(R2(6, 5)), OPERAND(R2(4, 5)), OPERAND(R1(4)), CG_EDTYPE, "x is i32"),
    BAD_LAYER(beyond, OPERAND(R2(6, 5)), OPERAND(R2(4, 5)), OPERAND(R1(4)), OPERAND(R2(6, 4)),
              CG_EINVAL, "f is 6, wanted 0 to 5"),
    BAD_LAYER(gelu, OPERAND(R2(6, 5)), OPERAND(R2(4, 5)), OPERAND(R1(4)), OPERAND(R2(6, 5)),
              CG_ESHAPE, "residual is [6, 5], wanted [6, 4]"),
    BAD_LAYER(gelu, OPERAND(R2(6, 5)), OPERAND(R2(4, 5)), OPERAND(R1(4)), OPERAND(R1(4)), CG_ESHAPE,
              "residual is [4], wanted [6, 4]"),
    BAD_LAYER(none, OPERAND(R3(2, 3, 5)), OPERAND(R2(4, 5)), OPERAND(R1(4)), OPERAND(R2(6, 4)),
              CG_ESHAPE, "residual is [6, 4], wanted [2, 3, 4]"),
    BAD_LAYER(none, OPERAND(R2(6, 5)), OPERAND(R2(4, 5)), OPERAND(R1(4)), I32(R2(6, 4)), CG_EDTYPE,
              "residual is i32"),
    BAD_LINEAR(OPERAND(R2(6, 5)), OPERAND(R2(4, 5)), I32(R1(4)), CG_EDTYPE, "bias is i32"),
    {0},
};
