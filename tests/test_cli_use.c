/* labels: cli */
/* `clipgraph classify`, `search`, `embed`, `inspect` and `check-grad` as a user has them: the built
 * program, in a folder of its own, with a model trained for a few steps. */
#include "data/image.h"
#include "serialize/npy.h"
#include "serialize/safetensors.h"

#include <jansson.h>
#include <math.h>
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

#define MODEL "--checkpoint logs/tiny "
enum { WIDTH = 32, PICTURES = 4 };

static char folder[64];
static char out[1 << 20], err[1 << 16]; /* what the program printed */

/* -- running ----------------------------------------------------------------------------------- */

static void read_file(const char *name, char *text, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, size - 1, f)] = '\0';
    fclose(f);
}

static void write_file(const char *name, const void *bytes, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

static void write_text(const char *name, const char *text) {
    write_file(name, text, strlen(text));
}

/* Runs the program in the folder; returns its exit code. */
static int run(const char *arguments) {
    char command[2048];
    snprintf(command, sizeof command, "cd %s && %s %s >out.log 2>err.log", folder, CG_CLI,
             arguments);
    int status = system(command);
    read_file("out.log", out, sizeof out);
    read_file("err.log", err, sizeof err);
    if (!WIFEXITED(status)) fail_msg("%s: ended by signal %d", arguments, WTERMSIG(status));
    return WEXITSTATUS(status);
}

static void succeeds(const char *arguments) {
    int code = run(arguments);
    if (code != 0) fail_msg("%s: exit code %d: %s", arguments, code, err);
}

/* The program must end with this code, say this, and print nothing else. */
static void fails(const char *arguments, int code, const char *sentence) {
    int found = run(arguments);
    if (found != code) fail_msg("%s: exit code %d, wanted %d: %s", arguments, found, code, err);
    if (!strstr(err, sentence)) fail_msg("%s: \"%s\", wanted \"%s\"", arguments, err, sentence);
    assert_string_equal(out, "");
}

static json_t *json_of(const char *arguments) {
    json_error_t e;
    succeeds(arguments);
    json_t *j = json_loads(out, 0, &e);
    if (!j) fail_msg("%s: %s in %s", arguments, e.text, out);
    return j;
}

/* -- the folder: pictures, texts, a model ------------------------------------------------------ */

static void draw(const char *name, int red, int green, int blue, int square) {
    char path[128];
    cg_image image;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(cg_image_alloc(40, 32, &image), CG_OK);
    memset(image.rgb, 255, (size_t)image.width * (size_t)image.height * 3);
    for (int y = 6; y < 26; y++)
        for (int x = 10; x < 30; x++) {
            if (!square && (x - 20) * (x - 20) + (y - 16) * (y - 16) > 100) continue;
            uint8_t *p = image.rgb + 3 * (y * image.width + x);
            p[0] = (uint8_t)red;
            p[1] = (uint8_t)green;
            p[2] = (uint8_t)blue;
        }
    assert_int_equal(cg_image_save_png(path, &image), CG_OK);
    cg_image_free(&image);
}

static void make_folder(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static int prepare(void **state) {
    (void)state;
    strcpy(folder, "/tmp/clipgraph-use-XXXXXX");
    assert_non_null(mkdtemp(folder));
    make_folder("photos");
    make_folder("empty");
    make_folder("mixed");
    draw("photos/a-red.png", 220, 30, 30, 0);
    draw("photos/b-blue.png", 30, 30, 220, 1);
    draw("photos/c-green.png", 30, 200, 30, 0);
    draw("photos/d-black.png", 0, 0, 0, 1);
    draw("mixed/whole.png", 220, 30, 30, 0);
    read_file("mixed/whole.png", out, sizeof out);
    write_file("mixed/cut.png", out, 90);
    write_file("cut.png", out, 90);
    write_text("notes.png", "this is no picture, whatever its name says\n");
    write_text("labels.txt", "\xef\xbb\xbfred circle\r\n\nblue square\n");
    write_text("none.txt", "\n\n");
    write_text("table.tsv", "filepath\ttitle\nphotos/b-blue.png\ta blue square\n"
                            "photos/missing.png\tnothing\nphotos/a-red.png\ta red circle\n");
    succeeds("train --dataset-type synthetic --train-num-samples 16 --model tiny-resnet-cbow "
             "--batch-size 8 --epochs 1 --name tiny --threads 2");
    return 0;
}

static int clean(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* -- classify ---------------------------------------------------------------------------------- */

static void classify_prints_probabilities(void **state) {
    (void)state;
    json_t *j = json_of("classify " MODEL "--labels 'red circle, blue square,green star' --top 2 "
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
    succeeds("classify " MODEL "--labels-file labels.txt photos");
    assert_true(strncmp(out, "photos/a-red.png\n", 17) == 0);
    double sum = 0, p;
    int lines = 0;
    for (char *line = out; line; line = strchr(line, '\n'), line += line != NULL)
        if (sscanf(line, "  %lf %%", &p) == 1) {
            lines++;
            sum += p;
        }
    assert_int_equal(lines, 2 * PICTURES);
    assert_float_equal(sum, 100. * PICTURES, .1 * 2 * PICTURES); /* two labels are all there are */
    assert_non_null(strstr(out, "  red circle\n"));              /* without the mark before it */
}

static void templates_are_averaged(void **state) {
    (void)state;
    double p[3];
    static const char *const templates[] = {"--template '{}'",
                                            "--template '{}' --template 'a small {} below'",
                                            "--template '{}' --template '{}'"};
    for (int i = 0; i < 3; i++) {
        char arguments[512];
        snprintf(arguments, sizeof arguments,
                 "classify " MODEL "--labels 'red circle,blue square' --json %s photos/b-blue.png",
                 templates[i]);
        json_t *j = json_of(arguments);
        json_t *best = json_array_get(json_object_get(j, "labels"), 0);
        p[i] = json_real_value(json_object_get(best, "probability"));
        json_decref(j);
    }
    assert_float_equal(p[0], p[2], 1e-5); /* the mean of one thing twice */
    assert_true(fabs(p[0] - p[1]) > 1e-5);
}

/* -- embed and search -------------------------------------------------------------------------- */

static void check_rows(const char *name, int64_t rows) {
    char path[128];
    cg_npy a;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(cg_npy_open(path, &a), CG_OK);
    assert_int_equal(a.dtype, CG_F32);
    assert_true(cg_shape_equal(&a.shape, &CG_SHAPE(rows, WIDTH)));
    for (int64_t i = 0; i < rows; i++) {
        double length = 0;
        for (int k = 0; k < WIDTH; k++) {
            double x = (double)((const float *)a.data)[i * WIDTH + k];
            length += x * x;
        }
        assert_float_equal(length, 1, 1e-5);
    }
    cg_npy_close(&a);
}

static void embed_writes_rows_and_names(void **state) {
    (void)state;
    succeeds("embed " MODEL "photos --out index");
    assert_string_equal(out, "wrote index.npy, float32 [4, 32], and index.txt, 4 lines\n");
    check_rows("index.npy", PICTURES);
    read_file("index.txt", out, sizeof out);
    assert_string_equal(out, "photos/a-red.png\nphotos/b-blue.png\nphotos/c-green.png\n"
                             "photos/d-black.png\n");

    json_t *j = json_of("embed " MODEL "--texts labels.txt --out texts.npy --json");
    assert_int_equal(json_integer_value(json_object_get(j, "rows")), 2);
    assert_string_equal(json_string_value(json_object_get(j, "npy")), "texts.npy");
    json_decref(j);
    check_rows("texts.npy", 2);
    read_file("texts.txt", out, sizeof out);
    assert_string_equal(out, "red circle\nblue square\n");

    succeeds("embed " MODEL "--table table.tsv --out table"); /* one of its pictures is missing */
    check_rows("table.npy", 2);
    assert_non_null(strstr(err, "1 of 3 pictures left out"));
    assert_non_null(strstr(err, "missing.png"));
}

static void search_ranks(void **state) {
    (void)state;
    succeeds("embed " MODEL "photos --out index");
    static const char *const where[] = {"photos", "--index index", "--index index.npy"};
    double first[3];
    for (int i = 0; i < 3; i++) {
        char arguments[256];
        snprintf(arguments, sizeof arguments,
                 "search " MODEL "%s --text 'a red circle' --top 3 --json", where[i]);
        json_t *j = json_of(arguments), *results = json_object_get(j, "results");
        assert_int_equal(json_integer_value(json_object_get(j, "searched")), PICTURES);
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

    succeeds("search " MODEL "photos --image photos/c-green.png --top 1"); /* nearest to itself */
    assert_string_equal(out, "  1   1.0000  photos/c-green.png\n");
    succeeds("search " MODEL "photos 'a red circle'"); /* the text may follow the folder */
    assert_true(strncmp(out, "  1  ", 5) == 0);
    assert_non_null(strstr(out, "\n  4  "));
}

static void unreadable_pictures_are_left_out(void **state) {
    (void)state;
    succeeds("classify " MODEL "--labels a,b mixed cut.png");
    assert_non_null(strstr(out, "mixed/whole.png\n"));
    assert_null(strstr(out, "cut.png"));
    assert_non_null(strstr(err, "2 of 3 pictures left out"));
    assert_non_null(strstr(err, "mixed/cut.png"));
}

/* -- inspect ----------------------------------------------------------------------------------- */

static int64_t number(const json_t *j, const char *group, const char *key) {
    return json_integer_value(json_object_get(json_object_get(j, group), key));
}

static void inspect_counts(void **state) {
    (void)state;
    static const char *const what[] = {"tiny-resnet-cbow", "logs/tiny",
                                       CG_SOURCE_DIR "/models/configs/tiny-resnet-cbow.json"};
    for (int i = 0; i < 3; i++) {
        char arguments[512];
        snprintf(arguments, sizeof arguments, "inspect %s --batch-size 8 --json", what[i]);
        json_t *j = json_of(arguments), *memory = json_object_get(j, "memory");
        int64_t all = number(j, "parameters", "all"), sum = 0, layer = 0;
        assert_int_equal(all, number(j, "parameters", "image") + number(j, "parameters", "text") +
                                  number(j, "parameters", "logits"));
        json_t *layers = json_object_get(j, "layers"), *one;
        size_t k;
        json_array_foreach(layers, k, one) {
            sum += json_integer_value(json_object_get(one, "parameters"));
            layer += json_integer_value(json_object_get(one, "flops"));
        }
        assert_int_equal(sum, all); /* every parameter belongs to one layer */
        assert_true(number(memory, "training_step", "flops") > 2 * layer);
        assert_true(number(memory, "training_step", "arena_bytes") >=
                    number(memory, "training_step", "arena_lower_bound"));
        assert_true(number(memory, "training_step", "total_bytes") >
                    number(memory, "embed_images", "total_bytes"));
        assert_true(number(memory, "training_step", "gradient_bytes") >= 4 * all);
        assert_int_equal(number(memory, "embed_images", "gradient_bytes"), 0);
        json_decref(j);
    }
}

static void inspect_prints(void **state) {
    (void)state;
    succeeds("inspect tiny-resnet-cbow --inference --layers --batch-size 8");
    assert_non_null(strstr(out, "\nvisual/layer4/0/conv3 "));
    assert_non_null(strstr(out, "[8, 16, 16, 4]"));
    assert_non_null(strstr(out, "\ntotal "));
    assert_non_null(strstr(out, "\nPlanned memory "));
    assert_null(strstr(out, "cross_entropy"));
    succeeds("inspect tiny-resnet-cbow --graph text --batch-size 8");
    assert_non_null(strstr(out, "input image : f32[8, 32, 32, 3]\n"));
    assert_non_null(strstr(out, " visual/layer1/0/conv1 = conv2d("));
    assert_null(strstr(out, " d(visual"));
    succeeds("inspect tiny-resnet-cbow --graph dot --collapse 2 --gradients");
    assert_true(strncmp(out, "strict digraph clipgraph {\n", 27) == 0);
    assert_non_null(strstr(out, "[label=<<b>layer4</b>"));
    assert_string_equal(out + strlen(out) - 2, "}\n");
}

/* -- check-grad -------------------------------------------------------------------------------- */

static void check_grad_agrees(void **state) {
    (void)state;
    json_t *j = json_of("check-grad tiny-resnet-cbow --json");
    assert_int_equal(json_integer_value(json_object_get(j, "failed")), 0);
    assert_int_equal(json_integer_value(json_object_get(j, "checked")),
                     json_array_size(json_object_get(j, "parameters")));
    json_decref(j);
    /* at no tolerance at all some must fail: it does compare */
    assert_int_equal(run("check-grad tiny-resnet-cbow --tolerance 1e-9"), 1);
    assert_non_null(strstr(out, "WRONG\n"));
    assert_non_null(strstr(out, " gradients agree within 1e-09 "));
}

/* -- what can be wrong ------------------------------------------------------------------------- */

static void bad_command_lines(void **state) {
    (void)state;
    fails("classify " MODEL "photos", 2, "--labels");
    fails("classify " MODEL "--labels ' , ' photos", 2, "label 1 is empty");
    fails("classify " MODEL "--labels a,b,a photos", 2, "label \"a\" is given twice");
    fails("classify " MODEL "--labels-file none.txt photos", 2, "no labels");
    fails("classify " MODEL "--labels a --labels-file labels.txt photos", 2, "either");
    fails("classify " MODEL "--labels a --template 'a photo' photos", 2, "has no {}");
    fails("classify " MODEL "--labels a", 2, "no picture");
    fails("classify --labels a photos", 2, "no model");
    fails("classify " MODEL "--labels a --top none photos", 2, "found \"none\"");
    fails("classify " MODEL "--lables a photos", 2, "did you mean --labels?");
    fails("search " MODEL "--text a", 2, "either a folder or --index");
    fails("search " MODEL "photos", 2, "either --text or --image");
    fails("search " MODEL "photos --text a --image photos/a-red.png", 2, "either");
    fails("search " MODEL "photos a b", 2, "one argument too many: \"b\"");
    fails("search " MODEL "photos --image photos", 2, "is a folder");
    fails("embed " MODEL "photos", 2, "--out");
    fails("embed " MODEL "photos --texts labels.txt --out x", 2, "one of");
    fails("embed " MODEL "--out x", 2, "one of");
    fails("inspect", 2, "which model");
    fails("inspect tiny-resnet-cbwo", 2, "did you mean \"tiny-resnet-cbow\"?");
    fails("inspect tiny-resnet-cbow --gradients", 2, "go with --graph");
    fails("inspect tiny-resnet-cbow --captions-tokens 5000", 2, "the context length is");
    fails("inspect tiny-resnet-cbow --frobnicate", 2, "unknown option --frobnicate");
    fails("check-grad", 2, "which model");
    fails("check-grad tiny-resnet-cbow --batch-size 1", 2, "found \"1\"");
}

static void bad_files(void **state) {
    (void)state;
    fails("classify " MODEL "--labels a,b gone.png", 1, "gone.png: No such file");
    fails("classify " MODEL "--labels a,b notes.png", 1, "classify: notes.png: begins with");
    fails("classify " MODEL "--labels a,b cut.png", 1, "classify: cut.png: ");
    fails("classify " MODEL "--labels a,b cut.png notes.png", 1,
          "not one of 2 pictures can be read");
    fails("classify " MODEL "--labels a,b empty", 1, "empty: no picture in it");
    fails("classify --checkpoint logs/gone --labels a,b photos", 1, "logs/gone");
    fails("classify --checkpoint photos --labels a,b photos", 1, "photos");
    fails("classify " MODEL "--labels-file gone.txt photos", 1, "gone.txt");
    fails("classify " MODEL "--labels-file photos/a-red.png photos", 1, "no text file");
    fails("search " MODEL "empty --text a", 1, "empty: no picture in it");
    fails("search " MODEL "photos --image cut.png", 1, "cut.png");
    fails("embed " MODEL "photos --out gone/index", 1, "gone/index.npy");
    fails("embed " MODEL "--texts none.txt --out x", 1, "none.txt: has no text");
    fails("embed " MODEL "--table gone.tsv --out x", 1, "gone.tsv");
    fails("inspect gone.json", 1, "gone.json");
    fails("inspect photos", 1, "photos");
    fails("inspect labels.json", 1, "labels.json");
}

static void save_index(const char *name, cg_dtype dtype, cg_shape shape, const void *data) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(cg_npy_save(path, dtype, &shape, data), CG_OK);
}

static void bad_indices(void **state) {
    (void)state;
    float rows[4 * WIDTH];
    int32_t whole[4 * WIDTH] = {0};
    for (int i = 0; i < 4 * WIDTH; i++) rows[i] = 1;
    write_text("i.txt", "one\ntwo\n");
    fails("search " MODEL "--index gone --text a", 1, "gone.npy");
    save_index("i.npy", CG_F32, CG_SHAPE(2, WIDTH + 1), rows);
    fails("search " MODEL "--index i --text a", 1, "made with another model");
    save_index("i.npy", CG_F32, CG_SHAPE(3, WIDTH), rows);
    fails("search " MODEL "--index i --text a", 1, "i.npy has 3 rows, but i.txt has 2 lines");
    save_index("i.npy", CG_I32, CG_SHAPE(2, WIDTH), whole);
    fails("search " MODEL "--index i --text a", 1, "wanted float32 [rows, width]");
    save_index("i.npy", CG_F32, CG_SHAPE(2 * WIDTH), rows);
    fails("search " MODEL "--index i --text a", 1, "wanted float32 [rows, width]");
    rows[WIDTH + 3] = NAN;
    save_index("i.npy", CG_F32, CG_SHAPE(2, WIDTH), rows);
    fails("search " MODEL "--index i --text a", 1, "row 1 has a value that is not finite");
    write_text("i.npy", "not an array");
    fails("search " MODEL "--index i --text a", 1, "i.npy");
    rows[WIDTH + 3] = 1;
    save_index("i.npy", CG_F32, CG_SHAPE(2, WIDTH), rows);
    succeeds("search " MODEL "--index i --text a"); /* rows need not be of unit length */
    write_text("i.txt", "");
    save_index("i.npy", CG_F32, CG_SHAPE(0, WIDTH), rows);
    fails("search " MODEL "--index i --text a", 1, "has no rows");
}

/* Copies the model to `broken`, with NaN as the first number of a parameter. */
static void break_weight(const char *name) {
    char command[512], path[256];
    cg_safetensors *s;
    snprintf(command, sizeof command,
             "cd %s && rm -rf broken && "
             "cp -r \"$(ls -d logs/tiny/checkpoints/step-* | tail -n 1)\" broken",
             folder);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%s/broken/open_clip_model.safetensors", folder);
    assert_int_equal(cg_safetensors_open(path, &s), CG_OK);
    cg_tensor t[512];
    int n = cg_safetensors_count(s);
    float numbers[1 << 16];
    memcpy(t, cg_safetensors_tensors(s), (size_t)n * sizeof *t);
    for (int i = 0; i < n; i++) {
        if (strcmp(t[i].name, name) != 0) continue;
        assert_true(t[i].bytes <= sizeof numbers);
        memcpy(numbers, t[i].data, t[i].bytes);
        numbers[0] = NAN;
        t[i].data = numbers;
    }
    assert_int_equal(cg_safetensors_save(path, t, n, NULL, 0), CG_OK);
    cg_safetensors_close(s);
}

/* Weights that are not finite would rank everything alike. */
static void weights_that_are_not_finite(void **state) {
    (void)state;
    break_weight("logit_scale");
    fails("classify --checkpoint broken --labels red,blue photos", 1,
          "broken: logit_scale is nan, not a finite number");
    break_weight("visual.conv1.weight");
    static const char sentence[] = "the embeddings of the pictures are not finite: "
                                   "visual.conv1.weight, element 0 is nan, not a finite number";
    fails("classify --checkpoint broken --labels red,blue photos", 1, sentence);
    fails("search --checkpoint broken --text red photos", 1, sentence);
    fails("eval --checkpoint broken --dataset-type synthetic", 1, sentence);
    write_text("nan.txt", "red\n");
    succeeds("embed --checkpoint broken --texts nan.txt --out nan"); /* no text reads it */
    break_weight("text_projection");
    fails("search --checkpoint broken --text red photos", 1,
          "the embeddings of the texts are not finite: text_projection, element 0 is nan");
    succeeds("embed --checkpoint broken photos --out nan");
}

/* Pictures need no tokenizer; a file cut short is refused before anything is read from it. */
static void broken_checkpoints(void **state) {
    (void)state;
    char command[512];
    break_weight("");
    write_text("broken/tokenizer.json", "{");
    succeeds("embed --checkpoint broken photos --out b");
    succeeds("search --checkpoint broken --image photos/a-red.png photos");
    fails("search --checkpoint broken --text red photos", 1, "tokenizer.json: line 1");
    snprintf(command, sizeof command, "truncate -s -8 %s/broken/open_clip_model.safetensors",
             folder);
    assert_int_equal(system(command), 0);
    fails("embed --checkpoint broken photos --out b", 1, "but the file has");
}

/* A pipe without a writer must not be waited for. */
static void a_pipe_is_no_picture(void **state) {
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/pipe.png", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(run("classify " MODEL "--labels red,blue pipe.png"), 1);
    assert_non_null(strstr(err, "pipe.png"));
    assert_int_equal(unlink(path), 0);
}

/* What could not be printed is a failure, not a success. */
static void results_that_cannot_be_written(void **state) {
    (void)state;
    char command[512];
    snprintf(command, sizeof command,
             "cd %s && %s search " MODEL "--text red photos >/dev/full 2>err.log", folder, CG_CLI);
    int status = system(command);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    read_file("err.log", err, sizeof err);
    assert_non_null(strstr(err, "the output could not be written"));
}

static void help_is_there(void **state) {
    (void)state;
    static const char *const commands[] = {"classify", "search", "embed", "inspect", "check-grad"};
    for (int i = 0; i < 5; i++) {
        char arguments[64];
        snprintf(arguments, sizeof arguments, "%s --help", commands[i]);
        succeeds(arguments);
        snprintf(arguments, sizeof arguments, "Usage: clipgraph %s ", commands[i]);
        assert_non_null(strstr(out, arguments));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classify_prints_probabilities),
        cmocka_unit_test(templates_are_averaged),
        cmocka_unit_test(embed_writes_rows_and_names),
        cmocka_unit_test(search_ranks),
        cmocka_unit_test(unreadable_pictures_are_left_out),
        cmocka_unit_test(inspect_counts),
        cmocka_unit_test(inspect_prints),
        cmocka_unit_test(check_grad_agrees),
        cmocka_unit_test(bad_command_lines),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(bad_indices),
        cmocka_unit_test(weights_that_are_not_finite),
        cmocka_unit_test(broken_checkpoints),
        cmocka_unit_test(a_pipe_is_no_picture),
        cmocka_unit_test(results_that_cannot_be_written),
        cmocka_unit_test(help_is_there),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
