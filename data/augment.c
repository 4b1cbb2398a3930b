/* Augmentation for training. Crop, aspect, shift, rotation and flip become one affine map from
 * the output square to the picture, so that the picture is resampled once:
 *   upright and within the picture   cg_resize_box, Pillow's antialiased filter
 *   otherwise                        four taps an axis around each mapped point; where that
 *                                    would skip pixels (more than 1.25 of the picture per
 *                                    output pixel), Pillow's filter shrinks the seen part first
 * Colour follows in float: gain per channel, mix with grey, clip, normalise. */
#include "data/preprocess.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef float v4f __attribute__((vector_size(16)));
typedef int32_t v4i __attribute__((vector_size(16)));

/* What was drawn, in the order of the draws; the ones at the centre change nothing. */
typedef struct draws {
    double scale;            /* area of the crop over the picture's; 1 without a crop */
    double aspect;           /* width over height, relative to the kept one */
    double place_x, place_y; /* of the crop, from -1 (left, top) to 1 */
    double shift_x, shift_y; /* fraction of the crop's side */
    double angle;            /* radians */
    int flip;
    double gain[3];
    double saturation;
} draws;

/* The window that becomes the square: source = centre + rotation · (side · (u, v)), where u, v
 * go from -1/2 to 1/2 over the output. */
typedef struct window {
    double center_x, center_y, width, height, angle;
    int flip;
} window;

/* source = origin + column · dx + row · dy for the middle of an output pixel, in pixels. */
typedef struct affine {
    double x, y, dx[2], dy[2];
} affine;

static int has_crop(const cg_augment *a) {
    return a->scale_min != 0 || a->scale_max != 0;
}

static int has_geometry(const cg_augment *a) {
    return has_crop(a) || (a->ratio != 0 && a->ratio != 1) || a->shift != 0 || a->rotation != 0;
}

static cg_status check_range(const char *name, double value, double low, double high) {
    if (value >= low && value <= high) return CG_OK;
    return cg_error(CG_EINVAL, "augment: %s is %g, wanted %g to %g", name, value, low, high);
}

static cg_status check(const cg_augment *a) {
    if (has_crop(a)) {
        CG_TRY(check_range("scale_min", a->scale_min, 1e-4, 1e4));
        CG_TRY(check_range("scale_max", a->scale_max, a->scale_min, 1e4));
    }
    if (a->ratio != 0) CG_TRY(check_range("ratio", a->ratio, 1, 100));
    CG_TRY(check_range("shift", a->shift, 0, 10));
    CG_TRY(check_range("rotation", a->rotation, 0, 180));
    CG_TRY(check_range("gain", a->gain, 0, 1));
    CG_TRY(check_range("saturation", a->saturation, 0, 1));
    return check_range("flip", a->flip, 0, 1);
}

/* Every value is drawn, used or not: turning one change on leaves the others as they were. */
static draws draw(const cg_augment *a, cg_rng *r) {
    draws d;
    double scale = cg_rng_range(r, a->scale_min, a->scale_max);
    d.scale = has_crop(a) ? scale : 1;
    double log_ratio = a->ratio > 0 ? log(a->ratio) : 0;
    d.aspect = exp(cg_rng_range(r, -log_ratio, log_ratio));
    d.place_x = cg_rng_range(r, -1, 1);
    d.place_y = cg_rng_range(r, -1, 1);
    if (!has_crop(a)) d.place_x = d.place_y = 0;
    d.shift_x = cg_rng_range(r, -a->shift, a->shift);
    d.shift_y = cg_rng_range(r, -a->shift, a->shift);
    d.angle = cg_rng_range(r, -a->rotation, a->rotation) * (3.14159265358979323846 / 180);
    d.flip = cg_rng_uniform(r) < a->flip;
    for (int c = 0; c < 3; c++) d.gain[c] = 1 + cg_rng_range(r, -a->gain, a->gain);
    d.saturation = 1 + cg_rng_range(r, -a->saturation, a->saturation);
    return d;
}

/* RandomResizedCrop draws again until a crop fits; shrinking it to fit needs no second draw
 * and keeps the aspect. `longest` looks at a padded square, into which more fits. */
