/* Resize and Pad, of which a file's own preprocessing is made. A picture is resized along one axis
 * by a matrix, [out, in], whose rows are the weights of the pixels that a new one is made of.
 *
 * source  onnx/onnx, docs/Operators.md, Resize; its reference implementation */
#include "serialize/onnx/import_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct filter {
    int cubic;
    double a;       /* of the cubic */
    int antialias;  /* the filter is as wide as a new pixel, where that is wider than an old one */
    int leaves_out; /* what lies outside of the picture; else the edge is repeated */
} filter;

static double weight(const filter *f, double x) {
    x = fabs(x);
    if (!f->cubic) return x < 1 ? 1 - x : 0;
    if (x <= 1) return ((f->a + 2) * x - (f->a + 3)) * x * x + 1;
    return x < 2 ? ((f->a * x - 5 * f->a) * x + 8 * f->a) * x - 4 * f->a : 0;
}

/* Row i of the matrix, for pixels that become out / in as many. */
static void fill_row(const filter *f, int64_t in, double scale, int64_t i, float *row) {
    double width = f->antialias && scale < 1 ? 1 / scale : 1, reach = (f->cubic ? 2 : 1) * width;
    double centre = ((double)i + 0.5) / scale - 0.5, sum = 0;
    int64_t first = (int64_t)ceil(centre - reach), last = (int64_t)floor(centre + reach);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t k = first; k <= last; k++) {
            double w = weight(f, ((double)k - centre) / width);
            int outside = k < 0 || k >= in;
            if (outside && f->leaves_out) continue;
            if (pass == 0)
                sum += w;
            else if (sum != 0)
                row[k < 0 ? 0 : k >= in ? in - 1 : k] += (float)(w / sum);
        }
}

static cg_status matrix(cg_job *j, const filter *f, int64_t in, int64_t out, double scale,
                        cg_value **v) {
    CG_TRY(cg_import_constant(j, &CG_SHAPE(out, in), CG_F32));
    float *x = calloc((size_t)(in * out) + 1, sizeof *x);
    if (!x) return cg_error(CG_ENOMEM, "no memory to resize");
    for (int64_t i = 0; i < out; i++) fill_row(f, in, scale, i, x + i * in);
    *v = cg_constant(j->g, CG_F32, CG_SHAPE(out, in), x);
    free(x);
    return *v ? CG_OK : cg_graph_status(j->g);
}

/* y = matrix · x along an axis. */
static cg_status resize_axis(cg_job *j, cg_item *x, int axis, int64_t out, double scale,
                             const filter *f, cg_item *y) {
    int axes[CG_MAX_RANK], n = 0;
    int64_t in = x->shape.dim[axis];
    cg_value *v, *m;
    axes[n++] = axis;
    for (int i = 0; i < x->shape.rank; i++)
        if (i != axis) axes[n++] = i;
    CG_TRY(cg_item_as(j, x, axes, &v));
    CG_TRY(matrix(j, f, in, out, scale, &m));
    cg_shape shape = v->shape;
    shape.dim[0] = out;
    v = cg_matmul(j->g, m, cg_shaped(j->g, v, CG_SHAPE(in, cg_item_count(x) / in)), 0, 0);
    cg_job to = *j;
    to.out = y;
    return cg_out_frame(&to, 0, cg_shaped(j->g, v, shape), axes);
}

static int is_text(const CgOnnx__AttributeProto *a, const char *text) {
    return a && a->s.len == strlen(text) && memcmp(a->s.data, text, a->s.len) == 0;
}

static cg_status read_filter(cg_job *j, filter *f) {
    const CgOnnx__AttributeProto *mode = cg_onnx_attribute(j->node, "mode");
    const CgOnnx__AttributeProto *where =
        cg_onnx_attribute(j->node, "coordinate_transformation_mode");
    const CgOnnx__AttributeProto *keep = cg_onnx_attribute(j->node, "keep_aspect_ratio_policy");
    f->cubic = is_text(mode, "cubic");
    f->a = (double)cg_onnx_float(j->node, "cubic_coeff_a", -0.75f);
    f->antialias = cg_onnx_int(j->node, "antialias", 0) != 0;
    f->leaves_out = cg_onnx_int(j->node, "exclude_outside", 0) != 0;
    if (!f->cubic && !is_text(mode, "linear"))
        return cg_error(CG_EUNSUPPORTED, "resizes by another mode than linear and cubic");
    if (where && !is_text(where, "half_pixel"))
        return cg_error(CG_EUNSUPPORTED, "has coordinates other than half_pixel");
    if (keep && !is_text(keep, "stretch"))
        return cg_error(CG_EUNSUPPORTED, "has a policy other than stretch");
    return CG_OK;
}

