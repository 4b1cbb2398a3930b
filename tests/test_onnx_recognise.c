/* labels: unit */
/* Recognition, on graphs made by hand: what is spelt out becomes one op, which gives the same; and
 * what differs from it in one point is left alone. */
#include "ops/ops.h"
#include "serialize/onnx/recognise.h"
#include "tests/support/run_once.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Sizes of most graphs: sequences, tokens, heads, columns of a head. */
enum { S = 2, T = 5, H = 3, D = 4, W = H * D, R = S * T };

/* variant 0 is the thing itself; others are almost it. */
typedef cg_value *(*build_fn)(cg_graph *g, cg_value *x, int variant);

static cg_value *row(cg_graph *g, int64_t n, float low) {
    float x[64];
    for (int i = 0; i < n; i++) x[i] = low + 0.1f * (float)(i * 7 % 11);
    return cg_constant(g, CG_F32, CG_SHAPE(n), x);
}

static cg_value *matrix(cg_graph *g, int64_t rows, int64_t columns) {
    static float x[64 * 64];
    for (int64_t i = 0; i < rows * columns; i++) x[i] = 0.1f * (float)(i * 37 % 23 - 11);
    return cg_constant(g, CG_F32, CG_SHAPE(rows, columns), x);
}

static int count(const cg_graph *g, const cg_op *op) {
    int n = 0;
    for (int i = 0; i < g->n_node; i++) n += g->node[i]->op == op;
    return n;
}

enum { INPUT = 4 * 6 * 6 * 8, OUTPUT = 4096 };

static void run(cg_shape shape, build_fn build, int variant, int recognise, const cg_op *op,
                int wanted, float *y, size_t *n) {
    static float x[INPUT];
    for (int i = 0; i < INPUT; i++) x[i] = sinf((float)i * 1.7f) * 2;
    cg_graph *g = cg_once_graph();
    cg_value *v = build(g, cg_input(g, "x", CG_F32, shape), variant);
    assert_int_equal(cg_graph_status(g), CG_OK);
    cg_graph_output(g, "y", v, CG_KEEP);
    if (recognise) {
        assert_int_equal(cg_recognise(g, NULL, NULL), CG_OK);
        assert_int_equal(cg_graph_verify(g), CG_OK);
        if (count(g, op) != wanted)
            fail_msg("%s, variant %d: %d nodes, wanted %d", op->name, variant, count(g, op),
                     wanted);
    }
    v = cg_graph_find_output(g, "y")->value;
    cg_graph_drop_output(g, "y");
    *n = (size_t)cg_shape_count(&v->shape);
    assert_true(*n <= OUTPUT);
    assert_int_equal(cg_run_once(g, v, &(cg_once){"x", x}, 1, y, *n * sizeof *y), CG_OK);
    cg_graph_free(g);
}

/* Variants 0 to `same` are recognised, `same` to n are not. */
static void check(cg_shape shape, build_fn build, const cg_op *op, int same, int n) {
    static float plain[OUTPUT], found[OUTPUT];
    for (int variant = 0; variant < n; variant++) {
        size_t a, b;
        run(shape, build, variant, 0, op, 0, plain, &a);
        run(shape, build, variant, 1, op, variant < same, found, &b);
        assert_int_equal(a, b);
        for (size_t i = 0; i < a; i++)
            if (!(fabsf(plain[i] - found[i]) <= 2e-5f * (1 + fabsf(plain[i]))))
                fail_msg("%s, variant %d: y[%zu] is %g, wanted %g", op->name, variant, i,
                         (double)found[i], (double)plain[i]);
    }
}

/* --- linear, conv ----------------------------------------------------------------------------- */

static cg_value *linear(cg_graph *g, cg_value *x, int variant) {
    cg_value *y = cg_linear(g, x, matrix(g, 7, W), NULL);
    if (variant == 0) return cg_add(g, y, row(g, 7, 0));
    if (variant == 1) return cg_add(g, cg_reshape(g, row(g, 7, 0), CG_SHAPE(1, 7)), y);
    if (variant == 2) return cg_add(g, y, cg_constant_f32(g, 1));      /* not a row */
    if (variant == 3) return cg_add(g, cg_add(g, y, row(g, 7, 0)), y); /* read twice */
    return cg_add(g, y, cg_reshape(g, row(g, R, 0), CG_SHAPE(R, 1)));  /* a column */
}

