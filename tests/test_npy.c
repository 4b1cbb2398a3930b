/* labels: unit */
#include "serialize/npy.h"
#include "tests/support/folder.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH in_folder("a.npy")

static const float floats[6] = {1, -2.5f, 3, 4, 5, 1e30f};
static const int64_t longs[6] = {1, -2, INT64_MAX, INT64_MIN, 5, 6};

static void round_trip(cg_dtype dtype, cg_shape shape, const void *data) {
    ok(cg_npy_save(PATH, dtype, &shape, data));
    cg_npy a;
    ok(cg_npy_open(PATH, &a));
    assert_int_equal(a.dtype, dtype);
    assert_true(cg_shape_equal(&a.shape, &shape));
    assert_int_equal((uintptr_t)a.data % 64, 0);
    assert_memory_equal(a.data, data, (size_t)cg_shape_count(&shape) * cg_dtype_size(dtype));
    cg_npy_close(&a);
    cg_npy_close(&a);
}

static void writes_what_it_reads(void **state) {
    (void)state;
    round_trip(CG_F32, CG_SHAPE(2, 3), floats);
    round_trip(CG_F32, CG_SHAPE(6), floats);
    round_trip(CG_F32, CG_SCALAR, floats);
    round_trip(CG_I32, CG_SHAPE(3, 1, 2), floats);
    round_trip(CG_I64, CG_SHAPE(1, 1, 1, 1, 1, 6), longs);
    round_trip(CG_I64, CG_SHAPE(0, 512), longs);
}

/* The bytes that numpy.save(numpy.arange(3, dtype="<i4")) gives. */
static void writes_numpys_bytes(void **state) {
    (void)state;
    static const int32_t three[3] = {0, 1, 2};
    static const char header[] = "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }";
    unsigned char wanted[128 + sizeof three];
    memset(wanted, ' ', sizeof wanted);
    memcpy(wanted, "\x93NUMPY\x01\x00\x76\x00", 10);
    memcpy(wanted + 10, header, sizeof header - 1);
    wanted[127] = '\n';
    memcpy(wanted + 128, three, sizeof three);
    ok(cg_npy_save(PATH, CG_I32, &CG_SHAPE(3), three));
    cg_map map;
    ok(cg_file_map(PATH, &map));
    assert_int_equal(map.bytes, sizeof wanted);
    assert_memory_equal(map.data, wanted, sizeof wanted);
    cg_file_unmap(&map);
}

static void writes_by_parts(void **state) {
    (void)state;
    cg_file *f;
    ok(cg_npy_create(PATH, CG_F32, &CG_SHAPE(3, 2), &f));
    for (int i = 0; i < 3; i++) cg_file_write(f, floats + 2 * i, 2 * sizeof *floats);
    ok(cg_file_commit(f));
    cg_npy a;
    ok(cg_npy_open(PATH, &a));
    assert_memory_equal(a.data, floats, sizeof floats);
    cg_npy_close(&a);
}

/* Pictures' bytes, and halves. */
static void small_types(void **state) {
    (void)state;
    static const uint8_t bytes[2][3] = {{0, 1, 255}, {7, 8, 9}};
    static const uint16_t halves[3] = {0x3c00, 0xc000, 0x0001};
    cg_npy a;
    ok(cg_npy_save(PATH, CG_U8, &CG_SHAPE(2, 3), bytes));
    ok(cg_npy_open(PATH, &a));
    assert_int_equal(a.dtype, CG_U8);
    assert_true(cg_shape_equal(&a.shape, &CG_SHAPE(2, 3)));
    assert_memory_equal(a.data, bytes, sizeof bytes);
    assert_non_null(strstr((const char *)a.map.data + 10, "'descr': '|u1'"));
    cg_npy_close(&a);
    ok(cg_npy_save(PATH, CG_F16, &CG_SHAPE(3), halves));
    ok(cg_npy_open(PATH, &a));
    assert_int_equal(a.dtype, CG_F16);
    assert_memory_equal(a.data, halves, sizeof halves);
    cg_npy_close(&a);
}

