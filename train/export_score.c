/* What an export costs on data: accuracy or recall, by the model and by the file. */
#include "train/export_private.h"

#include "data/classes.h"
#include "train/parity_private.h"
#include "train/zero_shot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32 };

typedef struct scorer {
    const cg_exporting *e;
    const cg_dataset *data;
    const cg_clip_desc *d;
    cg_onnx_session *session;
    cg_embeddings image;     /* by the model */
    float *file_image;       /* by the file, of the same pictures; classifier: [n, labels] */
    float *text, *file_text; /* distinct captions */
    float *pixels, *planes;  /* one picture, [side, side, 3] and [3, side, side] */
    cg_accuracy *out;
} scorer;

static cg_status no_memory(void) {
    return cg_error(CG_ENOMEM, "no memory to measure an exported file");
}

/* --- by the file ------------------------------------------------------------------------------ */

/* One row of an output. */
static cg_status run(scorer *s, const cg_tensor *in, int n_in, const char *name, int64_t width,
                     float *to) {
    cg_tensor out = {.name = name};
    CG_TRY(cg_onnx_session_run(s->session, in, n_in, &out, 1));
    if (out.bytes != (size_t)width * sizeof *to)
        return cg_error(CG_EFORMAT, "%s: has %zu bytes, wanted %" PRId64 " numbers", name,
                        out.bytes, width);
    memcpy(to, out.data, out.bytes);
    return CG_OK;
}

static cg_status run_picture(scorer *s, const cg_image *image, const char *name, int64_t width,
                             float *to) {
    const cg_preprocess *p = &s->e->model->preprocess;
    int64_t side = p->size, numbers = 3 * side * side;
    if (s->e->o->inside) {
        cg_tensor in = {"pixels", CG_U8, CG_SHAPE(1, image->height, image->width, 3), image->rgb,
                        (size_t)image->width * (size_t)image->height * 3};
        return run(s, &in, 1, name, width, to);
    }
    CG_TRY(cg_preprocess_image(image, p, s->pixels));
    cg_parity_planes(s->pixels, side * side, s->planes);
    cg_tensor in = {"pixel_values", CG_F32, CG_SHAPE(1, 3, side, side), s->planes,
                    (size_t)numbers * sizeof *s->planes};
    return run(s, &in, 1, name, width, to);
}

/* The pictures that the model has embedded, one after another. */
static cg_status run_pictures(scorer *s, const char *name, int64_t width) {
    size_t numbers =
        3 * (size_t)s->e->model->preprocess.size * (size_t)s->e->model->preprocess.size;
    s->pixels = malloc(numbers * sizeof *s->pixels);
    s->planes = malloc(numbers * sizeof *s->planes);
    s->file_image = malloc((size_t)(s->image.n * width) * sizeof *s->file_image + 1);
    if (!s->pixels || !s->planes || !s->file_image) return no_memory();
    for (int64_t i = 0; i < s->image.n; i++) {
        cg_image image = {0};
        CG_TRY(s->data->ops->image(s->data, s->image.index[i], &image));
        cg_status status = run_picture(s, &image, name, width, s->file_image + i * width);
        cg_image_free(&image);
        CG_TRY(status);
    }
    return CG_OK;
}

/* Padded as far as the model goes: one plan for all. */
static cg_status run_captions(scorer *s, const char *const *caption, int64_t n) {
    int64_t width = s->d->embed_dim, context = s->d->text.context_length;
    int32_t *token = malloc((size_t)context * sizeof *token);
    int64_t *id = malloc(2 * (size_t)context * sizeof *id), *mask = id + context;
    s->file_text = malloc((size_t)(n * width) * sizeof *s->file_text + 1);
    cg_status status = token && id && s->file_text ? CG_OK : no_memory();
    for (int64_t i = 0; i < n && status == CG_OK; i++) {
        int used = 0;
        status = cg_tokenizer_encode(s->e->model->tokenizer, caption[i], (int)context, token, &used,
                                     NULL);
        if (status != CG_OK) break;
        for (int64_t k = 0; k < context; k++) {
            id[k] = k < used ? token[k] : s->d->text.pad_id;
            mask[k] = k < used;
        }
        size_t bytes = (size_t)context * sizeof *id;
        cg_tensor in[] = {{"input_ids", CG_I64, CG_SHAPE(1, context), id, bytes},
                          {"attention_mask", CG_I64, CG_SHAPE(1, context), mask, bytes}};
        status = run(s, in, cg_clip_text_reads_mask(s->d) ? 2 : 1, "text_embeds", width,
                     s->file_text + i * width);
    }
    free(token);
    free(id);
    return status;
}

/* --- figures ---------------------------------------------------------------------------------- */

static void add(cg_accuracy *a, const char *name, double model, double file) {
    a->figure[a->n++] = (cg_accuracy_figure){name, model, file};
}

