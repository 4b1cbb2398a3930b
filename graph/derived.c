#include "graph/derived.h"

#include <stdlib.h>

void cg_derived_begin(cg_derived_store *s) {
    pthread_mutex_init(&s->lock, NULL);
    s->first = NULL;
    s->version = 1;
}

void cg_derived_end(cg_derived_store *s) {
    while (s->first) {
        cg_derived *d = s->first;
        s->first = d->next;
        free(d->data);
        free(d);
    }
    pthread_mutex_destroy(&s->lock);
}

static cg_derived *find(cg_derived_store *s, uint64_t key, size_t bytes) {
    cg_derived *d = s->first;
    while (d && (d->key != key || d->bytes != bytes)) d = d->next;
    return d;
}

cg_status cg_derived_get(cg_derived_store *s, uint64_t key, size_t bytes, cg_derived **out) {
    pthread_mutex_lock(&s->lock);
    cg_derived *d = find(s, key, bytes);
    if (!d && (d = calloc(1, sizeof *d))) {
        *d = (cg_derived){.key = key, .bytes = bytes, .next = s->first};
        s->first = d;
    }
    pthread_mutex_unlock(&s->lock);
    *out = d;
    return d ? CG_OK : cg_error(CG_ENOMEM, "no memory for what is derived from parameters");
}

void cg_params_changed(cg_params *p) {
    cg_derived_store *s = cg_params_derived(p);
    pthread_mutex_lock(&s->lock);
    s->version++;
    for (cg_derived *d = s->first; d; d = d->next) {
        free(d->data);
        d->data = NULL;
    }
    pthread_mutex_unlock(&s->lock);
}

uint64_t cg_derived_hash(uint64_t h, const void *bytes, size_t n) {
    const unsigned char *x = bytes;
    for (size_t i = 0; i < n; i++) h = (h ^ x[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}
