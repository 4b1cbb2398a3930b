/* Matrix products and convolutions: the only door to oneDNN. Matrix products of some sizes are our
 * own (gemm.h), where those are faster.
 *
 * A cg_dnn is one kernel, chosen and made when a plan is prepared and run many times. Tensors
 * keep the plain layouts of ops.h; where the kernel wants its weights packed, a run packs them
 * into scratch first. All memory that a run needs is the caller's scratch.
 *
 * A kernel is made for the context's thread count and runs under it, whatever count the calling
 * thread has set. It may be shared: runs of the same kernel wait for each other. The engine is
 * made with the context's first kernel, so plans of one context are prepared one at a time. */
#ifndef CG_OPS_DNN_H
#define CG_OPS_DNN_H

#include "graph/op.h"

typedef struct cg_dnn cg_dnn;

/* c [batch, m, n] = op(a) · op(b) + bias [n]; a is stored [batch, m, k], or [batch, k, m] where
 * transpose_a is set; b is stored [batch, k, n] or [batch, n, k]. All sizes at least 1. */
typedef struct cg_dnn_matmul {
    int64_t batch, m, n, k;
    int transpose_a, transpose_b;
    int bias;     /* batch 1 only */
    int only_dnn; /* not one of our own: for comparisons */
    cg_dtype a_type, b_type, c_type;
} cg_dnn_matmul;

/* What a convolution computes, from which operands a and b; all its tensors are f32. */
typedef enum cg_dnn_direction {
    CG_DNN_FORWARD, /* y [n, oh, ow, o]  from x  [n, h, w, c], weight [o, c / groups, kh, kw] */
    CG_DNN_DATA,    /* dx [n, h, w, c]   from dy [n, oh, ow, o], weight */
    CG_DNN_WEIGHTS, /* dweight           from dy, x */
} cg_dnn_direction;

typedef struct cg_dnn_conv {
    cg_dnn_direction direction;
    int64_t n, h, w, c; /* x */
    int64_t oh, ow, o;  /* y */
    int64_t kh, kw, stride, padding;
    int64_t dilation, groups; /* 1: none; c and o are those of all groups */
} cg_dnn_conv;

/* Makes a kernel; the caller frees it. errors  CG_EKERNEL: oneDNN has none, or not
 * for pictures or weights this large; CG_ENOMEM */
cg_status cg_dnn_matmul_create(cg_context *ctx, const cg_dnn_matmul *shape, cg_dnn **out);
cg_status cg_dnn_conv_create(cg_context *ctx, const cg_dnn_conv *shape, cg_dnn **out);
void cg_dnn_free(cg_dnn *d); /* NULL is allowed */

/* Name of the implementation, owned by the kernel ("brg:avx512_core"); bytes of scratch. */
const char *cg_dnn_impl(const cg_dnn *d);
size_t cg_dnn_scratch(const cg_dnn *d);

/* c from a and b (and bias, else NULL). scratch: cg_dnn_scratch bytes, aligned to 64; it may be
 * NULL where none is wanted. errors  CG_EKERNEL */
cg_status cg_dnn_run(const cg_dnn *d, const void *a, const void *b, const void *bias, void *c,
                     void *scratch);

#endif
