/* Offsets for the arena: greedy first fit, in several orders.
 *
 * source  Pisarchyk and Lee, "Efficient memory management for deep neural net inference",
 *         arXiv:2001.03288: greedy by size; greedy by breadth is their other order */
#include "graph/plan_private.h"

#include <stdlib.h>
#include <string.h>

static int by_size(const void *a, const void *b) {
    const cg_storage *x = *(cg_storage *const *)a, *y = *(cg_storage *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->first != y->first ? (x->first < y->first ? -1 : 1) : (x < y ? -1 : x > y);
}

static int by_birth(const void *a, const void *b) {
    const cg_storage *x = *(cg_storage *const *)a, *y = *(cg_storage *const *)b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return by_size(a, b);
}

static int by_length(const void *a, const void *b) {
    const cg_storage *x = *(cg_storage *const *)a, *y = *(cg_storage *const *)b;
    int lx = x->last - x->first, ly = y->last - y->first;
    return lx != ly ? (lx < ly ? 1 : -1) : by_size(a, b);
}

/* bytes × lifetime: what occupies most of the plane is placed first. */
static int by_area(const void *a, const void *b) {
    const cg_storage *x = *(cg_storage *const *)a, *y = *(cg_storage *const *)b;
    double ax = (double)x->bytes * (x->last - x->first + 1);
    double ay = (double)y->bytes * (y->last - y->first + 1);
    return ax != ay ? (ax < ay ? 1 : -1) : by_size(a, b);
}

/* Places order[k] at the lowest offset free among those placed before it, which are kept sorted
 * by offset. Returns the end of the arena. */
static size_t place(cg_storage *const *order, int n, cg_storage **placed) {
    size_t end = 0;
    for (int k = 0; k < n; k++) {
        cg_storage *s = order[k];
        size_t offset = 0;
        for (int i = 0; i < k; i++) {
            const cg_storage *o = placed[i];
            if (o->last < s->first || s->last < o->first) continue;
            if (o->offset >= offset + s->bytes) break; /* a gap, and the rest lies above */
            if (o->offset + o->bytes > offset) offset = o->offset + o->bytes;
        }
        s->offset = offset;
        if (offset + s->bytes > end) end = offset + s->bytes;
        int at = k;
        while (at > 0 && placed[at - 1]->offset > offset) at--;
        memmove(placed + at + 1, placed + at, (size_t)(k - at) * sizeof *placed);
        placed[at] = s;
    }
    return end;
}

cg_status cg_offsets_choose(cg_storage *s, int n, size_t *arena_bytes) {
    static int (*const orders[])(const void *, const void *) = {by_size, by_birth, by_length,
                                                                by_area};
    cg_storage **order = malloc(((size_t)n + 1) * sizeof *order);
    cg_storage **placed = malloc(((size_t)n + 1) * sizeof *placed);
    size_t *best = malloc(((size_t)n + 1) * sizeof *best);
    cg_status status = CG_OK;
    if (!order || !placed || !best) status = cg_error(CG_ENOMEM, "no memory to plan %d values", n);
    *arena_bytes = SIZE_MAX;
    for (size_t o = 0; status == CG_OK && o < sizeof orders / sizeof *orders; o++) {
        for (int i = 0; i < n; i++) order[i] = &s[i];
        qsort(order, (size_t)n, sizeof *order, orders[o]);
        size_t end = place(order, n, placed);
        if (end >= *arena_bytes) continue;
        *arena_bytes = end;
        for (int i = 0; i < n; i++) best[i] = s[i].offset;
    }
    for (int i = 0; status == CG_OK && i < n; i++) s[i].offset = best[i];
    free(order);
    free(placed);
    free(best);
    return status;
}

cg_status cg_offsets_lower_bound(const cg_storage *s, int n, int n_nodes, size_t *bytes) {
    int64_t *change = calloc((size_t)n_nodes + 2, sizeof *change), alive = 0;
    *bytes = 0;
    if (!change) return cg_error(CG_ENOMEM, "no memory to plan %d nodes", n_nodes);
    for (int i = 0; i < n; i++) {
        change[s[i].first] += (int64_t)s[i].bytes;
        change[s[i].last + 1] -= (int64_t)s[i].bytes;
    }
    for (int i = 0; i <= n_nodes; i++) {
        alive += change[i];
        if (alive > (int64_t)*bytes) *bytes = (size_t)alive;
    }
    free(change);
    return CG_OK;
}
