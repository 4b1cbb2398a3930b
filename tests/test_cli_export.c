/* labels: cli */
/* `clipgraph export` as a user has it: files, their certificate, what is refused; and that an
 * exported classifier says what `clipgraph classify` says. */
#include "data/image.h"
#include "serialize/onnx/session.h"

#include <jansson.h>
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

#define MODEL  "--checkpoint logs/tiny --threads 1 "
#define LABELS "--labels 'red circle,blue square,green star,black dot' --template 'a {}' "
enum { LABELS_N = 4, PICTURES = 4 };

static char folder[64];
static char out[1 << 18], err[1 << 16];

static const char *in_folder(const char *name, char path[512]) {
    snprintf(path, 512, "%s/%s", folder, name);
    return path;
}

static void read_file(const char *name, char *text, size_t size) {
    char path[512];
    FILE *f = fopen(in_folder(name, path), "r");
    if (!f) fail_msg("%s is not there", name);
    text[fread(text, 1, size - 1, f)] = '\0';
    fclose(f);
}

static int there(const char *name) {
    char path[512];
    struct stat st;
    return stat(in_folder(name, path), &st) == 0;
}

static int run_in(const char *environment, const char *arguments) {
    char command[2048];
    snprintf(command, sizeof command, "cd %s && %s %s %s >out.log 2>err.log", folder, environment,
             CG_CLI, arguments);
    int status = system(command);
    read_file("out.log", out, sizeof out);
    read_file("err.log", err, sizeof err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void succeeds(const char *arguments) {
    int code = run_in("", arguments);
    if (code != 0) fail_msg("%s: exit code %d: %s", arguments, code, err);
}

/* Fails with this code and sentence, and leaves no folder x. */
static void fails(const char *arguments, int code, const char *sentence) {
    int found = run_in("", arguments);
    if (found != code) fail_msg("%s: exit code %d, wanted %d: %s", arguments, found, code, err);
    if (!strstr(err, sentence)) fail_msg("%s: \"%s\", wanted \"%s\"", arguments, err, sentence);
    assert_string_equal(out, "");
    assert_false(there("x"));
}

/* Not square, each of its own size. */
static void draw(int number, cg_image *image) {
    static const uint8_t colour[PICTURES][3] = {
        {220, 30, 30}, {30, 30, 220}, {30, 200, 30}, {0, 0, 0}};
    ok(cg_image_alloc(40 + 7 * number, 33, image));
    memset(image->rgb, 255, (size_t)image->width * (size_t)image->height * 3);
    for (int y = 6; y < 26; y++)
        for (int x = 10; x < 30; x++) {
            if (number % 2 == 0 && (x - 20) * (x - 20) + (y - 16) * (y - 16) > 100) continue;
            memcpy(image->rgb + 3 * (y * image->width + x), colour[number], 3);
        }
}

static int prepare(void **state) {
    (void)state;
    char path[512];
    strcpy(folder, "/tmp/clipgraph-export-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(mkdir(in_folder("photos", path), 0755), 0);
    for (int i = 0; i < PICTURES; i++) {
        char name[64];
        cg_image image;
        draw(i, &image);
        snprintf(name, sizeof name, "photos/%d.png", i);
        ok(cg_image_save_png(in_folder(name, path), &image));
        cg_image_free(&image);
    }
    succeeds("train --dataset-type synthetic --train-num-samples 64 --model tiny-vit-transformer "
             "--batch-size 16 --epochs 1 --name tiny --threads 1 --val-frequency 0");
    return 0;
}

static int clean(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* -- what is written --------------------------------------------------------------------------- */

static void files(void **state) {
    (void)state;
    succeeds("export " MODEL "--what both --out both --name clip");
    assert_non_null(strstr(out, "wrote both/clip.onnx, opset 17, weights in f32, "));
    assert_non_null(strstr(out, "\nheld against the model by our runtime: 8 pictures, 8 captions"));
    assert_non_null(strstr(out, "\n  logits_per_text   differs by "));
    assert_true(there("both/tokenizer.json") && there("both/open_clip_config.json"));
    succeeds("export " MODEL "--what image --preprocess --weights f16 --external-data --out image "
             "--pictures photos --json");
    assert_true(there("image/model.onnx.data") && !there("image/tokenizer.json"));
    json_t *j = json_loads(out, 0, NULL);
    assert_non_null(j);
    assert_int_equal(json_integer_value(json_object_get(j, "opset")), 18);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "parity"), "pictures")),
                     12);
    assert_true(json_is_true(json_object_get(j, "preprocessing_inside")));
    read_file("image/model.json", err, sizeof err);
    json_t *saved = json_loads(err, 0, NULL);
    assert_true(json_equal(j, saved));
    json_decref(saved);
    json_decref(j);
}

