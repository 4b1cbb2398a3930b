/* bench_gemm: our own matrix products beside oneDNN's, at the sizes of CLIP's towers, in turns.
 *
 * A row gives GFLOP/s of each, medians, their shares of the register peak in f32 (bf16 has twice
 * that), and the ratio; both read plain weights; a star stands where ops use our own. --cpu counts
 * the time of the calling thread only, which other work on the machine disturbs less, and wants
 * --threads 1. */
#include "bench/measure.h"
#include "bench/peak.h"
#include "ops/bf16.h"
#include "ops/dnn.h"
#include "ops/gemm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- the table -------------------------------------------------------------------------------- */

typedef struct size {
    const char *name;
    int64_t m, n, k;
} size;

/* Rows, columns out and columns in of layers; each is run forward, and for both gradients. */
static const size layers[] = {
    {"vit-b/32 qkv", 1600, 2304, 768},    {"vit-b/32 out", 1600, 768, 768},
    {"vit-b/32 up", 1600, 3072, 768},     {"vit-b/32 down", 1600, 768, 3072},
    {"vit-b/32 one up", 50, 3072, 768},   {"text qkv", 4928, 1536, 512},
    {"text out", 832, 512, 512},          {"text up", 832, 2048, 512},
    {"text down", 4928, 512, 2048},       {"rn50 layer1 1x1", 100352, 64, 256},
    {"rn50 layer2 1x1", 25088, 512, 128}, {"rn50 layer3 1x1", 6272, 256, 1024},
    {"rn50 layer4 1x1", 1568, 2048, 512}, {"demo 1x1", 4096, 192, 48},
};

enum { FORWARD, DATA, WEIGHTS, DIRECTIONS };
static const char *const direction_name[] = {"y", "dx", "dw"};

static cg_gemm_shape shape_of(const size *l, int direction, cg_dtype type) {
    cg_gemm_shape s = {.m = l->m, .n = l->n, .k = l->k, .transpose_b = 1, .type = type};
    if (direction == DATA) s.n = l->k, s.k = l->n, s.transpose_b = 0;
    if (direction == WEIGHTS)
        s.m = l->n, s.n = l->k, s.k = l->m, s.transpose_a = 1, s.transpose_b = 0;
    return s;
}

/* --- one row ---------------------------------------------------------------------------------- */

typedef struct arguments {
    const char *filter;
    int threads, turns, cpu;
    cg_dtype type;
} arguments;

typedef struct contest {
    cg_gemm *own;
    cg_dnn *theirs;
    void *a, *b, *c, *scratch;
    cg_status status;
} contest;

