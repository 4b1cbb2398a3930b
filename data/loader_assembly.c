#include "data/loader_inside.h"

#include <stdio.h>
#include <string.h>

void cg_loader_fail(cg_loader *l, cg_status status) {
    if (l->error != CG_OK) return;
    l->error = status;
    snprintf(l->message, sizeof l->message, "%s", cg_error_message());
    pthread_cond_broadcast(&l->ready);
}

void cg_loader_drop_image(cg_loader *l, int64_t index, cg_image *image) {
    if (image->rgb && !(l->cache && l->cache[index].rgb == image->rgb)) cg_image_free(image);
    *image = (cg_image){0};
}

int64_t cg_loader_limit(const cg_loader *l) {
    int64_t wanted = l->plan.planned + l->failed + l->n_deferred;
    return wanted < l->plan.n ? wanted : l->plan.n;
}

void cg_loader_begin_epoch(cg_loader *l, int64_t epoch, int64_t start) {
    for (int64_t i = 0; i < l->n_window; i++) {
        cg_loader_drop_image(l, l->window[i].index, &l->window[i].image);
        l->window[i].state = CG_DECODE_NONE;
    }
    l->epoch = epoch;
    l->start = start;
    l->next = l->assembled = l->failed = l->formed = l->n_deferred = 0;
    /* Nothing to hand out: no need to find out which pairs the batches had. */
    if (start == l->plan.batches) l->formed = start;
    cg_epoch_plan_order(&l->plan, l->o.seed, l->o.shuffle, epoch);
}

/* Notes a pair that could not be read, once. */
static void note(cg_loader *l, cg_loader_report *report, const cg_decoded *w) {
    if (l->known[w->index] & CG_PAIR_BAD) return;
    l->known[w->index] |= CG_PAIR_BAD;
    if (w->status == CG_EUNSUPPORTED)
        report->too_large++;
    else
        report->unreadable++;
    int most = (int)(sizeof report->first / sizeof *report->first);
    if (report->n_first < most)
        snprintf(report->first[report->n_first++], sizeof *report->first, "%s", w->message);
}

/* Gives a pair the next place of the open batch. */
static void place(cg_loader *l, int64_t index, cg_image *image) {
    cg_entry *e = l->open;
    int64_t at = e->n++;
    l->in_batch[l->d->caption_id[index]] = l->serial;
    if (!e->buffer) {
        cg_loader_drop_image(l, index, image);
        return;
    }
    e->buffer->index[at] = index;
    e->buffer->sample[at] = l->epoch * l->d->size + index;
    e->buffer->decoded[at] = *image;
    *image = (cg_image){0};
    l->jobs[(l->first_job + l->pending_jobs++) % l->n_jobs] = (cg_job){e, at};
}

static int clashes(const cg_loader *l, int64_t index) {
    return l->o.distinct_captions && l->in_batch[l->d->caption_id[index]] == l->serial;
}

static cg_entry *new_entry(cg_loader *l) {
    if (l->count == l->n_ring) return NULL;
    cg_entry *e = &l->ring[(l->head + l->count++) % l->n_ring];
    memset(e, 0, sizeof *e);
    e->epoch = l->epoch;
    e->number = l->formed;
    e->report = l->skipped.report;
    memset(&l->skipped, 0, sizeof l->skipped);
    return e;
}

/* Opens the next batch, with the pairs that were put off; 0: there is no memory free for it. */
static int open_batch(cg_loader *l) {
    int64_t size = cg_epoch_plan_size(&l->plan, l->formed), kept = 0;
    if (l->formed < l->start) {
        l->open = &l->skipped;
        l->open->n = 0;
    } else {
        if (l->n_spare == 0 || !(l->open = new_entry(l))) return 0;
        l->open->buffer = l->spare[--l->n_spare];
    }
    l->serial++;
    for (int64_t i = 0; i < l->n_deferred; i++) {
        int64_t index = l->deferred[i];
        cg_image none = {0}; /* decoded again when it is transformed */
        if (l->open->n < size && !clashes(l, index))
            place(l, index, &none);
        else
            l->deferred[kept++] = index;
    }
    l->n_deferred = kept;
    return 1;
}

/* Takes the next pair of the plan out of the window. */
static void take(cg_loader *l, cg_decoded *w) {
    if (w->state == CG_DECODE_FAILED) {
        l->failed++;
        note(l, &l->open->report, w);
    } else if (clashes(l, w->index)) {
        l->deferred[l->n_deferred++] = w->index;
    } else {
        place(l, w->index, &w->image);
    }
    cg_loader_drop_image(l, w->index, &w->image);
    w->state = CG_DECODE_NONE;
    l->assembled++;
}

/* Fills the open batch; 0: it waits for pairs to be read. */
static int fill_batch(cg_loader *l) {
    int64_t size = cg_epoch_plan_size(&l->plan, l->formed);
    while (l->open->n < size && l->assembled < cg_loader_limit(l)) {
        cg_decoded *w = &l->window[l->assembled % l->n_window];
        if (w->state != CG_DECODE_READ && w->state != CG_DECODE_FAILED) return 0;
        take(l, w);
    }
    return 1;
}

static void close_entry(cg_loader *l, cg_entry *e, int end) {
    e->closed = 1;
    e->end = end;
    if (e->done == e->n) pthread_cond_broadcast(&l->ready);
}

/* Ends the epoch, whose last entry is e, and begins the next. */
static void end_epoch(cg_loader *l, cg_entry *e) {
    close_entry(l, e, 1);
    l->open = NULL;
    if (l->formed == 0) {
        cg_loader_fail(l, cg_error(CG_EFORMAT,
                                   "loader: no batch of %lld in an epoch: %lld of %lld pairs "
                                   "cannot be read; the first: %s",
                                   (long long)l->o.batch, (long long)l->failed,
                                   (long long)l->plan.n, e->report.first[0]));
        return;
    }
    cg_loader_begin_epoch(l, l->epoch + 1, 0);
}

/* Are all batches of the epoch made? Asked while none is open. */
static int epoch_over(const cg_loader *l) {
    if (l->o.drop_last || l->formed < l->start) return l->formed == l->plan.batches;
    return (l->assembled == l->plan.n && l->n_deferred == 0) || l->start == l->plan.batches;
}

void cg_loader_assemble(cg_loader *l) {
    while (l->error == CG_OK) {
        if (!l->open && epoch_over(l)) {
            cg_entry *e = new_entry(l);
            if (!e) return;
            end_epoch(l, e);
            continue;
        }
        if (!l->open && !open_batch(l)) return;
        if (!fill_batch(l)) return;
        int whole = l->open->n == cg_epoch_plan_size(&l->plan, l->formed);
        if (!whole && (l->o.drop_last || l->open->n == 0)) {
            /* The plan has run out. A stand-in cannot end an epoch; a fresh entry does. */
            cg_entry *e = l->open == &l->skipped ? new_entry(l) : l->open;
            if (!e) return;
            end_epoch(l, e);
            continue;
        }
        l->formed++;
        if (l->open->buffer) close_entry(l, l->open, 0);
        l->open = NULL;
    }
}
