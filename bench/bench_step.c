/* bench_step: one training step (forward, backward, norm, AdamW) of a model on made-up pairs.
 *
 * Captions have K tokens on average, start and end not counted. With s = min(K - 1, room left in
 * the context), caption t has K - s + mix64(t) mod (2 s + 1) tokens, of which the j-th is
 * mix64((t + 1) · 2^32 + j) mod (vocabulary - 2); bench/peer_torch.py makes the same ones.
 *
 * Activation memory is the highest resident size of the whole run, less the resident size once
 * parameters, gradients, moments and the batch have been touched. The peak is measured after
 * that, so that its matrices do not count. */
#include "bench/measure.h"
#include "bench/peak.h"
#include "graph/rng.h"
#include "train/optimizer.h"
#include "train/runner.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WARM_UP = 2 }; /* steps not timed: the first one plans */

typedef struct arguments {
    const char *model;
    int64_t batch, tokens, gemm;
    int threads, steps, json;
} arguments;

/* All that a step works on, made in this order. */
typedef struct job {
    const arguments *a;
    cg_clip_desc desc;
    cg_context *ctx;
    cg_runner *runner;
    cg_optimizer *optimizer;
    float *gradient;
    cg_batch batch;
    double *seconds; /* [steps] */
    double loss;
    size_t base, highest; /* resident bytes */
    cg_bench_peak peak;
} job;

static void job_free(job *j) {
    free(j->seconds);
    free(j->batch.image);
    free(j->batch.token);
    free(j->batch.offset);
    free(j->gradient);
    cg_optimizer_free(j->optimizer);
    cg_runner_free(j->runner);
    cg_context_free(j->ctx);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* "VmRSS" or "VmHWM", in bytes; 0 where the system does not tell. */
static size_t resident(const char *key) {
    char line[256];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0) kib = strtoull(line + strlen(key) + 1, NULL, 10);
    if (f) fclose(f);
    return (size_t)kib << 10;
}

/* --- the batch -------------------------------------------------------------------------------- */

static cg_status make_captions(cg_batch *b, const cg_text_desc *text, int64_t mean) {
    int64_t most = text->context_length - 2;
    if (mean > most)
        return cg_error(CG_EINVAL, "captions of %lld tokens, but the context has room for %lld",
                        (long long)mean, (long long)most);
    int64_t spread = mean - 1 < most - mean ? mean - 1 : most - mean;
    b->offset = calloc((size_t)b->n + 1, sizeof *b->offset);
    b->token = calloc((size_t)(b->n * text->context_length), sizeof *b->token);
    if (!b->offset || !b->token) return cg_error(CG_ENOMEM, "no memory for captions");
    for (int64_t t = 0; t < b->n; t++) {
        uint64_t shape = cg_mix64((uint64_t)t) % (uint64_t)(2 * spread + 1);
        int32_t length = (int32_t)(mean - spread + (int64_t)shape);
        int32_t *id = b->token + b->offset[t];
        b->offset[t + 1] = b->offset[t] + length + 2;
        id[0] = (int32_t)text->vocab_size - 2;
        for (int32_t i = 0; i < length; i++)
            id[1 + i] = (int32_t)(cg_mix64(((uint64_t)t + 1) << 32 | (uint64_t)i) %
                                  (uint64_t)(text->vocab_size - 2));
        id[1 + length] = (int32_t)text->vocab_size - 1;
    }
    return CG_OK;
}

static cg_status make_batch(job *j) {
    int64_t size = j->desc.vision.image_size;
    size_t n = (size_t)(j->a->batch * size * size * 3);
    cg_rng rng = cg_rng_at(0, CG_RNG_SYNTHETIC, 0, 0);
    j->batch.n = j->a->batch;
    j->batch.image = malloc(n * sizeof *j->batch.image);
    if (!j->batch.image) return cg_error(CG_ENOMEM, "no memory for pictures");
    for (size_t i = 0; i < n; i++) j->batch.image[i] = (float)cg_rng_range(&rng, -1.7, 1.7);
    return make_captions(&j->batch, &j->desc.text, j->a->tokens);
}

