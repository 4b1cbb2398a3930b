/* labels: unit */
/* Matrix products of our own against plain loops in double: sizes that leave tails of tiles, of
 * blocks and of words, both types, slices, and what follows a product. Behind each operand lies a
 * page that must not be touched: sanitizers do not see what assembler reads. */
#include "ops/gemm.h"

#include "ops/bf16.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* --- operands --------------------------------------------------------------------------------- */

typedef struct array {
    cg_dtype type;
    int64_t count;
    void *at;
    char *pages;
    size_t bytes; /* of the pages before the one that must not be touched */
} array;

enum { PAGE = 4096 };

static array array_new(cg_dtype type, int64_t count) {
    size_t bytes = (size_t)count * cg_dtype_size(type);
    array x = {.type = type, .count = count, .bytes = (bytes + PAGE - 1) / PAGE * PAGE};
    x.pages = aligned_alloc(PAGE, x.bytes + PAGE);
    assert_non_null(x.pages);
    assert_int_equal(mprotect(x.pages + x.bytes, PAGE, PROT_NONE), 0);
    x.at = x.pages + x.bytes - bytes;
    return x;
}

static void array_free(array *x) {
    assert_int_equal(mprotect(x->pages + x->bytes, PAGE, PROT_READ | PROT_WRITE), 0);
    free(x->pages);
}

static double get(const array *x, int64_t i) {
    return (double)cg_load(x->at, i, x->type == CG_BF16);
}

/* Small multiples of 1/8: exact in bf16. */
static array array_of(cg_dtype type, int64_t rows, int64_t ld, int64_t columns, uint32_t seed) {
    array x = array_new(type, (rows - 1) * ld + columns);
    for (int64_t i = 0; i < x.count; i++) {
        seed = seed * 1664525u + 1013904223u;
        cg_store(x.at, i, (float)(int)(seed >> 24) / 64 - 2, type == CG_BF16);
    }
    return x;
}

static array copy_of(const array *x) {
    array y = array_new(x->type, x->count);
    memcpy(y.at, x->at, (size_t)x->count * cg_dtype_size(x->type));
    return y;
}

static double want_activation(double x, cg_gemm_activation f) {
    const double u = 2 * sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x);
    switch (f) {
    case CG_GEMM_NONE:
        return x;
    case CG_GEMM_RELU:
        return x > 0 ? x : 0;
    case CG_GEMM_GELU:
        return x * 0.5 * erfc(-x / sqrt(2));
    case CG_GEMM_GELU_TANH:
        return x / (1 + exp(-u));
    case CG_GEMM_QUICKGELU:
        return x / (1 + exp(-1.702 * x));
    case CG_GEMM_SILU:
        return x / (1 + exp(-x));
    }
    return NAN;
}

/* --- one product ------------------------------------------------------------------------------ */

typedef struct operands {
    array a, b, bias, residual, c;
} operands;

static operands operands_of(const cg_gemm_shape *s) {
    int64_t lda = s->lda ? s->lda : s->transpose_a ? s->m : s->k;
    int64_t ldb = s->ldb ? s->ldb : s->transpose_b ? s->k : s->n;
    operands o = {
        .a = array_of(s->type, s->transpose_a ? s->k : s->m, lda, s->transpose_a ? s->m : s->k, 1),
        .b = array_of(s->type, s->transpose_b ? s->n : s->k, ldb, s->transpose_b ? s->k : s->n, 2),
        .bias = array_of(CG_F32, 1, 0, s->n, 3),
        .residual = array_of(s->residual_type, s->m, s->ldr ? s->ldr : s->n, s->n, 4),
        .c = array_of(s->c_type, s->m, s->ldc ? s->ldc : s->n, s->n, 5),
    };
    return o;
}

static void operands_free(operands *o) {
    array_free(&o->a);
    array_free(&o->b);
    array_free(&o->bias);
    array_free(&o->residual);
    array_free(&o->c);
}

static double want_sum(const cg_gemm_shape *s, const operands *o, int64_t i, int64_t j) {
    int64_t lda = s->lda ? s->lda : s->transpose_a ? s->m : s->k;
    int64_t ldb = s->ldb ? s->ldb : s->transpose_b ? s->k : s->n;
    double sum = s->bias ? get(&o->bias, j) : 0;
    for (int64_t p = 0; p < s->k; p++)
        sum += get(&o->a, s->transpose_a ? p * lda + i : i * lda + p) *
               get(&o->b, s->transpose_b ? j * ldb + p : p * ldb + j);
    return sum;
}

static void check(double got, double want, double size, cg_dtype type, const char *what) {
    double limit = (type == CG_BF16 ? 0.004 : 1e-6) * fabs(want) + 2e-6 * size;
    if (fabs(got - want) > limit) fail_msg("%s: %.9g, wanted %.9g", what, got, want);
}

/* c is right, and what lies between their rows is as it was. */
static void compare(const cg_gemm_shape *s, const operands *o, const array *before) {
    int64_t ldc = s->ldc ? s->ldc : s->n, ldr = s->ldr ? s->ldr : s->n;
    char what[160];
    for (int64_t i = 0; i < s->m; i++)
        for (int64_t j = 0; j < (i + 1 < s->m ? ldc : s->n); j++) {
            snprintf(what, sizeof what, "%lld x %lld x %lld type %d at %lld, %lld", (long long)s->m,
                     (long long)s->n, (long long)s->k, (int)s->type, (long long)i, (long long)j);
            if (j >= s->n) {
                assert_true(get(&o->c, i * ldc + j) == get(before, i * ldc + j));
                continue;
            }
            double u = want_sum(s, o, i, j), size = 4 * sqrt((double)s->k) + 4;
            double y = want_activation(u, s->activation);
            if (s->residual) y += get(&o->residual, i * ldr + j);
            check(get(&o->c, i * ldc + j), y, size, s->c_type, what);
        }
}

