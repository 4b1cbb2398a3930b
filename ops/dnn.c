#include "ops/dnn.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_debug.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "ops/gemm.h"

#include "ops/dnn_compat.h" /* after oneDNN, whose version it reads */

/* --- engine and errors ------------------------------------------------------------------------ */

typedef struct engine {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_attr_t attr; /* scratchpads are the caller's */
} engine;

/* Runs `call` while the status is good, so that a sequence needs one check at its end. */
#define DO(s, call)                                                                                \
    do {                                                                                           \
        if ((s) == dnnl_success) (s) = (call);                                                     \
    } while (0)

static cg_status dnn_error(dnnl_status_t s, const char *what) {
    return cg_error(s == dnnl_out_of_memory ? CG_ENOMEM : CG_EKERNEL, "%s: oneDNN says %s", what,
                    dnnl_status2str(s));
}

static void engine_release(void *p) {
    engine *e = p;
    dnnl_primitive_attr_destroy(e->attr);
    dnnl_stream_destroy(e->stream);
    dnnl_engine_destroy(e->engine);
    free(e);
}

static cg_status engine_get(cg_context *ctx, engine **out) {
    if (!ctx->engine) {
        engine *e = calloc(1, sizeof *e);
        if (!e) return cg_error(CG_ENOMEM, "no memory for the kernel engine");
        dnnl_status_t s = dnnl_success;
        DO(s, dnnl_engine_create(&e->engine, dnnl_cpu, 0));
        DO(s, dnnl_stream_create(&e->stream, e->engine, dnnl_stream_default_flags));
        DO(s, dnnl_primitive_attr_create(&e->attr));
        DO(s, dnnl_primitive_attr_set_scratchpad_mode(e->attr, dnnl_scratchpad_mode_user));
        if (s != dnnl_success) {
            engine_release(e);
            return dnn_error(s, "engine");
        }
        ctx->engine = e;
        ctx->engine_release = engine_release;
    }
    *out = ctx->engine;
    return CG_OK;
}

/* --- a kernel --------------------------------------------------------------------------------- */

enum { A, B, BIAS, RESIDUAL, C, PACKED, PAD, PACK_PAD, N_MEMORY };

struct cg_dnn {
    cg_gemm *own; /* or the rest */
    engine *engine;
    int threads;
    dnnl_primitive_t main, pack; /* pack: weights to or from the layout that main wants */
    int packs_result;            /* pack runs after main */
    int packs_once;  /* pack runs when cg_dnn_pack is called; main reads PACKED from b */
    uint64_t layout; /* a hash of PACKED's */
    dnnl_memory_t memory[N_MEMORY];
    dnnl_exec_arg_t main_arg[6], pack_arg[3];
    int n_main, n_pack;
    size_t pad_bytes, packed_bytes; /* scratch: pad of both, then packed weights */
    int64_t repeat;                 /* runs, `step` bytes apart in each operand */
    size_t step[N_MEMORY];
    char impl[64];
    pthread_mutex_t lock; /* memory[] is pointed at the operands of each run */
};