static window window_of(const cg_image *in, cg_resize_mode mode, const draws *d) {
    double picture_w = in->width, picture_h = in->height;
    if (mode == CG_RESIZE_LONGEST) picture_w = picture_h = fmax(picture_w, picture_h);
    double aspect = (mode == CG_RESIZE_SQUASH ? picture_w / picture_h : 1) * d->aspect;
    double area = picture_w * picture_h * fmin(d->scale, 1);
    double w = sqrt(area * aspect), h = sqrt(area / aspect);
    double fit = fmin(1, fmin(picture_w / w, picture_h / h));
    double zoom = fit * sqrt(fmax(d->scale, 1));
    w *= zoom;
    h *= zoom;
    return (window){
        .center_x = in->width / 2.0 + d->place_x * fabs(picture_w - w) / 2 + d->shift_x * w,
        .center_y = in->height / 2.0 + d->place_y * fabs(picture_h - h) / 2 + d->shift_y * h,
        .width = w,
        .height = h,
        .angle = d->angle,
        .flip = d->flip,
    };
}

static affine affine_of(const window *w, int size) {
    double step_x = (w->flip ? -w->width : w->width) / size, step_y = w->height / size;
    double cosine = cos(w->angle), sine = sin(w->angle), half = (size - 1) / 2.0;
    affine m = {.dx = {cosine * step_x, sine * step_x}, .dy = {-sine * step_y, cosine * step_y}};
    m.x = w->center_x - half * (m.dx[0] + m.dy[0]);
    m.y = w->center_y - half * (m.dx[1] + m.dy[1]);
    return m;
}

/* Upright and (but for rounding) inside: the plain filter does it, and better. */
static int as_box(const window *w, const cg_image *in, float box[4]) {
    const double slack = 1e-6;
    double left = w->center_x - w->width / 2, right = w->center_x + w->width / 2;
    double top = w->center_y - w->height / 2, bottom = w->center_y + w->height / 2;
    if (w->angle != 0 || left < -slack || top < -slack || right > in->width + slack ||
        bottom > in->height + slack)
        return 0;
    box[0] = (float)fmax(left, 0);
    box[1] = (float)fmax(top, 0);
    box[2] = fminf((float)right, (float)in->width);
    box[3] = fminf((float)bottom, (float)in->height);
    return box[0] < box[2] && box[1] < box[3];
}

static cg_status sample_box(const cg_image *in, const float box[4], const cg_preprocess *p,
                            int flip, float *out) {
    cg_image square;
    CG_TRY(cg_resize_box(in, box, p->size, p->size, p->interpolation, &square));
    ptrdiff_t size = p->size, step = flip ? -3 : 3;
    for (ptrdiff_t y = 0; y < size; y++) {
        const uint8_t *from = square.rgb + 3 * (y * size + (flip ? size - 1 : 0));
        for (ptrdiff_t x = 0; x < size; x++, from += step, out += 3)
            for (int c = 0; c < 3; c++) out[c] = from[c];
    }
    cg_image_free(&square);
    return CG_OK;
}

/* The pixels that the square sees, along one axis, with a margin for the filter: [*low, *high),
 * cut to the picture; empty if it sees nothing. */
static void seen_range(double at, double dx, double dy, int size, int side, int *low, int *high) {
    double x = dx * (size - 1), y = dy * (size - 1);
    double margin = 3 + 3 * (fabs(dx) + fabs(dy));
    *low = (int)fmax(0, fmin(side, floor(at + fmin(x, 0) + fmin(y, 0) - margin)));
    *high = (int)fmax(0, fmin(side, ceil(at + fmax(x, 0) + fmax(y, 0) + margin)));
}

enum { BORDER = 3 }; /* of fill colour around the picture: as far as taps reach */

/* A part of the picture as four floats a pixel, within a border of fill colour. */
typedef struct canvas {
    int width, height; /* without the border */
    v4f *pixels;       /* [height + 2·BORDER][width + 2·BORDER] */
} canvas;