static void what_can_be_wrong(void **state) {
    (void)state;
    fails("export --what image --out x", 2, "no model");
    fails("export " MODEL "--out x", 2, "which part?");
    fails("export " MODEL "--what image", 2, "where to?");
    fails("export " MODEL "--what picture --out x", 2, "wanted image, text, both or classifier");
    fails("export " MODEL "--what image --weights int8 --out x", 2, "wanted f32, f16 or bf16");
    fails("export " MODEL "--what image --opset 16 --out x", 2, "found \"16\"");
    fails("export " MODEL "--what image --opset 17 --preprocess --out x", 2, "--opset 18 or later");
    fails("export " MODEL "--what text --preprocess --out x", 2, "reads no pictures");
    fails("export " MODEL "--what classifier --out x", 2, "a classifier of what?");
    fails("export " MODEL "--what image --labels a,b --out x", 2, "go with --what classifier");
    fails("export " MODEL "--what classifier --labels a,a --out x", 2, "given twice");
    fails("export " MODEL "--what classifier --labels a,,b --out x", 2, "label 2 is empty");
    fails("export " MODEL "--what classifier --labels \"$(printf 'a\\nb,c')\" --out x", 2,
          "line end");
    fails("export " MODEL "--what classifier --labels \"$(printf 'a,\\377')\" --out x", 2,
          "not UTF-8");
    fails("export " MODEL "--what classifier --labels a --out x", 2, "wanted two or more");
    fails("export " MODEL "--what image --out .", 2, "name of a new folder");
    fails("export " MODEL "--what image --name a/b --out x", 2, "cannot be that of a file");
    fails("export " MODEL "--what image --verify-with tensorrt --out x", 2, "wanted onnxruntime");
    fails("export " MODEL "--what image --out gone/x", 1, "gone/x");
    fails("export " MODEL "--what image --out photos", 2, "give another folder");
    fails("export --checkpoint photos --what image --out x", 1, "photos");
    fails("export " MODEL "--what text --tolerance 1e-9 --out x", 1, "text_embeds differs");
}

/* -- the other runtime ------------------------------------------------------------------------- */

/* Without it the message says what to install; a program that answers otherwise is found out. */
static void other_runtimes(void **state) {
    (void)state;
    char path[512];
    assert_int_equal(
        run_in("PATH=/nowhere", "export " MODEL "--what image --out x --verify-with onnxruntime"),
        1);
    assert_non_null(strstr(err, "Python, which has to be installed: python3: "));
    assert_false(there("x"));
    static const struct {
        const char *script, *says;
    } pythons[] = {{"echo missing No module named onnxruntime", "pip install onnxruntime"},
                   {"exit 3", "python3: ended with code 3"},
                   {"echo onnxruntime 9", "0.out.0: No such file"}};
    for (int i = 0; i < 3; i++) {
        FILE *f = fopen(in_folder("python3", path), "w");
        assert_non_null(f);
        fprintf(f, "#!/bin/sh\n%s\n", pythons[i].script);
        fclose(f);
        assert_int_equal(chmod(path, 0755), 0);
        assert_int_equal(run_in("PATH=.:/bin", "export " MODEL "--what image --out x --verify-with "
                                               "onnxruntime"),
                         1);
        if (!strstr(err, pythons[i].says)) fail_msg("\"%s\", wanted %s", err, pythons[i].says);
        assert_false(there("x"));
    }
    assert_int_equal(unlink(path), 0);
}

/* -- a classifier ------------------------------------------------------------------------------ */

/* Probabilities as `classify` prints them, in the order of the labels. */
static void classified(double p[PICTURES][LABELS_N]) {
    static const char *const label[LABELS_N] = {"red circle", "blue square", "green star",
                                                "black dot"};
    succeeds("classify " MODEL LABELS "photos --json");
    char *line = strtok(out, "\n");
    for (int i = 0; i < PICTURES; i++, line = strtok(NULL, "\n")) {
        assert_non_null(line);
        json_t *j = json_loads(line, 0, NULL), *list = json_object_get(j, "labels"), *one;
        size_t k;
        assert_int_equal(json_array_size(list), LABELS_N);
        json_array_foreach(list, k, one) {
            for (int n = 0; n < LABELS_N; n++)
                if (strcmp(json_string_value(json_object_get(one, "label")), label[n]) == 0)
                    p[i][n] = json_number_value(json_object_get(one, "probability"));
        }
        json_decref(j);
    }
}

