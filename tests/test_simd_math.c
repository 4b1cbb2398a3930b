/* labels: unit */
/* The vectorised elementary functions against libm in double: a sweep over all magnitudes within
 * the range of each, compiled for this processor and for a plain one; and what the ops made of them
 * give at infinities and NaN. */
#include "autodiff/grad.h"
#include "graph/exec.h"
#include "ops/kernel.h"
#include "ops/ops.h"
#include "ops/simd_math.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

typedef void (*map_fn)(const float *x, float *y, int n);

#define MAP(name, function)                                                                        \
    CG_KERNEL static void name(const float *x, float *y, int n) {                                  \
        _Pragma("omp simd") for (int i = 0; i < n; i++) y[i] = function(x[i]);                     \
    }                                                                                              \
    static void name##_plain(const float *x, float *y, int n) {                                    \
        _Pragma("omp simd") for (int i = 0; i < n; i++) y[i] = function(x[i]);                     \
    }
MAP(exponential, cg_expf)
MAP(bounded, cg_exp_boundedf)
MAP(logarithm, cg_logf)
MAP(log_of_1_and, cg_log1pf)
MAP(sigmoid, cg_sigmoidf)
MAP(sigmoid_slope, cg_sigmoid_slopef)
MAP(hyperbolic, cg_tanhf)
MAP(mills, cg_millsf)

static double want_sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double want_sigmoid_slope(double x) {
    double e = exp(-fabs(x));
    return e / ((1 + e) * (1 + e));
}

static double want_mills(double z) {
    return 0.5 * erfc(z / sqrt(2)) * exp(z * z / 2);
}

/* Within [low, high] at most so many units of the last place off. */
typedef struct function {
    const char *name;
    map_fn map, plain;
    double (*want)(double);
    double ulp;
    float low, high;
} function;

