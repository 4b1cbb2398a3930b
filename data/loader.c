#include "data/loader_inside.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening ---- */

static cg_status check_options(const cg_dataset *d, const cg_loader_options *o) {
    if (o->batch < 1 || o->batch > 1 << 24)
        return cg_error(CG_EINVAL, "loader: a batch of %lld pairs, wanted 1 to %d",
                        (long long)o->batch, 1 << 24);
    if (o->workers < 1 || o->workers > 4096)
        return cg_error(CG_EINVAL, "loader: %d workers, wanted 1 to 4096", o->workers);
    if (o->prefetch < 0 || o->prefetch > 1024)
        return cg_error(CG_EINVAL, "loader: %d batches ahead, wanted 0 to 1024", o->prefetch);
    if (o->preprocess.size < 0 || o->preprocess.size > 1 << 14)
        return cg_error(CG_EINVAL, "loader: pictures of side %d, wanted 0 to %d",
                        o->preprocess.size, 1 << 14);
    if (o->tokenizer && (o->context_length < 2 || o->context_length > 1 << 20))
        return cg_error(CG_EINVAL, "loader: a context of %d ids, wanted 2 to %d", o->context_length,
                        1 << 20);
    if (d->size < 1) return cg_error(CG_EINVAL, "loader: the data has no pair");
    return cg_templates_check(&o->templates);
}

static cg_status check_plan(const cg_loader *l, int64_t epoch, int64_t start) {
    const cg_epoch_plan *p = &l->plan;
    if (p->n == 0) return cg_error(CG_EINVAL, "loader: no pair of the data has a caption");
    if (p->batches == 0 && p->n >= l->o.batch)
        return cg_error(CG_EINVAL,
                        "loader: a batch of %lld pairs with distinct captions is larger than the "
                        "data's %d captions",
                        (long long)l->o.batch, l->d->n_captions);
    if (p->batches == 0)
        return cg_error(CG_EINVAL, "loader: a batch of %lld pairs is larger than the data's %lld%s",
                        (long long)l->o.batch, (long long)p->n,
                        p->left_out ? " with a caption" : "");
    if (epoch < 0 || start < 0 || start > p->batches)
        return cg_error(CG_EINVAL, "loader: batch %lld of epoch %lld, an epoch has %lld",
                        (long long)start, (long long)epoch, (long long)p->batches);
    return CG_OK;
}

/* Array of n elements, zeroed; NULL also where n is 0. */
#define ARRAY(n, type) ((n) > 0 ? calloc((size_t)(n), sizeof(type)) : NULL)

static int make_buffer(const cg_loader *l, cg_batch_buffer *b) {
    int64_t n = l->o.batch, ids = l->o.tokenizer ? n * l->o.context_length : 0;
    int64_t numbers = n * l->o.preprocess.size * l->o.preprocess.size * 3;
    void *memory = NULL;
    if (numbers > 0 && posix_memalign(&memory, 64, (size_t)numbers * sizeof(float))) return 0;
    b->image = memory;
    b->decoded = ARRAY(n, cg_image);
    b->token = ARRAY(ids, int32_t);
    b->packed = ARRAY(ids, int32_t);
    b->offset = ARRAY(n + 1, int32_t);
    b->n_token = ARRAY(n, int);
    b->cut = ARRAY(n, int);
    b->sample = ARRAY(n, int64_t);
    b->index = ARRAY(n, int64_t);
    return b->decoded && b->offset && b->n_token && b->cut && b->sample && b->index &&
           (ids == 0 || (b->token && b->packed));
}

