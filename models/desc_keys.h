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
} cg_key;

extern const cg_key cg_desc_keys[]; /* of the root; a NULL name ends the list */

/* `path` stands in front of messages. Keys that are absent or null leave *out as it was, but null
 * makes an OPTIONAL NaN. errors  CG_EINVAL, CG_EUNSUPPORTED */
cg_status cg_keys_read(const char *path, const cg_key *keys, const json_t *j, void *out);

/* Each number against its range: a description need not come from a file. */
cg_status cg_keys_check(const char *path, const cg_key *keys, const void *object);

/* A new object with every key; NULL when memory is out. */
json_t *cg_keys_write(const cg_key *keys, const void *object);

#endif
