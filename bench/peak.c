#include "bench/peak.h"

#include "bench/measure.h"
#include "graph/exec.h"
#include "ops/ops.h"

#include <stdlib.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* --- registers -------------------------------------------------------------------------------- */

enum { CHAINS = 12 }; /* hide the latency of 2 pipes × 4 to 5 cycles, and fit 16 registers */

/* n rounds of CHAINS independent multiply-adds on vectors of that many bytes. The bodies differ in
 * their target only, so that each is compiled for its processor. */
#define REGISTER_LOOP(name, bytes, attribute)                                                      \
    attribute static float name(int64_t n) {                                                       \
        typedef float vector __attribute__((vector_size(bytes)));                                  \
        vector a[CHAINS], x = {0}, y = {0}, sum = {0};                                             \
        x += 0.999f;                                                                               \
        y += 0.001f;                                                                               \
        for (int k = 0; k < CHAINS; k++) a[k] = y + (float)k;                                      \
        for (int64_t i = 0; i < n; i++) {                                                          \
            _Pragma("GCC unroll 12") for (int k = 0; k < CHAINS; k++) a[k] = a[k] * x + y;         \
        }                                                                                          \
        for (int k = 0; k < CHAINS; k++) sum += a[k];                                              \
        return sum[0];                                                                             \
    }

typedef struct level {
    const char *name;
    int lanes; /* multiply-adds of an instruction */
    float (*loop)(int64_t n);
} level;

#if defined(__x86_64__)
REGISTER_LOOP(loop_avx512, 64, __attribute__((target("avx512f"), noinline)))
REGISTER_LOOP(loop_avx2, 32, __attribute__((target("avx2,fma"), noinline)))
REGISTER_LOOP(loop_sse, 16, __attribute__((noinline)))

static level best_level(void) {
    if (__builtin_cpu_supports("avx512f")) return (level){"avx512f", 16, loop_avx512};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (level){"avx2", 8, loop_avx2};
    return (level){"sse2", 4, loop_sse};
}

/* The same with vdpbf16ps: each of 16 sums gains two products of bf16. */
__attribute__((target("avx512f,avx512bf16"), noinline)) static float loop_bf16(int64_t n) {
    __m512bh x = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.25f), _mm512_set1_ps(0.5f));
    __m512 a[CHAINS], sum = _mm512_setzero_ps();
    for (int k = 0; k < CHAINS; k++) a[k] = _mm512_set1_ps((float)k);
    for (int64_t i = 0; i < n; i++) {
        _Pragma("GCC unroll 12") for (int k = 0; k < CHAINS; k++) a[k] =
            _mm512_dpbf16_ps(a[k], x, x);
    }
    for (int k = 0; k < CHAINS; k++) sum = _mm512_add_ps(sum, a[k]);
    return _mm512_cvtss_f32(sum);
}

static level bf16_level(void) {
    if (__builtin_cpu_supports("avx512bf16")) return (level){"avx512_bf16", 32, loop_bf16};
    return (level){0};
}
#else
REGISTER_LOOP(loop_vector, 16, __attribute__((noinline)))

static level best_level(void) {
    return (level){"128-bit vectors", 4, loop_vector};
}

static level bf16_level(void) {
    return (level){0};
}
#endif

int cg_peak_has_bf16(void) {
    return bf16_level().loop != NULL;
}

static double loop_seconds(level l, int threads, int64_t n) {
    float sink = 0;
    double from = cg_bench_now();
#pragma omp parallel num_threads(threads) reduction(+ : sink)
    sink += l.loop(n);
    double seconds = cg_bench_now() - from;
    volatile float keep = sink; /* so that the loop is not dead */
    (void)keep;
    return seconds;
}

/* Of a few turns: the length of a turn must not be judged by one that was disturbed. */
static double least_seconds(level l, int threads, int64_t n) {
    double least = loop_seconds(l, threads, n);
    for (int i = 0; i < 7; i++) {
        double seconds = loop_seconds(l, threads, n);
        if (seconds < least) least = seconds;
    }
    return least;
}

static double register_flops(level l, int threads) {
    int64_t n = 1 << 12;
    while (least_seconds(l, threads, n) < 0.002) n *= 2;
    double best = 0;
    for (int i = 0; i < 200; i++) { /* short turns: some are undisturbed on a shared machine */
        double rate = 2.0 * CHAINS * l.lanes * (double)n * threads / loop_seconds(l, threads, n);
        if (rate > best) best = rate;
    }
    return best;
}

