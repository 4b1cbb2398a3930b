/* labels: unit */
/* What the table of op cases cannot say of the losses: labels refused in a run, logits that are not
 * finite, small losses of large logits, the same bits on any number of threads. */
#include "autodiff/grad.h"
#include "ops/ops.h"
#include "tests/support/run_once.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

/* --- softmax_cross_entropy -------------------------------------------------------------------- */

static cg_status loss_of(int axis, const int32_t *label, float *loss) {
    static const float x[6] = {1, 2, 3, 4, 5, 6};
    cg_graph *g = cg_once_graph();
    cg_value *logits = cg_input(g, "x", CG_F32, CG_SHAPE(2, 3));
    cg_value *l = cg_input(g, "label", CG_I32, CG_SHAPE(axis ? 2 : 3));
    cg_status s = cg_run_once(g, cg_softmax_cross_entropy(g, logits, l, axis),
                              (cg_once[]){{"x", x}, {"label", label}}, 2, loss,
                              (axis ? 2 : 3) * sizeof *loss);
    cg_graph_free(g);
    return s;
}

static void test_labels(void **state) {
    (void)state;
    float loss[3];
    assert_int_equal(loss_of(1, (int32_t[]){0, 2}, loss), CG_OK);
    assert_int_equal(loss_of(1, (int32_t[]){0, 3}, loss), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "label[1] is 3, wanted 0 to 2"));
    assert_int_equal(loss_of(1, (int32_t[]){-1, 2}, loss), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "label[0] is -1, wanted 0 to 2"));
    assert_int_equal(loss_of(0, (int32_t[]){0, 1, 2}, loss), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "label[2] is 2, wanted 0 to 1"));
}

/* Columns are read in tiles of rows: one that is all -inf, and the first, leaves the rest right. */
static void test_masked_rows(void **state) {
    (void)state;
    enum { TALL = 70, MASKED = 40 }; /* more than a tile of 32 */
    float x[TALL * 2], loss[2];
    int32_t label[2] = {MASKED, TALL - 1};
    for (int i = 0; i < TALL; i++)
        for (int j = 0; j < 2; j++) x[2 * i + j] = i < MASKED ? -INFINITY : (float)(j ? -1e4 : 3);
    cg_graph *g = cg_once_graph();
    cg_value *logits = cg_input(g, "x", CG_F32, CG_SHAPE(TALL, 2));
    cg_value *l = cg_input(g, "label", CG_I32, CG_SHAPE(2));
    assert_int_equal(cg_run_once(g, cg_softmax_cross_entropy(g, logits, l, 0),
                                 (cg_once[]){{"x", x}, {"label", label}}, 2, loss, sizeof loss),
                     CG_OK);
    cg_graph_free(g);
    for (int j = 0; j < 2; j++) assert_true(fabs((double)loss[j] - log(TALL - MASKED)) < 1e-5);
}

/* --- contrastive_cross_entropy ---------------------------------------------------------------- */

enum { ROW_LOSS, COLUMN_LOSS, ROW_LSE, COLUMN_LSE, SLOPE };

/* One result, or the gradient of the sum of both losses, of logits [n, m] on so many threads. */
static cg_status contrast(int threads, const float *x, int64_t n, int64_t m, const int32_t *row,
                          const int32_t *column, int which, float *y) {
    cg_graph *g = cg_once_graph();
    cg_value *logits = cg_input(g, "x", CG_F32, CG_SHAPE(n, m)), *dx;
    cg_contrastive_loss r =
        cg_contrastive_cross_entropy(g, logits, cg_input(g, "row", CG_I32, CG_SHAPE(n)),
                                     cg_input(g, "column", CG_I32, CG_SHAPE(m)));
    cg_value *out[] = {r.row_loss, r.column_loss, r.row_lse, r.column_lse, NULL};
    if (which == SLOPE) {
        assert_int_equal(cg_grad(g, 2, out, NULL, 1, &logits, &dx), CG_OK);
        out[SLOPE] = dx;
    }
    const int64_t count[] = {n, m, n, m, n * m};
    cg_status s = cg_run_once_on(threads, g, out[which],
                                 (cg_once[]){{"x", x}, {"row", row}, {"column", column}}, 3, y,
                                 (size_t)count[which] * sizeof *y);
    cg_graph_free(g);
    return s;
}

