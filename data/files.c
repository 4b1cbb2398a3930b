#include "data/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct file_dataset {
    cg_dataset base; /* first, so that a pointer to one is a pointer to the other */
    cg_decode_options decode;
} file_dataset;

static cg_status file_image(const cg_dataset *d, int64_t i, cg_image *out) {
    const file_dataset *f = (const file_dataset *)d;
    return cg_image_load(d->path[i], &f->decode, out);
}

static void file_free(cg_dataset *d) {
    free(d);
}

cg_dataset *cg_dataset_files(const cg_decode_options *options) {
    static const cg_dataset_ops ops = {file_image, file_free};
    file_dataset *f = calloc(1, sizeof *f);
    if (!f) {
        cg_error(CG_ENOMEM, "dataset: no memory");
        return NULL;
    }
    f->base.ops = &ops;
    if (options) f->decode = *options;
    return &f->base;
}

cg_status cg_file_read(const char *path, char **bytes, size_t *size) {
    FILE *f = fopen(path, "rb");
    *bytes = NULL;
    *size = 0;
    if (!f) return cg_error(CG_EIO, "%s: %s", path, strerror(errno));
    cg_status status = CG_OK;
    size_t capacity = 0, got;
    do { /* in pieces, as it may be a pipe */
        if (*size + 1 >= capacity) {
            capacity = 2 * capacity + 65536;
            char *bigger = realloc(*bytes, capacity);
            if (!bigger) {
                status = cg_error(CG_ENOMEM, "%s: no memory for %zu bytes", path, capacity);
                break;
            }
            *bytes = bigger;
        }
        got = fread(*bytes + *size, 1, capacity - 1 - *size, f);
        *size += got;
    } while (got > 0);
    if (status == CG_OK && ferror(f)) status = cg_error(CG_EIO, "%s: %s", path, strerror(errno));
    fclose(f);
    if (status == CG_OK) {
        (*bytes)[*size] = 0;
        return CG_OK;
    }
    free(*bytes);
    *bytes = NULL;
    return status;
}
