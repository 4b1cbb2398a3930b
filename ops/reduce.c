#include "ops/reduce.h"

#include "ops/bf16.h"
#include "ops/kernel.h"

#include <string.h>

/* Four rows a pass, added in pairs: a quarter of the traffic to y, and shorter chains. */
CG_INLINE void add_columns(const void *x, int64_t rows, int64_t columns, int64_t stride, float *y,
                           int bf16) {
    int64_t first = rows % 4;
    memset(y, 0, (size_t)columns * sizeof *y);
    for (int64_t r = 0; r < first; r++) {
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) y[c] += cg_load(x, r * stride + c, bf16);
    }
    for (int64_t r = first; r < rows; r += 4) {
        int64_t a = r * stride, b = a + stride, p = b + stride, q = p + stride;
#pragma omp simd
        for (int64_t c = 0; c < columns; c++)
            y[c] += (cg_load(x, a + c, bf16) + cg_load(x, b + c, bf16)) +
                    (cg_load(x, p + c, bf16) + cg_load(x, q + c, bf16));
    }
}

CG_KERNEL static void column_sum(const float *x, int64_t rows, int64_t columns, int64_t stride,
                                 float *y) {
    add_columns(x, rows, columns, stride, y, 0);
}

CG_KERNEL static void column_sum_bf16(const uint16_t *x, int64_t rows, int64_t columns,
                                      int64_t stride, float *y) {
    add_columns(x, rows, columns, stride, y, 1);
}

void cg_column_sum(const float *x, int64_t rows, int64_t columns, int64_t stride, float *y) {
    column_sum(x, rows, columns, stride, y);
}

void cg_column_sum_bf16(const uint16_t *x, int64_t rows, int64_t columns, int64_t stride,
                        float *y) {
    column_sum_bf16(x, rows, columns, stride, y);
}

typedef float lanes __attribute__((vector_size(64), aligned(4), may_alias));
enum { LANES = 16, BLOCK = 1024 };

CG_KERNEL static double vector_sum(const float *x, int64_t n) {
    double total = 0;
    int64_t i = 0;
    while (n - i >= 2 * LANES) {
        lanes even = {0}, odd = {0};
        int64_t end = n - i < BLOCK ? n - (n - i) % (2 * LANES) : i + BLOCK;
        for (; i < end; i += 2 * LANES) {
            even += *(const lanes *)(x + i);
            odd += *(const lanes *)(x + i + LANES);
        }
        even += odd;
        for (int k = 0; k < LANES; k++) total += (double)even[k];
    }
    for (; i < n; i++) total += (double)x[i];
    return total;
}

CG_KERNEL static double vector_sum_bf16(const uint16_t *x, int64_t n) {
    float block[BLOCK];
    double total = 0;
    for (int64_t i = 0; i < n; i += BLOCK) {
        int64_t part = n - i < BLOCK ? n - i : BLOCK;
        total += vector_sum(cg_row_widen(x, i, part, 1, block), part);
    }
    return total;
}

double cg_vector_sum_bf16(const uint16_t *x, int64_t n) {
    return vector_sum_bf16(x, n);
}

double cg_vector_sum(const float *x, int64_t n) {
    return vector_sum(x, n);
}
