/* What an export has to stand before it is published. */
#include "train/export_private.h"

#include "graph/file.h"
#include "serialize/onnx/stored.h"
#include "train/match.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PICTURES = 64 };

/* The model's side, from the checkpoint's own files; and labels from those of the export. */
typedef struct side {
    cg_runner *reference;
    cg_map text; /* labels.txt */
    char **line; /* [labels] */
    float *label;
    char exact[CG_EXPORT_PATH]; /* the file in f32, which is the export or what it rounds */
} side;

/* --- labels ----------------------------------------------------------------------------------- */

static cg_status split(const cg_map *text, char **line, int64_t n) {
    const char *at = (const char *)text->data, *end = at + text->bytes;
    for (int64_t i = 0; i < n; i++) {
        const char *stop = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        if (!stop) return cg_error(CG_EFORMAT, "labels.txt: fewer than %" PRId64 " lines", n);
        line[i] = strndup(at, (size_t)(stop - at));
        if (!line[i]) return cg_error(CG_ENOMEM, "no memory for a label");
        at = stop + 1;
    }
    return at == end ? CG_OK : cg_error(CG_EFORMAT, "labels.txt: more than %" PRId64 " lines", n);
}

/* Is the file's list of labels that of labels.txt? */
static cg_status check_list(const char *text, char *const *line, int64_t n) {
    json_t *list = text ? json_loads(text, 0, NULL) : NULL;
    int same = list && json_array_size(list) == (size_t)n;
    for (int64_t i = 0; i < n && same; i++) {
        const char *label = json_string_value(json_array_get(list, (size_t)i));
        same = label && strcmp(label, line[i]) == 0;
    }
    json_decref(list);
    return same ? CG_OK : cg_error(CG_EFORMAT, "the file's labels are not those of labels.txt");
}

static cg_status check_meta(const cg_exporting *e, const side *m) {
    cg_onnx_file *f;
    const cg_meta *meta;
    const char *text = NULL;
    CG_TRY(cg_onnx_open(e->path, &f));
    for (int n = cg_onnx_meta(f, &meta); n > 0; n--)
        if (strcmp(meta[n - 1].key, "clipgraph.labels") == 0) text = meta[n - 1].value;
    cg_status s = check_list(text, m->line, e->o->labels);
    cg_onnx_close(f);
    return s;
}

/* The columns of probs are then held against what labels.txt says that they are. */
static cg_status read_labels(const cg_exporting *e, side *m) {
    const cg_export_options *o = e->o;
    char path[CG_EXPORT_PATH];
    if (!o->labels) return CG_OK;
    m->line = calloc((size_t)o->labels, sizeof *m->line);
    if (!m->line) return cg_error(CG_ENOMEM, "no memory for labels");
    CG_TRY(cg_export_path(e->folder, "labels", ".txt", path));
    CG_TRY(cg_file_map(path, &m->text));
    CG_TRY(split(&m->text, m->line, o->labels));
    CG_TRY(check_meta(e, m));
    return cg_match_labels(m->reference, e->model->tokenizer, (const char *const *)m->line,
                           o->labels, &o->templates, &m->label, NULL);
}

/* --- what is stored --------------------------------------------------------------------------- */

/* A file with weights in half is certified by another in f32, of which it is the same with rounded
 * matrices, number by number: where that does what the model does, rounding is all that is between.
 */
static cg_status check_stored(cg_exporting *e, side *m) {
    cg_params *params = cg_runner_params(m->reference);
    strcpy(m->exact, e->path);
    if (e->o->weights != CG_F32) {
        CG_TRY(cg_export_path(e->folder, ".exact", ".onnx", m->exact));
        CG_TRY(cg_export_write(e, m->exact, CG_F32, params));
        CG_TRY(cg_onnx_check_rounded(e->path, m->exact));
    }
    cg_onnx_stored wanted = {.params = params,
                             .as_described = e->o->as_described,
                             .label = m->label,
                             .labels = e->o->labels,
                             .width = cg_runner_desc(m->reference)->embed_dim};
    return cg_onnx_check_stored(m->exact, &wanted, &e->out->compared);
}

static cg_status remove_exact(const cg_exporting *e, const side *m) {
    char data[CG_EXPORT_PATH];
    if (e->o->weights == CG_F32) return CG_OK;
    CG_TRY(cg_export_path(e->folder, ".exact", ".onnx.data", data));
    CG_TRY(cg_folder_remove(m->exact));
    cg_status s = cg_folder_remove(data);
    return s == CG_ENOTFOUND ? CG_OK : s;
}

/* --- what it does ----------------------------------------------------------------------------- */

static cg_status run(cg_exporting *e, const char *path, cg_parity_view view, double tolerance,
                     cg_parity *p, cg_parity_result *r) {
    CG_TRY(cg_export_go_on(e));
    CG_TRY(cg_parity_run(e->model->ctx, path, view, p));
    CG_TRY(cg_parity_compare(p, view, tolerance, r));
    return cg_parity_check(r);
}

/* In f32 operator by operator, with a look inside; then as it is meant to be run. */
static cg_status compare(cg_exporting *e, const side *m, cg_parity *p) {
    cg_certificate *c = e->out;
    double exact = e->o->weights == CG_F32 ? c->tolerance : cg_export_tolerance(CG_F32);
    cg_status s = run(e, m->exact, CG_PARITY_INSIDE, exact, p, &c->literal);
    if (s != CG_OK)
        return cg_error_in(s, "%seach operator as it stands",
                           e->o->weights == CG_F32 ? "" : "in f32, ");
    CG_TRY(run(e, e->path, CG_PARITY_OUTSIDE, c->tolerance, p, &c->parity));
    if (!e->o->check) return CG_OK;
    CG_TRY(e->o->check(e->o->arg, e->path, p, c->checked_by));
    CG_TRY(cg_parity_compare(p, CG_PARITY_OUTSIDE, c->tolerance, &c->checked));
    s = cg_parity_check(&c->checked);
    return s == CG_OK ? s : cg_error_in(s, "by %s", c->checked_by);
}

static cg_status certify(cg_exporting *e, side *m) {
    const cg_export_options *o = e->o;
    const cg_model *model = e->model;
    cg_parity *p;
    CG_TRY(cg_parity_reference(model->ctx, cg_runner_desc(model->runner), model->folder,
                               &m->reference));
    CG_TRY(read_labels(e, m));
    CG_TRY(check_stored(e, m));
    cg_parity_options options = {.what = o->what,
                                 .preprocess = &model->preprocess,
                                 .inside = o->inside,
                                 .label = m->label,
                                 .labels = o->labels,
                                 .pictures = o->pictures,
                                 .most = o->most ? o->most : MOST_PICTURES};
    CG_TRY(cg_parity_create(m->reference, model->tokenizer, &options, &p));
    cg_status s = compare(e, m, p);
    cg_parity_free(p);
    return s == CG_OK ? remove_exact(e, m) : s;
}

cg_status cg_export_certify(cg_exporting *e) {
    side m = {0};
    cg_status s = certify(e, &m);
    for (int64_t i = 0; m.line && i < e->o->labels; i++) free(m.line[i]);
    free(m.line);
    free(m.label);
    cg_file_unmap(&m.text);
    cg_runner_free(m.reference);
    return s == CG_OK ? s : cg_error_in(s, "%s.onnx is not written", cg_export_name(e->o));
}
