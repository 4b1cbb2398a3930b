/* labels: unit */
/* Reading safetensors files: good ones, and all that can be wrong with one. */
#include "graph/file.h"
#include "serialize/params_io.h"
#include "serialize/safetensors.h"
#include "tests/support/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH in_folder("file")

/* Writes length | header | bytes of zeros. */
static void put_file(uint64_t length, const char *header, size_t header_bytes, size_t bytes) {
    static const char zeros[256];
    cg_file *f;
    ok(cg_file_create(PATH, &f));
    cg_file_write(f, &length, sizeof length);
    cg_file_write(f, header, header_bytes);
    cg_file_write(f, zeros, bytes);
    ok(cg_file_commit(f));
}

static void expect(cg_status wanted, const char *fragment) {
    cg_safetensors *s = NULL;
    cg_status status = cg_safetensors_open(PATH, &s);
    if (status != wanted) print_error("%s\n", status ? cg_error_message() : "opened");
    assert_int_equal(status, wanted);
    if (status == CG_OK) {
        cg_safetensors_close(s);
        return;
    }
    if (!strstr(cg_error_message(), fragment))
        print_error("'%s' lacks '%s'\n", cg_error_message(), fragment);
    assert_non_null(strstr(cg_error_message(), fragment));
    assert_non_null(strstr(cg_error_message(), PATH));
}

/* Each fault of a header, with the bytes of data that follow it; NULL: none, it opens. */
static const struct {
    const char *header;
    size_t bytes;
    const char *message;
} headers[] = {
    {"{}", 0, NULL},
    {"{}      ", 0, NULL},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, NULL},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, NULL},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3,0],\"data_offsets\":[0,0]}}", 0, NULL},
    /* not in order, and empty tensors among the others */
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[1,1]},"
     "\"c\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
     2, NULL},
    {"{\"__metadata__\":{}}", 0, NULL},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0],\"more\":1}}", 0, NULL},

    {"", 0, "header does not start with {"},
    {" {}", 0, "header does not start with {"},
    {"[]", 0, "header does not start with {"},
    {"{", 0, "header: "},
    {"{}x", 0, "header: "},
    {"{\"a\":}", 0, "header: "},
    {"{\"\xff\":{}}", 0, "header: "}, /* not UTF-8 */
    {"{\"a\\u0000\":{}}", 0, "header: "},
    {"{\"a\":[[[[[[[[]]]]]]]]}", 0, "nested deeper than 8"},
    {"{\"a\":[[[[[[[[", 0, "nested deeper than 8"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
     0, "duplicate object key near '\"a\"'"},
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0,
     "duplicate"},
    {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "duplicate"},

    {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
    {"{\"__metadata__\":{\"k\":1}}", 0, "the value of 'k' is not a string"},
    {"{\"a\":7}", 0, "tensor a: the entry is not an object"},
    {"{\"a\":{\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "tensor a: no dtype"},
    {"{\"a\":{\"dtype\":4,\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "tensor a: no dtype"},
    {"{\"a\":{\"dtype\":\"f32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0,
     "tensor a: dtype 'f32' is unknown"},
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,0]}}", 0, "tensor a: no shape"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":3,\"data_offsets\":[0,3]}}", 3, "tensor a: no shape"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,0]}}", 0,
     "tensor a: dimension 0 is not a count"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,2.0],\"data_offsets\":[0,2]}}", 2,
     "tensor a: dimension 1 is not a count"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[9223372036854775808],\"data_offsets\":[0,0]}}", 0,
     "header: "},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0,
     "tensor a: [2305843009213693952] of f32 has too many bytes"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
     "too many bytes"}, /* 2^64 wraps to the 0 of the offsets */
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0]}}", 0, "data_offsets are not two integers"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0]}}", 0,
     "data_offsets are not two integers"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0,0]}}", 0,
     "data_offsets are not two integers"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,\"0\"]}}", 0,
     "data_offsets are not two integers"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[-1,0]}}", 0, "are not a range"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 1, "are not a range"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 3,
     "tensor a: data end at 4, but the file has 3 bytes of data"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[9223372036854775807],"
     "\"data_offsets\":[0,9223372036854775807]}}",
     3, "but the file has 3 bytes of data"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,20]}}", 20,
     "tensor a: 20 bytes of data, but [2, 3] of f32 takes 24"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
     3, "tensor b: data begin at 1, inside of the data before at 2"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
     2, "tensor b: data begin at 0, inside of"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]}}",
     5, "tensor b: data begin at 3, with a gap after"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2,
     "tensor a: data begin at 1, with a gap"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 3,
     "the tensors end at 2, but the file has 3 bytes of data"},
    {"{}", 1, "the tensors end at 0, but the file has 1 bytes of data"},
};

