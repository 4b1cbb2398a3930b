#include "serialize/onnx/names.h"

#include "graph/rng.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void cg_onnx_names_free(cg_onnx_names *t) {
    free(t->slot);
    *t = (cg_onnx_names){0};
}

/* The slot that holds name, or the free one where it belongs. */
static size_t slot_of(const cg_onnx_names *t, const char *name) {
    uint64_t h = 0xcbf29ce484222325u;
    for (const char *c = name; *c; c++) h = (h ^ (unsigned char)*c) * 0x100000001b3u;
    size_t i = cg_mix64(h) & (t->slots - 1);
    while (t->slot[i].name && strcmp(t->slot[i].name, name) != 0) i = (i + 1) & (t->slots - 1);
    return i;
}

int cg_onnx_names_get(const cg_onnx_names *t, const char *name) {
    if (!t->slots) return -1;
    const struct cg_onnx_name *s = &t->slot[slot_of(t, name)];
    return s->name ? s->number : -1;
}

/* At most half of the slots are used. */
static cg_status grow(cg_onnx_names *t) {
    cg_onnx_names bigger = {.slots = t->slots ? 2 * t->slots : 256, .used = t->used};
    bigger.slot = calloc(bigger.slots, sizeof *bigger.slot);
    if (!bigger.slot) return cg_error(CG_ENOMEM, "no memory for %zu names", t->used);
    for (size_t i = 0; i < t->slots; i++)
        if (t->slot[i].name) bigger.slot[slot_of(&bigger, t->slot[i].name)] = t->slot[i];
    free(t->slot);
    *t = bigger;
    return CG_OK;
}

cg_status cg_onnx_names_set(cg_onnx_names *t, const char *name, int number) {
    if (2 * (t->used + 1) > t->slots) CG_TRY(grow(t));
    struct cg_onnx_name *s = &t->slot[slot_of(t, name)];
    t->used += !s->name;
    *s = (struct cg_onnx_name){name, number};
    return CG_OK;
}