/* --- steps ------------------------------------------------------------------------------------ */

static cg_status prepare(job *j) {
    const cg_adamw adamw = {
        .beta1 = 0.9f, .beta2 = 0.98f, .eps = 1e-6f, .weight_decay = 0.2f, .clip_norm = 1};
    CG_TRY(cg_clip_desc_load(j->a->model, &j->desc));
    CG_TRY(cg_context_create(j->a->threads, &j->ctx));
    CG_TRY(cg_runner_create(j->ctx, &j->desc, &j->runner));
    cg_params *params = cg_runner_params(j->runner);
    size_t bytes = (size_t)cg_params_trained_elements(params) * sizeof(float);
    cg_params_init(params, 0);
    CG_TRY(cg_optimizer_create(params, adamw, j->ctx->threads, &j->optimizer));
    j->gradient = malloc(bytes);
    j->seconds = calloc((size_t)j->a->steps, sizeof *j->seconds);
    if (!j->gradient || !j->seconds) return cg_error(CG_ENOMEM, "no memory for the gradients");
    /* not 0, which the compiler would turn into a calloc whose pages are not touched */
    for (size_t i = 0; i < bytes / sizeof(float); i++) j->gradient[i] = 1;
    for (int k = 0; k < 2; k++) memset(cg_optimizer_moment(j->optimizer, k), 0, bytes);
    CG_TRY(make_batch(j));
    j->base = resident("VmRSS");
    return CG_OK;
}

static cg_status step(job *j) {
    CG_TRY(cg_runner_backward(j->runner, &j->batch, j->gradient, &j->loss));
    double norm = cg_optimizer_norm(j->optimizer, j->gradient);
    if (!isfinite(j->loss) || !isfinite(norm))
        return cg_error(CG_ENONFINITE, "the loss or the gradient is not finite");
    cg_optimizer_step(j->optimizer, j->gradient, norm, 1e-4);
    cg_runner_commit(j->runner);
    return CG_OK;
}

static cg_status measure(job *j) {
    CG_TRY(prepare(j));
    for (int i = -WARM_UP; i < j->a->steps; i++) {
        double from = cg_bench_now();
        CG_TRY(step(j));
        if (i >= 0) j->seconds[i] = cg_bench_now() - from;
    }
    j->highest = resident("VmHWM");
    return cg_bench_peak_measure(j->ctx, j->a->gemm, &j->peak);
}

/* --- the report ------------------------------------------------------------------------------- */

static json_t *report(job *j) {
    cg_plan_report plan;
    cg_runner_report(j->runner, &plan);
    double median = cg_bench_median(j->seconds, j->a->steps); /* sorts */
    double flops = (double)plan.flops / median;
    json_t *o = json_pack("{s:s, s:I, s:I, s:i, s:i}", "model", j->a->model, "batch",
                          (json_int_t)j->a->batch, "caption_tokens", (json_int_t)j->a->tokens,
                          "threads", j->ctx->threads, "steps", j->a->steps);
    json_t *speed = json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "median_ms", 1e3 * median, "fastest_ms",
        1e3 * j->seconds[0], "pairs_per_s", (double)j->a->batch / median, "useful_gflop",
        1e-9 * (double)plan.flops, "gflop_per_s", 1e-9 * flops, "peak_gflop_per_s",
        1e-9 * j->peak.flops, "register_gflop_per_s", 1e-9 * j->peak.machine.flops,
        "gemm_gflop_per_s", 1e-9 * j->peak.gemm, "share_of_peak", flops / j->peak.flops);
    json_t *memory =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:f}", "arena_bytes", (json_int_t)plan.arena_bytes,
                  "base_bytes", (json_int_t)j->base, "peak_bytes", (json_int_t)j->highest,
                  "activation_bytes", (json_int_t)j->highest - (json_int_t)j->base, "parameters",
                  (json_int_t)cg_params_total(cg_runner_params(j->runner)), "loss", j->loss);
    if (!o || json_object_update(o, speed) || json_object_update(o, memory)) {
        json_decref(o);
        o = NULL;
    }
    json_decref(speed);
    json_decref(memory);
    return o;
}

