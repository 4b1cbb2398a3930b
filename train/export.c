#include "train/export_private.h"

#include "graph/file.h"
#include "serialize/onnx/metadata.h"
#include "train/match.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

enum { MOST_PICTURES = 64 };

double cg_export_tolerance(const cg_export_options *o) {
    double weights = o->weights == CG_F32 ? 1e-5 : o->weights == CG_F16 ? 2e-3 : 2e-2;
    return o->inside && weights < 2e-4 ? 2e-4 : weights;
}

/* --- what may be asked for -------------------------------------------------------------------- */

static const char *name_of(const cg_export_options *o) {
    return o->name ? o->name : "model";
}

static cg_status path_in(const char *folder, const char *name, const char *end,
                         char path[CG_EXPORT_PATH]) {
    int n = snprintf(path, CG_EXPORT_PATH, "%s/%s%s", folder, name, end);
    if (n > 0 && n < CG_EXPORT_PATH) return CG_OK;
    return cg_error(CG_EINVAL, "the path is too long: %s/%s%s", folder, name, end);
}

static int is_there(const char *folder, const char *name, const char *end) {
    char path[CG_EXPORT_PATH];
    struct stat st;
    return path_in(folder, name, end, path) == CG_OK && stat(path, &st) == 0;
}

static int is_empty(const char *folder) {
    DIR *d = opendir(folder);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (d) closedir(d);
    return d && n == 0;
}

/* A folder is replaced as a whole: it must not be one that holds anything else. */
static cg_status check_folder(const char *folder, const cg_export_options *o) {
    struct stat st;
    if (stat(folder, &st) != 0 || is_empty(folder)) return CG_OK;
    if (is_there(folder, name_of(o), ".onnx") && is_there(folder, name_of(o), ".json"))
        return CG_OK;
    return cg_error(CG_EINVAL,
                    "%s is there already, and not as an export called \"%s\", which would be "
                    "replaced: give another folder",
                    folder, name_of(o));
}

static cg_status check(const cg_model *m, const char *folder, const cg_export_options *o) {
    const char *name = name_of(o);
    int texts = o->what == CG_ONNX_TEXT || o->what == CG_ONNX_BOTH || o->what == CG_ONNX_CLASSIFIER;
    if (!name[0] || name[0] == '.' || strchr(name, '/') || strlen(name) > 200)
        return cg_error(CG_EINVAL, "the name \"%s\" cannot be that of a file", name);
    if (strcmp(name, "tokenizer") == 0 || strcmp(name, "open_clip_config") == 0)
        return cg_error(CG_EINVAL, "the name \"%s\" is that of another file of an export", name);
    if (o->what == CG_ONNX_CLASSIFIER && o->labels < 1)
        return cg_error(CG_EINVAL, "a classifier without labels");
    if (o->what != CG_ONNX_CLASSIFIER && (o->labels || o->templates.n))
        return cg_error(CG_EINVAL, "labels and templates are for a classifier");
    if (o->inside && o->what == CG_ONNX_TEXT)
        return cg_error(CG_EINVAL, "the text tower reads no pictures that could be prepared");
    if (texts && !m->tokenizer) return cg_error(CG_EINVAL, "the model has no tokenizer loaded");
    return check_folder(folder, o);
}

/* --- the files -------------------------------------------------------------------------------- */

static cg_status hash_file(const char *path, char text[20]) {
    cg_map map;
    CG_TRY(cg_file_map(path, &map));
    snprintf(text, 20, "%016" PRIx64, (uint64_t)XXH64(map.data, map.bytes, 0));
    cg_file_unmap(&map);
    return CG_OK;
}

static cg_status write_tokenizer(cg_exporting *e) {
    char path[CG_EXPORT_PATH];
    if (e->o->what != CG_ONNX_TEXT && e->o->what != CG_ONNX_BOTH) return CG_OK;
    CG_TRY(path_in(e->folder, "tokenizer", ".json", path));
    CG_TRY(cg_tokenizer_save(e->model->tokenizer, path));
    return hash_file(path, e->tokenizer_hash);
}

static cg_status write_labels(const cg_exporting *e) {
    char path[CG_EXPORT_PATH];
    cg_file *f;
    if (!e->o->labels) return CG_OK;
    CG_TRY(path_in(e->folder, "labels", ".txt", path));
    CG_TRY(cg_file_create(path, &f));
    for (int64_t i = 0; i < e->o->labels; i++) cg_file_printf(f, "%s\n", e->o->label[i]);
    return cg_file_commit(f);
}

static cg_status write_text(const cg_exporting *e, const char *name, const char *text) {
    char path[CG_EXPORT_PATH];
    CG_TRY(path_in(e->folder, name, ".json", path));
    return cg_file_save(path, text, strlen(text));
}

static cg_status write_config(const cg_exporting *e) {
    char *text;
    CG_TRY(cg_export_config(e, &text));
    cg_status s = write_text(e, "open_clip_config", text);
    free(text);
    return s;
}

static size_t bytes_of(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (size_t)st.st_size : 0;
}

