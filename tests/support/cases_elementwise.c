/* Cases: add, sub, mul, div, select, scale, neg, exp, log, sqrt, floor, is_nan, clamp, relu, cast.
 */
#include "tests/support/op_case.h"
#include "tests/support/reference.h"

#include <math.h>

#define F32(...)                                                                                   \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -2, 2, 1 }
#define F32_SCALAR                                                                                 \
    { CG_F32, CG_SCALAR, CG_FILL_UNIFORM, -2, 2, 1 }
#define NONZERO(...)                                                                               \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_NONZERO, -2, 2, 1 }
#define POSITIVE(...)                                                                              \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, 0.5, 4, 1 }
#define I32(...)                                                                                   \
    { CG_I32, CG_SHAPE(__VA_ARGS__), CG_FILL_INTEGER, 0, 9, 0 }
#define I64(...)                                                                                   \
    { CG_I64, CG_SHAPE(__VA_ARGS__), CG_FILL_INTEGER, -9, 9, 0 }

static void build_add(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_add(g, in[0], in[1]);
}

static void build_sub(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_sub(g, in[0], in[1]);
}

static void build_mul(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_mul(g, in[0], in[1]);
}

static void build_div(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_div(g, in[0], in[1]);
}

static void build_select(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_select(g, in[0], in[1], in[2]);
}

static void build_add_self(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_add(g, in[0], in[0]);
}

static void build_mul_self(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_mul(g, in[0], in[0]);
}

static void build_sub_self(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_sub(g, in[0], in[0]);
}

static void build_div_self(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_div(g, in[0], in[0]);
}

static void build_scale(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_scale(g, in[0], -0.75f);
}

static void build_neg(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_neg(g, in[0]);
}

static void build_exp(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_exp(g, in[0]);
}

static void build_log(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_log(g, in[0]);
}

static void build_sqrt(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_sqrt(g, in[0]);
}

/* Values are at least 0.1 from 0 and at most 2 from it: no difference straddles these bounds. */
static void build_clamp(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_clamp(g, in[0], -0.05f, 2.5f);
}

static void build_clamp_none(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_clamp(g, in[0], 0, INFINITY);
}

static void build_clamp_crossed(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_clamp(g, in[0], 2, 1);
}

static void build_clamp_nan(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_clamp(g, in[0], NAN, 1);
}

static void build_relu(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_relu(g, in[0]);
}

static void build_floor(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_floor(g, in[0]);
}

static void reference_floor(cg_case_data *d) {
    for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++)
        d->out[0][i] = floor(d->in[0][i]);
}

/* NaN is made in the graph: of numbers below 0. */
static void build_is_nan(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_is_nan(g, cg_log(g, in[0]));
}

static void reference_is_nan(cg_case_data *d) {
    for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++) d->out[0][i] = d->in[0][i] < 0;
}

static void build_is_nan_alone(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_is_nan(g, in[0]);
}

static void build_cast_bf16(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_cast(g, in[0], CG_BF16);
}

static void build_cast_f32(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_cast(g, in[0], CG_F32);
}

static void build_cast_both(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_cast(g, cg_cast(g, in[0], CG_BF16), CG_F32);
}

static void build_cast_i32(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_cast(g, in[0], CG_I32);
}

/* To 8 bits, ties to even. */
static void reference_bf16(cg_case_data *d) {
    for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++) {
        int exponent;
        double x = frexp(d->in[0][i], &exponent);
        d->out[0][i] = ldexp(nearbyint(ldexp(x, 8)), exponent - 8);
    }
}

static void reference_same(cg_case_data *d) {
    for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++) d->out[0][i] = d->in[0][i];
}

#define BINARY(name, expression)                                                                   \
    static void name(cg_case_data *d) {                                                            \
        int last = d->n_in - 1; /* one operand: with itself */                                     \
        for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++) {                           \
            double a = d->in[0][cg_ref_broadcast(&d->in_shape[0], &d->out_shape[0], i)];           \
            double b = d->in[last][cg_ref_broadcast(&d->in_shape[last], &d->out_shape[0], i)];     \
            d->out[0][i] = (expression);                                                           \
        }                                                                                          \
    }
BINARY(reference_add, a + b)
BINARY(reference_sub, a - b)
BINARY(reference_mul, a *b)
BINARY(reference_div, a / b)