void cg_dnn_free(cg_dnn *d) {
    if (!d) return;
    cg_gemm_free(d->own);
    for (int i = 0; i < N_MEMORY; i++) dnnl_memory_destroy(d->memory[i]);
    dnnl_primitive_destroy(d->pack);
    dnnl_primitive_destroy(d->main);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

const char *cg_dnn_impl(const cg_dnn *d) {
    return d->impl;
}

size_t cg_dnn_scratch(const cg_dnn *d) {
    return d->pad_bytes + (d->packs_once ? 0 : d->packed_bytes);
}

size_t cg_dnn_pack_bytes(const cg_dnn *d) {
    return d->packs_once ? d->packed_bytes : 0;
}

uint64_t cg_dnn_pack_key(const cg_dnn *d) {
    return d->layout;
}

static cg_status dnn_new(cg_context *ctx, cg_dnn **out) {
    engine *e = NULL;
    CG_TRY(engine_get(ctx, &e));
    cg_dnn *d = calloc(1, sizeof *d);
    if (!d) return cg_error(CG_ENOMEM, "no memory for a kernel");
    d->engine = e;
    d->threads = ctx->threads;
    d->repeat = 1;
    pthread_mutex_init(&d->lock, NULL);
    *out = d;
    return CG_OK;
}

/* Makes memory[i] of a layout, without bytes as yet, and an argument of main or pack. */
static dnnl_status_t bind(cg_dnn *d, int i, const_md layout, dnnl_exec_arg_t *arg, int *n,
                          int role) {
    dnnl_status_t s = dnnl_success;
    if (!d->memory[i])
        s = dnnl_memory_create(&d->memory[i], layout, d->engine->engine, DNNL_MEMORY_NONE);
    arg[(*n)++] = (dnnl_exec_arg_t){role, d->memory[i]};
    return s;
}

static dnnl_status_t make_primitive(cg_dnn *d, const_dnnl_primitive_desc_t pd, int pad,
                                    dnnl_primitive_t *out, dnnl_exec_arg_t *arg, int *n) {
    const_md layout = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    size_t bytes = cg_align64(dnnl_memory_desc_get_size(layout));
    if (bytes > d->pad_bytes) d->pad_bytes = bytes;
    dnnl_status_t s = dnnl_primitive_create(out, pd);
    if (bytes) DO(s, bind(d, pad, layout, arg, n, DNNL_ARG_SCRATCHPAD));
    return s;
}

static dnnl_status_t make_main(cg_dnn *d, const_dnnl_primitive_desc_t pd) {
    const char *impl = NULL;
    dnnl_status_t s = dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &impl);
    if (impl) snprintf(d->impl, sizeof d->impl, "%s", impl);
    DO(s, make_primitive(d, pd, PAD, &d->main, d->main_arg, &d->n_main));
    return s;
}

/* A primitive that copies memory `from` to `to`, one of which is PACKED. */
static dnnl_status_t make_pack(cg_dnn *d, int from, const_md from_md, int to, const_md to_md) {
    dnnl_engine_t e = d->engine->engine;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t s =
        dnnl_reorder_primitive_desc_create(&pd, from_md, e, to_md, e, d->engine->attr);
    DO(s, make_primitive(d, pd, PACK_PAD, &d->pack, d->pack_arg, &d->n_pack));
    DO(s, bind(d, from, from_md, d->pack_arg, &d->n_pack, DNNL_ARG_FROM));
    DO(s, bind(d, to, to_md, d->pack_arg, &d->n_pack, DNNL_ARG_TO));
    d->packed_bytes = cg_align64(dnnl_memory_desc_get_size(to == PACKED ? to_md : from_md));
    if (pd) dnnl_primitive_desc_destroy(pd);
    return s;
}

/* --- matrix product --------------------------------------------------------------------------- */

static dnnl_data_type_t data_type(cg_dtype t) {
    return t == CG_F32 ? dnnl_f32 : t == CG_BF16 ? dnnl_bf16 : dnnl_data_type_undef;
}

static dnnl_status_t matrix(md *out, int64_t batch, int64_t rows, int64_t columns, int transposed,
                            cg_dtype type) {
    if (batch == 1) {
        dnnl_dims_t dim = {rows, columns};
        return md_create(out, 2, dim, data_type(type), transposed ? dnnl_ba : dnnl_ab);
    }
    dnnl_dims_t dim = {batch, rows, columns};
    return md_create(out, 3, dim, data_type(type), transposed ? dnnl_acb : dnnl_abc);
}

/* Rows of b whose starts fall together in the cache: oneDNN copies b itself where they are a power
 * of two long, but runs at half speed where they are another multiple of 4 KiB. */
static int rows_collide(const cg_dnn_matmul *m) {
    int64_t bytes = m->n * (int64_t)cg_dtype_size(m->b_type);
    return !m->transpose_b && m->batch == 1 && m->m >= 64 && bytes % 4096 == 0 &&
           (bytes & (bytes - 1)) != 0;
}

