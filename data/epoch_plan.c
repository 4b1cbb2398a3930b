#include "data/epoch_plan.h"

#include "graph/rng.h"

#include <stdlib.h>
#include <string.h>

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int wanted(const cg_epoch_plan *p, int64_t i) {
    return !p->need_caption || p->d->caption[i][0];
}

/* Pairs that k batches can hold when none takes a caption twice. */
static int64_t room(const cg_epoch_plan *p, int64_t k) {
    int64_t sum = 0;
    for (int32_t c = 0; c < p->d->n_captions; c++) sum += smaller(p->of_caption[c], k);
    return sum;
}

/* k whole batches can be made just if room(k) ≥ k · batch: captions in a row, dealt to the batches
 * in turn, never meet themselves. The difference is concave in k, so the largest k is found by
 * halving. */
static void count_distinct(cg_epoch_plan *p, int drop_last) {
    if (!drop_last) {
        p->batches = (p->n + p->batch - 1) / p->batch;
        for (int32_t c = 0; c < p->d->n_captions; c++)
            if (p->of_caption[c] > p->batches) p->batches = p->of_caption[c];
        p->planned = p->n;
        return;
    }
    int64_t low = 0, high = p->n / p->batch;
    while (low < high) {
        int64_t k = (low + high + 1) / 2;
        if (room(p, k) >= k * p->batch)
            low = k;
        else
            high = k - 1;
    }
    p->batches = low;
    p->planned = low * p->batch;
}

cg_status cg_epoch_plan_init(const cg_dataset *d, int64_t batch, int distinct, int drop_last,
                             int need_caption, cg_epoch_plan *out) {
    cg_epoch_plan p = {.d = d, .batch = batch, .distinct = distinct, .need_caption = need_caption};
    for (int64_t i = 0; i < d->size; i++) p.n += wanted(&p, i);
    p.left_out = d->size - p.n;
    p.pair = malloc((size_t)(p.n + 1) * sizeof *p.pair);
    if (distinct) {
        p.scratch = malloc((size_t)(p.n + 1) * sizeof *p.scratch);
        p.of_caption = calloc((size_t)d->n_captions + 1, sizeof *p.of_caption);
    }
    *out = p;
    if (!p.pair || (distinct && (!p.scratch || !p.of_caption)))
        return cg_error(CG_ENOMEM, "loader: no memory to order %lld pairs", (long long)p.n);
    if (distinct) {
        for (int64_t i = 0; i < d->size; i++) p.of_caption[d->caption_id[i]] += wanted(&p, i);
        count_distinct(out, drop_last);
    } else {
        out->batches = drop_last ? p.n / batch : (p.n + batch - 1) / batch;
        out->planned = drop_last ? out->batches * batch : p.n;
    }
    return CG_OK;
}

int64_t cg_epoch_plan_size(const cg_epoch_plan *p, int64_t b) {
    if (b >= p->batches) return p->batch; /* what left-out pairs have pushed back */
    if (p->distinct) return p->planned / p->batches + (b < p->planned % p->batches);
    return smaller(p->batch, p->planned - b * p->batch);
}

/* Puts the pairs that the batches take in front, the rest behind them; of_caption counts the
 * former. */
static void choose(cg_epoch_plan *p) {
    int64_t chosen = 0, rest = p->planned;
    memset(p->of_caption, 0, (size_t)p->d->n_captions * sizeof *p->of_caption);
    for (int64_t i = 0; i < p->n; i++) {
        int64_t *used = &p->of_caption[p->d->caption_id[p->pair[i]]];
        if (chosen < p->planned && *used < p->batches) {
            ++*used;
            p->scratch[chosen++] = p->pair[i];
        } else {
            p->scratch[rest++] = p->pair[i];
        }
    }
}

/* Lays the captions in a row, in the order in which they first come, and deals them in turn. */
static void deal(cg_epoch_plan *p) {
    choose(p);
    int64_t next = 0, each = p->planned / p->batches, longer = p->planned % p->batches;
    /* of_caption turns from a count into the place of the caption's next pair; places are stored
     * as -1 - place, which no count is. */
    for (int64_t i = 0; i < p->planned; i++) {
        int64_t *place = &p->of_caption[p->d->caption_id[p->scratch[i]]];
        if (*place >= 0) {
            int64_t count = *place;
            *place = -1 - next;
            next += count;
        }
        int64_t at = -1 - (*place)--;
        int64_t b = at % p->batches;
        p->pair[b * each + smaller(b, longer) + at / p->batches] = p->scratch[i];
    }
    memcpy(p->pair + p->planned, p->scratch + p->planned,
           (size_t)(p->n - p->planned) * sizeof *p->pair);
}

void cg_epoch_plan_order(cg_epoch_plan *p, uint64_t seed, int shuffle, int64_t epoch) {
    int64_t n = 0;
    for (int64_t i = 0; i < p->d->size; i++)
        if (wanted(p, i)) p->pair[n++] = i;
    cg_rng r = cg_rng_at(seed, CG_RNG_SHUFFLE, (uint64_t)epoch, 0);
    for (int64_t i = n - 1; shuffle && i > 0; i--) {
        int64_t k = (int64_t)cg_rng_below(&r, (uint64_t)i + 1), other = p->pair[k];
        p->pair[k] = p->pair[i];
        p->pair[i] = other;
    }
    if (p->distinct && p->batches > 0) deal(p);
}

void cg_epoch_plan_free(cg_epoch_plan *p) {
    free(p->pair);
    free(p->scratch);
    free(p->of_caption);
    *p = (cg_epoch_plan){0};
}
