/* An exported file over data, a batch at a time. */
#include "train/export_private.h"

#include "train/parity_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64, MOST_BYTES = 1 << 26 /* of pictures as they are, in one run */ };

int64_t cg_export_batch(const cg_exporting *e) {
    int64_t n = e->o->batch ? e->o->batch : BATCH;
    return e->o->data->size < n ? e->o->data->size : n;
}

static cg_status no_memory(void) {
    return cg_error(CG_ENOMEM, "no memory to run an exported file");
}

/* Rows [n, width] of an output. */
static cg_status run(const cg_exporting *e, cg_onnx_session *session, const cg_tensor *in, int n_in,
                     const char *name, int64_t n, int64_t width, float *to) {
    cg_tensor out = {.name = name};
    CG_TRY(cg_export_go_on(e));
    CG_TRY(cg_onnx_session_run(session, in, n_in, &out, 1));
    if (out.bytes != (size_t)(n * width) * sizeof *to)
        return cg_error(CG_EFORMAT, "%s: has %zu bytes, wanted %" PRId64 " rows of %" PRId64, name,
                        out.bytes, n, width);
    memcpy(to, out.data, out.bytes);
    return CG_OK;
}

/* --- pictures --------------------------------------------------------------------------------- */

/* One picture of the data as the tower reads it: [side, side, 3] of scratch, then [3, side, side].
 */
static cg_status prepare(const cg_exporting *e, int64_t index, float *pixels, float *planes) {
    const cg_preprocess *p = &e->model->preprocess;
    cg_image image = {0};
    cg_status s = e->o->data->ops->image(e->o->data, index, &image);
    if (s == CG_OK) s = cg_preprocess_image(&image, p, pixels);
    if (s == CG_OK) cg_parity_planes(pixels, (int64_t)p->size * p->size, planes);
    cg_image_free(&image);
    return s;
}

/* n pictures, by several threads. */
static cg_status prepare_all(const cg_exporting *e, const int64_t *index, int64_t n, float *pixels,
                             float *planes) {
    int64_t side = e->model->preprocess.size, numbers = 3 * side * side, failed = n;
#pragma omp parallel for schedule(dynamic) reduction(min                                           \
                                                     : failed) num_threads(e->model->ctx->threads)
    for (int64_t i = 0; i < n; i++)
        if (prepare(e, index[i], pixels + i * numbers, planes + i * numbers) != CG_OK && i < failed)
            failed = i;
    /* again, for the message, which is its thread's */
    return failed == n ? CG_OK : prepare(e, index[failed], pixels, planes + failed * numbers);
}

static cg_status run_prepared(const cg_exporting *e, cg_onnx_session *session, const int64_t *index,
                              int64_t n, const char *output, int64_t width, float *to) {
    int64_t side = e->model->preprocess.size, batch = cg_export_batch(e);
    size_t bytes = (size_t)(3 * side * side) * sizeof(float);
    float *pixels = malloc((size_t)batch * bytes), *planes = malloc((size_t)batch * bytes);
    cg_status s = pixels && planes ? CG_OK : no_memory();
    for (int64_t i = 0; i < n && s == CG_OK; i += batch) {
        int64_t m = n - i < batch ? n - i : batch;
        s = prepare_all(e, index + i, m, pixels, planes);
        cg_tensor in = {"pixel_values", CG_F32, CG_SHAPE(m, 3, side, side), planes,
                        (size_t)m * bytes};
        if (s == CG_OK) s = run(e, session, &in, 1, output, m, width, to + i * width);
    }
    free(pixels);
    free(planes);
    return s;
}

/* Pictures of one size, one behind the other. */
typedef struct pile {
    int64_t n, room; /* bytes */
    int width, height;
    uint8_t *rgb;
} pile;

static int64_t bytes_of(const cg_image *image) {
    return 3 * (int64_t)image->width * image->height;
}

/* Does it go on the pile? */
static int fits(const pile *p, const cg_image *image, int64_t batch) {
    return p->n < batch && p->width == image->width && p->height == image->height &&
           (p->n + 1) * bytes_of(image) <= MOST_BYTES;
}

