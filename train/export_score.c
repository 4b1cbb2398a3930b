/* What an export costs on data: accuracy or recall, by the model and by the file. */
#include "train/export_private.h"

#include "data/classes.h"
#include "train/zero_shot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct scorer {
    const cg_exporting *e;
    const cg_dataset *data;
    const cg_clip_desc *d;
    cg_onnx_session *session;
    cg_embeddings image;     /* by the model */
    float *file_image;       /* by the file, of the same pictures; classifier: [n, labels] */
    float *text, *file_text; /* distinct captions */
    cg_accuracy *out;
} scorer;

static cg_status no_memory(void) {
    return cg_error(CG_ENOMEM, "no memory to measure an exported file");
}

static cg_status run_pictures(scorer *s, const char *name, int64_t width) {
    s->file_image = malloc((size_t)(s->image.n * width) * sizeof *s->file_image + 1);
    if (!s->file_image) return no_memory();
    return cg_export_run_pictures(s->e, s->session, s->image.index, s->image.n, name, width,
                                  s->file_image);
}

static cg_status run_captions(scorer *s, const char *const *caption, int64_t n) {
    s->file_text = malloc((size_t)(n * s->d->embed_dim) * sizeof *s->file_text + 1);
    if (!s->file_text) return no_memory();
    return cg_export_run_captions(s->e, s->session, caption, n, s->file_text);
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
    const cg_embed_options how = {.batch = cg_export_batch(s->e),
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
    return status;
}
