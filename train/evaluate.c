#include "train/evaluate.h"

#include "graph/clock.h"
#include "ops/kernel.h"
#include "train/match.h"

#include <inttypes.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* --- ranking ----------------------------------------------------------------------------- */

CG_KERNEL static float dot(const float *a, const float *b, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void count_rank(cg_recall *r, int64_t before) {
    r->at1 += before < 1;
    r->at5 += before < 5;
    r->at10 += before < 10;
}

static void divide(cg_recall *r, int64_t n) {
    r->at1 /= (double)n;
    r->at5 /= (double)n;
    r->at10 /= (double)n;
}

static double least(double a, double b) {
    return a < b ? a : b;
}

static cg_recall chance(int64_t captions) {
    double n = (double)captions;
    return (cg_recall){least(1, 1 / n), least(1, 5 / n), least(1, 10 / n)};
}

int64_t cg_rank_before(const float *query, int64_t right, const float *row, int64_t n,
                       int64_t width) {
    float own = dot(query, row + right * width, width);
    int64_t before = 0;
    for (int64_t i = 0; i < n; i++)
        before += i != right && !(dot(query, row + i * width, width) < own);
    return before;
}

/* Wrong pictures at least as near as the nearest right one; -1: the caption has no picture. */
static int64_t images_before(const float *text, int64_t caption, const float *image,
                             const int32_t *caption_of, int64_t n_images, int64_t width) {
    float best = 0;
    int found = 0;
    int64_t before = 0;
    for (int64_t i = 0; i < n_images; i++) {
        if (caption_of[i] != caption) continue;
        float own = dot(text, image + i * width, width);
        if (!found || own > best) best = own;
        found = 1;
    }
    if (!found) return -1;
    for (int64_t i = 0; i < n_images; i++)
        before += caption_of[i] != caption && !(dot(text, image + i * width, width) < best);
    return before;
}

void cg_rank_retrieval(const float *image, const int32_t *caption_of, int64_t n_images,
                       const float *text, int64_t n_captions, int64_t width, int threads,
                       cg_retrieval *out) {
    double a1 = 0, a5 = 0, a10 = 0, b1 = 0, b5 = 0, b10 = 0;
    int64_t asked = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : a1, a5, a10)
    for (int64_t i = 0; i < n_images; i++) {
        cg_recall one = {0};
        count_rank(&one, cg_rank_before(image + i * width, caption_of[i], text, n_captions, width));
        a1 += one.at1;
        a5 += one.at5;
        a10 += one.at10;
    }
#pragma omp parallel for num_threads(threads) reduction(+ : b1, b5, b10, asked)
    for (int64_t c = 0; c < n_captions; c++) {
        cg_recall one = {0};
        int64_t before = images_before(text + c * width, c, image, caption_of, n_images, width);
        if (before < 0) continue;
        count_rank(&one, before);
        asked++;
        b1 += one.at1;
        b5 += one.at5;
        b10 += one.at10;
    }
    out->image_to_text = (cg_recall){a1, a5, a10};
    out->text_to_image = (cg_recall){b1, b5, b10};
    divide(&out->image_to_text, n_images);
    divide(&out->text_to_image, asked);
    out->chance = chance(n_captions);
    out->images = n_images;
    out->captions = n_captions;
}

cg_status cg_distinct_captions(const cg_dataset *d, const char ***text, int32_t **number,
                               int64_t *n) {
    *n = 0;
    *text = malloc(((size_t)d->n_captions + 1) * sizeof **text);
    *number = malloc(((size_t)d->n_captions + 1) * sizeof **number);
    if (!*text || !*number) {
        free(*text);
        free(*number);
        return cg_error(CG_ENOMEM, "no memory for %d captions", (int)d->n_captions);
    }
    for (int32_t i = 0; i < d->n_captions; i++) (*number)[i] = -1;
    for (int64_t i = 0; i < d->size; i++) {
        int32_t id = d->caption_id[i];
        if (!d->caption[i][0] || (*number)[id] >= 0) continue;
        (*text)[*n] = d->caption[i];
        (*number)[id] = (int32_t)(*n)++;
    }
    return CG_OK;
}

