/* labels: unit */
/* Pictures' memory, and their files: saving, loading, what can be wrong with either. */
#include "data/image.h"
#include "graph/rng.h"
#include "tests/support/folder.h"

#include <limits.h>
#include <string.h>

static void test_alloc(void **state) {
    (void)state;
    cg_image image = {.width = 7};
    assert_int_equal(cg_image_alloc(0, 5, &image), CG_EINVAL);
    assert_null(image.rgb);
    assert_int_equal(image.width, 0);
    refused(cg_image_alloc(5, -1, &image), CG_EINVAL, "5 x -1");
    assert_int_equal(cg_image_alloc(INT_MAX, INT_MAX, &image), CG_ENOMEM);
    ok(cg_image_alloc(3, 2, &image));
    assert_int_equal(image.width, 3);
    assert_int_equal(image.height, 2);
    cg_image_free(&image);
    cg_image_free(&image);
    cg_image_free(NULL);
    assert_int_equal(image.width, 0);
}

static void test_save_and_load(void **state) {
    (void)state;
    shell("mkdir saved");
    for (int round = 0; round < 2; round++) { /* new, then over the old one */
        cg_image image, back;
        ok(cg_image_alloc(31 + round, 17, &image));
        size_t n = 3 * (size_t)image.width * (size_t)image.height;
        cg_rng r = cg_rng_at(1, CG_RNG_TEST, 0, (uint64_t)round);
        for (size_t i = 0; i < n; i++) image.rgb[i] = (uint8_t)cg_rng_u32(&r);
        ok(cg_image_save_png(in_folder("saved/picture.png"), &image));
        ok(cg_image_load(in_folder("saved/picture.png"), NULL, &back));
        assert_int_equal(back.width, image.width);
        assert_int_equal(back.height, image.height);
        assert_memory_equal(back.rgb, image.rgb, n);
        assert_int_equal(entries("saved"), 1);
        cg_image_free(&image);
        cg_image_free(&back);
    }
}

static void test_load_errors(void **state) {
    (void)state;
    cg_image image;
    refused(cg_image_load("no/such/file.png", NULL, &image), CG_EIO, "no/such/file.png");
    assert_int_equal(cg_image_load(".", NULL, &image), CG_EIO);
    assert_null(image.rgb);
    refused(cg_image_load(CG_SOURCE_DIR "/tests/golden/image/decode.txt", NULL, &image), CG_EFORMAT,
            "decode.txt");
}

/* A folder cannot be replaced; nothing is left beside it. */
static void test_save_errors(void **state) {
    (void)state;
    cg_image picture;
    shell("mkdir -p errors/taken");
    ok(cg_image_alloc(2, 2, &picture));
    memset(picture.rgb, 0, 12);
    refused(cg_image_save_png("no/such/folder.png", &picture), CG_ENOTFOUND, "no/such/folder.png");
    assert_int_equal(cg_image_save_png(in_folder("errors/taken"), &picture), CG_EIO);
    assert_int_equal(entries("errors"), 1);
    cg_image_free(&picture);
    refused(cg_image_save_png("empty.png", &picture), CG_EINVAL, "empty.png");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_save_and_load),
        cmocka_unit_test(test_load_errors),
        cmocka_unit_test(test_save_errors),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