static dnnl_status_t matmul_layouts(const cg_dnn_matmul *m, md *l) {
    dnnl_status_t s = dnnl_success;
    DO(s, matrix(&l[A], m->batch, m->m, m->k, m->transpose_a, m->a_type));
    DO(s, matrix(&l[B], m->batch, m->k, m->n, m->transpose_b, m->b_type));
    DO(s, matrix(&l[C], m->batch, m->m, m->n, 0, m->c_type));
    if (m->bias) DO(s, matrix(&l[BIAS], 1, 1, m->n, 0, CG_F32));
    if (m->residual) DO(s, matrix(&l[RESIDUAL], 1, m->m, m->n, 0, m->residual_type));
    if (m->pack_b || rows_collide(m)) {
        dnnl_dims_t dim = {m->k, m->n};
        DO(s, md_create(&l[PACKED], 2, dim, data_type(m->b_type), dnnl_format_tag_any));
    }
    return s;
}

static uint64_t layout_hash(const_md layout) {
    dnnl_dim_t number[2 * DNNL_MAX_NDIMS + DNNL_MAX_NDIMS + 1] = {0};
    uint64_t h = dnnl_memory_desc_get_size(layout);
    int n = md_blocking(layout, number);
    for (int i = 0; i < n; i++) h = (h ^ (uint64_t)number[i]) * 0x100000001b3u;
    return h;
}

/* b where main reads it: in place, or packed first. */
static dnnl_status_t bind_b(cg_dnn *d, const_md b, const_md wanted) {
    int in_place = dnnl_memory_desc_equal(wanted, b);
    dnnl_status_t s =
        bind(d, in_place ? B : PACKED, wanted, d->main_arg, &d->n_main, DNNL_ARG_WEIGHTS);
    if (!in_place) DO(s, make_pack(d, B, b, PACKED, wanted));
    d->layout = layout_hash(wanted);
    return s;
}

/* f and the residual, applied to the result while it is in registers. */
static dnnl_status_t matmul_post_ops(const cg_dnn_matmul *m, const_md residual,
                                     dnnl_primitive_attr_t attr) {
    static const struct {
        dnnl_alg_kind_t alg;
        float alpha;
    } f[CG_EPILOGUES] = {
        [CG_EPILOGUE_RELU] = {dnnl_eltwise_relu, 0},
        [CG_EPILOGUE_GELU] = {dnnl_eltwise_gelu_erf, 0},
        [CG_EPILOGUE_GELU_TANH] = {dnnl_eltwise_gelu_tanh, 0},
        [CG_EPILOGUE_QUICKGELU] = {dnnl_eltwise_swish, 1.702f},
        [CG_EPILOGUE_SILU] = {dnnl_eltwise_swish, 1},
    };
    dnnl_post_ops_t ops;
    dnnl_status_t s = dnnl_post_ops_create(&ops);
    if (s != dnnl_success) return s;
    if (m->f) DO(s, append_eltwise(ops, f[m->f].alg, f[m->f].alpha, 0));
    if (m->residual) DO(s, dnnl_post_ops_append_binary(ops, dnnl_binary_add, residual));
    if (m->relu_last) DO(s, append_eltwise(ops, dnnl_eltwise_relu, 0, 0));
    DO(s, dnnl_primitive_attr_set_post_ops(attr, ops));
    dnnl_post_ops_destroy(ops);
    return s;
}

static dnnl_status_t matmul_describe(cg_dnn *d, const cg_dnn_matmul *m, md *l,
                                     dnnl_primitive_desc_t *pd) {
    dnnl_engine_t e = d->engine->engine;
    md b = l[PACKED] ? l[PACKED] : l[B];
    if (!m->f && !m->residual && !m->relu_last)
        return matmul_pd(pd, e, l[A], b, l[BIAS], l[C], d->engine->attr);
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t s = dnnl_primitive_attr_clone(&attr, d->engine->attr);
    DO(s, matmul_post_ops(m, l[RESIDUAL], attr));
    DO(s, matmul_pd(pd, e, l[A], b, l[BIAS], l[C], attr));
    dnnl_primitive_attr_destroy(attr);
    return s;
}

