/* labels: unit */
/* Parameters to and from safetensors files: widening, what is missing, what does not fit. */
#include "graph/file.h"
#include "serialize/params_io.h"
#include "serialize/safetensors.h"
#include "tests/support/folder.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH in_folder("file")

/* -- parameters ---------------------------------------------------------------------------- */

static void widens(void **state) {
    (void)state;
    static const struct {
        uint16_t bits;
        float value;
    } halves[] = {{0, 0},
                  {0x3c00, 1},
                  {0xc000, -2},
                  {0x7bff, 65504},
                  {0x0400, 0x1p-14f},
                  {0x0001, 0x1p-24f},
                  {0x83ff, -1023 * 0x1p-24f},
                  {0x7c00, INFINITY},
                  {0xfc00, -INFINITY},
                  {0x3555, 0.333251953125f}};
    enum { HALVES = sizeof halves / sizeof *halves };
    unsigned char bytes[2 * HALVES + 1]; /* at an odd address */
    float out[HALVES];
    for (int i = 0; i < HALVES; i++) memcpy(bytes + 1 + 2 * i, &halves[i].bits, 2);
    ok(cg_tensor_to_f32(CG_F16, bytes + 1, HALVES, out));
    for (int i = 0; i < HALVES; i++) assert_true(out[i] == halves[i].value);
    uint16_t special[4] = {0x8000, 0x7e00, 0x3f80, 0xff80};
    ok(cg_tensor_to_f32(CG_F16, special, 2, out));
    assert_true(out[0] == 0 && signbit(out[0]) && isnan(out[1]));
    ok(cg_tensor_to_f32(CG_BF16, special, 4, out));
    assert_true(signbit(out[0]) && out[2] == 1 && out[3] == -INFINITY);
    assert_int_equal(cg_tensor_to_f32(CG_I64, special, 1, out), CG_EDTYPE);
}

/* Declared, and not allocated. */
static cg_params *declare(void) {
    cg_params *p;
    ok(cg_params_create(&p));
    cg_param_spec normal = {.init = CG_INIT_NORMAL, .scale = 1};
    cg_param_spec counter = {.state = 1, .dtype = CG_I64, .scale = 42};
    ok(cg_params_declare(p, "logit_scale", CG_SCALAR, normal, NULL));
    assert_int_equal(
        cg_params_declare(p, "visual.bn1.num_batches_tracked", CG_SCALAR, counter, NULL), CG_OK);
    ok(cg_params_declare(p, "visual.proj", CG_SHAPE(4, 3), normal, NULL));
    ok(cg_params_declare(p, "ln_final.bias", CG_SHAPE(3), normal, NULL));
    return p;
}

static cg_params *store(void) {
    cg_params *p = declare();
    ok(cg_params_alloc(p));
    return p;
}

static void saves_and_loads(void **state) {
    (void)state;
    cg_params *a = store(), *b = store();
    cg_params_init(a, 1);
    const cg_meta meta = {"step", "17"};
    ok(cg_params_save(a, PATH, &meta, 1));
    ok(cg_params_load(b, PATH, NULL));
    assert_memory_equal(cg_params_block(a), cg_params_block(b), cg_params_bytes(a));
    cg_safetensors *s;
    ok(cg_safetensors_open(PATH, &s));
    assert_string_equal(cg_safetensors_meta_find(s, "format"), "pt");
    assert_string_equal(cg_safetensors_meta_find(s, "step"), "17");
    cg_safetensors_close(s);
    cg_params_free(a);
    cg_params_free(b);

    ok(cg_params_create(&a));
    assert_int_equal(cg_params_save(a, PATH, NULL, 0), CG_EINVAL);
    assert_int_equal(cg_params_load(a, PATH, NULL), CG_EINVAL);
    cg_params_free(a);
}

enum { LOADED = 5 };

