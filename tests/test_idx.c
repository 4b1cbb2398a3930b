/* labels: unit */
/* IDX files, of MNIST and its like, as labelled data. */
#include "data/dataset.h"
#include "tests/support/folder.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { GREYS = 5, WIDE = 3, HIGH = 2 };
static const uint8_t images_head[] = {0, 0, 8, 3, 0, 0, 0, GREYS, 0, 0, 0, HIGH, 0, 0, 0, WIDE};
static const uint8_t labels_head[] = {0, 0, 8, 1, 0, 0, 0, GREYS};

/* Writes whole files: pixel k of all is 3k, the labels 0 2 1 0 2. */
static void write_idx(int gzipped) {
    uint8_t images[sizeof images_head + GREYS * WIDE * HIGH];
    uint8_t labels[sizeof labels_head + GREYS] = {0}, label[GREYS] = {0, 2, 1, 0, 2};
    memcpy(images, images_head, sizeof images_head);
    memcpy(labels, labels_head, sizeof labels_head);
    for (int k = 0; k < GREYS * WIDE * HIGH; k++) images[sizeof images_head + k] = (uint8_t)(3 * k);
    memcpy(labels + sizeof labels_head, label, GREYS);
    if (!gzipped) {
        write_file("t-images-idx3-ubyte", images, sizeof images);
        write_file("t-labels-idx1-ubyte", labels, sizeof labels);
        return;
    }
    gzFile f = gzopen(in_folder("t-images-idx3-ubyte.gz"), "wb");
    assert_int_equal(gzwrite(f, images, sizeof images), sizeof images);
    gzclose(f);
    f = gzopen(in_folder("t-labels-idx1-ubyte.gz"), "wb");
    assert_int_equal(gzwrite(f, labels, sizeof labels), sizeof labels);
    gzclose(f);
}

static void test_idx(void **state) {
    (void)state;
    cg_dataset *d;
    cg_image image;
    for (int gzipped = 0; gzipped < 2; gzipped++) {
        const char *file = gzipped ? "t-images-idx3-ubyte.gz" : "t-images-idx3-ubyte";
        char path[600];
        write_idx(gzipped);
        assert_true(cg_idx_begins(in_folder(file)));
        assert_int_equal(cg_dataset_idx(in_folder(file), NULL, &d), CG_OK);
        assert_int_equal(d->size, GREYS);
        assert_int_equal(d->classes.n, 3);
        snprintf(path, sizeof path, "%s#1", in_folder(file));
        assert_string_equal(d->path[1], path);
        assert_string_equal(d->caption[1], "2");
        assert_int_equal(d->n_captions, 3);
        assert_int_equal(d->ops->image(d, 4, &image), CG_OK);
        assert_int_equal(image.width, WIDE);
        assert_int_equal(image.height, HIGH);
        for (int k = 0; k < WIDE * HIGH * 3; k++)
            assert_int_equal(image.rgb[k], 3 * (4 * WIDE * HIGH + k / 3));
        cg_image_free(&image);
        cg_dataset_free(d);
    }
    write_file("c.txt", "Zero\nOne\nTwo\nThree\n", 19);
    cg_classes c;
    assert_int_equal(cg_classes_read(in_folder("c.txt"), &c), CG_OK);
    assert_int_equal(cg_dataset_idx(in_folder("t-images-idx3-ubyte"), &c, &d), CG_OK);
    assert_int_equal(d->classes.n, 4);
    assert_string_equal(d->caption[2], "one");
    cg_dataset_free(d);
    cg_classes_free(&c);
    assert_false(cg_idx_begins(in_folder("c.txt")));
    assert_false(cg_idx_begins(in_folder("nothing")));
}

