/* The operators of the format that the reader knows, as each opset declares them. For
 * serialize/onnx/ only. */
#ifndef CG_ONNX_OPERATORS_H
#define CG_ONNX_OPERATORS_H

#include "serialize/onnx/file.h"

/* An operator from an opset on, until the next of its name.
 *
 * types are letters of operands, a colon, letters of results; a star repeats the letter before it.
 * Each letter stands for one of a set of types (cg_onnx_letter), the same wherever it occurs; as a
 * result '@' is a type that an attribute states, or a branch.
 *
 * attributes are names, each with what it holds: "axis:i pads:I". i, f, s, t and g are an
 * integer, a float, a string, a tensor and a graph; capitals are lists of them. */
typedef struct cg_onnx_schema {
    const char *name;
    int since; /* an opset; CG_ONNX_OLDEST: or before */
    const char *types, *attributes;
} cg_onnx_schema;

/* NULL: opset has no such operator; then *first is the opset that first has it, or 0. */
const cg_onnx_schema *cg_onnx_schema_of(const char *name, int64_t opset, int *first);

/* The types that a letter may stand for: bit CG_ONNX__TENSOR_PROTO__DATA_TYPE__… of each. */
unsigned cg_onnx_letter(char letter);

/* errors  CG_EFORMAT: an attribute that the operator has not, or has with another type */
cg_status cg_onnx_schema_attributes(const cg_onnx_schema *s, const CgOnnx__NodeProto *n);

#endif