static const int64_t seven = 7;
static const float row[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
static const uint16_t half[3] = {0x3c00, 0x4000, 0x4200};

/* What fits store(); each test spoils one. */
static void good_tensors(cg_tensor t[LOADED]) {
    t[0] = (cg_tensor){"visual.proj", CG_F32, CG_SHAPE(4, 3), row, 48};
    t[1] = (cg_tensor){"ln_final.bias", CG_F16, CG_SHAPE(3), half, 6};
    t[2] = (cg_tensor){"visual.bn1.num_batches_tracked", CG_I64, CG_SCALAR, &seven, 8};
    t[3] = (cg_tensor){"logit_scale", CG_F32, CG_SHAPE(1), row, 4}; /* [1], not [] */
    t[4] = (cg_tensor){"extra", CG_F32, CG_SHAPE(1), row, 4};
}

static void loads_tensors(void **state) {
    (void)state;
    cg_params *p = store();
    cg_tensor t[LOADED];
    good_tensors(t);
    ok(cg_params_load_tensors(p, t, 4, NULL));
    assert_memory_equal(cg_params_find(p, "visual.proj")->data, row, 48);
    assert_memory_equal(cg_params_find(p, "ln_final.bias")->data, row, 12);
    assert_true(*(float *)cg_params_find(p, "logit_scale")->data == 1);
    assert_true(*(int64_t *)cg_params_find(p, "visual.bn1.num_batches_tracked")->data == 7);

    const cg_params_load_options loose = {.allow_missing = 1, .allow_unexpected = 1};
    cg_params_init(p, 1);
    float kept = *(float *)cg_params_find(p, "logit_scale")->data;
    assert_int_equal(cg_params_load_tensors(p, t + 4, 1, NULL), CG_EINVAL);
    ok(cg_params_load_tensors(p, t + 4, 1, &loose));
    ok(cg_params_load_tensors(p, t, 1, &loose));
    assert_memory_equal(cg_params_find(p, "visual.proj")->data, row, 48);
    assert_true(*(float *)cg_params_find(p, "logit_scale")->data == kept);
    cg_params_free(p);
}

static void says_what_does_not_fit(void **state) {
    (void)state;
    static const struct {
        int which, count; /* the tensor that is replaced, how many are given */
        cg_tensor by;
        cg_status status;
        const char *message;
    } cases[] = {
        {0,
         3,
         {"visual.proj", CG_F32, {2, {4, 3}}, row, 48},
         CG_EINVAL,
         "1 tensor is missing (logit_scale)"},
        {0,
         2,
         {"visual.proj", CG_F32, {2, {4, 3}}, row, 48},
         CG_EINVAL,
         "2 tensors are missing (logit_scale, visual.bn1.num_batches_tracked)"},
        {4, 5, {"extra", CG_F32, {0, {0}}, row, 4}, CG_EINVAL, "1 tensor is unexpected (extra)"},
        {0,
         4,
         {"visual.porj", CG_F32, {2, {4, 3}}, row, 48},
         CG_EINVAL,
         "1 tensor is missing (visual.proj); 1 tensor is unexpected (visual.porj, did it mean "
         "visual.proj?)"},
        {0,
         4,
         {"visual.proj", CG_F32, {2, {3, 4}}, row, 48},
         CG_ESHAPE,
         "tensor visual.proj: shape [3, 4], wanted [4, 3]"},
        {3,
         4,
         {"logit_scale", CG_F32, {2, {1, 1}}, row, 4},
         CG_ESHAPE,
         "tensor logit_scale: shape [1, 1], wanted []"},
        {1,
         4,
         {"ln_final.bias", CG_I32, {1, {3}}, row, 12},
         CG_EDTYPE,
         "tensor ln_final.bias: i32, wanted f32, f16 or bf16"},
        {2,
         4,
         {"visual.bn1.num_batches_tracked", CG_F32, {0, {0}}, row, 4},
         CG_EDTYPE,
         "tensor visual.bn1.num_batches_tracked: f32, wanted i64"},
        {4,
         5,
         {"visual.proj", CG_F32, {2, {4, 3}}, row, 48},
         CG_EINVAL,
         "tensor visual.proj: given twice"},
    };
    cg_params *p = store();
    cg_params_init(p, 3);
    unsigned char *before = malloc(cg_params_bytes(p));
    memcpy(before, cg_params_block(p), cg_params_bytes(p));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cg_tensor t[LOADED];
        good_tensors(t);
        t[cases[i].which] = cases[i].by;
        assert_int_equal(cg_params_load_tensors(p, t, cases[i].count, NULL), cases[i].status);
        assert_string_equal(cg_error_message(), cases[i].message);
        assert_memory_equal(cg_params_block(p), before, cg_params_bytes(p));
    }
    free(before);
    cg_params_free(p);
}

static void names_the_file_and_counts_the_rest(void **state) {
    (void)state;
    cg_params *p = store();
    cg_tensor t[9];
    char names[9][16];
    for (int i = 0; i < 9; i++) {
        snprintf(names[i], sizeof names[i], "%c", 'a' + i);
        t[i] = (cg_tensor){names[i], CG_F32, CG_SHAPE(1), row, 4};
    }
    ok(cg_safetensors_save(PATH, t, 9, NULL, 0));
    const cg_params_load_options loose = {.allow_missing = 1};
    assert_int_equal(cg_params_load(p, PATH, &loose), CG_EINVAL);
    char wanted[700];
    snprintf(wanted, sizeof wanted, "%s: 9 tensors are unexpected (a, b, c, d and 5 more)", PATH);
    assert_string_equal(cg_error_message(), wanted);
    unlink(PATH);
    assert_int_equal(cg_params_load(p, PATH, NULL), CG_ENOTFOUND);
    cg_params_free(p);
}

/* -- mapping ----------------------------------------------------------------------------------- */

static int same_numbers(const cg_params *a, const cg_params *b) {
    for (int i = 0; i < cg_params_count(a); i++) {
        const cg_param *x = cg_params_at(a, i), *y = cg_params_at(b, i);
        if (memcmp(x->data, y->data, (size_t)x->count * cg_dtype_size(x->dtype)) != 0) return 0;
    }
    return 1;
}

