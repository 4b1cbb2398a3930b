#include "models/desc_keys.h"

#include "graph/decimal.h"
#include "graph/nearest.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- the table -------------------------------------------------------------------------------- */

static const char *const vision_arch_words[] = {NULL, "resnet", "vit"};
static const char *const text_arch_words[] = {"transformer", "cbow"};
static const char *const act_words[] = {NULL, "gelu", "gelu_tanh", "quickgelu", "relu", "silu"};
static const char *const norm_words[] = {"layernorm", "rmsnorm"};
static const char *const vision_pool_words[] = {"tok", "avg"};
static const char *const text_pool_words[] = {"argmax", "eos", "first", "last"};

#define NUMBER(type, field, kind, low, high, towers)                                               \
    { #field, CG_KEY_##kind, offsetof(type, field), low, high, NULL, 0, NULL, towers }
#define BOOL(type, field, towers)                                                                  \
    { #field, CG_KEY_BOOL, offsetof(type, field), 0, 1, NULL, 0, NULL, towers }
#define CHOICE(type, field, list, towers)                                                          \
    {                                                                                              \
#field, CG_KEY_CHOICE, offsetof(type, field), 0, 0, list, sizeof(list) / sizeof *(list),   \
            NULL, towers                                                                           \
    }
#define OBJECT(name, type, field, keys)                                                            \
    { name, CG_KEY_OBJECT, offsetof(type, field), 0, 0, NULL, 0, keys, 0 }

enum { ALL = 0, VIT = 1 << CG_VISION_VIT, TRANSFORMER = 1 << CG_TEXT_TRANSFORMER };

const cg_key cg_vision_keys[] = {
    CHOICE(cg_vision_desc, vision_arch, vision_arch_words, ALL),
    NUMBER(cg_vision_desc, image_size, INT, 1, 4096, ALL),
    NUMBER(cg_vision_desc, layers, LAYERS, 1, 1000, ALL),
    NUMBER(cg_vision_desc, width, INT, 1, 65536, ALL),
    NUMBER(cg_vision_desc, head_width, INT, 1, 65536, ALL),
    NUMBER(cg_vision_desc, patch_size, INT, 1, 4096, VIT),
    NUMBER(cg_vision_desc, mlp_ratio, FLOAT, 0.015625, 64, VIT),
    NUMBER(cg_vision_desc, ls_init_value, OPTIONAL, -100, 100, VIT),
    NUMBER(cg_vision_desc, patch_dropout, FLOAT, 0, 0.984375, VIT),
    BOOL(cg_vision_desc, no_ln_pre, VIT),
    CHOICE(cg_vision_desc, pool_type, vision_pool_words, VIT),
    BOOL(cg_vision_desc, final_ln_after_pool, VIT),
    CHOICE(cg_vision_desc, act, act_words, VIT),
    CHOICE(cg_vision_desc, norm, norm_words, VIT),
    {0},
};

const cg_key cg_text_keys[] = {
    CHOICE(cg_text_desc, text_arch, text_arch_words, ALL),
    NUMBER(cg_text_desc, context_length, INT, 3, 1 << 20, ALL),
    NUMBER(cg_text_desc, vocab_size, INT, 3, 1 << 24, ALL),
    NUMBER(cg_text_desc, width, INT, 1, 65536, ALL),
    NUMBER(cg_text_desc, heads, INT, 1, 65536, TRANSFORMER),
    NUMBER(cg_text_desc, layers, INT, 0, 1000, TRANSFORMER),
    NUMBER(cg_text_desc, mlp_ratio, FLOAT, 0.015625, 64, TRANSFORMER),
    NUMBER(cg_text_desc, ls_init_value, OPTIONAL, -100, 100, TRANSFORMER),
    CHOICE(cg_text_desc, pool_type, text_pool_words, TRANSFORMER),
    NUMBER(cg_text_desc, pad_id, INT, 0, 1 << 24, ALL),
    NUMBER(cg_text_desc, eos_id, INT, 0, 1 << 24, TRANSFORMER),
    BOOL(cg_text_desc, no_causal_mask, TRANSFORMER),
    BOOL(cg_text_desc, use_pad_mask, TRANSFORMER),
    BOOL(cg_text_desc, proj_bias, ALL),
    CHOICE(cg_text_desc, act, act_words, TRANSFORMER),
    CHOICE(cg_text_desc, norm, norm_words, ALL),
    {0},
};

const cg_key cg_desc_keys[] = {
    NUMBER(cg_clip_desc, embed_dim, INT, 1, 65536, ALL),
    OBJECT("vision_cfg", cg_clip_desc, vision, cg_vision_keys),
    OBJECT("text_cfg", cg_clip_desc, text, cg_text_keys),
    BOOL(cg_clip_desc, quick_gelu, ALL),
    NUMBER(cg_clip_desc, init_logit_scale, FLOAT, -10, 10, ALL),
    NUMBER(cg_clip_desc, init_logit_bias, OPTIONAL, -1000, 1000, ALL),
    {0},
};

/* --- reading ---------------------------------------------------------------------------------- */

static cg_status wrong_type(const char *path, const char *wanted, const json_t *found) {
    static const char *const type[] = {"an object", "a list", "a string", "a whole number",
                                       "a number",  "true",   "false",    "null"};
    return cg_error(CG_EINVAL, "%s: found %s, wanted %s", path, type[json_typeof(found)], wanted);
}

static cg_status check_int(const char *path, const cg_key *k, int64_t x) {
    if ((double)x >= k->low && (double)x <= k->high) return CG_OK;
    return cg_error(CG_EINVAL, "%s: found %" PRId64 ", wanted %.0f to %.0f", path, x, k->low,
                    k->high);
}

static cg_status check_float(const char *path, const cg_key *k, double x) {
    if (x >= k->low && x <= k->high) return CG_OK;
    return cg_error(CG_EINVAL, "%s: found %g, wanted %g to %g", path, x, k->low, k->high);
}

static cg_status read_int(const char *path, const cg_key *k, const json_t *j, int64_t *out) {
    if (!json_is_integer(j)) return wrong_type(path, "a whole number", j);
    *out = json_integer_value(j);
    return check_int(path, k, *out);
}

static cg_status read_float(const char *path, const cg_key *k, const json_t *j, float *out) {
    if (!json_is_number(j)) return wrong_type(path, "a number", j);
    CG_TRY(check_float(path, k, json_number_value(j)));
    *out = (float)json_number_value(j);
    return CG_OK;
}

static cg_status read_bool(const char *path, const json_t *j, int *out) {
    if (!json_is_boolean(j)) return wrong_type(path, "true or false", j);
    *out = json_is_true(j);
    return CG_OK;
}

static cg_status read_layers(const char *path, const cg_key *k, const json_t *j,
                             cg_vision_desc *v) {
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

/* "a", "b" or "c" */
static void list_words(const cg_key *k, char *out, size_t room) {
    size_t used = 0;
    for (int i = 0; i < k->n_words && used < room; i++) {
        const char *before = used == 0 ? "" : i == k->n_words - 1 ? " or " : ", ";
        if (k->words[i])
            used += (size_t)snprintf(out + used, room - used, "%s\"%s\"", before, k->words[i]);
    }
}

/* Enumerations are ints in the struct. */
static cg_status read_choice(const char *path, const cg_key *k, const json_t *j, int *out) {
    char wanted[256] = "";
    list_words(k, wanted, sizeof wanted);
    if (!json_is_string(j)) return wrong_type(path, wanted, j);
    for (int i = 0; i < k->n_words; i++)
        if (k->words[i] && strcmp(json_string_value(j), k->words[i]) == 0) {
            *out = i;
            return CG_OK;
        }
    return cg_error(CG_EINVAL, "%s: found \"%s\", wanted %s", path, json_string_value(j), wanted);
}

static cg_status read_key(const char *path, const cg_key *k, const json_t *j, void *object) {
    void *at = (char *)object + k->offset;
    if (json_is_null(j) && k->type != CG_KEY_OBJECT) {
        if (k->type == CG_KEY_OPTIONAL) *(float *)at = NAN;
        return CG_OK;
    }
    switch (k->type) {
    case CG_KEY_INT:
        return read_int(path, k, j, at);
    case CG_KEY_FLOAT:
    case CG_KEY_OPTIONAL:
        return read_float(path, k, j, at);
    case CG_KEY_BOOL:
        return read_bool(path, j, at);
    case CG_KEY_CHOICE:
        return read_choice(path, k, j, at);
    case CG_KEY_LAYERS:
        return read_layers(path, k, j, object);
    default:
        return cg_keys_read(path, k->child, j, at);
    }
}

/* Towers of other libraries have keys of their own in open_clip's files. */
static cg_status unknown_key(const char *path, const char *name, const cg_key *keys) {
    const char *known[32] = {0};
    if (strncmp(name, "timm_", 5) == 0 || strncmp(name, "hf_", 3) == 0)
        return cg_error(CG_EUNSUPPORTED, "%s: key \"%s\" asks for a tower of another library", path,
                        name);
    for (int i = 0; keys[i].name; i++) known[i] = keys[i].name;
    const char *nearest = cg_nearest(name, known);
    return nearest ? cg_error(CG_EINVAL, "%s: unknown key \"%s\"; did you mean \"%s\"?", path, name,
                              nearest)
                   : cg_error(CG_EINVAL, "%s: unknown key \"%s\"", path, name);
}

cg_status cg_keys_read(const char *path, const cg_key *keys, const json_t *j, void *out) {
    if (!json_is_object(j)) return wrong_type(path, "an object", j);
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)j, name, value) {
        char inner[512];
        const cg_key *k = keys;
        while (k->name && strcmp(k->name, name) != 0) k++;
        if (!k->name) return unknown_key(path, name, keys);
        snprintf(inner, sizeof inner, "%s: %s", path, name);
        CG_TRY(read_key(inner, k, value, out));
    }
    return CG_OK;
}

/* --- checking --------------------------------------------------------------------------------- */

static cg_status check_layers(const char *path, const cg_key *k, const cg_vision_desc *v) {
    if (v->n_layers != 1 && v->n_layers != 4)
        return cg_error(CG_EINVAL, "%s: found %" PRId64 " numbers, wanted 1 or 4", path,
                        v->n_layers);
    for (int64_t i = 0; i < v->n_layers; i++) CG_TRY(check_int(path, k, v->layers[i]));
    return CG_OK;
}

static cg_status check_choice(const char *path, const cg_key *k, int x) {
    if (x >= 0 && x < k->n_words) return CG_OK;
    return cg_error(CG_EINVAL, "%s: no such kind, %d", path, x);
}

static cg_status check_key(const char *path, const cg_key *k, const void *object) {
    const void *at = (const char *)object + k->offset;
    switch (k->type) {
    case CG_KEY_INT:
        return check_int(path, k, *(const int64_t *)at);
    case CG_KEY_OPTIONAL:
        if (isnan(*(const float *)at)) return CG_OK;
        return check_float(path, k, (double)*(const float *)at);
    case CG_KEY_FLOAT:
        return check_float(path, k, (double)*(const float *)at);
    case CG_KEY_BOOL:
        return CG_OK; /* any int is a truth value */
    case CG_KEY_CHOICE:
        return check_choice(path, k, *(const int *)at);
    case CG_KEY_LAYERS:
        return check_layers(path, k, object);
    default:
        return cg_keys_check(path, k->child, at);
    }
}

cg_status cg_keys_check(const char *path, const cg_key *keys, const void *object) {
    for (const cg_key *k = keys; k->name; k++) {
        char inner[512];
        snprintf(inner, sizeof inner, "%s: %s", path, k->name);
        CG_TRY(check_key(inner, k, object));
    }
    return CG_OK;
}

/* --- writing ---------------------------------------------------------------------------------- */

static json_t *write_number(float x) {
    return isnan(x) ? json_null() : json_real(cg_decimal(x));
}

static json_t *write_layers(const cg_vision_desc *v) {
    if (v->n_layers == 1) return json_integer(v->layers[0]);
    return json_pack("[I,I,I,I]", (json_int_t)v->layers[0], (json_int_t)v->layers[1],
                     (json_int_t)v->layers[2], (json_int_t)v->layers[3]);
}

static json_t *write_key(const cg_key *k, const void *object) {
    const void *at = (const char *)object + k->offset;
    switch (k->type) {
    case CG_KEY_INT:
        return json_integer(*(const int64_t *)at);
    case CG_KEY_FLOAT:
    case CG_KEY_OPTIONAL:
        return write_number(*(const float *)at);
    case CG_KEY_BOOL:
        return json_boolean(*(const int *)at);
    case CG_KEY_CHOICE: {
        const char *word = k->words[*(const int *)at];
        return word ? json_string(word) : json_null();
    }
    case CG_KEY_LAYERS:
        return write_layers(object);
    default:
        return NULL; /* an object's keys depend on its tower: cg_clip_desc_json writes them */
    }
}

/* Does a tower of kind `arch` read the key? */
static int is_read(const cg_key *k, int arch) {
    return !k->towers || k->towers >> arch & 1;
}

json_t *cg_keys_write(const cg_key *keys, int arch, const void *object) {
    json_t *j = json_object();
    for (; j && keys->name; keys++) {
        if (keys->type == CG_KEY_OBJECT || !is_read(keys, arch)) continue;
        if (json_object_set_new(j, keys->name, write_key(keys, object)) == 0) continue;
        json_decref(j);
        j = NULL;
    }
    return j;
}

cg_status cg_keys_check_unused(const char *path, const cg_key *keys, int arch, const void *object,
                               const void *usual) {
    const char *tower = keys[0].words[arch];
    for (; keys->name; keys++) {
        if (is_read(keys, arch)) continue;
        json_t *x = write_key(keys, object), *y = write_key(keys, usual);
        int same = x && y && json_equal(x, y);
        json_decref(x);
        json_decref(y);
        if (!same)
            return cg_error(CG_EINVAL, "%s: %s is set, but a tower of kind \"%s\" does not read it",
                            path, keys->name, tower);
    }
    return CG_OK;
}
