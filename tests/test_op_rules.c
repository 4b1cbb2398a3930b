/* labels: unit */
/* What the table of op cases cannot say: values refused in a run, gradients that a rule refuses,
 * the statistics of dropout and patch_dropout, rows of zeros. */
#include "autodiff/grad.h"
#include "ops/ops.h"
#include "tests/support/run_once.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

/* --- l2norm ----------------------------------------------------------------------------------- */

/* A row of zeros has no direction: differences would give it a gradient of 1 / sqrt(eps). */
static void test_zero_rows(void **state) {
    (void)state;
    const float x[6] = {0, 0, 3, 4, 0, -0.0f}, seed[6] = {1, 2, 1, 0, -3, 5};
    const float eps[2] = {0, 1e-12f};
    for (int k = 0; k < 2; k++) {
        float y[6], got[6];
        for (int gradient = 0; gradient < 2; gradient++) {
            cg_graph *g = cg_once_graph();
            cg_value *in = cg_input(g, "x", CG_F32, CG_SHAPE(3, 2)), *dx = NULL;
            cg_value *dy = cg_input(g, "dy", CG_F32, CG_SHAPE(3, 2));
            cg_value *out = cg_l2norm(g, in, eps[k]);
            if (gradient) assert_int_equal(cg_grad(g, 1, &out, &dy, 1, &in, &dx), CG_OK);
            assert_int_equal(cg_run_once(g, gradient ? dx : out,
                                         (cg_once[]){{"x", x}, {"dy", seed}}, 2, gradient ? got : y,
                                         sizeof y),
                             CG_OK);
            cg_graph_free(g);
        }
        for (int i = 0; i < 6; i++) {
            if (i / 2 != 1) assert_true(y[i] == 0 && got[i] == 0);
        }
        assert_float_equal(y[2], 0.6, 1e-6);
        assert_float_equal(got[2], 0.128, 1e-6); /* r (dy - y Σ dy y) = (1 - 0.36) / 5 */
        assert_float_equal(got[3], -0.096, 1e-6);
    }
}

/* --- attention -------------------------------------------------------------------------------- */

static cg_status attend(const int32_t *q_offset, const int32_t *k_offset, float *o) {
    static const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    cg_graph *g = cg_once_graph();
    cg_value *v = cg_input(g, "x", CG_F32, CG_SHAPE(4, 2));
    cg_value *q = cg_input(g, "q", CG_I32, CG_SHAPE(3)), *k = cg_input(g, "k", CG_I32, CG_SHAPE(3));
    cg_status s = cg_run_once(
        g, cg_attention(g, v, v, v, q, k, (cg_attention_options){.heads = 1, .scale = 1}),
        (cg_once[]){{"x", x}, {"q", q_offset}, {"k", k_offset}}, 3, o, 8 * sizeof *o);
    cg_graph_free(g);
    return s;
}

static void test_offsets(void **state) {
    (void)state;
    float o[8];
    assert_int_equal(attend((int32_t[]){0, 2, 5}, (int32_t[]){0, 2, 4}, o), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "q_offset ends at 5, wanted at most 4"));
    assert_int_equal(attend((int32_t[]){0, 2, 4}, (int32_t[]){0, 3, 2}, o), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "k_offset falls from 3 to 2 at 2"));
    assert_int_equal(attend((int32_t[]){-1, 2, 4}, (int32_t[]){0, 3, 4}, o), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "q_offset[0] is -1"));
    /* the first row is of no sequence; the first sequence has one key, the second none */
    assert_int_equal(attend((int32_t[]){1, 3, 4}, (int32_t[]){2, 3, 3}, o), CG_OK);
    const float want[8] = {0, 0, 5, 6, 5, 6, 0, 0};
    for (int i = 0; i < 8; i++) assert_float_equal(o[i], want[i], 1e-6);
}

static void test_qkv_offsets(void **state) {
    (void)state;
    const float x[12] = {0};
    float o[4];
    cg_graph *g = cg_once_graph();
    cg_value *qkv = cg_input(g, "x", CG_F32, CG_SHAPE(2, 6));
    cg_value *offset = cg_input(g, "offset", CG_I32, CG_SHAPE(2));
    cg_value *y = cg_attention_qkv(g, qkv, offset, (cg_attention_options){.heads = 1, .scale = 1});
    assert_int_equal(
        cg_run_once(g, y, (cg_once[]){{"x", x}, {"offset", (int32_t[]){0, 3}}}, 2, o, sizeof o),
        CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "offset ends at 3, wanted at most 2 rows"));
    cg_graph_free(g);
}

