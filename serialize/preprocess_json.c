#include "serialize/preprocess_json.h"

#include "graph/decimal.h"
#include "graph/nearest.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const interpolations[] = {"bicubic", "bilinear", NULL};
static const char *const resize_modes[] = {"shortest", "longest", "squash", NULL};
static const char *const modes[] = {"RGB", NULL};
static const char *const keys[] = {"size",          "mode",        "mean",       "std",
                                   "interpolation", "resize_mode", "fill_color", NULL};

/* One of several words; returns its number in *out. */
static cg_status read_word(const char *name, const char *key, const json_t *j,
                           const char *const *words, int *out) {
    const char *text = json_string_value(j);
    for (int i = 0; text && words[i]; i++)
        if (strcmp(text, words[i]) == 0) {
            *out = i;
            return CG_OK;
        }
    char known[128] = "";
    for (int i = 0; words[i]; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s\"%s\"", i ? ", " : "",
                 words[i]);
    return cg_error(CG_EINVAL, "%s: %s: found %s%s%s, wanted one of %s", name, key,
                    text ? "\"" : "", text ? text : "no string", text ? "\"" : "", known);
}

static cg_status read_triple(const char *name, const char *key, const json_t *j, double low,
                             double high, float out[3]) {
    if (!json_is_array(j) || json_array_size(j) != 3)
        return cg_error(CG_EINVAL, "%s: %s: wanted a list of three numbers", name, key);
    for (size_t i = 0; i < 3; i++) {
        const json_t *x = json_array_get(j, i);
        double value = json_number_value(x);
        if (!json_is_number(x) || !(value > low && value <= high))
            return cg_error(CG_EINVAL, "%s: %s: wanted three numbers above %g, up to %g", name, key,
                            low, high);
        out[i] = (float)value;
    }
    return CG_OK;
}

/* A number, or a pair of two equal ones: towers read squares. */
static cg_status read_size(const char *name, const json_t *j, int *out) {
    const json_t *side = json_is_array(j) ? json_array_get(j, 0) : j;
    const json_t *other = json_is_array(j) ? json_array_get(j, 1) : j;
    json_int_t x = json_integer_value(side);
    if (!json_is_integer(side) || x != json_integer_value(other) || x < 1 || x > 4096)
        return cg_error(CG_EINVAL,
                        "%s: size: wanted a whole number from 1 to 4096, or two equal "
                        "ones",
                        name);
    *out = (int)x;
    return CG_OK;
}

static cg_status read_fill(const char *name, const json_t *j, uint8_t fill[3]) {
    for (size_t i = 0; i < 3; i++) {
        const json_t *x = json_is_array(j) ? json_array_get(j, i) : j;
        json_int_t value = json_integer_value(x);
        if (!json_is_integer(x) || value < 0 || value > 255)
            return cg_error(CG_EINVAL, "%s: fill_color: wanted 0 to 255, or three of them", name);
        fill[i] = (uint8_t)value;
    }
    return CG_OK;
}

static cg_status read_key(const char *name, const char *key, const json_t *j, cg_preprocess *p) {
    int word = 0;
    if (strcmp(key, "size") == 0) return read_size(name, j, &p->size);
    if (strcmp(key, "mode") == 0) return read_word(name, key, j, modes, &word);
    if (strcmp(key, "mean") == 0) return read_triple(name, key, j, -1e3, 1e3, p->mean);
    if (strcmp(key, "std") == 0) return read_triple(name, key, j, 0, 1e3, p->std);
    if (strcmp(key, "fill_color") == 0) return read_fill(name, j, p->fill);
    if (strcmp(key, "interpolation") == 0) {
        CG_TRY(read_word(name, key, j, interpolations, &word));
        p->interpolation = (cg_interpolation)word;
        return CG_OK;
    }
    if (strcmp(key, "resize_mode") == 0) {
        CG_TRY(read_word(name, key, j, resize_modes, &word));
        p->resize_mode = (cg_resize_mode)word;
        return CG_OK;
    }
    const char *nearest = cg_nearest(key, keys);
    return nearest ? cg_error(CG_EINVAL, "%s: unknown key \"%s\"; did you mean \"%s\"?", name, key,
                              nearest)
                   : cg_error(CG_EINVAL, "%s: unknown key \"%s\"", name, key);
}

cg_status cg_preprocess_parse(const char *name, const json_t *json, cg_preprocess *out) {
    *out = cg_preprocess_default();
    if (!json) return CG_OK;
    if (!json_is_object(json)) return cg_error(CG_EINVAL, "%s: wanted an object", name);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
        CG_TRY(read_key(name, key, value, out));
    return CG_OK;
}

json_t *cg_preprocess_json(const cg_preprocess *p) {
    return json_pack("{s:i, s:s, s:[f,f,f], s:[f,f,f], s:s, s:s, s:[i,i,i]}", "size", p->size,
                     "mode", "RGB", "mean", cg_decimal(p->mean[0]), cg_decimal(p->mean[1]),
                     cg_decimal(p->mean[2]), "std", cg_decimal(p->std[0]), cg_decimal(p->std[1]),
                     cg_decimal(p->std[2]), "interpolation", interpolations[p->interpolation],
                     "resize_mode", resize_modes[p->resize_mode], "fill_color", p->fill[0],
                     p->fill[1], p->fill[2]);
}
