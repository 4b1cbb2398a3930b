#define _GNU_SOURCE
#include "graph/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* "." and "..", at the end of a path too, have names that nothing can be renamed to. */
static int has_name(const char *path) {
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    size_t n = end - begin;
    return n > 0 && !(n <= 2 && strncmp(path + begin, "..", n) == 0);
}

static int is_file(DIR *d, const char *name) {
    struct stat st;
    return fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static cg_status check_entries(const char *path, DIR *d, cg_folder_ours ours, void *arg) {
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (!is_file(d, e->d_name) || !ours(arg, e->d_name))
            return cg_error(CG_EINVAL,
                            "%s is there already, and would be replaced with its \"%s\", which is "
                            "not of our making: give another folder",
                            path, e->d_name);
    }
    return CG_OK;
}

cg_status cg_folder_check(const char *path, cg_folder_ours ours, void *arg) {
    struct stat st;
    if (!has_name(path))
        return cg_error(CG_EINVAL, "\"%s\" cannot be replaced: give the name of a new folder",
                        path);
    if (lstat(path, &st) != 0) return CG_OK; /* or it cannot be made, which making it says */
    if (!S_ISDIR(st.st_mode))
        return cg_error(CG_EINVAL, "%s is there already, and no folder: give another name", path);
    DIR *d = opendir(path);
    if (!d) return cg_error(CG_EIO, "cannot read %s: %s", path, strerror(errno));
    cg_status s = check_entries(path, d, ours, arg);
    closedir(d);
    return s;
}
