/* A convolution without groups and dilation as one matrix product:
 *   y [n, oh·ow·o] = x [n, h·w·c] · matrixᵀ
 *
 * The matrix [oh·ow·o, h·w·c] holds the weight of tap (iy - oy·stride + padding, ix - …) at row
 * (oy, ox, o), column (iy, ix, c), and 0 where that is no tap. It is small where pictures are
 * hardly larger than the kernel, and no larger than the weights where they are one patch. */
#ifndef CG_OPS_CONV_MATRIX_H
#define CG_OPS_CONV_MATRIX_H

#include "ops/dnn.h"

/* Elements of the matrix. */
int64_t cg_conv_matrix_count(const cg_dnn_conv *g);

/* matrix from weight [o, c, kh, kw], both of g's type; and its transpose, f32: each weight the sum
 * of its places. */
void cg_conv_matrix_expand(const cg_dnn_conv *g, int threads, const void *weight, void *matrix);
void cg_conv_matrix_fold(const cg_dnn_conv *g, int threads, const float *matrix, float *weight);

/* Where windows do not overlap (kh, kw ≤ stride, no padding): the pictures' patches, one after
 * the other, [n·oh·ow, kh, kw, c], of g's type; and back, of its c_type, with 0 where a pixel is in
 * no patch. */
void cg_conv_patches_get(const cg_dnn_conv *g, int threads, const void *x, void *patch);
void cg_conv_patches_put(const cg_dnn_conv *g, int threads, const void *patch, void *x);

#endif
