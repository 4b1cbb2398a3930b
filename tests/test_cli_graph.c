/* labels: cli */
/* `clipgraph inspect --graph` as a user has it: text, Graphviz, pictures, JSON; after each pass. */
#include "tests/support/cli.h"

#include <stdlib.h>
#include <string.h>

/* -- which graph ------------------------------------------------------------------------------- */

static void one_tower(void **state) {
    (void)state;
    succeeds("inspect tiny-vit-transformer --inference --tower image --graph text --batch-size 3");
    prints("input image : f32[3, 32, 32, 3]\n");
    prints("\noutput image_embedding = ");
    prints_no("text");
    succeeds("inspect tiny-vit-transformer --inference --tower text --graph text");
    prints("\noutput text_embedding = ");
    prints_no("visual");
    succeeds("inspect tiny-vit-transformer --inference --tower both --graph text");
    prints("\noutput image_embedding = ");
    prints("\noutput text_embedding = ");
}

/* The graph as it is before a pass and after it. */
static void after_a_pass(void **state) {
    (void)state;
    succeeds("inspect tiny-resnet-cbow --graph text --after none");
    prints_no("contrastive_cross_entropy");
    prints(" = relu(");
    succeeds("inspect tiny-resnet-cbow --graph text --after batch_norm");
    prints_no(" = relu(");
    prints_no("contrastive_cross_entropy");
    succeeds("inspect tiny-resnet-cbow --graph text --after contrast");
    prints("contrastive_cross_entropy");
    succeeds("inspect tiny-resnet-cbow --graph text --after all --passes -contrast");
    prints_no("contrastive_cross_entropy");
    prints_no(" = relu(");
}

static void after_each_pass(void **state) {
    (void)state;
    succeeds(
        "inspect tiny-resnet-cbow --graph dot --gradients --collapse 2 --after each --out each");
    prints("0-described.dot ");
    prints("5-contrast.dot ");
    prints_no("rows.dot"); /* of a ResNet's attention pool it has nothing to do */
    read_file("each/3-batch_norm.dot", printed.out, sizeof printed.out);
    prints("tiny-resnet-cbow.json: training step, 64 pictures, "
           "64 captions of 32 tokens, after batch_norm>");
    prints("label=<gradient of visual>");
    assert_false(there("each/1-rows.dot"));
}

/* A folder is replaced only where all in it was written so. */
static void each_spares_other_files(void **state) {
    (void)state;
    static const char again[] = "inspect tiny-vit-cbow --graph text --after each --out spared";
    succeeds(again);
    succeeds(again);
    write_text("spared/thesis.txt", "mine");
    fails(again, 2, "not of our making");
    assert_true(there("spared/thesis.txt") && there("spared/0-described.txt"));
    fails("inspect tiny-vit-cbow --graph text --after each --out .", 2, "name of a new folder");
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

/* What JSON says of a graph is what the table of layers says. */
static void as_json(void **state) {
    (void)state;
    json_t *table = json_of("inspect tiny-vit-transformer --json --batch-size 4");
    json_t *j = json_of("inspect tiny-vit-transformer --graph json --batch-size 4");
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
    j = json_of("inspect tiny-resnet-cbow --gradients --graph json --after all");
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

/* A tower has its colour, whatever else is drawn; choices have names. */
static void as_dot(void **state) {
    (void)state;
    static const char blue[] = "fillcolor=\"#dbe9f6\"", violet[] = "fillcolor=\"#e6e0f3\"";
    succeeds("inspect tiny-vit-transformer --inference --tower text --after all --graph dot");
    prints(violet);
    assert_null(strstr(printed.out, blue));
    prints(" f=gelu");
    prints(" f=none");
    succeeds("inspect tiny-vit-transformer --inference --tower image --graph dot");
    prints(blue);
    assert_null(strstr(printed.out, violet));
    json_t *j = json_of("inspect tiny-vit-transformer --inference --after all --graph json");
    int named = 0;
    size_t i;
    json_t *n;
    json_array_foreach(json_object_get(j, "nodes"), i, n) {
        const char *f = json_string_value(json_object_get(json_object_get(n, "attributes"), "f"));
        named += f && strcmp(f, "gelu") == 0;
    }
    assert_true(named >= 4);
    json_decref(j);
}

/* Graphviz is looked for when it is needed; a program of its name is all that is asked for. */
static void as_picture(void **state) {
    (void)state;
    write_program("dot", "/bin/echo \"<svg> $1\"\nexec /bin/grep -c fillcolor");
    assert_int_equal(run_in("PATH=.", "inspect tiny-vit-cbow --graph svg --collapse 1"), 0);
    assert_true(strncmp(printed.out, "<svg> -Tsvg\n", 12) == 0);
    assert_true(atoi(printed.out + 12) > 4);
    assert_int_equal(run_in("PATH=.", "inspect tiny-vit-cbow --graph svg --out v.svg"), 0);
    assert_string_equal(printed.out, "");
    read_file("v.svg", printed.out, sizeof printed.out);
    assert_true(strncmp(printed.out, "<svg> ", 6) == 0);
    write_program("dot", "echo half of it\nexit 3");
    assert_int_equal(run_in("PATH=.", "inspect tiny-vit-cbow --graph svg --out w.svg"), 1);
    warns("--graph svg: dot: ended with code 3");
    assert_false(there("w.svg"));
    assert_int_equal(run_in("PATH=/nowhere", "inspect tiny-vit-cbow --graph svg"), 1);
    warns("--graph svg wants Graphviz to be installed: dot: ");
    assert_string_equal(printed.out, "");
}

static void what_can_be_wrong(void **state) {
    (void)state;
    fails("inspect tiny-vit-cbow --graph png", 2, "found \"png\", wanted text, dot, svg or json");
    fails("inspect tiny-vit-cbow --graph text --collapse 2", 2,
          "--collapse goes with --graph dot or svg");
    fails("inspect some/model.onnx --graph text", 2,
          "`clipgraph run some/model.onnx` shows what is in");
    fails("inspect tiny-vit-cbow --graph text --tower image", 2, "--tower goes with --inference");
    fails("inspect tiny-vit-cbow --graph text --inference --tower loss", 2,
          "wanted image, text or both");
    fails("inspect tiny-vit-cbow --graph text --after fsue", 2, "did you mean fuse?");
    fails("inspect tiny-vit-cbow --graph text --after each", 2, "which folder?");
    fails("inspect tiny-vit-cbow --after fuse", 2, "go with --graph");
    fails("inspect tiny-vit-cbow --out x", 2, "go with --graph");
    fails("inspect tiny-vit-cbow --graph text --out ''", 2, "the file's name is empty");
    fails("inspect tiny-vit-cbow --graph text --out gone/x", 1, "gone/x");
    fails("inspect tiny-vit-cbow --graph text --after each --out gone/x", 1, "gone/x");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_tower),       cmocka_unit_test(after_a_pass),
        cmocka_unit_test(after_each_pass), cmocka_unit_test(each_spares_other_files),
        cmocka_unit_test(as_json),         cmocka_unit_test(as_dot),
        cmocka_unit_test(as_picture),      cmocka_unit_test(what_can_be_wrong),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
