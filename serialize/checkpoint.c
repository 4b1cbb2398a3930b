#include "serialize/checkpoint.h"

#include "graph/file.h"
#include "serialize/params_io.h"
#include "serialize/preprocess_json.h"
#include "serialize/safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_ROOM = 4096 };
static const char *const moment_names[] = {"exp_avg", "exp_avg_sq"};

static cg_status path_in(const char *folder, const char *name, char path[PATH_ROOM]) {
    int n = snprintf(path, PATH_ROOM, "%s/%s", folder, name);
    return n > 0 && n < PATH_ROOM
               ? CG_OK
               : cg_error(CG_EINVAL, "the path is too long: %s/%s", folder, name);
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Takes over j (which may be NULL, when memory was out). */
static cg_status save_json(const char *folder, const char *name, json_t *j) {
    char path[PATH_ROOM];
    char *text = j ? json_dumps(j, JSON_INDENT(2)) : NULL;
    cg_status s =
        text ? path_in(folder, name, path) : cg_error(CG_ENOMEM, "no memory for %s", name);
    if (s == CG_OK) s = cg_file_save(path, text, strlen(text));
    free(text);
    json_decref(j);
    return s;
}

static json_t *state_json(const cg_train_state *t) {
    char data[24]; /* as text: readers of JSON round numbers of 64 bits */
    snprintf(data, sizeof data, "%016" PRIx64, t->data);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "step", (json_int_t)t->step, "epoch",
                     (json_int_t)t->epoch, "batch", (json_int_t)t->batch, "seed",
                     (json_int_t)t->seed, "batch_size", (json_int_t)t->batch_size,
                     "steps_per_epoch", (json_int_t)t->steps_per_epoch, "data", data);
}

static cg_status save_moments(const char *folder, const cg_checkpoint *c) {
    int n = cg_params_count(c->params), count = 0;
    char path[PATH_ROOM];
    cg_tensor *tensor = calloc(2 * (size_t)n + 1, sizeof *tensor);
    char(*name)[300] = calloc(2 * (size_t)n + 1, sizeof *name);
    cg_status s = tensor && name ? path_in(folder, "state.safetensors", path)
                                 : cg_error(CG_ENOMEM, "no memory to save the moments");
    for (int k = 0; k < 2 && s == CG_OK; k++)
        for (int i = 0; i < n; i++) {
            const cg_param *p = cg_params_at(c->params, i);
            if (!p->trainable) continue;
            snprintf(name[count], sizeof *name, "%s.%s", moment_names[k], p->name);
            tensor[count] =
                (cg_tensor){name[count], CG_F32, p->shape, c->moment[k] + p->offset / sizeof(float),
                            (size_t)p->count * sizeof(float)};
            count++;
        }
    if (s == CG_OK) s = cg_safetensors_save(path, tensor, count, NULL, 0);
    free(tensor);
    free(name);
    return s;
}

static cg_status save_all(const char *folder, const cg_checkpoint *c) {
    char path[PATH_ROOM];
    json_t *config = json_pack("{s:o?, s:o?}", "model_cfg", cg_clip_desc_json(c->desc),
                               "preprocess_cfg", cg_preprocess_json(c->preprocess));
    CG_TRY(save_json(folder, "open_clip_config.json", config));
    CG_TRY(path_in(folder, "open_clip_model.safetensors", path));
    CG_TRY(cg_params_save(c->params, path, NULL, 0));
    CG_TRY(path_in(folder, "tokenizer.json", path));
    CG_TRY(cg_tokenizer_save(c->tokenizer, 0, path));
    if (!c->state) return CG_OK;
    CG_TRY(save_moments(folder, c));
    return save_json(folder, "state.json", state_json(c->state));
}

cg_status cg_checkpoint_save(const char *folder, const cg_checkpoint *c) {
    cg_folder *f;
    CG_TRY(cg_folder_create(folder, &f));
    cg_status s = save_all(cg_folder_path(f), c);
    if (s == CG_OK) return cg_folder_publish(f);
    cg_folder_abandon(f);
    return cg_error_in(s, "checkpoint %s", folder);
}

/* --- reading ---------------------------------------------------------------------------------- */

