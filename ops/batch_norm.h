/* What batch_norm, batch_norm_inference and their gradients share: x is seen as [rows, channels].
 * Only for those files. */
#ifndef CG_OPS_BATCH_NORM_H
#define CG_OPS_BATCH_NORM_H

#include "ops/ops.h"

typedef struct cg_batch_norm_attr {
    float eps;
} cg_batch_norm_attr;

extern const cg_attr_field cg_batch_norm_fields[];

/* Rows are cut into chunks by the shape alone, never by the number of threads, so that sums come
 * out the same on any number of them; a block of rows stays in the first-level cache. */
typedef struct cg_batch_norm_grid {
    int64_t rows, channels;
    int64_t block; /* rows */
    int64_t chunk; /* rows, a multiple of block */
    int64_t chunks;
} cg_batch_norm_grid;

cg_batch_norm_grid cg_batch_norm_grid_of(const cg_shape *x);

/* Bytes of scratch: `doubles` and four floats per chunk, for each channel. */
size_t cg_batch_norm_scratch(const cg_batch_norm_grid *grid, int doubles);

/* Threads worth using for that many elements. */
int cg_batch_norm_threads(const cg_task *t, int64_t elements);

/* y = (x - mean) · factor + bias; y may be x. */
void cg_batch_norm_apply(const cg_task *t, const cg_batch_norm_grid *grid, const float *x,
                         const float *mean, const float *factor, const float *bias, float *y);

/* sum_dy[c] = Σ dy, sum_dyx[c] = Σ dy · (x - mean); partial: floats of cg_batch_norm_scratch. */
void cg_batch_norm_sums(const cg_task *t, const cg_batch_norm_grid *grid, const float *x,
                        const float *mean, const float *dy, float *partial, double *sum_dy,
                        double *sum_dyx);

/* Refuses x unless f32 of rank 1 or more and not empty, and operands first … last unless f32 of
 * x's channels; names are the operands'. */
cg_status cg_batch_norm_check(const cg_node *n, int first, int last, const char *const *name);

#endif