static cg_status canvas_make(const cg_image *in, const int box[4], const uint8_t fill[3],
                             canvas *out) {
    int width = box[2] - box[0], height = box[3] - box[1];
    size_t stride = (size_t)width + 2 * BORDER, rows = (size_t)height + 2 * BORDER, n;
    *out = (canvas){.width = width, .height = height};
    if (!__builtin_mul_overflow(stride, rows, &n) && n <= PTRDIFF_MAX / sizeof(v4f))
        out->pixels = aligned_alloc(sizeof(v4f), n * sizeof(v4f));
    if (!out->pixels)
        return cg_error(CG_ENOMEM, "augment: no memory for %d x %d pixels", width, height);
    v4f outside = {fill[0], fill[1], fill[2]}, *to = out->pixels;
    for (int y = -BORDER; y < height + BORDER; y++) {
        int inside = y >= 0 && y < height;
        const uint8_t *from =
            inside ? in->rgb + 3 * ((size_t)in->width * (size_t)(box[1] + y) + (size_t)box[0])
                   : NULL;
        for (int x = 0; x < BORDER; x++) *to++ = outside;
        for (int x = 0; x < width; x++, to++)
            *to = inside ? (v4f){from[3 * x], from[3 * x + 1], from[3 * x + 2]} : outside;
        for (int x = 0; x < BORDER; x++) *to++ = outside;
    }
    return CG_OK;
}

/* Weights of the four pixels around a point `t` past the second of them. */
static inline void weights_at(float t, cg_interpolation interpolation, float w[4]) {
    if (interpolation == CG_BILINEAR) {
        w[0] = w[3] = 0;
        w[1] = 1 - t;
        w[2] = t;
        return;
    }
    float s = 1 - t; /* Keys' cubic, a = -1/2 */
    w[0] = -0.5f * t * s * s;
    w[1] = 1 + t * t * (1.5f * t - 2.5f);
    w[2] = 1 + s * s * (1.5f * s - 2.5f);
    w[3] = -0.5f * s * t * t;
}

CG_PIXEL_LOOP
static void sample_canvas(const canvas *in, const affine *m, int size,
                          cg_interpolation interpolation, const uint8_t fill[3],
                          float *restrict out) {
    ptrdiff_t stride = in->width + 2 * BORDER;
    for (int row = 0; row < size; row++) {
        for (int column = 0; column < size; column++, out += 3) {
            /* From the middle of pixel -2 on; where no tap is in the picture, fill is exact. */
            double x = m->x + column * m->dx[0] + row * m->dy[0] - 0.5 + 2;
            double y = m->y + column * m->dx[1] + row * m->dy[1] - 0.5 + 2;
            if (!(x >= 0 && y >= 0 && x < in->width + 3 && y < in->height + 3)) {
                for (int c = 0; c < 3; c++) out[c] = fill[c];
                continue;
            }
            int x0 = (int)x, y0 = (int)y;
            float wx[4], wy[4];
            weights_at((float)(x - x0), interpolation, wx);
            weights_at((float)(y - y0), interpolation, wy);
            const v4f *from = in->pixels + y0 * stride + x0;
            v4f sum = {0};
            for (int k = 0; k < 4; k++, from += stride)
                sum +=
                    wy[k] * (wx[0] * from[0] + wx[1] * from[1] + wx[2] * from[2] + wx[3] * from[3]);
            for (int c = 0; c < 3; c++) out[c] = sum[c];
        }
    }
}

/* Shrinks box of `in` to about one pixel per output pixel, where it is finer than that, and
 * makes m map to the result. *small stays empty if there is nothing to do. */
