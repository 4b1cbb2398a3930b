/* labels: cli */
/* --profile as a user has it, of every command that runs a model. */
#include "tests/support/cli.h"

#define PICTURES CG_SOURCE_DIR "/tests/golden/image/"
#define MODEL    "--checkpoint logs/tiny --threads 1 --batch-size 100 "
#define TRAIN                                                                                      \
    "train --dataset-type synthetic --train-num-samples 24 --epochs 1 --model tiny-resnet-cbow "   \
    "--threads 1 --batch-size 8 --val-frequency 0 "

static size_t events(const char *name) {
    json_error_t e;
    json_t *j = json_load_file(in_folder(name), 0, &e);
    if (!j) fail_msg("%s: %s", name, e.text);
    size_t n = json_array_size(json_object_get(j, "traceEvents"));
    json_decref(j);
    return n;
}

static void training(void **state) {
    (void)state;
    succeeds(TRAIN "--name tiny --profile=train.json");
    prints("\nprofile of ");
    prints("\nconv2d_grad_weights ");
    prints("forward ms backward ms");
    prints("\nwaiting for data ");
    prints("\noptimizer ");
    prints("\ncheckpoints ");
    assert_true(events("train.json") > 500);
    succeeds(TRAIN "--name json --json --profile");
    warns("\nprofile of ");
    prints_no("profile of");
}

static void other_commands(void **state) {
    (void)state;
    succeeds("embed " MODEL PICTURES " --out p --profile=embed.json");
    prints("\nprofile of ");
    prints("\nvisual/layer1/0 ");
    prints("\nloading the model ");
    prints_no("backward");
    assert_true(events("embed.json") > 20);
    succeeds("embed " MODEL PICTURES " --out p --json --profile");
    warns("\nprofile of ");
    prints_no("profile of");
    succeeds("classify " MODEL "--labels red,blue " PICTURES " --profile");
    prints("\nprofile of ");
    succeeds("search " MODEL PICTURES " red --profile");
    prints("\nprofile of ");
    succeeds("eval " MODEL "--dataset-type synthetic --profile=eval.json");
    prints("\ntext/");
    assert_true(events("eval.json") > 20);
}

/* Known before anything is done. */
static void traces_that_cannot_be_written(void **state) {
    (void)state;
    fails("embed " MODEL PICTURES " --out q --profile=no/such/t.json", 1,
          "cannot write no/such/t.json: No such file or directory");
    assert_false(there("q.npy"));
    fails("eval " MODEL "--dataset-type synthetic --profile=logs", 1,
          "cannot write logs: Is a directory");
    fails(TRAIN "--name never --profile=no/such/t.json", 1, "cannot write no/such/t.json");
    assert_false(there("logs/never"));
    fails("embed " MODEL PICTURES " --out q --profile=", 2, "the file's name is empty");
    fails(TRAIN "--profile=", 2, "the file's name is empty");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training),
        cmocka_unit_test(other_commands),
        cmocka_unit_test(traces_that_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
