/* labels: unit */
#include "data/epoch_plan.h"
#include "data/loader.h"
#include "graph/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* ---- a dataset made of nothing: pictures of noise, some of which cannot be read ---- */

enum { SIDE = 12, PAIRS = 101 };

typedef struct fake {
    cg_dataset base;
    uint8_t bad[PAIRS]; /* 1 damaged, 2 too large */
    int jitter;         /* take an uneven time, so that threads overtake each other */
} fake;

static cg_status fake_image(const cg_dataset *d, int64_t i, cg_image *out) {
    const fake *f = (const fake *)d;
    int64_t pair = i % d->size;
    if (f->jitter) {
        struct timespec nap = {0, (long)(cg_mix64((uint64_t)i) % 400000)};
        nanosleep(&nap, NULL);
    }
    if (f->bad[pair] == 1) return cg_error(CG_EFORMAT, "pair %d: damaged", (int)pair);
    if (f->bad[pair] == 2) return cg_error(CG_EUNSUPPORTED, "pair %d: too large", (int)pair);
    CG_TRY(cg_image_alloc(SIDE + (int)(pair % 3), SIDE, out));
    for (int k = 0; k < out->width * out->height * 3; k++)
        out->rgb[k] = (uint8_t)cg_mix64((uint64_t)(i * 1000 + k));
    return CG_OK;
}

static void fake_free(cg_dataset *d) {
    free(d);
}

/* PAIRS pairs; pair i says word number i % captions. */
static fake *make_fake(int captions) {
    static const cg_dataset_ops ops = {fake_image, fake_free};
    fake *f = calloc(1, sizeof *f);
    int64_t capacity = 0;
    f->base.ops = &ops;
    for (int i = 0; i < PAIRS; i++) {
        char path[32], caption[64];
        snprintf(path, sizeof path, "pair %d", i);
        snprintf(caption, sizeof caption, "a picture of number %d", i % captions);
        assert_int_equal(cg_dataset_append(&f->base, &capacity, strdup(path), strdup(caption)),
                         CG_OK);
    }
    assert_int_equal(cg_dataset_number_captions(&f->base), CG_OK);
    return f;
}

static void spoil(fake *f) {
    for (int i = 0; i < PAIRS; i += 7) f->bad[i] = 1;
    f->bad[30] = f->bad[31] = 2;
}

static cg_loader_options default_options(void) {
    static const cg_augment augment = {
        .scale_min = .8, .scale_max = 1, .rotation = 10, .gain = .2, .flip = .5, .shift = .1};
    cg_loader_options o = {.batch = 8, .workers = 2, .seed = 5, .shuffle = 1, .drop_last = 1};
    o.preprocess = cg_preprocess_default();
    o.preprocess.size = 6;
    o.augment = &augment;
    return o;
}

/* ---- what a run gives, as a list of one hash per batch ---- */

typedef struct run {
    uint64_t hash[400];
    int64_t index[4000];
    int n, n_index;
    cg_loader_report report;
} run;

static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) h = cg_mix64(h ^ ((const unsigned char *)bytes)[i]);
    return h;
}

static uint64_t hash_batch(const cg_batch *b, int size) {
    uint64_t h = cg_mix64((uint64_t)b->n);
    size_t n = (size_t)b->n;
    if (b->image) h = hash_bytes(h, b->image, n * (size_t)(size * size) * 3 * sizeof(float));
    h = hash_bytes(h, b->sample, n * sizeof *b->sample);
    h = hash_bytes(h, b->index, n * sizeof *b->index);
    if (b->token) {
        h = hash_bytes(h, b->offset, (n + 1) * sizeof *b->offset);
        h = hash_bytes(h, b->token, (size_t)b->offset[n] * sizeof *b->token);
    }
    return hash_bytes(hash_bytes(h, &b->epoch, sizeof b->epoch), &b->number, sizeof b->number);
}

