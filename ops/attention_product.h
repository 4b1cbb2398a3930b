/* The micro-kernel of attention, a product of small matrices: strips of 6 rows of the left one
 * against panels of 16 columns of the right one, which is packed. Only for attention_kernel.c. */
#ifndef CG_OPS_ATTENTION_PRODUCT_H
#define CG_OPS_ATTENTION_PRODUCT_H

#include "ops/kernel.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline)) /* cloned with what calls it */

enum { STRIP = 6, PANEL = 16 };

INLINE int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

INLINE int64_t between(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

INLINE int64_t whole_panels(int64_t n) {
    return (n + PANEL - 1) / PANEL * PANEL;
}

/* A matrix of which element (i, j) is at[i * row + j * column]. */
typedef struct matrix {
    const float *at;
    int64_t row, column;
} matrix;

/* Packed: column j of row i is at[j / PANEL * panel + i * PANEL + j % PANEL]. */
typedef struct panels {
    const float *at;
    int64_t panel;
} panels;

/* c[rows, n] = a[rows, k] b[k, n], or is added to: n columns of one panel. The sums stay in
 * registers: 6 rows of 16 are 12 vectors of AVX2, and 6 of AVX-512. */
INLINE void tile(float *c, int64_t c_row, matrix a, const float *b, int rows, int64_t n, int64_t k,
                 int add) {
    float sum[STRIP][PANEL];
    const float *x = a.at;
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma omp simd
        for (int j = 0; j < PANEL; j++) sum[r][j] = 0;
    for (int64_t p = 0; p < k; p++, x += a.column, b += PANEL) {
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            float factor = x[r * a.row];
#pragma omp simd
            for (int j = 0; j < PANEL; j++) sum[r][j] += factor * b[j];
        }
    }
    if (n < PANEL) {
        for (int r = 0; r < rows; r++)
            for (int64_t j = 0; j < n; j++)
                c[r * c_row + j] = sum[r][j] + (add ? c[r * c_row + j] : 0);
        return;
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        float *to = c + r * c_row;
        if (add) {
#pragma omp simd
            for (int j = 0; j < PANEL; j++) to[j] += sum[r][j];
        } else {
#pragma omp simd
            for (int j = 0; j < PANEL; j++) to[j] = sum[r][j];
        }
    }
}

INLINE void tiles(float *c, int64_t c_row, matrix a, panels b, int rows, int64_t n, int64_t k,
                  int add) {
    for (int64_t j = 0; j < n; j += PANEL, b.at += b.panel)
        tile(c + j, c_row, a, b.at, rows, n - j, k, add);
}

/* The same for all of n columns, and at most STRIP rows. */
CG_KERNEL static void multiply(float *c, int64_t c_row, matrix a, panels b, int64_t rows, int64_t n,
                               int64_t k, int add) {
    switch (rows) {
    case 1:
        tiles(c, c_row, a, b, 1, n, k, add);
        break;
    case 2:
        tiles(c, c_row, a, b, 2, n, k, add);
        break;
    case 3:
        tiles(c, c_row, a, b, 3, n, k, add);
        break;
    case 4:
        tiles(c, c_row, a, b, 4, n, k, add);
        break;
    case 5:
        tiles(c, c_row, a, b, 5, n, k, add);
        break;
    default:
        tiles(c, c_row, a, b, STRIP, n, k, add);
    }
}

/* Packs a matrix of so many rows and columns; returns where the next may lie. */
INLINE float *pack(panels *p, float *to, const float *from, int64_t row, int64_t rows,
                   int64_t columns) {
    int64_t whole = columns / PANEL * PANEL, rest = columns - whole, panel = rows * PANEL;
    *p = (panels){to, panel};
    for (int64_t i = 0; i < rows; i++, from += row) {
        float *at = to + i * PANEL;
        for (int64_t j = 0; j < whole; j += PANEL, at += panel)
            memcpy(at, from + j, PANEL * sizeof *at);
        for (int64_t c = 0; rest > 0 && c < PANEL; c++) at[c] = c < rest ? from[whole + c] : 0;
    }
    return to + whole_panels(columns) * rows;
}

/* Four rows of `to`, PANEL apart, are four columns of `from`, of which so many rows are there,
 * times a factor. */
INLINE void transpose4(float *to, const float *from, int64_t row, int64_t rows, float factor) {
    typedef float four __attribute__((vector_size(16)));
    four x[4] = {{0}}, a, b, c, d;
    for (int64_t r = 0; r < rows; r++) memcpy(&x[r], from + r * row, sizeof *x);
    a = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5);
    b = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
    c = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7);
    d = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
    x[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    x[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    x[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    x[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
    for (int r = 0; r < 4; r++) {
        x[r] *= factor;
        memcpy(to + r * PANEL, &x[r], sizeof *x);
    }
}

/* The same of the transpose, times a factor. */
INLINE float *pack_transpose(panels *p, float *to, const float *from, int64_t row, int64_t rows,
                             int64_t columns, float factor) {
    *p = (panels){to, columns * PANEL};
    for (int64_t i = 0; i < rows; i += PANEL, to += columns * PANEL) {
        int64_t j = 0;
        for (; j + 4 <= columns; j += 4)
            for (int64_t r = 0; r < PANEL; r += 4) {
                float *at = to + j * PANEL + r;
                const float *x = from + (i + r) * row + j;
                if (i + r + 4 <= rows)
                    transpose4(at, x, row, 4, factor);
                else
                    transpose4(at, x, row, between(rows - i - r, 0, 4), factor);
            }
        for (; j < columns; j++)
            for (int64_t r = 0; r < PANEL; r++)
                to[j * PANEL + r] = i + r < rows ? factor * from[(i + r) * row + j] : 0;
    }
    return to;
}

INLINE void zero(float *x, int64_t row, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; i++) memset(x + i * row, 0, (size_t)columns * sizeof *x);
}

/* Sums are kept in PANEL parts, added by halves: one after another would wait for each other. */
INLINE float sum_of(float *part) {
#pragma GCC unroll 4
    for (int half = PANEL / 2; half > 0; half /= 2)
#pragma omp simd
        for (int c = 0; c < half; c++) part[c] += part[c + half];
    return part[0];
}

INLINE float dot(const float *x, const float *y, int64_t n) {
    float part[PANEL] = {0};
    int64_t i = 0;
    for (; i + PANEL <= n; i += PANEL)
#pragma omp simd
        for (int c = 0; c < PANEL; c++) part[c] += x[i + c] * y[i + c];
    for (; i < n; i++) part[i % PANEL] += x[i] * y[i];
    return sum_of(part);
}

#endif
