/* labels: unit */
#include "graph/arena.h"
#include "graph/params.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const cg_param_spec normal = {.init = CG_INIT_NORMAL, .scale = 0.02f};
static const cg_param_spec zero = {.init = CG_INIT_CONSTANT};
static const cg_param_spec running = {.init = CG_INIT_CONSTANT, .scale = 1, .state = 1};
static const cg_param_spec counter = {.scale = 3, .state = 1, .dtype = CG_I64};

/* -- types --------------------------------------------------------------------------------- */

static void dtypes(void **state) {
    (void)state;
    assert_int_equal(cg_dtype_size(CG_F32), 4);
    assert_int_equal(cg_dtype_size(CG_BF16), 2);
    assert_int_equal(cg_dtype_size(CG_I64), 8);
    assert_int_equal(cg_dtype_size(CG_U8), 1);
    assert_int_equal(cg_dtype_size((cg_dtype)77), 0);
    assert_string_equal(cg_dtype_name(CG_F16), "f16");
    assert_string_equal(cg_dtype_name((cg_dtype)77), "?");
}

static void shapes(void **state) {
    (void)state;
    char text[CG_SHAPE_TEXT];
    cg_shape scalar = CG_SCALAR, a = CG_SHAPE(2, 3), b = CG_SHAPE(2, 3, 1), c = CG_SHAPE(2, 4);
    assert_int_equal(cg_shape_count(&scalar), 1);
    assert_int_equal(cg_shape_count(&a), 6);
    assert_int_equal(cg_shape_count(&CG_SHAPE(5, 0)), 0);
    assert_true(cg_shape_equal(&a, &CG_SHAPE(2, 3)));
    assert_false(cg_shape_equal(&a, &b));
    assert_false(cg_shape_equal(&a, &c));
    assert_string_equal(cg_shape_print(&scalar, text), "[]");
    assert_string_equal(cg_shape_print(&b, text), "[2, 3, 1]");
    cg_shape widest = {.rank = CG_MAX_RANK};
    for (int i = 0; i < CG_MAX_RANK; i++) widest.dim[i] = INT64_MIN;
    assert_true(strlen(cg_shape_print(&widest, text)) < CG_SHAPE_TEXT);
}

static void broadcasts(void **state) {
    (void)state;
    static const struct {
        cg_shape a, b, wanted;
        int fails;
    } cases[] = {
        {{2, {2, 3}}, {2, {2, 3}}, {2, {2, 3}}, 0},
        {{2, {2, 3}}, {1, {3}}, {2, {2, 3}}, 0},
        {{0, {0}}, {2, {2, 3}}, {2, {2, 3}}, 0},
        {{3, {4, 1, 3}}, {2, {5, 1}}, {3, {4, 5, 3}}, 0},
        {{1, {0}}, {1, {1}}, {1, {0}}, 0},
        {{2, {2, 3}}, {1, {2}}, {0, {0}}, 1},
        {{1, {0}}, {1, {2}}, {0, {0}}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int swapped = 0; swapped < 2; swapped++) {
            const cg_shape *a = swapped ? &cases[i].b : &cases[i].a;
            const cg_shape *b = swapped ? &cases[i].a : &cases[i].b;
            cg_shape out;
            cg_status status = cg_shape_broadcast(a, b, &out);
            assert_int_equal(status, cases[i].fails ? CG_ESHAPE : CG_OK);
            if (status == CG_OK) assert_true(cg_shape_equal(&out, &cases[i].wanted));
        }
    cg_shape out, a = CG_SHAPE(2, 3), b = CG_SHAPE(2);
    assert_int_equal(cg_shape_broadcast(&a, &b, &out), CG_ESHAPE);
    assert_string_equal(cg_error_message(), "[2, 3] and [2] do not broadcast");
    assert_int_equal(cg_shape_broadcast(&a, &CG_SHAPE(1), &a), CG_OK); /* in place */
}

static void checks_shapes(void **state) {
    (void)state;
    int64_t most = INT64_MAX / 4;
    assert_int_equal(cg_shape_check(&CG_SCALAR, CG_F32), CG_OK);
    assert_int_equal(cg_shape_check(&CG_SHAPE(0, 7), CG_F32), CG_OK);
    assert_int_equal(cg_shape_check(&CG_SHAPE(most), CG_F32), CG_OK);
    assert_int_equal(cg_shape_check(&CG_SHAPE(most + 1), CG_F32), CG_ESHAPE);
    assert_int_equal(cg_shape_check(&CG_SHAPE(most), CG_I64), CG_ESHAPE);
    assert_int_equal(cg_shape_check(&CG_SHAPE(1 << 30, 1 << 30, 2), CG_U8), CG_OK);
    assert_int_equal(cg_shape_check(&CG_SHAPE(1 << 30, 1 << 30, 8), CG_U8), CG_ESHAPE);
    assert_int_equal(cg_shape_check(&CG_SHAPE(0, INT64_MAX), CG_F32), CG_ESHAPE);
    assert_int_equal(cg_shape_check(&CG_SHAPE(2, -1), CG_F32), CG_ESHAPE);
    assert_string_equal(cg_error_message(), "negative dimension in [2, -1]");
    assert_int_equal(cg_shape_check(&(cg_shape){.rank = 7}, CG_F32), CG_ESHAPE);
    assert_int_equal(cg_shape_check(&(cg_shape){.rank = -1}, CG_F32), CG_ESHAPE);
    assert_int_equal(cg_shape_check(&CG_SCALAR, (cg_dtype)9), CG_EDTYPE);
}

/* -- arena --------------------------------------------------------------------------------- */

static void arena(void **state) {
    (void)state;
    cg_arena a = {0};
    unsigned char *last = NULL;
    static const size_t sizes[] = {1, 0, 7, 64, 1000, 16384, 16385, 70000, 3, 1 << 20, 5};
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            unsigned char *p = cg_arena_alloc(&a, sizes[i]);
            assert_non_null(p);
            assert_ptr_not_equal(p, last);
            assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
            for (size_t k = 0; k < sizes[i]; k++) assert_int_equal(p[k], 0);
            memset(p, 0xff, sizes[i]);
            last = p;
        }
    assert_string_equal(cg_arena_string(&a, "logit_scale"), "logit_scale");
    assert_null(cg_arena_alloc(&a, SIZE_MAX));
    cg_arena_free(&a);
    cg_arena_free(&a);
}

