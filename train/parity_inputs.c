/* What both sides are given: pictures and captions, the same whatever the model's weights. */
#include "train/parity_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SEED = 20113, DRAWN = 8, SPOTS = 12, CAPTIONS = 8, EMBEDDED = 8 };

/* --- pictures --------------------------------------------------------------------------------- */

/* A slope of colour with rectangles and noise on it, so that no part of it is like another. */
static cg_status draw(int number, int width, int height, cg_image *out) {
    cg_rng r = cg_rng_at(SEED, CG_RNG_TEST, 0, (uint64_t)number);
    CG_TRY(cg_image_alloc(width, height, out));
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *pixel = out->rgb + 3 * ((size_t)y * (size_t)width + (size_t)x);
            uint32_t noise = cg_rng_u32(&r);
            pixel[0] = (uint8_t)(x * 223 / width + (int)(noise & 31));
            pixel[1] = (uint8_t)(y * 223 / height + (int)(noise >> 8 & 31));
            pixel[2] = (uint8_t)((x + y) * 223 / (width + height) + (int)(noise >> 16 & 31));
        }
    for (int i = 0; i < SPOTS; i++) {
        uint32_t colour = cg_rng_u32(&r);
        int left = (int)cg_rng_below(&r, (uint64_t)width),
            top = (int)cg_rng_below(&r, (uint64_t)height);
        int right = left + 1 + width / 5, bottom = top + 1 + height / 6;
        for (int y = top; y < bottom && y < height; y++)
            for (int x = left; x < right && x < width; x++)
                for (int c = 0; c < 3; c++)
                    out->rgb[3 * ((size_t)y * (size_t)width + (size_t)x) + (size_t)c] =
                        (uint8_t)(colour >> (8 * c));
    }
    return CG_OK;
}

/* Sides as parts of the model's: wide and tall, larger and smaller, two of one size, one square. */
static cg_status draw_all(cg_parity *p) {
    int s = p->o.preprocess->size;
    const int side[DRAWN][2] = {{s + s / 3 + 1, s},
                                {s, 2 * s + 7},
                                {s / 2 + 1, s - 1},
                                {3 * s + 1, s + 2},
                                {s, s},
                                {s / 3 + 1, s / 2 + 2},
                                {s + 5, s + s / 2 + 1},
                                {s + 5, s + s / 2 + 1}};
    for (int i = 0; i < DRAWN; i++) {
        CG_TRY(draw(i, side[i][0], side[i][1], &p->pictures.image[i]));
        p->pictures.n = i + 1;
    }
    return CG_OK;
}

/* Given ones follow. */
static cg_status load_given(cg_parity *p, int64_t most) {
    const cg_dataset *d = p->o.pictures;
    cg_parity_pictures *all = &p->pictures;
    cg_status s = CG_OK;
    for (int64_t i = 0; i < most; i++) {
        s = d->ops->image(d, i, &all->image[all->n]);
        all->n += s == CG_OK;
        all->given += s == CG_OK;
        all->left_out += s != CG_OK;
    }
    return all->given || !most ? CG_OK : cg_error_in(s, "not one given picture can be read");
}

/* A few at a time. */
static cg_status embed_pictures(cg_parity *p, cg_runner *r) {
    cg_parity_pictures *all = &p->pictures;
    int64_t side = p->o.preprocess->size, numbers = 3 * side * side, width = p->desc.embed_dim;
    all->row = cg_parity_alloc(p, all->n * width, sizeof *all->row);
    if (!all->row) return CG_ENOMEM;
    for (int64_t i = 0; i < all->n; i += EMBEDDED) {
        int64_t n = all->n - i < EMBEDDED ? all->n - i : EMBEDDED;
        CG_TRY(cg_runner_embed_images(r, all->pixels + i * numbers, n, all->row + i * width));
    }
    return CG_OK;
}

