#include "serialize/onnx/stored_private.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct folded {
    const cg_onnx_file *file;
    const cg_onnx_tensor *t;
    const float *found;
    const cg_params *p;
    char base[CG_ONNX_BASE];
    int number;
    const cg_param *of; /* the parameter named so */
} folded;

static int ends(const char *text, const char *end) {
    size_t n = strlen(text), tail = strlen(end);
    return n >= tail && strcmp(text + n - tail, end) == 0;
}

static cg_status no_form(const folded *f) {
    return cg_error(CG_EFORMAT, "%s: has no form in which something follows from %s", f->t->name,
                    f->base);
}

/* Another parameter that the rule reads, NAME and PART, of so many elements. */
static cg_status other(const folded *f, const char *name, const char *part, int64_t count,
                       const float **out) {
    char full[CG_ONNX_BASE + 32];
    snprintf(full, sizeof full, "%s%s", name, part);
    const cg_param *q = cg_params_find(f->p, full);
    if (!q || q->dtype != CG_F32 || q->count != count)
        return cg_error(CG_EFORMAT, "%s: there is no parameter %s of %lld elements in f32",
                        f->t->name, full, (long long)count);
    *out = q->data;
    return CG_OK;
}

/* --- copies ----------------------------------------------------------------------------------- */

/* found[i, j, k] is from[i, j, k], where this lies at those strides. */
static cg_status check_copy(const folded *f, const float *from, const int64_t dim[3],
                            const int64_t stride[3]) {
    int64_t at = 0;
    for (int64_t i = 0; i < dim[0]; i++)
        for (int64_t j = 0; j < dim[1]; j++) {
            const float *row = from + i * stride[0] + j * stride[1];
            for (int64_t k = 0; k < dim[2]; k++, at++)
                if (!cg_onnx_same_bits((double)f->found[at], (double)row[k * stride[2]]))
                    return cg_onnx_differs(f->t->name, at, (double)f->found[at],
                                           (double)row[k * stride[2]]);
        }
    return CG_OK;
}

static cg_status check_run(const folded *f, int64_t begin, int64_t count) {
    if (f->t->count != count || begin + count > f->of->count) return no_form(f);
    return check_copy(f, (const float *)f->of->data + begin, (int64_t[]){1, 1, count},
                      (int64_t[]){0, 0, 1});
}

typedef enum part { QUERIES, KEYS, VALUES } part;

/* Rows [rows, width] of a projection, the queries', keys' or values', of `parts` in a matrix. */
static cg_status check_projection(const folded *f, part which, int parts) {
    const cg_shape *s = &f->t->shape;
    int64_t rows = f->of->shape.dim[0] / parts, width = f->of->shape.dim[1];
    int64_t heads = s->rank == 3 ? s->dim[0] : 1, each = heads > 0 ? rows / heads : 0;
    const float *from = (const float *)f->of->data + (parts > 1 ? which : 0) * rows * width;
    int as_they_are = s->rank == 3 && which == KEYS;
    int64_t tall = as_they_are ? each : width, wide = as_they_are ? width : each;
    if (f->of->shape.rank != 2 || which > VALUES || s->rank < 2 || s->rank > 3 ||
        (s->rank == 3 && which == QUERIES) || f->t->count != rows * width ||
        s->dim[s->rank - 2] != tall || s->dim[s->rank - 1] != wide)
        return no_form(f);
    return check_copy(f, from, (int64_t[]){heads, tall, wide},
                      (int64_t[]){each * width, as_they_are ? width : 1, as_they_are ? 1 : width});
}

/* How many tensors of the file follow from the same parameter. */
static int pieces(const folded *f) {
    char base[CG_ONNX_BASE];
    int n = 0, number;
    for (size_t i = 0; i < f->file->model->graph->n_initializer; i++) {
        cg_onnx_base(f->file->tensor[i].name, ".folded", base, &number);
        n += strcmp(base, f->base) == 0;
    }
    return n;
}

/* A bias of keys falls out of the softmax, so that there may be none. */
static cg_status check_projection_bias(const folded *f) {
    int64_t rows = f->of->count / 3;
    part which = f->number == 1 && pieces(f) == 2 ? VALUES : (part)f->number;
    return which > VALUES ? no_form(f) : check_run(f, which * rows, rows);
}

static cg_status check_positions(const folded *f) {
    int64_t width = f->of->shape.rank == 2 ? f->of->shape.dim[1] : f->of->count;
    return check_run(f, width, f->of->count - width);
}

/* --- what is computed ------------------------------------------------------------------------- */

/* Of terms of that size together. */
static cg_status check_near(const folded *f, int64_t at, double wanted, double size) {
    double found = (double)f->found[at];
    if (fabs(found - wanted) <= 1e-6 * size + (double)FLT_MIN) return CG_OK;
    return cg_onnx_differs(f->t->name, at, found, wanted);
}