static void test_contrast_labels(void **state) {
    (void)state;
    static const float x[6] = {1, 2, 3, 4, 5, 6};
    float y[3];
    const int32_t row[2] = {0, 2}, column[3] = {0, 1, 1};
    const int32_t bad_row[2] = {0, 3}, bad_column[3] = {0, 1, 2};
    assert_int_equal(contrast(1, x, 2, 3, row, column, ROW_LOSS, y), CG_OK);
    assert_int_equal(contrast(1, x, 2, 3, bad_row, column, ROW_LOSS, y), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "label[1] is 3, wanted 0 to 2"));
    assert_int_equal(contrast(1, x, 2, 3, row, bad_column, ROW_LOSS, y), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "label[2] is 2, wanted 0 to 1"));
    assert_int_equal(contrast(1, x, 2, 3, row, (int32_t[]){0, -1, 1}, ROW_LOSS, y), CG_EINVAL);
}

/* Blocks of -inf leave the rest right; what has no other logit is NaN; NaN spoils its row and
 * column alone. */
static void test_contrast_infinite(void **state) {
    (void)state;
    enum { TALL = 70, WIDE = 130, MASKED = 40 }; /* more than a tile of 32 × 64 */
    static float x[TALL * WIDE], row_loss[TALL], row_lse[TALL], loss[WIDE], lse[WIDE];
    int32_t row[TALL], column[WIDE];
    for (int i = 0; i < TALL; i++) row[i] = WIDE - 1;
    for (int j = 0; j < WIDE; j++) column[j] = TALL - 1;
    for (int i = 0; i < TALL; i++)
        for (int j = 0; j < WIDE; j++)
            x[WIDE * i + j] = i < MASKED || j < 2 * MASKED ? -INFINITY : (float)(j % 2 ? -1e4 : 3);
    x[WIDE * TALL - WIDE] = NAN; /* the last row, the first column */
    assert_int_equal(contrast(2, x, TALL, WIDE, row, column, ROW_LOSS, row_loss), CG_OK);
    assert_int_equal(contrast(2, x, TALL, WIDE, row, column, ROW_LSE, row_lse), CG_OK);
    assert_int_equal(contrast(2, x, TALL, WIDE, row, column, COLUMN_LOSS, loss), CG_OK);
    assert_int_equal(contrast(2, x, TALL, WIDE, row, column, COLUMN_LSE, lse), CG_OK);
    for (int i = 0; i < TALL; i++) {
        int fine = i >= MASKED && i < TALL - 1;
        double want = 3 + log((WIDE - 2 * MASKED) / 2.0);
        assert_int_equal(isfinite(row_loss[i]), fine);
        if (fine) assert_float_equal(row_lse[i], want, 1e-5);
        if (fine) assert_float_equal(row_loss[i], want + 1e4, 1e-3);
    }
    assert_true(isnan(row_loss[TALL - 1]) && isnan(loss[0]) && isnan(loss[1]));
    for (int j = 2 * MASKED; j < WIDE; j++) {
        assert_float_equal(loss[j], log(TALL - MASKED), 1e-5);
        assert_float_equal(lse[j], (double)(j % 2 ? -1e4f : 3.0f) + log(TALL - MASKED), 1e-3);
    }
}

