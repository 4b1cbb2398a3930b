/* labels: unit */
#include "data/dataset.h"
#include "data/loader.h"
#include "data/scene.h"
#include "data/text.h"
#include "tests/support/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_picture(const char *file, int shade) {
    cg_image image;
    ok(cg_image_alloc(16, 12, &image));
    for (int i = 0; i < 16 * 12 * 3; i++) image.rgb[i] = (uint8_t)(i * 7 + shade);
    ok(cg_image_save_png(in_folder(file), &image));
    cg_image_free(&image);
}

static cg_status open_text(const char *text, const cg_table_options *options, cg_dataset **d) {
    write_text("table.tsv", text);
    return cg_dataset_table(in_folder("table.tsv"), options, d);
}

static void assert_pair(const cg_dataset *d, int64_t i, const char *path, const char *caption) {
    assert_string_equal(d->path[i], *path == '/' ? path : in_folder(path));
    assert_string_equal(d->caption[i], caption);
}

/* ---- tables ---- */

static void test_table(void **state) {
    (void)state;
    cg_dataset *d;
    assert_int_equal(open_text("\xef\xbb\xbfid\ttitle\tfilepath\r\n"
                               "1\tA  Cat &amp; a dog\ta.png\r\n"
                               "\r\n"
                               "2\t\"a \"\"big\"\" cat,\nin two\tlines\"\t/x/b.png\textra\r\n"
                               "3\t\tsub/c.png\n"
                               "4\ta cat &amp;amp; A DOG\t\"d e.png\"",
                               NULL, &d),
                     CG_OK);
    assert_int_equal(d->size, 4);
    assert_int_equal(d->endless, 0);
    assert_pair(d, 0, "a.png", "a cat & a dog");
    assert_pair(d, 1, "/x/b.png", "a \"big\" cat, in two lines");
    assert_pair(d, 2, "sub/c.png", "");
    assert_pair(d, 3, "d e.png", "a cat & a dog");
    assert_int_equal(d->n_captions, 3);
    const int32_t wanted[] = {0, 1, 2, 0};
    assert_memory_equal(d->caption_id, wanted, sizeof wanted);
    cg_dataset_free(d);
    cg_dataset_free(NULL);
}

static void test_columns(void **state) {
    (void)state;
    cg_table_options o = {.image_column = "image", .caption_column = "text", .separator = ','};
    cg_dataset *d;
    assert_int_equal(open_text("text,image\nhello,a.png\n", &o, &d), CG_OK);
    assert_pair(d, 0, "a.png", "hello");
    cg_dataset_free(d);
}

static void test_table_errors(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"filepath\ttitel\tx\n1\t2\t3\n",
         "no column \"title\"; it has \"filepath\", \"titel\", \"x\"; did you mean \"titel\"?"},
        {"filepath,title\na.png,b\n", "is its separator another one?"},
        {"filepath\ttitle\na.png\tone\nb.png\n", "line 3: 1 fields, wanted 2 or more"},
        {"filepath\ttitle\n\"a\nb.png\"\tone\n\nc\n", "line 5: 1 fields"},
        {"filepath\ttitle\na.png\tone\nb.png\t\"two\nthree\n", "line 3: a quote is not closed"},
        {"filepath\ttitle\n", "no pair in it"},
        {"", "empty, wanted a header line"},
        {"\n\r\n", "empty, wanted a header line"},
    };
    cg_dataset *d;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(open_text(cases[i].text, NULL, &d), CG_EFORMAT);
        assert_null(d);
        if (!strstr(cg_error_message(), cases[i].message) ||
            !strstr(cg_error_message(), "table.tsv"))
            fail_msg("case %d: %s", (int)i, cg_error_message());
    }
    write_file("table.tsv", "f\0i\0l\0e\0", 8);
    assert_int_equal(cg_dataset_table(in_folder("table.tsv"), NULL, &d), CG_EFORMAT);
    assert_non_null(strstr(cg_error_message(), "zero byte"));
    assert_int_equal(cg_dataset_table(in_folder("none.tsv"), NULL, &d), CG_EIO);
}

