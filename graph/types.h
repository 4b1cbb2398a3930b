/* Element types and shapes. */
#ifndef CG_TYPES_H
#define CG_TYPES_H

#include "graph/status.h"

#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
#include <initializer_list>
#endif

CG_API_BEGIN

/* name, bytes, name in safetensors files */
#define CG_DTYPE_LIST(X)                                                                           \
    X(F32, 4, "F32")                                                                               \
    X(F16, 2, "F16")                                                                               \
    X(BF16, 2, "BF16")                                                                             \
    X(I64, 8, "I64")                                                                               \
    X(I32, 4, "I32")                                                                               \
    X(U8, 1, "U8")

typedef enum cg_dtype {
#define X(name, bytes, file_name) CG_##name,
    CG_DTYPE_LIST(X)
#undef X
} cg_dtype;

size_t cg_dtype_size(cg_dtype t);      /* bytes of one element */
const char *cg_dtype_name(cg_dtype t); /* "f32" */

enum { CG_MAX_RANK = 6 };

/* Bytes rounded up to whole cache lines, to which buffers are aligned. */
static inline size_t cg_align64(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

/* A shape: rank 0 is a scalar; dimensions may be zero. Row-major everywhere. */
typedef struct cg_shape {
    int rank;
    int64_t dim[CG_MAX_RANK];
} cg_shape;

/* CG_SHAPE(n, 3) has rank 2; CG_SCALAR has rank 0. */
#ifdef __cplusplus
#define CG_SHAPE(...)                                                                              \
    (cg_shape{(int)std::initializer_list<int64_t>{__VA_ARGS__}.size(), {__VA_ARGS__}})
#define CG_SCALAR (cg_shape{0, {0}})
#else
#define CG_SHAPE(...)                                                                              \
    ((cg_shape){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})
#define CG_SCALAR ((cg_shape){0, {0}})
#endif

int64_t cg_shape_count(const cg_shape *s); /* elements; 1 for a scalar */
int cg_shape_equal(const cg_shape *a, const cg_shape *b);

/* "[2, 3]" into buffer; returns buffer. CG_SHAPE_TEXT bytes are always enough. */
enum { CG_SHAPE_TEXT = 160 };
const char *cg_shape_print(const cg_shape *s, char buffer[CG_SHAPE_TEXT]);

/* The shape that a and b broadcast to, as NumPy does it. errors  CG_ESHAPE */
cg_status cg_shape_broadcast(const cg_shape *a, const cg_shape *b, cg_shape *out);

/* CG_ESHAPE where a dimension is negative or the bytes do not fit an int64_t. */
cg_status cg_shape_check(const cg_shape *s, cg_dtype dtype);

CG_API_END

#endif
