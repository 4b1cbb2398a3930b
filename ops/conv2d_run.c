/* How convolutions run; conv2d.c says which kernels there are. */
#include "ops/conv2d.h"

#include "ops/bf16.h"
#include "ops/conv_matrix.h"
#include "ops/conv_winograd.h"
#include "ops/elementwise.h"

#include <stdio.h>
#include <stdlib.h>

static cg_dtype residual_type(const cg_node *n) {
    return n->op == &cg_op_conv2d && n->n_in > 3 ? n->in[3]->dtype : CG_F32;
}

cg_dnn_conv cg_conv2d_geometry(const cg_node *n) {
    const cg_shape *a = &n->in[0]->shape, *b = &n->in[1]->shape, *c = &n->out[0]->shape;
    const cg_conv2d_attr *attr = n->attr;
    cg_dnn_direction direction = n->op == &cg_op_conv2d             ? CG_DNN_FORWARD
                                 : n->op == &cg_op_conv2d_grad_data ? CG_DNN_DATA
                                                                    : CG_DNN_WEIGHTS;
    const cg_shape *x = direction == CG_DNN_FORWARD ? a : direction == CG_DNN_DATA ? c : b;
    const cg_shape *y = direction == CG_DNN_FORWARD ? c : a;
    const cg_shape *w = direction == CG_DNN_WEIGHTS ? c : b;
    return (cg_dnn_conv){.direction = direction,
                         .n = x->dim[0],
                         .h = x->dim[1],
                         .w = x->dim[2],
                         .c = x->dim[3],
                         .oh = y->dim[1],
                         .ow = y->dim[2],
                         .o = y->dim[3],
                         .kh = w->dim[2],
                         .kw = w->dim[3],
                         .stride = attr->stride,
                         .padding = attr->padding,
                         .dilation = w->dim[2] * w->dim[3] > 1 ? attr->dilation : 1,
                         .groups = attr->groups,
                         .type = n->in[0]->dtype,
                         .c_type = n->out[0]->dtype,
                         .residual_type = residual_type(n),
                         .bias = direction == CG_DNN_FORWARD && n->n_in > 2,
                         .residual = direction == CG_DNN_FORWARD && n->n_in > 3,
                         .relu = direction == CG_DNN_FORWARD && attr->relu};
}

/* --- kernels ---------------------------------------------------------------------------------- */

typedef struct conv_state {
    cg_dnn *dnn;
    cg_dnn_conv g, matrix; /* matrix: with patches as its pictures, where patch is set */
    int expand, patch, winograd;
    int packed;                            /* weights come expanded, and as the kernel wants them */
    size_t matrix_at, patch_at, narrow_at; /* offsets in scratch */
    int widen; /* dx is made as bf16, at narrow_at, because oneDNN makes no other of bf16 */
    char impl[80];
} conv_state;

void cg_conv2d_release(void *p) {
    conv_state *s = p;
    cg_dnn_free(s->dnn);
    free(s);
}

/* Products of matrix_geometry: x [n, columns], y [n, rows], matrix [rows, columns]. */
static cg_status product_create(cg_context *ctx, const cg_dnn_conv *g, cg_dnn **out) {
    int64_t rows = g->oh * g->ow * g->o, columns = g->h * g->w * g->c;
    const cg_dnn_matmul m[] = {
        [CG_DNN_FORWARD] = {.m = g->n, .n = rows, .k = columns, .transpose_b = 1},
        [CG_DNN_DATA] = {.m = g->n, .n = columns, .k = rows},
        [CG_DNN_WEIGHTS] = {.m = rows, .n = columns, .k = g->n, .transpose_a = 1},
    };
    cg_dnn_matmul shape = m[g->direction];
    shape.batch = 1;
    shape.a_type = shape.b_type = g->type;
    shape.c_type = g->c_type;
    shape.residual_type = g->residual_type;
    shape.pack_b = g->pack_b;
    shape.bias = g->bias;
    shape.residual = g->residual;
    shape.relu_last = g->relu;
    return cg_dnn_matmul_create(ctx, &shape, out);
}

