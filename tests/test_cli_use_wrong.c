/* labels: cli */
/* What `clipgraph classify`, `search` and `embed` refuse: command lines, files, indices, models. */
#include "serialize/safetensors.h"
#include "tests/support/cli_pictures.h"

#include <math.h>
#include <string.h>

static void bad_command_lines(void **state) {
    (void)state;
    fails("classify " TINY_RUN "photos", 2, "--labels");
    fails("classify " TINY_RUN "--labels ' , ' photos", 2, "label 1 is empty");
    fails("classify " TINY_RUN "--labels a,b,a photos", 2, "label \"a\" is given twice");
    fails("classify " TINY_RUN "--labels-file none.txt photos", 1, "none.txt: no labels");
    fails("classify " TINY_RUN "--labels a --labels-file labels.txt photos", 2, "either");
    fails("classify " TINY_RUN "--labels a --template 'a photo' photos", 2, "has no {}");
    fails("classify " TINY_RUN "--labels a", 2, "no picture");
    fails("classify --labels a photos", 2, "no model");
    fails("classify " TINY_RUN "--labels a --top none photos", 2, "found \"none\"");
    fails("classify " TINY_RUN "--lables a photos", 2, "did you mean --labels?");
    fails("search " TINY_RUN "--text a", 2, "either a folder or --index");
    fails("search " TINY_RUN "photos", 2, "either --text or --image");
    fails("search " TINY_RUN "photos --text a --image photos/a-red.png", 2, "either");
    fails("search " TINY_RUN "photos a b", 2, "one argument too many: \"b\"");
    fails("search " TINY_RUN "photos --image photos", 2, "is a folder");
    fails("embed " TINY_RUN "photos", 2, "--out");
    fails("embed " TINY_RUN "photos --texts labels.txt --out x", 2, "one of");
    fails("embed " TINY_RUN "--out x", 2, "one of");
}

static void bad_files(void **state) {
    (void)state;
    fails("classify " TINY_RUN "--labels a,b gone.png", 1, "gone.png: No such file");
    fails("classify " TINY_RUN "--labels a,b notes.png", 1, "classify: notes.png: begins with");
    fails("classify " TINY_RUN "--labels a,b cut.png", 1, "classify: cut.png: ");
    fails("classify " TINY_RUN "--labels a,b cut.png notes.png", 1,
          "not one of 2 pictures can be read");
    fails("classify " TINY_RUN "--labels a,b empty", 1, "empty: no picture in it");
    fails("classify --checkpoint logs/gone --labels a,b photos", 1, "logs/gone");
    fails("classify --checkpoint photos --labels a,b photos", 1, "photos");
    fails("classify " TINY_RUN "--labels-file gone.txt photos", 1, "gone.txt");
    fails("classify " TINY_RUN "--labels-file photos/a-red.png photos", 1, "no text file");
    fails("search " TINY_RUN "empty --text a", 1, "empty: no picture in it");
    fails("search " TINY_RUN "photos --image cut.png", 1, "cut.png");
    fails("embed " TINY_RUN "photos --out gone/index", 1, "gone/index.npy");
    fails("embed " TINY_RUN "--texts none.txt --out x", 1, "none.txt: has no text");
    fails("embed " TINY_RUN "--table gone.tsv --out x", 1, "gone.tsv");
}

static void bad_indices(void **state) {
    (void)state;
    float rows[4 * TINY_WIDTH];
    int32_t whole[4 * TINY_WIDTH] = {0};
    for (int i = 0; i < 4 * TINY_WIDTH; i++) rows[i] = 1;
    write_text("i.txt", "one\ntwo\n");
    fails("search " TINY_RUN "--index gone --text a", 1, "gone.npy");
    write_array("i.npy", CG_F32, CG_SHAPE(2, TINY_WIDTH + 1), rows);
    fails("search " TINY_RUN "--index i --text a", 1, "made with another model");
    write_array("i.npy", CG_F32, CG_SHAPE(3, TINY_WIDTH), rows);
    fails("search " TINY_RUN "--index i --text a", 1, "i.npy has 3 rows, but i.txt has 2 lines");
    write_array("i.npy", CG_I32, CG_SHAPE(2, TINY_WIDTH), whole);
    fails("search " TINY_RUN "--index i --text a", 1, "wanted float32 [rows, width]");
    write_array("i.npy", CG_F32, CG_SHAPE(2 * TINY_WIDTH), rows);
    fails("search " TINY_RUN "--index i --text a", 1, "wanted float32 [rows, width]");
    rows[TINY_WIDTH + 3] = NAN;
    write_array("i.npy", CG_F32, CG_SHAPE(2, TINY_WIDTH), rows);
    fails("search " TINY_RUN "--index i --text a", 1, "row 1 has a value that is not finite");
    write_text("i.npy", "not an array");
    fails("search " TINY_RUN "--index i --text a", 1, "i.npy");
    rows[TINY_WIDTH + 3] = 1;
    write_array("i.npy", CG_F32, CG_SHAPE(2, TINY_WIDTH), rows);
    succeeds("search " TINY_RUN "--index i --text a"); /* rows need not be of unit length */
    write_text("i.txt", "");
    write_array("i.npy", CG_F32, CG_SHAPE(0, TINY_WIDTH), rows);
    fails("search " TINY_RUN "--index i --text a", 1, "has no rows");
}

/* Copies the model to `broken`, with NaN as the first number of a parameter. */
static void break_weight(const char *name) {
    static const char file[] = "broken/open_clip_model.safetensors";
    cg_safetensors *s;
    shell("rm -rf broken && cp -r \"$(ls -d logs/tiny/checkpoints/step-* | tail -n 1)\" broken");
    assert_int_equal(cg_safetensors_open(in_folder(file), &s), CG_OK);
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
    assert_int_equal(cg_safetensors_save(in_folder(file), t, n, NULL, 0), CG_OK);
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
    break_weight("");
    write_text("broken/tokenizer.json", "{");
    succeeds("embed --checkpoint broken photos --out b");
    succeeds("search --checkpoint broken --image photos/a-red.png photos");
    fails("search --checkpoint broken --text red photos", 1, "tokenizer.json: line 1");
    shell("truncate -s -8 broken/open_clip_model.safetensors");
    fails("embed --checkpoint broken photos --out b", 1, "but the file has");
}

/* A pipe without a writer must not be waited for. */
static void a_pipe_is_no_picture(void **state) {
    (void)state;
    shell("mkfifo pipe.png");
    assert_int_equal(run("classify " TINY_RUN "--labels red,blue pipe.png"), 1);
    warns("pipe.png");
    shell("rm pipe.png");
}

/* What could not be printed is a failure, not a success. */
static void results_that_cannot_be_written(void **state) {
    (void)state;
    shell("%s search " TINY_RUN "--text red photos >/dev/full 2>err.log; test $? = 1", CG_CLI);
    read_file("err.log", printed.err, sizeof printed.err);
    warns("the output could not be written");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_command_lines),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(bad_indices),
        cmocka_unit_test(weights_that_are_not_finite),
        cmocka_unit_test(broken_checkpoints),
        cmocka_unit_test(a_pipe_is_no_picture),
        cmocka_unit_test(results_that_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, make_folder_with_model, remove_folder);
}