static cg_status load_json(const char *folder, const char *name, json_t **out) {
    char path[PATH_ROOM];
    json_error_t error;
    CG_TRY(path_in(folder, name, path));
    FILE *f = fopen(path, "rb");
    if (!f)
        return cg_error(errno == ENOENT ? CG_ENOTFOUND : CG_EIO, "%s: %s", path, strerror(errno));
    *out = json_loadf(f, JSON_REJECT_DUPLICATES, &error);
    fclose(f);
    return *out ? CG_OK : cg_error(CG_EFORMAT, "%s: line %d: %s", path, error.line, error.text);
}

cg_status cg_checkpoint_config(const char *folder, cg_clip_desc *desc, cg_preprocess *preprocess) {
    json_t *j;
    char name[PATH_ROOM];
    CG_TRY(path_in(folder, "open_clip_config.json", name));
    CG_TRY(load_json(folder, "open_clip_config.json", &j));
    cg_status s = cg_clip_desc_parse(name, j, desc);
    if (s == CG_OK) {
        s = cg_preprocess_parse(name, json_object_get(j, "preprocess_cfg"), preprocess);
        if (!json_object_get(json_object_get(j, "preprocess_cfg"), "size"))
            preprocess->size = (int)desc->vision.image_size;
    }
    if (s == CG_OK && preprocess->size != desc->vision.image_size)
        s = cg_error(CG_EINVAL,
                     "%s: preprocess_cfg: size %d, but the model's image_size is %" PRId64, name,
                     preprocess->size, desc->vision.image_size);
    json_decref(j);
    return s == CG_EINVAL ? CG_EFORMAT : s; /* nobody has given it but the file */
}

cg_status cg_checkpoint_weights(const char *folder, cg_params *params) {
    char path[PATH_ROOM];
    CG_TRY(path_in(folder, "open_clip_model.safetensors", path));
    return cg_params_load(params, path, NULL);
}

cg_status cg_checkpoint_map(const char *folder, cg_params *params) {
    char path[PATH_ROOM];
    CG_TRY(path_in(folder, "open_clip_model.safetensors", path));
    return cg_params_map(params, path);
}

cg_status cg_checkpoint_tokenizer(const char *folder, cg_tokenizer **out) {
    char path[PATH_ROOM];
    CG_TRY(path_in(folder, "tokenizer.json", path));
    return cg_tokenizer_load(path, out);
}

static cg_status parse_state(const char *folder, const json_t *j, cg_train_state *t) {
    json_int_t v[6];
    json_error_t error;
    const char *data = "0";
    if (json_unpack_ex((json_t *)(uintptr_t)j, &error, 0, "{s:I, s:I, s:I, s:I, s:I, s:I, s?s}",
                       "step", &v[0], "epoch", &v[1], "batch", &v[2], "seed", &v[3], "batch_size",
                       &v[4], "steps_per_epoch", &v[5], "data", &data) != 0)
        return cg_error(CG_EFORMAT, "%s/state.json: %s", folder, error.text);
    for (int i = 0; i < 6; i++)
        if (i != 3 && v[i] < 0)
            return cg_error(CG_EFORMAT, "%s/state.json: a count is negative", folder);
    char *end;
    *t = (cg_train_state){v[0], v[1], v[2], (uint64_t)v[3], v[4], v[5], strtoull(data, &end, 16)};
    return *data && !*end ? CG_OK
                          : cg_error(CG_EFORMAT,
                                     "%s/state.json: data: found \"%.40s\", wanted a "
                                     "hexadecimal number",
                                     folder, data);
}

/* The first or the second moments (`which`): each is found by the name of its parameter, and must
 * have its shape. */
static cg_status load_moment(const char *path, const cg_safetensors *file, const cg_params *params,
                             int which, float *moment) {
    for (int i = 0; i < cg_params_count(params); i++) {
        const cg_param *p = cg_params_at(params, i);
        char name[300], found[CG_SHAPE_TEXT], wanted[CG_SHAPE_TEXT];
        if (!p->trainable) continue;
        snprintf(name, sizeof name, "%s.%s", moment_names[which], p->name);
        const cg_tensor *t = cg_safetensors_find(file, name);
        if (!t) return cg_error(CG_EINVAL, "%s: tensor %s is missing", path, name);
        if (t->dtype != CG_F32 || !cg_shape_equal(&t->shape, &p->shape))
            return cg_error(CG_ESHAPE, "%s: tensor %s is %s %s, wanted f32 %s", path, name,
                            cg_dtype_name(t->dtype), cg_shape_print(&t->shape, found),
                            cg_shape_print(&p->shape, wanted));
        memcpy(moment + p->offset / sizeof(float), t->data, t->bytes);
    }
    return CG_OK;
}