/* Pairs that are attended: of 3 queries and 5 keys, and of 4 and 2, under a causal mask. */
static void test_attention_flops(void **state) {
    (void)state;
    cg_graph *g = cg_once_graph();
    const int32_t at_q[3] = {0, 3, 7}, at_k[3] = {0, 5, 7};
    cg_value *q = cg_input(g, "q", CG_F32, CG_SHAPE(8, 6));
    cg_value *k = cg_input(g, "k", CG_F32, CG_SHAPE(8, 6));
    cg_value *v = cg_input(g, "v", CG_F32, CG_SHAPE(8, 4));
    cg_value *known_q = cg_constant(g, CG_I32, CG_SHAPE(3), at_q);
    cg_value *known_k = cg_constant(g, CG_I32, CG_SHAPE(3), at_k);
    cg_value *offset = cg_input(g, "offset", CG_I32, CG_SHAPE(3));
    for (int causal = 0; causal < 2; causal++) {
        cg_attention_options options = {.heads = 2, .scale = 1, .causal = causal};
        const cg_value *known = cg_attention(g, q, k, v, known_q, known_k, options);
        const cg_value *equal = cg_attention(g, q, k, v, offset, offset, options);
        int pairs = causal ? 3 + 4 + 5 + 1 + 2 : 3 * 5 + 4 * 2;
        assert_int_equal(known->node->op->flops(known->node), 2 * pairs * (6 + 4));
        pairs = causal ? 2 * (1 + 2 + 3 + 4) : 2 * 4 * 4;
        assert_int_equal(equal->node->op->flops(equal->node), 2 * pairs * (6 + 4));
    }
    cg_graph_free(g);
}

/* --- segment_prefix --------------------------------------------------------------------------- */

static cg_status prefix(const int32_t *row, const int32_t *offset, float *y) {
    cg_graph *g = cg_once_graph();
    cg_value *r = cg_input(g, "row", CG_I32, CG_SHAPE(2));
    cg_value *o = cg_input(g, "offset", CG_I32, CG_SHAPE(3));
    cg_status s = cg_run_once(g, cg_segment_prefix(g, r, o, 6),
                              (cg_once[]){{"row", row}, {"offset", offset}}, 2, y, 6 * sizeof *y);
    cg_graph_free(g);
    return s;
}

static void test_prefix(void **state) {
    (void)state;
    float y[6];
    assert_int_equal(prefix((int32_t[]){1, 4}, (int32_t[]){1, 3, 6}, y), CG_OK);
    const float want[6] = {0, 1, 0, 1, 1, 0};
    assert_memory_equal(y, want, sizeof y);
    assert_int_equal(prefix((int32_t[]){3, 4}, (int32_t[]){1, 3, 6}, y), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "row[0] is 3, wanted one of its segment, 1 to 2"));
    assert_int_equal(prefix((int32_t[]){1, 2}, (int32_t[]){1, 3, 6}, y), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "row[1] is 2, wanted one of its segment, 3 to 5"));
    assert_int_equal(prefix((int32_t[]){1, 3}, (int32_t[]){1, 3, 3}, y), CG_EINVAL); /* empty */
    assert_non_null(strstr(cg_error_message(), "row[1] is 3"));
    assert_int_equal(prefix((int32_t[]){1, 4}, (int32_t[]){1, 3, 7}, y), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "offset ends at 7, wanted at most 6"));
    assert_int_equal(prefix((int32_t[]){1, 4}, (int32_t[]){1, 7, 6}, y), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "offset falls from 7 to 6 at 2"));
    assert_int_equal(prefix((int32_t[]){1, 4}, (int32_t[]){-1, 3, 6}, y), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "offset[0] is -1"));
}

/* --- gradients that are refused --------------------------------------------------------------- */

/* Sends a gradient into output 1 of y's node. */
static void refuse_kept(cg_graph *g, cg_value *x, cg_value *y, const char *sentence) {
    cg_value *kept = y->node->out[1], *dx;
    assert_int_equal(cg_grad(g, 1, &kept, NULL, 1, &x, &dx), CG_EUNSUPPORTED);
    assert_non_null(strstr(cg_error_message(), sentence));
    cg_graph_free(g);
}

