#include "models/clip.h"

#include "ops/ops.h"

#include <stdlib.h>

static const float unit_eps = 1e-12f; /* keeps a zero row finite; far below a real row's length */

int64_t cg_clip_rows(int64_t n) {
    return n <= 64 ? 64 : (n + 63) / 64 * 64;
}

int cg_clip_text_drops_specials(const cg_clip_desc *d) {
    return d->text.text_arch == CG_TEXT_CBOW;
}

cg_value *cg_temperature(cg_graph *g, const cg_clip_desc *d) {
    cg_scope_push(g, "temperature");
    cg_value *t = cg_exp(g, cg_parameter(g, "logit_scale", CG_SCALAR,
                                         (cg_param_spec){.scale = d->init_logit_scale}));
    cg_scope_pop(g);
    return t;
}

/* 0, 1, 2, …: each picture's caption is the one of its own number. */
static cg_value *diagonal(cg_graph *g, int64_t n) {
    int32_t *label = malloc((size_t)n * sizeof *label + 1);
    if (!label) return cg_graph_fail(g, cg_error(CG_ENOMEM, "no memory for labels"));
    for (int64_t i = 0; i < n; i++) label[i] = (int32_t)i;
    cg_value *v = cg_constant(g, CG_I32, CG_SHAPE(n), label);
    free(label);
    return v;
}

static void append_loss(cg_graph *g, const cg_clip_desc *d, cg_clip_values *v) {
    cg_value *t = cg_temperature(g, d);
    cg_scope_push(g, "logits");
    v->logits = cg_mul(g, cg_matmul(g, v->image_embedding, v->text_embedding, 0, 1), t);
    cg_scope_pop(g);
    if (!v->logits) return;
    cg_scope_push(g, "loss");
    cg_value *label = diagonal(g, v->logits->shape.dim[0]);
    v->image_loss = cg_softmax_cross_entropy(g, v->logits, label, 1);
    v->text_loss = cg_softmax_cross_entropy(g, v->logits, label, 0);
    cg_value *sum = cg_add(g, cg_mean(g, v->image_loss, CG_SHAPE(0), 0),
                           cg_mean(g, v->text_loss, CG_SHAPE(0), 0));
    v->loss = cg_scale(g, sum, 0.5f);
    cg_scope_pop(g);
}

static cg_value *image_tower(cg_graph *g, const cg_clip_desc *d, const cg_clip_build *b) {
    int64_t s = d->vision.image_size;
    cg_value *x = cg_input(g, "image", CG_F32, CG_SHAPE(b->images, s, s, 3));
    x = cg_resnet(g, d, x, b->training);
    cg_scope_push(g, "visual");
    cg_scope_push(g, "unit");
    x = cg_l2norm(g, x, unit_eps);
    cg_scope_pop(g);
    cg_scope_pop(g);
    return x;
}

static cg_value *text_tower(cg_graph *g, const cg_clip_desc *d, const cg_clip_build *b) {
    cg_value *token = cg_input(g, "token", CG_I32, CG_SHAPE(b->rows));
    cg_value *offset = cg_input(g, "token_offset", CG_I32, CG_SHAPE(b->texts + 1));
    cg_value *x = cg_cbow(g, d, token, offset);
    cg_scope_push(g, "text");
    cg_scope_push(g, "unit");
    x = cg_l2norm(g, x, unit_eps);
    cg_scope_pop(g);
    cg_scope_pop(g);
    return x;
}

cg_status cg_clip_append(cg_graph *g, const cg_clip_desc *d, const cg_clip_build *b,
                         cg_clip_values *out) {
    *out = (cg_clip_values){0};
    cg_status s = cg_clip_desc_check("model", d);
    if (s == CG_OK && b->loss && b->images != b->texts)
        s = cg_error(CG_EINVAL, "a loss over %lld pictures and %lld captions: wanted pairs",
                     (long long)b->images, (long long)b->texts);
    if (s != CG_OK) {
        cg_graph_fail(g, s);
        return s;
    }
    if (b->images) out->image_embedding = image_tower(g, d, b);
    if (b->texts) out->text_embedding = text_tower(g, d, b);
    if (b->loss) append_loss(g, d, out);
    return cg_graph_status(g);
}
