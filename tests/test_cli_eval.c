/* labels: cli */
/* Labelled data from the command line: `clipgraph train`, `eval` and `classify` with folders by
 * class, IDX files, class names and templates. */
#include "tests/support/cli_pictures.h"

#include <stdio.h>
#include <string.h>

#define MODEL "--checkpoint logs/bars "
enum { EACH = 12 }; /* pictures of a class */

/* The first set of what eval prints with --json. */
static json_t *set_of(const char *arguments) {
    json_t *j = json_of("%s", arguments);
    json_t *set = json_incref(json_array_get(json_object_get(j, "sets"), 0));
    json_decref(j);
    assert_non_null(set);
    return set;
}

static double number(const json_t *set, const char *object, const char *key) {
    const json_t *j = json_object_get(json_object_get(set, object), key);
    if (!json_is_number(j)) fail_msg("no %s.%s in %s", object, key, printed.out);
    return json_number_value(j);
}

/* -- the folder: dark pictures with a bright half, and a model that has learned which ---------- */

static uint8_t grey(int class, int i, int x, int y) {
    int bright = class == 0 ? y < 8 : class == 1 ? y >= 8 : x < 8;
    return (uint8_t)((bright ? 200 : 20) + (i * 7 + x + y) % 40);
}

static void make_pictures(void) {
    static const char *const folders[] = {"upper_half", "Lower half", "left_half"};
    shell("mkdir -p bars/upper_half 'bars/Lower half' bars/left_half");
    for (int i = 0; i < 3 * EACH; i++) {
        char name[64];
        cg_image image;
        assert_int_equal(cg_image_alloc(16, 16, &image), CG_OK);
        for (int k = 0; k < 256; k++) memset(image.rgb + 3 * k, grey(i % 3, i, k % 16, k / 16), 3);
        snprintf(name, sizeof name, "bars/%s/%d.png", folders[i % 3], i);
        save_picture(name, &image);
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
    if (make_folder(state) != 0) return -1;
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
    warns("leaves out 1 of 3 pictures, whose caption is no class; the first "
          "is \"something else\"");
    json_decref(set);
    write_text("others.txt", "cat\ndog\n");
    fails("eval " MODEL "--val-data table.tsv --classes others.txt", 1,
          "table.tsv: not one of 3 captions is a class; the first is \"upper half\"");
    set = set_of("eval " MODEL "--val-data table.tsv --json");
    assert_null(json_object_get(set, "zero_shot"));
    json_decref(set);
}

/* A folder that cannot be read (here: one too deep; root may read all others) ends no search. */
static void unreadable_folders(void **state) {
    (void)state;
    shell("mkdir -p mixed/one mixed/two && cp bars/left_half/2.png mixed/one");
    shell("d=mixed/two; for i in $(seq 70); do d=$d/d; done; mkdir -p $d");
    succeeds("classify " MODEL "--labels 'upper half,left half' mixed");
    prints("mixed/one/2.png\n");
    warns("warning: 1 path could not be read:\n  mixed/two/d");
    write_text("one.txt", "one\n");
    succeeds("eval " MODEL "--val-data mixed --classes one.txt");
    warns("more than 64 folders deep");
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
    warns("2 captions cut to the model's context length");
    json_decref(set);
}

/* -- templates --------------------------------------------------------------------------------- */

static void template_files(void **state) {
    (void)state;
    static char one[sizeof printed.out];
    write_text("one.txt", "a photo of the {}\n");
    succeeds("classify " MODEL "--labels 'upper half,lower half' --templates one.txt --json "
             "bars/upper_half/0.png");
    strcpy(one, printed.out);
    prints("{\"label\":\"upper half\"");
    succeeds("classify " MODEL "--labels 'upper half,lower half' --template 'a photo of the {}' "
             "--json bars/upper_half/0.png");
    assert_string_equal(printed.out, one);
    write_text("labels.txt", "n1\tupper half\nlower half\n"); /* as a file of classes may be */
    succeeds("classify " MODEL "--labels-file labels.txt --templates one.txt --json "
             "bars/upper_half/0.png");
    assert_string_equal(printed.out, one);
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

#define RESUME "train --resume logs/changed --epochs 3 "

/* Refused, once the checkpoint has been read. */
static void refuses(const char *options, const char *sentence) {
    assert_int_equal(run(RESUME "%s", options), 2);
    warns(sentence);
}

/* Other captions or templates, though as many, make another run; so do options of the model. */
static void resumed_with_other_data(void **state) {
    (void)state;
    static const char other[] = "resuming: the captions, or the templates, are not those that";
    write_text("drawn.txt", "a drawing of the {}\nthe {} is bright\n");
    succeeds(SMALL "--name changed");
    refuses("--templates drawn.txt", other);
    refuses("--train-data bars", other);
    shell("sed 's/left half/right half/' classes.txt >right.txt");
    refuses("--classes right.txt", other);
    refuses("--siglip", "tiny-resnet-cbow, as described by the options, is not the model");
    refuses("--force-quick-gelu", "is not the model of the checkpoint");
    refuses("--vocab-size 600", "keeps its tokenizer");
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
    return cmocka_run_group_tests(tests, prepare, remove_folder);
}
