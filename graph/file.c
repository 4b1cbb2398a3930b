#define _GNU_SOURCE /* renameat2, nftw */
#include "graph/file.h"

#include "graph/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 1 << 16,
    WRITE_BYTES = 1 << 30, /* of one system call: the kernel takes at most 2 GiB */
    WALK_FILES = 16,       /* descriptors that a walk over a folder may hold */
};

struct cg_file {
    char *path, *temporary; /* temporary is NULL where the file is written in place */
    int fd;
    int error; /* the errno that sticks, or 0 */
    size_t used;
    unsigned char buffer[BUFFER_BYTES];
};

struct cg_folder {
    char *path, *temporary;
};

static cg_status system_error(const char *verb, const char *path, int error) {
    return cg_error(error == ENOENT ? CG_ENOTFOUND : CG_EIO, "cannot %s %s: %s", verb, path,
                    strerror(error));
}

static cg_status no_memory(const char *path) {
    return cg_error(CG_ENOMEM, "no memory to write %s", path);
}

/* "PATH.tmp-0123456789abcdef", freed by the caller; trailing slashes of path are dropped. */
static char *temporary_name(const char *path, int attempt) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t tag = cg_mix64((uint64_t)now.tv_sec ^ (uint64_t)now.tv_nsec << 32);
    tag = cg_mix64(tag ^ (uint64_t)getpid()) + (uint64_t)attempt;
    size_t length = strlen(path), room = length + 32;
    while (length > 1 && path[length - 1] == '/') length--;
    char *name = malloc(room);
    if (name) snprintf(name, room, "%.*s.tmp-%016llx", (int)length, path, (unsigned long long)tag);
    return name;
}

int cg_file_is_temporary(const char *name) {
    static const char mark[] = ".tmp-";
    enum { MARK = sizeof mark - 1, DIGITS = 16 };
    size_t length = strlen(name);
    const char *end = name + length;
    return length > MARK + DIGITS && memcmp(end - DIGITS - MARK, mark, MARK) == 0 &&
           strspn(end - DIGITS, "0123456789abcdef") == DIGITS;
}

/* Makes what is in the folder that holds path survive a crash. */
static int sync_parent(const char *path) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    while (length > 0 && path[length - 1] != '/') length--;
    char *parent = length ? strndup(path, length) : strdup(".");
    if (!parent) return ENOMEM;
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;
    free(parent);
    if (fd < 0) return errno;
    /* Some file systems cannot flush a folder, and say EINVAL. */
    if (fsync(fd) != 0 && errno != EINVAL) error = errno;
    close(fd);
    return error;
}

static void file_free(cg_file *f) {
    if (f->fd >= 0) close(f->fd);
    free(f->temporary);
    free(f->path);
    free(f);
}

static int open_temporary(cg_file *f) {
    for (int attempt = 0; attempt < 100; attempt++) {
        f->temporary = temporary_name(f->path, attempt);
        if (!f->temporary) return ENOMEM;
        f->fd = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (f->fd >= 0) return 0;
        int error = errno;
        free(f->temporary);
        f->temporary = NULL;
        if (error != EEXIST) return error;
    }
    return EEXIST;
}

cg_status cg_file_create(const char *path, cg_file **out) {
    cg_file *f = malloc(sizeof *f);
    if (!f) return no_memory(path);
    f->temporary = NULL;
    f->fd = -1;
    f->error = 0;
    f->used = 0;
    f->path = strdup(path);
    if (!f->path) {
        file_free(f);
        return no_memory(path);
    }
    struct stat info;
    int error = 0;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        f->fd = open(path, O_WRONLY | O_CLOEXEC); /* EISDIR for a folder */
        if (f->fd < 0) error = errno;
    } else {
        error = open_temporary(f);
    }
    if (error) {
        file_free(f);
        return system_error("write", path, error);
    }
    *out = f;
    return CG_OK;
}

static int write_all(int fd, const unsigned char *data, size_t bytes) {
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes < WRITE_BYTES ? bytes : WRITE_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        data += n;
        bytes -= (size_t)n;
    }
    return 0;
}

static cg_status flush(cg_file *f) {
    if (!f->error) f->error = write_all(f->fd, f->buffer, f->used);
    f->used = 0;
    return f->error ? system_error("write", f->path, f->error) : CG_OK;
}

cg_status cg_file_write(cg_file *f, const void *data, size_t bytes) {
    if (f->error) return system_error("write", f->path, f->error);
    if (bytes == 0) return CG_OK;
    if (bytes > BUFFER_BYTES - f->used) CG_TRY(flush(f));
    if (bytes >= BUFFER_BYTES) {
        f->error = write_all(f->fd, data, bytes);
        return flush(f);
    }
    memcpy(f->buffer + f->used, data, bytes);
    f->used += bytes;
    return CG_OK;
}

cg_status cg_file_printf(cg_file *f, const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0) {
        if (!f->error) f->error = ENOMEM;
        return flush(f);
    }
    cg_status status = cg_file_write(f, text, (size_t)n);
    free(text);
    return status;
}

cg_status cg_file_commit(cg_file *f) {
    if (!f) return CG_OK;
    flush(f);
    if (!f->error && f->temporary && fsync(f->fd) != 0) f->error = errno;
    int closed = close(f->fd);
    f->fd = -1;
    if (!f->error && closed != 0) f->error = errno;
    if (!f->error && f->temporary) {
        if (rename(f->temporary, f->path) != 0) {
            f->error = errno;
        } else {
            free(f->temporary);
            f->temporary = NULL;
            f->error = sync_parent(f->path);
        }
    }
    cg_status status = f->error ? system_error("write", f->path, f->error) : CG_OK;
    cg_file_abandon(f);
    return status;
}

