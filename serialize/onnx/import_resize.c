/* Operators by which pictures are prepared: Resize, Pad, and whole numbers. */
#include "serialize/onnx/import_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int is_text(cg_job *j, const char *name, const char *text, int otherwise) {
    const CgOnnx__AttributeProto *a = cg_onnx_attribute(j->node, name);
    if (!a) return otherwise;
    return a->s.len == strlen(text) && memcmp(a->s.data, text, a->s.len) == 0;
}

/* --- Resize: each axis that changes is a product with a matrix of weights
 * ------------------------- */

typedef struct filter {
    int cubic, antialias, exclude; /* exclude: what lies outside has no weight; else the edge's */
    double a;                      /* of the cubic */
    int corners, corner;           /* of coordinates: corners are aligned; pixels begin at 0 */
} filter;

static double weight(const filter *f, double t) {
    t = fabs(t);
    if (!f->cubic) return t < 1 ? 1 - t : 0;
    if (t < 1) return ((f->a + 2) * t - (f->a + 3)) * t * t + 1;
    return t < 2 ? f->a * (((t - 5) * t + 8) * t - 4) : 0;
}

static double coordinate(const filter *f, int64_t i, int64_t in, int64_t out, double scale) {
    if (f->corners) return out > 1 ? (double)i * (double)(in - 1) / (double)(out - 1) : 0;
    return f->corner ? (double)i / scale : ((double)i + .5) / scale - .5;
}

/* Column i of w [in, out]: what each element of the operand adds to element i of the result. Where
 * a filter smooths it is as wide as a step of the result, and what lies outside counts for nothing.
 */
static void fill_column(const filter *f, float *w, int64_t in, int64_t out, int64_t i,
                        double scale) {
    double wide = f->antialias && scale < 1 ? 1 / scale : 1, sum = 0;
    double at = coordinate(f, i, in, out, scale), reach = wide * (f->cubic ? 2 : 1);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t k = (int64_t)floor(at - reach); k <= (int64_t)ceil(at + reach); k++) {
            int outside = k < 0 || k >= in;
            double x = weight(f, ((double)k - at) / wide);
            if (x == 0 || (outside && (f->exclude || f->antialias))) continue;
            if (pass == 0)
                sum += x;
            else
                w[(k < 0 ? 0 : k >= in ? in - 1 : k) * out + i] += (float)(x / sum);
        }
}

static cg_status resize_axis(cg_job *j, cg_item *x, int axis, int64_t to, double scale,
                             const filter *f, cg_item *out) {
    int axes[CG_MAX_RANK], rank = x->shape.rank, n = 0;
    int64_t in = x->shape.dim[axis];
    cg_value *v;
    for (int i = 0; i < rank; i++)
        if (i != axis) axes[n++] = i;
    axes[n] = axis;
    CG_TRY(cg_item_as(j, x, axes, &v)); /* the axis last */
    float *w = calloc((size_t)(in * to), sizeof *w);
    if (!w)
        return cg_error(CG_ENOMEM, "no memory to resize %lld to %lld", (long long)in,
                        (long long)to);
    for (int64_t i = 0; i < to; i++) fill_column(f, w, in, to, i, scale);
    cg_value *matrix = cg_constant(j->g, CG_F32, CG_SHAPE(in, to), w);
    free(w);
    cg_shape shape = v ? v->shape : CG_SCALAR;
    shape.dim[rank - 1] = to;
    v = cg_shaped(j->g, v, CG_SHAPE(cg_item_count(x) / in, in));
    v = cg_shaped(j->g, cg_matmul(j->g, v, matrix, 0, 0), shape);
    CG_TRY(cg_out_frame(j, 0, v, axes));
    *out = j->out[0];
    return CG_OK;
}

static cg_status read_filter(cg_job *j, filter *f) {
    *f = (filter){.cubic = is_text(j, "mode", "cubic", 0),
                  .antialias = cg_onnx_int(j->node, "antialias", 0) != 0,
                  .exclude = cg_onnx_int(j->node, "exclude_outside", 0) != 0,
                  .a = (double)cg_onnx_float(j->node, "cubic_coeff_a", -0.75f)};
    static const char mode[] = "coordinate_transformation_mode";
    f->corners = is_text(j, mode, "align_corners", 0);
    f->corner = is_text(j, mode, "asymmetric", 0);
    if (!f->corners && !f->corner && !is_text(j, mode, "half_pixel", 1))
        return cg_error(CG_EUNSUPPORTED,
                        "has coordinates that are not half_pixel, align_corners or "
                        "asymmetric");
    if (!f->cubic && !is_text(j, "mode", "linear", 0))
        return cg_error(CG_EUNSUPPORTED, "has a mode that is neither linear nor cubic");
    if (!is_text(j, "keep_aspect_ratio_policy", "stretch", 1))
        return cg_error(CG_EUNSUPPORTED, "keeps the aspect ratio");
    return CG_OK;
}

