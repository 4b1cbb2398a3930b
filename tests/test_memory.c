/* labels: unit */
/* What a plan says it needs is what a run takes: the arena's size against the memory that the
 * system sees a training step use.
 *
 * The step is made in a child process. It touches what is there before any activation (parameters,
 * gradients, moments, the batch) and notes the resident size. What the high-water mark exceeds it
 * by once the step is made is the arena, and a rest that does not grow with the batch: pages of
 * oneDNN's library (about 6 MiB) and the code that it writes for its primitives (about 4 MiB);
 * graph, plan and stacks of threads are less than 1 MiB. The model is large enough for the rest to
 * be small.
 *
 * Sanitizers keep shadows of all memory, which no plan knows of: under them only the plan is
 * checked, against the least that any arena could be. */
#include "train/account.h"
#include "train/optimizer.h"
#include "train/runner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

enum { BATCH = 48, TOKENS = 6, THREADS = 2 };
static const double tolerance = 0.05;
static const size_t least_arena = 150u << 20;

static cg_clip_desc description(void) {
    cg_clip_desc d = cg_clip_desc_default();
    d.embed_dim = 128;
    d.vision.image_size = 128;
    d.vision.n_layers = 4;
    for (int i = 0; i < 4; i++) d.vision.layers[i] = 1;
    d.vision.width = 32;
    d.text.text_arch = CG_TEXT_CBOW;
    d.text.vocab_size = 2048;
    d.text.width = 128;
    return d;
}

/* --- the child -------------------------------------------------------------------------------- */

typedef struct measured {
    int ok;
    size_t before, peak; /* resident bytes */
    cg_plan_report report;
    char message[256];
} measured;

/* A line of /proc/self/status, "VmHWM:   12345 kB", in bytes. */
static size_t status_bytes(const char *key) {
    char line[256];
    size_t kib = 0, n = strlen(key);
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, n) == 0 && line[n] == ':') kib = strtoull(line + n + 1, NULL, 10);
    if (f) fclose(f);
    return kib << 10;
}

/* Memory whose every page has been written. */
static void *touched(size_t bytes) {
    unsigned char *p = malloc(bytes);
    if (p) memset(p, 1, bytes);
    return p;
}

/* Pictures of noise; captions of TOKENS words between start and end. */
static int make_batch(const cg_clip_desc *d, cg_batch *b) {
    enum { LENGTH = TOKENS + 2 };
    int64_t size = d->vision.image_size, pixels = BATCH * size * size * 3;
    *b = (cg_batch){.n = BATCH};
    b->image = touched((size_t)pixels * sizeof(float));
    b->token = touched((size_t)BATCH * LENGTH * sizeof(int32_t));
    b->offset = touched((BATCH + 1) * sizeof(int32_t));
    if (!b->image || !b->token || !b->offset) return 0;
    cg_rng r = cg_rng_at(0, CG_RNG_TEST, 0, 0);
    for (int64_t i = 0; i < pixels; i++) b->image[i] = (float)cg_rng_range(&r, -2, 2);
    for (int i = 0; i < BATCH * LENGTH; i++)
        b->token[i] = (int32_t)cg_rng_below(&r, (uint64_t)d->text.vocab_size);
    for (int i = 0; i <= BATCH; i++) b->offset[i] = i * LENGTH;
    return 1;
}

static cg_status step(cg_runner *r, cg_optimizer *o, const cg_batch *b, float *gradient) {
    double loss;
    CG_TRY(cg_runner_backward(r, b, gradient, &loss));
    cg_optimizer_step(o, gradient, cg_optimizer_norm(o, gradient), 1e-3);
    cg_runner_commit(r);
    return CG_OK;
}

static cg_status measure(measured *m) {
    cg_clip_desc d = description();
    cg_context *ctx;
    cg_runner *r;
    cg_optimizer *o;
    cg_batch b;
    CG_TRY(cg_context_create(THREADS, &ctx));
    CG_TRY(cg_runner_create(ctx, &d, &r));
    cg_params *params = cg_runner_params(r);
    size_t trained = (size_t)cg_params_trained_elements(params) * sizeof(float);
    cg_params_init(params, 0);
    CG_TRY(cg_optimizer_create(params, (cg_adamw){.beta1 = .9f, .beta2 = .999f, .eps = 1e-8f},
                               THREADS, &o));
    for (int i = 0; i < 2; i++) memset(cg_optimizer_moment(o, i), 0, trained);
    float *gradient = touched(trained);
    if (!gradient || !make_batch(&d, &b)) return cg_error(CG_ENOMEM, "no memory for a batch");
    m->before = status_bytes("VmRSS");
    CG_TRY(step(r, o, &b, gradient));
    m->peak = status_bytes("VmHWM");
    cg_runner_report(r, &m->report);
    return CG_OK; /* the process ends here: nothing is freed */
}

static void child(int out) {
    measured m = {0};
    m.ok = measure(&m) == CG_OK;
    snprintf(m.message, sizeof m.message, "%s", cg_error_message());
    _exit(write(out, &m, sizeof m) == (ssize_t)sizeof m ? 0 : 1);
}

/* --- the tests -------------------------------------------------------------------------------- */

static void test_planned_is_measured(void **state) {
    (void)state;
    if (SANITIZED) return;
    measured m = {0};
    int end[2], status;
    assert_int_equal(pipe(end), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) child(end[1]);
    close(end[1]);
    ssize_t got = read(end[0], &m, sizeof m);
    close(end[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(got, sizeof m);
    if (!m.ok) fail_msg("the step failed: %s", m.message);
    double planned = (double)m.report.arena_bytes, used = (double)m.peak - (double)m.before;
    printf("planned %.1f MiB, measured %.1f MiB: %+.2f %%\n", planned / 1048576, used / 1048576,
           100 * (used / planned - 1));
    assert_true(m.report.arena_bytes >= least_arena);
    if (used < planned * (1 - tolerance) || used > planned * (1 + tolerance))
        fail_msg("a step was planned to need %.1f MiB, but took %.1f MiB", planned / 1048576,
                 used / 1048576);
}

/* The same step's plan: its offsets waste next to nothing, and reuse memory. */
static void test_arena_is_tight(void **state) {
    (void)state;
    cg_clip_desc d = description();
    cg_clip_build b = cg_clip_batch(&d, BATCH, BATCH, BATCH * TOKENS);
    b.training = b.loss = 1;
    cg_context *ctx;
    cg_account a;
    assert_int_equal(cg_context_create(THREADS, &ctx), CG_OK);
    if (cg_account_plan(ctx, &d, &b, &(cg_program){.gradients = 1}, &a) != CG_OK)
        fail_msg("%s", cg_error_message());
    printf("arena %zu, lower bound %zu, without reuse %zu\n", a.plan.arena_bytes,
           a.plan.lower_bound, a.plan.all_bytes);
    assert_true(a.plan.arena_bytes >= a.plan.lower_bound);
    assert_true((double)a.plan.arena_bytes <= 1.05 * (double)a.plan.lower_bound);
    assert_true(a.plan.arena_bytes < a.plan.all_bytes);
    cg_context_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_planned_is_measured),
        cmocka_unit_test(test_arena_is_tight),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
