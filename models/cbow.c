/* The bag-of-words text tower. The paper names it (section 2.3, figure 2) without sizes; ours is
 * the mean of the token embeddings of the caption's own tokens, norm, projection. */
#include "models/clip.h"
#include "models/layers.h"
#include "ops/ops.h"

#include <float.h>

/* The mean of each caption's rows that its mask keeps; 0 where it keeps none. */
static cg_value *masked_mean(cg_graph *g, const cg_captions *c, cg_value *x) {
    if (!x) return NULL;
    int64_t width = x->shape.dim[1];
    cg_value *mask = cg_reshape(g, c->mask, CG_SHAPE(c->texts, c->tokens, 1));
    x = cg_mul(g, cg_reshape(g, x, CG_SHAPE(c->texts, c->tokens, width)), mask);
    cg_value *count = cg_clamp(g, cg_sum(g, mask, CG_SHAPE(1), 0), 1, FLT_MAX);
    return cg_div(g, cg_sum(g, x, CG_SHAPE(1), 0), count);
}

cg_value *cg_cbow(cg_graph *g, const cg_clip_desc *d, const cg_captions *c) {
    cg_scope_push(g, "text");
    cg_value *table =
        cg_parameter(g, "token_embedding.weight", CG_SHAPE(d->text.vocab_size, d->text.width),
                     (cg_param_spec){.init = CG_INIT_NORMAL, .scale = 0.02f});
    cg_value *x = cg_gather(g, table, c->token);
    x = c->tokens ? masked_mean(g, c, x) : cg_segment_mean(g, x, c->offset);
    x = cg_norm_layer(g, "ln_final", x, d->text.norm);
    x = cg_text_projection(g, d, x);
    cg_scope_pop(g);
    return x;
}
