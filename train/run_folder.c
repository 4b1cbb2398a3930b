#include "train/run_folder.h"

#include "graph/file.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 4096 };

struct cg_run_folder {
    char path[PATH_ROOM - 512];
    FILE *metrics;
};

static cg_status failed(const char *path) {
    return cg_error(CG_EIO, "%s: %s", path, strerror(errno));
}

/* mkdir -p */
static cg_status make_folders(const char *path) {
    char part[PATH_ROOM];
    size_t n = strlen(path);
    if (n >= sizeof part) return cg_error(CG_EINVAL, "%s: the path is too long", path);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST) return failed(part);
    }
    return CG_OK;
}

/* --- checkpoints ------------------------------------------------------------------------- */

cg_status cg_run_folder_checkpoint(const cg_run_folder *f, int64_t step, char *path, size_t size) {
    return cg_checkpoint_path(f->path, step, path, size);
}

void cg_run_folder_prune(const cg_run_folder *f, int64_t keep) {
    int64_t n, *steps;
    char path[PATH_ROOM];
    if (keep <= 0 || cg_checkpoint_list(f->path, &steps, &n) != CG_OK) return;
    for (int64_t i = keep; i < n; i++)
        if (cg_checkpoint_path(f->path, steps[i], path, sizeof path) == CG_OK)
            cg_folder_remove(path);
    free(steps);
}

/* Removes what a crash has left behind while it wrote or removed a checkpoint. */
static void sweep(const char *checkpoints) {
    char path[PATH_ROOM];
    DIR *d = opendir(checkpoints);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strncmp(e->d_name, "step-", 5) != 0 || !cg_file_is_temporary(e->d_name)) continue;
        int n = snprintf(path, sizeof path, "%s/%s", checkpoints, e->d_name);
        if (n > 0 && (size_t)n < sizeof path) cg_folder_remove(path);
    }
    if (d) closedir(d);
}

/* A new run wants none, a resumed one none that is newer: the steps made again would mix with
 * them, and `latest` would name the wrong one. */
static cg_status check_checkpoints(const char *run, int64_t step) {
    int64_t n, *steps;
    CG_TRY(cg_checkpoint_list(run, &steps, &n));
    int64_t newest = n ? steps[0] : -1;
    free(steps);
    if (newest >= 0 && step < 0)
        return cg_error(CG_EINVAL,
                        "%s has checkpoints of an earlier run: resume it, or choose "
                        "another name",
                        run);
    if (newest > step)
        return cg_error(CG_EINVAL,
                        "%s has a checkpoint of step %" PRId64 ", newer than step %" PRId64
                        " that is resumed: resume that one, or choose another name",
                        run, newest, step);
    return CG_OK;
}

/* --- metrics ----------------------------------------------------------------------------- */

static cg_status log_line(cg_run_folder *f, json_t *j) {
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    if (!text) return cg_error(CG_ENOMEM, "no memory for a line of metrics");
    int bad = fprintf(f->metrics, "%s\n", text) < 0;
    free(text);
    if (bad || fflush(f->metrics) != 0) {
        int reason = errno;
        return cg_error(CG_EIO, "%s/metrics.jsonl: %s", f->path, strerror(reason));
    }
    return CG_OK;
}

cg_status cg_run_folder_log_step(cg_run_folder *f, const cg_train_progress *p) {
    return log_line(f,
                    json_pack("{s:I, s:f, s:f, s:f, s:f, s:f}", "step", (json_int_t)p->step, "loss",
                              p->loss, "temperature", p->temperature, "lr", p->lr, "gradient_norm",
                              p->gradient_norm, "pairs_per_second", p->pairs_per_second));
}

static json_t *recall_json(const cg_recall *r) {
    return json_pack("{s:f, s:f, s:f}", "R@1", r->at1, "R@5", r->at5, "R@10", r->at10);
}

cg_status cg_run_folder_log_retrieval(cg_run_folder *f, int64_t step, const cg_retrieval *r) {
    return log_line(f, json_pack("{s:I, s:o, s:o, s:I, s:I}", "step", (json_int_t)step,
                                 "image_to_text", recall_json(&r->image_to_text), "text_to_image",
                                 recall_json(&r->text_to_image), "images", (json_int_t)r->images,
                                 "captions", (json_int_t)r->captions));
}

/* Copies the lines of steps up to `step`; a line cut short by a crash ends the copy. */
static cg_status copy_lines(const cg_map *old, int64_t step, cg_file *f) {
    const char *at = (const char *)old->data, *end = at + old->bytes, *stop;
    for (; at < end && (stop = memchr(at, '\n', (size_t)(end - at))); at = stop + 1) {
        json_t *j = json_loadb(at, (size_t)(stop - at), 0, NULL);
        int64_t made = j ? json_integer_value(json_object_get(j, "step")) : INT64_MAX;
        json_decref(j);
        if (made > step) break;
        CG_TRY(cg_file_write(f, at, (size_t)(stop + 1 - at)));
    }
    return CG_OK;
}

static cg_status rewind_metrics(const char *path, int64_t step) {
    cg_map old;
    cg_file *f;
    if (access(path, F_OK) != 0) return CG_OK;
    CG_TRY(cg_file_map(path, &old));
    cg_status s = cg_file_create(path, &f);
    if (s == CG_OK) {
        s = copy_lines(&old, step, f);
        if (s == CG_OK)
            s = cg_file_commit(f);
        else
            cg_file_abandon(f);
    }
    cg_file_unmap(&old);
    return s;
}

/* --- life -------------------------------------------------------------------------------- */

static cg_status save_config(const cg_run_folder *f, const struct json_t *config) {
    char path[PATH_ROOM];
    snprintf(path, sizeof path, "%s/config.json", f->path);
    char *text = json_dumps(config, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(10));
    if (!text) return cg_error(CG_ENOMEM, "no memory for %s", path);
    cg_status s = cg_file_save(path, text, strlen(text));
    free(text);
    return s;
}

static cg_status open_all(cg_run_folder *f, const struct json_t *config, int64_t step) {
    char path[PATH_ROOM];
    snprintf(path, sizeof path, "%s/config.json", f->path);
    int old = step >= 0 && access(path, F_OK) == 0; /* one resumed elsewhere has none yet */
    snprintf(path, sizeof path, "%s/checkpoints", f->path);
    CG_TRY(make_folders(path));
    CG_TRY(check_checkpoints(f->path, step));
    sweep(path);
    snprintf(path, sizeof path, "%s/metrics.jsonl", f->path);
    if (!old && config) CG_TRY(save_config(f, config));
    CG_TRY(rewind_metrics(path, step));
    f->metrics = fopen(path, "a");
    return f->metrics ? CG_OK : failed(path);
}

cg_status cg_run_folder_open(const char *path, const struct json_t *config, int64_t step,
                             cg_run_folder **out) {
    cg_run_folder *f = *out = calloc(1, sizeof *f);
    if (!f) return cg_error(CG_ENOMEM, "no memory for a run's folder");
    int n = snprintf(f->path, sizeof f->path, "%s", path);
    cg_status s = n > 0 && (size_t)n < sizeof f->path
                      ? open_all(f, config, step)
                      : cg_error(CG_EINVAL, "%s: the path is too long", path);
    if (s != CG_OK) {
        cg_run_folder_close(f);
        *out = NULL;
    }
    return s;
}

void cg_run_folder_close(cg_run_folder *f) {
    if (!f) return;
    if (f->metrics) fclose(f->metrics);
    free(f);
}
