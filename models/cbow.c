/* The bag-of-words text tower. The paper names it (section 2.3, figure 2) without sizes; ours is
 * the mean of the token embeddings of the caption's own tokens, layer norm, projection. */
#include "models/clip.h"
#include "ops/ops.h"

#include <math.h>

cg_value *cg_cbow(cg_graph *g, const cg_clip_desc *d, cg_value *token, cg_value *offset) {
    int64_t width = d->text.width;
    cg_scope_push(g, "text");
    cg_value *table = cg_parameter(g, "token_embedding.weight", CG_SHAPE(d->text.vocab_size, width),
                                   (cg_param_spec){.init = CG_INIT_NORMAL, .scale = 0.02f});
    cg_value *x = cg_segment_mean(g, cg_embedding(g, table, token), offset);
    cg_scope_push(g, "ln_final");
    x = cg_layer_norm(
        g, x, cg_parameter(g, "ln_final.weight", CG_SHAPE(width), (cg_param_spec){.scale = 1}),
        cg_parameter(g, "ln_final.bias", CG_SHAPE(width), (cg_param_spec){.scale = 0}), 1e-5f);
    cg_scope_pop(g);
    cg_scope_push(g, "projection");
    x = cg_matmul(
        g, x,
        cg_parameter(g, "text_projection", CG_SHAPE(width, d->embed_dim),
                     (cg_param_spec){.init = CG_INIT_NORMAL, .scale = 1 / sqrtf((float)width)}),
        0, 0);
    cg_scope_pop(g);
    cg_scope_pop(g);
    return x;
}
