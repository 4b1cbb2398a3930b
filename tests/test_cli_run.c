/* labels: cli */
/* `clipgraph run` as a user has it: the built program, in a folder of its own, with small ONNX
 * files. */
#include "serialize/npy.h"
#include "serialize/safetensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MODELS CG_SOURCE_DIR "/tests/golden/onnx/"
#define IMAGE  MODELS "openai-vit-17.onnx "

static char folder[64];
static char out[1 << 16], err[1 << 14]; /* what the program printed */

static void read_file(const char *name, char *text, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, size - 1, f)] = '\0';
    fclose(f);
}

static int run(const char *arguments) {
    char command[2048];
    snprintf(command, sizeof command, "cd %s && %s run %s >out.log 2>err.log", folder, CG_CLI,
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
    if (!strstr(out, sentence)) fail_msg("\"%s\", wanted \"%s\"", out, sentence);
}

static int begin(void **state) {
    (void)state;
    strcpy(folder, "/tmp/clipgraph-run-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int end(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* Saves an input of three rows as NAME.npy; returns what PyTorch made of it. */
static cg_safetensors *prepare(const char *model, const char *name) {
    char path[512], key[64];
    cg_safetensors *f;
    snprintf(path, sizeof path, MODELS "%s.safetensors", model);
    assert_int_equal(cg_safetensors_open(path, &f), CG_OK);
    snprintf(key, sizeof key, "3/%s", name);
    const cg_tensor *t = cg_safetensors_find(f, key);
    assert_non_null(t);
    snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    void *copy = malloc(t->bytes); /* aligned */
    assert_non_null(copy);
    memcpy(copy, t->data, t->bytes);
    assert_int_equal(cg_npy_save(path, t->dtype, &t->shape, copy), CG_OK);
    free(copy);
    return f;
}

static void compare(const char *file, const cg_safetensors *f, const char *key, double allowed) {
    char path[128];
    cg_npy y;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    assert_int_equal(cg_npy_open(path, &y), CG_OK);
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
    succeeds(MODELS "hf-both-18.onnx");
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
    assert_null(strstr(out, "attention_qkv("));
    succeeds(IMAGE "--random --repeat 2 --profile=trace.json");
    prints("attention");
    char text[256];
    read_file("trace.json", text, sizeof text);
    assert_true(text[0] == '{' || text[0] == '[');
}

static void test_usage(void **state) {
    (void)state;
    succeeds("--help");
    prints("--input=NAME=FILE.npy");
    fails("", 2, "no model: give a file");
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
    fails("nothing.onnx", 1, "nothing.onnx: No such file");
    fails("out.log", 1, "out.log: "); /* no ONNX file */
    fails(IMAGE "--input pixel_values=nothing.npy", 1, "nothing.npy");
    fails(MODELS "hf-masked-17.onnx --input input_ids=nothing.npy", 1, "nothing.npy");
    cg_safetensors_close(prepare("hf-masked-17", "input_ids"));
    fails(MODELS "hf-masked-17.onnx --input input_ids=input_ids.npy", 2,
          "reads input attention_mask, which is not given");
    fails(MODELS "hf-masked-17.onnx --input ids=input_ids.npy", 1, "there is no input ids");
    fails(IMAGE "--random --output nothing=x.npy", 1, "there is no output nothing");
}

/* Halves in the place of floats, and bytes for whole numbers. */
static void test_small_types(void **state) {
    (void)state;
    char path[128];
    static const uint16_t zeros[3 * 16 * 16];
    static const uint8_t ids[12] = {1, 2, 3};
    snprintf(path, sizeof path, "%s/half.npy", folder);
    assert_int_equal(cg_npy_save(path, CG_F16, &CG_SHAPE(1, 3, 16, 16), zeros), CG_OK);
    succeeds(IMAGE "--input pixel_values=half.npy");
    prints("embeds f32 [1, 12] ");
    snprintf(path, sizeof path, "%s/ids.npy", folder);
    assert_int_equal(cg_npy_save(path, CG_U8, &CG_SHAPE(1, 12), ids), CG_OK);
    succeeds(MODELS "hf-masked-17.onnx --input input_ids=ids.npy --random");
}

/* What is wrong with a file is not wrong with the command line; and leaves nothing behind. */
static void test_failures(void **state) {
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/empty.onnx", folder);
    assert_int_equal(cg_file_save(path, "", 0), CG_OK);
    fails("empty.onnx", 1, "empty.onnx: the file is empty");
    fails(IMAGE "--random=foo=1,3", 2, "there is no input \"foo\"; the file has pixel_values");
    fails(IMAGE "--random=pixel_values=2,3,8,8 --output bo", 1, "openai-vit-17.onnx: input");
    snprintf(path, sizeof path, "%s/bo", folder);
    assert_int_not_equal(access(path, F_OK), 0);
    static const int64_t huge[12] = {INT64_MAX};
    snprintf(path, sizeof path, "%s/huge.npy", folder);
    assert_int_equal(cg_npy_save(path, CG_I64, &CG_SHAPE(1, 12), huge), CG_OK);
    fails(MODELS "hf-masked-17.onnx --random --input input_ids=huge.npy", 1, "wanted an i32");
    fails(MODELS "hf-masked-17.onnx --input input_ids=huge.npy --input input_ids=huge.npy", 2,
          "given twice");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_description), cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_graph),       cmocka_unit_test(test_usage),
        cmocka_unit_test(test_small_types), cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
