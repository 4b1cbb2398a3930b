/* Operators on pictures, which files hold as [N, C, H, W] and graphs as [N, H, W, C]. */
#include "serialize/onnx/import_private.h"

#include <string.h>

static const int to_last[4] = {0, 2, 3, 1};

static cg_status picture(cg_job *j, cg_value **out) {
    if (j->in[0]->shape.rank != 4)
        return cg_error(CG_EUNSUPPORTED, "has an operand of rank %d, wanted pictures of rank 4",
                        j->in[0]->shape.rank);
    return cg_item_as(j, j->in[0], to_last, out);
}

static cg_status channels_first(cg_job *j, cg_value *v) {
    return cg_out_frame(j, 0, v, to_last);
}

/* How a window moves; the same in both directions. */
typedef struct window {
    int64_t kernel, stride, padding, dilation;
} window;

/* Both numbers of an attribute, which must be equal. */
static cg_status both(cg_job *j, const char *name, int64_t otherwise, int64_t *out) {
    const CgOnnx__AttributeProto *a = cg_onnx_attribute(j->node, name);
    *out = a && a->n_ints ? a->ints[0] : otherwise;
    for (size_t i = 0; a && i < a->n_ints; i++)
        if (a->ints[i] != *out)
            return cg_error(CG_EUNSUPPORTED, "has %s of %lld and %lld, wanted equal ones", name,
                            (long long)*out, (long long)a->ints[i]);
    if (*out < 0 || *out > INT32_MAX)
        return cg_error(CG_EFORMAT, "has %s of %lld", name, (long long)*out);
    return CG_OK;
}

static cg_status read_window(cg_job *j, window *w) {
    const CgOnnx__AttributeProto *a = cg_onnx_attribute(j->node, "auto_pad");
    if (a && a->s.len && !(a->s.len == 6 && memcmp(a->s.data, "NOTSET", 6) == 0) &&
        !(a->s.len == 5 && memcmp(a->s.data, "VALID", 5) == 0))
        return cg_error(CG_EUNSUPPORTED, "pads by auto_pad, wanted pads");
    if (cg_onnx_int(j->node, "ceil_mode", 0))
        return cg_error(CG_EUNSUPPORTED, "has windows that leave the picture (ceil_mode)");
    CG_TRY(both(j, "kernel_shape", 0, &w->kernel));
    CG_TRY(both(j, "strides", 1, &w->stride));
    CG_TRY(both(j, "pads", 0, &w->padding));
    CG_TRY(both(j, "dilations", 1, &w->dilation));
    if (w->stride < 1 || w->dilation < 1)
        return cg_error(CG_EFORMAT, "has a stride of %lld and a dilation of %lld, wanted 1 or more",
                        (long long)w->stride, (long long)w->dilation);
    return CG_OK;
}

/* What a convolution says beside its weight must be so of the weight. */
static cg_status check_weight(const cg_job *j, const window *w, int64_t groups) {
    const cg_shape *s = &j->in[1]->shape;
    if (s->rank != 4)
        return cg_error(CG_EUNSUPPORTED, "has a weight of rank %d, wanted 4", s->rank);
    if (w->kernel && (s->dim[2] != w->kernel || s->dim[3] != w->kernel))
        return cg_error(CG_EFORMAT, "has a kernel_shape of %lld, its weight one of %lld by %lld",
                        (long long)w->kernel, (long long)s->dim[2], (long long)s->dim[3]);
    if (groups < 1) return cg_error(CG_EFORMAT, "has %lld groups", (long long)groups);
    return CG_OK;
}

static cg_status import_conv(cg_job *j) {
    window w;
    cg_value *x, *weight, *bias = NULL;
    int64_t groups = cg_onnx_int(j->node, "group", 1);
    CG_TRY(read_window(j, &w));
    CG_TRY(check_weight(j, &w, groups));
    CG_TRY(picture(j, &x));
    CG_TRY(cg_item_plain(j, j->in[1], &weight));
    if (j->n_in > 2 && j->in[2]) CG_TRY(cg_item_plain(j, j->in[2], &bias));
    return channels_first(j, cg_conv2d_with(j->g, x, weight,
                                            (cg_conv2d_options){.stride = w.stride,
                                                                .padding = w.padding,
                                                                .dilation = w.dilation,
                                                                .groups = groups,
                                                                .bias = bias}));
}

static cg_status import_pool(cg_job *j) {
    window w;
    cg_value *x;
    int is_max = strcmp(j->node->op_type, "MaxPool") == 0;
    CG_TRY(read_window(j, &w));
    if (w.dilation != 1) return cg_error(CG_EUNSUPPORTED, "has a dilation");
    if (j->n_out > 1) return cg_error(CG_EUNSUPPORTED, "asks for indices");
    if (!is_max && w.padding) return cg_error(CG_EUNSUPPORTED, "pads means");
    CG_TRY(picture(j, &x));
    return channels_first(j, is_max ? cg_max_pool(j->g, x, w.kernel, w.stride, w.padding)
                                    : cg_avg_pool(j->g, x, w.kernel, w.stride));
}

static cg_status import_global_pool(cg_job *j) {
    cg_value *x;
    CG_TRY(picture(j, &x));
    return channels_first(j, cg_mean(j->g, x, CG_SHAPE(1, 2), 1));
}

static cg_status import_batch_norm(cg_job *j) {
    cg_value *x, *in[5];
    if (cg_onnx_int(j->node, "training_mode", 0) || j->n_out > 1)
        return cg_error(CG_EUNSUPPORTED, "is in training mode");
    int is_matrix = j->in[0]->shape.rank == 2;
    CG_TRY(is_matrix ? cg_item_plain(j, j->in[0], &x) : picture(j, &x));
    for (int i = 1; i < 5; i++) CG_TRY(cg_item_plain(j, j->in[i], &in[i]));
    x = cg_batch_norm_inference(j->g, x, in[1], in[2], in[3], in[4],
                                cg_onnx_float(j->node, "epsilon", 1e-5f));
    return is_matrix ? cg_out_plain(j, 0, x) : channels_first(j, x);
}

const cg_import_op cg_import_picture[] = {{"Conv", 2, import_conv},
                                          {"MaxPool", 1, import_pool},
                                          {"AveragePool", 1, import_pool},
                                          {"GlobalAveragePool", 1, import_global_pool},
                                          {"BatchNormalization", 5, import_batch_norm},
                                          {NULL, 0, NULL}};
