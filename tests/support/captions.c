#include "tests/support/captions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* Rows of no caption hold the end token. */
static void pack(captions *c, const cg_clip_desc *d, const int32_t *token, const int32_t *offset) {
    int special = cg_clip_text_drops_specials(d);
    int64_t at = 0;
    c->rows = cg_clip_rows(offset[c->texts] - 2 * special * c->texts);
    c->token = malloc((size_t)c->rows * sizeof *c->token);
    c->offset = malloc((size_t)(c->texts + 1) * sizeof *c->offset);
    assert_true(c->token && c->offset);
    for (int64_t t = 0; t < c->texts; t++) {
        c->offset[t] = (int32_t)at;
        for (int32_t i = offset[t] + special; i < offset[t + 1] - special; i++)
            c->token[at++] = token[i];
    }
    c->offset[c->texts] = (int32_t)at;
    while (at < c->rows) c->token[at++] = (int32_t)d->text.vocab_size - 1;
}

static void pad(captions *c, const cg_clip_desc *d, const int32_t *token, const int32_t *offset) {
    int special = cg_clip_text_drops_specials(d);
    int64_t n = c->texts * c->tokens;
    c->token = malloc((size_t)n * sizeof *c->token);
    c->mask = malloc((size_t)n * sizeof *c->mask);
    assert_true(c->token && c->mask);
    for (int64_t i = 0; i < n; i++) {
        int64_t t = i / c->tokens, place = i % c->tokens, length = offset[t + 1] - offset[t];
        c->token[i] = (int32_t)(place < length ? token[offset[t] + place] : d->text.pad_id);
        c->mask[i] = place >= special && place < length - special;
    }
}

captions captions_lay_out(const cg_clip_desc *d, cg_text_layout layout, int64_t tokens, int64_t n,
                          const int32_t *token, const int32_t *offset) {
    captions c = {.layout = layout, .texts = n};
    if (layout == CG_TEXT_PACKED) {
        pack(&c, d, token, offset);
    } else {
        c.tokens = tokens;
        pad(&c, d, token, offset);
    }
    return c;
}

void captions_free(captions *c) {
    free(c->token);
    free(c->offset);
    free(c->mask);
    *c = (captions){0};
}

void captions_build(const captions *c, cg_clip_build *b) {
    b->texts = c->texts;
    b->layout = c->layout;
    b->rows = c->rows;
    b->tokens = c->tokens;
}

cg_status captions_bind(const captions *c, const cg_clip_desc *d, cg_exec *e) {
    CG_TRY(cg_exec_bind_input(e, "token", c->token));
    if (c->layout == CG_TEXT_PACKED) return cg_exec_bind_input(e, "token_offset", c->offset);
    return cg_clip_text_reads_mask(d) ? cg_exec_bind_input(e, "token_mask", c->mask) : CG_OK;
}