static void run(const cg_gemm_shape *s, operands *o, int threads) {
    cg_gemm *g = NULL;
    assert_int_equal(cg_gemm_create(s, threads, &g), CG_OK);
    size_t bytes = cg_gemm_scratch(g);
    void *scratch = bytes ? aligned_alloc(64, cg_align64(bytes)) : NULL;
    if (scratch) memset(scratch, 0xff, bytes); /* NaN */
    cg_gemm_operands operand = {
        .a = o->a.at, .b = o->b.at, .residual = o->residual.at, .bias = o->bias.at, .c = o->c.at};
    cg_gemm_run(g, &operand, scratch);
    free(scratch);
    cg_gemm_free(g);
}

/* Right under one thread to three, with the same bits, and again when it is run again. */
static void product(cg_gemm_shape s) {
    if (!cg_gemm_available(s.type)) return;
    array first = {0};
    for (int threads = 1; threads <= 3; threads++) {
        operands o = operands_of(&s);
        array before = copy_of(&o.c);
        run(&s, &o, threads);
        compare(&s, &o, &before);
        array once = o.c;
        o.c = before;
        run(&s, &o, threads);
        assert_memory_equal(once.at, o.c.at, (size_t)once.count * cg_dtype_size(once.type));
        if (threads == 1)
            first = once;
        else {
            assert_memory_equal(first.at, once.at, (size_t)once.count * cg_dtype_size(once.type));
            array_free(&once);
        }
        operands_free(&o);
    }
    array_free(&first);
}

/* --- the tests -------------------------------------------------------------------------------- */

static const int64_t sizes[][3] = {{1, 1, 1},    {1, 33, 7},    {2, 16, 4},      {13, 31, 5},
                                   {14, 32, 64}, {15, 48, 17},  {29, 12, 3},     {50, 96, 33},
                                   {97, 65, 70}, {171, 40, 30}, {200, 7, 129},   {180, 130, 515},
                                   {3, 20, 600}, {70, 33, 521}, {170, 64, 1100}, {173, 1000, 20}};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

static void each_size(cg_dtype type) {
    for (int i = 0; i < N_SIZES; i++)
        for (int t = 0; t < 4; t++)
            product((cg_gemm_shape){.m = sizes[i][0],
                                    .n = sizes[i][1],
                                    .k = sizes[i][2],
                                    .transpose_a = t & 1,
                                    .transpose_b = t >> 1 & 1,
                                    .type = type});
}

static void f32(void **state) {
    (void)state;
    each_size(CG_F32);
}

static void bf16(void **state) {
    (void)state;
    each_size(CG_BF16);
}

/* Operands that are slices, with gaps between their rows. */
static void slices(void **state) {
    (void)state;
    for (int t = 0; t < 8; t++)
        product((cg_gemm_shape){.m = 61,
                                .n = 45,
                                .k = 39,
                                .transpose_a = t & 1,
                                .transpose_b = t >> 1 & 1,
                                .type = t >> 2 & 1 ? CG_BF16 : CG_F32,
                                .lda = 69,
                                .ldb = 53,
                                .ldc = 50});
}

/* Rows whose starts collide, so that they are copied. */
static void colliding_rows(void **state) {
    (void)state;
    for (int t = 0; t < 4; t++)
        product((cg_gemm_shape){.m = t & 1 ? 200 : 33,
                                .n = 40,
                                .k = 1030,
                                .lda = 2048,
                                .transpose_b = 1,
                                .type = t >> 1 ? CG_BF16 : CG_F32});
}

static void follow(cg_gemm_shape s) {
    for (int t = 0; t < 4; t++) {
        s.bias = 1;
        s.type = t & 1 ? CG_BF16 : CG_F32;
        s.c_type = t >> 1 ? CG_BF16 : CG_F32;
        s.residual_type = t & 1 ? CG_F32 : CG_BF16;
        product(s);
    }
}

/* Each activation without and with a residual, in tiles with tails and in more than one block of k.
 */
static void what_follows(void **state) {
    (void)state;
    for (int f = CG_GEMM_NONE; f <= CG_GEMM_SILU; f++)
        for (int t = 0; t < 2; t++)
            follow((cg_gemm_shape){.m = 37,
                                   .n = 43,
                                   .k = f == CG_GEMM_GELU ? 1101 : 5,
                                   .transpose_b = 1,
                                   .activation = (cg_gemm_activation)f,
                                   .residual = t,
                                   .ldr = 47});
}

static void refusals(void **state) {
    (void)state;
    cg_gemm *g = NULL;
    assert_int_equal(
        cg_gemm_create(&(cg_gemm_shape){.m = 1, .n = 1, .k = 1, .type = CG_I32}, 1, &g),
        CG_EKERNEL);
    if (!cg_gemm_available(CG_F32)) return;
    assert_int_equal(
        cg_gemm_create(&(cg_gemm_shape){.m = 1, .n = 1, .k = 1, .c_type = CG_I32}, 1, &g),
        CG_EKERNEL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32),          cmocka_unit_test(bf16),
        cmocka_unit_test(slices),       cmocka_unit_test(colliding_rows),
        cmocka_unit_test(what_follows), cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
