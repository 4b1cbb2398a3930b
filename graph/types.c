#include "graph/types.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
    size_t bytes;
    const char *name;
} dtypes[] = {
    [CG_F32] = {4, "f32"}, [CG_F16] = {2, "f16"}, [CG_BF16] = {2, "bf16"},
    [CG_I64] = {8, "i64"}, [CG_I32] = {4, "i32"}, [CG_U8] = {1, "u8"},
};

#define X(name, bytes, file_name) +1
_Static_assert(sizeof dtypes / sizeof *dtypes == CG_DTYPE_LIST(X), "one entry per dtype");
#undef X

size_t cg_dtype_size(cg_dtype t) {
    return (unsigned)t < sizeof dtypes / sizeof *dtypes ? dtypes[t].bytes : 0;
}

const char *cg_dtype_name(cg_dtype t) {
    return (unsigned)t < sizeof dtypes / sizeof *dtypes ? dtypes[t].name : "?";
}

int64_t cg_shape_count(const cg_shape *s) {
    int64_t count = 1;
    for (int i = 0; i < s->rank; i++) count *= s->dim[i];
    return count;
}

int cg_shape_equal(const cg_shape *a, const cg_shape *b) {
    if (a->rank != b->rank) return 0;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return 0;
    return 1;
}

const char *cg_shape_print(const cg_shape *s, char buffer[CG_SHAPE_TEXT]) {
    size_t n = 0;
    buffer[n++] = '[';
    for (int i = 0; i < s->rank && i < CG_MAX_RANK; i++)
        n +=
            (size_t)snprintf(buffer + n, CG_SHAPE_TEXT - n, "%s%" PRId64, i ? ", " : "", s->dim[i]);
    buffer[n++] = ']';
    buffer[n] = '\0';
    return buffer;
}

cg_status cg_shape_broadcast(const cg_shape *a, const cg_shape *b, cg_shape *out) {
    cg_shape result = {.rank = a->rank > b->rank ? a->rank : b->rank};
    for (int i = 1; i <= result.rank; i++) { /* from the last dimension to the first */
        int64_t x = i <= a->rank ? a->dim[a->rank - i] : 1;
        int64_t y = i <= b->rank ? b->dim[b->rank - i] : 1;
        if (x != y && x != 1 && y != 1) {
            char left[CG_SHAPE_TEXT], right[CG_SHAPE_TEXT];
            return cg_error(CG_ESHAPE, "%s and %s do not broadcast", cg_shape_print(a, left),
                            cg_shape_print(b, right));
        }
        result.dim[result.rank - i] = x == 1 ? y : x;
    }
    *out = result;
    return CG_OK;
}

cg_status cg_shape_check(const cg_shape *s, cg_dtype dtype) {
    char text[CG_SHAPE_TEXT];
    if (s->rank < 0 || s->rank > CG_MAX_RANK)
        return cg_error(CG_ESHAPE, "rank %d, wanted 0 to %d", s->rank, CG_MAX_RANK);
    if ((unsigned)dtype >= sizeof dtypes / sizeof *dtypes)
        return cg_error(CG_EDTYPE, "element type %d is unknown", (int)dtype);
    int64_t limit = INT64_MAX / (int64_t)cg_dtype_size(dtype), count = 1;
    for (int i = 0; i < s->rank; i++) {
        if (s->dim[i] < 0)
            return cg_error(CG_ESHAPE, "negative dimension in %s", cg_shape_print(s, text));
        /* A zero does not excuse the others: their product appears in strides. */
        int64_t d = s->dim[i] > 0 ? s->dim[i] : 1;
        if (count > limit / d)
            return cg_error(CG_ESHAPE, "%s of %s has too many bytes", cg_shape_print(s, text),
                            cg_dtype_name(dtype));
        count *= d;
    }
    return CG_OK;
}
