#include "data/files.h"
#include "data/tokenizer.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEEPEST = 64 }; /* folders in folders; more is taken for a mistake */

/* Looks at the first bytes, as names lie. -1: it cannot be opened (with a message). */
static int is_picture(const char *path) {
    unsigned char head[12] = {0};
    FILE *f = fopen(path, "rb");
    if (!f) {
        cg_error(CG_EIO, "%s: %s", path, strerror(errno));
        return -1;
    }
    size_t n = fread(head, 1, sizeof head, f);
    fclose(f);
    if (n < sizeof head) return 0;
    return !memcmp(head, "\x89PNG\r\n\x1a\n", 8) || !memcmp(head, "\xff\xd8\xff", 3) ||
           (!memcmp(head, "RIFF", 4) && !memcmp(head + 8, "WEBP", 4));
}

/* A folder's path and a name in it; NULL: no memory (with a message). */
static char *join(const char *folder, const char *file) {
    size_t length = strlen(folder);
    char *path = malloc(length + strlen(file) + 2);
    int slash = length > 0 && folder[length - 1] != '/';
    if (path)
        sprintf(path, "%s%s%s", folder, slash ? "/" : "", file);
    else
        cg_error(CG_ENOMEM, "%s: no memory", folder);
    return path;
}

/* ---- all pictures below a folder ---- */

/* Where the pictures found go; their captions are copies of one. */
typedef struct search {
    cg_dataset *d;
    int64_t capacity;
    const char *caption;
} search;

static cg_status walk(search *s, const char *folder, int depth);

/* Takes path. A folder or a file that cannot be read does not end the search. */
static cg_status visit(search *s, char *path, int depth) {
    struct stat link, target;
    cg_status status = CG_OK;
    /* Links to folders are not followed: they may lead back up. */
    if (lstat(path, &link) == 0 && S_ISDIR(link.st_mode)) {
        status = walk(s, path, depth + 1);
        if (status == CG_EIO) status = cg_dataset_skip(s->d, cg_error_message());
    } else if (stat(path, &target) == 0 && S_ISREG(target.st_mode)) {
        int picture = is_picture(path);
        if (picture > 0) return cg_dataset_append(s->d, &s->capacity, path, strdup(s->caption));
        if (picture < 0) status = cg_dataset_skip(s->d, cg_error_message());
    }
    free(path);
    return status;
}