/* Decides how to run, makes the kernel; *how names what stands before it. */
static cg_status choose(cg_context *ctx, conv_state *s, const char **how) {
    cg_dnn_conv *m = &s->matrix;
    const cg_dnn_conv *g = &s->g;
    *m = *g;
    int plain = g->groups == 1 && g->dilation == 1;
    int tiled = g->kh == g->stride && g->kw == g->stride && g->padding == 0;
    int weights_1x1 = g->direction == CG_DNN_WEIGHTS && g->kh * g->kw == 1;
    /* oneDNN sums 1×1 weights of few input channels up to 1.5 times as fast as its product. With a
     * stride, 2.6 sums them wrongly, and writes beyond its scratch. */
    int narrow = weights_1x1 && g->stride == 1 && g->c < 64 && g->c <= g->o;
    if (plain && (tiled || weights_1x1) && !narrow) {
        m->n = g->n * g->oh * g->ow;
        m->h = g->kh;
        m->w = g->kw;
        m->oh = m->ow = 1;
        s->expand = g->kh * g->kw > 1;
        s->patch = g->stride > 1;
        *how = s->patch ? "patches+" : "rows+";
        return product_create(ctx, m, &s->dnn);
    }
    /* Expanded weights of at most twice their size, where oneDNN's kernels are slow. */
    int epilogue = g->bias || g->residual || g->relu;
    if (plain && !epilogue && g->h * g->w * g->oh * g->ow <= 2 * g->kh * g->kw) {
        s->expand = 1;
        *how = "dense+";
        return product_create(ctx, m, &s->dnn);
    }
    if (cg_winograd_gains(g)) {
        s->winograd = 1;
        *how = "winograd";
        return CG_OK;
    }
    *how = "";
    return cg_dnn_conv_create(ctx, g, &s->dnn);
}

/* Weights that do not change are expanded and laid out once. */
static void ask_for_pack(conv_state *s, cg_prep *p) {
    p->pack = 1;
    if (s->winograd) {
        p->pack_bytes = cg_winograd_pack_bytes(&s->g);
        p->pack_key = 0x77696e6f67726164; /* winograd */
        return;
    }
    p->pack_bytes = cg_dnn_pack_bytes(s->dnn);
    p->pack_key = cg_dnn_pack_key(s->dnn);
    const int64_t place[] = {s->matrix.h,  s->matrix.w,      s->matrix.oh,     s->matrix.ow,
                             s->matrix.kh, s->matrix.stride, s->matrix.padding};
    for (int i = 0; s->expand && i < 7; i++)
        p->pack_key = (p->pack_key ^ (uint64_t)place[i]) * 0x100000001b3u;
    if (s->expand && p->pack_bytes == 0)
        p->pack_bytes = (size_t)cg_conv_matrix_count(&s->matrix) * cg_dtype_size(s->g.type);
    s->packed = p->pack_bytes > 0;
}

cg_status cg_conv2d_prepare(cg_prep *p) {
    conv_state *s = calloc(1, sizeof *s);
    if (!s) return cg_error(CG_ENOMEM, "no memory for a kernel");
    p->state = s;
    s->g = cg_conv2d_geometry(p->node);
    s->g.pack_b = s->g.direction == CG_DNN_FORWARD && (p->frozen >> 1 & 1);
    if (s->g.n * s->g.h * s->g.w == 0) return CG_OK;
    s->widen = s->g.direction == CG_DNN_DATA && s->g.type == CG_BF16 && s->g.c_type == CG_F32;
    if (s->widen) s->g.c_type = CG_BF16;
    const char *how;
    cg_status status = choose(p->ctx, s, &how);
    if (status != CG_OK) {
        p->state = NULL;
        cg_conv2d_release(s);
        return status;
    }
    snprintf(s->impl, sizeof s->impl, "%s%s", how, s->dnn ? cg_dnn_impl(s->dnn) : "");
    p->impl = s->impl;
    if (s->winograd) {
        p->scratch = cg_winograd_scratch(&s->g, p->ctx->threads);
        if (s->g.pack_b) ask_for_pack(s, p);
        return CG_OK;
    }
    s->matrix_at = cg_align64(cg_dnn_scratch(s->dnn));
    s->patch_at = s->matrix_at;
    if (s->expand)
        s->patch_at += cg_align64((size_t)cg_conv_matrix_count(&s->matrix) * sizeof(float));
    p->scratch = s->patch_at;
    const cg_dnn_conv *m = &s->matrix;
    if (s->patch) p->scratch += (size_t)(m->n * m->h * m->w * m->c) * sizeof(float);
    s->narrow_at = cg_align64(p->scratch);
    if (s->widen) p->scratch = s->narrow_at + (size_t)(s->g.n * s->g.h * s->g.w * s->g.c) * 2;
    if (s->g.pack_b) ask_for_pack(s, p);
    return CG_OK;
}

cg_status cg_conv2d_pack(const cg_task *t, void *to) {
    const conv_state *s = t->state;
    const void *w = t->in[1];
    if (s->winograd) {
        cg_winograd_pack(&s->g, t->threads, w, to);
        return CG_OK;
    }
    int packs = cg_dnn_pack_bytes(s->dnn) > 0;
    if (s->expand) {
        void *matrix = packs ? (char *)t->scratch + s->matrix_at : to;
        cg_conv_matrix_expand(&s->matrix, t->threads, w, matrix);
        w = matrix;
    }
    return packs ? cg_dnn_pack(s->dnn, w, to, t->scratch) : CG_OK;
}

