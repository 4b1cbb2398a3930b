/* The half of bench/job.h that times and reports. */
#include "bench/job.h"

#include <stdio.h>
#include <string.h>

enum { WARM_UP = 2 }; /* runs not timed */

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

/* --- the report ------------------------------------------------------------------------------- */

/* Adds the keys of `more`, which is released; it may be NULL for want of memory. */
static int join(json_t *o, json_t *more) {
    int failed = !more || json_object_update(o, more) != 0;
    json_decref(more);
    return failed;
}

static json_t *report(cg_bench_job *j) {
    const cg_bench_options *o = j->o;
    cg_plan_report plan;
    cg_runner_report(j->runner, &plan);
    double median = cg_bench_median(j->seconds, o->steps); /* sorts */
    double flops = (double)plan.flops / median;
    double cpu_flops = (double)plan.flops * j->ctx->threads / j->cpu;
    json_t *all = json_pack(
        "{s:s, s:I, s:s, s:i, s:i}", "model", o->model, "batch", (json_int_t)o->batch, "precision",
        o->precision == CG_BF16 ? "bf16" : "f32", "threads", j->ctx->threads, "steps", o->steps);
    json_t *speed = json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "median_ms", 1e3 * median,
                              "fastest_ms", 1e3 * j->seconds[0], "cpu_ms", 1e3 * j->cpu,
                              "items_per_s", (double)o->batch / median, "useful_gflop",
                              1e-9 * (double)plan.flops, "gflop_per_s", 1e-9 * flops);
    json_t *memory =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "arena_bytes", (json_int_t)plan.arena_bytes,
                  "arena_lower_bound", (json_int_t)plan.lower_bound, "base_bytes",
                  (json_int_t)j->base, "peak_bytes", (json_int_t)j->highest, "activation_bytes",
                  (json_int_t)j->highest - (json_int_t)j->base, "parameters",
                  (json_int_t)cg_params_total(cg_runner_params(j->runner)));
    int failed = join(all, speed) | join(all, memory);
    if (o->gemm)
        failed |= join(all, json_pack("{s:f, s:f, s:f, s:f, s:f}", "peak_gflop_per_s",
                                      1e-9 * j->peak.flops, "register_gflop_per_s",
                                      1e-9 * j->peak.registers, "gemm_gflop_per_s",
                                      1e-9 * j->peak.gemm, "share_of_peak", flops / j->peak.flops,
                                      "cpu_share_of_peak", cpu_flops / j->peak.flops));
    if (!failed) return all;
    json_decref(all);
    return NULL;
}

static double number(const json_t *o, const char *key) {
    return json_number_value(json_object_get(o, key));
}

static void print_text(const json_t *o, const char *item, const cg_bench_peak *peak) {
    printf("time    %.2f ms (median of %.0f; fastest %.2f), %.1f %s/s, %.0f threads\n",
           number(o, "median_ms"), number(o, "steps"), number(o, "fastest_ms"),
           number(o, "items_per_s"), item, number(o, "threads"));
    printf("work    %.2f useful GFLOP, %.1f GFLOP/s", number(o, "useful_gflop"),
           number(o, "gflop_per_s"));
    if (peak->flops > 0)
        printf(", %.1f %% of the peak of %.1f (%s registers %.1f, %lld-cubed GEMM %.1f)",
               100 * number(o, "share_of_peak"), number(o, "peak_gflop_per_s"),
               peak->machine.vector, number(o, "register_gflop_per_s"), (long long)peak->gemm_size,
               number(o, "gemm_gflop_per_s"));
    printf("\nmemory  arena %.1f MB planned, activations %.1f MB measured, whole process %.1f MB\n",
           1e-6 * number(o, "arena_bytes"), 1e-6 * number(o, "activation_bytes"),
           1e-6 * number(o, "peak_bytes"));
}

static cg_status print(cg_bench_job *j, const cg_bench_work *w) {
    json_t *o = report(j);
    if (!o) return cg_error(CG_ENOMEM, "no memory for the report");
    cg_status s = w->report ? w->report(w->self, o) : CG_OK;
    if (s == CG_OK && j->o->json) {
        json_dumpf(o, stdout, JSON_REAL_PRECISION(9));
        printf("\n");
    } else if (s == CG_OK)
        print_text(o, w->item, &j->peak);
    json_decref(o);
    return fflush(stdout) == 0 ? s : cg_error(CG_EIO, "standard output cannot be written");
}

/* --- turns ------------------------------------------------------------------------------------ */

static double cpu_now(void) { /* seconds of all threads */
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static cg_status turn(cg_bench_job *j, const cg_bench_work *w) {
    for (int i = 0; i < j->o->steps; i++) {
        double from = cg_bench_now(), cpu_from = cpu_now();
        CG_TRY(w->run(w->self));
        j->seconds[i] = cg_bench_now() - from;
        double cpu = cpu_now() - cpu_from;
        if (i == 0 || cpu < j->cpu) j->cpu = cpu;
    }
    if (!j->highest) j->highest = resident("VmHWM");
    if (j->o->gemm) CG_TRY(cg_bench_peak_measure(j->ctx, j->o->precision, j->o->gemm, &j->peak));
    return print(j, w);
}

cg_status cg_bench_run(cg_bench_job *j, const cg_bench_work *w) {
    j->base = resident("VmRSS");
    for (int i = 0; i < WARM_UP; i++) CG_TRY(w->run(w->self));
    if (!j->o->turns) return turn(j, w);
    printf("ready\n");
    fflush(stdout);
    char line[256];
    while (fgets(line, sizeof line, stdin)) CG_TRY(turn(j, w));
    return CG_OK;
}