/* Reads to the end of `epochs` epochs; an end counts as a batch of hash 0. */
static void run_loader(const cg_dataset *d, const cg_loader_options *o, int64_t epoch,
                       int64_t start, int epochs, run *r) {
    cg_loader *l;
    memset(r, 0, sizeof *r);
    if (cg_loader_open(d, o, epoch, start, &l) != CG_OK) fail_msg("%s", cg_error_message());
    while (epochs > 0) {
        const cg_batch *b;
        if (cg_loader_next(l, &b) != CG_OK) fail_msg("%s", cg_error_message());
        r->hash[r->n++] = b ? hash_batch(b, o->preprocess.size) : 0;
        if (!b) epochs--;
        for (int64_t i = 0; b && i < b->n; i++) {
            r->index[r->n_index++] = b->index[i];
            assert_true(b->sample[i] == b->epoch * d->size + b->index[i]);
        }
    }
    cg_loader_get_report(l, &r->report);
    cg_loader_close(l);
}

static void assert_same(const run *a, const run *b) {
    assert_int_equal(a->n, b->n);
    for (int i = 0; i < a->n; i++) assert_true(a->hash[i] == b->hash[i]);
    assert_memory_equal(&a->report, &b->report, sizeof a->report);
}

static cg_tokenizer *make_tokenizer(const cg_dataset *d) {
    cg_tokenizer *t;
    assert_int_equal(cg_tokenizer_train((const char *const *)d->caption, (size_t)d->size, 600, &t),
                     CG_OK);
    return t;
}

/* ---- tests ---- */

static void test_threads(void **state) {
    (void)state;
    for (int variant = 0; variant < 16; variant++) {
        fake *f = make_fake(variant & 1 ? 20 : PAIRS);
        cg_loader_options o = default_options();
        if (variant & 2) spoil(f);
        o.distinct_captions = variant & 1;
        o.drop_last = !(variant & 4);
        o.cache_bytes = variant & 8 ? 40 * SIDE * SIDE * 3 : 0;
        o.tokenizer = make_tokenizer(&f->base);
        o.context_length = 6;
        o.workers = 1;
        run one, other;
        run_loader(&f->base, &o, 0, 0, 3, &one);
        f->jitter = 1;
        for (int workers = 2; workers <= 5; workers += 3) {
            o.workers = workers;
            o.prefetch = workers - 1;
            run_loader(&f->base, &o, 0, 0, 3, &other);
            assert_same(&one, &other);
        }
        o.cache_bytes = variant & 8 ? 0 : 1 << 30;
        run_loader(&f->base, &o, 0, 0, 3, &other);
        assert_same(&one, &other);
        cg_tokenizer_free((cg_tokenizer *)o.tokenizer);
        cg_dataset_free(&f->base);
    }
}

static void test_resume(void **state) {
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        fake *f = make_fake(variant & 1 ? 20 : PAIRS);
        cg_loader_options o = default_options();
        if (variant & 2) spoil(f);
        o.distinct_captions = variant & 1;
        o.drop_last = !(variant & 4);
        o.workers = 3;
        run whole, rest;
        run_loader(&f->base, &o, 1, 0, 2, &whole);
        int first_end = 0;
        while (whole.hash[first_end]) first_end++;
        for (int start = 0; start <= first_end; start++) {
            run_loader(&f->base, &o, 1, start, 2, &rest);
            assert_int_equal(rest.n, whole.n - start);
            for (int i = 0; i < rest.n; i++) assert_true(rest.hash[i] == whole.hash[start + i]);
        }
        cg_dataset_free(&f->base);
    }
}

static void test_every_pair_once(void **state) {
    (void)state;
    for (int distinct = 0; distinct < 2; distinct++) {
        fake *f = make_fake(distinct ? 20 : PAIRS);
        spoil(f);
        cg_loader_options o = default_options();
        o.distinct_captions = distinct;
        o.drop_last = 0;
        run r;
        run_loader(&f->base, &o, 0, 0, 1, &r);
        int seen[PAIRS] = {0}, readable = 0;
        for (int i = 0; i < r.n_index; i++) seen[r.index[i]]++;
        for (int i = 0; i < PAIRS; i++) {
            assert_int_equal(seen[i], f->bad[i] == 0);
            readable += f->bad[i] == 0;
        }
        assert_int_equal(r.n_index, readable);
        assert_int_equal(r.report.unreadable, 15);
        assert_int_equal(r.report.too_large, 2);
        assert_int_equal(r.report.n_first, 5);
        cg_dataset_free(&f->base);
    }
}