static dnnl_status_t matmul_make(cg_dnn *d, const cg_dnn_matmul *m, md *l) {
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t s = matmul_layouts(m, l);
    DO(s, matmul_describe(d, m, l, &pd));
    DO(s, make_main(d, pd));
    DO(s, bind(d, A, l[A], d->main_arg, &d->n_main, DNNL_ARG_SRC));
    DO(s, bind_b(d, l[B], dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0)));
    d->packs_once = m->pack_b && d->pack;
    DO(s, bind(d, C, l[C], d->main_arg, &d->n_main, DNNL_ARG_DST));
    if (m->bias) DO(s, bind(d, BIAS, l[BIAS], d->main_arg, &d->n_main, DNNL_ARG_BIAS));
    if (m->residual)
        DO(s, bind(d, RESIDUAL, l[RESIDUAL], d->main_arg, &d->n_main,
                   DNNL_ARG_ATTR_MULTIPLE_POST_OP(m->f != CG_EPILOGUE_NONE) | DNNL_ARG_SRC_1));
    if (pd) dnnl_primitive_desc_destroy(pd);
    return s;
}

/* --- convolution ------------------------------------------------------------------------------ */

/* Layouts of x, y and the weights; W is as they are stored, W_ANY for the kernel to choose, and
 * W_HINT the same for the forward kernel that a backward one is made by. */
enum { X, Y, W_PLAIN, W_ANY, W_HINT, O_BIAS, ADDED, N_LAYOUT };

static dnnl_status_t conv_layouts(const cg_dnn_conv *c, md *l) {
    const int64_t g = c->groups;
    dnnl_dims_t x = {c->n, c->c, c->h, c->w}, y = {c->n, c->o, c->oh, c->ow},
                w = {c->o, c->c, c->kh, c->kw}, grouped = {g, c->o / g, c->c / g, c->kh, c->kw};
    const dnnl_dim_t *weight = g > 1 ? grouped : w;
    int rank = g > 1 ? 5 : 4;
    dnnl_data_type_t t = data_type(c->type), result = data_type(c->c_type);
    dnnl_data_type_t w_type = c->direction == CG_DNN_WEIGHTS ? result : t;
    dnnl_status_t s = dnnl_success;
    DO(s, md_create(&l[X], 4, x, c->direction == CG_DNN_DATA ? result : t, dnnl_nhwc));
    DO(s, md_create(&l[Y], 4, y, c->direction == CG_DNN_FORWARD ? result : t, dnnl_nhwc));
    DO(s, md_create(&l[W_PLAIN], rank, weight, w_type, g > 1 ? dnnl_goihw : dnnl_oihw));
    DO(s, md_create(&l[W_ANY], rank, weight, w_type, dnnl_format_tag_any));
    DO(s, md_create(&l[W_HINT], rank, weight, t, dnnl_format_tag_any));
    if (c->residual) DO(s, md_create(&l[ADDED], 4, y, data_type(c->residual_type), dnnl_nhwc));
    if (c->bias) DO(s, md_create(&l[O_BIAS], 1, (dnnl_dims_t){c->o}, dnnl_f32, dnnl_a));
    return s;
}

/* The engine's attributes, and what follows the sum while it is in registers. */
static dnnl_status_t conv_attr(engine *e, const cg_dnn_conv *c, const_md residual,
                               dnnl_primitive_attr_t *out) {
    dnnl_post_ops_t ops;
    dnnl_status_t s = dnnl_primitive_attr_clone(out, e->attr);
    if (s != dnnl_success || !(c->residual || c->relu)) return s;
    s = dnnl_post_ops_create(&ops);
    if (s != dnnl_success) return s;
    if (c->residual) DO(s, dnnl_post_ops_append_binary(ops, dnnl_binary_add, residual));
    if (c->relu) DO(s, append_eltwise(ops, dnnl_eltwise_relu, 0, 0));
    DO(s, dnnl_primitive_attr_set_post_ops(*out, ops));
    dnnl_post_ops_destroy(ops);
    return s;
}

