/* The batches in which a file is run. */
#include "train/parity_private.h"

#include "train/match.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Of pictures or captions: those from `first` on; captions are padded to `tokens`. */
typedef struct batch {
    int64_t first, n, tokens;
} batch;

typedef struct batches {
    batch *list;
    int n;
} batches;

enum { TOGETHER = 8 }; /* pictures of one size in one batch, at most */

static int has_images(const cg_parity *p) {
    return p->o.what != CG_ONNX_TEXT;
}

static int has_texts(const cg_parity *p) {
    return p->o.what == CG_ONNX_TEXT || p->o.what == CG_ONNX_BOTH;
}

/* --- which batches ---------------------------------------------------------------------------- */

static int same_size(const cg_image *a, const cg_image *b) {
    return a->width == b->width && a->height == b->height;
}

/* Batches of 1, of 2, and of all; where pictures are prepared inside, of equal sizes only. */
static void batch_pictures(const cg_parity *p, batches *out) {
    const cg_parity_pictures *all = &p->pictures;
    for (int64_t at = 0, n; at < all->n; at += n) {
        int64_t most = p->o.inside ? TOGETHER : at == 0 ? 1 : at == 1 ? 2 : TOGETHER;
        for (n = 1; n < most && at + n < all->n; n++)
            if (p->o.inside && !same_size(&all->image[at], &all->image[at + n])) break;
        out->list[out->n++] = (batch){at, n, 0};
    }
}

static int64_t longest(const cg_parity_captions *c, int64_t first, int64_t n) {
    int64_t most = 0;
    for (int64_t i = first; i < first + n; i++)
        if (c->offset[i + 1] - c->offset[i] > most) most = c->offset[i + 1] - c->offset[i];
    return most;
}

/* One alone, without padding; some; all, padded as far as the model goes. Where padding is seen,
 * there is one padding. */
static void batch_captions(const cg_parity *p, batches *out) {
    const cg_parity_captions *c = &p->captions;
    const batch some[] = {{0, 1, 0}, {0, 2, 0},        {1, 1, 0},
                          {3, 1, 0}, {5, c->n - 5, 0}, {0, c->n, 0}};
    int64_t context = p->desc.text.context_length;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        batch b = some[i];
        int whole = b.n == c->n || !cg_clip_text_packs(&p->desc);
        b.tokens = whole ? context : longest(c, b.first, b.n);
        out->list[out->n++] = b;
    }
}

/* --- inputs ----------------------------------------------------------------------------------- */

static cg_status add_input(cg_parity_case *t, const char *name, cg_dtype dtype, cg_shape shape,
                           const void *data) {
    size_t bytes = (size_t)cg_shape_count(&shape) * cg_dtype_size(dtype);
    t->in[t->n_in++] = (cg_tensor){name, dtype, shape, data, bytes};
    return data ? CG_OK : CG_ENOMEM;
}

/* u8 [n, height, width, 3] */
static cg_status add_pixels(cg_parity *p, cg_parity_case *t, batch b) {
    const cg_image *image = &p->pictures.image[b.first];
    size_t bytes = (size_t)image->width * (size_t)image->height * 3;
    uint8_t *to = cg_parity_alloc(p, b.n, bytes);
    for (int64_t i = 0; to && i < b.n; i++) memcpy(to + (size_t)i * bytes, image[i].rgb, bytes);
    return add_input(t, "pixels", CG_U8, CG_SHAPE(b.n, image->height, image->width, 3), to);
}

void cg_parity_planes(const float *from, int64_t area, float *to) {
    for (int64_t k = 0; k < area; k++)
        for (int64_t c = 0; c < 3; c++) to[c * area + k] = from[k * 3 + c];
}

/* f32 [n, 3, size, size] */
static cg_status add_pixel_values(cg_parity *p, cg_parity_case *t, batch b) {
    int64_t side = p->o.preprocess->size, area = side * side;
    const float *from = p->pictures.pixels + b.first * area * 3;
    float *to = cg_parity_alloc(p, b.n * area * 3, sizeof *to);
    for (int64_t i = 0; to && i < b.n; i++)
        cg_parity_planes(from + i * area * 3, area, to + i * area * 3);
    return add_input(t, "pixel_values", CG_F32, CG_SHAPE(b.n, 3, side, side), to);
}

static cg_status add_ids(cg_parity *p, cg_parity_case *t, batch b) {
    const cg_parity_captions *c = &p->captions;
    int64_t *id = cg_parity_alloc(p, b.n * b.tokens, sizeof *id);
    int64_t *mask = cg_parity_alloc(p, b.n * b.tokens, sizeof *mask);
    for (int64_t i = 0; id && mask && i < b.n; i++) {
        const int32_t *token = c->token + c->offset[b.first + i];
        int64_t n = c->offset[b.first + i + 1] - c->offset[b.first + i];
        for (int64_t k = 0; k < b.tokens; k++) {
            id[i * b.tokens + k] = k < n ? token[k] : p->desc.text.pad_id;
            mask[i * b.tokens + k] = k < n;
        }
    }
    CG_TRY(add_input(t, "input_ids", CG_I64, CG_SHAPE(b.n, b.tokens), id));
    if (!cg_clip_text_reads_mask(&p->desc)) return CG_OK;
    return add_input(t, "attention_mask", CG_I64, CG_SHAPE(b.n, b.tokens), mask);
}

/* --- outputs ---------------------------------------------------------------------------------- */

static cg_status add_output(cg_parity *p, cg_parity_case *t, const char *name, cg_parity_kind kind,
                            int64_t rows, int64_t width, const float *wanted,
                            const float *rounded) {
    float *found = cg_parity_alloc(p, rows * width, sizeof *found);
    t->out[t->n_out++] = (cg_parity_output){name, kind, rows, width, wanted, rounded, found};
    return found && wanted ? CG_OK : CG_ENOMEM;
}

