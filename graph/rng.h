/* Counter-based random numbers: a stream is named, never stored, so that nothing depends
 * on the order in which threads run.
 *
 *     cg_rng r = cg_rng_at(seed, CG_RNG_AUGMENT, epoch, sample);
 *     double angle = cg_rng_range(&r, -15, 15);
 *
 * source  Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011:
 *         Philox4x32-10 */
#ifndef CG_RNG_H
#define CG_RNG_H

#include "graph/status.h"

#include <stdint.h>

CG_API_BEGIN

/* What a stream is for; streams of different purposes are independent. */
typedef enum cg_rng_purpose {
    CG_RNG_INIT,
    CG_RNG_SHUFFLE,
    CG_RNG_AUGMENT,
    CG_RNG_CAPTION,
    CG_RNG_SYNTHETIC,
    CG_RNG_DROPOUT,
    CG_RNG_TEST,
} cg_rng_purpose;

typedef struct cg_rng {
    uint32_t key[2];
    uint64_t block;
    uint32_t word[4];
    int left; /* words of the current block not yet handed out */
} cg_rng;

/* The stream named (seed, purpose, step, sample), at its start. */
cg_rng cg_rng_at(uint64_t seed, cg_rng_purpose purpose, uint64_t step, uint64_t sample);

uint32_t cg_rng_u32(cg_rng *r);
double cg_rng_uniform(cg_rng *r);                        /* [0, 1), 53 bits */
double cg_rng_range(cg_rng *r, double low, double high); /* [low, high) */
double cg_rng_normal(cg_rng *r);                         /* mean 0, variance 1 (Box-Muller) */
uint64_t cg_rng_below(cg_rng *r, uint64_t n);            /* 0 … n-1 without bias; n ≥ 1 */

/* Block `counter` of the stream: four words at once, for kernels. */
void cg_rng_block(const cg_rng *r, uint64_t counter, uint32_t word[4]);

/* A well-mixed 64-bit hash of x (the SplitMix64 finaliser). */
uint64_t cg_mix64(uint64_t x);

CG_API_END

#endif
