/* The tiles of a product, for one type of operand: included by gemm_f32.c and gemm_bf16.c, which
 * define TARGET, what it is compiled for, DOT, its instruction, and
 * TABLE, the name of the kernels.
 *
 * 14 rows of 2 vectors are 28 sums; with 2 vectors of b and one word of a in all lanes they fill
 * the 32 registers. A step of k is 28 multiply-adds to 16 loads. */
#include "ops/gemm_kernel.h"

#include <immintrin.h>

#define TILE_INLINE static inline __attribute__((always_inline, target(TARGET)))
#define ROWS        CG_GEMM_ROWS

/* sum [2] += a word of a · 32 words of b. In assembler, for the compiler would load the next b or a
 * ahead, find no register free for it, and spill. */
#define MULTIPLY(sum, address, ...)                                                                \
    if (vectors == 2)                                                                              \
        __asm__ volatile("vbroadcastss " address ", %[x]\n\t" DOT " %[b0], %[x], %[s0]\n\t" DOT    \
                         " %[b1], %[x], %[s1]"                                                     \
                         : [s0] "+v"((sum)[0]), [s1] "+v"((sum)[1]), [x] "=&v"(x)                  \
                         : [b0] "v"(b0), [b1] "v"(b1), __VA_ARGS__);                               \
    else                                                                                           \
        __asm__ volatile("vbroadcastss " address ", %[x]\n\t" DOT " %[b0], %[x], %[s0]"            \
                         : [s0] "+v"((sum)[0]), [x] "=&v"(x)                                       \
                         : [b0] "v"(b0), __VA_ARGS__)

/* Row i at word q. Rows that are lda apart are reached from every third: pointers to all of them
 * would not fit the registers. All numbers are literal, so that no optimiser has to find them. */
#define ROW(i, q)                                                                                  \
    if ((i) < rows) {                                                                              \
        if (packed) {                                                                              \
            MULTIPLY(sum[i], "%c[d](%[a])", [a] "r"(a[0]), [d] "i"(4 * ((q)*ROWS + (i))));         \
        } else if ((i) % 3 == 0) {                                                                 \
            MULTIPLY(sum[i], "%c[d](%[a])", [a] "r"(a[(i) / 3]), [d] "i"(4 * (q)));                \
        } else {                                                                                   \
            MULTIPLY(sum[i], "%c[d](%[a],%[lda],%c[scale])", [a] "r"(a[(i) / 3]), [lda] "r"(lda),  \
                     [scale] "i"((i) % 3 ? (i) % 3 : 1), [d] "i"(4 * (q)));                        \
        }                                                                                          \
    }

#define WORD(q)                                                                                    \
    {                                                                                              \
        const __m512 b0 = load(b + (q)*CG_GEMM_COLUMNS),                                           \
                     b1 = vectors == 2 ? load(b + (q)*CG_GEMM_COLUMNS + CG_GEMM_VECTOR) : b0;      \
        __m512 x;                                                                                  \
        ROW(0, q)                                                                                  \
        ROW(1, q)                                                                                  \
        ROW(2, q)                                                                                  \
        ROW(3, q)                                                                                  \
        ROW(4, q)                                                                                  \
        ROW(5, q)                                                                                  \
        ROW(6, q)                                                                                  \
        ROW(7, q)                                                                                  \
        ROW(8, q)                                                                                  \
        ROW(9, q)                                                                                  \
        ROW(10, q)                                                                                 \
        ROW(11, q)                                                                                 \
        ROW(12, q)                                                                                 \
        ROW(13, q)                                                                                 \
    }

TILE_INLINE __m512 load(const uint32_t *b) {
    __m512 x;
    __asm__ volatile("vmovaps %[m], %[x]" : [x] "=v"(x) : [m] "m"(*(const __m512 *)b));
    return x;
}

