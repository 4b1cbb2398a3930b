#include "graph/params.h"

#include "graph/arena.h"
#include "graph/derived.h"
#include "graph/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALIGN = 64,         /* bytes: a cache line, and the widest vector register */
    FIRST_SLOTS = 1024, /* a power of two */
};

struct cg_params {
    cg_arena arena; /* the parameters and their names */
    cg_param **list;
    int count, capacity;
    int *slot; /* open addressing over the names: index + 1, or 0 where free */
    size_t slots;
    unsigned char *block;
    size_t bytes, trained_bytes;
    cg_derived_store derived;
};

cg_status cg_params_create(cg_params **out) {
    cg_params *p = calloc(1, sizeof *p);
    if (p) p->slot = calloc(FIRST_SLOTS, sizeof *p->slot);
    if (!p || !p->slot) {
        free(p);
        return cg_error(CG_ENOMEM, "no memory for a parameter store");
    }
    p->slots = FIRST_SLOTS;
    cg_derived_begin(&p->derived);
    *out = p;
    return CG_OK;
}

void cg_params_free(cg_params *p) {
    if (!p) return;
    cg_derived_end(&p->derived);
    free(p->block);
    free(p->slot);
    free(p->list);
    cg_arena_free(&p->arena);
    free(p);
}

cg_derived_store *cg_params_derived(cg_params *p) {
    return &p->derived;
}

int cg_params_count(const cg_params *p) {
    return p->count;
}

cg_param *cg_params_at(const cg_params *p, int index) {
    return index >= 0 && index < p->count ? p->list[index] : NULL;
}

/* FNV-1a, 64 bits. Names the random stream of a parameter too: it must not change. */
static uint64_t name_hash(const char *name) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

/* The slot that holds name, or the free one where it belongs. */
static size_t slot_of(const cg_params *p, const char *name) {
    size_t i = cg_mix64(name_hash(name)) & (p->slots - 1);
    while (p->slot[i] && strcmp(p->list[p->slot[i] - 1]->name, name) != 0)
        i = (i + 1) & (p->slots - 1);
    return i;
}

cg_param *cg_params_find(const cg_params *p, const char *name) {
    int found = p->slot[slot_of(p, name)];
    return found ? p->list[found - 1] : NULL;
}

/* Room for one more entry: at most half of the slots are used. */
static cg_status reserve(cg_params *p) {
    if (p->count == p->capacity) {
        int capacity = p->capacity ? 2 * p->capacity : 256;
        cg_param **list = realloc(p->list, (size_t)capacity * sizeof *list);
        if (!list) return cg_error(CG_ENOMEM, "no memory for %d parameters", capacity);
        p->list = list;
        p->capacity = capacity;
    }
    if (2 * ((size_t)p->count + 1) > p->slots) {
        int *slot = calloc(2 * p->slots, sizeof *slot);
        if (!slot) return cg_error(CG_ENOMEM, "no memory for %d parameters", p->capacity);
        free(p->slot);
        p->slot = slot;
        p->slots *= 2;
        for (int i = 0; i < p->count; i++) p->slot[slot_of(p, p->list[i]->name)] = i + 1;
    }
    return CG_OK;
}

static cg_status check_same(const cg_param *q, const cg_shape *shape, cg_dtype dtype) {
    if (!cg_shape_equal(&q->shape, shape)) {
        char found[CG_SHAPE_TEXT], wanted[CG_SHAPE_TEXT];
        return cg_error(CG_ESHAPE, "parameter %s: shape %s, but it was declared as %s", q->name,
                        cg_shape_print(shape, found), cg_shape_print(&q->shape, wanted));
    }
    if (q->dtype != dtype)
        return cg_error(CG_EDTYPE, "parameter %s: %s, but it was declared as %s", q->name,
                        cg_dtype_name(dtype), cg_dtype_name(q->dtype));
    return CG_OK;
}

static cg_status check_new(const cg_params *p, const char *name, const cg_shape *shape,
                           cg_param_spec spec) {
    if (p->block)
        return cg_error(CG_EINVAL, "parameter %s: declared after the store was allocated", name);
    if (!*name) return cg_error(CG_EINVAL, "a parameter needs a name");
    cg_status status = cg_shape_check(shape, spec.dtype);
    if (status != CG_OK) return cg_error_in(status, "parameter %s", name);
    if (spec.dtype != CG_F32 && spec.dtype != CG_I64)
        return cg_error(CG_EDTYPE, "parameter %s: %s, wanted f32 or i64", name,
                        cg_dtype_name(spec.dtype));
    if (spec.dtype == CG_I64 && (!spec.state || spec.init != CG_INIT_CONSTANT))
        return cg_error(CG_EDTYPE, "parameter %s: i64 is for constant state only", name);
    return CG_OK;
}