/* Pictures' places among captions, and captions' among pictures. */
static cg_status recall(scorer *s) {
    cg_onnx_what what = s->e->o->what;
    cg_runner *runner = s->e->model->runner;
    int threads = s->e->model->ctx->threads;
    const char **caption;
    int32_t *number, *caption_of;
    int64_t n, width = s->d->embed_dim;
    cg_retrieval model = {0}, file = {0};
    CG_TRY(cg_distinct_captions(s->data, &caption, &number, &n));
    caption_of = malloc((size_t)s->image.n * sizeof *caption_of + 1);
    cg_status status = caption_of ? CG_OK : no_memory();
    if (status == CG_OK)
        status = cg_embed_texts(runner, s->e->model->tokenizer, caption, n, &s->text, NULL);
    if (status == CG_OK && what != CG_ONNX_TEXT) status = run_pictures(s, "image_embeds", width);
    if (status == CG_OK && what != CG_ONNX_IMAGE) status = run_captions(s, caption, n);
    for (int64_t i = 0; i < s->image.n && status == CG_OK; i++)
        caption_of[i] = number[s->data->caption_id[s->image.index[i]]];
    if (status == CG_OK) {
        const float *image = s->file_image ? s->file_image : s->image.row;
        const float *text = s->file_text ? s->file_text : s->text;
        cg_rank_retrieval(s->image.row, caption_of, s->image.n, s->text, n, width, threads, &model);
        cg_rank_retrieval(image, caption_of, s->image.n, text, n, width, threads, &file);
        s->out->candidates = n;
        add(s->out, "image_to_text_recall1", model.image_to_text.at1, file.image_to_text.at1);
        add(s->out, "image_to_text_recall5", model.image_to_text.at5, file.image_to_text.at5);
        add(s->out, "text_to_image_recall1", model.text_to_image.at1, file.text_to_image.at1);
        add(s->out, "text_to_image_recall5", model.text_to_image.at5, file.text_to_image.at5);
    }
    free(caption_of);
    free(caption);
    free(number);
    return status;
}

/* Leaves the pictures whose caption is a label; class_of says which. */
static cg_status find_labels(scorer *s, int32_t *class_of) {
    const cg_export_options *o = s->e->o;
    cg_embeddings *e = &s->image;
    cg_classes c = {0};
    cg_status status = CG_OK;
    int64_t n = 0;
    for (int64_t i = 0; i < o->labels && status == CG_OK; i++)
        status = cg_classes_add(&c, o->label[i], o->label[i]);
    if (status == CG_OK) status = cg_classes_index(&c, "labels");
    for (int64_t i = 0; i < e->n && status == CG_OK; i++) {
        int32_t k = cg_classes_find(&c, s->data->caption[e->index[i]]);
        if (k < 0) continue;
        class_of[n] = k;
        e->index[n] = e->index[i];
        memmove(e->row + n * e->width, e->row + i * e->width, (size_t)e->width * sizeof *e->row);
        n++;
    }
    cg_classes_free(&c);
    if (status == CG_OK && n == 0)
        return cg_error(CG_EFORMAT,
                        "not one of %" PRId64 " captions is a label; the first is "
                        "\"%.80s\"",
                        e->n, s->data->caption[e->index[0]]);
    e->n = n;
    return status;
}

/* Ties count against, as in zero_shot.h. */
static int64_t labels_before(const float *p, int64_t n, int32_t right) {
    int64_t before = 0;
    for (int64_t k = 0; k < n; k++) before += k != right && !(p[k] < p[right]);
    return before;
}

static cg_status accuracy(scorer *s) {
    const cg_export_options *o = s->e->o;
    cg_zero_shot model = {0};
    int64_t top1 = 0, top5 = 0;
    int32_t *class_of = calloc((size_t)s->image.n + 1, sizeof *class_of);
    cg_status status = class_of ? find_labels(s, class_of) : no_memory();
    if (status == CG_OK)
        status = cg_rank_classes(s->image.row, class_of, s->image.n, s->e->label, o->labels,
                                 s->d->embed_dim, s->e->model->ctx->threads, &model);
    if (status == CG_OK) status = run_pictures(s, "probs", o->labels);
    for (int64_t i = 0; i < s->image.n && status == CG_OK; i++) {
        int64_t before = labels_before(s->file_image + i * o->labels, o->labels, class_of[i]);
        top1 += before < 1;
        top5 += before < 5;
    }
    free(class_of);
    if (status != CG_OK) return status;
    s->out->candidates = o->labels;
    add(s->out, "top1", model.top1, (double)top1 / (double)s->image.n);
    if (o->labels > 5) add(s->out, "top5", model.top5, (double)top5 / (double)s->image.n);
    return CG_OK;
}

/* --- all of it -------------------------------------------------------------------------------- */

static cg_status check(const cg_accuracy *a) {
    for (int i = 0; i < a->n; i++) {
        const cg_accuracy_figure *f = &a->figure[i];
        if (!(f->model - f->file <= a->limit))
            return cg_error(CG_EFORMAT,
                            "on %" PRId64 " pictures %s falls from %.2f %% to %.2f %%, wanted a "
                            "loss of %.2f points at most",
                            a->pictures, f->name, 100 * f->model, 100 * f->file, 100 * a->limit);
    }
    return CG_OK;
}

static cg_status measure(scorer *s) {
    cg_model *m = s->e->model;
    const cg_embed_options how = {.batch = s->data->size < BATCH ? s->data->size : BATCH,
                                  .workers = m->ctx->threads,
                                  .preprocess = m->preprocess,
                                  .tokenizer = m->tokenizer,
                                  .need_caption = 1};
    CG_TRY(cg_embed_dataset(m->runner, s->data, &how, &s->image, NULL));
    if (!s->image.n) return cg_error(CG_EFORMAT, "not one picture of the data could be read");
    CG_TRY(cg_onnx_session_create(m->ctx, s->e->path, NULL, &s->session));
    CG_TRY((s->e->o->what == CG_ONNX_CLASSIFIER ? accuracy : recall)(s));
    s->out->pictures = s->image.n;
    return check(s->out);
}

cg_status cg_export_score(cg_exporting *e) {
    cg_accuracy *out = &e->out->accuracy;
    scorer s = {.e = e, .data = e->o->data, .d = cg_runner_desc(e->model->runner), .out = out};
    *out = (cg_accuracy){.limit = e->o->most_loss};
    cg_status status = measure(&s);
    cg_onnx_session_free(s.session);
    cg_embeddings_free(&s.image);
    free(s.file_image);
    free(s.text);
    free(s.file_text);
    free(s.pixels);
    free(s.planes);
    return status;
}
