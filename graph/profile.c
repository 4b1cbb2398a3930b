#include "graph/profile_private.h"

#include "graph/clock.h"
#include "graph/op.h"
#include "graph/rng.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1024 }; /* a power of two */

cg_status cg_profile_create(int64_t trace_events, cg_profile **out) {
    cg_profile *p = *out = calloc(1, sizeof *p);
    if (p) {
        p->slot = calloc(FIRST_SLOTS, sizeof *p->slot);
        p->slots = FIRST_SLOTS;
        p->cap_event = trace_events;
        if (trace_events) p->event = malloc((size_t)trace_events * sizeof *p->event);
    }
    if (p && p->slot && (p->event || !trace_events)) {
        p->begun = cg_now();
        return CG_OK;
    }
    cg_profile_free(p);
    *out = NULL;
    return cg_error(CG_ENOMEM, "no memory for a profile");
}

void cg_profile_free(cg_profile *p) {
    if (!p) return;
    free(p->site);
    free(p->slot);
    free(p->event);
    cg_arena_free(&p->arena);
    free(p);
}

void cg_profile_stop(cg_profile *p) {
    p->ended = cg_now();
}

int64_t cg_profile_runs(const cg_profile *p) {
    return p->n_run;
}

/* --- sites -------------------------------------------------------------------------------- */

static uint64_t hash_text(uint64_t h, const char *s) {
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    return cg_mix64(h);
}

static int same(const cg_site *a, const cg_site *b) {
    return strcmp(a->name, b->name) == 0 && strcmp(a->op, b->op) == 0 &&
           strcmp(a->impl, b->impl) == 0 && strcmp(a->shape, b->shape) == 0 &&
           a->flops == b->flops && a->bytes == b->bytes && a->bf16 == b->bf16;
}

/* The slot of a site, or the free one where it belongs. */
static size_t slot_of(const cg_profile *p, const cg_site *s) {
    uint64_t h = hash_text(hash_text(hash_text((uint64_t)s->bytes, s->name), s->op), s->shape);
    size_t i = h & (p->slots - 1);
    while (p->slot[i] && !same(&p->site[p->slot[i] - 1], s)) i = (i + 1) & (p->slots - 1);
    return i;
}

/* Room for one more: at most half of the slots are used. */
static int reserve(cg_profile *p) {
    if (p->n_site == p->cap_site) {
        int cap = p->cap_site ? 2 * p->cap_site : FIRST_SLOTS / 2;
        cg_site *grown = realloc(p->site, (size_t)cap * sizeof *grown);
        if (!grown) return 0;
        p->site = grown;
        p->cap_site = cap;
    }
    if (2 * ((size_t)p->n_site + 1) > p->slots) {
        int *slot = calloc(2 * p->slots, sizeof *slot);
        if (!slot) return 0;
        free(p->slot);
        p->slot = slot;
        p->slots *= 2;
        for (int i = 0; i < p->n_site; i++) p->slot[slot_of(p, &p->site[i])] = i + 1;
    }
    return 1;
}

/* The index of a site like *wanted, whose texts are copied where it is new; -1: no memory. */
static int intern(cg_profile *p, const cg_site *wanted) {
    int found = p->slot[slot_of(p, wanted)];
    if (found) return found - 1;
    if (!reserve(p)) return -1;
    cg_site s = *wanted;
    s.name = cg_arena_string(&p->arena, s.name);
    s.op = cg_arena_string(&p->arena, s.op);
    s.impl = cg_arena_string(&p->arena, s.impl);
    s.shape = cg_arena_string(&p->arena, s.shape);
    if (!s.name || !s.op || !s.impl || !s.shape) return -1;
    p->site[p->n_site] = s;
    p->slot[slot_of(p, &s)] = p->n_site + 1;
    return p->n_site++;
}

static int64_t bytes_of(const cg_value *v) {
    return cg_shape_count(&v->shape) * (int64_t)cg_dtype_size(v->dtype);
}

/* Operands, each once, and results. */
static int64_t node_bytes(const cg_node *n) {
    int64_t bytes = 0;
    if (n->op->view) return 0;
    for (int i = 0; i < n->n_in; i++) {
        int again = 0;
        for (int k = 0; k < i; k++) again |= n->in[k] == n->in[i];
        int64_t all = bytes_of(n->in[i]), part = bytes_of(n->out[0]);
        bytes += again ? 0 : n->op->selects && i == 0 && part < all ? part : all;
    }
    for (int i = 0; i < n->n_out; i++) bytes += bytes_of(n->out[i]);
    return bytes;
}

cg_status cg_profile_sites(cg_profile *p, const cg_plan *plan, int *site) {
    const cg_graph *g = cg_plan_graph(plan);
    for (int i = 0; i < g->n_node; i++) {
        const cg_node *n = g->node[i];
        char shape[CG_SHAPE_TEXT];
        cg_site s = {.name = n->name,
                     .op = n->op->name,
                     .impl = cg_plan_impl(plan, i),
                     .shape = cg_shape_print(&n->out[0]->shape, shape),
                     .flops = n->op->flops ? n->op->flops(n) : 0,
                     .bytes = node_bytes(n)};
        for (int k = 0; k < n->n_in; k++) s.bf16 |= n->in[k]->dtype == CG_BF16;
        site[i] = intern(p, &s);
        if (site[i] < 0)
            return cg_error(CG_ENOMEM, "no memory to profile a graph of %d nodes", g->n_node);
    }
    return CG_OK;
}

/* --- times -------------------------------------------------------------------------------- */

void cg_profile_add(cg_profile *p, int site, double begin, double end) {
    p->site[site].calls++;
    p->site[site].seconds += end - begin;
    if (p->cap_event)
        p->event[p->n_event++ % p->cap_event] = (cg_event){site, begin - p->begun, end - p->begun};
}

double cg_profile_begin(const cg_profile *p) {
    return p ? cg_now() : 0;
}

void cg_profile_end(cg_profile *p, const char *what, double begun) {
    if (!p) return;
    int site = intern(p, &(cg_site){.name = what, .op = "", .impl = "", .shape = ""});
    if (site >= 0) cg_profile_add(p, site, begun, cg_now());
}
