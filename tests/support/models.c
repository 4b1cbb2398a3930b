#include "tests/support/models.h"

#include "tests/support/hash.h"
#include "tests/support/ok.h"

#include <stdio.h>
#include <stdlib.h>

cg_clip_desc describe(const char *name) {
    char path[512];
    cg_clip_desc d;
    snprintf(path, sizeof path, CG_SOURCE_DIR "/models/configs/%s.json", name);
    ok(cg_clip_desc_load(path, &d));
    return d;
}

cg_batch make_pairs(const cg_clip_desc *d, int64_t n) {
    static const int32_t length[PAIRS_MOST] = {3, 1, 6, 2, PAIRS_LONGEST, 4, 5, 2};
    int64_t size = d->vision.image_size;
    cg_batch b = {.n = n};
    assert_true(n <= PAIRS_MOST);
    b.image = calloc((size_t)(n * size * size * 3), sizeof *b.image);
    b.token = calloc((size_t)cg_clip_rows(n * (PAIRS_LONGEST + 2)), sizeof *b.token);
    b.offset = calloc((size_t)n + 1, sizeof *b.offset);
    if (!b.image || !b.token || !b.offset) fail_msg("no memory for pairs");
    cg_hash_image(1, n, size, b.image);
    cg_hash_captions(1, &d->text, n, length, b.token, b.offset);
    return b;
}

void free_pairs(cg_batch *b) {
    free(b->image);
    free(b->token);
    free(b->offset);
}
