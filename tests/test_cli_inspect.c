/* labels: cli */
/* `clipgraph inspect` and `check-grad` as a user has them: of a name, a file, a run. */
#include "tests/support/cli_pictures.h"

#include <string.h>

/* -- inspect ----------------------------------------------------------------------------------- */

static int64_t number(const json_t *j, const char *group, const char *key) {
    return json_integer_value(json_object_get(json_object_get(j, group), key));
}

static void inspect_counts(void **state) {
    (void)state;
    static const char *const what[] = {"tiny-resnet-cbow", "logs/tiny",
                                       CG_SOURCE_DIR "/models/configs/tiny-resnet-cbow.json"};
    for (int i = 0; i < 3; i++) {
        json_t *j = json_of("inspect %s --batch-size 8 --json", what[i]);
        json_t *memory = json_object_get(j, "memory");
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
    prints("\nvisual/layer4/0/conv3 ");
    prints("[8, 16, 16, 4]");
    prints("\ntotal ");
    prints("\nPlanned memory ");
    prints_no("cross_entropy");
    succeeds("inspect tiny-resnet-cbow --graph text --batch-size 8");
    prints("input image : f32[8, 32, 32, 3]\n");
    prints(" visual/layer1/0/conv1 = conv2d(");
    prints_no(" d(visual");
    succeeds("inspect tiny-resnet-cbow --graph dot --collapse 2 --gradients");
    assert_true(strncmp(printed.out, "strict digraph clipgraph {\n", 27) == 0);
    prints("[label=<<b>layer4</b>");
    assert_string_equal(printed.out + strlen(printed.out) - 2, "}\n");
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
    prints("WRONG\n");
    prints(" gradients agree within 1e-09 ");
}

static void bad_command_lines(void **state) {
    (void)state;
    fails("inspect", 2, "which model");
    fails("inspect tiny-resnet-cbwo", 2, "did you mean \"tiny-resnet-cbow\"?");
    fails("inspect tiny-resnet-cbow --gradients", 2, "go with --graph");
    fails("inspect tiny-resnet-cbow --captions-tokens 5000", 2, "the context length is");
    fails("inspect tiny-resnet-cbow --frobnicate", 2, "unknown option --frobnicate");
    fails("check-grad", 2, "which model");
    fails("check-grad tiny-resnet-cbow --batch-size 1", 2, "found \"1\"");
    fails("inspect gone.json", 1, "gone.json");
    fails("inspect photos", 1, "photos");
    fails("inspect labels.json", 1, "labels.json");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inspect_counts),
        cmocka_unit_test(inspect_prints),
        cmocka_unit_test(check_grad_agrees),
        cmocka_unit_test(bad_command_lines),
    };
    return cmocka_run_group_tests(tests, make_folder_with_model, remove_folder);
}
