/* What hand-written kernels share. */
#ifndef CG_OPS_KERNEL_H
#define CG_OPS_KERNEL_H

#include <stdint.h>

/* Compiles a function for AVX-512, AVX2 and plain x86-64; the loader picks by the processor. It
 * goes on static functions (GCC exports the clones of others from a shared library, whatever their
 * visibility), serial ones that work on a range: a parallel region is outlined by the compiler and
 * would not be cloned, so the OpenMP loop stands in the caller. CLIPGRAPH_KERNEL_TARGET pins one
 * target, with which the tests try each path. */
#if defined(CLIPGRAPH_KERNEL_TARGET)
#define CG_KERNEL __attribute__((target(CLIPGRAPH_KERNEL_TARGET)))
#elif defined(__x86_64__)
#define CG_KERNEL __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CG_KERNEL
#endif

/* The part of n items that thread `rank` of `size` works on: [begin, end). */
typedef struct cg_range {
    int64_t begin, end;
} cg_range;

static inline cg_range cg_range_of(int64_t n, int rank, int size) {
    cg_range part = {n * rank / size, n * (rank + 1) / size};
    return part;
}

/* Work worth a parallel region: below this many elements one thread does it all. */
enum { CG_PARALLEL_MIN = 1 << 14 };

#endif
