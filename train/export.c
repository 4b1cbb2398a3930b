#include "train/export_private.h"

#include "graph/file.h"
#include "serialize/onnx/metadata.h"
#include "train/match.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

double cg_export_tolerance(cg_dtype weights) {
    return weights == CG_F32 ? 1e-5 : weights == CG_F16 ? 2e-3 : 2e-2;
}

/* --- what may be asked for -------------------------------------------------------------------- */

const char *cg_export_name(const cg_export_options *o) {
    return o->name ? o->name : "model";
}

cg_status cg_export_path(const char *folder, const char *name, const char *end,
                         char path[CG_EXPORT_PATH]) {
    int n = snprintf(path, CG_EXPORT_PATH, "%s/%s%s", folder, name, end);
    if (n > 0 && n < CG_EXPORT_PATH) return CG_OK;
    return cg_error(CG_EINVAL, "the path is too long: %s/%s%s", folder, name, end);
}

/* What is in the folder. */
typedef struct contents {
    const char *name; /* of the export */
    int n;            /* files */
} contents;

static int is_ours(void *arg, const char *found) {
    static const char *const fixed[] = {"open_clip_config.json", "tokenizer.json", "labels.txt"};
    static const char *const ends[] = {".onnx", ".onnx.data", ".json"};
    contents *c = arg;
    size_t n = strlen(c->name);
    c->n++;
    for (int i = 0; i < 3; i++) {
        if (strcmp(found, fixed[i]) == 0) return 1;
        if (strncmp(found, c->name, n) == 0 && strcmp(found + n, ends[i]) == 0) return 1;
    }
    return 0;
}

static int is_certificate(const char *path) {
    json_t *j = json_load_file(path, 0, NULL);
    int is = json_is_string(json_object_get(j, "clipgraph"));
    json_decref(j);
    return is;
}

/* A folder is replaced as a whole: it must hold an export of this name, which its certificate says,
 * and nothing else. */
static cg_status check_folder(const char *folder, const cg_export_options *o) {
    char certificate[CG_EXPORT_PATH];
    contents c = {.name = cg_export_name(o)};
    CG_TRY(cg_folder_check(folder, is_ours, &c));
    CG_TRY(cg_export_path(folder, c.name, ".json", certificate));
    if (c.n == 0 || is_certificate(certificate)) return CG_OK;
    return cg_error(CG_EINVAL,
                    "%s is there already, and holds no certificate %s.json of an export that would "
                    "be replaced: give another folder",
                    folder, c.name);
}

/* --- texts that go into files ----------------------------------------------------------------- */

static int has_control(const char *text) {
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)) return 1;
    return 0;
}

static int is_utf8(const char *text) {
    json_t *j = json_string(text);
    json_decref(j);
    return j != NULL;
}

static cg_status check_texts(const cg_export_options *o) {
    for (int64_t i = 0; i < o->labels; i++) {
        if (!is_utf8(o->label[i]))
            return cg_error(CG_EINVAL, "label %" PRId64 " is not UTF-8", i + 1);
        if (!o->label[i][0] || has_control(o->label[i]))
            return cg_error(CG_EINVAL,
                            "label %" PRId64 " is empty or has a line end, tab or other control "
                            "character: \"%s\"",
                            i + 1, o->label[i]);
    }
    for (int i = 0; i < o->templates.n; i++)
        if (!is_utf8(o->templates.text[i]))
            return cg_error(CG_EINVAL, "template %d is not UTF-8", i + 1);
    return CG_OK;
}

static cg_status check(const cg_model *m, const char *folder, const cg_export_options *o) {
    const char *name = cg_export_name(o);
    int texts = o->data || o->what == CG_ONNX_TEXT || o->what == CG_ONNX_BOTH ||
                o->what == CG_ONNX_CLASSIFIER;
    if (!name[0] || name[0] == '.' || strchr(name, '/') || has_control(name) || strlen(name) > 200)
        return cg_error(CG_EINVAL, "the name \"%s\" cannot be that of a file", name);
    if (!is_utf8(name)) return cg_error(CG_EINVAL, "the file's name is not UTF-8");
    if (strcmp(name, "tokenizer") == 0 || strcmp(name, "open_clip_config") == 0)
        return cg_error(CG_EINVAL, "the name \"%s\" is that of another file of an export", name);
    if (o->what == CG_ONNX_CLASSIFIER && o->labels < 2)
        return cg_error(CG_EINVAL, "labels for a classifier: found %" PRId64 ", wanted two or more",
                        o->labels);
    if (o->what != CG_ONNX_CLASSIFIER && (o->labels || o->templates.n))
        return cg_error(CG_EINVAL, "labels and templates are for a classifier");
    if (o->inside && o->what == CG_ONNX_TEXT)
        return cg_error(CG_EINVAL, "the text tower reads no pictures that could be prepared");
    CG_TRY(check_texts(o));
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
    CG_TRY(cg_export_path(e->folder, "tokenizer", ".json", path));
    CG_TRY(cg_tokenizer_save(e->model->tokenizer,
                             cg_runner_desc(e->model->runner)->text.context_length, path));
    return hash_file(path, e->tokenizer_hash);
}