/* The axes that sizes, scales or pads are of: all where the node does not say. */
static cg_status axes_of(cg_job *j, const cg_host *in, int axes[CG_MAX_RANK], int *n) {
    int64_t list[CG_MAX_RANK];
    CG_TRY(cg_onnx_ints(j->node, in ? NULL : "axes", in, list, n));
    if (*n < 0) {
        *n = j->in[0]->shape.rank;
        for (int i = 0; i < *n; i++) list[i] = i;
    }
    for (int i = 0; i < *n; i++) CG_TRY(cg_onnx_axis(list[i], j->in[0]->shape.rank, &axes[i]));
    return CG_OK;
}

static const cg_host *given(cg_job *j, int i) {
    const cg_host *h = i < j->n_in ? cg_item_host(j, j->in[i]) : NULL;
    return h && cg_host_count(h) > 0 ? h : NULL;
}

static cg_status import_resize(cg_job *j) {
    filter f;
    int axes[CG_MAX_RANK], n;
    const cg_host *scales = given(j, 2), *sizes = given(j, 3);
    if (!scales == !sizes) return cg_error(CG_EUNSUPPORTED, "has no sizes that are known");
    CG_TRY(read_filter(j, &f));
    CG_TRY(axes_of(j, NULL, axes, &n));
    if (cg_host_count(sizes ? sizes : scales) != n)
        return cg_error(CG_EFORMAT, "has %lld sizes for %d axes",
                        (long long)cg_host_count(sizes ? sizes : scales), n);
    cg_item x = *j->in[0];
    for (int i = 0; i < n; i++) {
        int64_t in = x.shape.dim[axes[i]];
        /* scales are f32, and the product is rounded to f32 before it is cut */
        double out = sizes ? sizes->x[i] : (double)floorf((float)scales->x[i] * (float)in);
        if (!(out >= 1 && out <= INT32_MAX)) return cg_error(CG_EFORMAT, "has a size of %g", out);
        if ((int64_t)out == in) continue;
        cg_item y;
        CG_TRY(resize_axis(j, &x, axes[i], (int64_t)out, sizes ? out / (double)in : scales->x[i],
                           &f, &y));
        x = y;
    }
    CG_TRY(cg_item_value(j, &x));
    return cg_out_view(j, 0, x.v, &x.view);
}

/* x with `count` elements of c in front of, or behind it. */
static cg_status pad_axis(cg_job *j, cg_item *x, int axis, const int64_t count[2], float c,
                          cg_item *out) {
    int axes[CG_MAX_RANK], at = 0, n = 0;
    cg_value *v, *part[3];
    CG_TRY(cg_item_frame(j, x, axes, &v));
    while (axes[at] != axis) at++;
    for (int k = 0; k < 3; k++) {
        cg_shape shape = v->shape;
        if (k == 1) {
            part[n++] = v;
            continue;
        }
        shape.dim[at] = count[k / 2];
        if (shape.dim[at] > 0) part[n++] = cg_broadcast(j->g, cg_constant_f32(j->g, c), shape);
    }
    cg_job to = *j;
    to.out = out;
    return cg_out_frame(&to, 0, n > 1 ? cg_concat(j->g, n, part, at) : v, axes);
}

static cg_status import_pad(cg_job *j) {
    const CgOnnx__AttributeProto *mode = cg_onnx_attribute(j->node, "mode");
    const cg_host *pads = given(j, 1);
    int axes[CG_MAX_RANK], n;
    double c = 0;
    if (mode && !is_text(mode, "constant"))
        return cg_error(CG_EUNSUPPORTED, "pads by another mode than constant");
    if (!pads) return cg_error(CG_EUNSUPPORTED, "has no pads that are known");
    if (j->n_in > 3 && j->in[3] && !cg_item_known(j, j->in[3]))
        return cg_error(CG_EUNSUPPORTED, "has axes that only a run knows");
    if (j->n_in > 2 && j->in[2] && !cg_item_number(j, j->in[2], &c))
        return cg_error(CG_EUNSUPPORTED, "pads by what is not one known number");
    CG_TRY(axes_of(j, given(j, 3), axes, &n));
    if (cg_host_count(pads) != 2 * n)
        return cg_error(CG_EFORMAT, "has %lld pads for %d axes", (long long)cg_host_count(pads), n);
    cg_item x = *j->in[0];
    for (int i = 0; i < n; i++) {
        int64_t count[2] = {cg_host_int(pads->x[i]), cg_host_int(pads->x[n + i])};
        cg_item y;
        for (int k = 0; k < 2; k++)
            if (count[k] < 0 || count[k] > INT32_MAX)
                return cg_error(CG_EUNSUPPORTED, "pads by %lld elements", (long long)count[k]);
        CG_TRY(pad_axis(j, &x, axes[i], count, (float)c, &y));
        x = y;
    }
    CG_TRY(cg_item_value(j, &x));
    return cg_out_view(j, 0, x.v, &x.view);
}

const cg_import_op cg_import_resize[] = {
    {"Resize", 1, import_resize}, {"Pad", 2, import_pad}, {NULL, 0, NULL}};