static int biased(const cg_graph *g) {
    int n = 0;
    for (int i = 0; i < g->n_node; i++)
        n += g->node[i]->op == &cg_op_linear && g->node[i]->n_in == 3;
    return n;
}

static void test_linear(void **state) {
    (void)state;
    for (int variant = 0; variant < 5; variant++) {
        cg_graph *g = cg_once_graph();
        cg_value *y = linear(g, cg_input(g, "x", CG_F32, CG_SHAPE(R, W)), variant);
        cg_graph_output(g, "y", y, CG_KEEP);
        assert_int_equal(cg_recognise(g, NULL, NULL), CG_OK);
        assert_int_equal(biased(g), variant < 2);
        cg_graph_free(g);
    }
    check(CG_SHAPE(R, W), linear, &cg_op_linear, 5, 5); /* results */
}

static cg_value *conv(cg_graph *g, cg_value *x, int variant) {
    cg_value *w = cg_reshape(g, matrix(g, 8, 8), CG_SHAPE(8, 8, 1, 1));
    cg_value *y = cg_conv2d_with(g, x, w, (cg_conv2d_options){.bias = row(g, 8, -1)});
    if (variant == 0) return cg_relu(g, y);
    if (variant == 1) return cg_relu(g, cg_add(g, y, x));
    if (variant == 2) return cg_relu(g, cg_add(g, x, y));
    return cg_add(g, cg_relu(g, y), y);
}

static void test_conv(void **state) {
    (void)state;
    static float y[2][OUTPUT];
    for (int variant = 0; variant < 4; variant++) {
        size_t n;
        run(CG_SHAPE(2, 3, 3, 8), conv, variant, 0, &cg_op_relu, 0, y[0], &n);
        run(CG_SHAPE(2, 3, 3, 8), conv, variant, 1, &cg_op_relu, variant == 3, y[1], &n);
        for (size_t i = 0; i < n; i++) assert_true(fabsf(y[0][i] - y[1][i]) <= 1e-5f);
    }
}

/* --- norms ------------------------------------------------------------------------------------ */

static cg_value *layer_norm(cg_graph *g, cg_value *x, int variant) {
    cg_value *m = cg_mean(g, x, CG_SHAPE(1), 1);
    if (variant == 2) m = cg_scale(g, m, 1.01f);
    cg_value *d = cg_sub(g, x, m), *square = cg_mul(g, d, variant == 3 ? x : d);
    cg_value *v = cg_mean(g, square, CG_SHAPE(variant == 4 ? 0 : 1), 1);
    if (variant == 5) v = cg_scale(g, v, 2);
    if (variant == 3) v = cg_mul(g, v, v);
    cg_value *e = cg_constant_f32(g, 1e-3f);
    cg_value *y = cg_div(g, d, cg_sqrt(g, variant == 1 ? cg_add(g, e, v) : cg_add(g, v, e)));
    y = variant == 1 ? cg_mul(g, row(g, W, 1), y) : cg_mul(g, y, row(g, W, 1));
    if (variant == 6) return cg_add(g, y, x); /* no bias */
    return cg_add(g, y, row(g, W, -1));
}

static void test_layer_norm(void **state) {
    (void)state;
    check(CG_SHAPE(R, W), layer_norm, &cg_op_layer_norm, 2, 7);
}

/* From 3 on: the length of a column; of other numbers; lengths that are held within bounds, which
 * shorter and longer rows show; products with other rows, in place of squares. */
