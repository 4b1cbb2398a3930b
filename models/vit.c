/* The vision transformer.
 *
 * source  Dosovitskiy et al., arXiv:2010.11929, with CLIP's norm before the blocks
 *         (arXiv:2103.00020, section 2.4); patch dropout: Li et al., arXiv:2212.00794; average
 *         pooling and the order of its norm as in open_clip */
#include "graph/decimal.h"
#include "models/clip.h"
#include "models/layers.h"
#include "ops/ops.h"

#include <math.h>

/* image -> [N, patches, width], positions added; in training a share of them is left out. */
static cg_value *patches(cg_graph *g, const cg_vision_desc *v, cg_value *image, cg_value *position,
                         int training) {
    int64_t p = v->patch_size, side = v->image_size / p, count = side * side;
    float bound = 1 / sqrtf((float)(3 * p * p)); /* Kaiming-uniform, a = √5 */
    if (!image) return NULL;
    cg_scope_push(g, "conv1");
    cg_value *x = cg_conv2d(g, image,
                            cg_parameter(g, "visual.conv1.weight", CG_SHAPE(v->width, 3, p, p),
                                         (cg_param_spec){CG_INIT_UNIFORM, bound, 0, CG_F32}),
                            p, 0);
    cg_scope_pop(g);
    int64_t n = image->shape.dim[0];
    x = cg_reshape(g, x, CG_SHAPE(n, count, v->width));
    x = cg_add(g, x, cg_slice(g, position, 0, 1, count));
    if (!training || v->patch_dropout == 0) return x;
    int64_t keep = (int64_t)((double)count * (1 - cg_decimal(v->patch_dropout)));
    cg_scope_push(g, "patch_dropout");
    x = cg_patch_dropout(g, x, cg_input(g, "stream", CG_I64, CG_SHAPE(2)),
                         cg_input(g, "sample", CG_I64, CG_SHAPE(n)), keep > 1 ? keep : 1);
    cg_scope_pop(g);
    return x;
}

/* The class token and the patches: [N, 1 + patches, width]. */
static cg_value *tokens(cg_graph *g, const cg_vision_desc *v, cg_value *image, int training) {
    int64_t side = v->image_size / v->patch_size, w = v->width;
    cg_param_spec spec = {.init = CG_INIT_NORMAL, .scale = 1 / sqrtf((float)w)};
    cg_value *position =
        cg_parameter(g, "visual.positional_embedding", CG_SHAPE(side * side + 1, w), spec);
    cg_value *x = patches(g, v, image, position, training);
    if (!x) return NULL;
    cg_scope_push(g, "class");
    cg_value *class = cg_parameter(g, "visual.class_embedding", CG_SHAPE(w), spec);
    class = cg_add(g, class, cg_slice(g, position, 0, 0, 1));
    cg_value *part[] = {cg_broadcast(g, class, CG_SHAPE(x->shape.dim[0], 1, w)), x};
    x = cg_concat(g, 2, part, 1);
    cg_scope_pop(g);
    return x;
}

static cg_value *blocks(cg_graph *g, const cg_clip_desc *d, cg_value *x, int64_t n, int64_t t) {
    const cg_vision_desc *v = &d->vision;
    int64_t hidden = cg_mlp_width(v->width, v->mlp_ratio);
    float w = 1 / sqrtf((float)v->width), h = 1 / sqrtf((float)hidden);
    cg_blocks b = {.path = "visual.transformer",
                   .width = v->width,
                   .heads = v->width / v->head_width,
                   .layers = v->layers[0],
                   .mlp_width = hidden,
                   .ls_init_value = v->ls_init_value,
                   .act = cg_activation_of(v->act, d->quick_gelu),
                   .norm = v->norm,
                   .offset = cg_arange(g, n + 1, 0, t),
                   /* Xavier-uniform on [3 width, width], then PyTorch's defaults */
                   .in = {CG_INIT_UNIFORM, sqrtf(1.5f) * w, 0},
                   .out = {CG_INIT_UNIFORM, w, 0},
                   .fc = {CG_INIT_UNIFORM, w, w},
                   .proj = {CG_INIT_UNIFORM, h, h}};
    return cg_transformer(g, &b, x);
}

/* x [N · t, width] -> [N, width]; the norm works on rows, so only those that survive get it. */
static cg_value *pool(cg_graph *g, const cg_vision_desc *v, cg_value *x, int64_t n, int64_t t) {
    cg_scope_push(g, "pool");
    if (v->pool_type == CG_POOL_TOK) {
        x = cg_norm_layer(g, "visual.ln_post", cg_gather(g, x, cg_arange(g, n, 0, t)), v->norm);
    } else {
        if (!v->final_ln_after_pool) x = cg_norm_layer(g, "visual.ln_post", x, v->norm);
        x = cg_slice(g, cg_reshape(g, x, CG_SHAPE(n, t, v->width)), 1, 1, t - 1);
        x = cg_mean(g, x, CG_SHAPE(1), 0);
        if (v->final_ln_after_pool) x = cg_norm_layer(g, "visual.ln_post", x, v->norm);
    }
    cg_scope_pop(g);
    return x;
}

cg_value *cg_vit(cg_graph *g, const cg_clip_desc *d, cg_value *image, int training) {
    const cg_vision_desc *v = &d->vision;
    cg_scope_push(g, "visual");
    cg_scope_push(g, "embedding");
    cg_value *x = tokens(g, v, image, training);
    cg_scope_pop(g);
    if (x) {
        int64_t n = x->shape.dim[0], t = x->shape.dim[1];
        x = cg_reshape(g, x, CG_SHAPE(n * t, v->width));
        if (!v->no_ln_pre) x = cg_norm_layer(g, "visual.ln_pre", x, v->norm);
        x = pool(g, v, blocks(g, d, x, n, t), n, t);
        x = cg_projection(g, "visual.proj", x, d->embed_dim);
    }
    cg_scope_pop(g);
    return x;
}
