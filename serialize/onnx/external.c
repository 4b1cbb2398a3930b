/* Data of tensors in files beside the model's. What a path may be is decided by its text and by
 * opening each of its parts without following links, so that no file elsewhere can be reached. */
#define _GNU_SOURCE /* O_NOFOLLOW and openat are POSIX; O_DIRECTORY is with them */
#include "serialize/onnx/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 4096 };

static cg_status check_text(const char *location) {
    if (!*location || *location == '/')
        return cg_error(CG_EFORMAT, "external data at \"%.200s\", wanted a path within the folder",
                        location);
    for (const char *part = location; part;
         part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL) {
        size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && *part == '.') || (n == 2 && strncmp(part, "..", 2) == 0))
            return cg_error(CG_EFORMAT,
                            "external data at \"%.200s\", wanted a path without \"..\" or empty "
                            "parts",
                            location);
    }
    return CG_OK;
}

/* Opens a part of the path, a folder but for the last: no link, and no device that waits. */
static cg_status open_part(int folder, const char *part, size_t n, int is_last,
                           const char *location, int *fd) {
    char name[256];
    struct stat st;
    *fd = -1;
    if (n >= sizeof name)
        return cg_error(CG_EFORMAT, "external data at \"%.200s\": a name is too long", location);
    snprintf(name, sizeof name, "%.*s", (int)n, part);
    *fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0 && errno != ELOOP)
        return cg_error(errno == ENOENT ? CG_ENOTFOUND : CG_EIO, "external data at \"%.200s\": %s",
                        location, strerror(errno));
    if (*fd >= 0 && fstat(*fd, &st) == 0 && (is_last ? S_ISREG(st.st_mode) : S_ISDIR(st.st_mode)))
        return CG_OK;
    return cg_error(CG_EFORMAT,
                    "external data at \"%.200s\", wanted a regular file in folders: symbolic links "
                    "are refused",
                    location);
}

/* Walks down from the folder and maps what the last part is: what was checked is what is read. */
static cg_status map_within(const char *folder, const char *location, cg_map *out) {
    int at = open(*folder ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0) return cg_error(CG_EIO, "%s: %s", folder, strerror(errno));
    cg_status s = CG_OK;
    for (const char *part = location; part && s == CG_OK;) {
        size_t n = strcspn(part, "/");
        const char *rest = part[n] ? part + n + 1 : NULL;
        int below;
        s = open_part(at, part, n, !rest, location, &below);
        close(at);
        at = below;
        part = rest;
    }
    if (s == CG_OK) s = cg_file_map_open(at, location, out);
    if (at >= 0) close(at);
    return s;
}

/* The mapped file at a location. */
static cg_status find(cg_onnx_file *f, const char *location, const cg_map **out) {
    char folder[PATH_ROOM] = "";
    const char *slash = strrchr(f->path, '/');
    CG_TRY(check_text(location));
    if (slash && slash - f->path + 1 >= PATH_ROOM)
        return cg_error(CG_EFORMAT, "external data: the folder's path is longer than %d bytes",
                        PATH_ROOM - 2);
    if (slash) snprintf(folder, sizeof folder, "%.*s/", (int)(slash - f->path), f->path);
    for (int i = 0; i < f->n_external; i++)
        if (strcmp(f->external_path[i], location) == 0) {
            *out = &f->external[i];
            return CG_OK;
        }
    size_t n = (size_t)f->n_external;
    cg_map *maps = realloc(f->external, (n + 1) * sizeof *maps);
    if (maps) f->external = maps;
    char **paths = realloc(f->external_path, (n + 1) * sizeof *paths);
    if (paths) f->external_path = paths;
    char *copy = cg_arena_string(&f->arena, location);
    if (!maps || !paths || !copy) return cg_error(CG_ENOMEM, "no memory for a path");
    maps[n] = (cg_map){0};
    CG_TRY(map_within(folder, location, &maps[n]));
    paths[n] = copy;
    f->n_external++;
    *out = &maps[n];
    return CG_OK;
}

static cg_status number(const char *key, const char *text, uint64_t *out) {
    char *end;
    errno = 0;
    unsigned long long x = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || x > INT64_MAX)
        return cg_error(CG_EFORMAT, "external data: %s is \"%.40s\", wanted a number", key, text);
    *out = x;
    return CG_OK;
}

cg_status cg_onnx_external(cg_onnx_file *f, const CgOnnx__TensorProto *t, cg_onnx_bytes *out) {
    const char *location = NULL;
    uint64_t offset = 0, length = UINT64_MAX;
    for (size_t i = 0; i < t->n_external_data; i++) {
        const char *key = t->external_data[i]->key, *value = t->external_data[i]->value;
        if (!key || !value) continue;
        if (strcmp(key, "location") == 0) location = value;
        if (strcmp(key, "offset") == 0) CG_TRY(number(key, value, &offset));
        if (strcmp(key, "length") == 0) CG_TRY(number(key, value, &length));
    }
    const cg_map *map;
    if (!location) return cg_error(CG_EFORMAT, "external data without a location");
    CG_TRY(find(f, location, &map));
    if (length == UINT64_MAX && offset <= map->bytes) length = map->bytes - offset;
    if (offset > map->bytes || length > map->bytes - offset)
        return cg_error(CG_EFORMAT,
                        "external data at \"%.200s\", offset %" PRIu64 ", length %" PRIu64
                        ": the file has %zu bytes",
                        location, offset, length, map->bytes);
    *out = (cg_onnx_bytes){map->data + offset, (size_t)length};
    return CG_OK;
}