cg_status cg_checkpoint_state(const char *folder, const cg_params *params, cg_train_state *state,
                              float *moment[2]) {
    json_t *j;
    char path[PATH_ROOM];
    cg_safetensors *file;
    CG_TRY(load_json(folder, "state.json", &j));
    cg_status s = parse_state(folder, j, state);
    json_decref(j);
    CG_TRY(s);
    CG_TRY(path_in(folder, "state.safetensors", path));
    CG_TRY(cg_safetensors_open(path, &file));
    for (int k = 0; k < 2 && s == CG_OK; k++) s = load_moment(path, file, params, k, moment[k]);
    cg_safetensors_close(file);
    return s;
}

/* --- finding ---------------------------------------------------------------------------------- */

static int has(const char *folder, const char *name) {
    char path[PATH_ROOM];
    struct stat st;
    return path_in(folder, name, path) == CG_OK && stat(path, &st) == 0;
}

static int is_checkpoint(const char *folder) {
    return has(folder, "open_clip_config.json") && has(folder, "open_clip_model.safetensors");
}

/* The number N of a name step-N as it is written here; -1 for other names. */
static int64_t step_of(const char *name) {
    char same[32];
    int64_t n;
    if (sscanf(name, "step-%" SCNd64, &n) != 1 || n < 0) return -1;
    snprintf(same, sizeof same, "step-%" PRId64, n);
    return strcmp(name, same) == 0 ? n : -1;
}

cg_status cg_checkpoint_path(const char *run, int64_t step, char *path, size_t size) {
    int n = snprintf(path, size, "%s/checkpoints/step-%" PRId64, run, step);
    return n > 0 && (size_t)n < size ? CG_OK : cg_error(CG_EINVAL, "the path is too long: %s", run);
}

static int newest_first(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* Appends the step of run/checkpoints/name where that is a whole checkpoint. */
static cg_status list_entry(const char *run, const char *name, int64_t **steps, int64_t *n) {
    char path[PATH_ROOM];
    int64_t step = step_of(name);
    if (step < 0) return CG_OK;
    CG_TRY(cg_checkpoint_path(run, step, path, sizeof path));
    if (!is_checkpoint(path)) return CG_OK;
    int64_t *grown = realloc(*steps, (size_t)(*n + 1) * sizeof *grown);
    if (!grown) return cg_error(CG_ENOMEM, "no memory to list the checkpoints of %s", run);
    *steps = grown;
    grown[(*n)++] = step;
    return CG_OK;
}

cg_status cg_checkpoint_list(const char *run, int64_t **steps, int64_t *n) {
    char path[PATH_ROOM];
    cg_status s = path_in(run, "checkpoints", path);
    *steps = NULL;
    *n = 0;
    DIR *d = s == CG_OK ? opendir(path) : NULL;
    for (struct dirent *e; d && s == CG_OK && (e = readdir(d));)
        s = list_entry(run, e->d_name, steps, n);
    if (d) closedir(d);
    if (s != CG_OK) {
        free(*steps);
        *steps = NULL;
        *n = 0;
    }
    if (*n) qsort(*steps, (size_t)*n, sizeof **steps, newest_first);
    return s;
}

cg_status cg_checkpoint_find(const char *run, char **folder) {
    char path[PATH_ROOM];
    int64_t *steps, n;
    *folder = NULL;
    int itself = is_checkpoint(run);
    if (!itself) {
        CG_TRY(cg_checkpoint_list(run, &steps, &n));
        cg_status s = n ? cg_checkpoint_path(run, steps[0], path, sizeof path)
                        : cg_error(CG_ENOTFOUND,
                                   "%s: neither a checkpoint (open_clip_config.json and "
                                   "open_clip_model.safetensors) nor a run (checkpoints/step-N)",
                                   run);
        free(steps);
        CG_TRY(s);
    }
    *folder = strdup(itself ? run : path);
    return *folder ? CG_OK : cg_error(CG_ENOMEM, "no memory for a path");
}