static dnnl_status_t conv_pd(engine *e, const cg_dnn_conv *c, md *l, dnnl_primitive_desc_t *out) {
    const dnnl_dims_t stride = {c->stride, c->stride}, pad = {c->padding, c->padding},
                      dilation = {c->dilation - 1, c->dilation - 1}; /* oneDNN counts from 0 */
    dnnl_primitive_desc_t forward = NULL, *first = c->direction == CG_DNN_FORWARD ? out : &forward;
    const dnnl_alg_kind_t alg = dnnl_convolution_direct;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t s = conv_attr(e, c, l[ADDED], &attr);
    DO(s, forward_pd(first, e->engine, dnnl_forward_training, alg, l[X], l[W_HINT], l[O_BIAS], l[Y],
                     stride, dilation, pad, pad, attr));
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (c->direction == CG_DNN_DATA)
        DO(s, backward_data_pd(out, e->engine, alg, l[X], l[W_ANY], l[Y], stride, dilation, pad,
                               pad, forward, e->attr));
    if (c->direction == CG_DNN_WEIGHTS)
        DO(s, backward_weights_pd(out, e->engine, alg, l[X], l[W_ANY], NULL, l[Y], stride, dilation,
                                  pad, pad, forward, e->attr));
    if (forward) dnnl_primitive_desc_destroy(forward);
    return s;
}

/* Which operand is what in each direction, and what oneDNN calls it. */
static const struct conv_role {
    int x, y, w, x_arg, y_arg, w_arg;
    dnnl_query_t w_query;
} conv_role[] = {
    [CG_DNN_FORWARD] = {A, C, B, DNNL_ARG_SRC, DNNL_ARG_DST, DNNL_ARG_WEIGHTS,
                        dnnl_query_weights_md},
    [CG_DNN_DATA] = {C, A, B, DNNL_ARG_DIFF_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS,
                     dnnl_query_weights_md},
    [CG_DNN_WEIGHTS] = {B, A, C, DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS,
                        dnnl_query_diff_weights_md},
};

static dnnl_status_t conv_make(cg_dnn *d, const cg_dnn_conv *c, md *l) {
    const struct conv_role *r = &conv_role[c->direction];
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t s = conv_layouts(c, l);
    DO(s, conv_pd(d->engine, c, l, &pd));
    DO(s, make_main(d, pd));
    if (s == dnnl_success) {
        const_md w = dnnl_primitive_desc_query_md(pd, r->w_query, 0);
        int plain = dnnl_memory_desc_equal(w, l[W_PLAIN]);
        d->packs_result = c->direction == CG_DNN_WEIGHTS;
        DO(s, bind(d, r->x, l[X], d->main_arg, &d->n_main, r->x_arg));
        DO(s, bind(d, r->y, l[Y], d->main_arg, &d->n_main, r->y_arg));
        DO(s, bind(d, plain ? r->w : PACKED, w, d->main_arg, &d->n_main, r->w_arg));
        if (c->bias) DO(s, bind(d, BIAS, l[O_BIAS], d->main_arg, &d->n_main, DNNL_ARG_BIAS));
        if (c->residual)
            DO(s, bind(d, RESIDUAL, l[ADDED], d->main_arg, &d->n_main,
                       DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1));
        if (!plain && d->packs_result) DO(s, make_pack(d, PACKED, w, C, l[W_PLAIN]));
        if (!plain && !d->packs_result) DO(s, make_pack(d, B, l[W_PLAIN], PACKED, w));
        d->packs_once = c->pack_b && !plain;
        d->layout = layout_hash(w);
    }
    if (pd) dnnl_primitive_desc_destroy(pd);
    return s;
}