static void checks_headers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        size_t n = strlen(headers[i].header);
        put_file(n, headers[i].header, n, headers[i].bytes);
        expect(headers[i].message ? CG_EFORMAT : CG_OK, headers[i].message);
    }
}

static void refuses_what_it_lacks(void **state) {
    (void)state;
    const char *wide = "{\"a\":{\"dtype\":\"F64\",\"shape\":[0],\"data_offsets\":[0,0]}}";
    put_file(strlen(wide), wide, strlen(wide), 0);
    expect(CG_EUNSUPPORTED, "tensor a: dtype F64, wanted F32, F16, BF16, I64, I32 or U8");
    const char *deep =
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}";
    put_file(strlen(deep), deep, strlen(deep), 1);
    expect(CG_EUNSUPPORTED, "tensor a: 7 dimensions, wanted at most 6");
}

static void checks_the_length(void **state) {
    (void)state;
    put_file(100000001, "{}", 2, 0);
    expect(CG_EFORMAT, "header of 100000001 bytes, wanted at most 100000000");
    put_file(UINT64_MAX, "{}", 2, 0); /* 8 + n would wrap */
    expect(CG_EFORMAT, "wanted at most");
    put_file(UINT64_MAX - 7, "{}", 2, 0);
    expect(CG_EFORMAT, "wanted at most");
    put_file(3, "{}", 2, 0);
    expect(CG_EFORMAT, "header of 3 bytes, but the file ends after 2");
    ok(cg_file_save(PATH, "", 0));
    expect(CG_EFORMAT, "0 bytes, too short");
    ok(cg_file_save(PATH, "1234567", 7));
    expect(CG_EFORMAT, "7 bytes, too short");
    unlink(PATH);
    expect(CG_ENOTFOUND, "No such file");
}

static void cuts_the_reason_not_short(void **state) {
    (void)state;
    static char header[3000];
    char name[2001];
    memset(name, 'n', 2000);
    name[2000] = '\0';
    int n = snprintf(header, sizeof header,
                     "{\"%s\":{\"dtype\":\"Q\",\"shape\":[0],\"data_offsets\":[0,0]}}", name);
    put_file((uint64_t)n, header, (size_t)n, 0);
    expect(CG_EFORMAT, "dtype 'Q' is unknown");
}

static const unsigned char *bytes_of(const cg_tensor *t, int64_t i) {
    return (const unsigned char *)t->data + (size_t)i * cg_dtype_size(t->dtype);
}

static int64_t integer_at(const cg_tensor *t, int64_t i) {
    int64_t x = 0;
    int32_t y;
    if (t->dtype == CG_U8) return *bytes_of(t, i);
    if (t->dtype == CG_I64) {
        memcpy(&x, bytes_of(t, i), sizeof x);
        return x;
    }
    memcpy(&y, bytes_of(t, i), sizeof y);
    return y;
}

/* The file made by tools/make_safetensors_golden.py, whose values are known. */
static const char golden[] = CG_SOURCE_DIR "/tests/golden/safetensors/small.safetensors";