/* The same bits on one thread and on several. */
static void test_contrast_threads(void **state) {
    (void)state;
    enum { TALL = 300, WIDE = 301 };
    static float x[TALL * WIDE], a[TALL * WIDE], b[TALL * WIDE];
    int32_t row[TALL], column[WIDE];
    for (int i = 0; i < TALL * WIDE; i++) x[i] = (float)(i * 7919 % 4001) / 100 - 20;
    for (int i = 0; i < TALL; i++) row[i] = i;
    for (int j = 0; j < WIDE; j++) column[j] = j % TALL;
    const size_t count[] = {TALL, WIDE, TALL, WIDE, TALL * WIDE};
    for (int which = 0; which <= SLOPE; which++) {
        assert_int_equal(contrast(1, x, TALL, WIDE, row, column, which, a), CG_OK);
        for (int threads = 2; threads < 6; threads++) {
            assert_int_equal(contrast(threads, x, TALL, WIDE, row, column, which, b), CG_OK);
            assert_memory_equal(a, b, count[which] * sizeof *a);
        }
    }
}

static void test_contrast_kept(void **state) {
    (void)state;
    cg_graph *g = cg_once_graph();
    cg_value *x = cg_input(g, "x", CG_F32, CG_SHAPE(4, 4)), *dx;
    cg_value *label = cg_input(g, "label", CG_I32, CG_SHAPE(4));
    cg_contrastive_loss r = cg_contrastive_cross_entropy(g, x, label, label);
    assert_int_equal(cg_grad(g, 1, &r.column_lse, NULL, 1, &x, &dx), CG_EUNSUPPORTED);
    assert_non_null(strstr(cg_error_message(), "contrastive_cross_entropy: the gradient of lse"));
    cg_graph_free(g);
}

/* --- sigmoid_cross_entropy -------------------------------------------------------------------- */

static cg_status pair_loss(const float *x, int32_t label, int64_t width, float *loss) {
    cg_graph *g = cg_once_graph();
    cg_value *logits = cg_input(g, "x", CG_F32, CG_SHAPE(1, width));
    cg_value *l = cg_input(g, "label", CG_I32, CG_SHAPE(1));
    cg_status s = cg_run_once(g, cg_sigmoid_cross_entropy(g, logits, l),
                              (cg_once[]){{"x", x}, {"label", &label}}, 2, loss, sizeof *loss);
    cg_graph_free(g);
    return s;
}

/* Small losses keep their digits, large logits do not overflow. */
static void test_pairs(void **state) {
    (void)state;
    enum { WIDE = 1000 };
    float x[WIDE], loss;
    for (int j = 0; j < WIDE; j++) x[j] = -20;
    x[WIDE / 2] = 30;
    assert_int_equal(pair_loss(x, WIDE / 2, WIDE, &loss), CG_OK);
    double want = (WIDE - 1) * log1p(exp(-20)) + log1p(exp(-30));
    assert_true(fabs((double)loss - want) < 256 * 0x1p-24 * want); /* a block of a sum in f32 */
    const float large[3] = {-1e30f, 1e4f, -200};
    assert_int_equal(pair_loss(large, 1, 3, &loss), CG_OK);
    assert_true(loss == 0);
    assert_int_equal(pair_loss(large, 2, 3, &loss), CG_OK);
    assert_true(loss == 1e4f + 200);
    assert_int_equal(pair_loss((float[]){0, NAN, 0}, 0, 3, &loss), CG_OK);
    assert_true(isnan(loss));
    assert_int_equal(pair_loss(large, 3, 3, &loss), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "label[0] is 3, wanted 0 to 2"));
    assert_int_equal(pair_loss(large, -1, 3, &loss), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "label[0] is -1, wanted 0 to 2"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_masked_rows),
        cmocka_unit_test(test_contrast_labels),
        cmocka_unit_test(test_contrast_infinite),
        cmocka_unit_test(test_contrast_threads),
        cmocka_unit_test(test_contrast_kept),
        cmocka_unit_test(test_pairs),
    };
    return cmocka_run_group_tests_name("losses", tests, NULL, NULL);
}