static void test_kept(void **state) {
    (void)state;
    cg_graph *g = cg_once_graph();
    cg_value *x = cg_input(g, "x", CG_F32, CG_SHAPE(4, 2)),
             *w = cg_input(g, "w", CG_F32, CG_SHAPE(2));
    refuse_kept(g, x, cg_layer_norm(g, x, w, w, 0), "the gradient of mean and rstd");
    g = cg_once_graph();
    x = cg_input(g, "x", CG_F32, CG_SHAPE(4, 2));
    refuse_kept(g, x, cg_l2norm(g, x, 0), "l2norm: the gradient of r is not supported");
    g = cg_once_graph();
    x = cg_input(g, "x", CG_F32, CG_SHAPE(4, 2));
    w = cg_input(g, "w", CG_F32, CG_SHAPE(2));
    refuse_kept(g, x, cg_rms_norm(g, x, w, 0), "rms_norm: the gradient of r is not supported");
    g = cg_once_graph();
    x = cg_input(g, "x", CG_F32, CG_SHAPE(4, 2));
    cg_value *label = cg_input(g, "label", CG_I32, CG_SHAPE(4));
    refuse_kept(g, x, cg_softmax_cross_entropy(g, x, label, 1), "the gradient of lse");
    g = cg_once_graph();
    x = cg_input(g, "x", CG_F32, CG_SHAPE(4, 2));
    cg_value *offset = cg_input(g, "offset", CG_I32, CG_SHAPE(2));
    refuse_kept(
        g, x,
        cg_attention(g, x, x, x, offset, offset, (cg_attention_options){.heads = 1, .scale = 1}),
        "attention: the gradient of lse");
    g = cg_once_graph();
    x = cg_input(g, "x", CG_F32, CG_SHAPE(4, 3));
    offset = cg_input(g, "offset", CG_I32, CG_SHAPE(2));
    refuse_kept(g, x,
                cg_attention_qkv(g, x, offset, (cg_attention_options){.heads = 1, .scale = 1}),
                "attention_qkv: the gradient of lse");
}

/* --- dropout ---------------------------------------------------------------------------------- */

enum { ROWS = 64, WIDTH = 1001 };

/* keep[i] of element i of ones [ROWS, WIDTH], in the graph's second or first random node. */
static void drop(int second, int64_t seed, int64_t step, const int64_t *sample, float p,
                 uint8_t *keep) {
    static float x[ROWS * WIDTH], y[ROWS * WIDTH];
    for (int i = 0; i < ROWS * WIDTH; i++) x[i] = 1;
    cg_graph *g = cg_once_graph();
    if (second) cg_graph_key(g);
    cg_value *in = cg_input(g, "x", CG_F32, CG_SHAPE(ROWS, WIDTH));
    cg_value *stream = cg_input(g, "stream", CG_I64, CG_SHAPE(2));
    cg_value *id = cg_input(g, "sample", CG_I64, CG_SHAPE(ROWS));
    const int64_t numbers[2] = {seed, step};
    assert_int_equal(cg_run_once(g, cg_dropout(g, in, stream, id, p),
                                 (cg_once[]){{"x", x}, {"stream", numbers}, {"sample", sample}}, 3,
                                 y, sizeof y),
                     CG_OK);
    cg_graph_free(g);
    for (int i = 0; i < ROWS * WIDTH; i++) {
        keep[i] = y[i] > 0;
        if (keep[i]) assert_float_equal(y[i], 1 / (1 - (double)p), 1e-6);
    }
}

/* The share of elements that agree, which is p² + (1-p)² where masks are independent. */
static double agreement(const uint8_t *a, const uint8_t *b, int64_t n) {
    int64_t same = 0;
    for (int64_t i = 0; i < n; i++) same += a[i] == b[i];
    return (double)same / (double)n;
}

static void test_dropout(void **state) {
    (void)state;
    static uint8_t a[ROWS * WIDTH], b[ROWS * WIDTH];
    const double p = 0.25, independent = p * p + (1 - p) * (1 - p);
    const double n = ROWS * WIDTH, slack = 5 * 0.5 / sqrt(n); /* five standard deviations */
    int64_t sample[ROWS], reversed[ROWS];
    for (int i = 0; i < ROWS; i++) {
        sample[i] = 1000 + i;
        reversed[i] = 1000 + ROWS - 1 - i;
    }
    drop(0, 1, 7, sample, (float)p, a);
    double kept = 0;
    for (int i = 0; i < ROWS * WIDTH; i++) kept += a[i];
    assert_true(fabs(kept / n - (1 - p)) < slack);
    drop(0, 1, 7, sample, (float)p, b);
    assert_memory_equal(a, b, sizeof a);
    drop(0, 1, 7, reversed, (float)p, b); /* a sample's mask follows it through the batch */
    for (int i = 0; i < ROWS; i++)
        assert_memory_equal(a + i * WIDTH, b + (ROWS - 1 - i) * WIDTH, WIDTH);
    assert_true(fabs(agreement(a, b, ROWS * WIDTH) - independent) < slack);
    drop(0, 1, 8, sample, (float)p, b); /* another step */
    assert_true(fabs(agreement(a, b, ROWS * WIDTH) - independent) < slack);
    drop(1, 1, 7, sample, (float)p, b); /* another node */
    assert_true(fabs(agreement(a, b, ROWS * WIDTH) - independent) < slack);
    drop(1, 0, 7, sample, (float)p, b); /* its number and the seed, exchanged */
    assert_true(fabs(agreement(a, b, ROWS * WIDTH) - independent) < slack);
    drop(0, 2, 7, sample, (float)p, b); /* another seed */
    assert_true(fabs(agreement(a, b, ROWS * WIDTH) - independent) < slack);
    drop(0, 7, 1, sample, (float)p, b); /* seed and step, exchanged */
    assert_true(fabs(agreement(a, b, ROWS * WIDTH) - independent) < slack);
    assert_true(fabs(agreement(a, a + 1, ROWS * WIDTH - 1) - independent) < slack);
    drop(0, 1, 7, sample, 0, b);
    for (int i = 0; i < ROWS * WIDTH; i++) assert_int_equal(b[i], 1);
}

