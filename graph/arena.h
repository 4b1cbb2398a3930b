/* An arena: many small allocations, one free. */
#ifndef CG_ARENA_H
#define CG_ARENA_H

#include "graph/status.h"

#include <stddef.h>

CG_API_BEGIN

typedef struct cg_arena {
    struct cg_arena_block *block;
} cg_arena;

/* Zeroed memory aligned for any type, owned by the arena; NULL when memory is out. */
void *cg_arena_alloc(cg_arena *a, size_t bytes);

/* A copy of a string, owned by the arena; NULL when memory is out. */
char *cg_arena_string(cg_arena *a, const char *s);

void cg_arena_free(cg_arena *a);

CG_API_END

#endif
