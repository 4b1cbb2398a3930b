/* labels: unit */
/* Writing safetensors files: the same bytes each time, whole or not at all. */
#include "graph/file.h"
#include "serialize/safetensors.h"
#include "tests/support/folder.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATH in_folder("file")

static const float six[6] = {1, -2, 3.5f, 0, 1e-30f, 6};
static const int64_t two[2] = {-1, INT64_MAX};
static const unsigned char three[3] = {1, 2, 255};

static void writes_what_it_reads(void **state) {
    (void)state;
    const cg_tensor tensors[] = {
        {"u8 \"quoted\" \xc3\xa9\n", CG_U8, CG_SHAPE(3), three, 3},
        {"f32", CG_F32, CG_SHAPE(2, 3), six, 24},
        {"scalar", CG_F32, CG_SCALAR, six, 4},
        {"i64", CG_I64, CG_SHAPE(2), two, 16},
        {"empty", CG_BF16, CG_SHAPE(4, 0), NULL, 0},
    };
    const cg_meta meta[] = {{"format", "pt"}, {"a", "\"b\"\t"}};
    ok(cg_safetensors_save(PATH, tensors, 5, meta, 2));
    cg_safetensors *s;
    ok(cg_safetensors_open(PATH, &s));
    static const int order[] = {4, 3, 1, 2, 0}; /* multiples of 64 bytes, of 16, 8, 4, 1 */
    assert_int_equal(cg_safetensors_count(s), 5);
    for (int i = 0; i < 5; i++) {
        const cg_tensor *t = &cg_safetensors_tensors(s)[i], *wanted = &tensors[order[i]];
        assert_string_equal(t->name, wanted->name);
        assert_int_equal(t->dtype, wanted->dtype);
        assert_true(cg_shape_equal(&t->shape, &wanted->shape));
        assert_int_equal(t->bytes, wanted->bytes);
        if (t->bytes) assert_memory_equal(t->data, wanted->data, t->bytes);
        assert_int_equal((uintptr_t)t->data % cg_dtype_size(t->dtype), 0);
    }
    assert_int_equal((uintptr_t)cg_safetensors_tensors(s)[0].data % 64, 0);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(cg_safetensors_meta(s)[i].key, meta[i].key);
        assert_string_equal(cg_safetensors_meta(s)[i].value, meta[i].value);
    }
    cg_safetensors_close(s);

    cg_map first, second;
    ok(cg_file_map(PATH, &first));
    ok(cg_safetensors_save(PATH, tensors, 5, meta, 2));
    ok(cg_file_map(PATH, &second));
    assert_int_equal(first.bytes, second.bytes);
    assert_memory_equal(first.data, second.data, first.bytes);
    cg_file_unmap(&first);
    cg_file_unmap(&second);
    ok(cg_safetensors_save(PATH, NULL, 0, NULL, 0));
    ok(cg_safetensors_open(PATH, &s));
    cg_safetensors_close(s);
}

static void refuses_to_write(void **state) {
    (void)state;
    static const struct {
        cg_tensor tensor[2];
        cg_meta meta[2];
        const char *message;
        cg_status status;
    } cases[] = {
        {{{"a", CG_U8, {1, {3}}, three, 3}, {"a", CG_U8, {1, {3}}, three, 3}},
         {{"k", "v"}, {"l", "v"}},
         "tensor a: given twice",
         CG_EINVAL},
        {{{"a", CG_U8, {1, {3}}, three, 3}, {"b", CG_U8, {1, {2}}, three, 3}},
         {{"k", "v"}, {"l", "v"}},
         "tensor b: 3 bytes of data, but its shape takes 2",
         CG_EINVAL},
        {{{"a", CG_U8, {1, {3}}, three, 3}, {"__metadata__", CG_U8, {1, {3}}, three, 3}},
         {{"k", "v"}, {"l", "v"}},
         "tensor __metadata__: ",
         CG_EINVAL},
        {{{"a", CG_U8, {1, {3}}, three, 3}, {"\xff", CG_U8, {1, {3}}, three, 3}},
         {{"k", "v"}, {"l", "v"}},
         "not UTF-8",
         CG_EINVAL},
        {{{"a", CG_U8, {1, {3}}, three, 3}, {"b", CG_U8, {1, {3}}, NULL, 3}},
         {{"k", "v"}, {"l", "v"}},
         "tensor b: no data",
         CG_EINVAL},
        {{{"a", CG_U8, {1, {3}}, three, 3}, {"b", CG_U8, {1, {-3}}, three, 3}},
         {{"k", "v"}, {"l", "v"}},
         "tensor b: negative dimension",
         CG_ESHAPE},
        {{{"a", CG_U8, {1, {3}}, three, 3}, {"b", (cg_dtype)9, {1, {3}}, three, 3}},
         {{"k", "v"}, {"l", "v"}},
         "tensor b: element type 9 is unknown",
         CG_EDTYPE},
        {{{"a", CG_U8, {1, {3}}, three, 3}, {"b", CG_U8, {1, {3}}, three, 3}},
         {{"k", "v"}, {"k", "v"}},
         "metadata k: given twice",
         CG_EINVAL},
        {{{"a", CG_U8, {1, {3}}, three, 3}, {"b", CG_U8, {1, {3}}, three, 3}},
         {{"k", "v"}, {"l", "\xc3"}},
         "metadata l: not UTF-8",
         CG_EINVAL},
    };
    ok(cg_file_save(PATH, "old", 3));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refused(cg_safetensors_save(PATH, cases[i].tensor, 2, cases[i].meta, 2), cases[i].status,
                cases[i].message);
        assert_non_null(strstr(cg_error_message(), PATH));
    }
    cg_map map;
    ok(cg_file_map(PATH, &map));
    assert_memory_equal(map.data, "old", 3);
    cg_file_unmap(&map);
}

static void full_disk(void **state) {
    (void)state;
    const cg_tensor tensor = {"a", CG_F32, CG_SHAPE(6), six, 24};
    if (access("/dev/full", W_OK) == 0) {
        assert_int_equal(cg_safetensors_save("/dev/full", &tensor, 1, NULL, 0), CG_EIO);
        assert_string_equal(cg_error_message(), "cannot write /dev/full: No space left on device");
    }
    /* And where there is an older file to lose: files may not pass 64 bytes. */
    ok(cg_safetensors_save(PATH, &tensor, 1, NULL, 0));
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){64, old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    cg_status status = cg_safetensors_save(PATH, &tensor, 1, NULL, 0);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, CG_EIO);
    assert_non_null(strstr(cg_error_message(), PATH));
    assert_non_null(strstr(cg_error_message(), "File too large"));
    cg_safetensors *s;
    ok(cg_safetensors_open(PATH, &s));
    assert_memory_equal(cg_safetensors_find(s, "a")->data, six, 24);
    cg_safetensors_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(refuses_to_write),
        cmocka_unit_test(full_disk),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