static void refuses_to_write(void **state) {
    (void)state;
    assert_int_equal(cg_npy_save(PATH, CG_BF16, &CG_SHAPE(3), floats), CG_EDTYPE);
    assert_non_null(strstr(cg_error_message(), "bf16, wanted f32, f16, i32, i64 or u8"));
    assert_int_equal(cg_npy_save(PATH, CG_F32, &CG_SHAPE(-3), floats), CG_ESHAPE);
    assert_non_null(strstr(cg_error_message(), PATH));
    if (access("/dev/full", W_OK) == 0) {
        assert_int_equal(cg_npy_save("/dev/full", CG_F32, &CG_SHAPE(6), floats), CG_EIO);
        assert_string_equal(cg_error_message(), "cannot write /dev/full: No space left on device");
    }
    assert_int_equal(cg_npy_save("no/such/a.npy", CG_F32, &CG_SHAPE(6), floats), CG_ENOTFOUND);
}

/* version.0 | length | header | zeros; spaces make the header's length a multiple of 16, less
 * off bytes */
static void put_file(int version, const char *header, size_t off, size_t bytes) {
    static const char zeros[256];
    uint32_t n = (uint32_t)strlen(header);
    size_t front = version == 1 ? 10 : 12, padding = 15 - (front + n + off + 15) % 16;
    n += (uint32_t)padding;
    unsigned char start[12] = {0x93, 'N', 'U', 'M', 'P', 'Y', (unsigned char)version, 0};
    for (int i = 0; i < 4; i++) start[8 + i] = (unsigned char)(n >> 8 * i);
    cg_file *f;
    ok(cg_file_create(PATH, &f));
    cg_file_write(f, start, front);
    cg_file_write(f, header, n - padding);
    cg_file_write(f, "                ", padding);
    cg_file_write(f, zeros, bytes);
    ok(cg_file_commit(f));
}

static void expect(cg_status wanted, const char *fragment) {
    cg_npy a;
    cg_status status = cg_npy_open(PATH, &a);
    if (status != wanted) print_error("%s\n", status ? cg_error_message() : "opened");
    assert_int_equal(status, wanted);
    if (status == CG_OK) {
        cg_npy_close(&a);
        return;
    }
    if (!strstr(cg_error_message(), fragment)) print_error("%s\n", cg_error_message());
    assert_non_null(strstr(cg_error_message(), fragment));
    assert_non_null(strstr(cg_error_message(), PATH));
}

