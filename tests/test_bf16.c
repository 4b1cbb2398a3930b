/* labels: unit */
/* Values stored as bf16: how they round, which may be, what the passes make of them. */
#include "autodiff/grad.h"
#include "graph/exec.h"
#include "ops/ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

static cg_graph *graph(void) {
    cg_graph *g;
    assert_int_equal(cg_graph_create(NULL, &g), CG_OK);
    return g;
}

/* Runs g, whose input is x and whose output is y; frees it. */
static void run(cg_graph *g, const void *x, void *result, size_t bytes) {
    cg_context *ctx;
    cg_plan *p;
    cg_exec *e;
    assert_int_equal(cg_graph_verify(g), CG_OK);
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

static float of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* --- rounding --------------------------------------------------------------------------------- */

static void test_rounding(void **state) {
    (void)state;
    static const uint32_t want[][2] = {
        {0x3f800000, 0x3f80}, {0x3f807fff, 0x3f80}, /* below a tie */
        {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, /* ties, to even */
        {0x3f808001, 0x3f81}, {0xbf818000, 0xbf82}, /* above one; a negative tie */
        {0x7f7f7fff, 0x7f7f}, {0x7f7fffff, 0x7f80}, /* the largest; one that is nearer to inf */
        {0x7f800000, 0x7f80}, {0xff800000, 0xff80}, /* infinities */
        {0x80000000, 0x8000}, {0x00008000, 0x0000}, /* -0; a subnormal tie */
        {0x00018000, 0x0002}, {0x7fc00000, 0x7fc0}, /* NaN keeps its upper bits … */
        {0x7f800001, 0x7fc0}, {0xffffffff, 0xffff}, /* … and is quiet, never infinite */
    };
    enum { N = sizeof want / sizeof *want, COPIES = 5 }; /* lanes of a vector, and its tail */
    float x[N * COPIES];
    uint16_t y[N * COPIES];
    for (int i = 0; i < N * COPIES; i++) x[i] = of_bits(want[i % N][0]);
    cg_graph *g = graph();
    cg_value *in = cg_input(g, "x", CG_F32, CG_SHAPE(N * COPIES));
    cg_graph_output(g, "y", cg_cast(g, in, CG_BF16), CG_KEEP);
    run(g, x, y, sizeof y);
    for (int i = 0; i < N * COPIES; i++)
        if (y[i] != want[i % N][1])
            fail_msg("%08x became %04x, wanted %04x", want[i % N][0], y[i], want[i % N][1]);
}

static void test_widening(void **state) {
    (void)state;
    enum { ALL = 1 << 16 };
    static uint16_t x[ALL];
    static float y[ALL];
    for (int i = 0; i < ALL; i++) x[i] = (uint16_t)i;
    cg_graph *g = graph();
    cg_value *in = cg_input(g, "x", CG_BF16, CG_SHAPE(ALL));
    cg_graph_output(g, "y", cg_cast(g, in, CG_F32), CG_KEEP);
    run(g, x, y, sizeof y);
    for (int i = 0; i < ALL; i++) {
        float want = of_bits((uint32_t)i << 16);
        if (isnan(want))
            assert_true(isnan(y[i]));
        else
            assert_memory_equal(&y[i], &want, sizeof want);
    }
}

/* What is bf16 is rounded in the gradient, too. */
static void test_gradient(void **state) {
    (void)state;
    const float x[3] = {1, 2, 3};
    float dx[3];
    cg_graph *g = graph();
    cg_value *in = cg_input(g, "x", CG_F32, CG_SHAPE(3)), *grad;
    cg_value *y = cg_scale(g, cg_cast(g, cg_cast(g, in, CG_BF16), CG_F32), 1.005f);
    assert_int_equal(cg_grad(g, 1, &y, NULL, 1, &in, &grad), CG_OK);
    cg_graph_output(g, "y", grad, CG_KEEP);
    run(g, x, dx, sizeof dx);
    for (int i = 0; i < 3; i++) assert_true(dx[i] == 1.0078125f); /* 1 + 2^-7 */
}

/* --- which values may be ---------------------------------------------------------------------- */

static void test_views(void **state) {
    (void)state;
    const float x[4] = {-1, 0.5f, 1.001f, 2};
    float y[4];
    cg_graph *g = graph();
    cg_value *in = cg_input(g, "x", CG_F32, CG_SHAPE(4));
    cg_value *made = cg_relu(g, in), *view = cg_reshape(g, made, CG_SHAPE(2, 2));
    cg_value *again = cg_reshape(g, view, CG_SHAPE(4, 1));
    cg_value *scaled = cg_scale(g, again, 1);
    cg_graph_output(g, "y", scaled, CG_KEEP);
    assert_false(cg_value_narrow(g, in));     /* an input */
    assert_false(cg_value_narrow(g, scaled)); /* an output */
    assert_true(cg_value_narrow(g, again));   /* a view, with all that shares its bytes */
    assert_int_equal(made->dtype, CG_BF16);
    assert_int_equal(view->dtype, CG_BF16);
    assert_int_equal(again->dtype, CG_BF16);
    assert_false(cg_value_narrow(g, view)); /* it is */
    run(g, x, y, sizeof y);
    const float want[4] = {0, 0.5f, 1, 2};
    assert_memory_equal(y, want, sizeof want);
}

/* A reader behind a view, or an output, keeps all of them f32. */
static void test_kept_wide(void **state) {
    (void)state;
    for (int as_output = 0; as_output < 2; as_output++) {
        cg_graph *g = graph();
        cg_value *made = cg_relu(g, cg_input(g, "x", CG_F32, CG_SHAPE(4)));
        cg_value *view = cg_reshape(g, made, CG_SHAPE(2, 2));
        cg_graph_output(g, "y", as_output ? view : cg_clamp(g, view, -1, 1), CG_KEEP);
        assert_false(cg_value_narrow(g, made));
        assert_int_equal(made->dtype, CG_F32);
        assert_int_equal(view->dtype, CG_F32);
        assert_int_equal(cg_graph_verify(g), CG_OK);
        cg_graph_free(g);
    }
}

/* A view of one type of a value of another is refused. */
static void test_mixed_view(void **state) {
    (void)state;
    cg_graph *g = graph();
    cg_value *made = cg_relu(g, cg_input(g, "x", CG_F32, CG_SHAPE(4)));
    cg_value *view = cg_reshape(g, made, CG_SHAPE(2, 2));
    cg_graph_output(g, "y", cg_scale(g, view, 2), CG_KEEP);
    view->dtype = CG_BF16;
    assert_int_equal(cg_graph_verify(g), CG_EINVAL);
    assert_non_null(
        strstr(cg_error_message(), "output 0 is bf16 [2, 2], its operands make it f32"));
    cg_graph_free(g);
}

/* Two nodes that are the same but for how their results are stored are two. */
static void test_common(void **state) {
    (void)state;
    cg_graph *g = graph();
    cg_value *x = cg_input(g, "x", CG_F32, CG_SHAPE(4));
    cg_value *a = cg_relu(g, x), *b = cg_relu(g, x);
    cg_graph_output(g, "a", cg_scale(g, a, 2), CG_KEEP);
    cg_graph_output(g, "b", b, CG_KEEP);
    assert_true(cg_value_narrow(g, a));
    assert_int_equal(cg_pass_common(g), 0);
    a->dtype = CG_F32;
    assert_int_equal(cg_pass_common(g), 1);
    cg_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding),  cmocka_unit_test(test_widening),
        cmocka_unit_test(test_gradient),  cmocka_unit_test(test_views),
        cmocka_unit_test(test_kept_wide), cmocka_unit_test(test_mixed_view),
        cmocka_unit_test(test_common),
    };
    return cmocka_run_group_tests_name("bf16", tests, NULL, NULL);
}
