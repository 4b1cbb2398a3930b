/* Serial sums in a fixed order, for the kernels that reduce. */
#ifndef CG_OPS_REDUCE_H
#define CG_OPS_REDUCE_H

#include <stdint.h>

/* y[c] = sum over r of x[r * stride + c], for c < columns; 0 where there is no row. Partial sums
 * are f32: callers cut long columns into pieces. */
void cg_column_sum(const float *x, int64_t rows, int64_t columns, int64_t stride, float *y);
void cg_column_sum_bf16(const uint16_t *x, int64_t rows, int64_t columns, int64_t stride, float *y);

/* The sum of n neighbours: f32 lanes within a block, double between blocks. */
double cg_vector_sum(const float *x, int64_t n);
double cg_vector_sum_bf16(const uint16_t *x, int64_t n);

#endif
