/* The inner parts of gemm.c: tiles, packing, and what follows a product. Only for gemm*.c.
 *
 * All count k in words of 32 bits: an f32, or a pair of bf16, the first one lower; strides of what
 * the caller stores are in bytes. A tile has at most CG_GEMM_ROWS rows of a and CG_GEMM_COLUMNS
 * columns of b, two vectors; its sums stay in registers. All of it wants AVX-512. */
#ifndef CG_OPS_GEMM_KERNEL_H
#define CG_OPS_GEMM_KERNEL_H

#include "ops/gemm.h"

enum { CG_GEMM_ROWS = 14, CG_GEMM_COLUMNS = 32, CG_GEMM_VECTOR = 16 };

#define CG_GEMM_TARGET "avx512f,avx512bw,avx512vl,avx512dq,fma,prfchw,prefer-vector-width=512"

/* out [rows, 32 or 16] = add + (init + a · b) over k words. */
typedef struct cg_gemm_tile {
    const char *a; /* word (i, p) at a + i * lda + 4 p, or, packed, 4 (p * CG_GEMM_ROWS + i) */
    int64_t lda;
    const uint32_t *b; /* word (p, j) at b[p * CG_GEMM_COLUMNS + j] */
    int64_t k;
    const float *init; /* one row, for all */
    const float *add;  /* or NULL; may be out */
    float *out;
    int64_t add_ld, out_ld;
    const char *ahead; /* brought to L2 meanwhile: two lines for 4 words of k, then so far on */
    int64_t ahead_step;
} cg_gemm_tile;

/* [a is packed][vectors - 1][rows - 1] */
typedef void cg_gemm_kernel(const cg_gemm_tile *t);
typedef cg_gemm_kernel *const cg_gemm_kernels[2][2][CG_GEMM_ROWS];
extern const cg_gemm_kernels cg_gemm_f32, cg_gemm_bf16;

/* A matrix of the caller's: element (i, p), of which there are `rows` by k, p along k. */
typedef struct cg_gemm_source {
    const char *at;
    int64_t ld;  /* bytes between rows as stored */
    int along_k; /* rows as stored run along k */
    int bf16;
} cg_gemm_source;

/* Packs words [p0, p0 + kw) of k (k: elements there are in all) of so many rows from i0 on. Panels
 * of b: [panel][kw][32], zeros beyond the rows; of a: [panel][kw][14], where a panel has
 * rows * (p + 1) / panels - rows * p / panels of the rows; or rows, `to_ld` bytes apart. */
void cg_gemm_pack_b(const cg_gemm_source *s, int64_t i0, int64_t rows, int64_t p0, int64_t kw,
                    int64_t k, uint32_t *to);
void cg_gemm_pack_a(const cg_gemm_source *s, int64_t i0, int64_t rows, int64_t panels, int64_t p0,
                    int64_t kw, int64_t k, uint32_t *to);
void cg_gemm_copy_a(const cg_gemm_source *s, int64_t i0, int64_t rows, int64_t p0, int64_t kw,
                    int64_t k, char *to, int64_t to_ld);

/* What is done with a tile of sums, CG_GEMM_COLUMNS apart, from row i and column j on: c and, if
 * asked for, u. */
void cg_gemm_finish(const cg_gemm_shape *shape, const cg_gemm_operands *o, const float *sums,
                    int64_t i, int64_t rows, int64_t j, int64_t columns);

/* --- how a product is cut --------------------------------------------------------------------- */

typedef enum cg_gemm_a { CG_GEMM_DIRECT, CG_GEMM_COPY, CG_GEMM_PACK } cg_gemm_a;

struct cg_gemm {
    cg_gemm_shape s; /* no stride is 0 */
    const cg_gemm_kernels *kernel;
    int threads;
    int parts_m, parts_n; /* a grid; each part is a thread's, and shares nothing */
    int64_t kw, kc;       /* words of k, and of a block of them */
    int64_t mc, nc;       /* rows of a block of a, columns of a block of b */
    cg_gemm_a how_a;      /* how tiles read a */
    int a_stays;   /* a block of a stays in L2 and panels of b pass, not the other way round */
    int one_block; /* of a: each panel of b is packed when it is its turn */
    int plain;     /* c is the sums and nothing else */
    int sums;      /* blocks of k meet in scratch, not in c */
    size_t b_bytes, a_bytes,
        part_bytes; /* scratch: of a part its block of b, its block of a, sums */
};

static inline int64_t cg_gemm_least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t cg_gemm_ceil(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static inline int64_t cg_gemm_element(cg_dtype t) {
    return t == CG_BF16 ? 2 : 4;
}

/* Bytes between rows that are copied: not a multiple of what would make them collide. */
static inline int64_t cg_gemm_copy_ld(int64_t kc) {
    return 4 * kc + 64;
}

static inline cg_gemm_source cg_gemm_source_b(const cg_gemm_shape *s, const void *b, int64_t ldb) {
    cg_gemm_source from = {b, ldb * cg_gemm_element(s->type), s->transpose_b, s->type == CG_BF16};
    return from;
}

#endif
