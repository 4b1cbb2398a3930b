/* The text transformer.
 *
 * source  arXiv:2103.00020, section 2.4; pooling, masks and projection bias as in open_clip */
#include "models/clip.h"
#include "models/layers.h"
#include "ops/ops.h"

#include <math.h>

/* Tokens and, row by row, the position in the caption: [R, width]. */
static cg_value *embed(cg_graph *g, const cg_text_desc *t, const cg_captions *c) {
    cg_value *table = cg_parameter(g, "token_embedding.weight", CG_SHAPE(t->vocab_size, t->width),
                                   (cg_param_spec){.init = CG_INIT_NORMAL, .scale = 0.02f});
    cg_value *position =
        cg_parameter(g, "positional_embedding", CG_SHAPE(t->context_length, t->width),
                     (cg_param_spec){.init = CG_INIT_NORMAL, .scale = 0.01f});
    if (!c->token) return NULL;
    cg_scope_push(g, "embedding");
    cg_value *place = cg_segment_position(g, c->offset, c->token->shape.dim[0]);
    cg_value *x = cg_add(g, cg_gather(g, table, c->token), cg_gather(g, position, place));
    cg_scope_pop(g);
    return x;
}

/* The row that stands for each caption: i32 [texts]. */
static cg_value *pooled_rows(cg_graph *g, const cg_text_desc *t, const cg_captions *c) {
    switch (t->pool_type) {
    case CG_POOL_FIRST:
        return cg_slice(g, c->offset, 0, 0, c->texts);
    case CG_POOL_LAST:
        return cg_arange(g, c->texts, c->tokens - 1, c->tokens);
    default:
        return cg_end_token(g, c->token, c->offset, t->pool_type == CG_POOL_EOS ? t->eos_id : -1);
    }
}

cg_value *cg_text_transformer(cg_graph *g, const cg_clip_desc *d, const cg_captions *c) {
    const cg_text_desc *t = &d->text;
    float w = 1 / sqrtf((float)t->width);
    float deep = t->layers > 0 ? w / sqrtf(2 * (float)t->layers) : w;
    int64_t hidden = cg_mlp_width(t->width, t->mlp_ratio);
    cg_blocks b = {.path = "transformer",
                   .width = t->width,
                   .heads = t->heads,
                   .layers = t->layers,
                   .mlp_width = hidden,
                   .ls_init_value = t->ls_init_value,
                   .act = cg_activation_of(t->act, d->quick_gelu),
                   .norm = t->norm,
                   .causal = !t->no_causal_mask,
                   .offset = c->offset,
                   .mask = c->mask,
                   .in = {CG_INIT_NORMAL, w, 0},
                   .out = {CG_INIT_NORMAL, deep, 0},
                   .fc = {CG_INIT_NORMAL, w / sqrtf(2), w},
                   .proj = {CG_INIT_NORMAL, deep, 1 / sqrtf((float)hidden)}};
    cg_scope_push(g, "text");
    cg_value *x = cg_transformer(g, &b, embed(g, t, c));
    cg_scope_push(g, "pool");
    x = cg_norm_layer(g, "ln_final", cg_gather(g, x, pooled_rows(g, t, c)), t->norm);
    cg_scope_pop(g);
    x = cg_text_projection(g, d, x);
    cg_scope_pop(g);
    return x;
}
