/* Holds what a file stores against what it should store, element by element: a run reads few rows
 * of a table, and does not feel a single number. What is compared with is not the exporter's. */
#ifndef CG_ONNX_STORED_H
#define CG_ONNX_STORED_H

#include "graph/params.h"

CG_API_BEGIN

/* Does every initializer of an f32 file that has a parameter's name hold that parameter, bit by
 * bit, one named PARAMETER.transposed its transpose, and is every table that Gather reads one of
 * them, or made of them? What follows from parameters, PARAMETER.folded, is for runs to judge: each
 * of its numbers takes part in them. *compared: elements.
 *
 * errors  those of cg_onnx_open; CG_EFORMAT names the tensor, the element and both numbers */
cg_status cg_onnx_check_stored(const char *path, const cg_params *p, int64_t *compared);

/* Is the file that other one, in f32, with tensors rounded to nearest, ties to even, to f16 or
 * bf16, which Cast widens, and all else the same: opset, inputs, outputs, nodes, attributes and
 * other tensors?
 *
 * errors  the same; CG_EFORMAT names the node or the tensor */
cg_status cg_onnx_check_rounded(const char *path, const char *exact);

CG_API_END

#endif
