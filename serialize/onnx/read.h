/* ONNX files, read: mapped, checked as untrusted input, and described.
 *
 *   file = a protocol-buffer ModelProto: opset versions, metadata, and a graph of nodes whose
 * inputs and outputs are names; weights are initializers, in the file or in files beside it
 *
 * A file is refused unless: its messages end where they should and nest at most 24 deep; IR version
 * 3 to 13 and opset 13 to 20; no functions, training information or sparse initializers; every name
 * is defined once, before it is read once nodes are sorted (no cycle); every dimension is there and
 * in range, and every tensor has just the bytes that its shape and type take; external data lie in
 * the file's own folder or below it, without "..", absolute paths and symbolic links, in range.
 * Unpacking takes at most 256 MiB and eight times the file without its weights. What operators mean
 * is for session.h.
 *
 * source  onnx/onnx, onnx.proto and docs/IR.md, docs/ExternalData.md */
#ifndef CG_ONNX_READ_H
#define CG_ONNX_READ_H

#include "serialize/tensor.h"

CG_API_BEGIN

typedef struct cg_onnx_file cg_onnx_file;

/* An input or output as the file declares it. */
typedef struct cg_onnx_port {
    const char *name;
    cg_dtype dtype;
    int is_bool;                     /* dtype is CG_U8, numbers 0 and 1 */
    int rank;                        /* -1: the file does not say */
    int64_t dim[CG_MAX_RANK];        /* -1: any size */
    const char *symbol[CG_MAX_RANK]; /* its name, or "" */
} cg_onnx_port;

typedef struct cg_onnx_operator {
    const char *name;
    int count; /* of nodes */
} cg_onnx_operator;

/* errors  CG_ENOTFOUND, CG_EIO, CG_ENOMEM; CG_EFORMAT names the file, the node or tensor and the
 *         fault; CG_EUNSUPPORTED: versions, types and parts of the format that are not read */
cg_status cg_onnx_open(const char *path, cg_onnx_file **out);
void cg_onnx_close(cg_onnx_file *f); /* NULL is allowed */

/* What is returned belongs to the file. Inputs that have a value in the file are none. */
int cg_onnx_inputs(const cg_onnx_file *f, const cg_onnx_port **list);
int cg_onnx_outputs(const cg_onnx_file *f, const cg_onnx_port **list);
int cg_onnx_meta(const cg_onnx_file *f, const cg_meta **list);
int cg_onnx_operators(const cg_onnx_file *f, const cg_onnx_operator **list); /* most first */
int64_t cg_onnx_opset(const cg_onnx_file *f);
const char *cg_onnx_producer(const cg_onnx_file *f); /* "" where the file does not say */
int64_t cg_onnx_weights(const cg_onnx_file *f);      /* elements of initializers that are floats */

CG_API_END

#endif
