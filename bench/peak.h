/* What this machine can do at most, for every figure of a benchmark to be a share of. */
#ifndef CG_BENCH_PEAK_H
#define CG_BENCH_PEAK_H

#include "graph/context.h"
#include "graph/peak.h"
#include "graph/types.h"

#include <stdint.h>

typedef struct cg_bench_peak {
    double flops;      /* the larger of registers and gemm, FLOP/s */
    double registers;  /* machine.flops, or machine.bf16 */
    cg_peak machine;   /* registers and memory */
    double gemm;       /* the best product of two matrices of gemm_size² */
    int64_t gemm_size; /* smaller than asked for where one product would take over 1.5 s */
} cg_bench_peak;

enum { CG_PEAK_GEMM = 4096 };

/* At the context's thread count; takes about 4 s at CG_PEAK_GEMM, and three matrices' memory.
 * operand: CG_F32, or CG_BF16 for products of bf16 summed in f32. gemm: rows of the matrices.
 * errors  CG_EUNSUPPORTED: bf16 and a processor without it; CG_ENOMEM, those of plans and runs */
cg_status cg_bench_peak_measure(cg_context *ctx, cg_dtype operand, int64_t gemm,
                                cg_bench_peak *out);

#endif
