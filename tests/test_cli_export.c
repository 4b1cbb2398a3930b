/* labels: cli */
/* `clipgraph export` as a user has it: files, their certificate, what is refused; and that an
 * exported classifier says what `clipgraph classify` says. */
#include "serialize/onnx/session.h"
#include "tests/support/cli_pictures.h"

#include <stdio.h>
#include <string.h>

#define MODEL  "--checkpoint logs/tiny --threads 1 "
#define LABELS "--labels 'red circle,blue square,green star,black dot' --template 'a {}' "
enum { LABELS_N = 4, PICTURES = 4 };

/* Leaves no folder x. */
static void refuses(const char *arguments, int code, const char *sentence) {
    fails(arguments, code, sentence);
    assert_false(there("x"));
}

/* Not square, each of its own size. */
static cg_image picture(int number) {
    static const drawing shapes[PICTURES] = {
        {{220, 30, 30}, 0}, {{30, 30, 220}, 1}, {{30, 200, 30}, 0}, {{0, 0, 0}, 1}};
    return draw(&shapes[number], 40 + 7 * number, 33);
}

static int prepare(void **state) {
    if (make_folder(state) != 0) return -1;
    shell("mkdir photos");
    for (int i = 0; i < PICTURES; i++) {
        char name[64];
        cg_image image = picture(i);
        snprintf(name, sizeof name, "photos/%d.png", i);
        save_picture(name, &image);
    }
    succeeds("train --dataset-type synthetic --train-num-samples 64 --model tiny-vit-transformer "
             "--batch-size 16 --epochs 1 --name tiny --threads 1 --val-frequency 0");
    return 0;
}

/* -- what is written --------------------------------------------------------------------------- */

static void files(void **state) {
    (void)state;
    succeeds("export " MODEL "--what both --out both --name clip");
    prints("wrote both/clip.onnx, opset 17, weights in f32, ");
    prints("\nheld against the model by our runtime: 8 pictures, 8 captions");
    prints("\n  logits_per_text   differ by ");
    assert_true(there("both/tokenizer.json") && there("both/open_clip_config.json"));
    json_t *j = json_of("export " MODEL "--what image --preprocess --weights f16 --external-data "
                        "--out image --pictures photos --json");
    assert_true(there("image/model.onnx.data") && !there("image/tokenizer.json"));
    assert_int_equal(json_integer_value(json_object_get(j, "opset")), 18);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "parity"), "pictures")),
                     12);
    assert_true(json_is_true(json_object_get(j, "preprocessing_inside")));
    read_file("image/model.json", printed.out, sizeof printed.out);
    json_t *saved = json_loads(printed.out, 0, NULL);
    assert_true(json_equal(j, saved));
    json_decref(saved);
    json_decref(j);
}

/* What was meant to be compared and was not is said. */
static void unreadable_pictures(void **state) {
    (void)state;
    shell("mkdir mixed && cp photos/0.png photos/1.png mixed && head -c 60 photos/2.png > "
          "mixed/2.png");
    succeeds("export " MODEL "--what image --pictures mixed --out mixed_out");
    prints("10 pictures (2 given), 0 captions");
    warns("1 of 3 given pictures could not be read");
    shell("rm mixed/0.png mixed/1.png");
    refuses("export " MODEL "--what image --pictures mixed --out x", 1,
            "not one given picture can be read: mixed/2.png");
    shell("rm -r mixed mixed_out");
}

static void what_can_be_wrong(void **state) {
    (void)state;
    refuses("export --what image --out x", 2, "no model");
    refuses("export " MODEL "--out x", 2, "which part?");
    refuses("export " MODEL "--what image", 2, "where to?");
    refuses("export " MODEL "--what picture --out x", 2, "wanted image, text, both or classifier");
    refuses("export " MODEL "--what image --weights int8 --out x", 2, "wanted f32, f16 or bf16");
    refuses("export " MODEL "--what image --opset 16 --out x", 2, "found \"16\"");
    refuses("export " MODEL "--what image --opset 17 --preprocess --out x", 2,
            "--opset 18 or later");
    refuses("export " MODEL "--what text --preprocess --out x", 2, "reads no pictures");
    refuses("export " MODEL "--what classifier --out x", 2, "a classifier of what?");
    refuses("export " MODEL "--what image --labels a,b --out x", 2, "go with --what classifier");
    refuses("export " MODEL "--what classifier --labels a,a --out x", 2, "given twice");
    refuses("export " MODEL "--what classifier --labels a,,b --out x", 2, "label 2 is empty");
    refuses("export " MODEL "--what classifier --labels \"$(printf 'a\\nb,c')\" --out x", 2,
            "line end");
    refuses("export " MODEL "--what classifier --labels \"$(printf 'a,\\377')\" --out x", 2,
            "not UTF-8");
    refuses("export " MODEL "--what classifier --labels a --out x", 2, "wanted two or more");
    refuses("export " MODEL "--what image --out .", 2, "name of a new folder");
    refuses("export " MODEL "--what image --name a/b --out x", 2, "cannot be that of a file");
    refuses("export " MODEL "--what image --verify-with tensorrt --out x", 2, "wanted onnxruntime");
    refuses("export " MODEL "--what image --out gone/x", 1, "gone/x");
    refuses("export " MODEL "--what image --out photos", 2, "give another folder");
    refuses("export --checkpoint photos --what image --out x", 1, "photos");
    refuses("export " MODEL "--what text --tolerance 1e-9 --out x", 1, "text_embeds differs");
}