static double now(const arguments *x) {
    struct timespec t;
    clock_gettime(x->cpu ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *memory(contest *r, size_t bytes) {
    void *p = aligned_alloc(64, cg_align64(bytes + 1));
    if (!p) r->status = cg_error(CG_ENOMEM, "no memory for %zu bytes", bytes);
    return p;
}

static void *matrix(contest *r, int64_t count, cg_dtype type) {
    void *p = memory(r, (size_t)count * cg_dtype_size(type));
    for (int64_t i = 0; p && i < count; i++)
        cg_store(p, i, (float)(i * 7 % 251) / 251 - 0.5f, type == CG_BF16);
    return p;
}

static void prepare(contest *r, cg_context *ctx, const cg_gemm_shape *s) {
    const cg_dnn_matmul m = {.batch = 1,
                             .m = s->m,
                             .n = s->n,
                             .k = s->k,
                             .transpose_a = s->transpose_a,
                             .transpose_b = s->transpose_b,
                             .only_dnn = 1,
                             .a_type = s->type,
                             .b_type = s->type};
    r->status = cg_dnn_matmul_create(ctx, &m, &r->theirs);
    if (r->status == CG_OK) r->status = cg_gemm_create(s, ctx->threads, &r->own);
    if (r->status != CG_OK) return;
    size_t own = cg_gemm_scratch(r->own), theirs = cg_dnn_scratch(r->theirs);
    r->a = matrix(r, s->m * s->k, s->type);
    r->b = matrix(r, s->n * s->k, s->type);
    r->c = matrix(r, s->m * s->n, CG_F32);
    r->scratch = memory(r, own > theirs ? own : theirs);
}

static void release(contest *r) {
    cg_gemm_free(r->own);
    cg_dnn_free(r->theirs);
    free(r->a);
    free(r->b);
    free(r->c);
    free(r->scratch);
}

/* Seconds of one product, of as many as take some 10 ms. */
static double turn(contest *r, const arguments *x, const cg_gemm_shape *s, int theirs) {
    const int64_t each = 1 + (int64_t)(5e8 / (double)(s->m * s->n) / (double)s->k);
    const cg_gemm_operands o = {.a = r->a, .b = r->b, .c = r->c};
    double from = now(x);
    for (int64_t i = 0; i < each && r->status == CG_OK; i++)
        if (theirs)
            r->status = cg_dnn_run(
                r->theirs,
                &(cg_dnn_operands){.a = r->a, .b = r->b, .c = r->c, .scratch = r->scratch});
        else
            cg_gemm_run(r->own, &o, r->scratch);
    return (now(x) - from) / (double)each;
}

enum { MOST_TURNS = 101 };

static cg_status row(cg_context *ctx, const arguments *x, const size *l, int direction, double peak,
                     double *logs) {
    const cg_gemm_shape s = shape_of(l, direction, x->type);
    contest r = {0};
    double seconds[2][MOST_TURNS];
    prepare(&r, ctx, &s);
    for (int i = -1; i < x->turns && r.status == CG_OK; i++) /* the first one warms up */
        for (int k = 0; k < 2; k++) {
            int theirs = (i + k) & 1;
            double t = turn(&r, x, &s, theirs);
            if (i >= 0) seconds[theirs][i] = t;
        }
    if (r.status == CG_OK) {
        double flops = 2e-9 * (double)(s.m * s.n) * (double)s.k;
        double own = flops / cg_bench_median(seconds[0], x->turns);
        double theirs = flops / cg_bench_median(seconds[1], x->turns);
        printf("%-16s %-8s %7lld %5lld %6lld %7.1f %5.1f %% %7.1f %5.1f %% %6.3f %s\n", l->name,
               direction_name[direction], (long long)s.m, (long long)s.n, (long long)s.k, own,
               100 * own / peak, theirs, 100 * theirs / peak, own / theirs,
               cg_gemm_is_faster(&s) ? "*" : "");
        fflush(stdout);
        *logs += log(own / theirs);
    }
    release(&r);
    return r.status;
}

/* --- the command line ------------------------------------------------------------------------- */

enum { CPU = 256, BF16 };

static error_t option(int key, char *text, struct argp_state *state) {
    arguments *x = state->input;
    switch (key) {
    case 't':
        x->threads = (int)cg_bench_whole(state, text, 1);
        return 0;
    case 'n':
        x->turns = (int)cg_bench_whole(state, text, 1);
        if (x->turns > MOST_TURNS) argp_error(state, "at most %d turns", MOST_TURNS);
        return 0;
    case CPU:
        x->cpu = 1;
        return 0;
    case BF16:
        x->type = CG_BF16;
        return 0;
    case ARGP_KEY_ARG:
        x->filter = text;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static cg_status all(cg_context *ctx, const arguments *x) {
    cg_peak peak = {0};
    cg_peak_registers(ctx->threads, 0.1, &peak);
    double flops = 1e-9 * (x->type == CG_BF16 ? peak.bf16 : peak.flops), logs = 0;
    int rows = 0;
    printf("%-16s %-8s %7s %5s %6s %7s %7s %7s %7s %6s\n", "layer", "result", "m", "n", "k", "own",
           "of peak", "oneDNN", "of peak", "ratio");
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        for (int d = 0; d < DIRECTIONS; d++) {
            if (x->filter && !strstr(layers[i].name, x->filter)) continue;
            CG_TRY(row(ctx, x, &layers[i], d, flops, &logs));
            rows++;
        }
    if (rows) printf("geometric mean of the ratios: %.3f\n", exp(logs / rows));
    return CG_OK;
}

int main(int argc, char **argv) {
    static const struct argp_option options[] = {
        {"threads", 't', "N", 0, "threads; default 1", 0},
        {"turns", 'n', "N", 0, "turns of each row; default 11", 0},
        {"cpu", CPU, NULL, 0, "time of the calling thread, not of the clock", 0},
        {"bf16", BF16, NULL, 0, "operands in bf16", 0},
        {0}};
    static const struct argp argp = {.options = options,
                                     .parser = option,
                                     .args_doc = "[FILTER]",
                                     .doc = "Our own matrix products beside oneDNN's."};
    arguments x = {.threads = 1, .turns = 11, .type = CG_F32};
    argp_parse(&argp, argc, argv, 0, NULL, &x);
    if (!cg_gemm_available(x.type)) {
        puts("this processor has none of our own");
        return 0;
    }
    cg_context *ctx = NULL;
    cg_status s = cg_context_create(x.threads, &ctx);
    if (s == CG_OK) s = all(ctx, &x);
    cg_context_free(ctx);
    if (s != CG_OK) fprintf(stderr, "bench_gemm: %s\n", cg_error_message());
    return s != CG_OK;
}
