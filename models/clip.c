#include "models/clip.h"

#include "models/layers.h"
#include "ops/ops.h"

#include <inttypes.h>
#include <math.h>

static const float unit_eps = 1e-12f; /* far below a real row's squared length */

int64_t cg_clip_rows(int64_t n) {
    return n <= 64 ? 64 : (n + 63) / 64 * 64;
}

cg_clip_build cg_clip_batch(const cg_clip_desc *d, int64_t images, int64_t texts, int64_t tokens) {
    cg_clip_build b = {.images = images, .texts = texts};
    if (cg_clip_text_packs(d)) {
        b.layout = CG_TEXT_PACKED;
        b.rows = texts ? cg_clip_rows(tokens) : 0;
    } else {
        b.layout = CG_TEXT_UNIFORM;
        b.tokens = texts ? d->text.context_length : 0;
    }
    return b;
}

int cg_clip_text_drops_specials(const cg_clip_desc *d) {
    return d->text.text_arch == CG_TEXT_CBOW;
}

int cg_clip_text_packs(const cg_clip_desc *d) {
    const cg_text_desc *t = &d->text;
    if (t->text_arch == CG_TEXT_CBOW) return 1;
    return t->pool_type != CG_POOL_LAST && (!t->no_causal_mask || t->use_pad_mask);
}

int cg_clip_text_reads_mask(const cg_clip_desc *d) {
    const cg_text_desc *t = &d->text; /* beside a causal mask open_clip has no other */
    return t->text_arch == CG_TEXT_CBOW || (t->no_causal_mask && t->use_pad_mask);
}

int cg_clip_draws(const cg_clip_desc *d) {
    return d->vision.patch_dropout > 0;
}

/* --- towers ----------------------------------------------------------------------------------- */

static cg_value *unit(cg_graph *g, const char *tower, cg_value *x) {
    cg_scope_push(g, "%s", tower);
    cg_scope_push(g, "unit");
    x = cg_l2norm(g, x, unit_eps);
    cg_scope_pop(g);
    cg_scope_pop(g);
    return x;
}

static cg_value *image_tower(cg_graph *g, const cg_clip_desc *d, const cg_clip_build *b) {
    int64_t s = d->vision.image_size;
    cg_value *x = cg_input(g, "image", CG_F32, CG_SHAPE(b->images, s, s, 3));
    switch (cg_vision_arch_of(&d->vision)) {
    case CG_VISION_RESNET:
        x = cg_resnet(g, d, x, b->training);
        break;
    case CG_VISION_DEFAULT:
    case CG_VISION_VIT:
        x = cg_vit(g, d, x, b->training);
        break;
    }
    return unit(g, "visual", x);
}

static cg_captions captions(cg_graph *g, const cg_clip_desc *d, const cg_clip_build *b) {
    cg_captions c = {.texts = b->texts};
    if (b->layout == CG_TEXT_PACKED) {
        c.token = cg_input(g, "token", CG_I32, CG_SHAPE(b->rows));
        c.offset = cg_input(g, "token_offset", CG_I32, CG_SHAPE(b->texts + 1));
        return c;
    }
    cg_shape rows = CG_SHAPE(b->texts * b->tokens), uniform = CG_SHAPE(b->texts, b->tokens);
    c.tokens = b->tokens;
    c.token = cg_reshape(g, cg_input(g, "token", CG_I32, uniform), rows);
    c.offset = cg_arange(g, b->texts + 1, 0, b->tokens);
    if (cg_clip_text_reads_mask(d))
        c.mask = cg_reshape(g, cg_input(g, "token_mask", CG_F32, uniform), rows);
    return c;
}

static cg_value *text_tower(cg_graph *g, const cg_clip_desc *d, const cg_clip_build *b) {
    cg_captions c = captions(g, d, b);
    cg_value *x = NULL;
    switch (d->text.text_arch) {
    case CG_TEXT_CBOW:
        x = cg_cbow(g, d, &c);
        break;
    case CG_TEXT_TRANSFORMER:
        x = cg_text_transformer(g, d, &c);
        break;
    }
    return unit(g, "text", x);
}

/* --- loss ------------------------------------------------------------------------------------- */

