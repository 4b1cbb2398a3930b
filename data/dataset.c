#include "data/dataset.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

cg_status cg_dataset_append(cg_dataset *d, int64_t *capacity, char *path, char *caption) {
    cg_status status = path && caption ? CG_OK : CG_ENOMEM;
    if (status == CG_OK && d->size == *capacity) {
        int64_t wanted = 2 * *capacity + 64;
        char **paths = realloc(d->path, (size_t)wanted * sizeof *paths);
        if (paths) d->path = paths;
        char **captions = realloc(d->caption, (size_t)wanted * sizeof *captions);
        if (captions) d->caption = captions;
        if (paths && captions)
            *capacity = wanted;
        else
            status = CG_ENOMEM;
    }
    if (status != CG_OK) {
        free(path);
        free(caption);
        return cg_error(status, "dataset: no memory for pair %lld", (long long)d->size);
    }
    d->path[d->size] = path;
    d->caption[d->size++] = caption;
    return CG_OK;
}

cg_status cg_dataset_number_captions(cg_dataset *d) {
    if (d->size > INT32_MAX / 2)
        return cg_error(CG_EUNSUPPORTED, "dataset: %lld pairs, at most %d can be read",
                        (long long)d->size, INT32_MAX / 2);
    size_t size = 64, n = (size_t)d->size;
    while (size < 2 * n) size *= 2;
    int32_t *slot = calloc(size, sizeof *slot); /* hash of a caption → a pair that has it, + 1 */
    d->caption_id = malloc((n + 1) * sizeof *d->caption_id);
    if (!slot || !d->caption_id) {
        free(slot);
        return cg_error(CG_ENOMEM, "dataset: no memory for %zu pairs", n);
    }
    d->n_captions = 0;
    for (size_t i = 0; i < n; i++) {
        size_t h = XXH3_64bits(d->caption[i], strlen(d->caption[i])) & (size - 1);
        while (slot[h] && strcmp(d->caption[slot[h] - 1], d->caption[i])) h = (h + 1) & (size - 1);
        d->caption_id[i] = slot[h] ? d->caption_id[slot[h] - 1] : d->n_captions++;
        if (!slot[h]) slot[h] = (int32_t)i + 1;
    }
    free(slot);
    return CG_OK;
}

static uint64_t add_text(uint64_t hash, const char *text) {
    return XXH3_64bits_withSeed(text, strlen(text), hash);
}

uint64_t cg_dataset_fingerprint(const cg_dataset *d, const cg_templates *t) {
    uint64_t hash = (uint64_t)t->n;
    for (int k = 0; k < t->n; k++) hash = add_text(hash, t->text[k]);
    for (int64_t i = 0; i < d->size; i++) hash = add_text(hash, d->caption[i]);
    return hash;
}

cg_status cg_dataset_skip(cg_dataset *d, const char *message) {
    char **bigger = realloc(d->skipped, (size_t)(d->n_skipped + 1) * sizeof *bigger);
    if (bigger) d->skipped = bigger;
    char *copy = bigger ? strdup(message) : NULL;
    if (!copy) return cg_error(CG_ENOMEM, "dataset: no memory");
    d->skipped[d->n_skipped++] = copy;
    return CG_OK;
}

void cg_dataset_free(cg_dataset *d) {
    if (!d) return;
    for (int64_t i = 0; i < d->size; i++) {
        free(d->path[i]);
        free(d->caption[i]);
    }
    free(d->path);
    free(d->caption);
    free(d->caption_id);
    for (int64_t i = 0; i < d->n_skipped; i++) free(d->skipped[i]);
    free(d->skipped);
    cg_classes_free(&d->classes);
    d->ops->free(d);
}
