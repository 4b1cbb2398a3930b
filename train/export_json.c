/* What an export says of itself: metadata in the file, the certificate beside it. */
#include "train/export_private.h"

#include "graph/version.h"
#include "models/layers.h"
#include "serialize/preprocess_json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *cg_export_word(cg_onnx_what what) {
    static const char *const words[] = {"image", "text", "both", "classifier"};
    return words[what];
}

/* --- parts ------------------------------------------------------------------------------------ */

static const char *activation(cg_activation act, const cg_clip_desc *d) {
    static const char *const words[] = {"", "gelu", "gelu_tanh", "quickgelu", "relu", "silu"};
    return words[cg_activation_of(act, d->quick_gelu)];
}

static const char *vision_activation(const cg_clip_desc *d) {
    return cg_vision_arch_of(&d->vision) == CG_VISION_RESNET ? "relu"
                                                             : activation(d->vision.act, d);
}

static const char *text_activation(const cg_clip_desc *d) {
    return d->text.text_arch == CG_TEXT_CBOW ? "none" : activation(d->text.act, d);
}

/* NULL where one is not UTF-8: a list without it would be out of step. */
static json_t *strings(const char *const *text, int64_t n) {
    json_t *list = json_array();
    int failed = 0;
    for (int64_t i = 0; i < n; i++) failed |= json_array_append_new(list, json_string(text[i]));
    if (!failed) return list;
    json_decref(list);
    return NULL;
}

