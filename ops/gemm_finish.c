/* What follows a matrix product, on a tile of sums that is still in the cache. */
#if defined(__x86_64__)
#include "ops/activation_value.h"
#include "ops/bf16.h"
#include "ops/gemm_kernel.h"

#include <string.h>

#define TARGET __attribute__((target(CG_GEMM_TARGET)))

typedef float row[CG_GEMM_COLUMNS];

/* Rows of the caller's memory, `n` elements of a row of the tile; the rest is left. */
TARGET static void row_load(row x, const void *from, int64_t at, int64_t n, int bf16) {
    if (!bf16) {
        memcpy(x, (const float *)from + at, (size_t)n * sizeof *x);
        return;
    }
    uint16_t y[CG_GEMM_COLUMNS] = {0};
    memcpy(y, (const uint16_t *)from + at, (size_t)n * sizeof *y);
    for (int j = 0; j < CG_GEMM_COLUMNS; j++) x[j] = cg_bf16_widen(y[j]);
}

TARGET static void row_store(const row x, void *to, int64_t at, int64_t n, int bf16) {
    if (!bf16) {
        memcpy((float *)to + at, x, (size_t)n * sizeof *x);
        return;
    }
    uint16_t y[CG_GEMM_COLUMNS];
    for (int j = 0; j < CG_GEMM_COLUMNS; j++) y[j] = cg_bf16_round(x[j]);
    memcpy((uint16_t *)to + at, y, (size_t)n * sizeof *y);
}

#define EACH(value)                                                                                \
    _Pragma("omp simd") for (int j = 0; j < CG_GEMM_COLUMNS; j++) x[j] = value(x[j]);              \
    break

TARGET static void activate(row x, cg_gemm_activation f) {
    switch (f) {
    case CG_GEMM_NONE:
        break;
    case CG_GEMM_RELU:
        EACH(cg_relu_value);
    case CG_GEMM_GELU:
        EACH(cg_gelu_value);
    case CG_GEMM_GELU_TANH:
        EACH(cg_gelu_tanh_value);
    case CG_GEMM_QUICKGELU:
        EACH(cg_quickgelu_value);
    case CG_GEMM_SILU:
        EACH(cg_silu_value);
    }
}

TARGET void cg_gemm_finish(const cg_gemm_shape *s, const cg_gemm_operands *o, const float *sums,
                           int64_t i, int64_t rows, int64_t j, int64_t columns) {
    for (int64_t r = 0; r < rows; r++) {
        row x, y = {0};
        memcpy(x, sums + r * CG_GEMM_COLUMNS, sizeof x);
        activate(x, s->activation);
        if (s->residual) {
            row_load(y, o->residual, (i + r) * s->ldr + j, columns, s->residual_type == CG_BF16);
            for (int q = 0; q < CG_GEMM_COLUMNS; q++) x[q] += y[q];
        }
        if (s->relu_last) activate(x, CG_GEMM_RELU);
        row_store(x, o->c, (i + r) * s->ldc + j, columns, s->c_type == CG_BF16);
    }
}

#endif