static void checks_headers(void **state) {
    (void)state;
#define WITH(descr, order, shape)                                                                  \
    "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }"
    static const struct {
        const char *header;
        size_t bytes;
        cg_status status;
        const char *message;
    } cases[] = {
        {WITH("'<f4'", "False", "(2,)") " \n", 8, CG_OK, NULL},
        {"{\"shape\":(2, 1),\"fortran_order\":False,\"descr\":\"<f4\"}       ", 8, CG_OK, NULL},
        {WITH("'<f4'", "False", "()") "    ", 4, CG_OK, NULL},
        {WITH("'<f4'", "False", "(2, 3)") " ", 23, CG_EFORMAT,
         "23 bytes of data, but [2, 3] of f32 takes 24"},
        {WITH("'<f4'", "False", "(2, 3)"), 25, CG_EFORMAT, "25 bytes of data"},
        {WITH("'<f4'", "True", "(2,)"), 8, CG_EUNSUPPORTED, "Fortran order"},
        {WITH("'<f4'", "0", "(2,)"), 8, CG_EFORMAT, "no boolean"},
        {WITH("'>f4'", "False", "(2,)"), 8, CG_EUNSUPPORTED,
         "element type '>f4', wanted <f4, <f2, <i4, <i8 or |u1"},
        {WITH("'<f8'", "False", "(1,)"), 8, CG_EUNSUPPORTED, "'<f8'"},
        {WITH("[('a', '<f4')]", "False", "(1,)"), 4, CG_EUNSUPPORTED, "no simple one"},
        {WITH("'a very long element type'", "False", "(1,)"), 4, CG_EUNSUPPORTED, "no simple one"},
        {WITH("'<f4'", "False", "(-1,)"), 8, CG_EFORMAT, "dimension 0 of the shape"},
        {WITH("'<f4'", "False", "(1, x)"), 8, CG_EFORMAT, "dimension 1 of the shape"},
        {WITH("'<f4'", "False", "(,)"), 8, CG_EFORMAT, "dimension 0 of the shape"},
        {WITH("'<f4'", "False", "(99999999999999999999,)"), 8, CG_EFORMAT, "dimension 0"},
        {WITH("'<f4'", "False", "(4294967296, 4294967296)"), 0, CG_EFORMAT, "too many bytes"},
        {WITH("'<f4'", "False", "(1 2)"), 8, CG_EFORMAT, "the shape does not end"},
        {WITH("'<f4'", "False", "3"), 8, CG_EFORMAT, "the shape is no tuple"},
        {WITH("'<f4'", "False", "(1, 1, 1, 1, 1, 1, 1)"), 4, CG_EUNSUPPORTED, "more than 6"},
        {WITH("'<f4'", "False", "(2,)") "x", 8, CG_EFORMAT, "goes on after its end"},
        {"{'descr': '<f4', 'shape': (2,)}", 8, CG_EFORMAT, "lacks"},
        {"{'descr': '<f4', 'descr': '<f4'}", 8, CG_EFORMAT, "key 'descr' of the header is given"},
        {"{'other': 1}", 8, CG_EFORMAT, "key 'other' of the header is unknown"},
        {"{'descr': '<f4' 'shape': (2,)}", 8, CG_EFORMAT, "the header does not end"},
        {"{'descr': '<f4'", 0, CG_EFORMAT, "the header does not end"},
        {"{'descr': '<f4", 0, CG_EUNSUPPORTED, "no simple one"},
        {"{'descr", 0, CG_EFORMAT, "no dictionary"},
        {"(3,)", 0, CG_EFORMAT, "no dictionary"},
        {"", 4, CG_EFORMAT, "no dictionary"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_file(1, cases[i].header, 0, cases[i].bytes);
        expect(cases[i].status, cases[i].message);
    }
    put_file(1, WITH("'<f4'", "False", "(2,)"), 3, 8);
    expect(CG_EFORMAT, "wanted a multiple of 4");
    put_file(2, WITH("'<f4'", "False", "(2,)"), 0, 8);
    expect(CG_OK, NULL);
    put_file(4, WITH("'<f4'", "False", "(2,)"), 0, 8);
    expect(CG_EUNSUPPORTED, "version 4");
    ok(cg_file_save(PATH, "\x93NUMPZ\x01\x00\x00\x00{}", 12));
    expect(CG_EFORMAT, "not a .npy file");
    unlink(PATH);
    expect(CG_ENOTFOUND, "No such file");
}

static void refuses_every_truncation(void **state) {
    (void)state;
    ok(cg_npy_save(PATH, CG_I64, &CG_SHAPE(2, 3), longs));
    cg_map map;
    cg_npy a;
    ok(cg_file_map(PATH, &map));
    for (size_t n = 0; n < map.bytes; n++) {
        write_file("a.npy", map.data, n);
        assert_int_not_equal(cg_npy_open(PATH, &a), CG_OK);
    }
    cg_file_unmap(&map);
}

/* Damaged files open or fail, and what opens can be read. For the sanitizers. */
static void survives_damage(void **state) {
    (void)state;
    ok(cg_npy_save(PATH, CG_F32, &CG_SHAPE(2, 3), floats));
    cg_map map;
    ok(cg_file_map(PATH, &map));
    uint32_t seed = 1;
    unsigned sum = 0;
    unsigned char *bytes = malloc(map.bytes);
    for (int round = 0; round < 3000; round++) {
        memcpy(bytes, map.data, map.bytes);
        for (int flips = round % 3 + 1; flips > 0; flips--) {
            seed = seed * 1664525u + 1013904223u;
            uint32_t where = seed >> 8;
            seed = seed * 1664525u + 1013904223u;
            bytes[where % 80] ^= (unsigned char)(1u << (seed >> 29));
        }
        write_file("a.npy", bytes, map.bytes);
        cg_npy a;
        if (cg_npy_open(PATH, &a) != CG_OK) continue;
        size_t n = (size_t)cg_shape_count(&a.shape) * cg_dtype_size(a.dtype);
        for (size_t k = 0; k < n; k++) sum += ((const unsigned char *)a.data)[k];
        cg_npy_close(&a);
    }
    assert_true(sum > 0);
    free(bytes);
    cg_file_unmap(&map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_it_reads),     cmocka_unit_test(writes_numpys_bytes),
        cmocka_unit_test(writes_by_parts),          cmocka_unit_test(small_types),
        cmocka_unit_test(refuses_to_write),         cmocka_unit_test(checks_headers),
        cmocka_unit_test(refuses_every_truncation), cmocka_unit_test(survives_damage),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