/* Of inputs and outputs that are not finite there is no JSON number. */
static json_t *real(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *figure_json(const cg_parity_figure *f) {
    json_t *j = json_pack("{s:o, s:o, s:s, s:o}", "max_difference", real(f->most), "limit",
                          real(f->limit), "at", f->where, "rms_difference", real(f->rms));
    if (f->kind == CG_PARITY_EMBEDDINGS) json_object_set_new(j, "min_cosine", real(f->min_cosine));
    if (f->kind == CG_PARITY_PIXELS) {
        json_object_set_new(j, "elements", json_integer(f->elements));
        json_object_set_new(j, "apart", json_integer(f->apart));
        return j;
    }
    json_object_set_new(j, "rows", json_integer(f->rows));
    json_object_set_new(j, "same_best_match", json_integer(f->agree));
    json_object_set_new(j, "lead_of_other_matches", real(f->lead));
    return j;
}

json_t *cg_parity_json(const cg_parity_result *r) {
    json_t *j = json_pack("{s:o, s:i, s:I, s:I, s:I, s:I}", "tolerance", real(r->tolerance), "runs",
                          r->cases, "pictures", (json_int_t)r->pictures, "given_pictures",
                          (json_int_t)r->given, "given_left_out", (json_int_t)r->left_out,
                          "captions", (json_int_t)r->captions);
    for (int i = 0; i < r->n; i++)
        json_object_set_new(j, r->figure[i].output, figure_json(&r->figure[i]));
    return j;
}

/* Takes over j. */
static char *dump(json_t *j, size_t flags) {
    char *text = j ? json_dumps(j, flags | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(j);
    if (!text) cg_error(CG_EFORMAT, "a text for it is not UTF-8, or there is no memory");
    return text;
}

/* --- metadata --------------------------------------------------------------------------------- */

typedef struct metadata {
    cg_meta *list;
    int n, failed;
} metadata;

/* Takes over value. */
static void add(metadata *m, const char *key, char *value) {
    m->failed |= !value;
    m->list[m->n++] = (cg_meta){key, value};
}

static void add_text(metadata *m, const char *key, const char *text) {
    char *copy = malloc(strlen(text) + 1);
    if (copy) strcpy(copy, text);
    add(m, key, copy);
}

static void add_number(metadata *m, const char *key, double x) {
    char text[32];
    snprintf(text, sizeof text, "%.9g", x);
    add_text(m, key, text);
}

static void add_model(metadata *m, const cg_exporting *e) {
    const cg_clip_desc *d = cg_runner_desc(e->model->runner);
    add(m, "clipgraph.model_cfg", dump(cg_clip_desc_json(d), JSON_COMPACT));
    add(m, "clipgraph.preprocess_cfg",
        dump(cg_preprocess_json(&e->model->preprocess), JSON_COMPACT));
    add_number(m, "clipgraph.embed_dim", (double)d->embed_dim);
    add_number(m, "clipgraph.image_size", (double)d->vision.image_size);
    add_number(m, "clipgraph.context_length", (double)d->text.context_length);
    add_number(m, "clipgraph.pad_id", (double)d->text.pad_id);
    add_text(m, "clipgraph.vision_activation", vision_activation(d));
    add_text(m, "clipgraph.text_activation", text_activation(d));
    add_text(m, "clipgraph.normalized", "true");
    add_number(m, "clipgraph.temperature", cg_runner_temperature(e->model->runner));
    const cg_param *bias = cg_params_find(cg_runner_params(e->model->runner), "logit_bias");
    if (bias) add_number(m, "clipgraph.bias", (double)*(const float *)bias->data);
}

cg_status cg_export_meta(const cg_exporting *e, cg_meta meta[CG_EXPORT_META], int *n) {
    metadata m = {meta, 0, 0};
    const cg_export_options *o = e->o;
    add_text(&m, "clipgraph.version", CLIPGRAPH_VERSION);
    add_text(&m, "clipgraph.what", cg_export_word(o->what));
    add_text(&m, "clipgraph.weights", cg_dtype_name(o->weights));
    add_model(&m, e);
    if (e->tokenizer_hash[0]) add_text(&m, "clipgraph.tokenizer_xxh64", e->tokenizer_hash);
    if (o->labels) add(&m, "clipgraph.labels", dump(strings(o->label, o->labels), JSON_COMPACT));
    if (o->labels && o->templates.n)
        add(&m, "clipgraph.templates",
            dump(strings(o->templates.text, o->templates.n), JSON_COMPACT));
    *n = m.n;
    if (!m.failed) return CG_OK;
    return cg_error(CG_EFORMAT, "the metadata cannot be written: a label or template is not UTF-8");
}

/* --- files beside it -------------------------------------------------------------------------- */

cg_status cg_export_config(const cg_exporting *e, char **text) {
    *text = dump(json_pack("{s:o, s:o}", "model_cfg",
                           cg_clip_desc_json(cg_runner_desc(e->model->runner)), "preprocess_cfg",
                           cg_preprocess_json(&e->model->preprocess)),
                 JSON_INDENT(2));
    return *text ? CG_OK : CG_EFORMAT;
}

static json_t *run_json(const cg_parity_result *r, const char *runtime) {
    json_t *j = cg_parity_json(r);
    json_object_set_new(j, "runtime", json_string(runtime));
    return j;
}

static json_t *accuracy_json(const cg_accuracy *a) {
    json_t *j = json_pack("{s:I, s:I, s:o}", "pictures", (json_int_t)a->pictures, "candidates",
                          (json_int_t)a->candidates, "limit", real(a->limit));
    for (int i = 0; i < a->n; i++)
        json_object_set_new(j, a->figure[i].name,
                            json_pack("{s:o, s:o}", "model", real(a->figure[i].model), "file",
                                      real(a->figure[i].file)));
    return j;
}

cg_status cg_export_certificate(const cg_exporting *e, char **text) {
    const cg_export_options *o = e->o;
    const cg_certificate *c = e->out;
    const cg_clip_desc *d = cg_runner_desc(e->model->runner);
    json_t *parity = run_json(&c->parity, "clipgraph " CLIPGRAPH_VERSION);
    json_t *literal =
        run_json(&c->literal, "clipgraph " CLIPGRAPH_VERSION ", each operator as it stands");
    json_t *j = json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:b, s:f, s:o}",
        "clipgraph", CLIPGRAPH_VERSION, "what", cg_export_word(o->what), "checkpoint",
        e->model->folder, "file", strrchr(e->path, '/') + 1, "opset", c->opset, "weights",
        cg_dtype_name(o->weights), "optimized", c->optimized, "preprocessing_inside", c->inside,
        "bytes", (json_int_t)c->bytes, "data_bytes", (json_int_t)c->data_bytes, "embed_dim",
        (json_int_t)d->embed_dim, "image_size", (json_int_t)d->vision.image_size, "context_length",
        (json_int_t)d->text.context_length, "normalized", 1, "temperature",
        cg_runner_temperature(e->model->runner), "parity", parity);
    int failed = json_object_set_new(j, "parity_literal", literal);
    failed |= json_object_set_new(j, "numbers_compared", json_integer(c->compared));
    if (e->tokenizer_hash[0])
        failed |= json_object_set_new(j, "tokenizer_xxh64", json_string(e->tokenizer_hash));
    if (o->labels) failed |= json_object_set_new(j, "labels", strings(o->label, o->labels));
    if (o->labels)
        failed |= json_object_set_new(j, "templates", strings(o->templates.text, o->templates.n));
    if (c->checked_by[0])
        failed |= json_object_set_new(j, "checked", run_json(&c->checked, c->checked_by));
    if (c->accuracy.n) failed |= json_object_set_new(j, "accuracy", accuracy_json(&c->accuracy));
    *text = dump(failed ? NULL : j, JSON_INDENT(2));
    if (failed) json_decref(j);
    return *text ? CG_OK : CG_EFORMAT;
}
