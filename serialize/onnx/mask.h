/* What hides keys from queries: numbers that are added to scores, or choose between them and a low
 * number. For recognise_attention.c, and for computed.c, which reads the same in each run. */
#ifndef CG_ONNX_MASK_H
#define CG_ONNX_MASK_H

#include "graph/types.h"

/* Numbers beside scores [sequences, heads, queries, keys], at strides; 0: they are repeated. */
typedef struct cg_mask_part {
    const float *added;    /* 0, or so low that it hides; or NULL */
    const int32_t *chosen; /* a score is seen where this is 0, or is not */
    int seen_where_0;
    float behind; /* a factor between what is added and the softmax */
    int64_t stride[4];
} cg_mask_part;

enum { CG_MASK_PARTS = 4 };

typedef struct cg_mask {
    int64_t dim[4]; /* sequences, heads, queries, keys */
    int n;
    cg_mask_part part[CG_MASK_PARTS];
} cg_mask;

/* A score hides behind a number that is as low as this, whatever the others are: exp of the
 * difference is 0 in f32 unless scores themselves are of this size. */
#define CG_MASK_LOW (-1e9f)

/* Strides of an operand that broadcasts to shape `out`, as those of the mask's four dimensions. 0:
 * out is not these dimensions, or the operand has no single stride along one of them. */
int cg_mask_strides(const cg_mask *m, const cg_shape *operand, const cg_shape *out,
                    int64_t stride[4]);

/* Numbers that the following reads. */
int64_t cg_mask_steps(const cg_mask *m, int causal);

/* Is what is seen just the keys that some query sees, for the last queries of as many keys only up
 * to themselves where it is causal, and does each query see one? Then keys[sequence, key], f32, is
 * 1 where a key is seen, and 0. Of what is added nothing else may change a score. */
int cg_mask_is_of_keys(const cg_mask *m, int causal, float *keys);

#endif
