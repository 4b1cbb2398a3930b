/* Cases: dropout, patch_dropout. */
#include "graph/rng.h"
#include "tests/support/op_case.h"

#include <math.h>

#define F32(...)                                                                                   \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -2, 2, 1 }
#define F32_FIXED(...)                                                                             \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -2, 2, 0 }
#define INTEGERS(type, ...)                                                                        \
    { type, CG_SHAPE(__VA_ARGS__), CG_FILL_INTEGER, -1000, 100000, 0 }
#define STREAM    INTEGERS(CG_I64, 2)
#define SAMPLE(n) INTEGERS(CG_I64, n)

/* --- references ------------------------------------------------------------------------------- */

/* The stream of sample i at the first random node of a graph. */
static cg_rng stream_of(const cg_case_data *d, int64_t i) {
    cg_graph *g;
    if (cg_graph_create(NULL, &g) != CG_OK) return (cg_rng){0};
    uint64_t key = cg_graph_key(g);
    cg_graph_free(g);
    uint64_t seed = (uint64_t)(int64_t)d->in[1][0], step = (uint64_t)(int64_t)d->in[1][1];
    return cg_rng_at(seed ^ cg_mix64(key), CG_RNG_DROPOUT, step, (uint64_t)(int64_t)d->in[2][i]);
}

#define P 0.3f

static void dropout_reference(cg_case_data *d) {
    int64_t n = d->in_shape[0].dim[0], width = n ? cg_shape_count(&d->in_shape[0]) / n : 0;
    for (int64_t i = 0; i < n; i++) {
        cg_rng stream = stream_of(d, i);
        for (int64_t j = 0; j < width; j++) {
            uint32_t word[4];
            cg_rng_block(&stream, (uint64_t)(j / 64 * 16 + j % 16), word);
            int keep = (double)word[j / 16 % 4] >= floor((double)P * 0x1p32);
            d->out[0][i * width + j] = keep ? d->in[0][i * width + j] / (1 - (double)P) : 0;
        }
    }
}

static void patch_dropout_reference(cg_case_data *d) {
    const cg_shape *x = &d->in_shape[0];
    int64_t rows = x->dim[1], width = x->dim[2], keep = d->out_shape[0].dim[1];
    for (int64_t i = 0; i < x->dim[0]; i++) {
        cg_rng stream = stream_of(d, i);
        for (int64_t r = 0, k = 0; r < rows; r++) {
            if ((int64_t)cg_rng_below(&stream, (uint64_t)(rows - r)) >= keep - k) continue;
            d->out[1][i * keep + k] = (double)r;
            for (int64_t c = 0; c < width; c++)
                d->out[0][(i * keep + k) * width + c] = d->in[0][(i * rows + r) * width + c];
            k++;
        }
    }
}

/* --- builders --------------------------------------------------------------------------------- */

static void dropout(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_dropout(g, in[0], in[1], in[2], P);
}

static void dropout_p1(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_dropout(g, in[0], in[1], in[2], 1);
}

/* y and the rows kept. */
#define KEEP(n)                                                                                    \
    static void keep_##n(cg_graph *g, cg_value *const *in, cg_value **out) {                       \
        out[0] = cg_patch_dropout(g, in[0], in[1], in[2], n);                                      \
        out[1] = out[0] ? out[0]->node->out[1] : NULL;                                             \
    }
KEEP(0)
KEEP(1)
KEEP(5)
KEEP(9)
KEEP(49)

/* --- tables ----------------------------------------------------------------------------------- */

#define DROPOUT(text, ...)                                                                         \
    { &cg_op_dropout, text, {__VA_ARGS__}, 3, 1, dropout, dropout_reference, 0, 0 }
