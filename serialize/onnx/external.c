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

/* Walks down from the folder, opening each part; refuses links. */
static cg_status check_links(const char *folder, const char *location) {
    int at = open(*folder ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0) return cg_error(CG_EIO, "%s: %s", folder, strerror(errno));
    for (const char *part = location; part;) {
        char name[256];
        size_t n = strcspn(part, "/");
        const char *rest = part[n] ? part + n + 1 : NULL;
        struct stat st;
        int failed = n >= sizeof name;
        snprintf(name, sizeof name, "%.*s", (int)n, part);
        if (!failed && fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            int code = errno;
            close(at);
            return cg_error(code == ENOENT ? CG_ENOTFOUND : CG_EIO,
                            "external data at \"%.200s\": %s", location, strerror(code));
        }
        if (failed || !(rest ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode))) {
            close(at);
            return cg_error(
                CG_EFORMAT,
                "external data at \"%.200s\", wanted a regular file in folders, no link", location);
        }
        if (rest) {
            int below = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            close(at);
            if (below < 0) return cg_error(CG_EIO, "%s: %s", location, strerror(errno));
            at = below;
        }
        part = rest;
    }
    close(at);
    return CG_OK;
}

/* The mapped file at a location. */
static cg_status find(cg_onnx_file *f, const char *location, const cg_map **out) {
    char path[PATH_ROOM], folder[PATH_ROOM] = "";
    const char *slash = strrchr(f->path, '/');
    CG_TRY(check_text(location));
    if (slash) snprintf(folder, sizeof folder, "%.*s/", (int)(slash - f->path), f->path);
    if (snprintf(path, sizeof path, "%s%s", folder, location) >= PATH_ROOM)
        return cg_error(CG_EFORMAT, "external data: the path is too long");
    for (int i = 0; i < f->n_external; i++)
        if (strcmp(f->external_path[i], path) == 0) {
            *out = &f->external[i];
            return CG_OK;
        }
    CG_TRY(check_links(folder, location));
    size_t n = (size_t)f->n_external;
    cg_map *maps = realloc(f->external, (n + 1) * sizeof *maps);
    if (maps) f->external = maps;
    char **paths = realloc(f->external_path, (n + 1) * sizeof *paths);
    if (paths) f->external_path = paths;
    char *copy = cg_arena_string(&f->arena, path);
    if (!maps || !paths || !copy) return cg_error(CG_ENOMEM, "no memory for a path");
    maps[n] = (cg_map){0};
    CG_TRY(cg_file_map_private(path, &maps[n]));
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
