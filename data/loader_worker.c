#include "data/loader_inside.h"

#include "graph/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { WORKER_NICE = 10 };

/* Keeps a decoded picture for later epochs where there is room. Called under the lock. */
static void remember(cg_loader *l, int64_t index, const cg_image *image) {
    if (!l->cache || l->cache[index].rgb || !image->rgb) return;
    int64_t bytes = (int64_t)image->width * image->height * 3;
    if (bytes > l->cache_left) return;
    l->cache_left -= bytes;
    l->cache[index] = *image;
}

static cg_status decode(const cg_loader *l, int64_t epoch, int64_t index, cg_image *out) {
    return l->d->ops->image(l->d, l->d->endless ? epoch * l->d->size + index : index, out);
}

/* Takes the plan's next pair. What needs no work (known to be bad, in the cache, no pictures) is
 * marked at once, without a worker. Returns a pair to decode, or NULL. *marked counts the others.
 */
static cg_decoded *next_pair(cg_loader *l, int *marked) {
    int64_t limit = cg_loader_limit(l), ahead = l->assembled + l->n_window;
    while (l->next < limit && l->next < ahead) {
        cg_decoded *w = &l->window[l->next % l->n_window];
        w->index = l->plan.pair[l->next++];
        w->status = CG_OK;
        if (!l->d->endless && l->known[w->index] & CG_PAIR_BAD) {
            w->state = CG_DECODE_FAILED;
        } else if (l->o.preprocess.size == 0 || (l->cache && l->cache[w->index].rgb)) {
            w->state = CG_DECODE_READ;
            if (l->cache) w->image = l->cache[w->index];
        } else {
            w->state = CG_DECODE_BUSY;
            return w;
        }
        ++*marked;
    }
    return NULL;
}

/* Decodes a pair of the window. Called under the lock, which it gives up meanwhile. */
static void do_decode(cg_loader *l, cg_decoded *w) {
    int64_t epoch = l->epoch, index = w->index;
    cg_image image = {0};
    pthread_mutex_unlock(&l->lock);
    cg_status status = decode(l, epoch, index, &image);
    pthread_mutex_lock(&l->lock);
    if (status == CG_ENOMEM || status == CG_EINTERRUPTED) {
        cg_loader_fail(l, status); /* says nothing about the pair */
        return;
    }
    if (status == CG_OK) remember(l, index, &image);
    if (l->epoch != epoch) { /* the epoch ended without it */
        cg_loader_drop_image(l, index, &image);
        return;
    }
    w->status = status;
    w->state = status == CG_OK ? CG_DECODE_READ : CG_DECODE_FAILED;
    if (status == CG_OK)
        w->image = image;
    else
        snprintf(w->message, sizeof w->message, "%s", cg_error_message());
}

static cg_status transform(const cg_loader *l, const cg_entry *e, int64_t at,
                           const cg_image *image) {
    const cg_preprocess *p = &l->o.preprocess;
    cg_batch_buffer *b = e->buffer;
    int64_t index = b->index[at];
    if (p->size > 0) {
        float *out = b->image + at * p->size * p->size * 3;
        cg_rng r = cg_rng_at(l->o.seed, CG_RNG_AUGMENT, (uint64_t)e->epoch, (uint64_t)index);
        if (l->o.augment)
            CG_TRY(cg_augment_image(image, p, &l->augment, &r, out));
        else
            CG_TRY(cg_preprocess_image(image, p, out));
    }
    if (!l->o.tokenizer) return CG_OK;
    char *text = cg_templates_sentence(&l->o.templates, l->d->caption[index], l->o.seed,
                                       (uint64_t)e->epoch, (uint64_t)index);
    if (!text) return cg_error(CG_ENOMEM, "loader: no memory for a caption");
    cg_status status =
        cg_tokenizer_encode(l->o.tokenizer, text, l->o.context_length,
                            b->token + at * l->o.context_length, &b->n_token[at], &b->cut[at]);
    free(text);
    return status;
}

/* Puts a pair into its place. Called under the lock, which it gives up meanwhile. */
static void do_job(cg_loader *l) {
    cg_job job = l->jobs[l->first_job];
    l->first_job = (l->first_job + 1) % l->n_jobs;
    l->pending_jobs--;
    cg_entry *e = job.entry;
    int64_t index = e->buffer->index[job.place];
    cg_image image = e->buffer->decoded[job.place];
    e->buffer->decoded[job.place] = (cg_image){0};
    int again = !image.rgb && l->o.preprocess.size > 0; /* it was put off, or only checked */
    if (again && l->cache && l->cache[index].rgb) {
        image = l->cache[index];
        again = 0;
    }
    pthread_mutex_unlock(&l->lock);
    cg_status status = again ? decode(l, e->epoch, index, &image) : CG_OK;
    if (status == CG_OK) status = transform(l, e, job.place, &image);
    pthread_mutex_lock(&l->lock);
    cg_loader_drop_image(l, index, &image);
    if (status != CG_OK) cg_loader_fail(l, status);
    e->done++;
    if (e->closed && e->done == e->n) pthread_cond_broadcast(&l->ready);
}

void *cg_loader_work(void *loader) {
    cg_loader *l = loader;
    /* Behind the consumer's threads, which compute in step and would all wait for one that lost
     * its processor. On Linux this is the calling thread's own priority; elsewhere it may fail. */
    if (getpriority(PRIO_PROCESS, 0) < WORKER_NICE)
        (void)setpriority(PRIO_PROCESS, 0, WORKER_NICE); /* root's could also go up */
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        int marked = 0;
        /* Transforming comes first: it frees memory, and the consumer waits for it. */
        if (l->error == CG_OK && l->pending_jobs > 0) {
            do_job(l);
            continue;
        }
        cg_decoded *w = l->error == CG_OK ? next_pair(l, &marked) : NULL;
        if (w) do_decode(l, w);
        if (w || marked) {
            cg_loader_assemble(l);
            pthread_cond_broadcast(&l->work);
        } else {
            pthread_cond_wait(&l->work, &l->lock);
        }
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}