/* -- the other runtime ------------------------------------------------------------------------- */

/* Without it the message says what to install; a program that answers otherwise is found out. */
static void other_runtimes(void **state) {
    (void)state;
    assert_int_equal(
        run_in("PATH=/nowhere", "export " MODEL "--what image --out x --verify-with onnxruntime"),
        1);
    warns("Python, which has to be installed: python3: ");
    assert_false(there("x"));
    static const struct {
        const char *script, *says;
    } pythons[] = {{"echo missing No module named onnxruntime", "pip install onnxruntime"},
                   {"exit 3", "python3: ended with code 3"},
                   {"echo numpy is not what it was", "python3 says \"numpy is not what it was\""},
                   {"echo onnxruntime 9", "0.out.0: No such file"}};
    for (int i = 0; i < 4; i++) {
        write_program("python3", pythons[i].script);
        assert_int_equal(run_in("PATH=.:/bin", "export " MODEL "--what image --out x --verify-with "
                                               "onnxruntime"),
                         1);
        warns(pythons[i].says);
        assert_false(there("x"));
    }
    shell("rm python3");
}

/* A signal, here of the other runtime, ends it without leaving anything. */
static void stopped(void **state) {
    (void)state;
    int before = entries(".");
    write_program("python3", "kill -INT $PPID");
    assert_int_equal(run_in("PATH=.:/bin", "export " MODEL "--what image --out x --verify-with "
                                           "onnxruntime"),
                     130);
    warns("stopping after this step");
    assert_false(there("x"));
    shell("rm python3");
    assert_int_equal(entries("."), before);
}

/* -- a classifier ------------------------------------------------------------------------------ */

/* Probabilities as `classify` prints them, in the order of the labels. */
static void classified(double p[PICTURES][LABELS_N]) {
    static const char *const label[LABELS_N] = {"red circle", "blue square", "green star",
                                                "black dot"};
    succeeds("classify " MODEL LABELS "photos --json");
    char *line = strtok(printed.out, "\n");
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
    cg_context *ctx;
    cg_onnx_session *s;
    succeeds("export " MODEL LABELS "--what classifier --preprocess --out classifier");
    read_file("classifier/labels.txt", printed.out, sizeof printed.out);
    assert_string_equal(printed.out, "red circle\nblue square\ngreen star\nblack dot\n");
    classified(wanted);
    ok(cg_context_create(1, &ctx));
    ok(cg_onnx_session_create(ctx, in_folder("classifier/model.onnx"), NULL, &s));
    for (int i = 0; i < PICTURES; i++) {
        double found[LABELS_N];
        cg_image image = picture(i);
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
    write_text("data.csv", "filepath,title\nphotos/0.png,red circle\nphotos/1.png,blue square\n"
                           "photos/2.png,green star\nphotos/3.png,black dot\n");
    static const char *const whats[] = {"image", "text", "both --preprocess"};
    for (int i = 0; i < 3; i++) {
        json_t *j =
            json_of("export " MODEL "--what %s --val-data data.csv --out d%d --json", whats[i], i);
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
    prints("on data: 4 pictures among 4 candidates");
    prints("\n  top1 ");
    refuses("export " MODEL "--what classifier --labels a,b --val-data data.csv --out x", 1,
            "not one of 4 captions is a label; the first is \"red circle\"");
    refuses("export " MODEL "--what image --most-loss 1 --out x", 2, "on what? --val-data");
    refuses("export " MODEL "--what image --val-data gone.csv --out x", 1, "gone.csv");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(unreadable_pictures),
        cmocka_unit_test(what_can_be_wrong),
        cmocka_unit_test(other_runtimes),
        cmocka_unit_test(stopped),
        cmocka_unit_test(says_what_classify_says),
        cmocka_unit_test(accuracy_on_data),
    };
    return cmocka_run_group_tests(tests, prepare, remove_folder);
}