static cg_status make_memory(cg_loader *l) {
    l->n_buffers = l->o.prefetch + 1;
    l->n_ring = l->n_buffers + 2; /* ends of epochs need no buffer */
    /* Far enough ahead that one slow picture does not hold up the other workers. */
    l->n_window = 4 * (int64_t)l->o.workers + 16;
    l->n_jobs = l->n_buffers * l->o.batch;
    l->threads = ARRAY(l->o.workers, pthread_t);
    l->window = ARRAY(l->n_window, cg_decoded);
    l->ring = ARRAY(l->n_ring, cg_entry);
    l->jobs = ARRAY(l->n_jobs, cg_job);
    l->buffers = ARRAY(l->n_buffers, cg_batch_buffer);
    l->spare = ARRAY(l->n_buffers, cg_batch_buffer *);
    l->in_batch = ARRAY(l->d->n_captions, int64_t);
    l->deferred = ARRAY(l->plan.n, int64_t);
    l->known = ARRAY(l->d->size, uint8_t);
    int caching = l->o.cache_bytes > 0 && !l->d->endless && l->o.preprocess.size > 0;
    if (caching) l->cache = ARRAY(l->d->size, cg_image);
    l->cache_left = l->o.cache_bytes;
    int good = l->threads && l->window && l->ring && l->jobs && l->buffers && l->spare &&
               l->in_batch && l->deferred && l->known && (!caching || l->cache);
    for (int i = 0; good && i < l->n_buffers; i++) {
        l->spare[l->n_spare++] = &l->buffers[i];
        good = make_buffer(l, &l->buffers[i]);
    }
    return good ? CG_OK
                : cg_error(CG_ENOMEM, "loader: no memory for %d batches of %lld pairs",
                           l->n_buffers, (long long)l->o.batch);
}

/* Starts the workers with all signals blocked: they are for the program's own thread. */
static cg_status start_workers(cg_loader *l) {
    sigset_t all, before;
    int failed = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (!failed && l->n_threads < l->o.workers) {
        failed = pthread_create(&l->threads[l->n_threads], NULL, cg_loader_work, l);
        l->n_threads += !failed;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? cg_error(CG_ENOMEM, "loader: thread %d of %d cannot be started: %s",
                             l->n_threads + 1, l->o.workers, strerror(failed))
                  : CG_OK;
}

/* Pairs without a caption are left out of the plan, so they are reported once, from the start. */
static void report_empty(cg_loader *l) {
    l->report.empty_caption = l->plan.left_out;
    int most = (int)(sizeof l->report.first / sizeof *l->report.first);
    for (int64_t i = 0; i < l->d->size && l->plan.left_out && l->report.n_first < most; i++) {
        if (l->d->caption[i][0]) continue;
        char *text = l->report.first[l->report.n_first++];
        strncat(text, l->d->path && l->d->path[i] ? l->d->path[i] : "?", 200);
        strcat(text, ": no caption");
    }
}

cg_status cg_loader_open(const cg_dataset *d, const cg_loader_options *options, int64_t epoch,
                         int64_t start, cg_loader **out) {
    *out = NULL;
    CG_TRY(check_options(d, options));
    cg_loader *l = calloc(1, sizeof *l);
    if (!l) return cg_error(CG_ENOMEM, "loader: no memory");
    l->d = d;
    l->o = *options;
    if (l->o.prefetch == 0) l->o.prefetch = 2;
    if (options->augment) l->augment = *options->augment;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->ready, NULL);
    cg_status status = cg_epoch_plan_init(d, l->o.batch, l->o.distinct_captions, l->o.drop_last,
                                          l->o.need_caption, &l->plan);
    if (status == CG_OK) status = check_plan(l, epoch, start);
    if (status == CG_OK) status = make_memory(l);
    if (status == CG_OK) {
        report_empty(l);
        cg_loader_begin_epoch(l, epoch, start);
        cg_loader_assemble(l);
        status = start_workers(l);
    }
    if (status == CG_OK)
        *out = l;
    else
        cg_loader_close(l);
    return status;
}

/* ---- the consumer ---- */

int64_t cg_loader_batches(const cg_loader *l) {
    return l->plan.batches;
}

void cg_loader_get_report(const cg_loader *l, cg_loader_report *out) {
    *out = l->report;
}