/* [rows, columns] = temperature · row · columnᵀ + bias */
static float *logits(cg_parity *p, const float *row, int64_t rows, const float *column,
                     int64_t columns) {
    int64_t width = p->desc.embed_dim;
    float *out = cg_parity_alloc(p, rows * columns, sizeof *out);
    for (int64_t i = 0; out && i < rows; i++)
        for (int64_t k = 0; k < columns; k++)
            out[i * columns + k] =
                (float)(p->temperature * cg_parity_dot(row + i * width, column + k * width, width) +
                        p->bias);
    return out;
}

static const float *from_row(const cg_parity *p, const float *row, int64_t first) {
    return row ? row + first * p->desc.embed_dim : NULL;
}

static cg_status add_logits(cg_parity *p, cg_parity_case *t, batch images, batch texts) {
    const cg_parity_pictures *all = &p->pictures;
    const float *image = from_row(p, all->row, images.first);
    const float *text = from_row(p, p->captions.row, texts.first);
    const float *image2 = from_row(p, all->rounded, images.first);
    const float *text2 = from_row(p, p->captions.rounded, texts.first);
    int64_t n = images.n, k = texts.n;
    CG_TRY(add_output(p, t, "logits_per_image", CG_PARITY_LOGITS, n, k,
                      logits(p, image, n, text, k),
                      image2 ? logits(p, image2, n, text2, k) : NULL));
    return add_output(p, t, "logits_per_text", CG_PARITY_LOGITS, k, n, logits(p, text, k, image, n),
                      image2 ? logits(p, text2, k, image2, n) : NULL);
}

/* [n, labels]. In a file labels' embeddings are f32 whatever the weights are. */
static float *probabilities(cg_parity *p, const float *row, int64_t n) {
    int64_t width = p->desc.embed_dim, labels = p->o.labels;
    float *out = cg_parity_alloc(p, n * labels, sizeof *out);
    double *one = cg_parity_alloc(p, labels, sizeof *one);
    if (!out || !one) return NULL;
    for (int64_t i = 0; i < n; i++) {
        cg_match_probabilities(row + i * width, p->o.label, labels, width, p->temperature, one);
        for (int64_t k = 0; k < labels; k++) out[i * labels + k] = (float)one[k];
    }
    return out;
}

static cg_status add_probabilities(cg_parity *p, cg_parity_case *t, batch b) {
    const float *row = from_row(p, p->pictures.row, b.first);
    const float *rounded = from_row(p, p->pictures.rounded, b.first);
    return add_output(p, t, "probs", CG_PARITY_PROBABILITIES, b.n, p->o.labels,
                      probabilities(p, row, b.n), rounded ? probabilities(p, rounded, b.n) : NULL);
}

/* --- all together ----------------------------------------------------------------------------- */

static void name_case(const cg_parity *p, batch images, batch texts, cg_parity_case *t) {
    int n = 0;
    const cg_image *image = &p->pictures.image[images.first];
    if (images.n)
        n = snprintf(t->name, sizeof t->name, "%" PRId64 " picture%s", images.n,
                     images.n == 1 ? "" : "s");
    if (images.n && p->o.inside)
        n += snprintf(t->name + n, sizeof t->name - (size_t)n, " of %d x %d", image->width,
                      image->height);
    if (texts.n)
        snprintf(t->name + n, sizeof t->name - (size_t)n,
                 "%s%" PRId64 " caption%s of %" PRId64 " tokens", n ? ", " : "", texts.n,
                 texts.n == 1 ? "" : "s", texts.tokens);
}

static cg_status add_case(cg_parity *p, batch images, batch texts) {
    cg_parity_case *t = &p->test[p->n_test++];
    int64_t width = p->desc.embed_dim;
    name_case(p, images, texts, t);
    if (images.n) CG_TRY((p->o.inside ? add_pixels : add_pixel_values)(p, t, images));
    if (texts.n) CG_TRY(add_ids(p, t, texts));
    if (p->o.what == CG_ONNX_CLASSIFIER) return add_probabilities(p, t, images);
    if (images.n)
        CG_TRY(add_output(p, t, "image_embeds", CG_PARITY_EMBEDDINGS, images.n, width,
                          from_row(p, p->pictures.row, images.first),
                          from_row(p, p->pictures.rounded, images.first)));
    if (texts.n)
        CG_TRY(add_output(p, t, "text_embeds", CG_PARITY_EMBEDDINGS, texts.n, width,
                          from_row(p, p->captions.row, texts.first),
                          from_row(p, p->captions.rounded, texts.first)));
    return images.n && texts.n ? add_logits(p, t, images, texts) : CG_OK;
}

/* With both towers, the batches of one side and of the other go together, the fewer again. */
cg_status cg_parity_make_cases(cg_parity *p) {
    batches images = {cg_parity_alloc(p, p->pictures.n + 1, sizeof(batch)), 0};
    batches texts = {cg_parity_alloc(p, p->captions.n + 1, sizeof(batch)), 0};
    if (!images.list || !texts.list) return CG_ENOMEM;
    if (has_images(p)) batch_pictures(p, &images);
    if (has_texts(p)) batch_captions(p, &texts);
    int n = images.n > texts.n ? images.n : texts.n;
    p->test = cg_parity_alloc(p, n, sizeof *p->test);
    if (!p->test) return CG_ENOMEM;
    for (int i = 0; i < n; i++)
        CG_TRY(add_case(p, images.n ? images.list[i % images.n] : (batch){0},
                        texts.n ? texts.list[i % texts.n] : (batch){0}));
    return CG_OK;
}