static cg_status walk(search *s, const char *folder, int depth) {
    if (depth > DEEPEST) return cg_error(CG_EIO, "%s: more than %d folders deep", folder, DEEPEST);
    DIR *dir = opendir(folder);
    if (!dir) return cg_error(CG_EIO, "%s: %s", folder, strerror(errno));
    cg_status status = CG_OK;
    struct dirent *entry;
    while (status == CG_OK && (errno = 0, entry = readdir(dir))) {
        if (entry->d_name[0] == '.') continue;
        char *path = join(folder, entry->d_name);
        status = path ? visit(s, path, depth) : CG_ENOMEM;
    }
    if (status == CG_OK && errno) status = cg_error(CG_EIO, "%s: %s", folder, strerror(errno));
    closedir(dir);
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Puts the pictures from number `from` on in order: as they have one caption, only their paths. */
static void sort_from(cg_dataset *d, int64_t from) {
    if (d->size > from) qsort(d->path + from, (size_t)(d->size - from), sizeof *d->path, by_name);
}

static cg_status none_found(const cg_dataset *d, const char *folder, const char *where) {
    return cg_error(CG_ENOTFOUND, "%s: no picture in %s (PNG, JPEG or WebP)%s%s", folder, where,
                    d->n_skipped ? "; " : "", d->n_skipped ? d->skipped[0] : "");
}

/* Numbers the captions of a dataset that was filled with success, and hands it over. */
static cg_status finish(cg_dataset *d, cg_status status, cg_dataset **out) {
    if (status == CG_OK) status = cg_dataset_number_captions(d);
    if (status == CG_OK)
        *out = d;
    else
        cg_dataset_free(d);
    return status;
}

cg_status cg_dataset_folder(const char *folder, const cg_decode_options *options,
                            cg_dataset **out) {
    *out = NULL;
    cg_dataset *d = cg_dataset_files(options);
    if (!d) return CG_ENOMEM;
    search s = {.d = d, .caption = ""};
    cg_status status = walk(&s, folder, 0);
    if (status == CG_OK && d->size == 0) status = none_found(d, folder, "it");
    if (status == CG_OK) sort_from(d, 0);
    return finish(d, status, out);
}

/* ---- a folder for each class ---- */

/* The folders in a folder, also by links; sorted. The caller frees the names, whatever happens. */
static cg_status list_folders(const char *folder, char ***list, int64_t *n) {
    int64_t capacity = 0;
    DIR *dir = opendir(folder);
    if (!dir) return cg_error(CG_EIO, "%s: %s", folder, strerror(errno));
    cg_status status = CG_OK;
    struct dirent *entry;
    while (status == CG_OK && (errno = 0, entry = readdir(dir))) {
        struct stat st;
        if (entry->d_name[0] == '.') continue;
        char *path = join(folder, entry->d_name);
        int is_folder = path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
        if (!path) status = CG_ENOMEM;
        free(path);
        if (!is_folder) continue;
        if (*n == capacity) {
            capacity = 2 * capacity + 64;
            char **bigger = realloc(*list, (size_t)capacity * sizeof *bigger);
            if (!bigger) status = cg_error(CG_ENOMEM, "%s: no memory", folder);
            if (!bigger) break;
            *list = bigger;
        }
        (*list)[*n] = strdup(entry->d_name);
        if (!(*list)[(*n)++]) status = cg_error(CG_ENOMEM, "%s: no memory", folder);
    }
    if (status == CG_OK && errno) status = cg_error(CG_EIO, "%s: %s", folder, strerror(errno));
    closedir(dir);
    if (status == CG_OK && *n) qsort(*list, (size_t)*n, sizeof **list, by_name);
    return status;
}

/* Which class a folder is of, by its name. `known`: the classes are given, and it has to be one of
 * them (-1: it is none); otherwise it is a new one. */
static cg_status find_class(cg_dataset *d, const char *key, int known, int32_t *class) {
    char *clean;
    *class = known ? cg_classes_find_key(&d->classes, key) : -1;
    if (*class >= 0) return CG_OK;
    char *spoken = strdup(key);
    if (!spoken) return cg_error(CG_ENOMEM, "%s: no memory", key);
    for (char *c = spoken; *c; c++)
        if (*c == '_') *c = ' ';
    cg_status status =
        known ? cg_caption_clean(spoken, &clean) : cg_classes_add(&d->classes, key, spoken);
    free(spoken);
    if (status != CG_OK) return status;
    *class = known ? cg_classes_find(&d->classes, clean) : d->classes.n - 1;
    if (known) free(clean);
    return CG_OK;
}

/* Adds the pictures of one class's folder. `known`: the classes are given. */
static cg_status add_class(search *s, const char *folder, const char *key, int known) {
    cg_dataset *d = s->d;
    int32_t class;
    int64_t from = d->size;
    CG_TRY(find_class(d, key, known, &class));
    char *path = join(folder, key);
    if (!path) return CG_ENOMEM;
    s->caption = class < 0 ? "" : d->classes.at[class].caption;
    cg_status status = walk(s, path, 0);
    free(path);
    if (status == CG_EIO) status = cg_dataset_skip(d, cg_error_message());
    if (status == CG_OK && class < 0 && d->size > from)
        status = cg_error(CG_EFORMAT, "%s: folder \"%s\" is not among the %d classes given", folder,
                          key, (int)d->classes.n);
    if (!known && d->size == from) cg_classes_drop(&d->classes);
    sort_from(d, from);
    return status;
}

cg_status cg_dataset_class_folders(const char *folder, const cg_classes *classes,
                                   const cg_decode_options *options, cg_dataset **out) {
    char **key = NULL;
    int64_t n = 0;
    *out = NULL;
    cg_dataset *d = cg_dataset_files(options);
    if (!d) return CG_ENOMEM;
    search s = {.d = d};
    cg_status status = classes ? cg_classes_copy(classes, &d->classes) : CG_OK;
    if (status == CG_OK) status = list_folders(folder, &key, &n);
    for (int64_t i = 0; i < n && status == CG_OK; i++)
        status = add_class(&s, folder, key[i], classes != NULL);
    for (int64_t i = 0; i < n; i++) free(key[i]);
    free(key);
    if (status == CG_OK && d->size == 0)
        status = none_found(d, folder, "a folder of it: wanted a folder for each class");
    if (status == CG_OK && !classes) status = cg_classes_index(&d->classes, folder);
    return finish(d, status, out);
}
