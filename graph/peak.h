/* What this machine can do at most, for figures to be shares of: measured, not looked up, because
 * clocks and neighbours decide. */
#ifndef CG_PEAK_H
#define CG_PEAK_H

#include "graph/status.h"

#include <stddef.h>

CG_API_BEGIN

typedef struct cg_peak {
    double flops;       /* FLOP/s in f32 of multiply-adds (which count two) that touch no memory */
    double bf16;        /* the same of bf16 products added in f32; 0: no such instruction */
    double bytes;       /* bytes/s of x[i] = y[i] + c · z[i] over arrays larger than caches */
    const char *vector; /* the instructions of the first: "avx512f" */
} cg_peak;

/* All of them, in some 0.2 s and 96 MiB. `threads` as in the context of what is measured against
 * them. errors  CG_ENOMEM */
cg_status cg_peak_measure(int threads, cg_peak *out);

/* The parts, for who has time to be sure. The best of many short turns counts: on a shared machine
 * some are undisturbed. seconds: spent on each of flops and bf16. array_bytes: of each of three;
 * they should be far larger than the caches. errors  CG_ENOMEM */
void cg_peak_registers(int threads, double seconds, cg_peak *out);
cg_status cg_peak_memory(int threads, size_t array_bytes, cg_peak *out);

CG_API_END

#endif
