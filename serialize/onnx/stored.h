/* Holds what a file stores against what it should store, element by element: a run reads few rows
 * of a table, and does not feel a single number. What is compared with is not the exporter's. */
#ifndef CG_ONNX_STORED_H
#define CG_ONNX_STORED_H

#include "graph/params.h"

CG_API_BEGIN

/* What a file should store. */
typedef struct cg_onnx_stored {
    const cg_params *params;
    int as_described;   /* nothing is folded */
    const float *label; /* [labels, width], of a classifier; NULL: there are none */
    int64_t labels, width;
} cg_onnx_stored;

/* Is every float initializer of an f32 file one of these, and what it should be?
 *
 *   PARAMETER              that parameter, bit by bit
 *   PARAMETER.transposed   a matrix's transpose, bit by bit
 *   PARAMETER.folded…      what follows from parameters: copies bit by bit, what is computed to
 *                          1e-6 of its terms, element by element, by formulas that are neither the
 *                          passes' nor the exporter's (stored_private.h has them)
 *   classifier             the labels' embeddings, to 1e-5
 *   constant…              a causal mask, or at most 8 numbers of the exporter's: runs judge these
 *
 * No node has floats of its own. *compared: elements, constants left out.
 *
 * errors  those of cg_onnx_open; CG_EFORMAT names the tensor, the element and both numbers, or the
 * tensor that is none of these */
cg_status cg_onnx_check_stored(const char *path, const cg_onnx_stored *wanted, int64_t *compared);

/* Is the file that other one, in f32, with tensors rounded to nearest, ties to even, to f16 or
 * bf16, which Cast widens, and all else the same: opset, inputs, outputs, nodes, attributes and
 * other tensors?
 *
 * errors  the same; CG_EFORMAT names the node or the tensor */
cg_status cg_onnx_check_rounded(const char *path, const char *exact);

CG_API_END

#endif
