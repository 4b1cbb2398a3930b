/* Offsets for the arena: greedy first fit, in several orders, then in orders that put what stands
 * too high before what it had to make way for, until no arena can be smaller or it does not help.
 *
 * source  Pisarchyk and Lee, "Efficient memory management for deep neural net inference",
 *         arXiv:2001.03288: greedy by size, and by breadth. Joslin and Clements, "Squeaky wheel
 *         optimization", JAIR 10 (1999): the search */
#include "graph/plan_private.h"

#include <stdlib.h>
#include <string.h>

/* What is placed earlier has the larger key; then what has more bytes; then what was made first. */
typedef struct item {
    cg_storage *s;
    double key;
} item;

static int before(const void *a, const void *b) {
    const item *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? 1 : -1;
    if (x->s->bytes != y->s->bytes) return x->s->bytes < y->s->bytes ? 1 : -1;
    if (x->s->first != y->s->first) return x->s->first < y->s->first ? -1 : 1;
    return x->s < y->s ? -1 : x->s > y->s;
}

enum { BY_SIZE, BY_BIRTH, BY_LENGTH, BY_AREA, BY_BREADTH, ORDERS };

/* breadth[i]: bytes alive at node i. */
static double key_of(int order, const cg_storage *s, const int64_t *breadth) {
    int64_t most = 0;
    switch (order) {
    case BY_SIZE:
        return (double)s->bytes;
    case BY_BIRTH:
        return -(double)s->first;
    case BY_LENGTH:
        return (double)(s->last - s->first);
    case BY_AREA: /* what occupies most of the plane of bytes and nodes */
        return (double)s->bytes * (s->last - s->first + 1);
    default: /* what is alive where most is */
        for (int i = s->first; i <= s->last; i++)
            if (breadth[i] > most) most = breadth[i];
        return (double)most;
    }
}

/* Places order[k] at the lowest offset free among those placed before it, which are kept sorted
 * by offset. Returns the end of the arena. */
static size_t place(const item *order, int n, cg_storage **placed) {
    size_t end = 0;
    for (int k = 0; k < n; k++) {
        cg_storage *s = order[k].s;
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

typedef struct search {
    item *order;
    cg_storage **placed;
    size_t *best; /* offsets */
    size_t bytes, bound;
    int n;
} search;

static void try_order(search *w, cg_storage *s) {
    size_t end = place(w->order, w->n, w->placed);
    if (end >= w->bytes) return;
    w->bytes = end;
    for (int i = 0; i < w->n; i++) w->best[i] = s[i].offset;
}

/* Steps of `place`, about, that a search may take. */
static const double budget = 3e7;

/* Moves what ends above the bound forward, halfway or to the front in turn, again and again. */
static void squeak(search *w, cg_storage *s, double steps) {
    double one = (double)w->n * w->n / 4;
    for (int turn = 0; w->bytes > w->bound && turn * one < steps; turn++) {
        int moved = 0;
        for (int k = 1; k < w->n; k++) {
            item high = w->order[k];
            if (high.s->offset + high.s->bytes <= w->bound) continue;
            int to = turn % 4 == 3 ? moved : k / 2;
            memmove(w->order + to + 1, w->order + to, (size_t)(k - to) * sizeof high);
            w->order[to] = high;
            moved++;
        }
        if (!moved) return;
        try_order(w, s);
    }
}

/* Each order alone, which is usually enough; then what can be made of each. */
static void run(search *w, cg_storage *s, const int64_t *breadth) {
    for (int pass = 0; pass < 2 * ORDERS && w->bytes > w->bound; pass++) {
        for (int i = 0; i < w->n; i++)
            w->order[i] = (item){&s[i], key_of(pass % ORDERS, &s[i], breadth)};
        qsort(w->order, (size_t)w->n, sizeof *w->order, before);
        try_order(w, s);
        if (pass >= ORDERS) squeak(w, s, budget / ORDERS);
    }
    for (int i = 0; i < w->n; i++) s[i].offset = w->best[i];
}

cg_status cg_offsets_choose(cg_storage *s, int n, int n_nodes, size_t *arena_bytes,
                            size_t *lower_bound) {
    search w = {.n = n, .bytes = SIZE_MAX};
    int64_t *breadth = calloc((size_t)n_nodes + 2, sizeof *breadth), alive = 0;
    w.order = malloc(((size_t)n + 1) * sizeof *w.order);
    w.placed = malloc(((size_t)n + 1) * sizeof(cg_storage *));
    w.best = calloc((size_t)n + 1, sizeof *w.best);
    cg_status status = CG_OK;
    if (!breadth || !w.order || !w.placed || !w.best) {
        status = cg_error(CG_ENOMEM, "no memory to plan %d values of %d nodes", n, n_nodes);
    } else {
        for (int i = 0; i < n; i++) {
            breadth[s[i].first] += (int64_t)s[i].bytes;
            breadth[s[i].last + 1] -= (int64_t)s[i].bytes;
        }
        for (int i = 0; i <= n_nodes; i++) {
            alive = breadth[i] += alive;
            if (alive > (int64_t)w.bound) w.bound = (size_t)alive;
        }
        run(&w, s, breadth);
    }
    *arena_bytes = w.bytes;
    *lower_bound = w.bound;
    free(breadth);
    free(w.order);
    free(w.placed);
    free(w.best);
    return status;
}
