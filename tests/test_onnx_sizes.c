/* labels: unit */
/* How an export finds out what is dynamic: the same graph at several sizes. */
#include "serialize/onnx/export_private.h"
#include "tests/support/ok.h"

#include <string.h>

/* y = factor · x of so many rows, and of each row its number in a batch of `step` rows. */
static cg_graph *two_rows(int64_t rows, float factor, int32_t step) {
    cg_graph *g;
    const int32_t index[3] = {0, step, 2 * step};
    ok(cg_graph_create(NULL, &g));
    cg_value *x = cg_scale(g, cg_input(g, "x", CG_F32, CG_SHAPE(rows, 2)), factor);
    cg_scope_push(g, "chosen");
    x = cg_gather(g, x, cg_constant(g, CG_I32, CG_SHAPE(3), index));
    cg_scope_pop(g);
    cg_graph_output(g, "y", x, CG_KEEP);
    ok(cg_graph_status(g));
    return g;
}

static cg_status compared(cg_graph *a, cg_graph *b, char known[16]) {
    cg_onnx_export x = {.graph = a, .known = known, .optimize = 1};
    x.symbol[0] = (cg_onnx_symbol){.name = "pictures", .base = 5, .other = 7, .graph = b};
    memset(known, 0, 16);
    cg_status s = cg_onnx_compare(&x);
    cg_graph_free(a);
    cg_graph_free(b);
    return s;
}

/* What differs between graphs of two sizes must follow the size, or is refused by name. */
static void test_differences(void **state) {
    (void)state;
    char known[16];
    ok(compared(two_rows(5, 2, 1), two_rows(7, 2, 1), known));
    assert_int_equal(known[2], CG_ONNX_KNOWN | CG_ONNX_CONSTANT | CG_ONNX_SAME);
    ok(compared(two_rows(15, 2, 5), two_rows(21, 2, 7), known));
    assert_int_equal(known[2], CG_ONNX_KNOWN | CG_ONNX_CONSTANT);
    assert_int_equal(compared(two_rows(5, 2, 1), two_rows(7, 3, 1), known), CG_EUNSUPPORTED);
    assert_string_equal(cg_error_message(),
                        "scale: factor is another at another number of pictures");
}

static void test_solve(void **state) {
    (void)state;
    cg_onnx_export x = {.symbol = {{.name = "a", .base = 5, .other = 7},
                                   {.name = "b", .base = 11, .other = 13},
                                   {.name = NULL}}};
    cg_onnx_size s, t;
    assert_true(cg_onnx_solve(&x, (int64_t[]){55 * 3, 77 * 3, 65 * 3, 55 * 3}, &s));
    assert_int_equal(s.factor, 3);
    assert_true(s.power[0] == 1 && s.power[1] == 1 && s.power[2] == 0);
    assert_int_equal(cg_onnx_number(&x, s), 165);
    assert_true(cg_onnx_solve(&x, (int64_t[]){10, 14, 10, 10}, &t));
    assert_true(!cg_onnx_over(t, s, &t) && cg_onnx_over(s, (cg_onnx_size){3, {1, 0, 0}}, &t));
    assert_true(cg_onnx_same(t, (cg_onnx_size){1, {0, 1, 0}}));
    assert_false(cg_onnx_solve(&x, (int64_t[]){6, 8, 6, 6}, &s));     /* a + 1 */
    assert_false(cg_onnx_solve(&x, (int64_t[]){25, 49, 25, 25}, &s)); /* a² */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_solve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