/* Puts n spaces more behind the file's header, so that all data are n bytes further. */
static void shift_data(size_t n) {
    cg_map map;
    uint64_t length;
    ok(cg_file_map(PATH, &map));
    unsigned char *bytes = malloc(map.bytes + n);
    memcpy(&length, map.data, 8);
    size_t start = 8 + (size_t)length;
    memcpy(bytes, map.data, start);
    memset(bytes + start, ' ', n);
    memcpy(bytes + start + n, map.data + start, map.bytes - start);
    length += n;
    memcpy(bytes, &length, 8);
    ok(cg_file_save(PATH, bytes, map.bytes + n));
    free(bytes);
    cg_file_unmap(&map);
}

/* shift: bytes that data stand behind a multiple of 64. Mapped is what is aligned for its type. */
static void maps_the_same_bits(void **state) {
    (void)state;
    cg_params *a = store();
    cg_params_init(a, 1);
    for (size_t shift = 0; shift < 9; shift++) {
        ok(cg_params_save(a, PATH, NULL, 0));
        if (shift) shift_data(shift);
        cg_params *b = declare();
        ok(cg_params_map(b, PATH));
        assert_true(cg_params_ready(b));
        assert_true(same_numbers(a, b));
        assert_null(cg_params_block(b));
        assert_int_equal(cg_params_trained_elements(b), 0);
        for (int i = 0; i < cg_params_count(b); i++) {
            const cg_param *q = cg_params_at(b, i);
            assert_int_equal((uintptr_t)q->data % cg_dtype_size(q->dtype), 0);
        }
        ok(cg_params_save(b, PATH, NULL, 0)); /* over the file it maps */
        assert_true(same_numbers(a, b));
        cg_params_free(b);
    }
    cg_params_free(a);
}

static void writes_to_maps_are_private(void **state) {
    (void)state;
    cg_params *a = store(), *b = declare(), *c = declare();
    cg_params_init(a, 1);
    ok(cg_params_save(a, PATH, NULL, 0));
    ok(cg_params_map(b, PATH));
    cg_params_init(b, 2);
    assert_false(same_numbers(a, b));
    ok(cg_params_map(c, PATH));
    assert_true(same_numbers(a, c));
    ok(cg_params_load(b, PATH, NULL));
    assert_true(same_numbers(a, b));
    assert_int_equal(cg_params_map(c, PATH), CG_EINVAL);
    assert_int_equal(cg_params_map(a, PATH), CG_EINVAL);
    assert_int_equal(cg_params_alloc(c), CG_EINVAL);
    cg_params_free(a);
    cg_params_free(b);
    cg_params_free(c);
}

static void maps_widen(void **state) {
    (void)state;
    cg_params *p = declare(), *q = store();
    cg_tensor t[LOADED];
    good_tensors(t); /* a half, and [1] for a scalar */
    ok(cg_safetensors_save(PATH, t, LOADED - 1, NULL, 0));
    ok(cg_params_map(p, PATH));
    ok(cg_params_load(q, PATH, NULL));
    assert_true(same_numbers(p, q));
    assert_true(((float *)cg_params_find(p, "ln_final.bias")->data)[2] == 3);
    cg_params_free(p);
    cg_params_free(q);
}

static void bad_files_are_not_mapped(void **state) {
    (void)state;
    cg_params *a = store();
    cg_map map;
    ok(cg_params_save(a, PATH, NULL, 0));
    ok(cg_file_map(PATH, &map));
    assert_int_equal(truncate(PATH, (off_t)map.bytes - 4), 0); /* nobody has touched the end */
    cg_file_unmap(&map);
    cg_params *p = declare();
    assert_int_equal(cg_params_map(p, PATH), CG_EFORMAT);
    assert_non_null(strstr(cg_error_message(), "but the file has"));
    assert_false(cg_params_ready(p));
    assert_int_equal(cg_params_map(p, "no/such/file"), CG_ENOTFOUND);
    cg_tensor t[LOADED];
    good_tensors(t);
    ok(cg_safetensors_save(PATH, t, LOADED, NULL, 0));
    assert_int_equal(cg_params_map(p, PATH), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "1 tensor is unexpected (extra"));
    ok(cg_safetensors_save(PATH, t, LOADED - 1, NULL, 0));
    ok(cg_params_map(p, PATH)); /* it is as it was */
    cg_params_free(p);
    cg_params_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widens),
        cmocka_unit_test(saves_and_loads),
        cmocka_unit_test(loads_tensors),
        cmocka_unit_test(says_what_does_not_fit),
        cmocka_unit_test(names_the_file_and_counts_the_rest),
        cmocka_unit_test(maps_the_same_bits),
        cmocka_unit_test(writes_to_maps_are_private),
        cmocka_unit_test(maps_widen),
        cmocka_unit_test(bad_files_are_not_mapped),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