void cg_file_abandon(cg_file *f) {
    if (!f) return;
    if (f->temporary) unlink(f->temporary);
    file_free(f);
}

cg_status cg_file_save(const char *path, const void *data, size_t bytes) {
    cg_file *f;
    CG_TRY(cg_file_create(path, &f));
    cg_file_write(f, data, bytes);
    return cg_file_commit(f);
}

static cg_status map_open(int fd, const char *path, int protection, cg_map *out) {
    static const unsigned char nothing[1];
    struct stat info;
    cg_status status = CG_OK;
    *out = (cg_map){nothing, 0};
    if (fstat(fd, &info) != 0) {
        status = system_error("read", path, errno);
    } else if (!S_ISREG(info.st_mode)) {
        status = cg_error(CG_EIO, "cannot read %s: it is %s, wanted a file", path,
                          S_ISDIR(info.st_mode) ? "a folder" : "no regular file");
    } else if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, protection, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = system_error("map", path, errno);
        else
            *out = (cg_map){data, (size_t)info.st_size};
    }
    if (status != CG_OK) *out = (cg_map){NULL, 0};
    return status;
}

static cg_status map_file(const char *path, int protection, cg_map *out) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return system_error("read", path, errno);
    cg_status status = map_open(fd, path, protection, out);
    close(fd);
    return status;
}

cg_status cg_file_map(const char *path, cg_map *out) {
    return map_file(path, PROT_READ, out);
}

cg_status cg_file_map_private(const char *path, cg_map *out) {
    return map_file(path, PROT_READ | PROT_WRITE, out);
}

cg_status cg_file_map_open(int fd, const char *path, cg_map *out) {
    return map_open(fd, path, PROT_READ | PROT_WRITE, out);
}

void cg_file_unmap(cg_map *map) {
    if (map->bytes) munmap((void *)(uintptr_t)map->data, map->bytes);
    *map = (cg_map){NULL, 0};
}

static void folder_free(cg_folder *d) {
    free(d->path);
    free(d->temporary);
    free(d);
}

cg_status cg_folder_create(const char *path, cg_folder **out) {
    cg_folder *d = calloc(1, sizeof *d);
    if (!d) return no_memory(path);
    d->path = strdup(path);
    int error = d->path ? EEXIST : ENOMEM;
    for (int attempt = 0; error == EEXIST && attempt < 100; attempt++) {
        free(d->temporary);
        d->temporary = temporary_name(path, attempt);
        error = !d->temporary ? ENOMEM : mkdir(d->temporary, 0777) != 0 ? errno : 0;
    }
    if (error) {
        folder_free(d);
        return system_error("make", path, error);
    }
    *out = d;
    return CG_OK;
}

const char *cg_folder_path(const cg_folder *d) {
    return d->temporary;
}

/* For nftw: returns an errno, which ends the walk. */
static int sync_entry(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)info, (void)at;
    if (kind != FTW_F && kind != FTW_DP) return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
    if (fd < 0) return errno;
    if (fsync(fd) != 0 && errno != EINVAL) error = errno;
    close(fd);
    return error;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)info, (void)kind, (void)at;
    return remove(path) != 0 ? errno : 0;
}

static int walk(const char *path,
                int (*visit)(const char *, const struct stat *, int, struct FTW *)) {
    int result = nftw(path, visit, WALK_FILES, FTW_DEPTH | FTW_PHYS);
    return result < 0 ? errno : result;
}

/* Puts from into the place of to, a folder that is not empty; from then names the old one. */
static int exchange(const char *from, const char *to) {
#ifdef RENAME_EXCHANGE
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return errno;
#endif
    /* The file system cannot do it at once: for a moment there is no folder of that name. */
    char *aside = temporary_name(to, 0);
    if (!aside) return ENOMEM;
    int error = rename(to, aside) != 0 ? errno : 0;
    if (!error && rename(from, to) != 0) {
        error = errno;
        rename(aside, to);
    } else if (!error && rename(aside, from) != 0) {
        error = errno;
    }
    free(aside);
    return error;
}

cg_status cg_folder_publish(cg_folder *d) {
    struct stat old;
    int error = walk(d->temporary, sync_entry);
    if (stat(d->path, &old) == 0) { /* may be read and written by whom the old one may */
        if (chown(d->temporary, (uid_t)-1, old.st_gid) == 0 || old.st_gid == getgid())
            chmod(d->temporary, old.st_mode & 07777);
    }
    if (!error && rename(d->temporary, d->path) != 0) {
        error = errno;
        if (error == ENOTEMPTY || error == EEXIST) error = exchange(d->temporary, d->path);
    }
    if (!error) error = sync_parent(d->path);
    cg_status status = error ? system_error("write", d->path, error) : CG_OK;
    cg_folder_abandon(d); /* what is left under the temporary name, if anything, is not wanted */
    return status;
}

void cg_folder_abandon(cg_folder *d) {
    if (!d) return;
    walk(d->temporary, remove_entry);
    folder_free(d);
}

cg_status cg_folder_remove(const char *path) {
    char *aside = temporary_name(path, 0);
    if (!aside) return cg_error(CG_ENOMEM, "no memory to remove %s", path);
    int error = rename(path, aside) != 0 ? errno : 0;
    if (!error) error = walk(aside, remove_entry);
    free(aside);
    return error ? system_error("remove", path, error) : CG_OK;
}
