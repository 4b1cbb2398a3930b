/* Cases of ops on matrices. */
#include "op_case.h"

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

static void linear_reference(cg_case_data *d) {
    int64_t n = d->in_shape[1].dim[0], k = d->in_shape[1].dim[1];
    int64_t rows = cg_shape_count(&d->out_shape[0]) / n;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < n; j++) {
            double sum = d->n_in == 3 ? d->in[2][j] : 0;
            for (int64_t l = 0; l < k; l++) sum += d->in[0][r * k + l] * d->in[1][j * k + l];
            d->out[0][r * n + j] = sum;
        }
}

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
    {0},
};

#define BAD_MATMUL(a, b, status, text)                                                             \
    { &cg_op_matmul, {a, b}, 2, matmul_build, status, text }
#define BAD_LINEAR(x, w, b, status, text)                                                          \
    { &cg_op_linear, {x, w, b}, 3, linear_bias_build, status, text }

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
    BAD_LINEAR(OPERAND(R2(6, 5)), OPERAND(R2(4, 5)), I32(R1(4)), CG_EDTYPE, "bias is i32"),
    {0},
};