TILE_INLINE void steps(__m512 sum[ROWS][2], const cg_gemm_tile *t, int rows, int vectors,
                       int packed) {
    const int64_t lda = t->lda, by = packed ? 4 * ROWS : 4, ahead_step = t->ahead_step;
    const int bases = packed ? 1 : (rows + 2) / 3;
    const uint32_t *b = t->b;
    const char *ahead = t->ahead, *a[5], *ask = (const char *)(t->add ? t->add : t->out);
    int64_t ask_step = 4 * (t->add ? t->add_ld : t->out_ld), ask_rows = rows;
#pragma GCC unroll 5
    for (int i = 0; i < bases; i++) a[i] = t->a + 3 * i * lda;
    int64_t p = t->k;
    for (; p >= 4; p -= 4) {
        _mm_prefetch(ahead, _MM_HINT_T1);
        _mm_prefetch(ahead + 64, _MM_HINT_T1);
        ahead += ahead_step;
        __builtin_prefetch(ask, 1, 3);
        __builtin_prefetch(ask + 64, 1, 3);
        ask += ask_step;
        if (--ask_rows <= 0) ask_step = 0;
        WORD(0)
        WORD(1)
        WORD(2)
        WORD(3)
#pragma GCC unroll 5
        for (int i = 0; i < bases; i++) {
            a[i] += 4 * by;
            __asm__("" : "+r"(a[i])); /* so that it stays a pointer of its own */
        }
        b += 4 * CG_GEMM_COLUMNS;
    }
    for (; p > 0; p--, b += CG_GEMM_COLUMNS) {
        WORD(0)
#pragma GCC unroll 5
        for (int i = 0; i < bases; i++) a[i] += by;
    }
}

/* What the sums are added to is asked for early and read late. */
TILE_INLINE void tile(const cg_gemm_tile *t, int rows, int vectors, int packed) {
    __m512 sum[ROWS][2];
    const float *add = t->add;
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        sum[i][0] = _mm512_loadu_ps(t->init);
        if (vectors == 2) sum[i][1] = _mm512_loadu_ps(t->init + CG_GEMM_VECTOR);
    }
    steps(sum, t, rows, vectors, packed);
    if (add) {
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++, add += t->add_ld) {
            sum[i][0] += _mm512_loadu_ps(add);
            if (vectors == 2) sum[i][1] += _mm512_loadu_ps(add + CG_GEMM_VECTOR);
        }
    }
    float *to = t->out;
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++, to += t->out_ld) {
        _mm512_storeu_ps(to, sum[i][0]);
        if (vectors == 2) _mm512_storeu_ps(to + CG_GEMM_VECTOR, sum[i][1]);
    }
}

#define KERNEL(rows, vectors, packed)                                                              \
    __attribute__((target(TARGET))) static void tile_##rows##_##vectors##_##packed(                \
        const cg_gemm_tile *t) {                                                                   \
        tile(t, rows, vectors, packed);                                                            \
    }
#define EACH_ROW(F, v, p)                                                                          \
    F(1, v, p)                                                                                     \
    F(2, v, p)                                                                                     \
    F(3, v, p)                                                                                     \
    F(4, v, p)                                                                                     \
    F(5, v, p)                                                                                     \
    F(6, v, p)                                                                                     \
    F(7, v, p)                                                                                     \
    F(8, v, p)                                                                                     \
    F(9, v, p)                                                                                     \
    F(10, v, p) F(11, v, p) F(12, v, p) F(13, v, p) F(14, v, p)

EACH_ROW(KERNEL, 1, 0)
EACH_ROW(KERNEL, 2, 0)
EACH_ROW(KERNEL, 1, 1)
EACH_ROW(KERNEL, 2, 1)

#define NAME(rows, vectors, packed) tile_##rows##_##vectors##_##packed,

const cg_gemm_kernels TABLE = {
    {{EACH_ROW(NAME, 1, 0)}, {EACH_ROW(NAME, 2, 0)}},
    {{EACH_ROW(NAME, 1, 1)}, {EACH_ROW(NAME, 2, 1)}},
};