static cg_status shrink(const cg_image *in, const int box[4], cg_interpolation interpolation,
                        affine *m, cg_image *small) {
    const double enough = 1.25; /* what four taps bear without visible aliasing */
    double step_x = hypot(m->dx[0], m->dy[0]), step_y = hypot(m->dx[1], m->dy[1]);
    int width = box[2] - box[0], height = box[3] - box[1];
    int w = step_x > enough ? (int)fmax(1, rint(width / step_x)) : width;
    int h = step_y > enough ? (int)fmax(1, rint(height / step_y)) : height;
    m->x -= box[0];
    m->y -= box[1];
    if (w == width && h == height) return CG_OK;
    const float part[4] = {(float)box[0], (float)box[1], (float)box[2], (float)box[3]};
    CG_TRY(cg_resize_box(in, part, w, h, interpolation, small));
    double fx = (double)w / width, fy = (double)h / height;
    *m = (affine){.x = m->x * fx,
                  .y = m->y * fy,
                  .dx = {m->dx[0] * fx, m->dx[1] * fy},
                  .dy = {m->dy[0] * fx, m->dy[1] * fy}};
    return CG_OK;
}

static cg_status sample_affine(const cg_image *in, const window *w, const cg_preprocess *p,
                               float *out) {
    affine m = affine_of(w, p->size);
    int box[4];
    seen_range(m.x, m.dx[0], m.dy[0], p->size, in->width, &box[0], &box[2]);
    seen_range(m.y, m.dx[1], m.dy[1], p->size, in->height, &box[1], &box[3]);
    if (box[0] >= box[2] || box[1] >= box[3]) {
        size_t pixels = (size_t)p->size * (size_t)p->size;
        for (size_t i = 0; i < 3 * pixels; i++) out[i] = p->fill[i % 3];
        return CG_OK;
    }
    cg_image small = {0};
    canvas part = {0};
    CG_TRY(shrink(in, box, p->interpolation, &m, &small));
    const int whole[4] = {0, 0, small.width, small.height};
    cg_status status =
        canvas_make(small.rgb ? &small : in, small.rgb ? whole : box, p->fill, &part);
    cg_image_free(&small);
    if (status == CG_OK) sample_canvas(&part, &m, p->size, p->interpolation, p->fill, out);
    free(part.pixels);
    return status;
}

static inline v4f clip(v4f v) {
    const v4f black = {0}, white = {255, 255, 255, 255};
    v4i positive = v > black;
    v = (v4f)((v4i)v & positive);
    v4i below = v < white;
    return (v4f)(((v4i)v & below) | ((v4i)white & ~below));
}

/* From 0 … 255 to what the tower reads, in place; four lanes of which three are used. */
CG_PIXEL_LOOP
static void color(float *out, size_t pixels, const draws *d, const cg_preprocess *p) {
    const v4f gain = {(float)d->gain[0], (float)d->gain[1], (float)d->gain[2]};
    const v4f mean = {p->mean[0], p->mean[1], p->mean[2]};
    const v4f std = {p->std[0], p->std[1], p->std[2], 1};
    const float keep = (float)d->saturation;
    for (size_t i = 0; i < pixels; i++, out += 3) {
        v4f v = clip((v4f){out[0], out[1], out[2]}) * gain;
        float grey = 0.299f * v[0] + 0.587f * v[1] + 0.114f * v[2];
        v = (clip((1 - keep) * grey + keep * v) / 255.0f - mean) / std;
        for (int c = 0; c < 3; c++) out[c] = v[c];
    }
}

static cg_status sample(const cg_image *in, const cg_preprocess *p, const cg_augment *a,
                        const draws *d, float *out) {
    float box[4];
    if (!has_geometry(a)) {
        cg_image square;
        CG_TRY(cg_preprocess_square(in, p, &square));
        const float all[4] = {0, 0, (float)p->size, (float)p->size};
        cg_status status = sample_box(&square, all, p, d->flip, out);
        cg_image_free(&square);
        return status;
    }
    window w = window_of(in, p->resize_mode, d);
    if (as_box(&w, in, box)) return sample_box(in, box, p, d->flip, out);
    return sample_affine(in, &w, p, out);
}

cg_status cg_augment_image(const cg_image *in, const cg_preprocess *p, const cg_augment *a,
                           cg_rng *r, float *out) {
    CG_TRY(cg_preprocess_check(in, p));
    CG_TRY(check(a));
    draws d = draw(a, r);
    CG_TRY(sample(in, p, a, &d, out));
    color(out, (size_t)p->size * (size_t)p->size, &d, p);
    return CG_OK;
}