static cg_status check_class(const folded *f) {
    const cg_param *q = cg_params_find(f->p, "visual.positional_embedding");
    if (!q || q->dtype != CG_F32 || f->t->count != f->of->count || q->count < f->t->count)
        return no_form(f);
    const float *class = f->of->data, *position = q->data;
    for (int64_t i = 0; i < f->t->count; i++) {
        double a = (double)class[i], b = (double)position[i];
        CG_TRY(check_near(f, i, a + b, fabs(a) + fabs(b)));
    }
    return CG_OK;
}

static cg_status check_temperature(const folded *f) {
    if (f->t->count != 1) return no_form(f);
    double wanted = exp((double)*(const float *)f->of->data);
    return check_near(f, 0, wanted, wanted);
}

/* What a norm by given statistics multiplies a channel by. */
static double factor(const float *gain, const float *var, int64_t channel) {
    return (double)gain[channel] / sqrt((double)var[channel] + 1e-5);
}

static cg_status check_norm_bias(const folded *f) {
    const float *gain, *mean, *var, *bias = f->of->data;
    char norm[CG_ONNX_BASE];
    int ignored;
    cg_onnx_base(f->base, ".bias", norm, &ignored);
    CG_TRY(other(f, norm, ".weight", f->of->count, &gain));
    CG_TRY(other(f, norm, ".running_mean", f->of->count, &mean));
    CG_TRY(other(f, norm, ".running_var", f->of->count, &var));
    if (f->t->count != f->of->count) return no_form(f);
    for (int64_t i = 0; i < f->t->count; i++) {
        double b = (double)bias[i], by = (double)mean[i] * factor(gain, var, i);
        CG_TRY(check_near(f, i, b - by, fabs(b) + fabs(by)));
    }
    return CG_OK;
}

/* The norm behind a convolution: bn1 behind conv1, downsample.1 behind downsample.0. */
static void norm_behind(const char *weight, char norm[CG_ONNX_BASE]) {
    int ignored;
    cg_onnx_base(weight, ".weight", norm, &ignored);
    size_t n = strlen(norm);
    if (ends(norm, "downsample.0"))
        norm[n - 1] = '1';
    else if (n > 5 && strncmp(norm + n - 5, "conv", 4) == 0)
        snprintf(norm + n - 5, 4, "bn%c", weight[n - 1]);
}

static cg_status check_convolution(const folded *f) {
    const float *gain, *var, *w = f->of->data;
    char norm[CG_ONNX_BASE];
    int64_t channels = f->of->shape.dim[0], each = channels ? f->of->count / channels : 0;
    norm_behind(f->base, norm);
    CG_TRY(other(f, norm, ".weight", channels, &gain));
    CG_TRY(other(f, norm, ".running_var", channels, &var));
    if (!cg_shape_equal(&f->t->shape, &f->of->shape)) return no_form(f);
    for (int64_t c = 0, at = 0; c < channels; c++) {
        double by = factor(gain, var, c);
        for (int64_t i = 0; i < each; i++, at++) {
            double wanted = (double)w[at] * by;
            CG_TRY(check_near(f, at, wanted, fabs(wanted)));
        }
    }
    return CG_OK;
}

/* --- the rules -------------------------------------------------------------------------------- */

static cg_status check(const folded *f) {
    const char *name = f->base;
    if (ends(name, ".in_proj_weight")) return check_projection(f, (part)f->number, 3);
    if (ends(name, ".in_proj_bias")) return check_projection_bias(f);
    if (f->number > 0) return no_form(f);
    if (ends(name, ".k_proj.weight")) return check_projection(f, KEYS, 1);
    if (ends(name, ".v_proj.weight")) return check_projection(f, VALUES, 1);
    if (strcmp(name, "visual.positional_embedding") == 0) return check_positions(f);
    if (strcmp(name, "visual.class_embedding") == 0) return check_class(f);
    if (strcmp(name, "logit_scale") == 0) return check_temperature(f);
    if (ends(name, ".bias")) return check_norm_bias(f);
    return ends(name, ".weight") && f->of->shape.rank == 4 ? check_convolution(f) : no_form(f);
}

cg_status cg_onnx_check_folded(const cg_onnx_file *file, const cg_onnx_tensor *t,
                               const float *found, const cg_params *p) {
    folded f = {.file = file, .t = t, .found = found, .p = p};
    cg_onnx_base(t->name, ".folded", f.base, &f.number);
    f.of = cg_params_find(p, f.base);
    if (!f.of || f.of->dtype != CG_F32 || f.of->count == 0)
        return cg_error(CG_EFORMAT, "%s: there is no such parameter in f32", t->name);
    return check(&f);
}