static void add_report(cg_loader *l, const cg_loader_report *more) {
    int most = (int)(sizeof more->first / sizeof *more->first);
    l->report.unreadable += more->unreadable;
    l->report.too_large += more->too_large;
    for (int i = 0; i < more->n_first && l->report.n_first < most; i++)
        memcpy(l->report.first[l->report.n_first++], more->first[i], sizeof *more->first);
}

/* Takes the first entry off the ring and gives its memory back. Called under the lock. */
static void release(cg_loader *l) {
    cg_entry *e = &l->ring[l->head];
    if (e->buffer) l->spare[l->n_spare++] = e->buffer;
    e->buffer = NULL;
    l->head = (l->head + 1) % l->n_ring;
    l->count--;
    l->borrowed = 0;
    cg_loader_assemble(l);
    pthread_cond_broadcast(&l->work);
}

/* Closes the gaps between the captions, and counts those that were cut. */
static void pack_tokens(cg_loader *l, const cg_entry *e) {
    cg_batch_buffer *b = e->buffer;
    b->offset[0] = 0;
    for (int64_t i = 0; i < e->n; i++) {
        memcpy(b->packed + b->offset[i], b->token + i * l->o.context_length,
               (size_t)b->n_token[i] * sizeof *b->packed);
        b->offset[i + 1] = b->offset[i] + b->n_token[i];
        uint8_t *known = &l->known[b->index[i]];
        if (b->cut[i] && !(*known & CG_PAIR_CUT)) l->report.truncated++;
        if (b->cut[i]) *known |= CG_PAIR_CUT;
    }
}

cg_status cg_loader_next(cg_loader *l, const cg_batch **out) {
    *out = NULL;
    pthread_mutex_lock(&l->lock);
    if (l->borrowed) release(l);
    cg_entry *e = &l->ring[l->head];
    while (l->error == CG_OK && !(l->count > 0 && e->closed && e->done == e->n))
        pthread_cond_wait(&l->ready, &l->lock);
    cg_status status = l->error;
    if (status != CG_OK) {
        cg_error(status, "%s", l->message);
    } else if (e->end) {
        add_report(l, &e->report);
        release(l);
    } else {
        add_report(l, &e->report);
        if (l->o.tokenizer) pack_tokens(l, e);
        const cg_batch_buffer *b = e->buffer;
        l->batch = (cg_batch){.n = e->n,
                              .image = b->image,
                              .token = b->packed,
                              .offset = l->o.tokenizer ? b->offset : NULL,
                              .sample = b->sample,
                              .index = b->index,
                              .epoch = e->epoch,
                              .number = e->number};
        l->borrowed = 1;
        *out = &l->batch;
    }
    pthread_mutex_unlock(&l->lock);
    return status;
}

/* ---- closing ---- */

static void free_buffer(cg_loader *l, cg_batch_buffer *b) {
    for (int64_t i = 0; b->decoded && b->index && i < l->o.batch; i++)
        cg_loader_drop_image(l, b->index[i], &b->decoded[i]);
    free(b->image);
    free(b->decoded);
    free(b->token);
    free(b->packed);
    free(b->offset);
    free(b->n_token);
    free(b->cut);
    free(b->sample);
    free(b->index);
}

void cg_loader_close(cg_loader *l) {
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stop = 1;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->n_threads; i++) pthread_join(l->threads[i], NULL);
    for (int64_t i = 0; l->window && i < l->n_window; i++)
        cg_loader_drop_image(l, l->window[i].index, &l->window[i].image);
    for (int i = 0; l->buffers && i < l->n_buffers; i++) free_buffer(l, &l->buffers[i]);
    for (int64_t i = 0; l->cache && i < l->d->size; i++) cg_image_free(&l->cache[i]);
    cg_epoch_plan_free(&l->plan);
    free(l->threads);
    free(l->window);
    free(l->ring);
    free(l->jobs);
    free(l->buffers);
    free(l->spare);
    free(l->in_batch);
    free(l->deferred);
    free(l->known);
    free(l->cache);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->ready);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