static void test_order(void **state) {
    (void)state;
    fake *f = make_fake(PAIRS);
    cg_loader_options o = default_options();
    run r;
    o.shuffle = 0;
    f->bad[2] = f->bad[9] = 1;
    run_loader(&f->base, &o, 0, 0, 2, &r);
    assert_int_equal(r.n, 2 * (12 + 1)); /* 99 pairs: 12 whole batches */
    assert_int_equal(r.index[2], 3);     /* the next in order takes the place */
    assert_int_equal(r.index[7], 8);
    assert_int_equal(r.index[8], 10);
    assert_int_equal(r.report.unreadable, 2); /* once, though there were two epochs */
    assert_string_equal(r.report.first[0], "pair 2: damaged");
    assert_string_equal(r.report.first[1], "pair 9: damaged");
    o.shuffle = 1;
    run s;
    run_loader(&f->base, &o, 0, 0, 2, &s);
    assert_memory_not_equal(s.index, r.index, 96 * sizeof *r.index);
    assert_memory_not_equal(s.index, s.index + 96, 96 * sizeof *r.index); /* epochs differ */
    cg_dataset_free(&f->base);
}

static void test_distinct(void **state) {
    (void)state;
    for (int captions = 8; captions <= 60; captions += 13) {
        for (int spoiled = 0; spoiled < 2; spoiled++) {
            fake *f = make_fake(captions);
            if (spoiled) spoil(f);
            cg_loader_options o = default_options();
            cg_loader *l;
            o.distinct_captions = 1;
            assert_int_equal(cg_loader_open(&f->base, &o, 0, 0, &l), CG_OK);
            int64_t batches = 0;
            for (const cg_batch *b; cg_loader_next(l, &b) == CG_OK && b; batches++) {
                assert_int_equal(b->n, 8);
                for (int i = 0; i < 8; i++)
                    for (int k = 0; k < i; k++)
                        assert_int_not_equal(f->base.caption_id[b->index[i]],
                                             f->base.caption_id[b->index[k]]);
            }
            /* 101 pairs over 8 or more even captions: 12 whole batches can be made. */
            assert_int_equal(cg_loader_batches(l), 12);
            if (!spoiled) assert_int_equal(batches, 12);
            cg_loader_close(l);
            cg_dataset_free(&f->base);
        }
    }
}

/* One caption on half of the pairs: it can be in each batch once, so 50 - K of them must wait. */
static void test_distinct_uneven(void **state) {
    (void)state;
    fake *f = make_fake(PAIRS);
    for (int i = 0; i < 50; i++) {
        free(f->base.caption[i]);
        f->base.caption[i] = strdup("the same");
    }
    free(f->base.caption_id);
    assert_int_equal(cg_dataset_number_captions(&f->base), CG_OK);
    cg_epoch_plan p;
    assert_int_equal(cg_epoch_plan_init(&f->base, 8, 1, 1, 0, &p), CG_OK);
    assert_int_equal(p.batches, 7); /* 51 others + 7 of the same = 58 ≥ 56 */
    cg_epoch_plan_order(&p, 1, 1, 0);
    int seen[PAIRS] = {0};
    for (int64_t i = 0; i < p.n; i++) seen[p.pair[i]]++;
    for (int i = 0; i < PAIRS; i++) assert_int_equal(seen[i], 1);
    cg_epoch_plan_free(&p);
    assert_int_equal(cg_epoch_plan_init(&f->base, 8, 1, 0, 0, &p), CG_OK);
    assert_int_equal(p.batches, 50);
    assert_int_equal(cg_epoch_plan_size(&p, 0), 3);
    assert_int_equal(cg_epoch_plan_size(&p, 49), 2);
    cg_epoch_plan_free(&p);
    cg_dataset_free(&f->base);
}

