/* labels: cli */
/* `clipgraph run` as a user has it: the built program, in a folder of its own, with small ONNX
 * files. */
#include "serialize/npy.h"
#include "serialize/safetensors.h"
#include "tests/support/cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODELS CG_SOURCE_DIR "/tests/golden/onnx/"
#define IMAGE  "run " MODELS "openai-vit-17.onnx "
#define MASKED "run " MODELS "hf-masked-17.onnx "

/* Saves an input of three rows as NAME.npy; returns what PyTorch made of it. */
static cg_safetensors *prepare(const char *model, const char *name) {
    char path[512], key[64], file[64];
    cg_safetensors *f;
    snprintf(path, sizeof path, MODELS "%s.safetensors", model);
    assert_int_equal(cg_safetensors_open(path, &f), CG_OK);
    snprintf(key, sizeof key, "3/%s", name);
    const cg_tensor *t = cg_safetensors_find(f, key);
    assert_non_null(t);
    snprintf(file, sizeof file, "%s.npy", name);
    void *copy = malloc(t->bytes); /* aligned */
    assert_non_null(copy);
    memcpy(copy, t->data, t->bytes);
    write_array(file, t->dtype, t->shape, copy);
    free(copy);
    return f;
}

static void compare(const char *file, const cg_safetensors *f, const char *key, double allowed) {
    cg_npy y;
    assert_int_equal(cg_npy_open(in_folder(file), &y), CG_OK);
    const cg_tensor *t = cg_safetensors_find(f, key);
    assert_true(cg_shape_equal(&t->shape, &y.shape));
    for (size_t i = 0; i < t->bytes / sizeof(float); i++) {
        float wanted;
        memcpy(&wanted, (const char *)t->data + i * sizeof wanted, sizeof wanted);
        assert_true(fabs((double)((const float *)y.data)[i] - (double)wanted) <= allowed);
    }
    cg_npy_close(&y);
}

static void test_description(void **state) {
    (void)state;
    succeeds("run " MODELS "hf-both-18.onnx");
    prints("opset 18");
    prints("made by pytorch");
    prints("  input_ids        i64 [batch, 12]\n");
    prints("  pixel_values     f32 [batch, 3, 16, 16]\n");
    prints("outputs\n  logits_per_image f32 [");
    prints("  LayerNormalization 11\n");
}

static void test_arrays(void **state) {
    (void)state;
    cg_safetensors *f = prepare("openai-vit-17", "pixel_values");
    succeeds(IMAGE "--input pixel_values=pixel_values.npy --output embeds=rows.npy --threads 2");
    prints("wrote rows.npy, float32 [3, 12]\n");
    compare("rows.npy", f, "3/embeds", 1e-5);
    succeeds(IMAGE "--input pixel_values=pixel_values.npy --output all --repeat 3 --passes -rows");
    prints("wrote all/embeds.npy");
    prints("loaded in ");
    prints(" ms, first run ");
    prints("3 runs: median ");
    compare("all/embeds.npy", f, "3/embeds", 1e-5);
    succeeds(IMAGE "--input pixel_values=pixel_values.npy");
    prints("embeds f32 [3, 12] ");
    cg_safetensors_close(f);
}

static void test_graph(void **state) {
    (void)state;
    succeeds(IMAGE "--random pixel_values=2,3,16,16 --graph --passes none");
    prints("embeds f32 [2, 12]");
    prints("= attention_qkv(");
    succeeds(IMAGE "--random --literal --graph --passes none");
    prints("embeds f32 [1, 12]");
    prints("= softmax(");
    prints_no("attention_qkv(");
    succeeds(IMAGE "--random --repeat 2 --profile=trace.json");
    prints("attention");
    read_file("trace.json", printed.out, sizeof printed.out);
    assert_true(printed.out[0] == '{' || printed.out[0] == '[');
}

static void test_usage(void **state) {
    (void)state;
    succeeds("run --help");
    prints("--input=NAME=FILE.npy");
    fails("run", 2, "no model: give a file");
    fails(IMAGE "--repeat 3", 2, "what on? give --input NAME=FILE.npy or --random");
    fails(IMAGE "--input pixels", 2, "--input: found \"pixels\", wanted NAME=...");
    fails(IMAGE "--repeat 0 --random", 2, "--repeat");
    fails(IMAGE "--precision fp16", 2, "--precision: fp16 is not for processors");
    fails(IMAGE "--passes -nothing --random", 2, "--passes");
    fails(IMAGE "two.onnx", 2, "one model only, found \"two.onnx\" too");
    fails(IMAGE "--randoom", 2, "did you mean --random?");
    fails(IMAGE "--random pixel_values=2,3", 2, "pixel_values: found 2 sizes, wanted 4");
    fails(IMAGE "--random pixel_values=2,x", 2, "wanted sizes as in 1,3,224,224");
    fails(IMAGE "--random pixel_values=2,3,8,8", 1, "input pixel_values is [2, 3, 8, 8], wanted");
    fails("run nothing.onnx", 1, "nothing.onnx: No such file");
    fails("run out.log", 1, "out.log: "); /* no ONNX file */
    fails(IMAGE "--input pixel_values=nothing.npy", 1, "nothing.npy");
    fails(MASKED "--input input_ids=nothing.npy", 1, "nothing.npy");
    cg_safetensors_close(prepare("hf-masked-17", "input_ids"));
    fails(MASKED "--input input_ids=input_ids.npy", 2,
          "reads input attention_mask, which is not given");
    fails(MASKED "--input ids=input_ids.npy", 1, "there is no input ids");
    fails(IMAGE "--random --output nothing=x.npy", 1, "there is no output nothing");
}

/* Halves in the place of floats, and bytes for whole numbers. */
static void test_small_types(void **state) {
    (void)state;
    static const uint16_t zeros[3 * 16 * 16];
    static const uint8_t ids[12] = {1, 2, 3};
    write_array("half.npy", CG_F16, CG_SHAPE(1, 3, 16, 16), zeros);
    succeeds(IMAGE "--input pixel_values=half.npy");
    prints("embeds f32 [1, 12] ");
    write_array("ids.npy", CG_U8, CG_SHAPE(1, 12), ids);
    succeeds(MASKED "--input input_ids=ids.npy --random");
}

/* What is wrong with a file is not wrong with the command line; and leaves nothing behind. */
static void test_failures(void **state) {
    (void)state;
    write_text("empty.onnx", "");
    fails("run empty.onnx", 1, "empty.onnx: the file is empty");
    fails(IMAGE "--random=foo=1,3", 2, "there is no input \"foo\"; the file has pixel_values");
    fails(IMAGE "--random=pixel_values=2,3,8,8 --output bo", 1, "openai-vit-17.onnx: input");
    assert_false(there("bo"));
    static const int64_t huge[12] = {INT64_MAX};
    write_array("huge.npy", CG_I64, CG_SHAPE(1, 12), huge);
    fails(MASKED "--random --input input_ids=huge.npy", 1, "wanted an i32");
    fails(MASKED "--input input_ids=huge.npy --input input_ids=huge.npy", 2, "given twice");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_description), cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_graph),       cmocka_unit_test(test_usage),
        cmocka_unit_test(test_small_types), cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
