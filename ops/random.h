/* What ops that draw numbers share: the operands that name a stream, and the stream. */
#ifndef CG_OPS_RANDOM_H
#define CG_OPS_RANDOM_H

#include "graph/rng.h"
#include "ops/check.h"

/* The types of stream, i64 [2], and of sample, i64 [N] for N rows of x. errors  CG_EDTYPE,
 * CG_ESHAPE */
static inline cg_status cg_check_stream(const cg_value *stream, const cg_value *sample,
                                        int64_t rows) {
    char text[CG_SHAPE_TEXT];
    cg_shape pair = CG_SHAPE(2), each = CG_SHAPE(rows);
    CG_TRY(cg_check_dtype(stream, "stream", CG_I64));
    CG_TRY(cg_check_dtype(sample, "sample", CG_I64));
    if (!cg_shape_equal(&stream->shape, &pair))
        return cg_error(CG_ESHAPE, "stream is %s, wanted [2], the run's seed and step",
                        cg_shape_print(&stream->shape, text));
    if (!cg_shape_equal(&sample->shape, &each))
        return cg_error(CG_ESHAPE, "sample is %s, wanted [%lld], one for each row of x",
                        cg_shape_print(&sample->shape, text), (long long)rows);
    return CG_OK;
}

/* The numbers of one sample at the node of that key. Key and seed are both small numbers as a
 * rule, so one is mixed before they meet: no two pairs share a stream but by chance. */
static inline cg_rng cg_stream_at(int64_t key, const int64_t stream[2], int64_t sample) {
    uint64_t seed = (uint64_t)stream[0] ^ cg_mix64((uint64_t)key);
    return cg_rng_at(seed, CG_RNG_DROPOUT, (uint64_t)stream[1], (uint64_t)sample);
}

#endif
