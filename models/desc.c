#include "models/desc.h"

#include "models/desc_keys.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

cg_clip_desc cg_clip_desc_default(void) {
    return (cg_clip_desc){
        .vision = {.image_size = 224,
                   .layers = {12},
                   .n_layers = 1,
                   .width = 768,
                   .head_width = 64,
                   .patch_size = 16,
                   .mlp_ratio = 4,
                   .ls_init_value = NAN},
        .text = {.text_arch = CG_TEXT_TRANSFORMER,
                 .context_length = 77,
                 .vocab_size = 49408,
                 .width = 512,
                 .heads = 8,
                 .layers = 12,
                 .mlp_ratio = 4,
                 .ls_init_value = NAN,
                 .eos_id = 2},
        .init_logit_scale = 2.6592600f, /* ln(1/0.07) */
        .init_logit_bias = NAN,
    };
}

cg_vision_arch cg_vision_arch_of(const cg_vision_desc *v) {
    if (v->vision_arch != CG_VISION_DEFAULT) return v->vision_arch;
    return v->n_layers == 4 ? CG_VISION_RESNET : CG_VISION_VIT;
}

cg_status cg_clip_desc_parse(const char *name, const struct json_t *json, cg_clip_desc *out) {
    const json_t *hub = json_object_get(json, "model_cfg");
    *out = cg_clip_desc_default();
    CG_TRY(cg_keys_read(name, cg_desc_keys, hub ? hub : json, out));
    return cg_clip_desc_check(name, out);
}

cg_status cg_clip_desc_load(const char *path, cg_clip_desc *out) {
    json_error_t error;
    FILE *f = fopen(path, "rb");
    if (!f) return cg_error(CG_EIO, "%s: %s", path, strerror(errno));
    json_t *j = json_loadf(f, JSON_REJECT_DUPLICATES, &error);
    fclose(f);
    if (!j) return cg_error(CG_EFORMAT, "%s: line %d: %s", path, error.line, error.text);
    cg_status s = cg_clip_desc_parse(path, j, out);
    json_decref(j);
    return s;
}

struct json_t *cg_clip_desc_json(const cg_clip_desc *d) {
    return cg_keys_write(cg_desc_keys, d);
}

/* --- sizes against one another ---------------------------------------------------------------- */

/* part must divide whole. */
static cg_status check_divides(const char *name, const char *part_name, int64_t part,
                               const char *whole_name, int64_t whole) {
    if (whole % part == 0) return CG_OK;
    return cg_error(CG_EINVAL, "%s: %s %" PRId64 " does not divide %s, %" PRId64, name, part_name,
                    part, whole_name, whole);
}

static cg_status check_mlp(const char *name, int64_t width, float ratio) {
    if ((double)width * (double)ratio >= 1) return CG_OK;
    return cg_error(CG_EINVAL, "%s: mlp_ratio %g leaves an MLP of width %" PRId64 " no channel",
                    name, (double)ratio, width);
}

/* A key that a tower does not read must not look as if it did something. */
static cg_status check_unused(const char *name, const char *key, int used, const char *tower) {
    if (!used) return CG_OK;
    return cg_error(CG_EINVAL, "%s: %s is set, but %s has no such thing", name, key, tower);
}

static cg_status check_resnet(const char *name, const cg_vision_desc *v) {
    static const char tower[] = "a ResNet";
    CG_TRY(check_unused(name, "ls_init_value", !isnan(v->ls_init_value), tower));
    CG_TRY(check_unused(name, "patch_dropout", v->patch_dropout > 0, tower));
    CG_TRY(check_unused(name, "no_ln_pre", v->no_ln_pre, tower));
    CG_TRY(check_unused(name, "pool_type", v->pool_type != CG_POOL_TOK, tower));
    CG_TRY(check_unused(name, "final_ln_after_pool", v->final_ln_after_pool, tower));
    CG_TRY(check_unused(name, "act", v->act != CG_ACT_DEFAULT, tower));
    CG_TRY(check_unused(name, "norm", v->norm != CG_NORM_LAYER, tower));
    if (v->n_layers != 4)
        return cg_error(CG_EINVAL, "%s: layers is one number, wanted a ResNet's four", name);
    if (v->image_size % 32)
        return cg_error(CG_EINVAL,
                        "%s: image_size %" PRId64
                        " is not a multiple of 32, which a ResNet's strides want",
                        name, v->image_size);
    if (v->width % 2)
        return cg_error(CG_EINVAL, "%s: width %" PRId64 " is odd; the stem halves it", name,
                        v->width);
    return check_divides(name, "head_width", v->head_width, "the features (32 times width)",
                         v->width * 32);
}

static cg_status check_vit(const char *name, const cg_vision_desc *v) {
    if (v->n_layers != 1)
        return cg_error(CG_EINVAL, "%s: layers is a list, wanted a ViT's one number", name);
    CG_TRY(check_divides(name, "patch_size", v->patch_size, "image_size", v->image_size));
    CG_TRY(check_divides(name, "head_width", v->head_width, "width", v->width));
    return check_mlp(name, v->width, v->mlp_ratio);
}

static cg_status check_transformer(const char *name, const cg_text_desc *t) {
    CG_TRY(check_divides(name, "heads", t->heads, "width", t->width));
    CG_TRY(check_mlp(name, t->width, t->mlp_ratio));
    if (t->pad_id >= t->vocab_size)
        return cg_error(CG_EINVAL, "%s: pad_id %" PRId64 " is not below vocab_size %" PRId64, name,
                        t->pad_id, t->vocab_size);
    if (t->pool_type == CG_POOL_EOS && t->eos_id >= t->vocab_size)
        return cg_error(CG_EINVAL, "%s: eos_id %" PRId64 " is not below vocab_size %" PRId64, name,
                        t->eos_id, t->vocab_size);
    return CG_OK;
}

static cg_status check_cbow(const char *name, const cg_text_desc *t) {
    static const char tower[] = "a bag of words";
    CG_TRY(check_unused(name, "ls_init_value", !isnan(t->ls_init_value), tower));
    CG_TRY(check_unused(name, "pool_type", t->pool_type != CG_POOL_ARGMAX, tower));
    CG_TRY(check_unused(name, "no_causal_mask", t->no_causal_mask, tower));
    CG_TRY(check_unused(name, "use_pad_mask", t->use_pad_mask, tower));
    return check_unused(name, "act", t->act != CG_ACT_DEFAULT, tower);
}

static cg_status check_vision(const char *name, const cg_vision_desc *v) {
    switch (cg_vision_arch_of(v)) {
    case CG_VISION_RESNET:
        return check_resnet(name, v);
    default:
        return check_vit(name, v);
    }
}

static cg_status check_text(const char *name, const cg_text_desc *t) {
    switch (t->text_arch) {
    case CG_TEXT_CBOW:
        return check_cbow(name, t);
    default:
        return check_transformer(name, t);
    }
}

cg_status cg_clip_desc_check(const char *name, const cg_clip_desc *d) {
    char part[256];
    if (d->embed_dim == 0) return cg_error(CG_EINVAL, "%s: embed_dim is missing", name);
    CG_TRY(cg_keys_check(name, cg_desc_keys, d));
    snprintf(part, sizeof part, "%s: vision_cfg", name);
    CG_TRY(check_vision(part, &d->vision));
    snprintf(part, sizeof part, "%s: text_cfg", name);
    return check_text(part, &d->text);
}