cg_status cg_params_declare(cg_params *p, const char *name, cg_shape shape, cg_param_spec spec,
                            cg_param **out) {
    cg_param *q = cg_params_find(p, name);
    if (q) {
        CG_TRY(check_same(q, &shape, spec.dtype));
    } else {
        CG_TRY(check_new(p, name, &shape, spec));
        CG_TRY(reserve(p));
        q = cg_arena_alloc(&p->arena, sizeof *q);
        char *copy = cg_arena_string(&p->arena, name);
        if (!q || !copy) return cg_error(CG_ENOMEM, "no memory for parameter %s", name);
        *q = (cg_param){.name = copy,
                        .dtype = spec.dtype,
                        .shape = shape,
                        .spec = spec,
                        .index = p->count,
                        .trainable = !spec.state,
                        .decay = !spec.state && shape.rank >= 2,
                        .count = cg_shape_count(&shape)};
        p->list[p->count] = q;
        p->slot[slot_of(p, name)] = ++p->count;
    }
    if (out) *out = q;
    return CG_OK;
}

/* Gives the parameters that are (or are not) trained their offsets, from *end on. */
static cg_status place(cg_params *p, int trainable, size_t *end) {
    for (int i = 0; i < p->count; i++) {
        cg_param *q = p->list[i];
        if (q->trainable != trainable) continue;
        size_t bytes = (size_t)q->count * cg_dtype_size(q->dtype);
        if (bytes > (size_t)INT64_MAX - ALIGN - *end)
            return cg_error(CG_ENOMEM, "parameter %s: the store has too many bytes", q->name);
        q->offset = *end;
        *end += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    }
    return CG_OK;
}

cg_status cg_params_alloc(cg_params *p) {
    if (p->block) return cg_error(CG_EINVAL, "the parameter store is allocated already");
    size_t end = 0;
    CG_TRY(place(p, 1, &end));
    size_t trained = end;
    CG_TRY(place(p, 0, &end));
    p->block = aligned_alloc(ALIGN, end ? end : ALIGN);
    if (!p->block) return cg_error(CG_ENOMEM, "no memory for %zu bytes of parameters", end);
    memset(p->block, 0, end ? end : ALIGN);
    p->bytes = end;
    p->trained_bytes = trained;
    for (int i = 0; i < p->count; i++) p->list[i]->data = p->block + p->list[i]->offset;
    return CG_OK;
}

int64_t cg_params_trained_elements(const cg_params *p) {
    return (int64_t)(p->trained_bytes / sizeof(float));
}

int64_t cg_params_total(const cg_params *p) {
    int64_t total = 0;
    for (int i = 0; i < p->count; i++)
        if (p->list[i]->trainable) total += p->list[i]->count;
    return total;
}

float *cg_params_block(const cg_params *p) {
    return (float *)(void *)p->block;
}

size_t cg_params_bytes(const cg_params *p) {
    return p->bytes;
}

/* Four draws from one block, so that any part of a parameter can be filled on its own. A word
 * w stands for (w + ½)/2³² in (0, 1): f32 holds no more, and it bounds |N(0, 1)| by 6.8. */
static void draw_normal(const uint32_t w[4], float scale, float y[4]) {
    for (int k = 0; k < 4; k += 2) { /* Box-Muller */
        float r = scale * sqrtf(-2.0f * logf((float)(((double)w[k] + 0.5) * 0x1p-32)));
        float angle = (float)(((double)w[k + 1] + 0.5) * (6.283185307179586 * 0x1p-32));
        y[k] = r * cosf(angle);
        y[k + 1] = r * sinf(angle);
    }
}

static void draw_uniform(const uint32_t w[4], float scale, float y[4]) {
    for (int k = 0; k < 4; k++) y[k] = scale * (float)(((double)w[k] + 0.5) * 0x1p-31 - 1.0);
}

static void init_param(const cg_param *q, uint64_t seed) {
    float *x = q->data, y[4];
    if (q->dtype == CG_I64) {
        for (int64_t i = 0; i < q->count; i++) ((int64_t *)q->data)[i] = (int64_t)q->spec.scale;
        return;
    }
    if (q->spec.init == CG_INIT_CONSTANT) {
        for (int64_t i = 0; i < q->count; i++) x[i] = q->spec.scale;
        return;
    }
    cg_rng r = cg_rng_at(seed, CG_RNG_INIT, name_hash(q->name), 0);
    for (int64_t i = 0; i < q->count; i += 4) {
        uint32_t w[4];
        cg_rng_block(&r, (uint64_t)i / 4, w);
        if (q->spec.init == CG_INIT_NORMAL)
            draw_normal(w, q->spec.scale, y);
        else
            draw_uniform(w, q->spec.scale, y);
        int64_t left = q->count - i;
        memcpy(x + i, y, (left < 4 ? (size_t)left : 4) * sizeof *y);
    }
}

void cg_params_init(cg_params *p, uint64_t seed) {
    if (!p->block) return;
    for (int i = 0; i < p->count; i++) init_param(p->list[i], seed);
    cg_params_changed(p);
}