static void test_distance(void **state) {
    (void)state;
    assert_int_equal(cg_text_distance("", ""), 0);
    assert_int_equal(cg_text_distance("abc", ""), 3);
    assert_int_equal(cg_text_distance("kitten", "sitting"), 3);
    assert_int_equal(cg_text_distance("title", "titel"), 2);
}

/* Pictures missing, cut short or no pictures at all are left out and counted; the rest is read. */
static void test_damaged_pictures(void **state) {
    (void)state;
    write_picture("good0.png", 0);
    write_picture("good1.png", 90);
    write_picture("good2.png", 180);
    shell("head -c 60 good0.png >cut.png");
    write_file("text.png", "hello, I am no picture", 22);
    cg_dataset *d;
    assert_int_equal(open_text("filepath\ttitle\ngood0.png\tone\ncut.png\ttwo\ngood1.png\t\n"
                               "missing.png\tfour\ntext.png\tfive\ngood2.png\tsix\n",
                               NULL, &d),
                     CG_OK);
    cg_loader_options o = {.batch = 2, .workers = 2, .need_caption = 1, .drop_last = 1};
    o.preprocess = cg_preprocess_default();
    o.preprocess.size = 8;
    cg_loader *l;
    const cg_batch *b;
    assert_int_equal(cg_loader_open(d, &o, 0, 0, &l), CG_OK);
    assert_int_equal(cg_loader_batches(l), 2);
    assert_int_equal(cg_loader_next(l, &b), CG_OK);
    assert_int_equal(b->n, 2);
    assert_int_equal(b->index[0], 0);
    assert_int_equal(b->index[1], 5);
    cg_image image;
    float wanted[8 * 8 * 3];
    assert_int_equal(d->ops->image(d, 5, &image), CG_OK);
    assert_int_equal(cg_preprocess_image(&image, &o.preprocess, wanted), CG_OK);
    assert_memory_equal(b->image + 8 * 8 * 3, wanted, sizeof wanted);
    cg_image_free(&image);
    assert_int_equal(cg_loader_next(l, &b), CG_OK);
    assert_null(b);
    cg_loader_report report;
    cg_loader_get_report(l, &report);
    assert_int_equal(report.unreadable, 3);
    assert_int_equal(report.empty_caption, 1);
    assert_int_equal(report.n_first, 4);
    assert_non_null(strstr(report.first[0], "good1.png: no caption"));
    assert_non_null(strstr(report.first[1], "cut.png"));
    assert_non_null(strstr(report.first[2], "missing.png"));
    assert_non_null(strstr(report.first[3], "text.png"));
    cg_loader_close(l);
    cg_dataset_free(d);
}

/* ---- folders ---- */

static void test_folder(void **state) {
    (void)state;
    char top[300];
    cg_dataset *d;
    assert_int_equal(mkdir(in_folder("tree"), 0777), 0);
    snprintf(top, sizeof top, "%s", in_folder("tree"));
    assert_int_equal(cg_dataset_folder(top, NULL, &d), CG_ENOTFOUND);
    mkdir(in_folder("tree/b"), 0777);
    mkdir(in_folder("tree/.hidden"), 0777);
    write_picture("tree/z.png", 1);
    write_picture("tree/b/named_otherwise.dat", 2);
    write_picture("tree/.x.png", 3);
    write_picture("tree/.hidden/y.png", 4);
    write_file("tree/a.png", "not a picture", 13);
    assert_int_equal(symlink("..", in_folder("tree/b/up")), 0);
    assert_int_equal(symlink("z.png", in_folder("tree/c.png")), 0);
    assert_int_equal(cg_dataset_folder(top, NULL, &d), CG_OK);
    assert_int_equal(d->size, 3);
    assert_pair(d, 0, "tree/b/named_otherwise.dat", "");
    assert_pair(d, 1, "tree/c.png", "");
    assert_pair(d, 2, "tree/z.png", "");
    assert_int_equal(d->n_captions, 1);
    cg_image image;
    assert_int_equal(d->ops->image(d, 0, &image), CG_OK);
    assert_int_equal(image.width, 16);
    cg_image_free(&image);
    cg_dataset_free(d);
    assert_int_equal(cg_dataset_folder(in_folder("nowhere"), NULL, &d), CG_EIO);
}

/* ---- scenes ---- */