static void expect_idx(const char *images, const char *classes, cg_status status,
                       const char *message) {
    cg_classes c = {0};
    cg_dataset *d;
    if (classes) {
        write_text("c.txt", classes);
        assert_int_equal(cg_classes_read(in_folder("c.txt"), &c), CG_OK);
    }
    refused(cg_dataset_idx(in_folder(images), classes ? &c : NULL, &d), status, message);
    assert_null(d);
    cg_classes_free(&c);
}

/* Writes t-images or t-labels again, from n bytes and `zeros` more. */
static void write_head(const char *file, const uint8_t *bytes, size_t n, size_t zeros) {
    uint8_t all[256] = {0};
    memcpy(all, bytes, n);
    write_file(file, all, n + zeros);
}

static void test_bad_idx(void **state) {
    (void)state;
    static const char images[] = "t-images-idx3-ubyte", labels[] = "t-labels-idx1-ubyte";
    uint8_t head[16];
    write_idx(0);
    expect_idx(images, "a\nb\n", CG_EFORMAT, "label 2 of picture 1, but the classes are 0 to 1");
    expect_idx(images, "a\n2\tb\nc\n", CG_EFORMAT,
               "class \"b\" is number 1, but has the key \"2\"");
    expect_idx(labels, NULL, CG_EFORMAT, "a name with \"images\" in it");
    expect_idx("none-images-idx3-ubyte", NULL, CG_EIO, "none-images-idx3-ubyte: No such file");
    write_head(labels, labels_head, 8, 4);
    expect_idx(images, NULL, CG_EFORMAT, "t-labels-idx1-ubyte: cut short: 1 bytes are missing");
    write_head(labels, labels_head, 8, 6);
    expect_idx(images, NULL, CG_EFORMAT, "goes on, or is damaged, behind its 5 bytes");
    memcpy(head, labels_head, 8);
    head[7] = GREYS + 1;
    write_head(labels, head, 8, GREYS + 1);
    expect_idx(images, NULL, CG_EFORMAT, "t-images-idx3-ubyte has 5 pictures, but");
    unlink(in_folder(labels));
    expect_idx(images, NULL, CG_EIO, "t-labels-idx1-ubyte: No such file");
    write_head(images, images_head, 16, GREYS * WIDE * HIGH - 1);
    expect_idx(images, NULL, CG_EFORMAT, "t-images-idx3-ubyte: cut short: 1 bytes are missing");
    write_head(images, images_head, 7, 0);
    expect_idx(images, NULL, CG_EFORMAT, "cut short: 9 bytes are missing");
    write_head(images, labels_head, 8, 5);
    expect_idx(
        images, NULL, CG_EFORMAT,
        "begins with 00 00 08 01, wanted 00 00 08 03: IDX pictures (idx3); these are labels");
    memcpy(head, images_head, 16);
    head[7] = 0;
    write_head(images, head, 16, 0);
    expect_idx(images, NULL, CG_EFORMAT, "holds nothing");
    memcpy(head, images_head, 16);
    head[11] = 0;
    write_head(images, head, 16, 0);
    expect_idx(images, NULL, CG_EFORMAT, "pictures of 3 x 0, wanted 1 to 65500");
    memcpy(head, images_head, 16);
    head[4] = head[10] = head[14] = 64;
    write_head(images, head, 16, 0);
    expect_idx(images, NULL, CG_EUNSUPPORTED, "more than 8589934592 bytes");
    /* gzip data cut short, and damaged */
    char bytes[512];
    write_idx(1);
    FILE *f = fopen(in_folder("t-images-idx3-ubyte.gz"), "rb");
    assert_non_null(f);
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    write_file("t-images-idx3-ubyte.gz", bytes, n - 12);
    expect_idx("t-images-idx3-ubyte.gz", NULL, CG_EFORMAT, "cut short");
    bytes[n - 6] ^= 1; /* the checksum */
    write_file("t-images-idx3-ubyte.gz", bytes, n);
    expect_idx("t-images-idx3-ubyte.gz", NULL, CG_EFORMAT, "damaged");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idx),
        cmocka_unit_test(test_bad_idx),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