/* --- patch_dropout ---------------------------------------------------------------------------- */

enum { SAMPLES = 4000, PATCHES = 13, KEPT = 5 };

/* kept[i, r]: whether sample i keeps row r. */
static void drop_patches(int second, int64_t seed, int64_t step, int64_t first, uint8_t *kept) {
    static float x[SAMPLES * PATCHES], y[SAMPLES * KEPT];
    static int64_t sample[SAMPLES];
    for (int i = 0; i < SAMPLES * PATCHES; i++) x[i] = (float)(i % PATCHES);
    for (int i = 0; i < SAMPLES; i++) sample[i] = first + i;
    cg_graph *g = cg_once_graph();
    if (second) cg_graph_key(g);
    cg_value *in = cg_input(g, "x", CG_F32, CG_SHAPE(SAMPLES, PATCHES, 1));
    cg_value *stream = cg_input(g, "stream", CG_I64, CG_SHAPE(2));
    cg_value *id = cg_input(g, "sample", CG_I64, CG_SHAPE(SAMPLES));
    const int64_t numbers[2] = {seed, step};
    assert_int_equal(cg_run_once(g, cg_patch_dropout(g, in, stream, id, KEPT),
                                 (cg_once[]){{"x", x}, {"stream", numbers}, {"sample", sample}}, 3,
                                 y, sizeof y),
                     CG_OK);
    cg_graph_free(g);
    memset(kept, 0, SAMPLES * PATCHES);
    for (int i = 0; i < SAMPLES * KEPT; i++) {
        if (i % KEPT) assert_true(y[i - 1] < y[i]); /* in their order, none twice */
        kept[i / KEPT * PATCHES + (int)y[i]] = 1;
    }
}

/* How often rows a and b are kept together. */
static double together(const uint8_t *kept, int a, int b) {
    int n = 0;
    for (int i = 0; i < SAMPLES; i++) n += kept[i * PATCHES + a] && kept[i * PATCHES + b];
    return (double)n / SAMPLES;
}

static void test_patch_dropout(void **state) {
    (void)state;
    static uint8_t a[SAMPLES * PATCHES], b[SAMPLES * PATCHES];
    const double one = (double)KEPT / PATCHES, two = one * (KEPT - 1) / (PATCHES - 1);
    const double n = SAMPLES * PATCHES, slack = 5 * 0.5 / sqrt(SAMPLES);
    drop_patches(0, 1, 7, 1000, a);
    for (int r = 0; r < PATCHES; r++) {
        assert_true(fabs(together(a, r, r) - one) < slack);
        for (int s = 0; s < r; s++) assert_true(fabs(together(a, r, s) - two) < slack);
    }
    drop_patches(0, 1, 7, 1000, b);
    assert_memory_equal(a, b, sizeof a);
    drop_patches(0, 1, 7, 1001, b); /* a sample's rows follow it through the batch */
    assert_memory_equal(a + PATCHES, b, sizeof a - PATCHES);
    const double independent = one * one + (1 - one) * (1 - one);
    assert_true(fabs(agreement(a, b, SAMPLES * PATCHES) - independent) < 5 * 0.5 / sqrt(n));
    const int64_t other[4][3] = {{0, 2, 7}, {0, 1, 8}, {1, 1, 7}, {0, 7, 1}};
    for (int k = 0; k < 4; k++) { /* seed, step, node, seed and step exchanged */
        drop_patches((int)other[k][0], other[k][1], other[k][2], 1000, b);
        assert_true(fabs(agreement(a, b, SAMPLES * PATCHES) - independent) < 5 * 0.5 / sqrt(n));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefix),      cmocka_unit_test(test_offsets),
        cmocka_unit_test(test_qkv_offsets), cmocka_unit_test(test_attention_flops),
        cmocka_unit_test(test_kept),        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_zero_rows),   cmocka_unit_test(test_patch_dropout),
    };
    return cmocka_run_group_tests_name("op rules", tests, NULL, NULL);
}
