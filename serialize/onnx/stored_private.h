/* What checks of stored tensors share, for serialize/onnx/ only. */
#ifndef CG_ONNX_STORED_PRIVATE_H
#define CG_ONNX_STORED_PRIVATE_H

#include "graph/params.h"
#include "serialize/onnx/file.h"

/* stored.c. An element that is not what it should be. */
cg_status cg_onnx_differs(const char *name, int64_t at, double found, double wanted);

/* Bit by bit; what is no number is never the same, and no checkpoint has it. */
int cg_onnx_same_bits(double a, double b);

/* The name that is followed by `end`, or by `end`, _ and a number, which goes to *number (else 0);
 * "": it has no such end, or is too long. */
enum { CG_ONNX_BASE = 256 };
void cg_onnx_base(const char *name, const char *end, char base[CG_ONNX_BASE], int *number);

/* stored_folded.c. Does a tensor that is named BASE.folded or BASE.folded_NUMBER hold what follows
 * from parameters?
 *
 *   conv weights      w · gain / sqrt(variance + 1e-5), [out, in, kernel, kernel]
 *   norms' biases     bias - mean · gain / sqrt(variance + 1e-5), behind those weights
 *   in_proj_weight    thirds, in the order queries, keys, values, of [3 rows, width]: transposed,
 *                     [width, rows]; or keys [heads, rows / heads, width], as they are, and values
 *                     [heads, width, rows / heads], each head's transposed
 *   in_proj_bias      thirds; where the file has two of them, the second is the values'
 *   k_proj, v_proj    weights of keys and values, in these forms by heads
 *   positions         all rows but the first, which stands before the patches
 *   class_embedding   and the first row of positions, added
 *   logit_scale       exp(logit_scale)
 *
 * Copies are held bit by bit; what is computed, element by element in double, to 1e-6 of the sum of
 * its terms' magnitudes: f32 rounds each of up to four steps to 6e-8, and no element of a tensor
 * hides behind a larger one. Formulas stand here a second time, by names of parameters, and neither
 * graph nor passes nor the engine is asked: a fault of theirs is found as well.
 *
 * errors  CG_EFORMAT: it does not; no such parameter, form or rule */
cg_status cg_onnx_check_folded(const cg_onnx_file *file, const cg_onnx_tensor *t,
                               const float *found, const cg_params *p);

#endif
