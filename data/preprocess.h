/* What resizing, preprocessing and augmentation share; private to data/. */
#ifndef CG_DATA_PREPROCESS_H
#define CG_DATA_PREPROCESS_H

#include "data/transform.h"

/* Integer and non-fused float arithmetic gives the same bits with any vector width, so the
 * pixel loops are compiled twice and the processor's choice is made when the program is loaded. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) &&                          \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CG_PIXEL_LOOP __attribute__((target_clones("avx2", "default")))
#else
#define CG_PIXEL_LOOP
#endif

/* One axis of a resampling: source [from, to) of `in` pixels becomes `full` pixels, of which
 * the `out` from `offset` on are wanted. */
typedef struct cg_axis {
    int in;
    float from, to;
    int64_t full, offset;
    int out;
} cg_axis;

/* Computes the wanted window of a resized picture; identical to cutting it out afterwards. */
cg_status cg_resample(const cg_image *in, cg_axis x, cg_axis y, cg_interpolation interpolation,
                      cg_image *out);

/* errors  CG_EINVAL: a field out of range, or no picture */
cg_status cg_preprocess_check(const cg_image *in, const cg_preprocess *p);

/* The square 8-bit picture, not normalised; allocated here. */
cg_status cg_preprocess_square(const cg_image *in, const cg_preprocess *p, cg_image *out);

#endif