static int best_of(const double *p) {
    int best = 0;
    for (int i = 1; i < LABELS_N; i++)
        if (p[i] > p[best]) best = i;
    return best;
}

static void says_what_classify_says(void **state) {
    (void)state;
    double wanted[PICTURES][LABELS_N];
    char path[512];
    cg_context *ctx;
    cg_onnx_session *s;
    succeeds("export " MODEL LABELS "--what classifier --preprocess --out classifier");
    read_file("classifier/labels.txt", out, sizeof out);
    assert_string_equal(out, "red circle\nblue square\ngreen star\nblack dot\n");
    classified(wanted);
    ok(cg_context_create(1, &ctx));
    ok(cg_onnx_session_create(ctx, in_folder("classifier/model.onnx", path), NULL, &s));
    for (int i = 0; i < PICTURES; i++) {
        cg_image image;
        double found[LABELS_N];
        draw(i, &image);
        cg_tensor pixels = {"pixels", CG_U8, CG_SHAPE(1, image.height, image.width, 3), image.rgb,
                            (size_t)image.height * (size_t)image.width * 3};
        cg_tensor probs = {.name = "probs"};
        ok(cg_onnx_session_run(s, &pixels, 1, &probs, 1));
        assert_true(cg_shape_equal(&probs.shape, &CG_SHAPE(1, LABELS_N)));
        for (int k = 0; k < LABELS_N; k++) {
            found[k] = (double)((const float *)probs.data)[k];
            assert_float_equal(found[k], wanted[i][k], 1e-4);
        }
        assert_int_equal(best_of(found), best_of(wanted[i]));
        cg_image_free(&image);
    }
    cg_onnx_session_free(s);
    cg_context_free(ctx);
}

/* -- on data ----------------------------------------------------------------------------------- */

static double by(const json_t *j, const char *name, const char *whom) {
    const json_t *x = json_object_get(json_object_get(json_object_get(j, "accuracy"), name), whom);
    assert_true(json_is_number(x));
    return json_number_value(x);
}

/* Figures of the file are those of the model. */
static void accuracy_on_data(void **state) {
    (void)state;
    char path[512];
    FILE *f = fopen(in_folder("data.csv", path), "w");
    assert_non_null(f);
    fputs("filepath,title\n", f);
    static const char *const caption[PICTURES] = {"red circle", "blue square", "green star",
                                                  "black dot"};
    for (int i = 0; i < PICTURES; i++) fprintf(f, "photos/%d.png,%s\n", i, caption[i]);
    assert_int_equal(fclose(f), 0);
    json_t *j;
    static const char *const whats[] = {"image", "text", "both --preprocess"};
    for (int i = 0; i < 3; i++) {
        char line[256];
        snprintf(line, sizeof line,
                 "export " MODEL "--what %s --val-data data.csv --out d%d --json", whats[i], i);
        succeeds(line);
        j = json_loads(out, 0, NULL);
        static const char *const names[] = {"image_to_text_recall1", "image_to_text_recall5",
                                            "text_to_image_recall1", "text_to_image_recall5"};
        for (int k = 0; k < 4; k++)
            assert_float_equal(by(j, names[k], "model"), by(j, names[k], "file"), 1e-9);
        assert_float_equal(by(j, names[1], "file"), 1, 1e-9); /* of four captions */
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(j, "accuracy"), "pictures")),
            PICTURES);
        json_decref(j);
    }
    succeeds("export " MODEL LABELS "--what classifier --val-data data.csv --out d3");
    assert_non_null(strstr(out, "on data: 4 pictures among 4 candidates"));
    assert_non_null(strstr(out, "\n  top1 "));
    fails("export " MODEL "--what classifier --labels a,b --val-data data.csv --out x", 1,
          "not one of 4 captions is a label; the first is \"red circle\"");
    fails("export " MODEL "--what image --most-loss 1 --out x", 2, "on what? --val-data");
    fails("export " MODEL "--what image --val-data gone.csv --out x", 1, "gone.csv");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(what_can_be_wrong),
        cmocka_unit_test(other_runtimes),
        cmocka_unit_test(says_what_classify_says),
        cmocka_unit_test(accuracy_on_data),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
