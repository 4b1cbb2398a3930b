/* Resizing, bit for bit as Pillow does it: each output pixel is a weighted sum of the input
 * pixels under the filter, which is stretched by the ratio when shrinking (that is the
 * antialiasing); weights are normalised in double, then rounded to 22-bit fixed point.
 * The horizontal pass comes first, always, as in every Pillow up to 12; from 13 on Pillow begins
 * with the vertical one for pictures that shrink much more in height than in width, which
 * changes single values by up to 3.
 * source  Pillow, src/libImaging/Resample.c */
#include "data/preprocess.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PRECISION = 32 - 8 - 2 };

typedef int32_t v4i __attribute__((vector_size(16)));

/* The weights of one axis: output i is the sum over k of weight[i*stride + k] * in[first[i] + k].
 */
typedef struct taps {
    int out, stride;
    int *first, *count;
    int32_t *weight;
} taps;

static double bilinear(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Keys' cubic with a = -0.5, in Pillow's order of operations. */
static double bicubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static void taps_free(taps *t) {
    free(t->first);
    free(t->count);
    free(t->weight);
    *t = (taps){0};
}

static cg_status taps_alloc(taps *t, int out, double support) {
    double stride = ceil(support) * 2 + 1;
    size_t n;
    *t = (taps){.out = out};
    if (stride > INT32_MAX || __builtin_mul_overflow((size_t)out, (size_t)stride, &n) ||
        n > PTRDIFF_MAX / sizeof *t->weight)
        return cg_error(CG_ENOMEM, "resize: no memory for %d x %g weights", out, stride);
    t->stride = (int)stride;
    t->first = malloc((size_t)out * sizeof *t->first);
    t->count = malloc((size_t)out * sizeof *t->count);
    t->weight = calloc(n, sizeof *t->weight);
    if (t->first && t->count && t->weight) return CG_OK;
    taps_free(t);
    return cg_error(CG_ENOMEM, "resize: no memory for %d x %g weights", out, stride);
}

static int32_t fixed_point(double w) {
    return (int32_t)((w < 0 ? -0.5 : 0.5) + w * (1 << PRECISION));
}

static cg_status taps_init(taps *t, const cg_axis *axis, cg_interpolation interpolation) {
    double (*filter)(double) = interpolation == CG_BILINEAR ? bilinear : bicubic;
    double scale = (double)(axis->to - axis->from) / (double)axis->full;
    double filter_scale = scale < 1.0 ? 1.0 : scale;
    double support = (interpolation == CG_BILINEAR ? 1.0 : 2.0) * filter_scale;
    CG_TRY(taps_alloc(t, axis->out, support));
    assert(t->stride > 0);
    double *row = malloc((size_t)t->stride * sizeof *row);
    if (!row) {
        taps_free(t);
        return cg_error(CG_ENOMEM, "resize: no memory for %d weights", t->stride);
    }
    for (int i = 0; i < axis->out; i++) {
        double center = axis->from + ((double)(axis->offset + i) + 0.5) * scale;
        double sum = 0.0, inverse = 1.0 / filter_scale;
        int first = (int)(center - support + 0.5);
        if (first < 0) first = 0;
        int end = (int)(center + support + 0.5);
        if (end > axis->in) end = axis->in;
        int count = end - first;
        for (int k = 0; k < count; k++) {
            row[k] = filter((k + first - center + 0.5) * inverse);
            sum += row[k];
        }
        int32_t *weight = t->weight + (size_t)i * (size_t)t->stride;
        for (int k = 0; k < count; k++) weight[k] = fixed_point(sum != 0.0 ? row[k] / sum : row[k]);
        t->first[i] = first;
        t->count[i] = count;
    }
    free(row);
    return CG_OK;
}

static uint8_t clip8(int32_t sum) {
    int32_t v = sum >> PRECISION;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* One row: `wide` is room for the input row as four integers a pixel. */
CG_PIXEL_LOOP
static void resample_row(const uint8_t *in, int width, const taps *t, v4i *wide, uint8_t *out) {
    for (int x = 0; x < width; x++)
        wide[x] = (v4i){in[3 * (ptrdiff_t)x], in[3 * (ptrdiff_t)x + 1], in[3 * (ptrdiff_t)x + 2]};
    for (int i = 0; i < t->out; i++) {
        const v4i *from = wide + t->first[i];
        const int32_t *weight = t->weight + (ptrdiff_t)i * t->stride;
        const int32_t half = 1 << (PRECISION - 1);
        v4i sum = {half, half, half, half};
        for (int k = 0; k < t->count[i]; k++) sum += from[k] * weight[k];
        for (int c = 0; c < 3; c++) out[3 * (ptrdiff_t)i + c] = clip8(sum[c]);
    }
}

/* `n` bytes of one output row, from `count` rows `stride` bytes apart; sum is room for n. */
CG_PIXEL_LOOP
static void resample_column(const uint8_t *in, size_t stride, const int32_t *weight, int count,
                            size_t n, int32_t *restrict sum, uint8_t *restrict out) {
    for (size_t i = 0; i < n; i++) sum[i] = 1 << (PRECISION - 1);
    for (int k = 0; k < count; k++) {
        const uint8_t *restrict row = in + (size_t)k * stride;
        for (size_t i = 0; i < n; i++) sum[i] += row[i] * weight[k];
    }
    for (size_t i = 0; i < n; i++) out[i] = clip8(sum[i]);
}

/* Rows first … first+rows-1 of `in`, resampled along x. */
static cg_status pass_x(const cg_image *in, const taps *t, int first, int rows, cg_image *out) {
    CG_TRY(cg_image_alloc(t->out, rows, out));
    v4i *wide = aligned_alloc(sizeof *wide, (size_t)in->width * sizeof *wide);
    if (!wide) {
        cg_image_free(out);
        return cg_error(CG_ENOMEM, "resize: no memory for a row of %d pixels", in->width);
    }
    for (int y = 0; y < rows; y++)
        resample_row(in->rgb + 3 * (size_t)in->width * (size_t)(first + y), in->width, t, wide,
                     out->rgb + 3 * (size_t)t->out * (size_t)y);
    free(wide);
    return CG_OK;
}

/* All columns of `in`, whose row 0 is row `first` of the picture, resampled along y. */
static cg_status pass_y(const cg_image *in, const taps *t, int first, cg_image *out) {
    CG_TRY(cg_image_alloc(in->width, t->out, out));
    size_t stride = 3 * (size_t)in->width;
    int32_t *sum = malloc(stride * sizeof *sum);
    if (!sum) {
        cg_image_free(out);
        return cg_error(CG_ENOMEM, "resize: no memory for a row of %d pixels", in->width);
    }
    for (int y = 0; y < t->out; y++)
        resample_column(in->rgb + stride * (size_t)(t->first[y] - first), stride,
                        t->weight + (size_t)y * (size_t)t->stride, t->count[y], stride, sum,
                        out->rgb + stride * (size_t)y);
    free(sum);
    return CG_OK;
}

static cg_status copy_window(const cg_image *in, const cg_axis *x, int first, int rows,
                             cg_image *out) {
    CG_TRY(cg_image_alloc(x->out, rows, out));
    size_t bytes = 3 * (size_t)x->out;
    for (int row = 0; row < rows; row++)
        memcpy(out->rgb + bytes * (size_t)row,
               in->rgb + 3 * ((size_t)in->width * (size_t)(first + row) + (size_t)x->offset),
               bytes);
    return CG_OK;
}

static int is_identity(const cg_axis *axis) {
    return axis->full == axis->in && axis->from == 0 && axis->to == (float)axis->in;
}

cg_status cg_resample(const cg_image *in, cg_axis x, cg_axis y, cg_interpolation interpolation,
                      cg_image *out) {
    taps tx = {0}, ty = {0};
    cg_image middle = {0};
    *out = (cg_image){0};
    if ((int64_t)x.out * y.out > PTRDIFF_MAX / 3) /* before any work, and any large request */
        return cg_error(CG_ENOMEM, "resize: no memory for a picture of %d x %d", x.out, y.out);
    /* Only the rows that the second pass reads go through the first. */
    int first = (int)y.offset, rows = y.out, with_y = !is_identity(&y);
    cg_status status = CG_OK;
    if (with_y) {
        CG_TRY(taps_init(&ty, &y, interpolation));
        assert(ty.first && ty.count);
        first = ty.first[0];
        rows = ty.first[ty.out - 1] + ty.count[ty.out - 1] - first;
    }
    if (is_identity(&x)) {
        status = copy_window(in, &x, first, rows, &middle);
    } else {
        status = taps_init(&tx, &x, interpolation);
        if (status == CG_OK) status = pass_x(in, &tx, first, rows, &middle);
    }
    if (status == CG_OK && with_y) {
        status = pass_y(&middle, &ty, first, out);
        cg_image_free(&middle);
    } else if (status == CG_OK) {
        *out = middle;
    }
    taps_free(&tx);
    taps_free(&ty);
    return status;
}

cg_status cg_resize_box(const cg_image *in, const float box[4], int width, int height,
                        cg_interpolation interpolation, cg_image *out) {
    *out = (cg_image){0};
    if (!in->rgb || in->width < 1 || in->height < 1)
        return cg_error(CG_EINVAL, "resize: a picture of %d x %d pixels", in->width, in->height);
    if (width < 1 || height < 1)
        return cg_error(CG_EINVAL, "resize: to %d x %d pixels, wanted at least 1 x 1", width,
                        height);
    if (interpolation != CG_BICUBIC && interpolation != CG_BILINEAR)
        return cg_error(CG_EINVAL, "resize: interpolation %d is not known", (int)interpolation);
    if (!(box[0] >= 0 && box[0] < box[2] && box[2] <= (float)in->width && box[1] >= 0 &&
          box[1] < box[3] && box[3] <= (float)in->height))
        return cg_error(CG_EINVAL, "resize: box (%g, %g, %g, %g) is empty or leaves %d x %d pixels",
                        (double)box[0], (double)box[1], (double)box[2], (double)box[3], in->width,
                        in->height);
    cg_axis x = {.in = in->width, .from = box[0], .to = box[2], .full = width, .out = width};
    cg_axis y = {.in = in->height, .from = box[1], .to = box[3], .full = height, .out = height};
    return cg_resample(in, x, y, interpolation, out);
}

cg_status cg_resize(const cg_image *in, int width, int height, cg_interpolation interpolation,
                    cg_image *out) {
    const float box[4] = {0, 0, (float)in->width, (float)in->height};
    return cg_resize_box(in, box, width, height, interpolation, out);
}