#define ROW(map, want, ulp, low, high)                                                             \
    { #map, map, map##_plain, want, ulp, low, high }

static const function functions[] = {
    ROW(exponential, exp, 2, -INFINITY, INFINITY),
    ROW(bounded, exp, 2, -87.3f, 88.3f),
    ROW(logarithm, log, 1, -INFINITY, INFINITY),
    ROW(log_of_1_and, log1p, 2, -0.3f, 1),
    ROW(sigmoid, want_sigmoid, 3, -INFINITY, INFINITY),
    ROW(sigmoid_slope, want_sigmoid_slope, 5, -INFINITY, INFINITY),
    ROW(hyperbolic, tanh, 2, -INFINITY, INFINITY),
    ROW(mills, want_mills, 7, 0, 15),
};

/* Infinite results, and NaN, must be met exactly. */
static void check(const function *f, float x, float got) {
    double want = f->want((double)x);
    float near = (float)want, a = fabsf(near);
    if (isnan(want) ? isnan(got) : got == near) return;
    double ulp = (double)(nextafterf(a, INFINITY) - a);
    if (fabs((double)got - want) <= f->ulp * ulp) return;
    fail_msg("%s(%.9g) is %.9g, wanted %.9g: %.2f units of the last place off, at most %g", f->name,
             (double)x, (double)got, want, fabs((double)got - want) / ulp, f->ulp);
}

/* Every STEP-th number there is, subnormal ones and NaN among them, and the ends of the range. */
enum { BLOCK = 4096, STEP = 1009 };

static int fill(const function *f, uint64_t *bits, float *x) {
    int n = 0;
    for (; n < BLOCK && *bits < (uint64_t)1 << 32; *bits += STEP) {
        uint32_t u = (uint32_t)*bits;
        memcpy(&x[n], &u, sizeof u);
        if (!(x[n] < f->low || x[n] > f->high)) n++; /* NaN is in every range */
    }
    return n;
}

static void test_sweep(void **state) {
    (void)state;
    static float x[BLOCK], y[BLOCK];
    for (size_t k = 0; k < sizeof functions / sizeof *functions; k++) {
        const function *f = &functions[k];
        const float ends[] = {f->low, f->high, 0.0f, -0.0f, NAN};
        uint64_t bits = 0;
        int n = sizeof ends / sizeof *ends;
        memcpy(x, ends, sizeof ends);
        do {
            const map_fn maps[] = {f->map, f->plain};
            for (int m = 0; m < 2; m++) {
                maps[m](x, y, n);
                for (int i = 0; i < n; i++) check(f, x[i], y[i]);
            }
            n = fill(f, &bits, x);
        } while (n > 0);
    }
}

/* --- the ops at infinities and NaN ------------------------------------------------------------ */

/* Runs g, from x to y, copies y to result and frees g. */
static void run(cg_graph *g, cg_value *y, const void *x, void *result, size_t bytes) {
    cg_context *ctx;
    cg_plan *p;
    cg_exec *e;
    cg_graph_output(g, "y", y, CG_KEEP);
    assert_int_equal(cg_graph_status(g), CG_OK);
    assert_int_equal(cg_context_create(2, &ctx), CG_OK);
    assert_int_equal(cg_plan_create(ctx, g, &p), CG_OK);
    assert_int_equal(cg_exec_create(&e), CG_OK);
    assert_int_equal(cg_exec_use(e, p), CG_OK);
    assert_int_equal(cg_exec_bind_input(e, "x", x), CG_OK);
    assert_int_equal(cg_exec_run(e), CG_OK);
    memcpy(result, cg_exec_output(e, "y"), bytes);
    cg_exec_free(e);
    cg_plan_free(p);
    cg_context_free(ctx);
    cg_graph_free(g);
}

static cg_value *clamp_2(cg_graph *g, cg_value *x) {
    return cg_clamp(g, x, -2, 2);
}

/* Results at -inf and inf, and gradients where dy is 1; at NaN the result must be NaN. */
static const struct {
    cg_value *(*op)(cg_graph *, cg_value *);
    double want[2][2]; /* y, dx */
} specials[] = {
    {cg_neg, {{INFINITY, -INFINITY}, {-1, -1}}},
    {cg_exp, {{0, INFINITY}, {0, INFINITY}}},
    {cg_log, {{NAN, INFINITY}, {0, 0}}},
    {cg_sqrt, {{NAN, INFINITY}, {NAN, 0}}},
    {cg_floor, {{-INFINITY, INFINITY}, {0, 0}}},
    {clamp_2, {{-2, 2}, {0, 0}}},
    {cg_relu, {{0, INFINITY}, {0, 1}}},
    {cg_gelu, {{0, INFINITY}, {0, 1}}},
    {cg_gelu_tanh, {{0, INFINITY}, {0, 1}}},
    {cg_quickgelu, {{0, INFINITY}, {0, 1}}},
    {cg_silu, {{0, INFINITY}, {0, 1}}},
    {cg_sigmoid, {{0, 1}, {0, 0}}},
    {cg_log_sigmoid, {{-INFINITY, 0}, {1, 0}}},
    {cg_tanh, {{-1, 1}, {0, 0}}},
    {cg_erf, {{-1, 1}, {0, 0}}},
};
enum { SPECIALS = sizeof specials / sizeof *specials };

static void check_special(int k, int gradient) {
    enum { N = 3 * 33 }; /* fills the lanes of a kernel, and its tail */
    float x[N], got[N];
    for (int i = 0; i < N; i++) x[i] = i % 3 == 0 ? -INFINITY : i % 3 == 1 ? INFINITY : NAN;
    cg_graph *g;
    assert_int_equal(cg_graph_create(NULL, &g), CG_OK);
    cg_value *in = cg_input(g, "x", CG_F32, CG_SHAPE(N)), *y = specials[k].op(g, in), *dx;
    if (gradient) assert_int_equal(cg_grad(g, 1, &y, NULL, 1, &in, &dx), CG_OK);
    run(g, gradient ? dx : y, x, got, sizeof got);
    for (int i = 0; i < N; i++) {
        if (gradient && i % 3 == 2) continue; /* relu's dy passes there */
        double want = i % 3 == 2 ? (double)NAN : specials[k].want[gradient][i % 3];
        if (isnan(want) ? !isnan(got[i]) : (double)got[i] != want)
            fail_msg("special %d: %s at %g is %g, wanted %g", k, gradient ? "dx" : "y",
                     (double)x[i], (double)got[i], want);
    }
}

static void test_special(void **state) {
    (void)state;
    for (int k = 0; k < 2 * SPECIALS; k++) check_special(k / 2, k % 2);
}

/* A row may be masked in part; what is not a number stays in its row. */
static void test_softmax_rows(void **state) {
    (void)state;
    const float x[4][3] = {{-INFINITY, 1, 1},
                           {-INFINITY, -3e38f, -INFINITY},
                           {-INFINITY, -INFINITY, -INFINITY},
                           {0, NAN, 0}};
    const float want[2][3] = {{0, 0.5f, 0.5f}, {0, 1, 0}};
    float y[4][3];
    cg_graph *g;
    assert_int_equal(cg_graph_create(NULL, &g), CG_OK);
    cg_value *in = cg_input(g, "x", CG_F32, CG_SHAPE(4, 3));
    run(g, cg_softmax(g, in), x, y, sizeof y);
    for (int j = 0; j < 3; j++) {
        for (int i = 0; i < 2; i++) assert_true(y[i][j] == want[i][j]);
        assert_true(isnan(y[2][j]) && isnan(y[3][j]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sweep), cmocka_unit_test(test_special),
                                       cmocka_unit_test(test_softmax_rows)};
    return cmocka_run_group_tests_name("simd math", tests, NULL, NULL);
}