#define PATCH_DROPOUT(n, text, ...)                                                                \
    { &cg_op_patch_dropout, text, {__VA_ARGS__}, 3, 2, keep_##n, patch_dropout_reference, 0, 0 }

const cg_op_case cg_cases_chance[] = {
    DROPOUT("rank 3, odd rows", F32(4, 3, 5), STREAM, SAMPLE(4)),
    DROPOUT("vector", F32(9), STREAM, SAMPLE(9)),
    DROPOUT("several tiles", F32(3, 151), STREAM, SAMPLE(3)),
    DROPOUT("long rows, in pieces", F32_FIXED(3, 9001), STREAM, SAMPLE(3)),
    DROPOUT("empty", F32(0, 5), STREAM, SAMPLE(0)),
    PATCH_DROPOUT(5, "some rows", F32(4, 9, 3), STREAM, SAMPLE(4)),
    PATCH_DROPOUT(1, "one row", F32(5, 9, 2), STREAM, SAMPLE(5)),
    PATCH_DROPOUT(9, "all rows", F32(2, 9, 3), STREAM, SAMPLE(2)),
    PATCH_DROPOUT(49, "large", F32_FIXED(13, 98, 37), STREAM, SAMPLE(13)),
    PATCH_DROPOUT(5, "no sample", F32(0, 9, 3), STREAM, SAMPLE(0)),
    {0},
};

#define BAD_DROPOUT(build, status, message, ...)                                                   \
    { &cg_op_dropout, {__VA_ARGS__}, 3, build, status, message }
#define BAD_PATCH_DROPOUT(build, status, message, ...)                                             \
    { &cg_op_patch_dropout, {__VA_ARGS__}, 3, build, status, message }
#define SCALAR(type)                                                                               \
    { type, {0, {0}}, CG_FILL_INTEGER, 0, 9, 0 }

const cg_bad_case cg_bad_chance[] = {
    BAD_DROPOUT(dropout_p1, CG_EINVAL, "p is 1", F32(4, 5), STREAM, SAMPLE(4)),
    BAD_DROPOUT(dropout, CG_ESHAPE, "x is a scalar", SCALAR(CG_F32), STREAM, SAMPLE(1)),
    BAD_DROPOUT(dropout, CG_ESHAPE, "sample is [5], wanted [4]", F32(4, 5), STREAM, SAMPLE(5)),
    BAD_DROPOUT(dropout, CG_ESHAPE, "stream is [], wanted [2]", F32(4, 5), SCALAR(CG_I64),
                SAMPLE(4)),
    BAD_DROPOUT(dropout, CG_EDTYPE, "stream is i32, wanted i64", F32(4, 5), INTEGERS(CG_I32, 2),
                SAMPLE(4)),
    BAD_DROPOUT(dropout, CG_EDTYPE, "sample is i32, wanted i64", F32(4, 5), STREAM,
                INTEGERS(CG_I32, 4)),
    BAD_PATCH_DROPOUT(keep_0, CG_EINVAL, "keep is 0, wanted at least 1 and at most the 9 rows of x",
                      F32(4, 9, 2), STREAM, SAMPLE(4)),
    BAD_PATCH_DROPOUT(keep_49, CG_EINVAL, "keep is 49", F32(4, 48, 2), STREAM, SAMPLE(4)),
    BAD_PATCH_DROPOUT(keep_5, CG_ESHAPE, "x is [4, 9] of rank 2, wanted rank 3", F32(4, 9), STREAM,
                      SAMPLE(4)),
    BAD_PATCH_DROPOUT(keep_5, CG_ESHAPE, "sample is [9], wanted [4]", F32(4, 9, 2), STREAM,
                      SAMPLE(9)),
    BAD_PATCH_DROPOUT(keep_5, CG_ESHAPE, "stream is [3], wanted [2]", F32(4, 9, 2),
                      INTEGERS(CG_I64, 3), SAMPLE(4)),
    BAD_PATCH_DROPOUT(keep_5, CG_EDTYPE, "x is i32, wanted f32", INTEGERS(CG_I32, 4, 9, 2), STREAM,
                      SAMPLE(4)),
    {0},
};