cg_value *cg_temperature(cg_graph *g, const cg_clip_desc *d) {
    cg_scope_push(g, "temperature");
    cg_value *t = cg_exp(g, cg_parameter(g, "logit_scale", CG_SCALAR,
                                         (cg_param_spec){.scale = d->init_logit_scale}));
    cg_scope_pop(g);
    return t;
}

void cg_clip_append_logits(cg_graph *g, const cg_clip_desc *d, cg_clip_values *v) {
    cg_value *t = cg_temperature(g, d);
    cg_scope_push(g, "logits");
    v->logits = cg_mul(g, cg_matmul(g, v->image_embedding, v->text_embedding, 0, 1), t);
    if (!isnan(d->init_logit_bias))
        v->logits = cg_add(
            g, v->logits,
            cg_parameter(g, "logit_bias", CG_SCALAR, (cg_param_spec){.scale = d->init_logit_bias}));
    cg_scope_pop(g);
}

/* Each picture's caption is the one of its own number. */
static void append_loss(cg_graph *g, const cg_clip_desc *d, cg_clip_values *v) {
    cg_clip_append_logits(g, d, v);
    if (!v->logits) return;
    cg_scope_push(g, "loss");
    cg_value *label = cg_arange(g, v->logits->shape.dim[0], 0, 1);
    if (isnan(d->init_logit_bias)) {
        v->image_loss = cg_softmax_cross_entropy(g, v->logits, label, 1);
        v->text_loss = cg_softmax_cross_entropy(g, v->logits, label, 0);
        v->loss = cg_scale(g,
                           cg_add(g, cg_mean(g, v->image_loss, CG_SHAPE(0), 0),
                                  cg_mean(g, v->text_loss, CG_SHAPE(0), 0)),
                           0.5f);
    } else {
        v->image_loss = cg_sigmoid_cross_entropy(g, v->logits, label);
        v->loss = cg_mean(g, v->image_loss, CG_SHAPE(0), 0);
    }
    cg_scope_pop(g);
}

/* --- the model -------------------------------------------------------------------------------- */

static cg_status check_layout(const cg_clip_desc *d, const cg_clip_build *b) {
    int64_t most = d->text.context_length;
    if (b->texts == 0) return CG_OK;
    if (b->layout == CG_TEXT_PACKED)
        return cg_clip_text_packs(d)
                   ? CG_OK
                   : cg_error(CG_EINVAL, "captions cannot be packed: this text tower sees padding");
    if (b->tokens < 1 || b->tokens > most)
        return cg_error(CG_EINVAL, "%" PRId64 " tokens a caption, wanted 1 to %" PRId64, b->tokens,
                        most);
    if (b->tokens < most && !cg_clip_text_packs(d))
        return cg_error(CG_EINVAL,
                        "%" PRId64 " tokens a caption, but this text tower sees padding: wanted "
                        "all %" PRId64,
                        b->tokens, most);
    return CG_OK;
}

/* Offsets are i32, so no batch of more sequences can run; and what follows does not overflow. */
static cg_status check_count(const char *name, int64_t n, int64_t least) {
    if (n >= least && n < INT32_MAX) return CG_OK;
    return cg_error(CG_EINVAL, "a batch of %" PRId64 " %s, wanted %" PRId64 " or more%s", n, name,
                    least, n < least ? "" : ", but less than 2147483647");
}

static cg_status check(const cg_clip_desc *d, const cg_clip_build *b) {
    CG_TRY(cg_clip_desc_check("model", d));
    CG_TRY(check_count("pictures", b->images, b->loss != 0));
    CG_TRY(check_count("captions", b->texts, b->loss != 0));
    CG_TRY(check_layout(d, b));
    if (b->loss && b->images != b->texts)
        return cg_error(CG_EINVAL,
                        "a loss over %" PRId64 " pictures and %" PRId64 " captions: wanted pairs",
                        b->images, b->texts);
    return CG_OK;
}

cg_status cg_clip_append(cg_graph *g, const cg_clip_desc *d, const cg_clip_build *b,
                         cg_clip_values *out) {
    *out = (cg_clip_values){0};
    cg_status s = check(d, b);
    if (s != CG_OK) {
        cg_graph_fail(g, s);
        return s;
    }
    if (b->images) out->image_embedding = image_tower(g, d, b);
    if (b->texts) out->text_embedding = text_tower(g, d, b);
    if (b->loss) append_loss(g, d, out);
    return cg_graph_status(g);
}
