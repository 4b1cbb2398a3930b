/* labels: cli */
/* What an export is measured on: the same data as eval reads, and the same figures, however many
 * pictures the file is given at a time. */
#include "data/image.h"
#include "tests/support/cli.h"
#include "tests/support/exports.h"

#include <stdio.h>

enum { PICTURES = 7, SIDE = 32 };
static const char *const captions[] = {"red circle", "blue square", "green star", "black dot"};

/* Pictures of two sizes, in a folder for each of two classes, and in a table; one cannot be read.
 */
static void save_pictures(void) {
    char name[64], table[2048] = "what;where\n";
    shell("mkdir -p data/right_one data/left_one");
    for (int i = 0; i < PICTURES; i++) {
        cg_image image;
        ok(cg_image_alloc(i % 3 ? SIDE : SIDE + 9, SIDE, &image));
        for (int k = 0; k < image.width * image.height * 3; k++)
            image.rgb[k] = (uint8_t)(k * (i + 3) % 251);
        snprintf(name, sizeof name, "data/%s_one/%d.png", i % 2 ? "right" : "left", i);
        ok(cg_image_save_png(in_folder(name), &image));
        snprintf(table + strlen(table), sizeof table - strlen(table), "%s;%s\n", captions[i % 4],
                 name);
        cg_image_free(&image);
    }
    write_text("bad.png", "no picture");
    strcat(table, "red circle;bad.png\n");
    write_text("table.csv", table);
    write_text("classes.txt", "right_one\tblue square\nleft_one\tred circle\n");
}

static int prepare(void **state) {
    cg_model m;
    if (make_folder(state) != 0) return -1;
    make_model("tiny-vit-transformer", "model", NULL, &m);
    cg_model_free(&m);
    save_pictures();
    return 0;
}

/* --- batches ---------------------------------------------------------------------------------- */

static cg_accuracy measure(cg_model *m, cg_export_options o) {
    cg_certificate c;
    export_to(m, "out", &o, &c);
    cg_accuracy a = c.accuracy;
    cg_certificate_free(&c);
    return a;
}

static void test_batches(void **state) {
    (void)state;
    static const int64_t batch[] = {1, 3, 64};
    cg_model m;
    cg_dataset *data;
    ok(cg_model_load(in_folder("model"), 2, &m));
    const cg_table_options how = {
        .image_column = "where", .caption_column = "what", .separator = ';'};
    ok(cg_dataset_table(in_folder("table.csv"), &how, &data));
    for (int what = CG_ONNX_IMAGE; what <= CG_ONNX_CLASSIFIER; what++)
        for (int inside = 0; inside < 2 && !(inside && what == CG_ONNX_TEXT); inside++)
            for (int i = 0; i < 3; i++) {
                int labels = what == CG_ONNX_CLASSIFIER ? 3 : 0; /* a fourth caption is none */
                cg_accuracy a = measure(&m, (cg_export_options){.what = (cg_onnx_what)what,
                                                                .inside = inside,
                                                                .data = data,
                                                                .batch = batch[i],
                                                                .label = captions,
                                                                .labels = labels,
                                                                .most_loss = 0});
                assert_int_equal(a.pictures, labels ? PICTURES - 1 : PICTURES);
                assert_int_equal(a.n, labels ? 1 : 4);
                for (int k = 0; k < a.n; k++)
                    assert_float_equal(a.figure[k].model, a.figure[k].file, 1e-9);
                assert_true(labels || a.figure[1].file == 1); /* first five of four */
            }
    cg_dataset_free(data);
    cg_model_free(&m);
}

/* --- the command line ------------------------------------------------------------------------- */

#define EXPORT "export --checkpoint model --threads 1 --out out "

static void test_data(void **state) {
    (void)state;
    succeeds("%s",
             EXPORT "--what both --val-data table.csv --csv-img-key where --csv-caption-key what "
                    "--csv-separator ';'");
    prints("on data: 7 pictures among 4 candidates");
    succeeds("%s", EXPORT "--what image --val-data data");
    prints("on data: 7 pictures among 2 candidates");
    succeeds("%s", EXPORT "--what classifier --labels 'red circle,blue square,green star' "
                          "--val-data data --dataset-type folder --classes classes.txt");
    prints("on data: 7 pictures among 3 candidates");
    succeeds("%s", EXPORT "--what text --dataset-type synthetic");
    prints("on data: 500 pictures among ");
    fails(EXPORT "--what image --val-data table.csv", 1, "table.csv");
    fails(EXPORT "--what image --val-data data --classes none.txt", 1, "none.txt");
    fails(EXPORT "--what image --classes classes.txt", 2, "--classes: on what? --val-data DATA");
    fails(EXPORT "--what image --dataset-type csv", 2, "--dataset-type: on what?");
    fails(EXPORT "--what image --dataset-type what --val-data data", 2, "--dataset-type: found");
    fails(EXPORT "--what image --dataset-type synthetic --val-data data", 2, "exclude each other");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_data),
    };
    return cmocka_run_group_tests(tests, prepare, remove_folder);
}