static cg_status write_labels(const cg_exporting *e) {
    char path[CG_EXPORT_PATH];
    cg_file *f;
    if (!e->o->labels) return CG_OK;
    CG_TRY(cg_export_path(e->folder, "labels", ".txt", path));
    CG_TRY(cg_file_create(path, &f));
    for (int64_t i = 0; i < e->o->labels; i++) cg_file_printf(f, "%s\n", e->o->label[i]);
    return cg_file_commit(f);
}

static cg_status write_text(const cg_exporting *e, const char *name, const char *text) {
    char path[CG_EXPORT_PATH];
    CG_TRY(cg_export_path(e->folder, name, ".json", path));
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

cg_status cg_export_write(const cg_exporting *e, const char *path, cg_dtype weights,
                          cg_params *params) {
    const cg_export_options *o = e->o;
    cg_meta meta[CG_EXPORT_META];
    int n = 0;
    cg_status s = cg_export_meta(e, meta, &n);
    cg_onnx_options options = {.what = o->what,
                               .opset = e->out->opset,
                               .weights = weights,
                               .as_described = o->as_described,
                               .external = o->external,
                               .meta = meta,
                               .n_meta = n,
                               .preprocess = o->inside ? &e->model->preprocess : NULL,
                               .classifier = e->label,
                               .labels = o->labels};
    if (s == CG_OK)
        s = cg_onnx_export_clip(e->model->ctx, path, params, cg_runner_desc(e->model->runner),
                                &options);
    for (int i = 0; i < n; i++) free((char *)(uintptr_t)meta[i].value);
    return s;
}

/* The figures go behind what they are of. */
static cg_status sign(const cg_exporting *e) {
    json_t *j = cg_parity_json(&e->out->parity);
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(j);
    if (!text) return cg_error(CG_ENOMEM, "no memory for the certificate");
    const cg_meta meta = {"clipgraph.parity", text};
    cg_status s = cg_onnx_append_meta(e->path, &meta, 1);
    free(text);
    return s;
}

/* --- all of it -------------------------------------------------------------------------------- */

cg_status cg_export_go_on(const cg_exporting *e) {
    if (!e->o->stop || !e->o->stop(e->o->arg)) return CG_OK;
    return cg_error(CG_EINTERRUPTED, "stopped, %s.onnx is not written", cg_export_name(e->o));
}

static cg_status write_all(cg_exporting *e) {
    const cg_export_options *o = e->o;
    char data[CG_EXPORT_PATH];
    CG_TRY(cg_export_path(e->folder, cg_export_name(o), ".onnx", e->path));
    CG_TRY(cg_export_path(e->folder, cg_export_name(o), ".onnx.data", data));
    if (o->labels)
        CG_TRY(cg_match_labels(e->model->runner, e->model->tokenizer, o->label, o->labels,
                               &o->templates, &e->label, &e->out->truncated));
    CG_TRY(write_tokenizer(e));
    CG_TRY(write_labels(e));
    CG_TRY(cg_export_go_on(e));
    CG_TRY(cg_export_write(e, e->path, o->weights, cg_runner_params(e->model->runner)));
    CG_TRY(cg_export_certify(e));
    if (o->data) CG_TRY(cg_export_score(e));
    CG_TRY(cg_export_go_on(e));
    CG_TRY(sign(e));
    e->out->bytes = bytes_of(e->path);
    e->out->data_bytes = bytes_of(data);
    CG_TRY(write_config(e));
    CG_TRY(cg_export_certificate(e, &e->out->json));
    return write_text(e, cg_export_name(o), e->out->json);
}

/* The message names the folder that would have been: the temporary one, PATH.tmp-…, is gone. */
static cg_status tell(const cg_exporting *e, cg_status s) {
    char text[1024], *at = text;
    size_t n = strlen(e->folder), more = strlen(strrchr(e->folder, '.'));
    snprintf(text, sizeof text, "%s", cg_error_message());
    while ((at = strstr(at, e->folder))) {
        at += n - more;
        memmove(at, at + more, strlen(at + more) + 1);
    }
    return cg_error(s, "%s", text);
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
                            .tolerance =
                                o->tolerance > 0 ? o->tolerance : cg_export_tolerance(o->weights)};
    CG_TRY(check(m, folder, o));
    CG_TRY(cg_folder_create(folder, &f));
    cg_exporting e = {.model = m, .o = o, .folder = cg_folder_path(f), .out = out};
    cg_status s = write_all(&e);
    free(e.label);
    if (s == CG_OK) s = check_folder(folder, o); /* it took a while: what came there meanwhile? */
    if (s == CG_OK) return cg_folder_publish(f);
    s = tell(&e, s);
    cg_folder_abandon(f);
    cg_certificate_free(out);
    return s;
}

void cg_certificate_free(cg_certificate *c) {
    free(c->json);
    *c = (cg_certificate){0};
}
