#include "data/files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEEPEST = 64 }; /* folders in folders; more is taken for a mistake */

/* Looks at the first bytes, as names lie. What cannot be opened is no picture. */
static int is_picture(const char *path) {
    unsigned char head[12] = {0};
    FILE *f = fopen(path, "rb");
    if (!f) return 0;
    size_t n = fread(head, 1, sizeof head, f);
    fclose(f);
    if (n < sizeof head) return 0;
    return !memcmp(head, "\x89PNG\r\n\x1a\n", 8) || !memcmp(head, "\xff\xd8\xff", 3) ||
           (!memcmp(head, "RIFF", 4) && !memcmp(head + 8, "WEBP", 4));
}

static cg_status walk(cg_dataset *d, int64_t *capacity, const char *folder, int depth);

/* Takes path. */
static cg_status visit(cg_dataset *d, int64_t *capacity, char *path, int depth) {
    struct stat link, target;
    cg_status status = CG_OK;
    /* Links to folders are not followed: they may lead back up. */
    if (lstat(path, &link) == 0 && S_ISDIR(link.st_mode)) {
        status = walk(d, capacity, path, depth + 1);
    } else if (stat(path, &target) == 0 && S_ISREG(target.st_mode) && is_picture(path)) {
        char *caption = calloc(1, 1);
        return cg_dataset_append(d, capacity, path, caption);
    }
    free(path);
    return status;
}

static cg_status walk(cg_dataset *d, int64_t *capacity, const char *folder, int depth) {
    if (depth > DEEPEST) return cg_error(CG_EIO, "%s: more than %d folders deep", folder, DEEPEST);
    DIR *dir = opendir(folder);
    if (!dir) return cg_error(CG_EIO, "%s: %s", folder, strerror(errno));
    cg_status status = CG_OK;
    struct dirent *entry;
    size_t length = strlen(folder);
    while (status == CG_OK && (errno = 0, entry = readdir(dir))) {
        if (entry->d_name[0] == '.') continue;
        char *path = malloc(length + strlen(entry->d_name) + 2);
        if (!path) {
            status = cg_error(CG_ENOMEM, "%s: no memory", folder);
            break;
        }
        int slash = length > 0 && folder[length - 1] != '/';
        sprintf(path, "%s%s%s", folder, slash ? "/" : "", entry->d_name);
        status = visit(d, capacity, path, depth);
    }
    if (status == CG_OK && errno) status = cg_error(CG_EIO, "%s: %s", folder, strerror(errno));
    closedir(dir);
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

cg_status cg_dataset_folder(const char *folder, const cg_decode_options *options,
                            cg_dataset **out) {
    int64_t capacity = 0;
    *out = NULL;
    cg_dataset *d = cg_dataset_files(options);
    if (!d) return CG_ENOMEM;
    cg_status status = walk(d, &capacity, folder, 0);
    if (status == CG_OK && d->size == 0)
        status = cg_error(CG_ENOTFOUND, "%s: no picture in it (PNG, JPEG or WebP)", folder);
    if (status == CG_OK) {
        /* All captions are empty, so the paths alone can be sorted. */
        qsort(d->path, (size_t)d->size, sizeof *d->path, by_name);
        status = cg_dataset_number_captions(d);
    }
    if (status == CG_OK)
        *out = d;
    else
        cg_dataset_free(d);
    return status;
}