cg_status cg_parity_make_pictures(cg_parity *p, cg_runner *reference) {
    cg_parity_pictures *all = &p->pictures;
    int64_t side = p->o.preprocess->size, numbers = 3 * side * side;
    int64_t given = p->o.pictures ? p->o.pictures->size : 0;
    if (given > p->o.most) given = p->o.most;
    all->image = cg_parity_alloc(p, DRAWN + given, sizeof *all->image);
    if (!all->image) return CG_ENOMEM;
    CG_TRY(draw_all(p));
    CG_TRY(load_given(p, given));
    all->pixels = cg_parity_alloc(p, all->n * numbers, sizeof *all->pixels);
    if (!all->pixels) return CG_ENOMEM;
    for (int64_t i = 0; i < all->n; i++)
        CG_TRY(cg_preprocess_image(&all->image[i], p->o.preprocess, all->pixels + i * numbers));
    return embed_pictures(p, reference);
}

/* --- captions --------------------------------------------------------------------------------- */

typedef struct writer {
    cg_parity_captions *to;
    cg_rng rng;
    int32_t start, end, vocab;
    int context;
} writer;

/* Adds a caption: start, n - 2 drawn words, end; as much as fits. */
static int32_t *begin(writer *w, int n) {
    cg_parity_captions *c = w->to;
    if (n > w->context) n = w->context;
    int32_t *at = c->token + c->offset[c->n];
    at[0] = w->start;
    for (int i = 1; i < n - 1; i++) at[i] = (int32_t)cg_rng_below(&w->rng, (uint64_t)w->vocab);
    at[n - 1] = w->end;
    c->offset[c->n + 1] = c->offset[c->n] + n;
    c->n++;
    return at;
}

static cg_status add_text(writer *w, const cg_tokenizer *t, const char *text) {
    cg_parity_captions *c = w->to;
    int n;
    CG_TRY(cg_tokenizer_encode(t, text, w->context, c->token + c->offset[c->n], &n, NULL));
    c->token[c->offset[c->n] + n - 1] = w->end;
    c->offset[c->n + 1] = c->offset[c->n] + n;
    c->n++;
    return CG_OK;
}

static cg_status write_captions(writer *w, const cg_tokenizer *t) {
    static const char text[] =
        "Ein Fu\xc3\x9fg\xc3\xa4nger, \xe6\xbc\xa2\xe5\xad\x97 & "
        "\xf0\x9f\x99\x82\xf0\x9f\x8f\xbd \xc2\xbd na\xc3\xafve \xe2\x80\x94 "
        "\xd0\xb4\xd0\xbe\xd0\xbc!";
    begin(w, 5);
    begin(w, 2); /* no word */
    begin(w, w->context);
    begin(w, 3);
    begin(w, w->context - 1 > 2 ? w->context - 1 : 2);
    int32_t *ends = begin(w, 8);
    for (int i = 2; i < 7 && i < w->context - 1; i += 2) ends[i] = w->end;
    int32_t *large = begin(w, 6);
    if (w->context > 2) large[1] = w->vocab - 1; /* perhaps larger than the end token */
    if (t) return add_text(w, t, text);
    begin(w, 7);
    return CG_OK;
}

static cg_status embed_captions(cg_parity *p, cg_runner *r) {
    cg_parity_captions *c = &p->captions;
    c->row = cg_parity_alloc(p, c->n * p->desc.embed_dim, sizeof *c->row);
    return c->row ? cg_runner_embed_texts(r, c->token, c->offset, c->n, c->row) : CG_ENOMEM;
}

cg_status cg_parity_make_captions(cg_parity *p, cg_runner *reference, const cg_tokenizer *t) {
    const cg_text_desc *d = &p->desc.text;
    int64_t context = d->context_length;
    writer w = {.to = &p->captions,
                .rng = cg_rng_at(SEED, CG_RNG_TEST, 1, 0),
                .context = (int)context,
                .vocab = (int32_t)d->vocab_size,
                .start = (int32_t)(t ? cg_tokenizer_start(t) : d->vocab_size - 2),
                .end = (int32_t)(t ? cg_tokenizer_end(t) : d->vocab_size - 1)};
    if (d->text_arch == CG_TEXT_TRANSFORMER && d->pool_type == CG_POOL_EOS)
        w.end = (int32_t)d->eos_id;
    p->captions.token = cg_parity_alloc(p, CAPTIONS * (context + 8), sizeof(int32_t));
    p->captions.offset = cg_parity_alloc(p, CAPTIONS + 1, sizeof(int32_t));
    if (!p->captions.token || !p->captions.offset) return CG_ENOMEM;
    CG_TRY(write_captions(&w, t));
    return embed_captions(p, reference);
}
