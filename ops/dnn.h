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
#include "ops/epilogue.h"

typedef struct cg_dnn cg_dnn;

/* c [batch, m, n] = f(op(a) · op(b) + bias [n]) + residual [m, n]; a is stored [batch, m, k], or
 * [batch, k, m] where transpose_a is set; b is stored [batch, k, n] or [batch, n, k]. All sizes at
 * least 1. a and b are both f32 or both bf16; c and the residual are either; bias is f32. Sums are
 * f32, and c is rounded once. */
typedef struct cg_dnn_matmul {
    int64_t batch, m, n, k;
    int transpose_a, transpose_b;
    int only_dnn; /* not one of our own: for comparisons */
    cg_dtype a_type, b_type, c_type;
    int bias, residual; /* whether there is one; batch 1 only */
    cg_dtype residual_type;
    cg_epilogue f;
    int relu_last; /* the positive part of all that */
    int pack_b;    /* runs are given b as cg_dnn_pack has laid it out; batch 1 only */
} cg_dnn_matmul;

/* What a convolution computes, c from which operands a and b. */
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
    int bias, residual, relu; /* forward: whether bias [o] and a residual, as y, are added, and the
                               * positive part is taken */
    cg_dtype type, c_type;    /* of a and b, f32 or bf16; and of c, f32 where that is dweight */
    cg_dtype residual_type;
    int pack_b; /* as of cg_dnn_matmul; not of weights */
} cg_dnn_conv;

/* Makes a kernel; the caller frees it. errors  CG_EKERNEL: oneDNN has none, or not
 * for pictures or weights this large; CG_ENOMEM */
cg_status cg_dnn_matmul_create(cg_context *ctx, const cg_dnn_matmul *shape, cg_dnn **out);
cg_status cg_dnn_conv_create(cg_context *ctx, const cg_dnn_conv *shape, cg_dnn **out);
void cg_dnn_free(cg_dnn *d); /* NULL is allowed */

/* Name of the implementation, owned by the kernel ("brg:avx512_core"); bytes of scratch. */
const char *cg_dnn_impl(const cg_dnn *d);
size_t cg_dnn_scratch(const cg_dnn *d);

/* Of a kernel that takes b packed: its bytes, a key that names the layout, and b (stored as ever)
 * packed to `to`, aligned to 64. errors  CG_EKERNEL */
size_t cg_dnn_pack_bytes(const cg_dnn *d);
uint64_t cg_dnn_pack_key(const cg_dnn *d);
cg_status cg_dnn_pack(const cg_dnn *d, const void *b, void *to, void *scratch);

/* What a run reads and writes: c from a and b, and where the kernel was made for them a bias and a
 * residual. scratch: cg_dnn_scratch bytes, aligned to 64; may be NULL where none is wanted. */
typedef struct cg_dnn_operands {
    const void *a, *b, *bias, *residual;
    void *c, *scratch;
} cg_dnn_operands;

/* errors  CG_EKERNEL */
cg_status cg_dnn_run(const cg_dnn *d, const cg_dnn_operands *o);

#endif
