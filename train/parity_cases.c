/* The batches in which a file is run. */
#include "train/parity_private.h"

#include "train/match.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
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
static const float *prepared(cg_parity *p, batch b) {
    int64_t side = p->o.preprocess->size, area = side * side;
    const float *from = p->pictures.pixels + b.first * area * 3;
    float *to = cg_parity_alloc(p, b.n * area * 3, sizeof *to);
    for (int64_t i = 0; to && i < b.n; i++)
        cg_parity_planes(from + i * area * 3, area, to + i * area * 3);
    return to;
}

static cg_status add_pixel_values(cg_parity *p, cg_parity_case *t, batch b) {
    int64_t side = p->o.preprocess->size;
    return add_input(t, "pixel_values", CG_F32, CG_SHAPE(b.n, 3, side, side), prepared(p, b));
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

static const float *from_row(const cg_parity *p, const float *row, int64_t first) {
    return row + first * p->desc.embed_dim;
}

static cg_status probabilities(const cg_parity *p, const cg_parity_output *o, const float *image,
                               float *out) {
    int64_t width = p->desc.embed_dim;
    double *one = malloc((size_t)o->width * sizeof *one);
    if (!one) return cg_error(CG_ENOMEM, "no memory for probabilities");
    for (int64_t i = 0; i < o->rows; i++) {
        cg_match_probabilities(image + i * width, p->o.label, o->width, width, p->temperature, one);
        for (int64_t k = 0; k < o->width; k++) out[i * o->width + k] = (float)one[k];
    }
    free(one);
    return CG_OK;
}

cg_status cg_parity_scores(const cg_parity *p, const cg_parity_output *o, const float *image,
                           const float *text, float *out) {
    if (o->kind == CG_PARITY_PROBABILITIES) return probabilities(p, o, image, out);
    int64_t width = p->desc.embed_dim;
    int pictures = strcmp(o->name, "logits_per_image") == 0;
    const float *row = pictures ? image : text, *column = pictures ? text : image;
    for (int64_t i = 0; i < o->rows; i++)
        for (int64_t k = 0; k < o->width; k++)
            out[i * o->width + k] =
                (float)(p->temperature * cg_parity_dot(row + i * width, column + k * width, width) +
                        p->bias);
    return CG_OK;
}

static cg_status add_output(cg_parity *p, cg_parity_case *t, cg_parity_output o) {
    o.found = cg_parity_alloc(p, o.rows * o.width, sizeof *o.found);
    t->out[t->n_out++] = o;
    return o.found && o.wanted ? CG_OK : CG_ENOMEM;
}

static cg_status add_scores(cg_parity *p, cg_parity_case *t, const char *name, cg_parity_kind kind,
                            batch images, batch texts) {
    int64_t labels = p->o.labels;
    cg_parity_output o = {name, kind, images.n, labels ? labels : texts.n, NULL, NULL};
    if (strcmp(name, "logits_per_text") == 0) {
        o.rows = texts.n;
        o.width = images.n;
    }
    float *wanted = cg_parity_alloc(p, o.rows * o.width, sizeof *wanted);
    if (!wanted) return CG_ENOMEM;
    CG_TRY(cg_parity_scores(p, &o, from_row(p, p->pictures.row, images.first),
                            from_row(p, p->captions.row, texts.first), wanted));
    o.wanted = wanted;
    return add_output(p, t, o);
}

static cg_status add_embeddings(cg_parity *p, cg_parity_case *t, const char *name, const float *row,
                                batch b) {
    int64_t width = p->desc.embed_dim;
    return add_output(p, t,
                      (cg_parity_output){name, CG_PARITY_EMBEDDINGS, b.n, width,
                                         from_row(p, row, b.first), NULL});
}

/* What the file gives. */
static cg_status add_outputs(cg_parity *p, cg_parity_case *t, batch images, batch texts) {
    if (p->o.what == CG_ONNX_CLASSIFIER)
        return add_scores(p, t, "probs", CG_PARITY_PROBABILITIES, images, texts);
    if (images.n) CG_TRY(add_embeddings(p, t, "image_embeds", p->pictures.row, images));
    if (texts.n) CG_TRY(add_embeddings(p, t, "text_embeds", p->captions.row, texts));
    if (!images.n || !texts.n) return CG_OK;
    CG_TRY(add_scores(p, t, "logits_per_image", CG_PARITY_LOGITS, images, texts));
    return add_scores(p, t, "logits_per_text", CG_PARITY_LOGITS, images, texts);
}

/* What is inside it. */
static cg_status add_inner(cg_parity *p, cg_parity_case *t, batch images) {
    int64_t side = p->o.preprocess->size;
    int n = t->n_out;
    if (p->o.what == CG_ONNX_CLASSIFIER)
        CG_TRY(add_embeddings(p, t, "image_embeds", p->pictures.row, images));
    if (p->o.inside)
        CG_TRY(add_output(p, t,
                          (cg_parity_output){"pixel_values", CG_PARITY_PIXELS, images.n,
                                             3 * side * side, prepared(p, images), NULL}));
    t->n_inner = t->n_out - n;
    t->n_out = n;
    return CG_OK;
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
    const cg_image *image = &p->pictures.image[images.first];
    int size = p->o.preprocess->size;
    name_case(p, images, texts, t);
    t->resized = images.n && p->o.inside && (image->width != size || image->height != size);
    if (images.n) CG_TRY((p->o.inside ? add_pixels : add_pixel_values)(p, t, images));
    if (texts.n) CG_TRY(add_ids(p, t, texts));
    CG_TRY(add_outputs(p, t, images, texts));
    return images.n ? add_inner(p, t, images) : CG_OK;
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
