/* Convolutions of 3×3, stride 1 and padding 1 in Winograd's form F(2×2, 3×3): four results of 16
 * products instead of 36. Tiles of 4×4 pixels and the weights are transformed by sums, multiplied
 * as 16 matrices and transformed back, block by block in the cache.
 *
 * source  Lavin and Gray, arXiv:1509.09308 */
#ifndef CG_OPS_CONV_WINOGRAD_H
#define CG_OPS_CONV_WINOGRAD_H

#include "ops/dnn.h"

/* Whether a convolution has this form and gains by it. */
int cg_winograd_gains(const cg_dnn_conv *g);

size_t cg_winograd_scratch(const cg_dnn_conv *g, int threads);

/* Transforms weights that stay, once: `to`, aligned to 64, is then operand b of forward runs with
 * g->pack_b, whatever their pictures. */
size_t cg_winograd_pack_bytes(const cg_dnn_conv *g);
void cg_winograd_pack(const cg_dnn_conv *g, int threads, const float *weights, float *to);

/* Operands as of cg_dnn_run, all f32; scratch aligned to 64. */
void cg_winograd_run(const cg_dnn_conv *g, int threads, const cg_dnn_operands *o);

#endif