static cg_value *unit(cg_graph *g, cg_value *x, int variant) {
    if (variant >= 5 && variant < 8) x = cg_scale(g, x, variant == 7 ? 1e7f : 1e-14f);
    cg_value *sum = cg_sum(g, cg_mul(g, x, x), CG_SHAPE(variant == 3 ? 0 : 1), 1);
    if (variant == 1) sum = cg_add(g, sum, cg_constant_f32(g, 1e-12f));
    if (variant == 8) {
        cg_value *a = cg_reshape(g, cg_exp(g, x), CG_SHAPE(R, 1, W));
        cg_value *b = cg_reshape(g, a, CG_SHAPE(1, R, W));
        return cg_div(g, a, cg_sqrt(g, cg_sum(g, cg_mul(g, a, b), CG_SHAPE(2), 1)));
    }
    cg_value *r = cg_sqrt(g, sum);
    if (variant == 2) r = cg_broadcast(g, r, x->shape);
    if (variant == 5) r = cg_clamp(g, r, 1e-12f, INFINITY);
    if (variant == 6) r = cg_broadcast(g, cg_clamp(g, r, 1e-12f, INFINITY), x->shape);
    if (variant == 7) r = cg_clamp(g, r, 0, 2e6f);
    return cg_div(g, variant == 4 ? cg_scale(g, x, 2) : x, r);
}

static void test_l2norm(void **state) {
    (void)state;
    check(CG_SHAPE(R, W), unit, &cg_op_l2norm, 3, 9);
}

/* Rows of K, and their lengths repeated as another shape: 0, each beside its own row; 1 and 2, all
 * of them in turn, so that a row is divided by the lengths of others. */
static cg_value *unit_reshaped(cg_graph *g, cg_value *x, int variant) {
    enum { N = 4, K = 3 };
    static const cg_shape as[] = {CG_SHAPE(N, 1, K), CG_SHAPE(K, N, 1), CG_SHAPE(K, N)};
    cg_value *r = cg_sqrt(g, cg_sum(g, cg_mul(g, x, x), CG_SHAPE(1), 1));
    r = cg_reshape(g, r, variant == 2 ? CG_SHAPE(N) : variant ? CG_SHAPE(N, 1) : CG_SHAPE(N, 1, 1));
    return cg_div(g, x, cg_reshape(g, cg_broadcast(g, r, as[variant]), x->shape));
}

static void test_l2norm_reshaped(void **state) {
    (void)state;
    check(CG_SHAPE(4, 3), unit_reshaped, &cg_op_l2norm, 1, 3);
}

/* --- activations ------------------------------------------------------------------------------ */

static cg_value *gelu(cg_graph *g, cg_value *x, int variant) {
    cg_value *one = cg_constant_f32(g, variant == 3 ? 1.001f : 1);
    cg_value *e = cg_add(g, cg_erf(g, cg_scale(g, x, variant == 4 ? 0.7f : sqrtf(0.5f))), one);
    if (variant == 1) return cg_mul(g, cg_scale(g, x, 0.5f), e);
    if (variant == 2) return cg_mul(g, cg_mul(g, e, x), cg_constant_f32(g, 0.5f));
    return cg_scale(g, cg_mul(g, x, e), 0.5f);
}

static cg_value *gelu_tanh(cg_graph *g, cg_value *x, int variant) {
    cg_value *cube = cg_mul(g, cg_mul(g, x, x), x);
    cg_value *u = cg_add(g, x, cg_scale(g, cube, variant == 2 ? 0.05f : 0.044715f));
    cg_value *t = cg_add(g, cg_tanh(g, cg_scale(g, u, 0.7978845608f)), cg_constant_f32(g, 1));
    return variant == 1 ? cg_mul(g, t, cg_scale(g, x, 0.5f)) : cg_mul(g, cg_scale(g, x, 0.5f), t);
}

static cg_value *quick(cg_graph *g, cg_value *x, int variant) {
    cg_value *s = cg_sigmoid(g, cg_scale(g, x, variant == 2 ? 1.7f : 1.702f));
    return variant == 1 ? cg_mul(g, s, x) : cg_mul(g, x, s);
}

