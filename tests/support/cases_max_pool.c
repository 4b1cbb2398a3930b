/* Cases of max_pool. Operands whose gradient is compared with differences have no ties. */
#include "op_case.h"

#include <math.h>

// clang-format off
#define R3(a, b, c) {3, {a, b, c}}
#define R4(a, b, c, d) {4, {a, b, c, d}}
#define OPERAND(...) {CG_F32, __VA_ARGS__, CG_FILL_DISTINCT, -1, 1, 1}
#define TIED(...) {CG_F32, __VA_ARGS__, CG_FILL_INTEGER, -1, 2, 0}
#define SEED(...) {CG_F32, __VA_ARGS__, CG_FILL_UNIFORM, -1, 1, 0}
#define I32(...) {CG_I32, __VA_ARGS__, CG_FILL_INTEGER, 0, 3, 0}
// clang-format on

typedef struct pool {
    int64_t height, width, stride, padding; /* of the kernel */
} pool;

/* Which element of x is the first maximum of window (i, j); a NaN wins. */
static int64_t winner(const double *x, const int64_t *dim, pool a, int64_t n, int64_t i, int64_t j,
                      int64_t c) {
    int64_t best = -1;
    for (int64_t k = 0; k < a.height; k++)
        for (int64_t l = 0; l < a.width; l++) {
            int64_t row = i * a.stride - a.padding + k, column = j * a.stride - a.padding + l;
            if (row < 0 || row >= dim[1] || column < 0 || column >= dim[2]) continue;
            int64_t at = ((n * dim[1] + row) * dim[2] + column) * dim[3] + c;
            if (best < 0 || x[at] > x[best] || (isnan(x[at]) && !isnan(x[best]))) best = at;
        }
    return best;
}

static void max_reference(cg_case_data *d, pool a) {
    const int64_t *x = d->in_shape[0].dim;
    int64_t height = (x[1] + 2 * a.padding - a.height) / a.stride + 1,
            width = (x[2] + 2 * a.padding - a.width) / a.stride + 1;
    double *out = d->out[0];
    for (int64_t n = 0; n < x[0]; n++)
        for (int64_t i = 0; i < height; i++)
            for (int64_t j = 0; j < width; j++)
                for (int64_t c = 0; c < x[3]; c++)
                    *out++ = d->in[0][winner(d->in[0], x, a, n, i, j, c)];
}

#define POOL(name, kernel, stride, padding)                                                        \
    static void name##_build(cg_graph *g, cg_value *const *in, cg_value **out) {                   \
        out[0] = cg_max_pool(g, in[0], kernel, stride, padding);                                   \
    }                                                                                              \
    static void name##_reference(cg_case_data *d) {                                                \
        max_reference(d, (pool){kernel, kernel, stride, padding});                                 \
    }

POOL(k2s2, 2, 2, 0)
POOL(k3s2p1, 3, 2, 1)
POOL(k3s1, 3, 1, 0)
POOL(k3s1p2, 3, 1, 2)
POOL(k2s3, 2, 3, 0)
POOL(k1s1, 1, 1, 0)

static void global_build(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_global_max_pool(g, in[0]);
}

static void global_reference(cg_case_data *d) {
    max_reference(d, (pool){d->in_shape[0].dim[1], d->in_shape[0].dim[2], 1, 0});
}

/* -1, 0, 1 become -infinity, NaN and infinity; the clamp makes what is infinite comparable. */
static void nan_build(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_clamp(g, cg_max_pool(g, cg_scale(g, in[0], INFINITY), 2, 1, 1), -2, 2);
}

static void nan_reference(cg_case_data *d) {
    double x[36], *out = d->out[0];
    for (int64_t i = 0; i < 36; i++) x[i] = d->in[0][i] == 0 ? NAN : 2 * d->in[0][i];
    for (int64_t i = 0; i < 7; i++)
        for (int64_t j = 0; j < 7; j++)
            *out++ = x[winner(x, d->in_shape[0].dim, (pool){2, 2, 1, 1}, 0, i, j, 0)];
}

/* The gradient of tied values, which no difference approximates: in[1] is dy. */
static void tied_build(cg_graph *g, cg_value *const *in, cg_value **out) {
    cg_value *y = cg_max_pool(g, in[0], 3, 2, 1);
    if (y) cg_op_max_pool.vjp(g, y->node, &in[1], out);
}

static void tied_reference(cg_case_data *d) {
    const int64_t *x = d->in_shape[0].dim, *y = d->in_shape[1].dim;
    const double *dy = d->in[1];
    for (int64_t i = 0; i < x[0] * x[1] * x[2] * x[3]; i++) d->out[0][i] = 0;
    for (int64_t n = 0; n < y[0]; n++)
        for (int64_t i = 0; i < y[1]; i++)
            for (int64_t j = 0; j < y[2]; j++)
                for (int64_t c = 0; c < y[3]; c++)
                    d->out[0][winner(d->in[0], x, (pool){3, 3, 2, 1}, n, i, j, c)] += *dy++;
}

