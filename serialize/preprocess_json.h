/* preprocess_cfg of open_clip's configurations. */
#ifndef CG_PREPROCESS_JSON_H
#define CG_PREPROCESS_JSON_H

#include "data/transform.h"

#include <jansson.h>

/* Reads over the defaults; json NULL: the defaults. `name` stands in messages.
 * errors  CG_EINVAL: unknown key (with the nearest), wrong type or value */
cg_status cg_preprocess_parse(const char *name, const json_t *json, cg_preprocess *out);

/* A new object with every key; NULL when memory is out. */
json_t *cg_preprocess_json(const cg_preprocess *p);

#endif
