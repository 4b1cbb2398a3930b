/* Shapes as JSON lists. */
#ifndef CG_SHAPE_JSON_H
#define CG_SHAPE_JSON_H

#include "graph/types.h"

#include <jansson.h>

/* A new list of the dimensions; NULL when memory is out. */
static inline json_t *cg_shape_json(const cg_shape *s) {
    json_t *list = json_array();
    for (int i = 0; i < s->rank; i++) json_array_append_new(list, json_integer(s->dim[i]));
    return list;
}

#endif