static cg_status embed_captions(cg_runner *r, const cg_embed_options *o, const char *const *caption,
                                int64_t n, float **out, int64_t *truncated) {
    if (o->templates.n)
        return cg_match_labels(r, o->tokenizer, caption, n, &o->templates, out, truncated);
    return cg_embed_texts(r, o->tokenizer, caption, n, out, truncated);
}

cg_status cg_score_retrieval(cg_runner *r, const cg_dataset *d, const cg_embed_options *o,
                             const cg_embeddings *e, cg_retrieval *out) {
    const char **caption;
    int32_t *number;
    int64_t n_captions;
    float *text = NULL;
    double begun = cg_now();
    *out = (cg_retrieval){0};
    if (!e->n) return cg_error(CG_EFORMAT, "not one of %" PRId64 " pairs could be read", d->size);
    CG_TRY(cg_distinct_captions(d, &caption, &number, &n_captions));
    cg_status s = embed_captions(r, o, caption, n_captions, &text, &out->truncated);
    int32_t *caption_of = malloc((size_t)e->n * sizeof *caption_of);
    if (s == CG_OK && !caption_of) s = cg_error(CG_ENOMEM, "no memory to rank");
    if (s == CG_OK) {
        for (int64_t i = 0; i < e->n; i++) caption_of[i] = number[d->caption_id[e->index[i]]];
        cg_rank_retrieval(e->row, caption_of, e->n, text, n_captions, e->width,
                          cg_runner_context(r)->threads, out);
        out->left_out = d->size - e->n;
    }
    free(caption_of);
    free(text);
    free(caption);
    free(number);
    out->seconds = cg_now() - begun;
    return s;
}

cg_status cg_evaluate_retrieval(cg_runner *r, const cg_dataset *d, const cg_embed_options *o,
                                cg_retrieval *out, cg_loader_report *report) {
    cg_embed_options captioned = *o;
    cg_embeddings e;
    double begun = cg_now();
    captioned.need_caption = 1;
    *out = (cg_retrieval){0};
    CG_TRY(cg_embed_dataset(r, d, &captioned, &e, report));
    cg_status s = cg_score_retrieval(r, d, &captioned, &e, out);
    cg_embeddings_free(&e);
    out->seconds = cg_now() - begun;
    return s;
}

/* --- the pixels' nearest neighbour ------------------------------------------------------- */

enum { SIDE = 16, PIXELS = SIDE * SIDE * 3 };

/* All captioned pictures of a dataset at 16 × 16; have[i] 0: no caption, or not readable. */
static cg_status thumbnails(const cg_dataset *d, int workers, float **pixels, char **have) {
    *pixels = malloc((size_t)d->size * PIXELS * sizeof **pixels + 1);
    *have = calloc((size_t)d->size + 1, 1);
    if (!*pixels || !*have) return cg_error(CG_ENOMEM, "no memory for thumbnails");
#pragma omp parallel for num_threads(workers) schedule(dynamic, 16)
    for (int64_t i = 0; i < d->size; i++) {
        cg_image full = {0}, small = {0};
        if (d->caption[i][0] && d->ops->image(d, i, &full) == CG_OK &&
            cg_resize(&full, SIDE, SIDE, CG_BICUBIC, &small) == CG_OK) {
            for (int k = 0; k < PIXELS; k++) (*pixels)[i * PIXELS + k] = small.rgb[k];
            (*have)[i] = 1;
        }
        cg_image_free(&small);
        cg_image_free(&full);
    }
    return CG_OK;
}

CG_KERNEL static float distance(const float *a, const float *b) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < PIXELS; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

typedef struct caption_number {
    const char *text;
    int32_t id;
} caption_number;

static int by_text(const void *a, const void *b) {
    return strcmp(((const caption_number *)a)->text, ((const caption_number *)b)->text);
}