/* -- params -------------------------------------------------------------------------------- */

static cg_param *declare(cg_params *p, const char *name, cg_shape shape, cg_param_spec spec) {
    cg_param *q = NULL;
    assert_int_equal(cg_params_declare(p, name, shape, spec, &q), CG_OK);
    return q;
}

static cg_params *small_store(void) {
    cg_params *p;
    assert_int_equal(cg_params_create(&p), CG_OK);
    declare(p, "bn.running_mean", CG_SHAPE(5), running);
    declare(p, "weight", CG_SHAPE(3, 7), normal);
    declare(p, "bn.num_batches_tracked", CG_SCALAR, counter);
    declare(p, "bias", CG_SHAPE(3), zero);
    declare(p, "none", CG_SHAPE(0, 2), normal);
    declare(p, "logit_scale", CG_SCALAR, (cg_param_spec){.scale = 2.5f});
    return p;
}

static void lays_out_the_block(void **state) {
    (void)state;
    cg_params *p = small_store();
    assert_null(cg_params_block(p));
    assert_null(cg_params_at(p, 1)->data);
    cg_params_init(p, 1); /* before the block: nothing to fill */
    assert_int_equal(cg_params_alloc(p), CG_OK);
    static const struct {
        const char *name;
        int trainable, decay;
        size_t offset;
    } wanted[] = {
        {"bn.running_mean", 0, 0, 256},
        {"weight", 1, 1, 0},
        {"bn.num_batches_tracked", 0, 0, 320},
        {"bias", 1, 0, 128},
        {"none", 1, 1, 192},
        {"logit_scale", 1, 0, 192},
    };
    assert_int_equal(cg_params_count(p), 6);
    for (int i = 0; i < 6; i++) {
        cg_param *q = cg_params_at(p, i);
        assert_string_equal(q->name, wanted[i].name);
        assert_ptr_equal(q, cg_params_find(p, wanted[i].name));
        assert_int_equal(q->index, i);
        assert_int_equal(q->trainable, wanted[i].trainable);
        assert_int_equal(q->decay, wanted[i].decay);
        assert_int_equal(q->offset, wanted[i].offset);
        assert_ptr_equal(q->data, (char *)cg_params_block(p) + q->offset);
    }
    assert_null(cg_params_at(p, 6));
    assert_null(cg_params_at(p, -1));
    assert_null(cg_params_find(p, "weigh"));
    assert_int_equal((uintptr_t)cg_params_block(p) % 64, 0);
    assert_int_equal(cg_params_bytes(p), 384);
    assert_int_equal(cg_params_trained_elements(p), 64);
    assert_int_equal(cg_params_total(p), 21 + 3 + 0 + 1);
    for (int i = 0; i < 96; i++) assert_true(cg_params_block(p)[i] == 0.0f);
    cg_params_free(p);
}