static void reference_select(cg_case_data *d) {
    for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++) {
        double c = d->in[0][cg_ref_broadcast(&d->in_shape[0], &d->out_shape[0], i)];
        double a = d->in[1][cg_ref_broadcast(&d->in_shape[1], &d->out_shape[0], i)];
        double b = d->in[2][cg_ref_broadcast(&d->in_shape[2], &d->out_shape[0], i)];
        d->out[0][i] = c != 0 ? a : b;
    }
}

#define UNARY(name, expression)                                                                    \
    static void name(cg_case_data *d) {                                                            \
        for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++) {                           \
            double x = d->in[0][i];                                                                \
            d->out[0][i] = (expression);                                                           \
        }                                                                                          \
    }
UNARY(reference_scale, -0.75 * x)
UNARY(reference_neg, -x)
UNARY(reference_exp, exp(x))
UNARY(reference_log, log(x))
UNARY(reference_sqrt, sqrt(x))
UNARY(reference_clamp, x<(double)-0.05f ? (double)-0.05f : x> 2.5 ? 2.5 : x)
UNARY(reference_relu, x > 0 ? x : 0)

#define ADD(text, n, ...)                                                                          \
    { &cg_op_add, text, {__VA_ARGS__}, n, 1, build_add, reference_add, 0, 0 }
#define SUB(text, n, ...)                                                                          \
    { &cg_op_sub, text, {__VA_ARGS__}, n, 1, build_sub, reference_sub, 0, 0 }
#define MUL(text, n, ...)                                                                          \
    { &cg_op_mul, text, {__VA_ARGS__}, n, 1, build_mul, reference_mul, 0, 0 }
#define DIV(text, n, ...)                                                                          \
    { &cg_op_div, text, {__VA_ARGS__}, n, 1, build_div, reference_div, 0, 0 }
#define SELECT(text, ...)                                                                          \
    { &cg_op_select, text, {__VA_ARGS__}, 3, 1, build_select, reference_select, 1e-12, 0 }