static cg_status run_forward(const conv_state *s, const cg_task *t) {
    const void *x = t->in[0], *w = t->in[1];
    if (s->expand && !s->packed) {
        void *matrix = (char *)t->scratch + s->matrix_at;
        cg_conv_matrix_expand(&s->matrix, t->threads, w, matrix);
        w = matrix;
    }
    if (s->patch) {
        void *patch = (char *)t->scratch + s->patch_at;
        cg_conv_patches_get(&s->g, t->threads, x, patch);
        x = patch;
    }
    return cg_dnn_run(s->dnn, &(cg_dnn_operands){.a = x,
                                                 .b = w,
                                                 .bias = s->g.bias ? t->in[2] : NULL,
                                                 .residual = s->g.residual ? t->in[3] : NULL,
                                                 .c = t->out[0],
                                                 .scratch = t->scratch});
}

typedef struct widening {
    const uint16_t *from;
    float *to;
} widening;

CG_KERNEL static void widen(const void *arg, int64_t begin, int64_t end) {
    const widening *w = arg;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) w->to[i] = cg_bf16_widen(w->from[i]);
}

static cg_status run_data(const conv_state *s, const cg_task *t) {
    const void *w = t->in[1];
    void *result = s->widen ? (char *)t->scratch + s->narrow_at : t->out[0], *dx = result;
    if (s->expand) {
        void *matrix = (char *)t->scratch + s->matrix_at;
        cg_conv_matrix_expand(&s->matrix, t->threads, w, matrix);
        w = matrix;
    }
    if (s->patch) dx = (char *)t->scratch + s->patch_at;
    CG_TRY(cg_dnn_run(s->dnn,
                      &(cg_dnn_operands){.a = t->in[0], .b = w, .c = dx, .scratch = t->scratch}));
    if (s->patch) cg_conv_patches_put(&s->g, t->threads, dx, result);
    int64_t count = s->g.n * s->g.h * s->g.w * s->g.c;
    if (s->widen)
        cg_parallel(t->threads, count, CG_ELEMENT_GRAIN, count, widen,
                    &(widening){result, t->out[0]});
    return CG_OK;
}

static cg_status run_weights(const conv_state *s, const cg_task *t) {
    const float *x = t->in[1];
    float *dw = t->out[0];
    if (s->patch) {
        void *patch = (char *)t->scratch + s->patch_at;
        cg_conv_patches_get(&s->g, t->threads, x, patch);
        x = patch;
    }
    if (s->expand) dw = (float *)((char *)t->scratch + s->matrix_at);
    CG_TRY(cg_dnn_run(s->dnn,
                      &(cg_dnn_operands){.a = t->in[0], .b = x, .c = dw, .scratch = t->scratch}));
    if (s->expand) cg_conv_matrix_fold(&s->matrix, t->threads, dw, t->out[0]);
    return CG_OK;
}

static cg_status run_winograd(const conv_state *s, const cg_task *t) {
    cg_dnn_operands o = {.a = t->in[0], .b = t->in[1], .c = t->out[0], .scratch = t->scratch};
    if (s->g.bias) o.bias = t->in[2];
    if (s->g.residual) o.residual = t->in[3];
    cg_winograd_run(&s->g, t->threads, &o);
    return CG_OK;
}

/* Nothing in x: results are empty or 0, and what is added. */
static cg_status run_empty(const conv_state *s, const cg_task *t) {
    const float *bias = s->g.bias ? t->in[2] : NULL;
    int64_t count = cg_shape_count(&t->node->out[0]->shape);
    int bf16 = s->g.c_type == CG_BF16, added = s->g.residual_type == CG_BF16;
    for (int64_t i = 0; i < count; i++) {
        float v = bias ? bias[i % s->g.o] : 0;
        if (s->g.residual) v += cg_load(t->in[3], i, added);
        cg_store(t->out[0], i, s->g.relu && v < 0 ? 0 : v, bf16);
    }
    return CG_OK;
}

cg_status cg_conv2d_run(const cg_task *t) {
    const conv_state *s = t->state;
    if (s->winograd) return run_winograd(s, t);
    if (!s->dnn) return run_empty(s, t);
    switch (s->g.direction) {
    case CG_DNN_FORWARD:
        return run_forward(s, t);
    case CG_DNN_DATA:
        return run_data(s, t);
    default:
        return run_weights(s, t);
    }
}