static void test_held_out(void **state) {
    (void)state;
    int of_shape[CG_N_FIGURES] = {0}, of_colour[CG_N_COLOURS] = {0}, all = 0;
    for (int s = 0; s < CG_N_FIGURES; s++)
        for (int c = 0; c < CG_N_COLOURS; c++) {
            int held = cg_scene_held_out((cg_figure)s, c);
            of_shape[s] += held;
            of_colour[c] += held;
            all += held;
        }
    assert_in_range(all, 8, 20);
    for (int i = 0; i < 10; i++) { /* training knows every shape and colour well */
        assert_in_range(of_shape[i], 0, 5);
        assert_in_range(of_colour[i], 0, 5);
    }
    for (uint64_t i = 0; i < 4000; i++) {
        int held_out = i % 2 == 0, held = 0;
        cg_rng r = cg_rng_at(1, CG_RNG_TEST, 0, i);
        cg_scene s = cg_scene_choose(&r, held_out);
        for (int k = 0; k < s.n; k++) held += cg_scene_held_out(s.shape[k], s.colour[k]);
        assert_int_equal(held > 0, held_out);
    }
}

static void test_synthetic(void **state) {
    (void)state;
    cg_synthetic_options o = {.seed = 3, .size = 500, .image_size = 32};
    cg_dataset *a, *b, *test;
    assert_int_equal(cg_dataset_synthetic(&o, &a), CG_OK);
    assert_int_equal(cg_dataset_synthetic(&o, &b), CG_OK);
    o.held_out = 1;
    assert_int_equal(cg_dataset_synthetic(&o, &test), CG_OK);
    assert_true(a->endless);
    assert_in_range(a->n_captions, 400, 500);
    int same = 0;
    for (int64_t i = 0; i < a->size; i++) {
        cg_image x, y, later;
        char *clean;
        size_t bytes = 32 * 32 * 3;
        assert_string_equal(a->caption[i], b->caption[i]);
        same += !strcmp(a->caption[i], test->caption[i]);
        assert_int_equal(cg_text_clean(a->caption[i], CG_CLEAN_HTML, &clean), CG_OK);
        assert_string_equal(clean, a->caption[i]);
        free(clean);
        assert_int_equal(a->ops->image(a, i, &x), CG_OK);
        assert_int_equal(b->ops->image(b, i, &y), CG_OK);
        assert_int_equal(a->ops->image(a, i + a->size, &later), CG_OK);
        assert_int_equal(x.width, 32);
        assert_memory_equal(x.rgb, y.rgb, bytes);
        assert_memory_not_equal(x.rgb, later.rgb, bytes);
        cg_image_free(&x);
        cg_image_free(&y);
        cg_image_free(&later);
    }
    assert_true(same < 5);
    cg_dataset_free(a);
    cg_dataset_free(b);
    cg_dataset_free(test);
    o.size = 0;
    assert_int_equal(cg_dataset_synthetic(&o, &a), CG_EINVAL);
    o.size = 1, o.image_size = 4;
    assert_int_equal(cg_dataset_synthetic(&o, &a), CG_EINVAL);
}

/* A red shape alone on whatever background leaves red pixels about as many as it covers. */
static void test_scene_colour(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 50; i++) {
        cg_scene s = {.relation = CG_ALONE, .n = 1, .size = {2}, .shape = {CG_FIGURE_CIRCLE}};
        cg_rng r = cg_rng_at(2, CG_RNG_TEST, 0, i);
        cg_image image;
        assert_int_equal(cg_image_alloc(64, 64, &image), CG_OK);
        cg_scene_draw(&s, &r, &image);
        int red = 0;
        for (int k = 0; k < 64 * 64; k++)
            red += image.rgb[3 * k] > 170 && image.rgb[3 * k + 1] < 60 && image.rgb[3 * k + 2] < 60;
        assert_in_range(red, 600, 1800); /* radius .27 to .40 of the side, times .9 */
        cg_image_free(&image);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_table_errors),
        cmocka_unit_test(test_distance),
        cmocka_unit_test(test_damaged_pictures),
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_held_out),
        cmocka_unit_test(test_synthetic),
        cmocka_unit_test(test_scene_colour),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