static cg_status write_model(cg_exporting *e) {
    const cg_export_options *o = e->o;
    cg_meta meta[CG_EXPORT_META];
    int n = 0;
    cg_status s = cg_export_meta(e, meta, &n);
    cg_onnx_options options = {.what = o->what,
                               .opset = e->out->opset,
                               .weights = o->weights,
                               .as_described = o->as_described,
                               .external = o->external,
                               .meta = meta,
                               .n_meta = n,
                               .preprocess = o->inside ? &e->model->preprocess : NULL,
                               .classifier = e->label,
                               .labels = o->labels};
    if (s == CG_OK)
        s = cg_onnx_export_clip(e->model->ctx, e->path, cg_runner_params(e->model->runner),
                                cg_runner_desc(e->model->runner), &options);
    for (int i = 0; i < n; i++) free((char *)(uintptr_t)meta[i].value);
    return s;
}

/* --- the certificate -------------------------------------------------------------------------- */

/* The model as it is described and trained, with the same weights. */
static cg_status open_reference(const cg_model *m, cg_runner **out) {
    CG_TRY(cg_runner_open(m->ctx, cg_runner_desc(m->runner), m->folder, out));
    return cg_runner_set_program(*out, CG_PRECISION_F32, CG_PASSES_NONE, NULL);
}

static cg_status compare(cg_exporting *e, cg_parity *p) {
    cg_certificate *c = e->out;
    CG_TRY(cg_parity_run(e->model->ctx, e->path, p));
    CG_TRY(cg_parity_compare(p, &c->parity));
    CG_TRY(cg_parity_check(&c->parity, c->tolerance));
    if (!e->o->check) return CG_OK;
    CG_TRY(e->o->check(e->o->arg, e->path, p, c->checked_by));
    CG_TRY(cg_parity_compare(p, &c->checked));
    cg_status s = cg_parity_check(&c->checked, c->tolerance);
    return s == CG_OK ? s : cg_error_in(s, "by %s", c->checked_by);
}

static cg_status certify(cg_exporting *e) {
    const cg_export_options *o = e->o;
    cg_runner *reference = NULL;
    cg_parity *p = NULL;
    cg_parity_options options = {.what = o->what,
                                 .preprocess = &e->model->preprocess,
                                 .inside = o->inside,
                                 .label = e->label,
                                 .labels = o->labels,
                                 .pictures = o->pictures,
                                 .most = o->most ? o->most : MOST_PICTURES};
    cg_status s = open_reference(e->model, &reference);
    if (s == CG_OK) s = cg_parity_create(reference, e->model->tokenizer, &options, &p);
    if (s == CG_OK) s = compare(e, p);
    cg_parity_free(p);
    cg_runner_free(reference);
    return s == CG_OK ? s : cg_error_in(s, "%s.onnx is not written", name_of(o));
}

/* The figures go behind what they are of. */
static cg_status sign(const cg_exporting *e) {
    json_t *j = cg_parity_json(&e->out->parity, e->out->tolerance);
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(j);
    if (!text) return cg_error(CG_ENOMEM, "no memory for the certificate");
    const cg_meta meta = {"clipgraph.parity", text};
    cg_status s = cg_onnx_append_meta(e->path, &meta, 1);
    free(text);
    return s;
}

/* --- all of it -------------------------------------------------------------------------------- */

static cg_status write_all(cg_exporting *e) {
    const cg_export_options *o = e->o;
    char data[CG_EXPORT_PATH];
    CG_TRY(path_in(e->folder, name_of(o), ".onnx", e->path));
    CG_TRY(path_in(e->folder, name_of(o), ".onnx.data", data));
    if (o->labels)
        CG_TRY(cg_match_labels(e->model->runner, e->model->tokenizer, o->label, o->labels,
                               &o->templates, &e->label, &e->out->truncated));
    CG_TRY(write_tokenizer(e));
    CG_TRY(write_labels(e));
    CG_TRY(write_model(e));
    CG_TRY(certify(e));
    CG_TRY(sign(e));
    e->out->bytes = bytes_of(e->path);
    e->out->data_bytes = bytes_of(data);
    CG_TRY(write_config(e));
    CG_TRY(cg_export_certificate(e, &e->out->json));
    return write_text(e, name_of(o), e->out->json);
}

cg_status cg_export(cg_model *m, const char *folder, const cg_export_options *o,
                    cg_certificate *out) {
    cg_folder *f;
    *out = (cg_certificate){.what = o->what,
                            .opset = o->opset    ? o->opset
                                     : o->inside ? 18
                                                 : 17,
                            .weights = o->weights,
                            .optimized = !o->as_described,
                            .external = o->external,
                            .inside = o->inside,
                            .tolerance = o->tolerance > 0 ? o->tolerance : cg_export_tolerance(o)};
    CG_TRY(check(m, folder, o));
    CG_TRY(cg_folder_create(folder, &f));
    cg_exporting e = {.model = m, .o = o, .folder = cg_folder_path(f), .out = out};
    cg_status s = write_all(&e);
    free(e.label);
    if (s == CG_OK) return cg_folder_publish(f);
    cg_folder_abandon(f);
    cg_certificate_free(out);
    return s;
}

void cg_certificate_free(cg_certificate *c) {
    free(c->json);
    *c = (cg_certificate){0};
}
