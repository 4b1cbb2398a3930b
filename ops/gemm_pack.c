/* Packing of matrix products: the orders in which the tiles read. */
#if defined(__x86_64__)
#include "ops/gemm_kernel.h"

#include <immintrin.h>
#include <string.h>

#define TARGET      __attribute__((target(CG_GEMM_TARGET)))
#define PACK_INLINE static inline __attribute__((always_inline, target(CG_GEMM_TARGET)))

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The first n of 16 lanes. */
PACK_INLINE __mmask16 lanes(int64_t n) {
    return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1);
}

/* 16 words of a row along k, of which `elements` elements are there. */
PACK_INLINE __m512i words(const char *at, int64_t elements, int bf16) {
    if (!bf16) return _mm512_maskz_loadu_epi32(lanes(elements), at);
    __mmask32 there = elements >= 32 ? 0xffffffffu : (1u << elements) - 1;
    return _mm512_maskz_loadu_epi16(there, at);
}

/* --- rows along k to columns ------------------------------------------------------------------ */

PACK_INLINE void transpose4(__m512i *x) { /* within each quarter */
    __m512i a = _mm512_unpacklo_epi32(x[0], x[1]), b = _mm512_unpackhi_epi32(x[0], x[1]);
    __m512i c = _mm512_unpacklo_epi32(x[2], x[3]), d = _mm512_unpackhi_epi32(x[2], x[3]);
    x[0] = _mm512_unpacklo_epi64(a, c);
    x[1] = _mm512_unpackhi_epi64(a, c);
    x[2] = _mm512_unpacklo_epi64(b, d);
    x[3] = _mm512_unpackhi_epi64(b, d);
}

/* Quarters of four vectors that are 4 apart change places. */
PACK_INLINE void transpose_quarters(__m512i *x) {
    __m512i a = _mm512_shuffle_i32x4(x[0], x[4], 0x88), b = _mm512_shuffle_i32x4(x[8], x[12], 0x88);
    __m512i c = _mm512_shuffle_i32x4(x[0], x[4], 0xdd), d = _mm512_shuffle_i32x4(x[8], x[12], 0xdd);
    x[0] = _mm512_shuffle_i32x4(a, b, 0x88);
    x[8] = _mm512_shuffle_i32x4(a, b, 0xdd);
    x[4] = _mm512_shuffle_i32x4(c, d, 0x88);
    x[12] = _mm512_shuffle_i32x4(c, d, 0xdd);
}

/* 16 rows of 16 words, of which `rows` rows and `elements` elements are there, become `n` rows of
 * 16 words, CG_GEMM_COLUMNS apart. */
PACK_INLINE void transpose16(const char *from, int64_t ld, int64_t rows, int64_t elements, int bf16,
                             uint32_t *to, int64_t n) {
    __m512i x[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        x[i] = i < rows ? words(from + i * ld, elements, bf16) : _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) transpose4(x + i);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) transpose_quarters(x + i);
        /* x[i + 4 q] now has column 4 q + i */
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        if (i < n) _mm512_store_si512(to + i * CG_GEMM_COLUMNS, x[i]);
}

TARGET static void panel_along_k(const char *from, int64_t ld, int64_t rows, int64_t kw,
                                 int64_t elements, int bf16, uint32_t *to) {
    const int64_t each = bf16 ? 32 : 16;
    for (int64_t p = 0; p < kw; p += 16, from += 64, elements -= each)
        for (int half = 0; half < 2; half++) {
            const char *at = from + half * 16 * ld;
            uint32_t *out = to + p * CG_GEMM_COLUMNS + half * 16;
            int64_t there = rows - half * 16;
            if (there >= 16 && p + 16 <= kw && elements >= each)
                transpose16(at, ld, 16, each, bf16, out, 16);
            else
                transpose16(at, ld, there, elements, bf16, out, kw - p);
        }
}

/* --- rows across k ---------------------------------------------------------------------------- */

