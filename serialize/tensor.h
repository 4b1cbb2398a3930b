/* A tensor in a file, whatever the file's format: what readers give and writers take. */
#ifndef CG_TENSOR_H
#define CG_TENSOR_H

#include "graph/types.h"

CG_API_BEGIN

typedef struct cg_tensor {
    const char *name; /* UTF-8 */
    cg_dtype dtype;
    cg_shape shape;
    const void *data; /* row-major, little-endian; in a reader's file perhaps not aligned */
    size_t bytes;
} cg_tensor;

/* A line of a file's metadata, UTF-8. */
typedef struct cg_meta {
    const char *key, *value;
} cg_meta;

/* count numbers of any alignment, widened to f32.
 * errors  CG_EDTYPE: wanted f32, f16 or bf16 */
cg_status cg_tensor_to_f32(cg_dtype from, const void *data, int64_t count, float *out);

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files are little-endian, and are read and written without swapping bytes"
#endif

CG_API_END

#endif
