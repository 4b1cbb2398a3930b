#include "graph/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64 * 1024 };

typedef struct cg_arena_block {
    struct cg_arena_block *next;
    size_t used, capacity;
    alignas(max_align_t) unsigned char bytes[];
} cg_arena_block;

void *cg_arena_alloc(cg_arena *a, size_t bytes) {
    const size_t align = alignof(max_align_t);
    if (bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + align - 1) / align * align;
    if (bytes == 0) bytes = align; /* every allocation has an address of its own */
    cg_arena_block *b = a->block;
    if (!b || b->capacity - b->used < bytes) {
        size_t capacity = bytes > BLOCK_BYTES / 4 ? bytes : BLOCK_BYTES;
        cg_arena_block *fresh = calloc(1, sizeof *fresh + capacity);
        if (!fresh) return NULL;
        fresh->capacity = capacity;
        if (b && capacity == bytes) { /* full from the start: the current block stays in front */
            fresh->next = b->next;
            b->next = fresh;
        } else {
            fresh->next = b;
            a->block = fresh;
        }
        b = fresh;
    }
    void *p = b->bytes + b->used;
    b->used += bytes;
    return p;
}

char *cg_arena_string(cg_arena *a, const char *s) {
    size_t bytes = strlen(s) + 1;
    char *copy = cg_arena_alloc(a, bytes);
    return copy ? memcpy(copy, s, bytes) : NULL;
}

void cg_arena_free(cg_arena *a) {
    for (cg_arena_block *b = a->block, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    a->block = NULL;
}
