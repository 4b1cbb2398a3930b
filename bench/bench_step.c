/* bench_step: one training step (forward, backward, norm, AdamW) of a model on made-up pairs. See
 * bench/job.h for the captions, and for what is timed and reported. */
#include "bench/job.h"
#include "train/optimizer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* All that a step works on, made in this order. */
typedef struct step_job {
    cg_bench_job job;
    cg_optimizer *optimizer;
    float *gradient;
    double loss;
} step_job;

static cg_status prepare(step_job *s) {
    const cg_adamw adamw = {
        .beta1 = 0.9f, .beta2 = 0.98f, .eps = 1e-6f, .weight_decay = 0.2f, .clip_norm = 1};
    if (s->job.o->batch < 2) return cg_error(CG_EINVAL, "a batch of one pair contrasts nothing");
    CG_TRY(cg_bench_model(&s->job));
    cg_params *params = cg_runner_params(s->job.runner);
    size_t bytes = (size_t)cg_params_trained_elements(params) * sizeof(float);
    CG_TRY(cg_optimizer_create(params, adamw, s->job.ctx->threads, &s->optimizer));
    s->gradient = malloc(bytes);
    if (!s->gradient) return cg_error(CG_ENOMEM, "no memory for the gradients");
    /* not 0, which the compiler would turn into a calloc whose pages are not touched */
    for (size_t i = 0; i < bytes / sizeof(float); i++) s->gradient[i] = 1;
    for (int k = 0; k < 2; k++) memset(cg_optimizer_moment(s->optimizer, k), 0, bytes);
    CG_TRY(cg_bench_pictures(&s->job));
    return cg_bench_captions(&s->job);
}

static cg_status step(void *self) {
    step_job *s = self;
    cg_runner *runner = s->job.runner;
    CG_TRY(cg_runner_backward(runner, &s->job.batch, s->gradient, &s->loss));
    double norm = cg_optimizer_norm(s->optimizer, s->gradient);
    if (!isfinite(s->loss) || !isfinite(norm))
        return cg_error(CG_ENONFINITE, "the loss or the gradient is not finite");
    cg_optimizer_step(s->optimizer, s->gradient, norm, 1e-4);
    cg_runner_commit(runner);
    return CG_OK;
}

static cg_status report(void *self, json_t *o) {
    const step_job *s = self;
    if (json_object_set_new(o, "loss", json_real(s->loss)) == 0) return CG_OK;
    return cg_error(CG_ENOMEM, "no memory for the report");
}

static error_t parse(int key, char *text, struct argp_state *state) {
    (void)text;
    if (key != ARGP_KEY_INIT) return ARGP_ERR_UNKNOWN;
    state->child_inputs[0] = state->input;
    return 0;
}

static const struct argp_child children[] = {{&cg_bench_argp, 0, NULL, 0}, {0}};

int main(int argc, char **argv) {
    cg_bench_options o = cg_bench_defaults();
    struct argp argp = {NULL,     parse, NULL, "Times a training step of a model.",
                        children, NULL,  NULL};
    cg_bench_parse(&argp, argc, argv, &o);
    step_job s = {.job.o = &o};
    cg_status status = prepare(&s);
    if (status == CG_OK)
        status = cg_bench_run(
            &s.job, &(cg_bench_work){.item = "pairs", .run = step, .report = report, .self = &s});
    free(s.gradient);
    cg_optimizer_free(s.optimizer);
    cg_bench_job_free(&s.job);
    if (status != CG_OK) fprintf(stderr, "bench_step: %s\n", cg_error_message());
    return status != CG_OK;
}