/* For each training pair, the test set's number of its caption, or -1. */
static int32_t *shared_captions(const cg_dataset *train, const cg_dataset *test) {
    caption_number *sorted = malloc((size_t)test->size * sizeof *sorted + 1);
    int32_t *id = malloc((size_t)train->size * sizeof *id + 1);
    if (sorted && id) {
        for (int64_t i = 0; i < test->size; i++)
            sorted[i] = (caption_number){test->caption[i], test->caption_id[i]};
        qsort(sorted, (size_t)test->size, sizeof *sorted, by_text);
        for (int64_t i = 0; i < train->size; i++) {
            caption_number key = {train->caption[i], 0},
                           *found =
                               bsearch(&key, sorted, (size_t)test->size, sizeof *sorted, by_text);
            id[i] = found ? found->id : -1;
        }
    } else {
        free(id);
        id = NULL;
    }
    free(sorted);
    return id;
}

/* How many wrong captions have a training picture at least as near as the right caption's. */
static int64_t pixels_before(const float *own, int32_t right, const float *train, const char *have,
                             const int32_t *id, int64_t n_train, float *nearest, int32_t n) {
    for (int32_t c = 0; c < n; c++) nearest[c] = 1e30f;
    for (int64_t k = 0; k < n_train; k++) {
        if (!have[k] || id[k] < 0) continue;
        float d = distance(own, train + k * PIXELS);
        if (d < nearest[id[k]]) nearest[id[k]] = d;
    }
    int64_t before = 0;
    for (int32_t c = 0; c < n; c++) before += c != right && nearest[c] <= nearest[right];
    return before;
}

static cg_status rank_pixels(const cg_dataset *train, const cg_dataset *test, const int32_t *id,
                             float *const pixels[2], char *const have[2], int workers,
                             cg_retrieval *out) {
    float *nearest = malloc((size_t)workers * (size_t)test->n_captions * sizeof *nearest + 1);
    int64_t *before = malloc((size_t)test->size * sizeof *before + 1);
    if (!nearest || !before) {
        free(nearest);
        free(before);
        return cg_error(CG_ENOMEM, "no memory to rank");
    }
#pragma omp parallel num_threads(workers)
    {
        int me = omp_get_thread_num();
#pragma omp for
        for (int64_t i = 0; i < test->size; i++)
            if (have[1][i])
                before[i] = pixels_before(
                    pixels[1] + i * PIXELS, test->caption_id[i], pixels[0], have[0], id,
                    train->size, nearest + (int64_t)me * test->n_captions, test->n_captions);
    }
    for (int64_t i = 0; i < test->size; i++) {
        if (!have[1][i]) continue;
        count_rank(&out->image_to_text, before[i]);
        out->images++;
    }
    free(nearest);
    free(before);
    if (!out->images) return cg_error(CG_EFORMAT, "not one test picture could be read");
    divide(&out->image_to_text, out->images);
    out->captions = test->n_captions;
    out->chance = chance(test->n_captions);
    out->left_out = test->size - out->images;
    return CG_OK;
}

cg_status cg_evaluate_pixels(const cg_dataset *train, const cg_dataset *test, int workers,
                             cg_retrieval *out) {
    float *pixels[2] = {NULL};
    char *have[2] = {NULL};
    double begun = cg_now();
    *out = (cg_retrieval){0};
    int32_t *id = shared_captions(train, test);
    cg_status s = id ? CG_OK : cg_error(CG_ENOMEM, "no memory to match captions");
    if (s == CG_OK) s = thumbnails(train, workers, &pixels[0], &have[0]);
    if (s == CG_OK && !memchr(have[0], 1, (size_t)train->size))
        s = cg_error(CG_EFORMAT, "not one training picture could be read");
    if (s == CG_OK) s = thumbnails(test, workers, &pixels[1], &have[1]);
    if (s == CG_OK) s = rank_pixels(train, test, id, pixels, have, workers, out);
    for (int k = 0; k < 2; k++) {
        free(pixels[k]);
        free(have[k]);
    }
    free(id);
    out->seconds = cg_now() - begun;
    return s;
}