static cg_value *silu(cg_graph *g, cg_value *x, int variant) {
    cg_value *s = cg_sigmoid(g, x);
    return variant == 1 ? cg_add(g, cg_mul(g, x, s), s) : cg_mul(g, x, s); /* another reads it */
}

static void test_activations(void **state) {
    (void)state;
    check(CG_SHAPE(R, W), gelu, &cg_op_gelu, 3, 5);
    check(CG_SHAPE(R, W), gelu_tanh, &cg_op_gelu_tanh, 2, 3);
    check(CG_SHAPE(R, W), quick, &cg_op_quickgelu, 2, 3);
    check(CG_SHAPE(R, W), silu, &cg_op_silu, 1, 2);
}

/* --- attention -------------------------------------------------------------------------------- */

/* Heads of x [R, n W], columns from `column` on: [S H, T, D]. */
static cg_value *heads(cg_graph *g, cg_value *x, int64_t column) {
    x = cg_slice(g, x, 1, column, W);
    x = cg_transpose(g, cg_reshape(g, x, CG_SHAPE(S, T, H, D)), CG_SHAPE(0, 2, 1, 3));
    return cg_reshape(g, x, CG_SHAPE(S * H, T, D));
}

static cg_value *causal(cg_graph *g, int variant) {
    float x[T * T];
    for (int i = 0; i < T; i++)
        for (int j = 0; j < T; j++) x[i * T + j] = j > i ? -INFINITY : 0;
    if (variant == 5) x[T + 0] = -INFINITY; /* hides what is seen */
    if (variant == 6) x[1] = 0;             /* shows what lies ahead */
    if (variant == 7) x[T + 1] = 1;         /* changes a score */
    return cg_constant(g, CG_F32, CG_SHAPE(T, T), x);
}

/* 0: plain; 1: causal; 2: factors on both sides; 3: kᵀ made by a transposition; 4: values in front;
 * from 5 on masks, scales and values that attention has not. */
static cg_value *attention(cg_graph *g, cg_value *x, int variant) {
    cg_value *qkv = cg_linear(g, x, matrix(g, 3 * W, W), row(g, 3 * W, -0.5f));
    int64_t at = variant == 4 ? 2 * W : 0, values = variant == 4 ? 0 : 2 * W;
    cg_value *q = heads(g, qkv, at), *k = heads(g, qkv, W), *v = heads(g, qkv, values), *s;
    if (variant == 2) {
        q = cg_scale(g, q, 0.5f);
        k = cg_scale(g, k, 1.5f);
    }
    if (variant == 8) q = cg_add(g, q, k); /* not columns of one matrix, but heads cannot be told */
    if (variant == 3)
        s = cg_matmul(g, q, cg_transpose(g, k, CG_SHAPE(0, 2, 1)), 0, 0);
    else
        s = cg_matmul(g, q, k, 0, 1);
    s = cg_scale(g, s, variant == 9 ? -0.5f : 0.5f);
    if (variant == 1 || (variant >= 5 && variant < 8)) s = cg_add(g, s, causal(g, variant));
    cg_value *o = cg_matmul(g, cg_softmax(g, s), v, 0, 0);
    if (variant == 10) o = cg_matmul(g, cg_softmax(g, s), cg_scale(g, v, 2), 0, 0);
    o = cg_transpose(g, cg_reshape(g, o, CG_SHAPE(S, H, T, D)), CG_SHAPE(0, 2, 1, 3));
    return cg_reshape(g, o, CG_SHAPE(R, W));
}

static cg_value *packed(cg_graph *g, cg_value *x, int variant) {
    return attention(g, x, variant == 4 ? 5 : variant);
}

static cg_value *unpacked(cg_graph *g, cg_value *x, int variant) {
    (void)variant;
    return attention(g, x, 4);
}

static void test_attention(void **state) {
    (void)state;
    check(CG_SHAPE(R, W), packed, &cg_op_attention_qkv, 4, 11);
    check(CG_SHAPE(R, W), unpacked, &cg_op_attention, 1, 1);
}