/* --- a matrix product ------------------------------------------------------------------------- */

static cg_status time_gemm(cg_exec *e, int64_t n, double *best) {
    double begun = cg_bench_now(), last;
    do {
        double from = cg_bench_now();
        CG_TRY(cg_exec_run(e));
        last = cg_bench_now() - from;
        double rate = 2.0 * (double)(n * n * n) / last;
        if (rate > *best) *best = rate;
    } while (cg_bench_now() - begun + last < 2);
    return CG_OK;
}

static cg_status gemm_with(cg_context *ctx, cg_graph *g, cg_exec *e, const float *x, int64_t n,
                           cg_plan **plan, double *best) {
    cg_value *a = cg_input(g, "a", CG_F32, CG_SHAPE(n, n));
    cg_graph_output(g, "c", cg_matmul(g, a, cg_input(g, "b", CG_F32, CG_SHAPE(n, n)), 0, 0),
                    CG_KEEP);
    CG_TRY(cg_graph_status(g));
    CG_TRY(cg_plan_create(ctx, g, plan));
    CG_TRY(cg_exec_use(e, *plan));
    CG_TRY(cg_exec_bind_input(e, "a", x));
    CG_TRY(cg_exec_bind_input(e, "b", x + n * n));
    return time_gemm(e, n, best);
}

static cg_status gemm_flops(cg_context *ctx, int64_t n, double *best) {
    cg_graph *g = NULL;
    cg_plan *plan = NULL;
    cg_exec *e = NULL;
    float *x = malloc(2 * (size_t)(n * n) * sizeof *x);
    cg_status s =
        x ? CG_OK : cg_error(CG_ENOMEM, "no memory for matrices of %lld rows", (long long)n);
    for (int64_t i = 0; x && i < 2 * n * n; i++) x[i] = (float)(i % 251) / 251 - 0.5f;
    if (s == CG_OK) s = cg_graph_create(NULL, &g);
    if (s == CG_OK) s = cg_exec_create(&e);
    if (s == CG_OK) s = gemm_with(ctx, g, e, x, n, &plan, best);
    cg_exec_free(e);
    cg_plan_free(plan);
    cg_graph_free(g);
    free(x);
    return s;
}

cg_status cg_peak_measure(cg_context *ctx, cg_dtype operand, int64_t gemm, cg_peak *out) {
    level l = operand == CG_BF16 ? bf16_level() : best_level();
    if (!l.loop) return cg_error(CG_EUNSUPPORTED, "this processor has no instructions for bf16");
    *out = (cg_peak){.vector = l.name, .registers = register_flops(l, ctx->threads)};
    while (gemm > 256 && 2.0 * (double)(gemm * gemm * gemm) > 1.5 * out->registers) gemm /= 2;
    out->gemm_size = gemm;
    /* once the engine has products of bf16, gemm_flops makes one of `operand` */
    if (operand == CG_F32) CG_TRY(gemm_flops(ctx, gemm, &out->gemm));
    out->flops = out->registers > out->gemm ? out->registers : out->gemm;
    return CG_OK;
}

/* --- memory ----------------------------------------------------------------------------------- */

cg_status cg_peak_bandwidth(cg_context *ctx, double *out) {
    int64_t n = INT64_C(1) << 25; /* 128 MiB each */
    float *x = malloc(3 * (size_t)n * sizeof *x);
    if (!x) return cg_error(CG_ENOMEM, "no memory to measure bandwidth");
    float *y = x + n, *z = y + n;
    double least = 0;
    for (int round = 0; round < 8; round++) { /* the first one touches the pages */
        double from = cg_bench_now();
#pragma omp parallel for simd schedule(static) num_threads(ctx->threads)
        for (int64_t i = 0; i < n; i++) {
            if (round == 0) y[i] = z[i] = 1;
            x[i] = y[i] + 0.5f * z[i];
        }
        double seconds = cg_bench_now() - from;
        if (round == 1 || (round > 1 && seconds < least)) least = seconds;
    }
    free(x);
    *out = 3.0 * (double)n * sizeof(float) / least;
    return CG_OK;
}
