#include "graph/peak.h"

#include "graph/clock.h"

#include <stdint.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* --- registers ---------------------------------------------------------------------------- */

enum { CHAINS = 12 }; /* hide the latency of 2 pipes × 4 to 6 cycles, and fit 16 registers */

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
    int adds; /* multiply-adds of an instruction */
    float (*loop)(int64_t n);
} level;

#if defined(__x86_64__)
REGISTER_LOOP(loop_avx512, 64, __attribute__((target("avx512f"), noinline)))
REGISTER_LOOP(loop_avx2, 32, __attribute__((target("avx2,fma"), noinline)))
REGISTER_LOOP(loop_sse, 16, __attribute__((noinline)))

__attribute__((target("avx512f,avx512bf16"), noinline)) static float loop_bf16(int64_t n) {
    __m512 a[CHAINS], sum = _mm512_setzero_ps();
    __m512bh x = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.5f));
    __m512bh y = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.001f), _mm512_set1_ps(0.001f));
    for (int k = 0; k < CHAINS; k++) a[k] = _mm512_set1_ps((float)k);
    for (int64_t i = 0; i < n; i++) {
        _Pragma("GCC unroll 12") for (int k = 0; k < CHAINS; k++) a[k] =
            _mm512_dpbf16_ps(a[k], x, y);
    }
    for (int k = 0; k < CHAINS; k++) sum = _mm512_add_ps(sum, a[k]);
    return _mm512_cvtss_f32(sum);
}

static level best_level(void) {
    if (__builtin_cpu_supports("avx512f")) return (level){"avx512f", 16, loop_avx512};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (level){"avx2", 8, loop_avx2};
    return (level){"sse2", 4, loop_sse};
}

static level bf16_level(void) {
    return __builtin_cpu_supports("avx512bf16") ? (level){"avx512_bf16", 32, loop_bf16}
                                                : (level){NULL, 0, NULL};
}
#else
REGISTER_LOOP(loop_vector, 16, __attribute__((noinline)))

static level best_level(void) {
    return (level){"128-bit vectors", 4, loop_vector};
}

static level bf16_level(void) {
    return (level){NULL, 0, NULL};
}
#endif

static double loop_seconds(level l, int threads, int64_t n) {
    float sink = 0;
    double from = cg_now();
#pragma omp parallel num_threads(threads) reduction(+ : sink)
    sink += l.loop(n);
    double seconds = cg_now() - from;
    volatile float keep = sink; /* so that the loop is not dead */
    (void)keep;
    return seconds;
}

static double level_flops(level l, int threads, double seconds) {
    int64_t n = 1 << 12;
    double best = 0, begun = cg_now();
    if (!l.loop) return 0;
    while (loop_seconds(l, threads, n) < 0.002) n *= 2;
    do {
        double rate = 2.0 * CHAINS * l.adds * (double)n * threads / loop_seconds(l, threads, n);
        if (rate > best) best = rate;
    } while (cg_now() - begun < seconds);
    return best;
}

void cg_peak_registers(int threads, double seconds, cg_peak *out) {
    level l = best_level();
    out->vector = l.name;
    out->flops = level_flops(l, threads, seconds);
    out->bf16 = level_flops(bf16_level(), threads, seconds);
}

/* --- memory ------------------------------------------------------------------------------- */

cg_status cg_peak_memory(int threads, size_t array_bytes, cg_peak *out) {
    int64_t n = (int64_t)(array_bytes / sizeof(float));
    float *x = malloc(3 * (size_t)n * sizeof *x + 1);
    if (!x) return cg_error(CG_ENOMEM, "no memory to measure bandwidth");
    float *y = x + n, *z = y + n;
    double least = 0;
    for (int round = 0; round < 8; round++) { /* the first one touches the pages */
        double from = cg_now();
#pragma omp parallel for simd schedule(static) num_threads(threads)
        for (int64_t i = 0; i < n; i++) {
            if (round == 0) y[i] = z[i] = 1;
            x[i] = y[i] + 0.5f * z[i];
        }
        double seconds = cg_now() - from;
        if (round == 1 || (round > 1 && seconds < least)) least = seconds;
    }
    free(x);
    out->bytes = 3.0 * (double)n * sizeof(float) / least;
    return CG_OK;
}

cg_status cg_peak_measure(int threads, cg_peak *out) {
    *out = (cg_peak){0};
    cg_peak_registers(threads, 0.05, out);
    return cg_peak_memory(threads, (size_t)32 << 20, out);
}