static void declares_again(void **state) {
    (void)state;
    cg_params *p = small_store();
    cg_param *q;
    assert_ptr_equal(declare(p, "weight", CG_SHAPE(3, 7), normal), cg_params_at(p, 1));
    assert_int_equal(cg_params_declare(p, "weight", CG_SHAPE(7, 3), normal, &q), CG_ESHAPE);
    assert_string_equal(cg_error_message(),
                        "parameter weight: shape [7, 3], but it was declared as [3, 7]");
    assert_int_equal(cg_params_declare(p, "logit_scale", CG_SCALAR, counter, &q), CG_EDTYPE);
    assert_string_equal(cg_error_message(),
                        "parameter logit_scale: i64, but it was declared as f32");
    assert_int_equal(cg_params_declare(p, "x", CG_SHAPE(-1), normal, &q), CG_ESHAPE);
    assert_non_null(strstr(cg_error_message(), "parameter x: "));
    assert_int_equal(cg_params_declare(p, "", CG_SCALAR, normal, &q), CG_EINVAL);
    cg_param_spec half = {.dtype = CG_F16}, trained = {.dtype = CG_I64};
    assert_int_equal(cg_params_declare(p, "x", CG_SCALAR, half, &q), CG_EDTYPE);
    assert_int_equal(cg_params_declare(p, "x", CG_SCALAR, trained, &q), CG_EDTYPE);
    assert_int_equal(cg_params_count(p), 6);

    assert_int_equal(cg_params_alloc(p), CG_OK);
    assert_int_equal(cg_params_alloc(p), CG_EINVAL);
    assert_ptr_equal(declare(p, "weight", CG_SHAPE(3, 7), normal), cg_params_at(p, 1));
    assert_int_equal(cg_params_declare(p, "late", CG_SHAPE(2), normal, NULL), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "late"));
    cg_params_free(p);
    cg_params_free(NULL);
}

static void refuses_what_no_memory_holds(void **state) {
    (void)state;
    cg_params *p;
    assert_int_equal(cg_params_create(&p), CG_OK);
    declare(p, "a", CG_SHAPE(INT64_MAX / 4), zero);
    declare(p, "b", CG_SHAPE(INT64_MAX / 4), zero);
    assert_int_equal(cg_params_alloc(p), CG_ENOMEM);
    cg_params_free(p);
}

static int released;

static void release(void *owner) {
    released += *(int *)owner;
}

static void borrows(void **state) {
    (void)state;
    static float lent[21] = {5};
    int owner = 3;
    cg_params *p = small_store();
    void *data[16] = {0};
    int weight = cg_params_find(p, "weight")->index;
    released = 0;
    data[weight] = (char *)lent + 2;
    assert_int_equal(cg_params_borrow(p, data, &owner, release), CG_EINVAL);
    assert_string_equal(cg_error_message(), "parameter weight: the memory lent is not aligned");
    assert_false(cg_params_ready(p));
    data[weight] = lent;
    assert_int_equal(cg_params_borrow(p, data, &owner, release), CG_OK);
    assert_int_equal(cg_params_borrow(p, data, &owner, release), CG_EINVAL);
    assert_true(cg_params_ready(p));
    for (int i = 0; i < cg_params_count(p); i++) {
        const cg_param *q = cg_params_at(p, i);
        if (i == weight)
            assert_ptr_equal(q->data, lent);
        else if (q->dtype == CG_F32 && q->count)
            assert_true(*(float *)q->data == 0);
    }
    assert_null(cg_params_block(p));
    assert_int_equal(cg_params_bytes(p), 0);
    assert_int_equal(cg_params_trained_elements(p), 0);
    cg_params_init(p, 7);
    assert_true(lent[0] != 5 && lent[20] != 0);
    assert_int_equal(released, 0);
    cg_params_free(p);
    assert_int_equal(released, 3);
}

