/* labels: cli */
/* Labelled data from the command line: `clipgraph train`, `eval` and `classify` with folders by
 * class, IDX files, class names and templates. */
#include "data/image.h"

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

#define MODEL "--checkpoint logs/bars "
enum { EACH = 12 }; /* pictures of a class */

static char folder[64];
static char out[1 << 16], err[1 << 16]; /* what the program printed */

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

static void fails(const char *arguments, int code, const char *sentence) {
    int found = run(arguments);
    if (found != code) fail_msg("%s: exit code %d, wanted %d: %s", arguments, found, code, err);
    if (!strstr(err, sentence)) fail_msg("%s: \"%s\", wanted \"%s\"", arguments, err, sentence);
}

static void prints(const char *sentence) {
    if (!strstr(out, sentence)) fail_msg("wanted \"%s\" in %s", sentence, out);
}

/* The first set of what eval prints with --json. */
static json_t *set_of(const char *arguments) {
    json_error_t e;
    succeeds(arguments);
    json_t *j = json_loads(out, 0, &e);
    if (!j) fail_msg("%s: %s in %s", arguments, e.text, out);
    json_t *set = json_incref(json_array_get(json_object_get(j, "sets"), 0));
    json_decref(j);
    assert_non_null(set);
    return set;
}

static double number(const json_t *set, const char *object, const char *key) {
    const json_t *j = json_object_get(json_object_get(set, object), key);
    if (!json_is_number(j)) fail_msg("no %s.%s in %s", object, key, out);
    return json_number_value(j);
}

/* -- the folder: dark pictures with a bright half, and a model that has learned which -----------
 */

static uint8_t grey(int class, int i, int x, int y) {
    int bright = class == 0 ? y < 8 : class == 1 ? y >= 8 : x < 8;
    return (uint8_t)((bright ? 200 : 20) + (i * 7 + x + y) % 40);
}

