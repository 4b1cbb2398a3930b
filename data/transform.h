/* From a decoded picture to the numbers a tower reads: resizing as Pillow computes it,
 * preprocessing for evaluation, augmentation for training. */
#ifndef CG_DATA_TRANSFORM_H
#define CG_DATA_TRANSFORM_H

#include "data/image.h"
#include "graph/rng.h"

CG_API_BEGIN

typedef enum cg_interpolation { CG_BICUBIC, CG_BILINEAR } cg_interpolation;
typedef enum cg_resize_mode {
    CG_RESIZE_SHORTEST,
    CG_RESIZE_LONGEST,
    CG_RESIZE_SQUASH
} cg_resize_mode;

/* Deterministic preprocessing; the fields are those of open_clip's preprocess_cfg. */
typedef struct cg_preprocess {
    int size; /* side of the square result */
    cg_interpolation interpolation;
    cg_resize_mode resize_mode; /* shortest: then centre crop; longest: then pad */
    float mean[3], std[3];      /* of RGB in [0, 1] */
    uint8_t fill[3];            /* padding of `longest`, and of augmentation's outside */
} cg_preprocess;

/* size 224, bicubic, shortest, CLIP's mean and std, fill white. */
cg_preprocess cg_preprocess_default(void);

/* Random changes of the training picture; all zero: none, the result is cg_preprocess_image's.
 * Ranges are half-widths: rotation 15 draws from [-15, 15). The crop is a window onto the
 * picture, which becomes the whole square; its aspect is 1 where resize_mode is shortest or
 * longest, the picture's where it is squash. Where a part of it shows nothing of the picture
 * the fill colour stands; gain and saturation change it with the rest, so that a background of
 * that colour shows no seam. */
typedef struct cg_augment {
    double scale_min, scale_max; /* area of the crop over the picture's (open_clip: .9–1), placed
                                    anywhere in the picture and shrunk to fit into it, as
                                    RandomResizedCrop does (`longest`: over the padded square);
                                    above 1 zooms out onto the fill colour; 0, 0: no crop */
    double ratio;      /* aspect drawn log-uniformly from [1/ratio, ratio]; 0 or 1: kept */
    double shift;      /* of the crop's centre, fraction of its side, in each direction */
    double rotation;   /* degrees, at most 180 */
    double gain;       /* each colour channel times 1 ± gain */
    double saturation; /* mix with grey: factor 1 ± saturation */
    double flip;       /* probability of a mirror image */
} cg_augment;

/* Resamples as Pillow's Image.resize(…, box) does: separable, antialiased, 22-bit fixed-point
 * coefficients, 8 bits between the passes, horizontal first. `out` is allocated here. */
cg_status cg_resize(const cg_image *in, int width, int height, cg_interpolation, cg_image *out);

/* The same of a part of the picture: box = {left, top, right, bottom} in pixels, within it.
 * errors  CG_EINVAL: a side below 1, an empty box or one that leaves the picture */
cg_status cg_resize_box(const cg_image *in, const float box[4], int width, int height,
                        cg_interpolation, cg_image *out);

/* Preprocesses into out[size][size][3] (f32, normalised: (v/255 - mean) / std).
 * errors  CG_EINVAL: a field of p out of range, named; in without pixels */
cg_status cg_preprocess_image(const cg_image *in, const cg_preprocess *p, float *out);

/* The same with augmentation: all randomness comes from r, which always hands out the same
 * number of values. Crop, aspect, shift, rotation and flip are one resampling, antialiased.
 * errors  also CG_EINVAL: a field of a out of range, named */
cg_status cg_augment_image(const cg_image *in, const cg_preprocess *p, const cg_augment *a,
                           cg_rng *r, float *out);

/* The other way, for looking at what a tower sees: out is allocated, clipped to 0…255. */
cg_status cg_preprocess_undo(const float *pixels, const cg_preprocess *p, cg_image *out);

CG_API_END

#endif
