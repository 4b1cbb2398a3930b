/* oneDNN 2.6 under the argument orders of 3.x, as far as dnn.c uses it. Private to dnn.c. */
#ifndef CG_OPS_DNN_COMPAT_H
#define CG_OPS_DNN_COMPAT_H

#include <stdlib.h>

#ifndef DNNL_VERSION_MAJOR
#error "dnn.c, the only file that includes oneDNN, includes it before this"
#endif

#if DNNL_VERSION_MAJOR >= 3

typedef dnnl_memory_desc_t md;
typedef const_dnnl_memory_desc_t const_md;
#define md_create           dnnl_memory_desc_create_with_tag
#define md_destroy          dnnl_memory_desc_destroy
#define matmul_pd           dnnl_matmul_primitive_desc_create
#define forward_pd          dnnl_convolution_forward_primitive_desc_create
#define backward_data_pd    dnnl_convolution_backward_data_primitive_desc_create
#define backward_weights_pd dnnl_convolution_backward_weights_primitive_desc_create
#define append_eltwise      dnnl_post_ops_append_eltwise

/* Strides, then the sizes and axes of inner blocks, into `out`; returns how many numbers. */
static int md_blocking(const_md d, dnnl_dim_t *out) {
    int rank = 0, blocks = 0, n = 0;
    const dnnl_dims_t *stride = NULL, *block = NULL, *axis = NULL;
    dnnl_memory_desc_query(d, dnnl_query_ndims_s32, &rank);
    dnnl_memory_desc_query(d, dnnl_query_inner_nblks_s32, &blocks);
    dnnl_memory_desc_query(d, dnnl_query_strides, (void *)&stride);
    dnnl_memory_desc_query(d, dnnl_query_inner_blks, (void *)&block);
    dnnl_memory_desc_query(d, dnnl_query_inner_idxs, (void *)&axis);
    for (int i = 0; stride && i < rank; i++) out[n++] = (*stride)[i];
    for (int i = 0; block && axis && i < blocks; i++) {
        out[n++] = (*block)[i];
        out[n++] = (*axis)[i];
    }
    return n;
}

#else

typedef dnnl_memory_desc_t *md;
typedef const dnnl_memory_desc_t *const_md;
typedef dnnl_primitive_desc_t pd_t;
typedef const_dnnl_primitive_attr_t attr_t;

static dnnl_status_t md_create(md *out, int rank, const dnnl_dims_t dim, dnnl_data_type_t type,
                               dnnl_format_tag_t tag) {
    *out = malloc(sizeof **out);
    return *out ? dnnl_memory_desc_init_by_tag(*out, rank, dim, type, tag) : dnnl_out_of_memory;
}

static dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t alg, float alpha,
                                    float beta) {
    return dnnl_post_ops_append_eltwise(ops, 1, alg, alpha, beta);
}

static int md_blocking(const_md d, dnnl_dim_t *out) {
    const dnnl_blocking_desc_t *b = &d->format_desc.blocking;
    int n = 0;
    if (d->format_kind != dnnl_blocked) return 0;
    for (int i = 0; i < d->ndims; i++) out[n++] = b->strides[i];
    for (int i = 0; i < b->inner_nblks; i++) {
        out[n++] = b->inner_blks[i];
        out[n++] = b->inner_idxs[i];
    }
    return n;
}

static void md_destroy(md d) {
    free(d);
}

static dnnl_status_t matmul_pd(pd_t *out, dnnl_engine_t e, const_md a, const_md b, const_md bias,
                               const_md c, attr_t attr) {
    dnnl_matmul_desc_t d;
    dnnl_status_t s = dnnl_matmul_desc_init(&d, a, b, bias, c);
    return s ? s : dnnl_primitive_desc_create(out, &d, attr, e, NULL);
}

static dnnl_status_t forward_pd(pd_t *out, dnnl_engine_t e, dnnl_prop_kind_t kind,
                                dnnl_alg_kind_t alg, const_md x, const_md w, const_md bias,
                                const_md y, const dnnl_dims_t stride, const dnnl_dims_t dilation,
                                const dnnl_dims_t low, const dnnl_dims_t high, attr_t attr) {
    dnnl_convolution_desc_t d;
    dnnl_status_t s = dnnl_dilated_convolution_forward_desc_init(&d, kind, alg, x, w, bias, y,
                                                                 stride, dilation, low, high);
    return s ? s : dnnl_primitive_desc_create(out, &d, attr, e, NULL);
}

static dnnl_status_t backward_data_pd(pd_t *out, dnnl_engine_t e, dnnl_alg_kind_t alg, const_md dx,
                                      const_md w, const_md dy, const dnnl_dims_t stride,
                                      const dnnl_dims_t dilation, const dnnl_dims_t low,
                                      const dnnl_dims_t high, const_dnnl_primitive_desc_t hint,
                                      attr_t attr) {
    dnnl_convolution_desc_t d;
    dnnl_status_t s = dnnl_dilated_convolution_backward_data_desc_init(&d, alg, dx, w, dy, stride,
                                                                       dilation, low, high);
    return s ? s : dnnl_primitive_desc_create(out, &d, attr, e, hint);
}

static dnnl_status_t backward_weights_pd(pd_t *out, dnnl_engine_t e, dnnl_alg_kind_t alg,
                                         const_md x, const_md dw, const_md dbias, const_md dy,
                                         const dnnl_dims_t stride, const dnnl_dims_t dilation,
                                         const dnnl_dims_t low, const dnnl_dims_t high,
                                         const_dnnl_primitive_desc_t hint, attr_t attr) {
    dnnl_convolution_desc_t d;
    dnnl_status_t s = dnnl_dilated_convolution_backward_weights_desc_init(
        &d, alg, x, dw, dbias, dy, stride, dilation, low, high);
    return s ? s : dnnl_primitive_desc_create(out, &d, attr, e, hint);
}

#endif

#endif
