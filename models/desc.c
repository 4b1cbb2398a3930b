#include "models/desc.h"

#include "models/desc_keys.h"
#include "models/layers.h"

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

/* A file says no more than its towers read; a struct filled by a program may. */
static cg_status check_unused(const char *name, const cg_clip_desc *d) {
    const cg_clip_desc usual = cg_clip_desc_default();
    char part[256];
    snprintf(part, sizeof part, "%s: vision_cfg", name);
    CG_TRY(cg_keys_check_unused(part, cg_vision_keys, (int)cg_vision_arch_of(&d->vision),
                                &d->vision, &usual.vision));
    snprintf(part, sizeof part, "%s: text_cfg", name);
    return cg_keys_check_unused(part, cg_text_keys, (int)d->text.text_arch, &d->text, &usual.text);
}

cg_status cg_clip_desc_parse(const char *name, const struct json_t *json, cg_clip_desc *out) {
    const json_t *hub = json_object_get(json, "model_cfg");
    *out = cg_clip_desc_default();
    CG_TRY(cg_keys_read(name, cg_desc_keys, hub ? hub : json, out));
    CG_TRY(cg_clip_desc_check(name, out));
    return check_unused(name, out);
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
    json_t *j = cg_keys_write(cg_desc_keys, 0, d);
    json_t *vision = cg_keys_write(cg_vision_keys, (int)cg_vision_arch_of(&d->vision), &d->vision);
    json_t *text = cg_keys_write(cg_text_keys, (int)d->text.text_arch, &d->text);
    /* each takes its value, also where it fails */
    int failed = json_object_set_new(j, "vision_cfg", vision) != 0;
    failed |= json_object_set_new(j, "text_cfg", text) != 0;
    if (!failed) return j;
    json_decref(j);
    return NULL;
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
    if (cg_mlp_width(width, ratio) >= 1) return CG_OK;
    return cg_error(CG_EINVAL, "%s: mlp_ratio %g leaves an MLP of width %" PRId64 " no channel",
                    name, (double)ratio, width);
}

static cg_status check_resnet(const char *name, const cg_vision_desc *v) {
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
    if (t->pool_type == CG_POOL_EOS && t->eos_id >= t->vocab_size)
        return cg_error(CG_EINVAL, "%s: eos_id %" PRId64 " is not below vocab_size %" PRId64, name,
                        t->eos_id, t->vocab_size);
    return CG_OK;
}

static cg_status check_vision(const char *name, const cg_vision_desc *v) {
    switch (cg_vision_arch_of(v)) {
    case CG_VISION_RESNET:
        return check_resnet(name, v);
    case CG_VISION_DEFAULT:
    case CG_VISION_VIT:
        break;
    }
    return check_vit(name, v);
}

static cg_status check_text(const char *name, const cg_text_desc *t) {
    if (t->pad_id >= t->vocab_size)
        return cg_error(CG_EINVAL, "%s: pad_id %" PRId64 " is not below vocab_size %" PRId64, name,
                        t->pad_id, t->vocab_size);
    switch (t->text_arch) {
    case CG_TEXT_CBOW:
        return CG_OK;
    case CG_TEXT_TRANSFORMER:
        break;
    }
    return check_transformer(name, t);
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
