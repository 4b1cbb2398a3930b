/* What this machine can do at most, for every figure of a benchmark to be a share of. */
#ifndef CG_BENCH_PEAK_H
#define CG_BENCH_PEAK_H

#include "graph/context.h"
#include "graph/types.h"

#include <stdint.h>

typedef struct cg_peak {
    double flops;       /* the larger of both, FLOP/s, a multiply-add counts two */
    double registers;   /* multiply-adds that touch no memory */
    double gemm;        /* the best product of two matrices of gemm_size²; 0: there is none */
    int64_t gemm_size;  /* smaller than asked for where one product would take over 1.5 s */
    const char *vector; /* the instructions of the register loop: "avx512f" */
} cg_peak;

enum { CG_PEAK_GEMM = 4096 };

/* At the context's thread count; takes about 3 s at CG_PEAK_GEMM, and three matrices' memory.
 * operand: CG_F32, or CG_BF16 for products of bf16 summed in f32. gemm: rows of the matrices.
 * errors  CG_EUNSUPPORTED: bf16 and a processor without it; CG_ENOMEM, those of plans and runs */
cg_status cg_peak_measure(cg_context *ctx, cg_dtype operand, int64_t gemm, cg_peak *out);

/* Has the processor instructions that multiply bf16? */
int cg_peak_has_bf16(void);

/* Bytes/s of x[i] = y[i] + c · z[i] over arrays far larger than caches, best of several; each
 * element read or written once. errors  CG_ENOMEM */
cg_status cg_peak_bandwidth(cg_context *ctx, double *out);

#endif