static cg_status put(pile *p, const cg_image *image) {
    int64_t bytes = bytes_of(image);
    if (!p->rgb || (p->n + 1) * bytes > p->room) {
        int64_t room = 2 * (p->n + 1) * bytes;
        uint8_t *rgb = realloc(p->rgb, (size_t)room);
        if (!rgb) return no_memory();
        p->rgb = rgb;
        p->room = room;
    }
    p->width = image->width;
    p->height = image->height;
    memcpy(p->rgb + p->n++ * bytes, image->rgb, (size_t)bytes);
    return CG_OK;
}

/* The file prepares them itself. */
static cg_status run_as_they_are(const cg_exporting *e, cg_onnx_session *session,
                                 const int64_t *index, int64_t n, const char *output, int64_t width,
                                 float *to) {
    pile p = {0};
    cg_status s = CG_OK;
    for (int64_t i = 0; i <= n && s == CG_OK; i++) {
        cg_image image = {0};
        if (i < n) s = e->o->data->ops->image(e->o->data, index[i], &image);
        if (s == CG_OK && p.n && (i == n || !fits(&p, &image, cg_export_batch(e)))) {
            cg_tensor in = {"pixels", CG_U8, CG_SHAPE(p.n, p.height, p.width, 3), p.rgb,
                            (size_t)p.n * (size_t)p.height * (size_t)p.width * 3};
            s = run(e, session, &in, 1, output, p.n, width, to + (i - p.n) * width);
            p.n = 0;
        }
        if (i < n && s == CG_OK) s = put(&p, &image);
        cg_image_free(&image);
    }
    free(p.rgb);
    return s;
}

cg_status cg_export_run_pictures(const cg_exporting *e, cg_onnx_session *session,
                                 const int64_t *index, int64_t n, const char *output, int64_t width,
                                 float *to) {
    return (e->o->inside ? run_as_they_are : run_prepared)(e, session, index, n, output, width, to);
}

/* --- captions --------------------------------------------------------------------------------- */

/* A row of ids and its mask, padded as far as the model goes. */
static cg_status encode(const cg_exporting *e, const char *caption, int32_t *token, int64_t *id,
                        int64_t *mask) {
    const cg_text_desc *d = &cg_runner_desc(e->model->runner)->text;
    int used = 0;
    CG_TRY(cg_tokenizer_encode(e->model->tokenizer, caption, (int)d->context_length, token, &used,
                               NULL));
    for (int64_t k = 0; k < d->context_length; k++) {
        id[k] = k < used ? token[k] : d->pad_id;
        mask[k] = k < used;
    }
    return CG_OK;
}

cg_status cg_export_run_captions(const cg_exporting *e, cg_onnx_session *session,
                                 const char *const *caption, int64_t n, float *to) {
    const cg_clip_desc *d = cg_runner_desc(e->model->runner);
    int64_t context = d->text.context_length, width = d->embed_dim, batch = cg_export_batch(e);
    int32_t *token = malloc((size_t)context * sizeof *token);
    int64_t *id = malloc(2 * (size_t)(batch * context) * sizeof *id), *mask = id + batch * context;
    cg_status s = token && id ? CG_OK : no_memory();
    for (int64_t i = 0; i < n && s == CG_OK; i += batch) {
        int64_t m = n - i < batch ? n - i : batch;
        for (int64_t k = 0; k < m && s == CG_OK; k++)
            s = encode(e, caption[i + k], token, id + k * context, mask + k * context);
        if (s != CG_OK) break;
        size_t bytes = (size_t)(m * context) * sizeof *id;
        cg_tensor in[] = {{"input_ids", CG_I64, CG_SHAPE(m, context), id, bytes},
                          {"attention_mask", CG_I64, CG_SHAPE(m, context), mask, bytes}};
        s = run(e, session, in, cg_clip_text_reads_mask(d) ? 2 : 1, "text_embeds", m, width,
                to + i * width);
    }
    free(token);
    free(id);
    return s;
}
