/* labels: cli */
/* `clipgraph train` and `eval` as a user has them: the built program, in a folder of its own. */
#define _GNU_SOURCE /* F_SETPIPE_SZ */

#include "tests/support/cli.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PICTURES CG_SOURCE_DIR "/tests/golden/image/"
#define TINY     "--model tiny-resnet-cbow --threads 1 --batch-size 8 "
#define DRAWN    "train --dataset-type synthetic --train-num-samples 24 --epochs 2 " TINY

/* Code, and words on either stream. */
static void expect(int code, int wanted, const char *text) {
    int said = !text || strstr(printed.out, text) || strstr(printed.err, text);
    if (code == wanted && said) return;
    print_error("exit code %d, wanted %d and \"%s\"; it printed:\n%s\n%s\n", code, wanted,
                text ? text : "", printed.out, printed.err);
    fail();
}

/* A started program: its standard output is a pipe that holds few lines, so that it cannot run far
 * ahead of who reads; its errors go to the file `errors`. */
typedef struct started {
    pid_t pid;
    FILE *out;
} started;

static started start(char *const argv[]) {
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    fcntl(pipes[1], F_SETPIPE_SZ, 4096);
    started s = {.pid = fork()};
    assert_true(s.pid >= 0);
    if (s.pid == 0) {
        int errors = open(in_folder("errors"), O_CREAT | O_TRUNC | O_WRONLY, 0666);
        dup2(pipes[1], STDOUT_FILENO);
        dup2(errors, STDERR_FILENO);
        close(pipes[0]);
        close(pipes[1]);
        if (chdir(in_folder(".")) == 0) execv(CG_CLI, argv);
        _exit(127);
    }
    close(pipes[1]);
    s.out = fdopen(pipes[0], "r");
    assert_non_null(s.out);
    return s;
}

/* Reads lines up to one with `text` in it. */
static void wait_for(started *s, const char *text) {
    char line[4096];
    while (fgets(line, sizeof line, s->out))
        if (strstr(line, text)) return;
    fail_msg("it ended without \"%s\"", text);
}