static void finds_among_many(void **state) {
    (void)state;
    cg_params *p;
    char name[64];
    assert_int_equal(cg_params_create(&p), CG_OK);
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "visual.layer%d.%d.bn1.weight", i % 7, i);
        assert_int_equal(declare(p, name, CG_SHAPE(i % 9), zero)->index, i);
    }
    assert_int_equal(cg_params_alloc(p), CG_OK);
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "visual.layer%d.%d.bn1.weight", i % 7, i);
        assert_int_equal(cg_params_find(p, name)->index, i);
    }
    cg_params_free(p);
}

static void initialises(void **state) {
    (void)state;
    cg_params *p = small_store();
    assert_int_equal(cg_params_alloc(p), CG_OK);
    cg_params_init(p, 7);
    for (int i = 0; i < 5; i++)
        assert_true(((float *)cg_params_find(p, "bn.running_mean")->data)[i] == 1.0f);
    assert_true(*(float *)cg_params_find(p, "logit_scale")->data == 2.5f);
    assert_true(*(int64_t *)cg_params_find(p, "bn.num_batches_tracked")->data == 3);
    const float *w = cg_params_find(p, "weight")->data;
    for (int i = 0; i < 21; i++) assert_true(w[i] != 0 && fabsf(w[i]) < 0.14f);
    for (int i = 21; i < 32; i++) assert_true(w[i] == 0); /* padding */

    /* Order, neighbours and length do not matter; seed and name do. */
    cg_params *other;
    assert_int_equal(cg_params_create(&other), CG_OK);
    declare(other, "first", CG_SHAPE(100), normal);
    declare(other, "weight", CG_SHAPE(10, 10), normal);
    assert_int_equal(cg_params_alloc(other), CG_OK);
    cg_params_init(other, 7);
    const float *v = cg_params_find(other, "weight")->data;
    assert_memory_equal(v, w, 21 * sizeof *w);
    assert_memory_not_equal(cg_params_find(other, "first")->data, w, 21 * sizeof *w);
    float copy[21];
    memcpy(copy, w, sizeof copy);
    cg_params_init(other, 8);
    assert_memory_not_equal(v, copy, sizeof copy);
    cg_params_free(other);
    cg_params_free(p);
}

/* mean, variance, least and largest of n numbers */
static void moments(const float *x, int64_t n, double m[4]) {
    double sum = 0, squares = 0;
    m[2] = m[3] = x[0];
    for (int64_t i = 0; i < n; i++) {
        sum += x[i];
        squares += (double)x[i] * x[i];
        if (x[i] < m[2]) m[2] = x[i];
        if (x[i] > m[3]) m[3] = x[i];
    }
    m[0] = sum / (double)n;
    m[1] = squares / (double)n - m[0] * m[0];
}

static void draws_the_right_distributions(void **state) {
    (void)state;
    enum { N = 1000000 };
    cg_params *p;
    assert_int_equal(cg_params_create(&p), CG_OK);
    cg_param_spec uniform = {.init = CG_INIT_UNIFORM, .scale = 3}, unit = normal;
    unit.scale = 2;
    cg_param *u = declare(p, "u", CG_SHAPE(N), uniform), *z = declare(p, "z", CG_SHAPE(N), unit);
    assert_int_equal(cg_params_alloc(p), CG_OK);
    cg_params_init(p, 0);
    double m[4], fourth = 0, neighbours = 0;
    moments(u->data, N, m);
    assert_true(fabs(m[0]) < 0.01 && fabs(m[1] - 3) < 0.02);
    assert_true(m[2] >= -3 && m[2] < -2.999 && m[3] <= 3 && m[3] > 2.999);
    moments(z->data, N, m);
    assert_true(fabs(m[0]) < 0.01 && fabs(m[1] - 4) < 0.03 && m[2] > -14 && m[3] < 14);
    const float *x = z->data;
    for (int i = 0; i < N; i++) fourth += pow(x[i] / 2, 4) / N;
    for (int i = 1; i < N; i++) neighbours += x[i] * x[i - 1] / (4.0 * N);
    assert_true(fabs(fourth - 3) < 0.05);
    assert_true(fabs(neighbours) < 0.005);
    cg_params_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dtypes),         cmocka_unit_test(shapes),
        cmocka_unit_test(broadcasts),     cmocka_unit_test(checks_shapes),
        cmocka_unit_test(arena),          cmocka_unit_test(lays_out_the_block),
        cmocka_unit_test(declares_again), cmocka_unit_test(refuses_what_no_memory_holds),
        cmocka_unit_test(borrows),        cmocka_unit_test(finds_among_many),
        cmocka_unit_test(initialises),    cmocka_unit_test(draws_the_right_distributions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
