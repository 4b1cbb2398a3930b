/* What the benchmarks share: a clock, a median, and numbers from a command line. */
#ifndef CG_BENCH_MEASURE_H
#define CG_BENCH_MEASURE_H

#include <argp.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static inline double cg_bench_now(void) { /* seconds */
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline int cg_bench_order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts x; n ≥ 1. */
static inline double cg_bench_median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, cg_bench_order);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* Wrong usage ends a benchmark with 2, as it does clipgraph; what fails later, with 1. */
static inline void cg_bench_parse(const struct argp *argp, int argc, char **argv, void *arguments) {
    argp_err_exit_status = 2;
    argp_parse(argp, argc, argv, 0, NULL, arguments);
}

/* A whole number of at least `low`, or the end with a sentence. */
static inline int64_t cg_bench_whole(struct argp_state *state, const char *text, int64_t low) {
    char *end;
    long long x = strtoll(text, &end, 10);
    if (*end || end == text || x < low || x > 1 << 24)
        argp_error(state, "\"%s\": wanted a whole number from %lld to %d", text, (long long)low,
                   1 << 24);
    return x;
}

#endif