/* 16 words of as many columns, of which n are there, from one row, or two of bf16. */
PACK_INLINE __m512i across(const char *row, const char *next, int64_t j, int64_t n, int bf16) {
    if (!bf16) return _mm512_maskz_loadu_epi32(lanes(n), row + 4 * j);
    __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes(n), row + 2 * j));
    if (!next) return low;
    __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes(n), next + 2 * j));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

/* The row, or rows, of word p; beyond k there are no more. */
PACK_INLINE const char *row_of(const cg_gemm_source *s, int64_t p, int64_t k, const char **next) {
    const char *row = s->at + (s->bf16 ? 2 * p : p) * s->ld;
    *next = s->bf16 && 2 * p + 1 < k ? row + s->ld : NULL;
    return row;
}

PACK_INLINE void panels_across(const cg_gemm_source *s, int64_t i0, int64_t rows, int64_t p0,
                               int64_t kw, int64_t k, uint32_t *to, int bf16) {
    for (int64_t p = 0; p < kw; p++) {
        const char *next, *row = row_of(s, p0 + p, k, &next);
        uint32_t *out = to + p * CG_GEMM_COLUMNS;
        for (int64_t j = 0; j < rows; j += CG_GEMM_COLUMNS, out += kw * CG_GEMM_COLUMNS) {
            _mm512_store_si512(out, across(row, next, i0 + j, rows - j, bf16));
            _mm512_store_si512(out + 16, across(row, next, i0 + j + 16, rows - j - 16, bf16));
        }
    }
}

TARGET void cg_gemm_pack_b(const cg_gemm_source *s, int64_t i0, int64_t rows, int64_t p0,
                           int64_t kw, int64_t k, uint32_t *to) {
    if (!s->along_k) {
        if (s->bf16)
            panels_across(s, i0, rows, p0, kw, k, to, 1);
        else
            panels_across(s, i0, rows, p0, kw, k, to, 0);
        return;
    }
    const int64_t first = s->bf16 ? 2 * p0 : p0;
    for (int64_t j = 0; j < rows; j += CG_GEMM_COLUMNS, to += kw * CG_GEMM_COLUMNS) {
        const char *from = s->at + (i0 + j) * s->ld + 4 * p0;
        if (s->bf16)
            panel_along_k(from, s->ld, least(rows - j, 32), kw, k - first, 1, to);
        else
            panel_along_k(from, s->ld, least(rows - j, 32), kw, k - first, 0, to);
    }
}

TARGET void cg_gemm_pack_a(const cg_gemm_source *s, int64_t i0, int64_t rows, int64_t panels,
                           int64_t p0, int64_t kw, int64_t k, uint32_t *to) {
    for (int64_t p = 0; p < kw; p++) {
        const char *next, *row = row_of(s, p0 + p, k, &next);
        uint32_t *out = to + p * CG_GEMM_ROWS;
        for (int64_t i = 0; i < panels; i++, out += kw * CG_GEMM_ROWS) {
            int64_t begin = rows * i / panels, end = rows * (i + 1) / panels;
            __m512i x = across(row, next, i0 + begin, end - begin, s->bf16);
            _mm512_mask_storeu_epi32(out, (1u << CG_GEMM_ROWS) - 1, x);
        }
    }
}

TARGET void cg_gemm_copy_a(const cg_gemm_source *s, int64_t i0, int64_t rows, int64_t p0,
                           int64_t kw, int64_t k, char *to, int64_t to_ld) {
    const int64_t first = s->bf16 ? 2 * p0 : p0, size = s->bf16 ? 2 : 4;
    const size_t bytes = (size_t)least(4 * kw, size * (k - first));
    for (int64_t i = 0; i < rows; i++, to += to_ld) {
        memcpy(to, s->at + (i0 + i) * s->ld + 4 * p0, bytes);
        if (bytes < 4 * (size_t)kw) memset(to + bytes, 0, 4 * (size_t)kw - bytes);
    }
}

#endif
