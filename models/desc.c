#include "models/desc.h"

#include "graph/decimal.h"
#include "graph/nearest.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- the keys: one table reads, writes and names them ----------------------------------------- */

typedef enum key_type { INT, FLOAT, LAYERS, TEXT_ARCH, VISION, TEXT } key_type;

typedef struct key {
    const char *name;
    key_type type;
    size_t offset;
    double low, high; /* the range of a number */
} key;

#define VISION_KEY(name, type, low, high)                                                          \
    { #name, type, offsetof(cg_vision_desc, name), low, high }
#define TEXT_KEY(name, type, low, high)                                                            \
    { #name, type, offsetof(cg_text_desc, name), low, high }
#define ROOT_KEY(name, type, low, high)                                                            \
    { #name, type, offsetof(cg_clip_desc, name), low, high }

static const key vision_keys[] = {
    VISION_KEY(image_size, INT, 1, 4096),
    VISION_KEY(layers, LAYERS, 1, 1000),
    VISION_KEY(width, INT, 1, 65536),
    VISION_KEY(head_width, INT, 1, 65536),
    {0},
};

static const key text_keys[] = {
    TEXT_KEY(text_arch, TEXT_ARCH, 0, 0),
    TEXT_KEY(context_length, INT, 3, 1 << 20),
    TEXT_KEY(vocab_size, INT, 3, 1 << 24),
    TEXT_KEY(width, INT, 1, 65536),
    TEXT_KEY(heads, INT, 1, 65536),
    TEXT_KEY(layers, INT, 0, 1000),
    {0},
};

static const key root_keys[] = {
    ROOT_KEY(embed_dim, INT, 1, 65536),
    {"vision_cfg", VISION, offsetof(cg_clip_desc, vision), 0, 0},
    {"text_cfg", TEXT, offsetof(cg_clip_desc, text), 0, 0},
    ROOT_KEY(init_logit_scale, FLOAT, -10, 10),
    {0},
};

static const char *const arch_names[] = {"transformer", "cbow", NULL};

cg_clip_desc cg_clip_desc_default(void) {
    return (cg_clip_desc){
        .vision =
            {.image_size = 224, .layers = {12}, .n_layers = 1, .width = 768, .head_width = 64},
        .text = {.text_arch = CG_TEXT_TRANSFORMER,
                 .context_length = 77,
                 .vocab_size = 49408,
                 .width = 512,
                 .heads = 8,
                 .layers = 12},
        .init_logit_scale = 2.6592600f, /* ln(1/0.07) */
    };
}

/* --- reading ---------------------------------------------------------------------------------- */

static cg_status wrong_type(const char *path, const char *wanted, const json_t *found) {
    static const char *const type[] = {"an object", "a list", "a string", "a whole number",
                                       "a number",  "true",   "false",    "null"};
    return cg_error(CG_EINVAL, "%s: found %s, wanted %s", path, type[json_typeof(found)], wanted);
}

static cg_status check_int(const char *path, const key *k, int64_t x) {
    if ((double)x >= k->low && (double)x <= k->high) return CG_OK;
    return cg_error(CG_EINVAL, "%s: found %" PRId64 ", wanted %.0f to %.0f", path, x, k->low,
                    k->high);
}

static cg_status check_float(const char *path, const key *k, double x) {
    if (x >= k->low && x <= k->high) return CG_OK;
    return cg_error(CG_EINVAL, "%s: found %g, wanted %g to %g", path, x, k->low, k->high);
}

static cg_status read_int(const char *path, const key *k, const json_t *j, int64_t *out) {
    if (!json_is_integer(j)) return wrong_type(path, "a whole number", j);
    *out = json_integer_value(j);
    return check_int(path, k, *out);
}

static cg_status read_float(const char *path, const key *k, const json_t *j, float *out) {
    if (!json_is_number(j)) return wrong_type(path, "a number", j);
    CG_TRY(check_float(path, k, json_number_value(j)));
    *out = (float)json_number_value(j);
    return CG_OK;
}

/* A number makes a ViT, a list of four a ResNet. */
static cg_status read_layers(const char *path, const key *k, const json_t *j, cg_vision_desc *v) {
    if (json_is_integer(j)) {
        v->n_layers = 1;
        return read_int(path, k, j, &v->layers[0]);
    }
    if (!json_is_array(j) || json_array_size(j) != 4)
        return wrong_type(path, "a whole number, or a list of four", j);
    v->n_layers = 4;
    for (size_t i = 0; i < 4; i++) CG_TRY(read_int(path, k, json_array_get(j, i), &v->layers[i]));
    return CG_OK;
}

static cg_status read_arch(const char *path, const json_t *j, cg_text_arch *out) {
    if (!json_is_string(j)) return wrong_type(path, "\"transformer\" or \"cbow\"", j);
    for (int i = 0; arch_names[i]; i++)
        if (strcmp(json_string_value(j), arch_names[i]) == 0) {
            *out = (cg_text_arch)i;
            return CG_OK;
        }
    return cg_error(CG_EINVAL, "%s: found \"%s\", wanted \"transformer\" or \"cbow\"", path,
                    json_string_value(j));
}

static cg_status unknown_key(const char *path, const char *name, const key *keys) {
    const char *known[16] = {0};
    for (int i = 0; keys[i].name; i++) known[i] = keys[i].name;
    const char *nearest = cg_nearest(name, known);
    return nearest ? cg_error(CG_EINVAL, "%s: unknown key \"%s\"; did you mean \"%s\"?", path, name,
                              nearest)
                   : cg_error(CG_EINVAL, "%s: unknown key \"%s\"", path, name);
}

static cg_status read_object(const char *path, const key *keys, const json_t *j, void *out);

static cg_status read_key(const char *path, const key *k, const json_t *j, void *object) {
    void *at = (char *)object + k->offset;
    switch (k->type) {
    case INT:
        return read_int(path, k, j, at);
    case FLOAT:
        return read_float(path, k, j, at);
    case LAYERS:
        return read_layers(path, k, j, object);
    case TEXT_ARCH:
        return read_arch(path, j, at);
    case VISION:
        return read_object(path, vision_keys, j, at);
    default:
        return read_object(path, text_keys, j, at);
    }
}

static cg_status read_object(const char *path, const key *keys, const json_t *j, void *out) {
    if (!json_is_object(j)) return wrong_type(path, "an object", j);
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)j, name, value) {
        char inner[512];
        const key *k = keys;
        while (k->name && strcmp(k->name, name) != 0) k++;
        if (!k->name) return unknown_key(path, name, keys);
        snprintf(inner, sizeof inner, "%s: %s", path, name);
        CG_TRY(read_key(inner, k, value, out));
    }
    return CG_OK;
}

cg_status cg_clip_desc_parse(const char *name, const struct json_t *json, cg_clip_desc *out) {
    const json_t *hub = json_object_get(json, "model_cfg");
    *out = cg_clip_desc_default();
    CG_TRY(read_object(name, root_keys, hub ? hub : json, out));
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

/* --- checking --------------------------------------------------------------------------------- */

static cg_status check_resnet(const char *name, const cg_vision_desc *v) {
    if (v->image_size % 32)
        return cg_error(CG_EINVAL,
                        "%s: vision_cfg: image_size %" PRId64
                        " is not a multiple of 32, which a ResNet's strides want",
                        name, v->image_size);
    if (v->width % 2)
        return cg_error(CG_EINVAL, "%s: vision_cfg: width %" PRId64 " is odd; the stem halves it",
                        name, v->width);
    if (v->width * 32 % v->head_width)
        return cg_error(CG_EINVAL,
                        "%s: vision_cfg: head_width %" PRId64 " does not divide the %" PRId64
                        " features of width %" PRId64,
                        name, v->head_width, v->width * 32, v->width);
    return CG_OK;
}

static cg_status check_layers(const char *path, const key *k, const cg_vision_desc *v) {
    if (v->n_layers != 1 && v->n_layers != 4)
        return cg_error(CG_EINVAL, "%s: found %" PRId64 " numbers, wanted 1 or 4", path,
                        v->n_layers);
    for (int64_t i = 0; i < v->n_layers; i++) CG_TRY(check_int(path, k, v->layers[i]));
    return CG_OK;
}

static cg_status check_arch(const char *path, cg_text_arch arch) {
    int known = 0;
    for (int i = 0; arch_names[i]; i++) known |= (int)arch == i;
    return known ? CG_OK : cg_error(CG_EINVAL, "%s: no such kind, %d", path, (int)arch);
}

/* Each number against its range: a description need not come from a file. */
static cg_status check_object(const char *path, const key *keys, const void *object) {
    for (const key *k = keys; k->name; k++) {
        const void *at = (const char *)object + k->offset;
        char inner[512];
        cg_status s = CG_OK;
        snprintf(inner, sizeof inner, "%s: %s", path, k->name);
        switch (k->type) {
        case INT:
            s = check_int(inner, k, *(const int64_t *)at);
            break;
        case FLOAT:
            s = check_float(inner, k, (double)*(const float *)at);
            break;
        case LAYERS:
            s = check_layers(inner, k, object);
            break;
        case TEXT_ARCH:
            s = check_arch(inner, *(const cg_text_arch *)at);
            break;
        case VISION:
            s = check_object(inner, vision_keys, at);
            break;
        case TEXT:
            s = check_object(inner, text_keys, at);
            break;
        }
        CG_TRY(s);
    }
    return CG_OK;
}

cg_status cg_clip_desc_check(const char *name, const cg_clip_desc *d) {
    if (d->embed_dim == 0) return cg_error(CG_EINVAL, "%s: embed_dim is missing", name);
    CG_TRY(check_object(name, root_keys, d));
    if (d->vision.n_layers != 4)
        return cg_error(CG_EUNSUPPORTED,
                        "%s: vision_cfg: layers is one number, which asks for a ViT: only ResNets "
                        "(a list of four) are built",
                        name);
    if (d->text.text_arch != CG_TEXT_CBOW)
        return cg_error(CG_EUNSUPPORTED,
                        "%s: text_cfg: text_arch is \"transformer\": only \"cbow\" is built", name);
    return check_resnet(name, &d->vision);
}

/* --- writing ---------------------------------------------------------------------------------- */

static json_t *write_object(const key *keys, const void *object);

static json_t *write_key(const key *k, const void *object) {
    const void *at = (const char *)object + k->offset;
    const cg_vision_desc *v = object;
    switch (k->type) {
    case INT:
        return json_integer(*(const int64_t *)at);
    case FLOAT:
        return json_real(cg_decimal(*(const float *)at));
    case LAYERS:
        if (v->n_layers == 1) return json_integer(v->layers[0]);
        return json_pack("[I,I,I,I]", (json_int_t)v->layers[0], (json_int_t)v->layers[1],
                         (json_int_t)v->layers[2], (json_int_t)v->layers[3]);
    case TEXT_ARCH:
        return json_string(arch_names[*(const cg_text_arch *)at]);
    case VISION:
        return write_object(vision_keys, at);
    default:
        return write_object(text_keys, at);
    }
}

static json_t *write_object(const key *keys, const void *object) {
    json_t *j = json_object();
    for (; j && keys->name; keys++)
        if (json_object_set_new(j, keys->name, write_key(keys, object)) != 0) {
            json_decref(j);
            j = NULL;
        }
    return j;
}

struct json_t *cg_clip_desc_json(const cg_clip_desc *d) {
    return write_object(root_keys, d);
}
