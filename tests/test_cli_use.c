/* labels: cli */
/* `clipgraph classify`, `search` and `embed` as a user has them, with a model trained for a few
 * steps. */
#include "serialize/npy.h"
#include "tests/support/cli_pictures.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* -- classify ---------------------------------------------------------------------------------- */

static void classify_prints_probabilities(void **state) {
    (void)state;
    json_t *j =
        json_of("classify " TINY_RUN "--labels 'red circle, blue square,green star' --top 2 "
                "photos/a-red.png --json");
    assert_string_equal(json_string_value(json_object_get(j, "picture")), "photos/a-red.png");
    json_t *labels = json_object_get(j, "labels");
    assert_int_equal(json_array_size(labels), 2);
    double last = 1;
    for (size_t i = 0; i < 2; i++) {
        double p = json_real_value(json_object_get(json_array_get(labels, i), "probability"));
        assert_true(p > 0 && p <= last);
        last = p;
    }
    json_decref(j);
    succeeds("classify " TINY_RUN "--labels-file labels.txt photos");
    assert_true(strncmp(printed.out, "photos/a-red.png\n", 17) == 0);
    double sum = 0, p;
    int lines = 0;
    for (char *line = printed.out; line; line = strchr(line, '\n'), line += line != NULL)
        if (sscanf(line, "  %lf %%", &p) == 1) {
            lines++;
            sum += p;
        }
    assert_int_equal(lines, 2 * PHOTOS);
    assert_float_equal(sum, 100. * PHOTOS, .1 * 2 * PHOTOS); /* two labels are all there are */
    prints("  red circle\n");                                /* without the mark before it */
}

static void templates_are_averaged(void **state) {
    (void)state;
    double p[3];
    static const char *const templates[] = {"--template '{}'",
                                            "--template '{}' --template 'a small {} below'",
                                            "--template '{}' --template '{}'"};
    for (int i = 0; i < 3; i++) {
        json_t *j = json_of("classify " TINY_RUN "--labels 'red circle,blue square' --json %s "
                            "photos/b-blue.png",
                            templates[i]);
        json_t *best = json_array_get(json_object_get(j, "labels"), 0);
        p[i] = json_real_value(json_object_get(best, "probability"));
        json_decref(j);
    }
    assert_float_equal(p[0], p[2], 1e-5); /* the mean of one thing twice */
    assert_true(fabs(p[0] - p[1]) > 1e-5);
}

/* -- embed and search -------------------------------------------------------------------------- */

static void check_rows(const char *name, int64_t rows) {
    cg_npy a;
    assert_int_equal(cg_npy_open(in_folder(name), &a), CG_OK);
    assert_int_equal(a.dtype, CG_F32);
    assert_true(cg_shape_equal(&a.shape, &CG_SHAPE(rows, TINY_WIDTH)));
    for (int64_t i = 0; i < rows; i++) {
        double length = 0;
        for (int k = 0; k < TINY_WIDTH; k++) {
            double x = (double)((const float *)a.data)[i * TINY_WIDTH + k];
            length += x * x;
        }
        assert_float_equal(length, 1, 1e-5);
    }
    cg_npy_close(&a);
}

static void embed_writes_rows_and_names(void **state) {
    (void)state;
    succeeds("embed " TINY_RUN "photos --out index");
    assert_string_equal(printed.out, "wrote index.npy, float32 [4, 32], and index.txt, 4 lines\n");
    check_rows("index.npy", PHOTOS);
    read_file("index.txt", printed.out, sizeof printed.out);
    assert_string_equal(printed.out, "photos/a-red.png\nphotos/b-blue.png\nphotos/c-green.png\n"
                                     "photos/d-black.png\n");

    json_t *j = json_of("embed " TINY_RUN "--texts labels.txt --out texts.npy --json");
    assert_int_equal(json_integer_value(json_object_get(j, "rows")), 2);
    assert_string_equal(json_string_value(json_object_get(j, "npy")), "texts.npy");
    json_decref(j);
    check_rows("texts.npy", 2);
    read_file("texts.txt", printed.out, sizeof printed.out);
    assert_string_equal(printed.out, "red circle\nblue square\n");

    succeeds("embed " TINY_RUN
             "--table table.tsv --out table"); /* one of its pictures is missing */
    check_rows("table.npy", 2);
    warns("1 of 3 pictures left out");
    warns("missing.png");
}

static void search_ranks(void **state) {
    (void)state;
    succeeds("embed " TINY_RUN "photos --out index");
    static const char *const where[] = {"photos", "--index index", "--index index.npy"};
    double first[3];
    for (int i = 0; i < 3; i++) {
        json_t *j = json_of("search " TINY_RUN "%s --text 'a red circle' --top 3 --json", where[i]);
        json_t *results = json_object_get(j, "results");
        assert_int_equal(json_integer_value(json_object_get(j, "searched")), PHOTOS);
        assert_int_equal(json_array_size(results), 3);
        double last = 1;
        for (size_t k = 0; k < 3; k++) {
            double x = json_real_value(json_object_get(json_array_get(results, k), "cosine"));
            assert_true(x <= last);
            if (k == 0) first[i] = x;
            last = x;
        }
        json_decref(j);
    }
    assert_float_equal(first[0], first[1], 1e-5); /* an index is the folder, embedded before */
    assert_float_equal(first[0], first[2], 1e-5);

    succeeds("search " TINY_RUN
             "photos --image photos/c-green.png --top 1"); /* nearest to itself */
    assert_string_equal(printed.out, "  1   1.0000  photos/c-green.png\n");
    succeeds("search " TINY_RUN "photos 'a red circle'"); /* the text may follow the folder */
    assert_true(strncmp(printed.out, "  1  ", 5) == 0);
    prints("\n  4  ");
}

static void unreadable_pictures_are_left_out(void **state) {
    (void)state;
    succeeds("classify " TINY_RUN "--labels a,b mixed cut.png");
    prints("mixed/whole.png\n");
    prints_no("cut.png");
    warns("2 of 3 pictures left out");
    warns("mixed/cut.png");
}

static void help_is_there(void **state) {
    (void)state;
    static const char *const commands[] = {"classify", "search", "embed", "inspect", "check-grad"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char usage[64];
        succeeds("%s --help", commands[i]);
        snprintf(usage, sizeof usage, "Usage: clipgraph %s ", commands[i]);
        prints(usage);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classify_prints_probabilities),
        cmocka_unit_test(templates_are_averaged),
        cmocka_unit_test(embed_writes_rows_and_names),
        cmocka_unit_test(search_ranks),
        cmocka_unit_test(unreadable_pictures_are_left_out),
        cmocka_unit_test(help_is_there),
    };
    return cmocka_run_group_tests(tests, make_folder_with_model, remove_folder);
}