static double number(const json_t *o, const char *key) {
    return json_number_value(json_object_get(o, key));
}

static void print_text(const json_t *o, const cg_bench_peak *peak) {
    printf("step    %.2f ms (median of %.0f; fastest %.2f), %.1f pairs/s, %.0f threads\n",
           number(o, "median_ms"), number(o, "steps"), number(o, "fastest_ms"),
           number(o, "pairs_per_s"), number(o, "threads"));
    printf("work    %.2f useful GFLOP, %.1f GFLOP/s, %.1f %% of the peak of %.1f (%s registers "
           "%.1f, %lld-cubed GEMM %.1f)\n",
           number(o, "useful_gflop"), number(o, "gflop_per_s"), 100 * number(o, "share_of_peak"),
           number(o, "peak_gflop_per_s"), peak->machine.vector, number(o, "register_gflop_per_s"),
           (long long)peak->gemm_size, number(o, "gemm_gflop_per_s"));
    printf("memory  arena %.1f MB planned, activations %.1f MB measured, whole process %.1f MB\n",
           1e-6 * number(o, "arena_bytes"), 1e-6 * number(o, "activation_bytes"),
           1e-6 * number(o, "peak_bytes"));
}

static cg_status print(job *j) {
    json_t *o = report(j);
    if (!o) return cg_error(CG_ENOMEM, "no memory for the report");
    if (j->a->json) {
        json_dumpf(o, stdout, JSON_REAL_PRECISION(9));
        printf("\n");
    } else
        print_text(o, &j->peak);
    json_decref(o);
    return CG_OK;
}

static const struct argp_option options[] = {
    {"model", 'm', "FILE", 0, "description of the model (JSON); required", 0},
    {"batch", 'b', "N", 0, "pairs of a step (64)", 0},
    {"caption-tokens", 'k', "K", 0, "tokens of a caption on average, without start and end (10)",
     0},
    {"threads", 't', "N", 0, "threads (default: one per processor)", 0},
    {"steps", 's', "N", 0, "steps that are timed, after 2 that are not (10)", 0},
    {"gemm", 'g', "N", 0, "rows of the matrices that the peak is measured with (4096)", 0},
    {"json", 'j', NULL, 0, "print one line of JSON", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case 'm':
        a->model = text;
        return 0;
    case 'b':
        a->batch = cg_bench_whole(state, text, 2);
        return 0;
    case 'k':
        a->tokens = cg_bench_whole(state, text, 1);
        return 0;
    case 't':
        a->threads = (int)cg_bench_whole(state, text, 1);
        return 0;
    case 's':
        a->steps = (int)cg_bench_whole(state, text, 1);
        return 0;
    case 'g':
        a->gemm = cg_bench_whole(state, text, 1);
        return 0;
    case 'j':
        a->json = 1;
        return 0;
    case ARGP_KEY_END:
        if (!a->model) argp_error(state, "which model? give --model FILE");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv) {
    arguments a = {.batch = 64, .tokens = 10, .steps = 10, .gemm = CG_PEAK_GEMM};
    struct argp argp = {options, parse, NULL, "Times a training step of a model.",
                        NULL,    NULL,  NULL};
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    job j = {.a = &a};
    cg_status s = measure(&j);
    if (s == CG_OK) s = print(&j);
    job_free(&j);
    if (s != CG_OK) fprintf(stderr, "bench_step: %s\n", cg_error_message());
    return s != CG_OK;
}