static void reads_the_reference(void **state) {
    (void)state;
    static const char *const dtypes[] = {"f32", "f16", "bf16", "i64", "i32", "u8"};
    static const struct {
        const char *name;
        cg_shape shape;
    } shapes[] = {{"matrix", {2, {2, 3}}},
                  {"vector", {1, {5}}},
                  {"scalar", {0, {0}}},
                  {"empty", {2, {0, 4}}},
                  {"cube", {3, {2, 1, 2}}}};
    cg_safetensors *s;
    ok(cg_safetensors_open(golden, &s));
    assert_int_equal(cg_safetensors_count(s), 30);
    assert_int_equal(cg_safetensors_meta_count(s), 1);
    assert_string_equal(cg_safetensors_meta_find(s, "na\xc3\xafve"),
                        "caf\xc3\xa9 \"\xe6\x97\xa5\xe6\x9c\xac\"");
    assert_null(cg_safetensors_meta_find(s, "none"));
    assert_null(cg_safetensors_find(s, "f32.none"));
    for (int d = 0; d < 6; d++)
        for (int k = 0; k < 5; k++) {
            char name[32];
            snprintf(name, sizeof name, "%s.%s", dtypes[d], shapes[k].name);
            const cg_tensor *t = cg_safetensors_find(s, name);
            assert_non_null(t);
            assert_string_equal(cg_dtype_name(t->dtype), dtypes[d]);
            assert_true(cg_shape_equal(&t->shape, &shapes[k].shape));
            int64_t count = cg_shape_count(&t->shape);
            assert_int_equal(t->bytes, (size_t)count * cg_dtype_size(t->dtype));
            float x[8];
            if (d < 3) ok(cg_tensor_to_f32(t->dtype, t->data, count, x));
            for (int64_t i = 0; i < count; i++)
                if (d < 3)
                    assert_true(x[i] == (float)(i - 2) / 4);
                else
                    assert_int_equal(integer_at(t, i), d == 5 ? (i - 2) & 255 : i - 2);
        }
    cg_safetensors_close(s);
    cg_safetensors_close(NULL);
}

/* Every prefix of a good file is refused, and nothing is read past its end. */
static void refuses_every_truncation(void **state) {
    (void)state;
    cg_map map;
    cg_safetensors *s;
    ok(cg_file_map(golden, &map));
    for (size_t n = 0; n < map.bytes; n++) {
        write_file("file", map.data, n);
        assert_int_equal(cg_safetensors_open(PATH, &s), CG_EFORMAT);
        assert_non_null(strstr(cg_error_message(), PATH));
    }
    cg_file_unmap(&map);
}

/* Damaged files open or fail, and what opens can be read. For the sanitizers. */
static void survives_damage(void **state) {
    (void)state;
    cg_map map;
    cg_safetensors *s;
    ok(cg_file_map(golden, &map));
    unsigned char *bytes = malloc(map.bytes);
    uint32_t seed = 1;
    unsigned sum = 0;
    for (int round = 0; round < 3000; round++) {
        memcpy(bytes, map.data, map.bytes);
        for (int flips = round % 4 + 1; flips > 0; flips--) {
            seed = seed * 1664525u + 1013904223u;
            uint32_t where = seed >> 8;
            seed = seed * 1664525u + 1013904223u;
            bytes[where % map.bytes] ^= (unsigned char)(1u << (seed >> 29));
        }
        write_file("file", bytes, map.bytes);
        if (cg_safetensors_open(PATH, &s) != CG_OK) continue;
        for (int i = 0; i < cg_safetensors_count(s); i++) {
            const cg_tensor *t = &cg_safetensors_tensors(s)[i];
            for (size_t k = 0; k < t->bytes; k++) sum += ((const unsigned char *)t->data)[k];
        }
        cg_safetensors_close(s);
    }
    assert_true(sum > 0);
    free(bytes);
    cg_file_unmap(&map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_headers),      cmocka_unit_test(refuses_what_it_lacks),
        cmocka_unit_test(checks_the_length),   cmocka_unit_test(cuts_the_reason_not_short),
        cmocka_unit_test(reads_the_reference), cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(survives_damage),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
