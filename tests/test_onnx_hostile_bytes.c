/* labels: unit */
/* ONNX files whose bytes are wrong, or mean harm, or lie where they must not be read from. */
#include "tests/support/folder.h"
#include "tests/support/onnx_tiny.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH in_folder("m/model.onnx")

/* --- data outside ----------------------------------------------------------------------------- */

static void external(tiny *t, const char *location, const char *offset, const char *length) {
    const char *const key[3] = {"location", "offset", "length"},
                      *value[3] = {location, offset, length};
    t->weight.n_external_data = 0;
    t->weight.external_data = t->external_list;
    for (int i = 0; i < 3; i++) {
        if (!value[i]) continue;
        CgOnnx__StringStringEntryProto *e = t->external_list[t->weight.n_external_data++];
        e->key = tiny_text(key[i]);
        e->value = tiny_text(value[i]);
    }
    t->weight.has_data_location = 1;
    t->weight.data_location = CG_ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    t->weight.has_raw_data = 0;
}

static void test_external(void **state) {
    (void)state;
    static const struct {
        const char *location, *offset, *length;
        cg_status status;
        const char *says;
    } list[] = {
        {"data.bin", "16", "48", CG_OK, ""},
        {"below/data.bin", NULL, "48", CG_OK, ""},
        {"data.bin", "16", NULL, CG_OK, ""},
        {NULL, NULL, NULL, CG_EFORMAT, "external data without a location"},
        {"", NULL, "48", CG_EFORMAT, "wanted a path within the folder"},
        {"/etc/passwd", NULL, "48", CG_EFORMAT, "wanted a path within the folder"},
        {"../secret.bin", NULL, "48", CG_EFORMAT, "wanted a path without \"..\""},
        {"below/../../secret.bin", NULL, "48", CG_EFORMAT, "wanted a path without \"..\""},
        {"below/..", NULL, "48", CG_EFORMAT, "wanted a path without \"..\""},
        {"below//data.bin", NULL, "48", CG_EFORMAT, "or empty parts"},
        {"./data.bin", NULL, "48", CG_EFORMAT, "or empty parts"},
        {"below/", NULL, "48", CG_EFORMAT, "or empty parts"},
        {"link.bin", NULL, "48", CG_EFORMAT, "symbolic links are refused"},
        {"linked/data.bin", NULL, "48", CG_EFORMAT, "symbolic links are refused"},
        {"below", NULL, "48", CG_EFORMAT, "symbolic links are refused"},
        {"data.bin/data.bin", NULL, "48", CG_EFORMAT, "symbolic links are refused"},
        {"nowhere.bin", NULL, "48", CG_ENOTFOUND, "nowhere.bin"},
        {"data.bin", "17", "48", CG_EFORMAT, "the file has 64 bytes"},
        {"data.bin", "9223372036854775800", "48", CG_EFORMAT, "the file has 64 bytes"},
        {"data.bin", "-1", "48", CG_EFORMAT, "offset is \"-1\", wanted a number"},
        {"data.bin", "0x10", "48", CG_EFORMAT, "offset is \"0x10\", wanted a number"},
        {"data.bin", "16", "99999999999999999999", CG_EFORMAT, "wanted a number"},
        {"data.bin", "0", "44", CG_EFORMAT, "has 44 bytes of data"},
    };
    shell("mkdir m/below && head -c 64 /dev/zero | tee secret.bin m/data.bin >m/below/data.bin");
    shell("ln -s ../secret.bin m/link.bin && ln -s below m/linked");
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        tiny t;
        tiny_make(&t);
        external(&t, list[i].location, list[i].offset, list[i].length);
        tiny_save(&t.model, PATH);
        tiny_expect(PATH, list[i].location, list[i].status, list[i].says);
    }
}

/* --- bytes ------------------------------------------------------------------------------------ */

/* A message in a message, n times: tags and lengths as the schema has them in turn. */
static void test_nesting(void **state) {
    (void)state;
    static const unsigned char tag[3] = {1 << 3 | 2, 5 << 3 | 2,
                                         6 << 3 | 2}; /* node, attribute, g */
    enum { DEEP = 30000 };
    unsigned char *data = malloc(DEEP * 6 + 16), *at = data + DEEP * 6 + 16;
    size_t bytes = 0;
    assert_non_null(data);
    for (int i = 0; i < DEEP; i++) {
        unsigned char head[6];
        int n = 0;
        head[n++] = i == DEEP - 1 ? 7 << 3 | 2 : tag[(DEEP - 2 - i) % 3]; /* the outermost: graph */
        size_t left = bytes;
        for (; left > 127; left >>= 7) head[n++] = (unsigned char)(left | 128);
        head[n++] = (unsigned char)left;
        at -= n;
        memcpy(at, head, (size_t)n);
        bytes += (size_t)n;
    }
    tiny_write(PATH, at, bytes);
    free(data);
    tiny_expect(PATH, "nesting", CG_EFORMAT, "messages nested more than 24 deep");
}

/* Two bytes of a file that become a hundred of memory. */
static void test_many_empty_messages(void **state) {
    (void)state;
    enum { MANY = 8000000 };
    unsigned char *data = malloc(2 * MANY + 8), *to = data;
    assert_non_null(data);
    *to++ = 7 << 3 | 2; /* graph */
    for (size_t left = 2 * MANY; left; left >>= 7)
        *to++ = (unsigned char)(left | (left > 127) << 7);
    for (int i = 0; i < MANY; i++) {
        *to++ = 1 << 3 | 2; /* node */
        *to++ = 0;
    }
    tiny_write(PATH, data, (size_t)(to - data));
    free(data);
    tiny_expect(PATH, "empty messages", CG_EFORMAT, "unpacks to too much memory");
}

static void test_no_model(void **state) {
    (void)state;
    static const unsigned char bad[][12] = {
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {7 << 3 | 2, 100, 1},
        {7 << 3 | 3, 0},
        {0, 1, 2}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tiny_write(PATH, bad[i], sizeof bad[i]);
        tiny_expect(PATH, "no model", CG_EFORMAT, "not an ONNX file, or cut short");
    }
    tiny_write(PATH, "", 0);
    tiny_expect(PATH, "an empty file", CG_EFORMAT, "the file is empty");
    (void)unlink(PATH);
    tiny_expect(PATH, "no file", CG_ENOTFOUND, "model.onnx");
}

static int begin(void **state) {
    if (make_folder(state) != 0) return -1;
    shell("mkdir m");
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_external),
        cmocka_unit_test(test_nesting),
        cmocka_unit_test(test_many_empty_messages),
        cmocka_unit_test(test_no_model),
    };
    return cmocka_run_group_tests(tests, begin, remove_folder);
}