static void make_pictures(void) {
    static const char *const folders[] = {"bars", "bars/upper_half", "bars/Lower half",
                                          "bars/left_half"};
    char path[160];
    for (int k = 0; k < 4; k++) {
        snprintf(path, sizeof path, "%s/%s", folder, folders[k]);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    for (int i = 0; i < 3 * EACH; i++) {
        cg_image image;
        assert_int_equal(cg_image_alloc(16, 16, &image), CG_OK);
        for (int k = 0; k < 256; k++) memset(image.rgb + 3 * k, grey(i % 3, i, k % 16, k / 16), 3);
        snprintf(path, sizeof path, "%s/%s/%d.png", folder, folders[1 + i % 3], i);
        assert_int_equal(cg_image_save_png(path, &image), CG_OK);
        cg_image_free(&image);
    }
}

/* The same pictures as IDX files; labels 0, 1, 2 are upper, lower, left. */
static void make_idx(void) {
    enum { N = 3 * EACH };
    static uint8_t images[16 + N * 256] = {0, 0, 8, 3, 0, 0, 0, N, 0, 0, 0, 16, 0, 0, 0, 16};
    static uint8_t labels[8 + N] = {0, 0, 8, 1, 0, 0, 0, N};
    for (int i = 0; i < N; i++) {
        labels[8 + i] = (uint8_t)(i % 3);
        for (int k = 0; k < 256; k++) images[16 + 256 * i + k] = grey(i % 3, i, k % 16, k / 16);
    }
    write_file("b-images-idx3-ubyte", images, sizeof images);
    write_file("b-labels-idx1-ubyte", labels, sizeof labels);
}

static int prepare(void **state) {
    (void)state;
    strcpy(folder, "/tmp/clipgraph-eval-XXXXXX");
    assert_non_null(mkdtemp(folder));
    make_pictures();
    make_idx();
    write_text("templates.txt", "a photo of the {}\n\nthe {} is bright\n");
    write_text("classes.txt", "upper half\nlower half\nleft half\n");
    write_text("table.tsv", "filepath\ttitle\nbars/upper_half/0.png\tUpper half\n"
                            "bars/Lower half/1.png\tlower half\n"
                            "bars/left_half/2.png\tsomething else\n");
    succeeds("train --train-data bars --val-data bars --templates templates.txt --model "
             "tiny-resnet-cbow --batch-size 18 --epochs 40 --lr 3e-3 --warmup 8 --val-frequency 0 "
             "--name bars --threads 2");
    prints("36 pairs with 3 distinct captions in 2 templates (bars)");
    prints("--val-data bars --templates=templates.txt\n");
    return 0;
}

static int clean(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* -- eval -------------------------------------------------------------------------------------- */

static void folder_by_class(void **state) {
    (void)state;
    json_t *set = set_of("eval " MODEL "--val-data bars --templates templates.txt --json");
    assert_float_equal(number(set, "zero_shot", "top1"), 1, 1e-9);
    assert_float_equal(number(set, "zero_shot", "per_class"), 1, 1e-9);
    assert_float_equal(number(set, "zero_shot", "chance"), 1. / 3, 1e-9);
    assert_int_equal((int)number(set, "zero_shot", "images"), 3 * EACH);
    assert_int_equal((int)number(set, "zero_shot", "classes"), 3);
    assert_int_equal((int)number(set, "zero_shot", "templates"), 2);
    assert_true(json_is_null(json_object_get(json_object_get(set, "zero_shot"), "top5")));
    assert_float_equal(number(set, "image_to_text", "R@1"), 1, 1e-9); /* the same sentences */
    json_decref(set);
    succeeds("eval " MODEL
             "--val-data bars/ --val-data t=table.tsv --template 'a photo of the {}'");
    prints("zero-shot        top-1    100.0        -");
    prints("  per class      top-1    100.0        -");
    prints("  chance         top-1     33.3        -");
    prints("classes                       3        -");
}

/* Classes turned round: every picture then has another's name, and none is right. */
static void class_files(void **state) {
    (void)state;
    write_text("turned.txt",
               "upper_half\tlower half\nLower half\tleft half\nleft_half\tupper half\n"
               "other\tright half\n");
    json_t *set = set_of("eval " MODEL "--val-data bars --classes turned.txt --template "
                         "'a photo of the {}' --json");
    assert_float_equal(number(set, "zero_shot", "top1"), 0, 1e-9);
    assert_int_equal((int)number(set, "zero_shot", "classes"), 4);
    assert_int_equal((int)number(set, "zero_shot", "classes_shown"), 3);
    json_decref(set);
    succeeds("eval " MODEL "--val-data bars --classes classes.txt --template 'the {} is bright'");
    prints("zero-shot        top-1    100.0");
    write_text("fewer.txt", "upper half\nlower half\n");
    fails("eval " MODEL "--val-data bars --classes fewer.txt", 1,
          "folder \"left_half\" is not among the 2 classes");
    fails("eval " MODEL "--val-data bars --classes none.txt", 1, "none.txt");
}

static void idx_files(void **state) {
    (void)state;
    json_t *set = set_of("eval " MODEL "--val-data b-images-idx3-ubyte --classes classes.txt "
                         "--templates templates.txt --json");
    assert_float_equal(number(set, "zero_shot", "top1"), 1, 1e-9);
    json_decref(set);
    fails("eval " MODEL "--val-data b-labels-idx1-ubyte", 1, "a name with \"images\" in it");
    fails("eval " MODEL "--dataset-type idx --val-data table.tsv", 1, "with \"images\" in it");
    fails("eval " MODEL "--dataset-type csv --val-data bars", 1, "bars");
    fails("eval " MODEL "--dataset-type tar --val-data bars", 2,
          "found \"tar\", wanted auto|csv|folder|idx|synthetic");
    fails("eval " MODEL "--dataset-type synthetic --classes classes.txt", 2,
          "drawn scenes have no classes");
}

static void labelled_tables(void **state) {
    (void)state;
    json_t *set = set_of("eval " MODEL "--val-data table.tsv --classes classes.txt "
                         "--templates templates.txt --json");
    assert_float_equal(number(set, "zero_shot", "top1"), 1, 1e-9);
    assert_int_equal((int)number(set, "zero_shot", "images"), 2);
    assert_int_equal((int)number(set, "zero_shot", "no_class"), 1);
    assert_int_equal((int)number(set, "zero_shot", "classes"), 3);
    assert_non_null(strstr(err, "leaves out 1 of 3 pictures, whose caption is no class; the first "
                                "is \"something else\""));
    json_decref(set);
    write_text("others.txt", "cat\ndog\n");
    fails("eval " MODEL "--val-data table.tsv --classes others.txt", 1,
          "table.tsv: not one of 3 captions is a class; the first is \"upper half\"");
    set = set_of("eval " MODEL "--val-data table.tsv --json");
    assert_null(json_object_get(set, "zero_shot"));
    json_decref(set);
}

/* Runs a shell command in the folder. */
static void shell(const char *text) {
    char command[512];
    snprintf(command, sizeof command, "cd %s && %s", folder, text);
    assert_int_equal(system(command), 0);
}

/* A folder that cannot be read (here: one too deep; root may read all others) ends no search. */
static void unreadable_folders(void **state) {
    (void)state;
    shell("mkdir -p mixed/one mixed/two && cp bars/left_half/2.png mixed/one");
    shell("d=mixed/two; for i in $(seq 70); do d=$d/d; done; mkdir -p $d");
    succeeds("classify " MODEL "--labels 'upper half,left half' mixed");
    prints("mixed/one/2.png\n");
    assert_non_null(strstr(err, "warning: 1 path could not be read:\n  mixed/two/d"));
    write_text("one.txt", "one\n");
    succeeds("eval " MODEL "--val-data mixed --classes one.txt");
    assert_non_null(strstr(err, "more than 64 folders deep"));
}

/* What is wrong with the last data is said before any is measured; what is cut, afterwards. */
static void several_sets(void **state) {
    (void)state;
    fails("eval " MODEL "--val-data bars --val-data none.tsv", 1, "eval: none.tsv: No such file");
    fails("eval " MODEL "--val-data bars/upper_half", 1, "wanted a folder for each class");
    shell(
        "{ cat table.tsv; printf 'bars/upper_half/3.png\\t'; yes very | head -99 | tr '\\n' ' '; } "
        ">long.tsv");
    json_t *set = set_of("eval " MODEL "--val-data long.tsv --templates templates.txt --json");
    assert_int_equal(json_integer_value(json_object_get(set, "truncated")), 2);
    assert_non_null(strstr(err, "2 captions cut to the model's context length"));
    json_decref(set);
}

/* -- templates --------------------------------------------------------------------------------- */

static void template_files(void **state) {
    (void)state;
    static char one[sizeof out];
    write_text("one.txt", "a photo of the {}\n");
    succeeds("classify " MODEL "--labels 'upper half,lower half' --templates one.txt --json "
             "bars/upper_half/0.png");
    strcpy(one, out);
    prints("{\"label\":\"upper half\"");
    succeeds("classify " MODEL "--labels 'upper half,lower half' --template 'a photo of the {}' "
             "--json bars/upper_half/0.png");
    assert_string_equal(out, one);
    write_text("labels.txt", "n1\tupper half\nlower half\n"); /* as a file of classes may be */
    succeeds("classify " MODEL "--labels-file labels.txt --templates one.txt --json "
             "bars/upper_half/0.png");
    assert_string_equal(out, one);
    write_text("bad.txt", "a photo of the {}\r\n\na photo\n");
    write_text("empty.txt", "\n\n");
    fails("classify " MODEL "--labels a,b --templates bad.txt bars", 1,
          "bad.txt: line 3: \"a photo\" has no {}");
    fails("eval " MODEL "--val-data bars --templates empty.txt", 1, "empty.txt: no template in it");
    fails("eval " MODEL "--val-data bars --template x", 2, "\"x\" has no {} for the label");
    fails("train --train-data bars --model tiny-resnet-cbow --templates bad.txt", 1,
          "bad.txt: line 3: \"a photo\" has no {}");
    fails("train --dataset-type synthetic --model tiny-resnet-cbow --templates one.txt", 2,
          "drawn scenes have sentences");
}

/* The same bits with any number of workers, and from a run that was resumed. */
static void templates_are_drawn_alike(void **state) {
    (void)state;
#define SMALL                                                                                      \
    "train --train-data b-images-idx3-ubyte --classes classes.txt --templates templates.txt "      \
    "--model tiny-resnet-cbow --batch-size 12 --lr 1e-3 --warmup 2 --keep 0 --epochs 2 "
#define LAST "/checkpoints/step-6/open_clip_model.safetensors"
    succeeds(SMALL "--name one --workers 1");
    succeeds(SMALL "--name two --workers 3");
    shell("cmp logs/one" LAST " logs/two" LAST);
    shell("rm -r logs/two/checkpoints/step-6");
    succeeds("train --resume logs/two --workers 2");
    shell("cmp logs/one" LAST " logs/two" LAST);
    shell("grep -q photo logs/one/checkpoints/step-6/tokenizer.json");
}

/* Other captions or templates, though as many, make another run; so do options of the model. */
static void resumed_with_other_data(void **state) {
    (void)state;
#define RESUME "train --resume logs/changed --epochs 3 "
    static const char other[] = "resuming: the captions, or the templates, are not those that";
    write_text("drawn.txt", "a drawing of the {}\nthe {} is bright\n");
    succeeds(SMALL "--name changed");
    fails(RESUME "--templates drawn.txt", 2, other);
    fails(RESUME "--train-data bars", 2, other);
    shell("sed 's/left half/right half/' classes.txt >right.txt");
    fails(RESUME "--classes right.txt", 2, other);
    fails(RESUME "--siglip", 2, "tiny-resnet-cbow, as described by the options, is not the model");
    fails(RESUME "--force-quick-gelu", 2, "is not the model of the checkpoint");
    fails(RESUME "--vocab-size 600", 2, "keeps its tokenizer");
    shell("cp templates.txt copy.txt && cp classes.txt names.txt");
    succeeds(RESUME "--templates copy.txt --classes names.txt");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folder_by_class),
        cmocka_unit_test(class_files),
        cmocka_unit_test(idx_files),
        cmocka_unit_test(labelled_tables),
        cmocka_unit_test(unreadable_folders),
        cmocka_unit_test(several_sets),
        cmocka_unit_test(template_files),
        cmocka_unit_test(templates_are_drawn_alike),
        cmocka_unit_test(resumed_with_other_data),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
