/* Tiles of Winograd's form F(2×2, 3×3): their transforms, and the product of small matrices between
 * them. Only for conv_winograd.c. */
#ifndef CG_OPS_CONV_WINOGRAD_TILE_H
#define CG_OPS_CONV_WINOGRAD_TILE_H

#include "ops/bf16.h"

enum {
    POINTS = 16, /* of a transformed tile */
    STRIP = 6,   /* rows of a product that are summed in registers, */
    PANEL = 16,  /* and columns */
};

/* --- products -------------------------------------------------------------------------------- */

/* c [rows, width] = a · b, or is added to: element (r, p) of a is a[r · a_row + p · a_step], b is a
 * panel of k rows of PANEL. The sums stay in registers. */
CG_INLINE void tile(float *c, int64_t c_row, const float *a, int64_t a_row, int64_t a_step,
                    const float *b, int64_t k, int rows, int width, int add) {
    float sum[STRIP][PANEL];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma omp simd
        for (int j = 0; j < width; j++) sum[r][j] = 0;
    for (int64_t p = 0; p < k; p++, a += a_step, b += PANEL) {
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            float factor = a[r * a_row];
#pragma omp simd
            for (int j = 0; j < width; j++) sum[r][j] += factor * b[j];
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma omp simd
        for (int j = 0; j < width; j++) c[r * c_row + j] = sum[r][j] + (add ? c[r * c_row + j] : 0);
}

/* All rows of one panel. */
CG_INLINE void panel(float *c, int64_t c_row, const float *a, int64_t a_row, int64_t a_step,
                     const float *b, int64_t k, int64_t rows, int width, int add) {
    int64_t r = 0;
    for (; r + STRIP <= rows; r += STRIP)
        tile(c + r * c_row, c_row, a + r * a_row, a_row, a_step, b, k, STRIP, width, add);
    for (; r + 2 <= rows; r += 2)
        tile(c + r * c_row, c_row, a + r * a_row, a_row, a_step, b, k, 2, width, add);
    if (r < rows) tile(c + r * c_row, c_row, a + r * a_row, a_row, a_step, b, k, 1, width, add);
}

/* c [rows, wide] = a [rows, k] · b, of which panels are `step` apart. */
CG_INLINE void product(float *c, int64_t wide, int64_t o, const float *a, int64_t a_row,
                       int64_t a_step, const float *b, int64_t step, int64_t k, int64_t rows,
                       int add) {
    for (int64_t j = 0; j < wide; j += PANEL, b += step) {
        if (o - j <= PANEL / 2)
            panel(c + j, wide, a, a_row, a_step, b, k, rows, PANEL / 2, add);
        else
            panel(c + j, wide, a, a_row, a_step, b, k, rows, PANEL, add);
    }
}

/* --- transforms ------------------------------------------------------------------------------ */

/* v, points `step` apart: Bᵀ x B of n channels of a tile whose pixels stand c, whose rows `row`
 * apart. */
CG_INLINE void from_pixels(const float *x, int64_t row, int64_t c, int64_t n, float *v,
                           int64_t step) {
    const float *x1 = x + row, *x2 = x1 + row, *x3 = x2 + row;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float t[4][4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            float a0 = x[i + j * c], a1 = x1[i + j * c], a2 = x2[i + j * c], a3 = x3[i + j * c];
            t[0][j] = a0 - a2;
            t[1][j] = a1 + a2;
            t[2][j] = a2 - a1;
            t[3][j] = a1 - a3;
        }
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            v[i + (4 * j) * step] = t[j][0] - t[j][2];
            v[i + (4 * j + 1) * step] = t[j][1] + t[j][2];
            v[i + (4 * j + 2) * step] = t[j][2] - t[j][1];
            v[i + (4 * j + 3) * step] = t[j][1] - t[j][3];
        }
    }
}

/* y, 4 pixels `row` and `column` apart: Aᵀ m A of n channels, `step` from point to point. */
CG_INLINE void to_pixels(const float *m, int64_t step, int64_t n, float *y, int64_t row,
                         int64_t column) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float t[2][4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            float a0 = m[i + j * step], a1 = m[i + (4 + j) * step];
            float a2 = m[i + (8 + j) * step], a3 = m[i + (12 + j) * step];
            t[0][j] = a0 + a1 + a2;
            t[1][j] = a1 - a2 - a3;
        }
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            y[i + j * row] = t[j][0] + t[j][1] + t[j][2];
            y[i + j * row + column] = t[j][1] - t[j][2] - t[j][3];
        }
    }
}

/* The transpose of to_pixels: A y Aᵀ of n channels of the 4 pixels, `row` and `column` apart. */
CG_INLINE void from_gradient(const float *y, int64_t row, int64_t column, int64_t n, float *m,
                             int64_t step) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float t[4][2];
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            float a0 = y[i + j * column], a1 = y[i + j * column + row];
            t[0][j] = a0;
            t[1][j] = a0 + a1;
            t[2][j] = a0 - a1;
            t[3][j] = -a1;
        }
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            m[i + (4 * j) * step] = t[j][0];
            m[i + (4 * j + 1) * step] = t[j][0] + t[j][1];
            m[i + (4 * j + 2) * step] = t[j][0] - t[j][1];
            m[i + (4 * j + 3) * step] = -t[j][1];
        }
    }
}

#endif