#define ONE(name, text, ...)                                                                       \
    { &cg_op_##name, text, {__VA_ARGS__}, 1, 1, build_##name, reference_##name, 5e-7, 0 }

/* A third is 0, and beside 1 what is not 0 all the same. */
#define CHOICE(...)                                                                                \
    { CG_I32, CG_SHAPE(__VA_ARGS__), CG_FILL_INTEGER, -1, 2, 0 }
#define FIXED(...)                                                                                 \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -300, 300, 0 }
/* Whole numbers that a bf16 holds. */
#define BF16(...)                                                                                  \
    { CG_BF16, CG_SHAPE(__VA_ARGS__), CG_FILL_INTEGER, -255, 256, 0 }
/* Every other one of those above 256 is a tie. */
#define TIES(...)                                                                                  \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_INTEGER, 256, 512, 0 }
#define CAST(to, text, operand)                                                                    \
    { &cg_op_cast, text, {operand}, 1, 1, build_cast_##to, reference_bf16, 1e-12, 0 }

const cg_op_case cg_cases_elementwise[] = {
    ADD("same shape", 2, F32(3, 5), F32(3, 5)),
    ADD("scalars", 2, F32_SCALAR, F32_SCALAR),
    ADD("scalar on the right", 2, F32(4, 7), F32_SCALAR),
    ADD("scalar on the left", 2, F32_SCALAR, F32(4, 7)),
    ADD("one element of rank 2", 2, F32(1, 1), F32(7)),
    ADD("bias", 2, F32(2, 3, 19), F32(19)),
    ADD("bias on the left", 2, F32(19), F32(2, 3, 19)),
    ADD("column", 2, F32(5, 17), F32(5, 1)),
    ADD("column on the left", 2, F32(5, 1), F32(5, 17)),
    ADD("row and column", 2, F32(4, 1), F32(1, 6)),
    ADD("middle axis", 2, F32(3, 1, 4), F32(3, 5, 4)),
    ADD("outer axes", 2, F32(2, 3, 4), F32(3, 1)),
    ADD("both repeat, in turn", 2, F32(2, 1, 3, 1, 2), F32(1, 4, 1, 5, 1)),
    ADD("empty", 2, F32(0, 3), F32(3)),
    ADD("large, same shape", 2, F32(131, 257), F32(131, 257)),
    ADD("large, bias", 2, F32(131, 257), F32(257)),
    ADD("large, one long row", 2, F32(40001), F32_SCALAR),
    ADD("large, both repeat", 2, F32(37, 1, 29), F32(1, 31, 1)),
    ADD("i64", 2, I64(3, 4), I64(4)),
    ADD("i64 scalars", 2, I64(1), I64(1)),
    {&cg_op_add, "with itself", {F32(3, 5)}, 1, 1, build_add_self, reference_add, 0, 0},
    SUB("same shape", 2, F32(3, 5), F32(3, 5)),
    SUB("scalars", 2, F32_SCALAR, F32_SCALAR),
    SUB("scalar on the right", 2, F32(4, 7), F32_SCALAR),
    SUB("scalar on the left", 2, F32_SCALAR, F32(4, 7)),
    SUB("last axis", 2, F32(2, 3, 19), F32(19)),
    SUB("last axis on the left", 2, F32(19), F32(2, 3, 19)),
    SUB("column", 2, F32(5, 17), F32(5, 1)),
    SUB("column on the left", 2, F32(5, 1), F32(5, 17)),
    SUB("row and column", 2, F32(4, 1), F32(1, 6)),
    SUB("column and row", 2, F32(1, 6), F32(4, 1)),
    SUB("both repeat, in turn", 2, F32(2, 1, 3, 1, 2), F32(1, 4, 1, 5, 1)),
    SUB("empty", 2, F32(0, 3), F32(3)),
    SUB("large, same shape", 2, F32(131, 257), F32(131, 257)),
    SUB("large, column on the left", 2, F32(131, 1), F32(131, 257)),
    SUB("large, one long row", 2, F32_SCALAR, F32(40001)),
    {&cg_op_sub, "with itself", {F32(3, 5)}, 1, 1, build_sub_self, reference_sub, 0, 0},
    MUL("same shape", 2, F32(3, 5), F32(3, 5)),
    MUL("scalar on the right", 2, F32(4, 7), F32_SCALAR),
    MUL("scalar on the left", 2, F32_SCALAR, F32(4, 7)),
    MUL("last axis", 2, F32(2, 3, 19), F32(19)),
    MUL("column", 2, F32(5, 17), F32(5, 1)),
    MUL("row and column", 2, F32(4, 1), F32(1, 6)),
    MUL("both repeat, in turn", 2, F32(2, 1, 3, 1, 2), F32(1, 4, 1, 5, 1)),
    MUL("empty", 2, F32(2, 0), F32_SCALAR),
    MUL("large, same shape", 2, F32(131, 257), F32(131, 257)),
    MUL("large, last axis", 2, F32(131, 257), F32(257)),
    {&cg_op_mul, "with itself", {F32(3, 5)}, 1, 1, build_mul_self, reference_mul, 0, 0},
    DIV("same shape", 2, F32(3, 5), POSITIVE(3, 5)),
    DIV("scalars", 2, F32_SCALAR, POSITIVE(1)),
    DIV("scalar on the right", 2, F32(4, 7), POSITIVE(1)),
    DIV("scalar on the left", 2, F32_SCALAR, POSITIVE(4, 7)),
    DIV("last axis", 2, F32(2, 3, 19), POSITIVE(19)),
    DIV("last axis on the left", 2, F32(19), POSITIVE(2, 3, 19)),
    DIV("column", 2, F32(5, 17), POSITIVE(5, 1)),
    DIV("column on the left", 2, F32(5, 1), POSITIVE(5, 17)),
    DIV("row and column", 2, F32(4, 1), POSITIVE(1, 6)),
    DIV("column and row", 2, F32(1, 6), POSITIVE(4, 1)),
    DIV("both repeat, in turn", 2, F32(2, 1, 3, 1, 2), POSITIVE(1, 4, 1, 5, 1)),
    DIV("empty", 2, F32(2, 0), POSITIVE(1)),
    DIV("large, same shape", 2, F32(131, 257), POSITIVE(131, 257)),
    DIV("large, column on the left", 2, F32(131, 1), POSITIVE(131, 257)),
    {&cg_op_div, "with itself", {POSITIVE(3, 5)}, 1, 1, build_div_self, reference_div, 0, 0},
    SELECT("same shape", CHOICE(3, 19), F32(3, 19), F32(3, 19)),
    SELECT("scalars", CHOICE(1), F32_SCALAR, F32_SCALAR),
    SELECT("of one number", CHOICE(5, 17), F32(5, 17), F32_SCALAR),
    SELECT("one number or the other", CHOICE(5, 17), F32_SCALAR, F32(1)),
    SELECT("a number or a tensor", CHOICE(5, 17), F32_SCALAR, F32(5, 17)),
    SELECT("whole rows", CHOICE(7, 1), F32(7, 19), F32(7, 19)),
    SELECT("whole rows or a number", CHOICE(7, 1), F32(7, 19), F32_SCALAR),
    SELECT("columns", CHOICE(19), F32(7, 19), F32(7, 1)),
    SELECT("keys of each sequence", CHOICE(2, 1, 1, 5), F32(2, 3, 5, 5), F32_SCALAR),
    SELECT("more axes", CHOICE(3, 5), F32(3, 5), F32(1, 1, 1)),
    SELECT("all repeat, in turn", CHOICE(2, 1, 3, 1), F32(1, 4, 1, 5), F32(4, 3, 1)),
    SELECT("one chooses for all", CHOICE(1), F32(3, 5), F32(4, 1, 5)),
    SELECT("empty", CHOICE(0, 3), F32(3), F32_SCALAR),
    SELECT("large", CHOICE(131, 257), F32(131, 257), F32(131, 257)),
    SELECT("large, repeated", CHOICE(131, 1), F32(131, 257), F32(257)),
    {&cg_op_scale, "odd size", {F32(3, 7)}, 1, 1, build_scale, reference_scale, 0, 0},
    {&cg_op_scale, "large", {F32(129, 131)}, 1, 1, build_scale, reference_scale, 0, 0},
    {&cg_op_scale, "neg", {F32(3, 7)}, 1, 1, build_neg, reference_neg, 0, 0},
    {&cg_op_exp, "scalar", {F32_SCALAR}, 1, 1, build_exp, reference_exp, 0, 0},
    {&cg_op_exp,
     "wide range",
     {{CG_F32, CG_SHAPE(311), CG_FILL_UNIFORM, -90, 5, 1}},
     1,
     1,
     build_exp,
     reference_exp,
     5e-7,
     1e-6},
    {&cg_op_exp, "large", {F32(129, 131)}, 1, 1, build_exp, reference_exp, 5e-7, 0},
    ONE(log, "scalar", POSITIVE(1)),
    ONE(log, "odd size", POSITIVE(5, 13)),
    ONE(log, "wide range", {CG_F32, CG_SHAPE(311), CG_FILL_UNIFORM, 0.5, 1e6, 1}),
    ONE(log, "empty", POSITIVE(0, 3)),
    ONE(log, "large", POSITIVE(129, 131)),
    ONE(sqrt, "scalar", POSITIVE(1)),
    ONE(sqrt, "odd size", POSITIVE(5, 13)),
    ONE(sqrt, "empty", POSITIVE(3, 0)),
    ONE(sqrt, "large", POSITIVE(129, 131)),
    {&cg_op_clamp, "from below", {NONZERO(9, 13)}, 1, 1, build_clamp, reference_clamp, 0, 0},
    {&cg_op_clamp, "large", {NONZERO(129, 131)}, 1, 1, build_clamp, reference_clamp, 0, 0},
    {&cg_op_clamp, "no upper bound", {NONZERO(40)}, 1, 1, build_clamp_none, reference_relu, 0, 0},
    {&cg_op_relu, "odd size", {NONZERO(5, 13)}, 1, 1, build_relu, reference_relu, 0, 0},
    {&cg_op_relu, "large", {NONZERO(129, 131)}, 1, 1, build_relu, reference_relu, 0, 0},
    CAST(bf16, "f32 to bf16", FIXED(5, 13)),
    CAST(f32, "bf16 to f32", BF16(7, 11)),
    CAST(both, "f32 to bf16 and back", FIXED(3, 17)),
    CAST(both, "ties", TIES(301)),
    CAST(both, "empty", FIXED(0, 3)),
    CAST(both, "large", FIXED(129, 131)),
    {&cg_op_floor, "odd size", {FIXED(7, 19)}, 1, 1, build_floor, reference_floor, 0, 0},
    {&cg_op_floor, "large", {FIXED(129, 131)}, 1, 1, build_floor, reference_floor, 0, 0},
    {&cg_op_floor, "empty", {FIXED(3, 0)}, 1, 1, build_floor, reference_floor, 0, 0},
    {&cg_op_is_nan, "odd size", {FIXED(7, 19)}, 1, 1, build_is_nan, reference_is_nan, 0, 0},
    {&cg_op_is_nan, "large", {FIXED(129, 131)}, 1, 1, build_is_nan, reference_is_nan, 0, 0},
    {&cg_op_is_nan, "empty", {FIXED(3, 0)}, 1, 1, build_is_nan, reference_is_nan, 0, 0},
    {&cg_op_cast, "f32 to f32", {FIXED(3, 5)}, 1, 1, build_cast_f32, reference_same, 0, 0},
    {&cg_op_cast, "i32 to f32", {I32(37)}, 1, 1, build_cast_f32, reference_same, 0, 0},
    {&cg_op_cast, "i32 to f32, large", {I32(20011)}, 1, 1, build_cast_f32, reference_same, 0, 0},
    {0},
};

const cg_bad_case cg_bad_elementwise[] = {
    {&cg_op_add, {F32(3, 4), F32(3)}, 2, build_add, CG_ESHAPE, "[3, 4] and [3] do not broadcast"},
    {&cg_op_add, {F32(3), I64(3)}, 2, build_add, CG_EDTYPE, "b is i64, wanted f32"},
    {&cg_op_add, {I32(3), I32(3)}, 2, build_add, CG_EDTYPE, "a is i32, wanted f32"},
    {&cg_op_sub, {F32(3, 4), F32(3)}, 2, build_sub, CG_ESHAPE, "[3, 4] and [3] do not broadcast"},
    {&cg_op_sub, {I64(3), I64(3)}, 2, build_sub, CG_EDTYPE, "a is i64, wanted f32"},
    {&cg_op_sub, {F32(3), I64(3)}, 2, build_sub, CG_EDTYPE, "b is i64, wanted f32"},
    {&cg_op_mul,
     {F32(2, 3), F32(2, 1, 4)},
     2,
     build_mul,
     CG_ESHAPE,
     "[2, 3] and [2, 1, 4] do not broadcast"},
    {&cg_op_mul, {I64(3), I64(3)}, 2, build_mul, CG_EDTYPE, "a is i64, wanted f32"},
    {&cg_op_div, {F32(4), F32(3)}, 2, build_div, CG_ESHAPE, "[4] and [3] do not broadcast"},
    {&cg_op_div, {I32(3), I32(3)}, 2, build_div, CG_EDTYPE, "a is i32, wanted f32"},
    {&cg_op_select,
     {CHOICE(3, 4), F32(4), F32(3)},
     3,
     build_select,
     CG_ESHAPE,
     "[4] and [3] do not broadcast"},
    {&cg_op_select,
     {CHOICE(3), F32(4), F32(2, 4)},
     3,
     build_select,
     CG_ESHAPE,
     "[3] and [2, 4] do not broadcast"},
    {&cg_op_select, {F32(3), F32(3), F32(3)}, 3, build_select, CG_EDTYPE, "c is f32, wanted i32"},
    {&cg_op_select, {I32(3), I32(3), F32(3)}, 3, build_select, CG_EDTYPE, "a is i32, wanted f32"},
    {&cg_op_select, {I32(3), F32(3), I64(3)}, 3, build_select, CG_EDTYPE, "b is i64, wanted f32"},
    {&cg_op_scale, {I32(3)}, 1, build_scale, CG_EDTYPE, "x is i32, wanted f32"},
    {&cg_op_exp, {I32(3)}, 1, build_exp, CG_EDTYPE, "x is i32, wanted f32"},
    {&cg_op_log, {I32(3)}, 1, build_log, CG_EDTYPE, "x is i32, wanted f32"},
    {&cg_op_is_nan, {I32(3)}, 1, build_is_nan_alone, CG_EDTYPE, "x is i32, wanted f32"},
    {&cg_op_floor, {I32(3)}, 1, build_floor, CG_EDTYPE, "x is i32, wanted f32"},
    {&cg_op_sqrt, {I32(3)}, 1, build_sqrt, CG_EDTYPE, "x is i32, wanted f32"},
    {&cg_op_clamp, {I64(3)}, 1, build_clamp, CG_EDTYPE, "x is i64, wanted f32"},
    {&cg_op_clamp, {F32(3)}, 1, build_clamp_crossed, CG_EINVAL, "low is 2 and high is 1"},
    {&cg_op_clamp, {F32(3)}, 1, build_clamp_nan, CG_EINVAL, "wanted low <= high"},
    {&cg_op_relu, {I32(3)}, 1, build_relu, CG_EDTYPE, "x is i32, wanted f32"},
    {&cg_op_cast,
     {I32(3)},
     1,
     build_cast_bf16,
     CG_EDTYPE,
     "x is i32, wanted f32 or bf16 to make bf16 of"},
    {&cg_op_cast, {F32(3)}, 1, build_cast_i32, CG_EINVAL, "to is 4, wanted 0 (f32) or 2 (bf16)"},
    {0},
};