/* Reads the rest; returns the exit code. */
static int finish(started *s) {
    int status;
    size_t n = fread(printed.out, 1, sizeof printed.out - 1, s->out);
    printed.out[n] = printed.err[0] = '\0';
    fclose(s->out);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Weights, and what training goes on from. */
static void assert_same_checkpoint(const char *a, const char *b) {
    static const char *const file[] = {"open_clip_model.safetensors", "state.safetensors",
                                       "state.json", "tokenizer.json", "open_clip_config.json"};
    for (int i = 0; i < 5; i++) shell("cmp %s/%s %s/%s", a, file[i], b, file[i]);
}

/* --- what goes well ------------------------------------------------------------------------- */

static void test_help(void **state) {
    (void)state;
    expect(run("--help"), 0, "train a model");
    expect(run("train --help"), 0, "--batch-size");
    expect(run("eval --help"), 0, "--val-data");
    expect(run("--version"), 0, "clipgraph ");
}

static void test_trains(void **state) {
    (void)state;
    expect(run(DRAWN "--name first"), 0, "saved   logs/first/checkpoints/step-6");
    prints("clipgraph eval --checkpoint logs/first");
    assert_int_equal(entries("logs/first/checkpoints"), 2);
    assert_true(there("logs/first/config.json"));
    assert_true(there("logs/first/metrics.jsonl"));
    expect(run("eval --checkpoint logs/first --dataset-type synthetic"), 0, "chance");
    expect(run("eval --checkpoint logs/first --dataset-type synthetic --json"), 0, "\"R@10\":");
    expect(run(DRAWN "--name first"), 2, "clipgraph train --resume logs/first");
    expect(run("train --resume logs/first"), 0, "nothing");
    expect(run(DRAWN "--name quiet --quiet --keep 1"), 0, "done");
    prints_no("epoch");
    assert_int_equal(entries("logs/quiet/checkpoints"), 1);
}

/* Neither the number of loader threads nor a second run changes a bit. */
static void test_same_bits(void **state) {
    static const char weights[] = "checkpoints/step-6/open_clip_model.safetensors";
    (void)state;
    expect(run(DRAWN "--aug-flip 0.5 --aug-rotation 20 --workers 1 --name one"), 0, NULL);
    expect(run(DRAWN "--aug-flip 0.5 --aug-rotation 20 --workers 3 --name three"), 0, NULL);
    expect(run(DRAWN "--aug-flip 0.5 --aug-rotation 20 --workers 1 --name again"), 0, NULL);
    expect(run(DRAWN "--aug-flip 0.5 --aug-rotation 20 --workers 1 --name other --seed 1"), 0,
           NULL);
    assert_same_checkpoint("logs/one/checkpoints/step-6", "logs/three/checkpoints/step-6");
    assert_same_checkpoint("logs/one/checkpoints/step-6", "logs/again/checkpoints/step-6");
    shell("cd logs; cmp -s one/%s other/%s; test $? = 1", weights, weights);
}

/* A run stopped in the middle of an epoch, and resumed with other threads, ends as one that was
 * not. */
static void test_resume(void **state) {
    static char *const argv[] = {"clipgraph",
                                 "train",
                                 "--dataset-type=synthetic",
                                 "--train-num-samples=400",
                                 "--epochs=2",
                                 "--model=tiny-resnet-cbow",
                                 "--threads=1",
                                 "--batch-size=8",
                                 "--name=stopped",
                                 "--json",
                                 "--log-every-n-steps=1",
                                 NULL};
    (void)state;
    started s = start(argv);
    wait_for(&s, "\"step\":7,");
    kill(s.pid, SIGINT);
    expect(finish(&s), 130, "\"stopped\":true");
    assert_false(there("logs/stopped/checkpoints/step-100"));
    assert_int_equal(entries("logs/stopped/checkpoints"), 1);
    expect(run("train --resume logs/stopped --context-length 9"), 2, "checkpoint's is 32");
    expect(run("train --resume logs/stopped --batch-size 9"), 2, "was made with 8");
    expect(run("train --resume latest --name stopped --workers 3"), 0,
           "saved   logs/stopped/checkpoints/step-100");
    expect(run("train --dataset-type synthetic --train-num-samples 400 --epochs 2 " TINY
               "--name whole"),
           0, "saved   logs/whole/checkpoints/step-100");
    assert_same_checkpoint("logs/stopped/checkpoints/step-100", "logs/whole/checkpoints/step-100");
}

/* Ctrl-C says how to go on, and what it says works. */
static void test_interrupt(void **state) {
    static char *const argv[] = {"clipgraph",
                                 "train",
                                 "--dataset-type=synthetic",
                                 "--train-num-samples=24",
                                 "--epochs=10000000",
                                 "--model=tiny-resnet-cbow",
                                 "--threads=1",
                                 "--batch-size=8",
                                 "--name=stop me",
                                 "--save-frequency=0",
                                 "--val-frequency=0",
                                 NULL};
    (void)state;
    started s = start(argv);
    wait_for(&s, "step 1/");
    kill(s.pid, SIGINT);
    expect(finish(&s), 130, "go on   clipgraph train --resume 'logs/stop me'\n");
    expect(run("train --resume 'logs/stop me' --epochs 1"), 0, NULL);
    read_file("errors", printed.err, sizeof printed.err);
    warns("stopping after this step");
}

static void test_table(void **state) {
    (void)state;
    write_text("pets.csv", "filepath,title\n" PICTURES "grey8.png,a cat\n" PICTURES
                           "grey16.png,\"a dog, asleep\"\n" PICTURES "grey.jpg,a bird\n" PICTURES
                           "gone.png,a ghost\n" PICTURES "grey4.png,a horse\n");
    expect(run("train --train-data pets.csv --val-data pets.csv --model tiny-resnet-cbow "
               "--batch-size 2 --epochs 1 --threads 1 --name pets"),
           0, "1 of 5 pairs left out: 1 unreadable");
    warns("gone.png");
    expect(run("eval --checkpoint logs/pets --val-data a=pets.csv --val-data b=pets.csv "
               "--baseline pixels --train-data pets.csv"),
           0, "nearest pixels");
    expect(run("eval --checkpoint logs/pets --val-data pets.csv --baseline pixels"), 2,
           "--train-data");
}

/* --- what goes wrong ------------------------------------------------------------------------ */

typedef struct bad_use {
    const char *arguments;
    int code;
    const char *message;
} bad_use;

static void test_bad_use(void **state) {
    static const bad_use uses[] = {
        {"", 2, "which command"},
        {"trian", 2, "did you mean \"train\"?"},
        {"--versoin", 2, "unknown option"},
        {"train --epohcs 3", 2, "did you mean --epochs?"},
        {"train extra", 2, "\"extra\" is no option"},
        {"train", 2, "no data: give --train-data"},
        {"train --dataset-type synthetic --model tiny-resnet-cbwo", 2,
         "did you mean \"tiny-resnet-cbow\"?"},
        {"train --dataset-type synthetic --train-data x.csv " TINY, 2, "exclude each other"},
        {"train --train-data x.csv --train-num-samples 5 " TINY, 2, "--train-num-samples is for"},
        {DRAWN "--precision fp16", 2, "fp16 is not for processors"},
        {DRAWN "--precision half", 2, "wanted fp32 or bf16"},
        {DRAWN "--passes=-row", 2, "did you mean rows"},
        {DRAWN "--epochs -3", 2, "found \"-3\", wanted a whole number from 1"},
        {DRAWN "--lr fast", 2, "--lr: found \"fast\""},
        {DRAWN "--aug-scale 1,0.5", 2, "MIN is larger than MAX"},
        {DRAWN "--image-mean 1,2", 2, "wanted R,G,B"},
        {DRAWN "--interpolation bicubik", 2, "found \"bicubik\", wanted bicubic or bilinear"},
        {DRAWN "--batch-size 25", 2, "--batch-size 25 is more than the 24 pairs"},
        {DRAWN "--name a/b", 2, "without slashes"},
        {"train --resume logs/none", 2, "no such run or checkpoint"},
        {"train --resume latest", 2, "wants the run's --name"},
        {"eval", 2, "--checkpoint"},
        {"eval --checkpoint logs/none --dataset-type synthetic", 1, "logs/none"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        expect(run("%s", uses[i].arguments), uses[i].code, uses[i].message);
    assert_false(there("logs/a"));
}

static void test_bad_tables(void **state) {
    static const bad_use uses[] = {
        {"none.csv", 1, "none.csv: No such file or directory"},
        {PICTURES "grey8.png", 1, "grey8.png: a zero byte in it, wanted UTF-8 text"},
        {"empty.csv", 1, "empty.csv: empty, wanted a header line"},
        {"header.csv", 1, "header.csv: no pair in it"},
        {"columns.csv", 1,
         "no column \"title\"; it has \"filepath\", \"titel\"; did you mean \"titel\"?"},
        {"small.csv", 2, "--batch-size 8 is more than the 3 pairs of small.csv"},
        {"same.csv", 2, "distinct captions of same.csv"},
        {"silent.csv", 1, "no pair in it has a caption"},
    };
    (void)state;
    write_text("empty.csv", "");
    write_text("header.csv", "filepath,title\n");
    write_text("columns.csv", "filepath,titel\nx.png,a cat\n");
    write_text("small.csv", "filepath,title\nx.png,a\ny.png,b\nz.png,c\n");
    write_text("silent.csv", "filepath,title\nx.png,\ny.png,\n");
    write_text("same.csv", "filepath,title\na.png,x\nb.png,x\nc.png,x\nd.png,x\ne.png,x\nf.png,x\n"
                           "g.png,x\nh.png,x\ni.png,x\n");
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        expect(run("train --name bad " TINY "--train-data %s", uses[i].arguments), uses[i].code,
               uses[i].message);
    assert_false(there("logs/bad"));
}

static void test_bad_models(void **state) {
    static const char form[] =
        "{\"embed_dim\": 32, \"vision_cfg\": {\"image_size\": %s, \"layers\": "
        "[1,1,1,1], \"%s\": %s, \"head_width\": %s}, \"text_cfg\": "
        "{\"text_arch\": \"cbow\", \"width\": 32}}";
    static const char *const models[][6] = {
        {"32", "widht", "8", "32", "unknown key \"widht\"; did you mean \"width\"?"},
        {"32", "width", "-8", "32", "width: found -8, wanted 1 to"},
        {"32", "width", "8", "48", "head_width 48 does not divide"},
        {"40", "width", "8", "32", "image_size 40 is not a multiple of 32"},
        {"32", "width", "\"8\"", "32", "width: found a string, wanted a whole number"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char text[1024];
        snprintf(text, sizeof text, form, models[i][0], models[i][1], models[i][2], models[i][3]);
        write_text("m.json", text);
        expect(run("train --dataset-type synthetic --model m.json --name bad"), 2, models[i][4]);
    }
    write_text("m.json", "{\"embed_dim\": 32,\n}");
    expect(run("train --dataset-type synthetic --model m.json --name bad"), 1, "m.json: line 2");
    expect(run("train --dataset-type synthetic --model gone.json --name bad"), 1,
           "gone.json: No such file");
    assert_false(there("logs/bad"));
}

/* A learning rate that destroys the model: the run stops, and says where; what was saved before is
 * good. */
static void test_not_finite(void **state) {
    (void)state;
    expect(run(DRAWN "--name nan"), 0, NULL);
    expect(run("train --resume logs/nan --epochs 4 --lr 1e30 --warmup 0"), 1, "is not finite");
    warns("clipgraph train: step ");
    warns("; first at ");
    warns("last checkpoint: logs/nan/checkpoints/step-6");
    expect(run("eval --checkpoint logs/nan --dataset-type synthetic"), 0, "chance");
    expect(run("train --resume logs/nan --epochs 3"), 0, "saved   logs/nan/checkpoints/step-9");
}

/* A checkpoint that does not fit on the disk: a limit on the size of files stands in for it. */
static void test_full_disk(void **state) {
    struct rlimit old, small;
    (void)state;
    expect(run(DRAWN "--epochs 1 --name full"), 0, NULL);
    expect(run(DRAWN "--epochs 1 --name copy"), 0, NULL);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 2000000; /* the weights fit, the moments do not */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int code = run("train --resume logs/full --epochs 2");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    expect(code, 1, "File too large");
    warns("clipgraph train --resume logs/full --epochs=2");
    assert_same_checkpoint("logs/full/checkpoints/step-3", "logs/copy/checkpoints/step-3");
    assert_int_equal(entries("logs/full/checkpoints"), 1); /* nothing half written */
    expect(run("train --resume logs/full --epochs 2"), 0, "saved   logs/full/checkpoints/step-6");
}

/* A model that sees padding and pools at its end token, whose id is learned with the tokenizer; a
 * ViT that drops patches; the sigmoid loss. Trained, resumed for an epoch more, measured. */
static void test_other_towers(void **state) {
    (void)state;
    write_text("other.json",
               "{\"embed_dim\": 16, \"vision_cfg\": {\"image_size\": 32, \"layers\": 1, "
               "\"width\": 16, \"head_width\": 8, \"patch_size\": 8}, \"text_cfg\": "
               "{\"context_length\": 32, \"vocab_size\": 600, \"width\": 16, \"heads\": 2, "
               "\"layers\": 1, \"no_causal_mask\": true, \"pool_type\": \"eos\"}}");
    expect(
        run("train --dataset-type synthetic --train-num-samples 24 --epochs 2 --model other.json "
            "--batch-size 8 --threads 1 --name towers --siglip --force-patch-dropout 0.5"),
        0, "done    6 of 6 steps");
    expect(run("train --resume logs/towers --epochs 3"), 0, "done    9 of 9 steps");
    expect(run("eval --checkpoint logs/towers --dataset-type synthetic"), 0, "picture to text");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help),       cmocka_unit_test(test_trains),
        cmocka_unit_test(test_same_bits),  cmocka_unit_test(test_resume),
        cmocka_unit_test(test_interrupt),  cmocka_unit_test(test_table),
        cmocka_unit_test(test_bad_use),    cmocka_unit_test(test_bad_tables),
        cmocka_unit_test(test_bad_models), cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_full_disk),  cmocka_unit_test(test_other_towers),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
