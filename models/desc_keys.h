/* The keys of a model description: one table reads, checks, writes and names them. Private. */
#ifndef CG_MODELS_DESC_KEYS_H
#define CG_MODELS_DESC_KEYS_H

#include "models/desc.h"

#include <jansson.h>

typedef enum cg_key_type {
    CG_KEY_INT,
    CG_KEY_FLOAT,
    CG_KEY_OPTIONAL, /* a number, or null: NaN */
    CG_KEY_BOOL,
    CG_KEY_CHOICE, /* an enumeration by its words */
    CG_KEY_LAYERS, /* a number makes a ViT, a list of four a ResNet */
    CG_KEY_OBJECT,
} cg_key_type;

typedef struct cg_key {
    const char *name;
    cg_key_type type;
    size_t offset;
    double low, high;         /* the range of a number */
    const char *const *words; /* of a choice, NULL at the end; a NULL before that is written null */
    int n_words;
    const struct cg_key *child; /* the keys of an object */
    unsigned towers;            /* which kinds of tower read it, bits by the arch; 0: all */
} cg_key;

/* Of the root, and of its objects; a NULL name ends a list. */
extern const cg_key cg_desc_keys[], cg_vision_keys[], cg_text_keys[];

/* `path` stands in front of messages. Keys that are absent or null leave *out as it was, but null
 * makes an OPTIONAL NaN. errors  CG_EINVAL, CG_EUNSUPPORTED */
cg_status cg_keys_read(const char *path, const cg_key *keys, const json_t *j, void *out);

/* Each number against its range: a description need not come from a file. */
cg_status cg_keys_check(const char *path, const cg_key *keys, const void *object);

/* Refuses keys that towers of kind `arch` (the first key's number) do not read, where they are not
 * as in `usual`: they would look as if they did something. errors  CG_EINVAL */
cg_status cg_keys_check_unused(const char *path, const cg_key *keys, int arch, const void *object,
                               const void *usual);

/* A new object with every key that towers of kind `arch` read; NULL when memory is out. */
json_t *cg_keys_write(const cg_key *keys, int arch, const void *object);

#endif