#define CASE(f, text, x)                                                                           \
    { &cg_op_max_pool, text, {OPERAND(x)}, 1, 1, f##_build, f##_reference, 0, 0 }
#define TIED_CASE(text, x, y)                                                                      \
    { &cg_op_max_pool_grad, text, {TIED(x), SEED(y)}, 2, 1, tied_build, tied_reference, 0, 0 }

const cg_op_case cg_cases_max_pool[] = {
    CASE(k2s2, "2x2", R4(2, 4, 6, 5)),
    CASE(k2s2, "2x2, rows and columns left over", R4(2, 5, 7, 3)),
    CASE(k3s2p1, "stem: 3x3, stride 2, padding 1", R4(2, 8, 7, 19)),
    CASE(k3s2p1, "shared by threads", R4(3, 16, 14, 70)),
    CASE(k3s1, "overlapping windows", R4(1, 5, 4, 18)),
    CASE(k3s1p2, "windows of one pixel at the corners", R4(2, 3, 4, 6)),
    CASE(k3s1p2, "kernel larger than the picture", R4(2, 1, 2, 6)),
    CASE(k2s3, "gaps", R4(2, 6, 9, 4)),
    CASE(k1s1, "one pixel", R4(2, 2, 3, 4)),
    CASE(k2s2, "no pictures", R4(0, 4, 4, 2)),
    CASE(k2s2, "no channels", R4(2, 4, 4, 0)),
    CASE(global, "global", R4(3, 4, 5, 70)),
    CASE(global, "global, one pixel", R4(3, 1, 1, 6)),
    {&cg_op_max_pool, "NaN", {TIED(R4(1, 6, 6, 1))}, 1, 1, nan_build, nan_reference, 0, 0},
    TIED_CASE("ties", R4(2, 9, 8, 19), R4(2, 5, 4, 19)),
    TIED_CASE("ties, shared by threads", R4(3, 16, 14, 70), R4(3, 8, 7, 70)),
    {0},
};

#define BAD(name, kernel, stride, padding)                                                         \
    static void name##_build(cg_graph *g, cg_value *const *in, cg_value **out) {                   \
        out[0] = cg_max_pool(g, in[0], kernel, stride, padding);                                   \
    }

BAD(k0, 0, 1, 0)
BAD(s0, 2, 0, 0)
BAD(outside, 2, 2, -1)
BAD(wide, 2, 2, 2)

static void pair_build(cg_graph *g, cg_value *const *in, cg_value **out) {
    cg_value *y = cg_max_pool(g, in[0], 2, 2, 0);
    out[0] = y ? cg_node_add1(g, &cg_op_max_pool_grad, y->node->attr, 3,
                              (cg_value *[]){in[1], in[0], in[1]})
               : NULL;
}

#define REFUSED(f, x, status, text)                                                                \
    { &cg_op_max_pool, {x}, 1, f##_build, status, text }

const cg_bad_case cg_bad_max_pool[] = {
    REFUSED(k2s2, OPERAND(R3(5, 5, 4)), CG_ESHAPE, "x is [5, 5, 4]"),
    REFUSED(k2s2, I32(R4(2, 5, 5, 4)), CG_EDTYPE, "x is i32"),
    REFUSED(k2s2, OPERAND(R4(2, 1, 5, 4)), CG_ESHAPE,
            "x has height 1, too small for a kernel of 2 with padding 0"),
    REFUSED(k3s2p1, OPERAND(R4(2, 5, 0, 4)), CG_ESHAPE, "x has width 0, wanted 1 or more"),
    REFUSED(k0, OPERAND(R4(2, 5, 5, 4)), CG_EINVAL, "the kernel's height is 0, wanted 1 or more"),
    REFUSED(s0, OPERAND(R4(2, 5, 5, 4)), CG_EINVAL, "stride is 0, wanted 1 or more"),
    REFUSED(outside, OPERAND(R4(2, 5, 5, 4)), CG_EINVAL, "padding is -1, wanted 0 or more"),
    REFUSED(wide, OPERAND(R4(2, 5, 5, 4)), CG_EINVAL,
            "padding is 2, wanted 0 or more and less than the kernel's height 2"),
    REFUSED(global, OPERAND(R3(5, 5, 4)), CG_ESHAPE, "x is [5, 5, 4]"),
    REFUSED(global, OPERAND(R4(2, 0, 5, 4)), CG_ESHAPE, "x has height 0, wanted 1 or more"),
    {&cg_op_max_pool_grad,
     {OPERAND(R4(2, 4, 6, 3)), OPERAND(R4(2, 2, 2, 3))},
     2,
     pair_build,
     CG_ESHAPE,
     "y is [2, 2, 2, 3], wanted [2, 2, 3, 3]"},
    {0},
};
