/* labels: cli */
/* --profile as a user has it, of every command that runs a model. */
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

#define PICTURES CG_SOURCE_DIR "/tests/golden/image/"
#define MODEL    "--checkpoint logs/tiny --threads 1 --batch-size 100 "
#define TRAIN                                                                                      \
    "train --dataset-type synthetic --train-num-samples 24 --epochs 1 --model tiny-resnet-cbow "   \
    "--threads 1 --batch-size 8 --val-frequency 0 "

static char folder[64];
static char out[1 << 18], err[1 << 18];

static void in_folder(char path[512], const char *name) {
    snprintf(path, 512, "%s/%s", folder, name);
}

static void read_file(const char *name, char *text, size_t size) {
    char path[512];
    in_folder(path, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, size - 1, f)] = '\0';
    fclose(f);
}

static void run(const char *arguments, int wanted) {
    char command[2048];
    snprintf(command, sizeof command, "cd %s && %s %s >out.log 2>err.log", folder, CG_CLI,
             arguments);
    int status = system(command);
    read_file("out.log", out, sizeof out);
    read_file("err.log", err, sizeof err);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code != wanted) fail_msg("%s: exit code %d, wanted %d: %s", arguments, code, wanted, err);
}

static void says(const char *text, const char *what) {
    if (!strstr(text, what)) fail_msg("no \"%s\" in:\n%s", what, text);
}

static int there(const char *name) {
    char path[512];
    struct stat st;
    in_folder(path, name);
    return stat(path, &st) == 0;
}

static size_t events(const char *name) {
    char path[512];
    json_error_t e;
    in_folder(path, name);
    json_t *j = json_load_file(path, 0, &e);
    if (!j) fail_msg("%s: %s", name, e.text);
    size_t n = json_array_size(json_object_get(j, "traceEvents"));
    json_decref(j);
    return n;
}

static int prepare(void **state) {
    (void)state;
    strcpy(folder, "/tmp/clipgraph-profile-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return 0;
}

static int remove_folder(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void training(void **state) {
    (void)state;
    run(TRAIN "--name tiny --profile=train.json", 0);
    says(out, "\nprofile of ");
    says(out, "\nconv2d_grad_weights ");
    says(out, "forward ms backward ms");
    says(out, "\nwaiting for data ");
    says(out, "\noptimizer ");
    says(out, "\ncheckpoints ");
    assert_true(events("train.json") > 500);
    run(TRAIN "--name json --json --profile", 0);
    says(err, "\nprofile of ");
    assert_null(strstr(out, "profile of"));
}

static void other_commands(void **state) {
    (void)state;
    run("embed " MODEL PICTURES " --out p --profile=embed.json", 0);
    says(out, "\nprofile of ");
    says(out, "\nvisual/layer1/0 ");
    says(out, "\nloading the model ");
    assert_null(strstr(out, "backward"));
    assert_true(events("embed.json") > 20);
    run("embed " MODEL PICTURES " --out p --json --profile", 0);
    says(err, "\nprofile of ");
    assert_null(strstr(out, "profile of"));
    run("classify " MODEL "--labels red,blue " PICTURES " --profile", 0);
    says(out, "\nprofile of ");
    run("search " MODEL PICTURES " red --profile", 0);
    says(out, "\nprofile of ");
    run("eval " MODEL "--dataset-type synthetic --profile=eval.json", 0);
    says(out, "\ntext/");
    assert_true(events("eval.json") > 20);
}

/* Known before anything is done. */
static void traces_that_cannot_be_written(void **state) {
    (void)state;
    run("embed " MODEL PICTURES " --out q --profile=no/such/t.json", 1);
    says(err, "cannot write no/such/t.json: No such file or directory");
    assert_false(there("q.npy"));
    run("eval " MODEL "--dataset-type synthetic --profile=logs", 1);
    says(err, "cannot write logs: Is a directory");
    assert_string_equal(out, "");
    run(TRAIN "--name never --profile=no/such/t.json", 1);
    says(err, "cannot write no/such/t.json");
    assert_false(there("logs/never"));
    run("embed " MODEL PICTURES " --out q --profile=", 2);
    says(err, "the file's name is empty");
    run(TRAIN "--profile=", 2);
    says(err, "the file's name is empty");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training),
        cmocka_unit_test(other_commands),
        cmocka_unit_test(traces_that_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, prepare, remove_folder);
}