/* --- making and running ----------------------------------------------------------------------- */

/* A primitive bakes in the thread count it is made under and is wrong under any other. */
static int threads_set(int threads) {
    int before = omp_get_max_threads();
    if (before != threads) omp_set_num_threads(threads);
    return before;
}

static cg_status dnn_finish(cg_dnn *d, dnnl_status_t s, const char *what, cg_dnn **out) {
    if (s == dnnl_success) {
        *out = d;
        return CG_OK;
    }
    cg_dnn_free(d);
    return dnn_error(s, what);
}

_Static_assert((int)CG_GEMM_SILU == (int)CG_EPILOGUE_SILU, "the same activations in one order");

/* A product of our own where that is faster; else d->own stays NULL. */
static cg_status own_create(cg_context *ctx, const cg_dnn_matmul *m, cg_dnn *d) {
    const cg_gemm_shape shape = {.m = m->m,
                                 .n = m->n,
                                 .k = m->k,
                                 .transpose_a = m->transpose_a,
                                 .transpose_b = m->transpose_b,
                                 .bias = m->bias,
                                 .residual = m->residual,
                                 .activation = (cg_gemm_activation)m->f,
                                 .relu_last = m->relu_last,
                                 .type = m->a_type,
                                 .c_type = m->c_type,
                                 .residual_type = m->residual_type};
    if (m->only_dnn || m->pack_b || m->batch != 1 || m->a_type != m->b_type ||
        !cg_gemm_is_faster(&shape))
        return CG_OK;
    CG_TRY(cg_gemm_create(&shape, ctx->threads, &d->own));
    snprintf(d->impl, sizeof d->impl, "%s", cg_gemm_impl(d->own));
    d->pad_bytes = cg_gemm_scratch(d->own);
    return CG_OK;
}

/* Before 2.7.5 a batch of products with a transposed a and many rows is wrong where threads are
 * more than batch · ⌈n/64⌉: it is run one by one instead. */
static int batch_is_wrong(const cg_dnn *d, const cg_dnn_matmul *m) {
    return m->batch > 1 && m->transpose_a && m->k >= 2048 &&
           d->threads > m->batch * ((m->n + 63) / 64);
}

cg_status cg_dnn_matmul_create(cg_context *ctx, const cg_dnn_matmul *shape, cg_dnn **out) {
    cg_dnn *d = NULL;
    CG_TRY(dnn_new(ctx, &d));
    cg_status own = own_create(ctx, shape, d);
    if (own != CG_OK) {
        cg_dnn_free(d);
        return own;
    }
    if (d->own) {
        *out = d;
        return CG_OK;
    }
    cg_dnn_matmul one = *shape;
    if (batch_is_wrong(d, shape)) {
        one.batch = 1;
        d->repeat = shape->batch;
        d->step[A] = (size_t)(one.m * one.k) * cg_dtype_size(one.a_type);
        d->step[B] = (size_t)(one.k * one.n) * cg_dtype_size(one.b_type);
        d->step[C] = (size_t)(one.m * one.n) * cg_dtype_size(one.c_type);
    }
    md layout[N_MEMORY] = {NULL};
    int before = threads_set(d->threads);
    dnnl_status_t s = matmul_make(d, &one, layout);
    threads_set(before);
    for (int i = 0; i < N_MEMORY; i++)
        if (layout[i]) md_destroy(layout[i]);
    return dnn_finish(d, s, "matmul", out);
}

/* Far beyond 2³¹ elements of a picture, or of the weights, oneDNN 2.6 divides by zero. */
static cg_status conv_fits(const cg_dnn_conv *c) {
    const int64_t count[] = {c->h * c->w * c->c, c->oh * c->ow * c->o,
                             c->o * (c->c / c->groups) * c->kh * c->kw};
    for (int i = 0; i < 3; i++)
        if (count[i] > INT32_MAX)
            return cg_error(CG_EKERNEL, "%s of %lld elements, more than oneDNN takes",
                            i < 2 ? "pictures" : "weights", (long long)count[i]);
    return CG_OK;
}

