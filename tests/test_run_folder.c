/* labels: unit */
/* A run's folder and the checkpoints in it: which are found, kept, removed, and what is refused.
 * The checkpoints are empty files: what makes a folder one are its names. */
#include "graph/file.h"
#include "serialize/checkpoint.h"
#include "tests/support/ok.h"
#include "train/run_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN "test_run_folder.d"

static int exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

static int setup(void **state) {
    (void)state;
    cg_folder_remove(RUN);
    return mkdir(RUN, 0777) || mkdir(RUN "/checkpoints", 0777);
}

static int teardown(void **state) {
    (void)state;
    return cg_folder_remove(RUN) == CG_OK ? 0 : -1;
}

static void touch(const char *folder, const char *name) {
    char path[256];
    snprintf(path, sizeof path, RUN "/checkpoints/%s/%s", folder, name);
    ok(cg_file_save(path, "", 0));
}

static void make_folder(const char *name) {
    char path[256];
    snprintf(path, sizeof path, RUN "/checkpoints/%s", name);
    assert_int_equal(mkdir(path, 0777), 0);
}

static void make_checkpoint(const char *name) {
    make_folder(name);
    touch(name, "open_clip_config.json");
    touch(name, "open_clip_model.safetensors");
}

static cg_run_folder *opened(int64_t step) {
    cg_run_folder *f;
    ok(cg_run_folder_open(RUN, NULL, step, &f));
    return f;
}

static void finds_the_newest(void **state) {
    (void)state;
    char *found;
    refused(cg_checkpoint_find(RUN, &found), CG_ENOTFOUND, "neither a checkpoint (open");
    make_checkpoint("step-9");
    make_checkpoint("step-10");
    make_folder("step-11"); /* no description, no weights */
    make_folder("step-12");
    touch("step-12", "open_clip_config.json");
    make_checkpoint("step-013"); /* no name that is written here */
    make_checkpoint("step- 14");
    make_checkpoint("step-15.tmp-0123456789abcdef");
    make_checkpoint("step--16");
    ok(cg_checkpoint_find(RUN, &found));
    assert_string_equal(found, RUN "/checkpoints/step-10");
    free(found);
    ok(cg_checkpoint_find(RUN "/checkpoints/step-9", &found));
    assert_string_equal(found, RUN "/checkpoints/step-9");
    free(found);
    int64_t *steps, n;
    ok(cg_checkpoint_list(RUN, &steps, &n));
    assert_int_equal(n, 2);
    assert_true(steps[0] == 10 && steps[1] == 9);
    free(steps);
    ok(cg_checkpoint_list("no such folder", &steps, &n));
    assert_int_equal(n, 0);
    assert_null(steps);
}

static void refuses_long_paths(void **state) {
    (void)state;
    static char path[5000];
    char *found;
    memset(path, 'x', sizeof path - 1);
    refused(cg_checkpoint_find(path, &found), CG_EINVAL, "the path is too long");
    assert_null(found);
}

static void prunes(void **state) {
    (void)state;
    static const char *const names[] = {"step-2", "step-4", "step-6", "step-10"};
    for (int i = 0; i < 4; i++) make_checkpoint(names[i]);
    make_folder("mine");
    cg_run_folder *f = opened(10);
    cg_run_folder_prune(f, 0);
    assert_true(exists(RUN "/checkpoints/step-2"));
    cg_run_folder_prune(f, 2);
    assert_false(exists(RUN "/checkpoints/step-2") || exists(RUN "/checkpoints/step-4"));
    assert_true(exists(RUN "/checkpoints/step-6") && exists(RUN "/checkpoints/step-10"));
    assert_true(exists(RUN "/checkpoints/mine"));
    cg_run_folder_close(f);
}

/* As root nothing is refused: then there is nothing to see. */
static void leaves_what_cannot_be_removed(void **state) {
    (void)state;
    make_checkpoint("step-1");
    make_checkpoint("step-2");
    cg_run_folder *f = opened(2);
    assert_int_equal(chmod(RUN "/checkpoints", 0555), 0);
    cg_run_folder_prune(f, 1);
    if (geteuid() != 0) {
        assert_true(exists(RUN "/checkpoints/step-1/open_clip_config.json"));
        assert_true(exists(RUN "/checkpoints/step-1/open_clip_model.safetensors"));
    }
    assert_int_equal(chmod(RUN "/checkpoints", 0777), 0);
    cg_run_folder_close(f);
}

static void sweeps_what_a_crash_left(void **state) {
    (void)state;
    make_checkpoint("step-3");
    make_checkpoint("step-5.tmp-0123456789abcdef");
    ok(cg_file_save(RUN "/checkpoints/step-5.tmp-0123456789abcdee", "", 0));
    make_folder("step-5.tmp-old"); /* not a name of ours */
    make_folder("mine.tmp-0123456789abcdef");
    ok(cg_file_save(RUN "/step-5.tmp-0123456789abcdef", "", 0)); /* not in checkpoints */
    cg_run_folder_close(opened(3));
    assert_true(exists(RUN "/checkpoints/step-3"));
    assert_false(exists(RUN "/checkpoints/step-5.tmp-0123456789abcdef"));
    assert_false(exists(RUN "/checkpoints/step-5.tmp-0123456789abcdee"));
    assert_true(exists(RUN "/checkpoints/step-5.tmp-old"));
    assert_true(exists(RUN "/checkpoints/mine.tmp-0123456789abcdef"));
    assert_true(exists(RUN "/step-5.tmp-0123456789abcdef"));
}

static void refuses_other_runs(void **state) {
    (void)state;
    cg_run_folder *f;
    make_checkpoint("step-8");
    make_folder("step-9.tmp-0123456789abcdef");
    refused(cg_run_folder_open(RUN, NULL, -1, &f), CG_EINVAL, "has checkpoints of an earlier run");
    assert_null(f);
    refused(cg_run_folder_open(RUN, NULL, 7, &f), CG_EINVAL,
            "has a checkpoint of step 8, newer than step 7");
    assert_null(f);
    assert_true(exists(RUN "/checkpoints/step-9.tmp-0123456789abcdef")); /* nothing is touched */
    cg_run_folder_close(opened(8));
    cg_run_folder_close(opened(9));
}

#define IN_RUN(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_RUN(finds_the_newest),
        IN_RUN(refuses_long_paths),
        IN_RUN(prunes),
        IN_RUN(leaves_what_cannot_be_removed),
        IN_RUN(sweeps_what_a_crash_left),
        IN_RUN(refuses_other_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
