/* The model's file and the one with its weights, as one: the older pair is there and fits together
 * until the new one is. The new weights take a name that no file has, and the model says which. So
 * they may come first: whenever the machine stops, the model that is there finds its own. */
#include "serialize/onnx/export_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAMES = 100 };

/* PATH.data, PATH.1.data, … */
static cg_status name(const char *path, int n, char out[CG_ONNX_PATH]) {
    int length = n ? snprintf(out, CG_ONNX_PATH, "%s.%d.data", path, n)
                   : snprintf(out, CG_ONNX_PATH, "%s.data", path);
    return length > 0 && length < CG_ONNX_PATH
               ? CG_OK
               : cg_error(CG_EINVAL, "the path %s is too long", path);
}

cg_status cg_onnx_pair_name(const char *path, cg_onnx_pair *out) {
    struct stat st;
    *out = (cg_onnx_pair){.path = path};
    for (int n = 0; n < NAMES; n++) {
        CG_TRY(name(path, n, out->data_path));
        if (lstat(out->data_path, &st) != 0 && errno == ENOENT) return CG_OK;
    }
    return cg_error(CG_EIO, "%s.data to %s are all there already: remove those that no model reads",
                    path, out->data_path);
}

cg_status cg_onnx_pair_create(cg_onnx_pair *p) {
    if (*p->data_path) CG_TRY(cg_file_create(p->data_path, &p->data));
    return cg_file_create(p->path, &p->file);
}

/* Which file stands there; 0: none. */
static ino_t what_is(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* Weights of older models of this path, which are gone. */
static void remove_others(const cg_onnx_pair *p) {
    char path[CG_ONNX_PATH];
    struct stat st;
    for (int n = 0; n < NAMES && name(p->path, n, path) == CG_OK; n++)
        if (strcmp(path, p->data_path) != 0 && lstat(path, &st) == 0 && S_ISREG(st.st_mode))
            unlink(path);
}

cg_status cg_onnx_pair_commit(cg_onnx_pair *p, cg_status s) {
    if (s != CG_OK) {
        cg_file_abandon(p->data);
        cg_file_abandon(p->file);
        return s;
    }
    s = cg_file_commit(p->data);
    if (s != CG_OK) {
        cg_file_abandon(p->file);
        return s;
    }
    ino_t before = what_is(p->path);
    s = cg_file_commit(p->file);
    if (!*p->data_path) return s;
    if (s == CG_OK) remove_others(p);
    if (s != CG_OK && what_is(p->path) == before) unlink(p->data_path);
    return s;
}
