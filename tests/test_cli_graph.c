/* labels: cli */
/* `clipgraph inspect --graph` as a user has it: text, Graphviz, pictures, JSON; after each pass. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static char out[1 << 21], err[1 << 16];

static void read_file(const char *name, char *text, size_t size) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    if (!f) fail_msg("%s is not there", name);
    text[fread(text, 1, size - 1, f)] = '\0';
    fclose(f);
}

static int there(const char *name) {
    char path[256];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return stat(path, &st) == 0;
}

/* `environment` stands before the program. */
static int run_in(const char *environment, const char *arguments) {
    char command[2048];
    snprintf(command, sizeof command, "cd %s && %s %s inspect %s >out.log 2>err.log", folder,
             environment, CG_CLI, arguments);
    int status = system(command);
    read_file("out.log", out, sizeof out);
    read_file("err.log", err, sizeof err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void succeeds(const char *arguments) {
    int code = run_in("", arguments);
    if (code != 0) fail_msg("%s: exit code %d: %s", arguments, code, err);
}

static void fails(const char *arguments, int code, const char *sentence) {
    int found = run_in("", arguments);
    if (found != code) fail_msg("%s: exit code %d, wanted %d: %s", arguments, found, code, err);
    if (!strstr(err, sentence)) fail_msg("%s: \"%s\", wanted \"%s\"", arguments, err, sentence);
    assert_string_equal(out, "");
}

static int prepare(void **state) {
    (void)state;
    strcpy(folder, "/tmp/clipgraph-graph-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return 0;
}

static int clean(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* -- which graph ------------------------------------------------------------------------------- */

static void one_tower(void **state) {
    (void)state;
    succeeds("tiny-vit-transformer --inference --tower image --graph text --batch-size 3");
    assert_non_null(strstr(out, "input image : f32[3, 32, 32, 3]\n"));
    assert_non_null(strstr(out, "\noutput image_embedding = "));
    assert_null(strstr(out, "text"));
    succeeds("tiny-vit-transformer --inference --tower text --graph text");
    assert_non_null(strstr(out, "\noutput text_embedding = "));
    assert_null(strstr(out, "visual"));
    succeeds("tiny-vit-transformer --inference --tower both --graph text");
    assert_non_null(strstr(out, "\noutput image_embedding = "));
    assert_non_null(strstr(out, "\noutput text_embedding = "));
}

/* The graph as it is before a pass and after it. */
static void after_a_pass(void **state) {
    (void)state;
    succeeds("tiny-resnet-cbow --graph text --after none");
    assert_null(strstr(out, "contrastive_cross_entropy"));
    assert_non_null(strstr(out, " = relu("));
    succeeds("tiny-resnet-cbow --graph text --after batch_norm");
    assert_null(strstr(out, " = relu("));
    assert_null(strstr(out, "contrastive_cross_entropy"));
    succeeds("tiny-resnet-cbow --graph text --after contrast");
    assert_non_null(strstr(out, "contrastive_cross_entropy"));
    succeeds("tiny-resnet-cbow --graph text --after all --passes -contrast");
    assert_null(strstr(out, "contrastive_cross_entropy"));
    assert_null(strstr(out, " = relu("));
}

static void after_each_pass(void **state) {
    (void)state;
    succeeds("tiny-resnet-cbow --graph dot --gradients --collapse 2 --after each --out each");
    assert_non_null(strstr(out, "0-described.dot "));
    assert_non_null(strstr(out, "5-contrast.dot "));
    assert_null(strstr(out, "rows.dot")); /* of a ResNet's attention pool it has nothing to do */
    read_file("each/3-batch_norm.dot", out, sizeof out);
    assert_non_null(strstr(out, "tiny-resnet-cbow.json: training step, 64 pictures, "
                                "64 captions of 32 tokens, after batch_norm>"));
    assert_non_null(strstr(out, "label=<gradient of visual>"));
    assert_false(there("each/1-rows.dot"));
}

/* A folder is replaced only where all in it was written so. */
static void each_spares_other_files(void **state) {
    (void)state;
    char path[256];
    const char *again = "tiny-vit-cbow --graph text --after each --out spared";
    succeeds(again);
    succeeds(again);
    snprintf(path, sizeof path, "%s/spared/thesis.txt", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    fails(again, 2, "not of our making");
    assert_true(there("spared/thesis.txt") && there("spared/0-described.txt"));
    fails("tiny-vit-cbow --graph text --after each --out .", 2, "name of a new folder");
}

/* -- formats ----------------------------------------------------------------------------------- */

static const char *text_of(const json_t *j, const char *key) {
    return json_string_value(json_object_get(j, key));
}

static int64_t whole(const json_t *j, const char *key) {
    assert_true(json_is_integer(json_object_get(j, key)));
    return json_integer_value(json_object_get(j, key));
}

/* Every operand is there before its reader, and every result knows its node. */
static int64_t check_nodes(const json_t *values, const json_t *nodes) {
    size_t i, k;
    json_t *node, *id;
    int64_t flops = 0;
    json_array_foreach(nodes, i, node) {
        assert_int_equal(whole(node, "id"), i);
        flops += whole(node, "flops");
        assert_true(json_is_object(json_object_get(node, "attributes")));
        json_array_foreach(json_object_get(node, "operands"), k, id) {
            const json_t *v = json_array_get(values, (size_t)json_integer_value(id));
            assert_non_null(v);
            if (json_object_get(v, "node")) assert_true(whole(v, "node") < (int64_t)i);
        }
        json_array_foreach(json_object_get(node, "results"), k, id) {
            const json_t *v = json_array_get(values, (size_t)json_integer_value(id));
            assert_string_equal(text_of(v, "kind"), "result");
            assert_int_equal(whole(v, "node"), i);
            assert_int_equal(whole(v, "index"), k);
        }
    }
    return flops;
}

static int64_t trained_elements(const json_t *values) {
    size_t i, k;
    json_t *v, *n;
    int64_t sum = 0;
    json_array_foreach(values, i, v) {
        assert_int_equal(whole(v, "id"), i);
        if (!json_is_true(json_object_get(v, "trained"))) continue;
        assert_string_equal(text_of(v, "kind"), "parameter");
        assert_non_null(text_of(v, "name"));
        int64_t count = 1;
        json_array_foreach(json_object_get(v, "shape"), k, n) count *= json_integer_value(n);
        sum += count;
    }
    return sum;
}

static json_t *json_of(const char *arguments) {
    json_error_t e;
    succeeds(arguments);
    json_t *j = json_loads(out, 0, &e);
    if (!j) fail_msg("%s: %s", arguments, e.text);
    return j;
}

/* What JSON says of a graph is what the table of layers says. */
static void as_json(void **state) {
    (void)state;
    json_t *table = json_of("tiny-vit-transformer --json --batch-size 4");
    json_t *j = json_of("tiny-vit-transformer --graph json --batch-size 4");
    json_t *values = json_object_get(j, "values"), *layer;
    size_t i;
    int64_t flops = 0;
    json_array_foreach(json_object_get(table, "layers"), i, layer) flops += whole(layer, "flops");
    assert_int_equal(check_nodes(values, json_object_get(j, "nodes")), flops);
    assert_int_equal(trained_elements(values), whole(json_object_get(table, "parameters"), "all"));
    json_t *loss = json_array_get(json_object_get(j, "outputs"), 0);
    assert_string_equal(text_of(loss, "name"), "image_loss");
    assert_string_equal(text_of(loss, "mode"), "keep");
    json_decref(table);
    json_decref(j);
    j = json_of("tiny-resnet-cbow --gradients --graph json --after all");
    size_t updates = 0, gradients = 0;
    json_t *o;
    json_array_foreach(json_object_get(j, "outputs"), i, o) {
        updates += strcmp(text_of(o, "mode"), "update") == 0;
        gradients += strncmp(text_of(o, "name"), "grad.", 5) == 0;
        assert_int_equal(strcmp(text_of(o, "mode"), "update") == 0,
                         json_object_get(o, "parameter") != NULL);
    }
    assert_true(updates > 10 && gradients > 10);
    json_decref(j);
}

/* Graphviz is looked for when it is needed; a program of its name is all that is asked for. */
static void as_picture(void **state) {
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/dot", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("#!/bin/sh\n/bin/echo \"<svg> $1\"\nexec /bin/grep -c fillcolor\n", f);
    fclose(f);
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(run_in("PATH=.", "tiny-vit-cbow --graph svg --collapse 1"), 0);
    assert_true(strncmp(out, "<svg> -Tsvg\n", 12) == 0);
    assert_true(atoi(out + 12) > 4);
    assert_int_equal(run_in("PATH=.", "tiny-vit-cbow --graph svg --out v.svg"), 0);
    assert_string_equal(out, "");
    read_file("v.svg", out, sizeof out);
    assert_true(strncmp(out, "<svg> ", 6) == 0);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs("#!/bin/sh\necho half of it\nexit 3\n", f);
    fclose(f);
    assert_int_equal(run_in("PATH=.", "tiny-vit-cbow --graph svg --out w.svg"), 1);
    assert_non_null(strstr(err, "--graph svg: dot: ended with code 3"));
    assert_false(there("w.svg"));
    assert_int_equal(run_in("PATH=/nowhere", "tiny-vit-cbow --graph svg"), 1);
    assert_non_null(strstr(err, "--graph svg wants Graphviz to be installed: dot: "));
    assert_string_equal(out, "");
}

static void what_can_be_wrong(void **state) {
    (void)state;
    fails("tiny-vit-cbow --graph png", 2, "found \"png\", wanted text, dot, svg or json");
    fails("tiny-vit-cbow --graph text --collapse 2", 2, "--collapse goes with --graph dot or svg");
    fails("some/model.onnx --graph text", 2, "`clipgraph run some/model.onnx` shows what is in");
    fails("tiny-vit-cbow --graph text --tower image", 2, "--tower goes with --inference");
    fails("tiny-vit-cbow --graph text --inference --tower loss", 2, "wanted image, text or both");
    fails("tiny-vit-cbow --graph text --after fsue", 2, "did you mean fuse?");
    fails("tiny-vit-cbow --graph text --after each", 2, "which folder?");
    fails("tiny-vit-cbow --after fuse", 2, "go with --graph");
    fails("tiny-vit-cbow --out x", 2, "go with --graph");
    fails("tiny-vit-cbow --graph text --out ''", 2, "the file's name is empty");
    fails("tiny-vit-cbow --graph text --out gone/x", 1, "gone/x");
    fails("tiny-vit-cbow --graph text --after each --out gone/x", 1, "gone/x");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_tower),         cmocka_unit_test(after_a_pass),
        cmocka_unit_test(after_each_pass),   cmocka_unit_test(each_spares_other_files),
        cmocka_unit_test(as_json),           cmocka_unit_test(as_picture),
        cmocka_unit_test(what_can_be_wrong),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
