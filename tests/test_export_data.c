/* labels: cli */
/* What an export is measured on: the same data as eval reads, and the same figures, however many
 * pictures the file is given at a time. */
#include "data/image.h"
#include "graph/file.h"
#include "serialize/checkpoint.h"
#include "train/export.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ok(call)                                                                                   \
    do {                                                                                           \
        if ((call) != CG_OK) fail_msg("%s: %s", #call, cg_error_message());                        \
    } while (0)

enum { PICTURES = 7, SIDE = 32 };
static const char *const captions[] = {"red circle", "blue square", "green star", "black dot"};
static cg_folder *scratch;

static const char *in_scratch(const char *name, char path[1024]) {
    snprintf(path, 1024, "%s/%s", cg_folder_path(scratch), name);
    return path;
}

static void write_text(const char *name, const char *text) {
    char path[1024];
    ok(cg_file_save(in_scratch(name, path), text, strlen(text)));
}

static void save_model(void) {
    cg_clip_desc d;
    cg_context *ctx;
    cg_runner *runner;
    cg_tokenizer *tokenizer;
    char path[1024];
    cg_preprocess p = cg_preprocess_default();
    ok(cg_clip_desc_load(CG_SOURCE_DIR "/models/configs/tiny-vit-transformer.json", &d));
    ok(cg_tokenizer_train(captions, 4, 514, &tokenizer));
    ok(cg_context_create(1, &ctx));
    ok(cg_runner_create(ctx, &d, &runner));
    cg_params_init(cg_runner_params(runner), 7);
    p.size = (int)d.vision.image_size;
    cg_checkpoint c = {
        .desc = &d, .preprocess = &p, .params = cg_runner_params(runner), .tokenizer = tokenizer};
    ok(cg_checkpoint_save(in_scratch("model", path), &c));
    cg_runner_free(runner);
    cg_tokenizer_free(tokenizer);
    cg_context_free(ctx);
}

/* Pictures of two sizes, in a folder for each of two classes, and in a table; one cannot be read.
 */
static void save_pictures(void) {
    char path[1024], name[64], table[2048] = "what;where\n";
    for (int i = 0; i < 2; i++)
        ok(mkdir(in_scratch(i ? "data/right_one" : "data/left_one", path), 0755) ? CG_EIO : CG_OK);
    for (int i = 0; i < PICTURES; i++) {
        cg_image image;
        ok(cg_image_alloc(i % 3 ? SIDE : SIDE + 9, SIDE, &image));
        for (int k = 0; k < image.width * image.height * 3; k++)
            image.rgb[k] = (uint8_t)(k * (i + 3) % 251);
        snprintf(name, sizeof name, "data/%s_one/%d.png", i % 2 ? "right" : "left", i);
        ok(cg_image_save_png(in_scratch(name, path), &image));
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
    char path[1024];
    (void)state;
    ok(cg_folder_create("test_export_data", &scratch));
    ok(mkdir(in_scratch("data", path), 0755) ? CG_EIO : CG_OK);
    save_model();
    save_pictures();
    return 0;
}

static int finish(void **state) {
    (void)state;
    cg_folder_abandon(scratch);
    return 0;
}

/* --- batches ---------------------------------------------------------------------------------- */

static cg_accuracy measure(cg_model *m, cg_export_options o) {
    cg_certificate c;
    char path[1024];
    ok(cg_export(m, in_scratch("out", path), &o, &c));
    cg_accuracy a = c.accuracy;
    cg_certificate_free(&c);
    return a;
}

static void test_batches(void **state) {
    (void)state;
    static const int64_t batch[] = {1, 3, 64};
    cg_model m;
    cg_dataset *data;
    char path[1024];
    ok(cg_model_load(in_scratch("model", path), 2, &m));
    const cg_table_options how = {
        .image_column = "where", .caption_column = "what", .separator = ';'};
    ok(cg_dataset_table(in_scratch("table.csv", path), &how, &data));
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

static char out[1 << 16], err[1 << 14];

static void read_file(const char *name, char *text, size_t size) {
    char path[1024];
    FILE *f = fopen(in_scratch(name, path), "r");
    assert_non_null(f);
    text[fread(text, 1, size - 1, f)] = '\0';
    fclose(f);
}

static int run(const char *arguments) {
    char command[4096];
    snprintf(command, sizeof command, "cd %s && %s %s >out.log 2>err.log", cg_folder_path(scratch),
             CG_CLI, arguments);
    int status = system(command);
    read_file("out.log", out, sizeof out);
    read_file("err.log", err, sizeof err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define EXPORT "export --checkpoint model --threads 1 --out out "

static void prints(const char *arguments, const char *words) {
    if (run(arguments) != 0) fail_msg("%s: %s", arguments, err);
    if (!strstr(out, words)) fail_msg("%s: \"%s\", wanted \"%s\"", arguments, out, words);
}

static void fails(const char *arguments, int code, const char *words) {
    assert_int_equal(run(arguments), code);
    if (!strstr(err, words)) fail_msg("%s: \"%s\", wanted \"%s\"", arguments, err, words);
}

static void test_data(void **state) {
    (void)state;
    prints(EXPORT "--what both --val-data table.csv --csv-img-key where --csv-caption-key what "
                  "--csv-separator ';'",
           "on data: 7 pictures among 4 candidates");
    prints(EXPORT "--what image --val-data data", "on data: 7 pictures among 2 candidates");
    prints(EXPORT "--what classifier --labels 'red circle,blue square,green star' "
                  "--val-data data --dataset-type folder --classes classes.txt",
           "on data: 7 pictures among 3 candidates");
    prints(EXPORT "--what text --dataset-type synthetic", "on data: 500 pictures among ");
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
    return cmocka_run_group_tests(tests, prepare, finish);
}
