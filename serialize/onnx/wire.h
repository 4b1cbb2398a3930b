/* The wire format of protocol buffers, as far as it must be looked at before protobuf-c unpacks a
 * file of somebody else's: how deep its messages nest, because protobuf-c recurses, and where the
 * bytes of weights lie, because protobuf-c copies them. For read.c only. */
#ifndef CG_ONNX_WIRE_H
#define CG_ONNX_WIRE_H

#include "graph/status.h"

#include <stddef.h>

/* Bytes in the file; data NULL: there are none. */
typedef struct cg_onnx_bytes {
    const unsigned char *data;
    size_t bytes;
} cg_onnx_bytes;

/* A model without the raw data of its graph's initializers. */
typedef struct cg_onnx_slim {
    unsigned char *data; /* owned */
    size_t bytes;
    cg_onnx_bytes *raw; /* [n_raw] of each initializer, in their order; owned */
    size_t n_raw;
} cg_onnx_slim;

/* Checks and cuts a ModelProto. errors  CG_EFORMAT: a field that leaves its message, a wire type
 * that the format has not, messages nested too deep; CG_ENOMEM */
cg_status cg_onnx_slim_make(const unsigned char *data, size_t bytes, cg_onnx_slim *out);
void cg_onnx_slim_free(cg_onnx_slim *s);

#endif
