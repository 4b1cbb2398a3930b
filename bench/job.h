/* What the benchmarks of whole models share: options, a model with made-up pictures and captions,
 * the timing of turns, and the report. A benchmark is its own options, a `cg_bench_work`, and
 *
 *     cg_bench_job j = {.o = &options};
 *     s = cg_bench_model(&j); … cg_bench_captions(&j); … cg_bench_run(&j, &work);
 *     cg_bench_job_free(&j);
 *
 * Captions have K tokens on average, start and end not counted. With s = min(K - 1, room left in
 * the context), caption t has K - s + mix64(t) mod (2 s + 1) tokens, of which the j-th is
 * mix64((t + 1) · 2^32 + j) mod (vocabulary - 2). With --captions FILE, caption t is line
 * t mod lines: ids below vocabulary - 2 with spaces between, without start and end.
 * bench/workload.py makes the same ones of both kinds. */
#ifndef CG_BENCH_JOB_H
#define CG_BENCH_JOB_H

#include "bench/measure.h"
#include "bench/peak.h"
#include "train/runner.h"

#include <jansson.h>

typedef struct cg_bench_options {
    const char *model, *captions; /* captions: a file, or NULL */
    cg_dtype precision;           /* CG_F32 or CG_BF16 */
    cg_passes_off off;            /* passes left out */
    int64_t batch, tokens, gemm;  /* gemm 0: the peak is not measured */
    int threads, steps;
    int json, turns;
} cg_bench_options;

/* What they are where the command line says nothing, and the parser, a child whose input is them.
 */
cg_bench_options cg_bench_defaults(void);
extern const struct argp cg_bench_argp;

typedef struct cg_bench_job {
    const cg_bench_options *o;
    cg_clip_desc desc;
    cg_context *ctx;
    cg_runner *runner;
    cg_batch batch;
    double *seconds; /* [steps] of a turn */
    double cpu;      /* processor seconds of all threads, of the least of them */
    size_t base,
        highest;        /* resident bytes: before the first run, and at most until the first peak */
    cg_bench_peak peak; /* of the last turn */
} cg_bench_job;

/* The description, a context and a runner with initialised parameters.
 * errors  CG_EUNSUPPORTED: a precision that the engine has not; those of files and memory */
cg_status cg_bench_model(cg_bench_job *j);
cg_status cg_bench_pictures(cg_bench_job *j); /* uniform noise */
/* errors  CG_EINVAL: more tokens than the context has room for. CG_EFORMAT: in the file, too, or
 *         an id that the vocabulary lacks, or no caption */
cg_status cg_bench_captions(cg_bench_job *j);
void cg_bench_job_free(cg_bench_job *j);

typedef struct cg_bench_work {
    const char *item; /* what a batch is made of: "pairs" */
    cg_status (*run)(void *self);
    cg_status (*report)(void *self, json_t *o); /* adds to a turn's report; or NULL */
    void *self;
} cg_bench_work;

/* Steps that are not timed (the first one plans), then turns of timed ones, each with its report
 * on standard output: one turn; or with --turns "ready" and then one for each line of standard
 * input, so that contestants take turns and none pays for its start in one. Activation memory is
 * the highest resident size up to the end of the first turn, less j->base, the resident size
 * when everything but the plan had been touched. The peak is measured after each turn.
 * share_of_peak is of the median run; cpu_share_of_peak of the run with the least processor time,
 * for which it hardly matters what else the processors do. */
cg_status cg_bench_run(cg_bench_job *j, const cg_bench_work *w);

#endif