static void test_captions(void **state) {
    (void)state;
    fake *f = make_fake(PAIRS);
    cg_loader_options o = default_options();
    run r;
    f->base.caption[4][0] = f->base.caption[50][0] = 0;
    o.need_caption = 1;
    o.shuffle = 0;
    o.tokenizer = make_tokenizer(&f->base);
    o.context_length = 3;
    o.preprocess.size = 0; /* no pictures */
    run_loader(&f->base, &o, 0, 0, 2, &r);
    assert_int_equal(r.report.empty_caption, 2);
    assert_int_equal(r.report.unreadable, 0);
    assert_int_equal(r.report.truncated, 96);
    assert_string_equal(r.report.first[0], "pair 4: no caption");
    assert_int_equal(r.index[4], 5);
    cg_tokenizer_free((cg_tokenizer *)o.tokenizer);
    cg_dataset_free(&f->base);
}

static void test_endless(void **state) {
    (void)state;
    fake *f = make_fake(PAIRS);
    cg_loader_options o = default_options();
    run a, b;
    o.augment = NULL;
    o.shuffle = 0;
    run_loader(&f->base, &o, 0, 0, 1, &a);
    f->base.endless = 1; /* epoch 0 is the same, epoch 1 has other pictures of the same pairs */
    run_loader(&f->base, &o, 0, 0, 1, &b);
    assert_same(&a, &b);
    cg_dataset_free(&f->base);
}

static void expect_open(const cg_dataset *d, const cg_loader_options *o, int64_t start,
                        const char *message) {
    cg_loader *l;
    assert_int_equal(cg_loader_open(d, o, 0, start, &l), CG_EINVAL);
    assert_null(l);
    if (!strstr(cg_error_message(), message)) fail_msg("%s", cg_error_message());
}

static void test_errors(void **state) {
    (void)state;
    fake *f = make_fake(20);
    cg_loader_options o = default_options();
    expect_open(&f->base, &o, 13, "batch 13 of epoch 0, an epoch has 12");
    o.batch = 200;
    expect_open(&f->base, &o, 0, "a batch of 200 pairs is larger than the data's 101");
    o.batch = 21;
    o.distinct_captions = 1;
    expect_open(&f->base, &o, 0, "a batch of 21 pairs with distinct captions is larger");
    o.batch = 0;
    expect_open(&f->base, &o, 0, "a batch of 0 pairs");
    o.batch = 8;
    o.workers = 0;
    expect_open(&f->base, &o, 0, "0 workers");
    o.workers = 3;
    memset(f->bad, 1, sizeof f->bad);
    cg_loader *l;
    const cg_batch *b;
    assert_int_equal(cg_loader_open(&f->base, &o, 0, 0, &l), CG_OK);
    assert_int_equal(cg_loader_next(l, &b), CG_EFORMAT);
    assert_non_null(strstr(cg_error_message(), "101 of 101 pairs cannot be read; the first: pair"));
    assert_null(b);
    cg_loader_close(l);
    cg_dataset_free(&f->base);
}

static void test_close_early(void **state) {
    (void)state;
    fake *f = make_fake(PAIRS);
    spoil(f);
    f->jitter = 1;
    for (int batches = 0; batches < 20; batches++) {
        cg_loader_options o = default_options();
        cg_loader *l;
        const cg_batch *b;
        o.workers = 1 + batches % 5;
        o.cache_bytes = batches % 2 * 20000;
        assert_int_equal(cg_loader_open(&f->base, &o, 0, batches % 4, &l), CG_OK);
        for (int i = 0; i < batches; i++) assert_int_equal(cg_loader_next(l, &b), CG_OK);
        cg_loader_close(l);
    }
    cg_loader_close(NULL);
    cg_dataset_free(&f->base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),         cmocka_unit_test(test_resume),
        cmocka_unit_test(test_every_pair_once), cmocka_unit_test(test_order),
        cmocka_unit_test(test_distinct),        cmocka_unit_test(test_distinct_uneven),
        cmocka_unit_test(test_captions),        cmocka_unit_test(test_endless),
        cmocka_unit_test(test_errors),          cmocka_unit_test(test_close_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
