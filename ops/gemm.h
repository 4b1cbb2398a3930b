/* Matrix products of our own, for processors with AVX-512.
 *
 *   c = activation(op(a) · op(b) + bias) + residual         [m, n]
 *
 * A cg_gemm is one product of fixed sizes, made for a number of threads and run many times. It is
 * immutable and may run in several places at once. A run allocates nothing: its memory is the
 * caller's scratch. Sums are kept in f32, in an order that depends on k and the type alone: the
 * same bits under any number of threads. Operands are packed as a run goes, in caches; weights that
 * stay, and so could be packed once, are left to oneDNN, which was measured to be as fast there. */
#ifndef CG_OPS_GEMM_H
#define CG_OPS_GEMM_H

#include "graph/op.h"

typedef struct cg_gemm cg_gemm;

typedef enum cg_gemm_activation {
    CG_GEMM_NONE,
    CG_GEMM_RELU,
    CG_GEMM_GELU,
    CG_GEMM_GELU_TANH,
    CG_GEMM_QUICKGELU,
    CG_GEMM_SILU,
} cg_gemm_activation;

/* Types are CG_F32 or CG_BF16. Strides count elements between rows as they are stored; 0: no gap.
 */
typedef struct cg_gemm_shape {
    int64_t m, n, k; /* at least 1 */
    int transpose_a; /* a is stored [k, m], else [m, k] */
    int transpose_b; /* b is stored [n, k], else [k, n] */
    int bias, residual;
    cg_gemm_activation activation;
    int relu_last; /* c is the positive part of all that */
    cg_dtype type; /* of a and b */
    cg_dtype c_type, residual_type;
    int64_t lda, ldb, ldc, ldr;
} cg_gemm_shape;

/* The operands; bias is f32 [n]. c overlaps no other. What a shape does not have is not read. */
typedef struct cg_gemm_operands {
    const void *a, *b, *residual;
    const float *bias;
    void *c;
} cg_gemm_operands;

/* Whether this processor has kernels for operands of that type. */
int cg_gemm_available(cg_dtype type);

/* Whether there are kernels for it that are faster than oneDNN's: a rule from measurements of one
 * thread, beside oneDNN 2.6.3, at the sizes of CLIP's towers. */
int cg_gemm_is_faster(const cg_gemm_shape *shape);

/* Makes a product for so many threads; the caller frees it.
 * errors  CG_EKERNEL: not available, or not these types; CG_ENOMEM */
cg_status cg_gemm_create(const cg_gemm_shape *shape, int threads, cg_gemm **out);
void cg_gemm_free(cg_gemm *g); /* NULL is allowed */

/* Name of the kernels, static ("cg:avx512"); bytes of scratch of a run. */
const char *cg_gemm_impl(const cg_gemm *g);
size_t cg_gemm_scratch(const cg_gemm *g);

/* scratch: cg_gemm_scratch bytes, aligned to 64; it may be NULL where none is wanted. */
void cg_gemm_run(const cg_gemm *g, const cg_gemm_operands *operands, void *scratch);

#endif
