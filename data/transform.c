/* Preprocessing for evaluation, as open_clip and torchvision do it. */
#include "data/transform.h"

#include "data/preprocess.h"

#include <math.h>
#include <string.h>

enum { SIDE_MAX = 1 << 14 };

cg_preprocess cg_preprocess_default(void) {
    return (cg_preprocess){
        .size = 224,
        .interpolation = CG_BICUBIC,
        .resize_mode = CG_RESIZE_SHORTEST,
        .mean = {0.48145466f, 0.4578275f, 0.40821073f},
        .std = {0.26862954f, 0.26130258f, 0.27577711f},
        .fill = {255, 255, 255},
    };
}

static cg_status check_settings(const cg_preprocess *p) {
    if (p->size < 1 || p->size > SIDE_MAX)
        return cg_error(CG_EINVAL, "preprocess: size is %d, wanted 1 to %d", p->size, SIDE_MAX);
    if (p->interpolation != CG_BICUBIC && p->interpolation != CG_BILINEAR)
        return cg_error(CG_EINVAL, "preprocess: interpolation %d is not known",
                        (int)p->interpolation);
    if (p->resize_mode != CG_RESIZE_SHORTEST && p->resize_mode != CG_RESIZE_LONGEST &&
        p->resize_mode != CG_RESIZE_SQUASH)
        return cg_error(CG_EINVAL, "preprocess: resize mode %d is not known", (int)p->resize_mode);
    for (int c = 0; c < 3; c++) {
        if (!isfinite(p->mean[c]) || !isfinite(p->std[c]) || !(p->std[c] > 0))
            return cg_error(CG_EINVAL, "preprocess: channel %d has mean %g and std %g", c,
                            (double)p->mean[c], (double)p->std[c]);
    }
    return CG_OK;
}

cg_status cg_preprocess_check(const cg_image *in, const cg_preprocess *p) {
    if (!in->rgb || in->width < 1 || in->height < 1)
        return cg_error(CG_EINVAL, "preprocess: a picture of %d x %d pixels", in->width,
                        in->height);
    return check_settings(p);
}

/* The short side becomes `size`; of the long one, only what the centre crop keeps is computed. */
static cg_axis axis_cropped(int in, int other, int size) {
    cg_axis axis = {.in = in, .to = (float)in, .full = size, .out = size};
    if (in > other) axis.full = (int64_t)((double)((int64_t)size * in) / (double)other);
    axis.offset = (int64_t)rint((double)(axis.full - size) / 2.0); /* to even, as Python */
    return axis;
}

/* The long side becomes `size`, the short one is rounded, but keeps a pixel. */
static cg_axis axis_fitted(int in, int other, int size) {
    double ratio = (double)(in > other ? in : other) / size;
    int full = (int)rint(in / ratio);
    if (full < 1) full = 1;
    return (cg_axis){.in = in, .to = (float)in, .full = full, .out = full};
}

/* Puts the picture in the middle of the square; an odd pixel goes to the right and below. */
static cg_status pad_square(cg_image *image, const cg_preprocess *p) {
    cg_image square;
    CG_TRY(cg_image_alloc(p->size, p->size, &square));
    size_t pixels = (size_t)p->size * (size_t)p->size, side = (size_t)p->size;
    for (size_t i = 0; i < pixels; i++) memcpy(square.rgb + 3 * i, p->fill, 3);
    size_t left = (side - (size_t)image->width) / 2, top = (side - (size_t)image->height) / 2;
    size_t bytes = 3 * (size_t)image->width;
    for (size_t y = 0; y < (size_t)image->height; y++)
        memcpy(square.rgb + 3 * ((top + y) * side + left), image->rgb + y * bytes, bytes);
    cg_image_free(image);
    *image = square;
    return CG_OK;
}

cg_status cg_preprocess_square(const cg_image *in, const cg_preprocess *p, cg_image *out) {
    *out = (cg_image){0};
    CG_TRY(cg_preprocess_check(in, p));
    int w = in->width, h = in->height;
    if (p->resize_mode == CG_RESIZE_SQUASH)
        return cg_resize(in, p->size, p->size, p->interpolation, out);
    if (p->resize_mode == CG_RESIZE_SHORTEST)
        return cg_resample(in, axis_cropped(w, h, p->size), axis_cropped(h, w, p->size),
                           p->interpolation, out);
    CG_TRY(cg_resample(in, axis_fitted(w, h, p->size), axis_fitted(h, w, p->size), p->interpolation,
                       out));
    if (out->width == p->size && out->height == p->size) return CG_OK;
    cg_status status = pad_square(out, p);
    if (status != CG_OK) cg_image_free(out);
    return status;
}

cg_status cg_preprocess_image(const cg_image *in, const cg_preprocess *p, float *out) {
    cg_image square;
    CG_TRY(cg_preprocess_square(in, p, &square));
    float value[3][256]; /* the divisions once per value, not per pixel */
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) value[c][v] = ((float)v / 255.0f - p->mean[c]) / p->std[c];
    size_t pixels = (size_t)p->size * (size_t)p->size;
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < 3; c++) out[3 * i + c] = value[c][square.rgb[3 * i + c]];
    cg_image_free(&square);
    return CG_OK;
}

cg_status cg_preprocess_undo(const float *pixels, const cg_preprocess *p, cg_image *out) {
    *out = (cg_image){0};
    CG_TRY(check_settings(p));
    CG_TRY(cg_image_alloc(p->size, p->size, out));
    size_t n = (size_t)p->size * (size_t)p->size;
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < 3; c++) {
            float v = (pixels[3 * i + c] * p->std[c] + p->mean[c]) * 255.0f + 0.5f;
            /* written so that NaN, which a broken tower may hand in, becomes black */
            out->rgb[3 * i + c] = v >= 255.0f ? 255 : v > 0.0f ? (uint8_t)v : 0;
        }
    }
    return CG_OK;
}