/* Sizes (input 3) or scales (input 2) of axes, all or those of the attribute. */
static cg_status import_resize(cg_job *j) {
    filter f;
    int64_t axes[CG_MAX_RANK];
    int n, by_size = j->n_in > 3 && j->in[3];
    cg_item x = *j->in[0];
    CG_TRY(read_filter(j, &f));
    CG_TRY(cg_onnx_ints(j->node, "axes", NULL, axes, &n));
    if (n < 0)
        for (n = 0; n < x.shape.rank; n++) axes[n] = n;
    const cg_host *list = j->n_in > 2 ? cg_item_host(j, j->in[by_size ? 3 : 2]) : NULL;
    if (!list || cg_host_count(list) != n)
        return cg_error(CG_EUNSUPPORTED,
                        "has sizes that only a run knows, or not one of each axis");
    CG_TRY(cg_item_value(j, &x));
    for (int i = 0; i < n; i++) {
        int axis;
        CG_TRY(cg_onnx_axis(axes[i], x.shape.rank, &axis));
        int64_t in = x.shape.dim[axis];
        double scale = by_size ? list->x[i] / (double)in : list->x[i];
        int64_t to = by_size ? cg_host_int(list->x[i]) : cg_host_int(floor((double)in * scale));
        if (!(scale > 0) || to < 1 || to > INT32_MAX / in)
            return cg_error(CG_EFORMAT, "makes %lld of %lld", (long long)to, (long long)in);
        if (to != in || scale != 1) CG_TRY(resize_axis(j, &x, axis, to, scale, &f, &x));
    }
    j->out[0] = x;
    return CG_OK;
}

/* --- Pad
 * ------------------------------------------------------------------------------------------ */

/* x between `before` and `after` elements that are one number, along an axis. */
static cg_status pad_axis(cg_job *j, cg_item *x, int axis, int64_t before, int64_t after,
                          float number, cg_item *out) {
    cg_value *v, *part[3];
    int n = 0;
    CG_TRY(cg_item_plain(j, x, &v));
    for (int k = 0; k < 3; k++) {
        cg_shape shape = x->shape;
        shape.dim[axis] = k == 0 ? before : after;
        if (k == 1)
            part[n++] = v;
        else if (shape.dim[axis] > 0)
            part[n++] = cg_broadcast(j->g, cg_constant_f32(j->g, number), shape);
    }
    CG_TRY(cg_out_plain(j, 0, cg_concat(j->g, n, part, axis)));
    *out = j->out[0];
    return CG_OK;
}

static cg_status import_pad(cg_job *j) {
    int64_t axes[CG_MAX_RANK];
    int n = -1;
    double number = 0;
    const cg_host *pads = cg_item_host(j, j->in[1]);
    cg_item x = *j->in[0];
    if (!is_text(j, "mode", "constant", 1))
        return cg_error(CG_EUNSUPPORTED, "pads not with a number");
    if (j->n_in > 2 && j->in[2] && !cg_item_number(j, j->in[2], &number))
        return cg_error(CG_EUNSUPPORTED, "pads with what only a run knows");
    if (j->n_in > 3 && j->in[3]) {
        const cg_host *list = cg_item_host(j, j->in[3]);
        if (!list || cg_host_count(list) > CG_MAX_RANK)
            return cg_error(CG_EUNSUPPORTED, "pads axes that only a run knows");
        for (n = 0; n < cg_host_count(list); n++) axes[n] = cg_host_int(list->x[n]);
    }
    if (n < 0)
        for (n = 0; n < x.shape.rank; n++) axes[n] = n;
    if (!pads || cg_host_count(pads) != 2 * n)
        return cg_error(CG_EUNSUPPORTED, "has pads that only a run knows, or not two of each axis");
    CG_TRY(cg_item_value(j, &x));
    for (int i = 0; i < n; i++) {
        int axis;
        int64_t before = cg_host_int(pads->x[i]), after = cg_host_int(pads->x[n + i]);
        CG_TRY(cg_onnx_axis(axes[i], x.shape.rank, &axis));
        if (before < 0 || after < 0 || before > INT32_MAX || after > INT32_MAX)
            return cg_error(CG_EUNSUPPORTED, "pads by %lld and %lld", (long long)before,
                            (long long)after);
        if (before || after) CG_TRY(pad_axis(j, &x, axis, before, after, (float)number, &x));
    }
    j->out[0] = x;
    return CG_OK;
}

/* --- whole numbers
 * --------------------------------------------------------------------------------- */

static cg_status import_floor(cg_job *j) {
    CG_TRY(cg_item_value(j, j->in[0]));
    return cg_out_view(j, 0, cg_floor(j->g, j->in[0]->v), &j->in[0]->view);
}

static cg_status import_ceil(cg_job *j) {
    CG_TRY(cg_item_value(j, j->in[0]));
    return cg_out_view(j, 0, cg_neg(j->g, cg_floor(j->g, cg_neg(j->g, j->in[0]->v))),
                       &j->in[0]->view);
}

const cg_import_op cg_import_resizing[] = {{"Resize", 1, import_resize},
                                           {"Pad", 2, import_pad},
                                           {"Floor", 1, import_floor},
                                           {"Ceil", 1, import_ceil},
                                           {NULL, 0, NULL}};