/* The same of one matrix, its mask being a choice: keys that lie ahead, or the last one besides.
 * 0: low where not chosen; 1: where chosen; 2: rows of NaN become 0; from 3 on: a number that is
 * not low; NaN that becomes another number; sums over two rows, and over half of one; a query that
 * sees nothing; a key that one head does not see; a key that is seen and made high. */
static cg_value *chosen(cg_graph *g, cg_value *x, int variant) {
    static const float large[T] = {[T - 1] = 1e30f};
    cg_value *qkv = cg_linear(g, x, matrix(g, 3 * W, W), row(g, 3 * W, -0.5f));
    cg_value *s = cg_matmul(g, heads(g, qkv, 0), heads(g, qkv, W), 0, 1);
    int32_t c[S * H * T * T];
    for (int i = 0; i < S * H * T * T; i++) {
        int query = i / T % T, key = i % T;
        c[i] = (key <= query && (key < T - 1 || variant == 9)) != (variant == 1);
        if (variant == 7 && query == 0) c[i] = 0;
        if (variant == 8 && key == 1 && i / (T * T) == 2) c[i] = 0;
    }
    cg_value *mask = cg_constant(g, CG_I32, CG_SHAPE(S * H, T, T), c);
    cg_value *low = cg_constant_f32(g, variant == 3 ? -3 : -1e30f);
    s = variant == 1 ? cg_select(g, mask, low, s) : cg_select(g, mask, s, low);
    if (variant == 9) s = cg_add(g, s, cg_constant(g, CG_F32, CG_SHAPE(T), large));
    if (variant == 5) s = cg_reshape(g, s, CG_SHAPE(S * H, 1, T * T));
    if (variant == 6) s = cg_reshape(g, s, CG_SHAPE(S * H / 2, T * T, 2));
    cg_value *p = cg_softmax(g, s);
    p = cg_reshape(g, p, CG_SHAPE(S * H, T, T));
    if (variant == 2 || variant == 4)
        p = cg_select(g, cg_is_nan(g, p), cg_constant_f32(g, variant == 2 ? 0 : 3), p);
    cg_value *o = cg_matmul(g, p, heads(g, qkv, 2 * W), 0, 0);
    o = cg_transpose(g, cg_reshape(g, o, CG_SHAPE(S, H, T, D)), CG_SHAPE(0, 2, 1, 3));
    return cg_reshape(g, o, CG_SHAPE(R, W));
}

static void test_choices(void **state) {
    (void)state;
    check(CG_SHAPE(R, W), chosen, &cg_op_attention_qkv, 3, 10);
}

/* --- views ------------------------------------------------------------------------------------ */

static cg_value *there_and_back(cg_graph *g, cg_value *x, int variant) {
    x = cg_transpose(g, cg_reshape(g, x, CG_SHAPE(S, T, H, D)), CG_SHAPE(0, 2, 1, 3));
    x = cg_reshape(g, x, CG_SHAPE(S * H, T, D));
    x = cg_transpose(g, cg_reshape(g, x, CG_SHAPE(S, H, T, D)),
                     variant ? CG_SHAPE(2, 0, 1, 3) : CG_SHAPE(0, 2, 1, 3));
    return cg_exp(g, cg_reshape(g, x, CG_SHAPE(R, W)));
}

static void test_views(void **state) {
    (void)state;
    static float y[2][OUTPUT];
    for (int variant = 0; variant < 2; variant++) {
        size_t n;
        run(CG_SHAPE(R, W), there_and_back, variant, 0, &cg_op_transpose, 0, y[0], &n);
        run(CG_SHAPE(R, W), there_and_back, variant, 1, &cg_op_transpose, 2 * variant, y[1], &n);
        for (size_t i = 0; i < n; i++) assert_true(y[0][i] == y[1][i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),          cmocka_unit_test(test_conv),
        cmocka_unit_test(test_layer_norm),      cmocka_unit_test(test_l2norm),
        cmocka_unit_test(test_l2norm_reshaped), cmocka_unit_test(test_activations),
        cmocka_unit_test(test_attention),       cmocka_unit_test(test_choices),
        cmocka_unit_test(test_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