cg_status cg_dnn_conv_create(cg_context *ctx, const cg_dnn_conv *shape, cg_dnn **out) {
    cg_dnn *d = NULL;
    CG_TRY(conv_fits(shape));
    CG_TRY(dnn_new(ctx, &d));
    md layout[N_LAYOUT] = {NULL};
    int before = threads_set(d->threads);
    dnnl_status_t s = conv_make(d, shape, layout);
    threads_set(before);
    for (int i = 0; i < N_LAYOUT; i++)
        if (layout[i]) md_destroy(layout[i]);
    return dnn_finish(d, s, "convolution", out);
}

static dnnl_status_t execute(const cg_dnn *d) {
    dnnl_stream_t stream = d->engine->stream;
    dnnl_status_t s = dnnl_success;
    if (d->pack && !d->packs_result && !d->packs_once)
        DO(s, dnnl_primitive_execute(d->pack, stream, d->n_pack, d->pack_arg));
    DO(s, dnnl_primitive_execute(d->main, stream, d->n_main, d->main_arg));
    if (d->pack && d->packs_result)
        DO(s, dnnl_primitive_execute(d->pack, stream, d->n_pack, d->pack_arg));
    DO(s, dnnl_stream_wait(stream));
    return s;
}

cg_status cg_dnn_run(const cg_dnn *d, const cg_dnn_operands *o) {
    if (d->own) {
        const cg_gemm_operands g = {
            .a = o->a, .b = o->b, .bias = o->bias, .residual = o->residual, .c = o->c};
        cg_gemm_run(d->own, &g, o->scratch);
        return CG_OK;
    }
    char *packed = d->packs_once     ? (char *)o->b
                   : d->packed_bytes ? (char *)o->scratch + d->pad_bytes
                                     : NULL;
    char *const data[N_MEMORY] = {[A] = (char *)o->a,
                                  [B] = (char *)o->b,
                                  [BIAS] = (char *)o->bias,
                                  [RESIDUAL] = (char *)o->residual,
                                  [C] = o->c,
                                  [PACKED] = packed,
                                  [PAD] = o->scratch,
                                  [PACK_PAD] = o->scratch};
    pthread_mutex_t *lock = (pthread_mutex_t *)&d->lock;
    pthread_mutex_lock(lock);
    int before = threads_set(d->threads);
    dnnl_status_t s = dnnl_success;
    for (int64_t r = 0; r < d->repeat; r++) {
        for (int i = 0; i < N_MEMORY; i++)
            if (d->memory[i])
                DO(s, dnnl_memory_set_data_handle(d->memory[i], data[i] + (size_t)r * d->step[i]));
        DO(s, execute(d));
    }
    threads_set(before);
    pthread_mutex_unlock(lock);
    return s == dnnl_success ? CG_OK : dnn_error(s, d->impl);
}

cg_status cg_dnn_pack(const cg_dnn *d, const void *b, void *to, void *scratch) {
    dnnl_status_t s = dnnl_success;
    pthread_mutex_t *lock = (pthread_mutex_t *)&d->lock;
    pthread_mutex_lock(lock);
    int before = threads_set(d->threads);
    DO(s, dnnl_memory_set_data_handle(d->memory[B], (char *)b));
    DO(s, dnnl_memory_set_data_handle(d->memory[PACKED], to));
    if (d->memory[PACK_PAD]) DO(s, dnnl_memory_set_data_handle(d->memory[PACK_PAD], scratch));
    DO(s, dnnl_primitive_execute(d->pack, d->engine->stream, d->n_pack, d->pack_arg));
    DO(s, dnnl_stream_wait(d->engine->stream));
    threads_set(before);
    pthread_mutex_unlock(lock);
    return s == dnnl_success ? CG_OK : dnn_error(s, "packing weights");
}
