/* Files that are either whole or not there: every file that clipgraph writes is written under a
 * temporary name beside its place, flushed to the disk and renamed, so that a full disk or a
 * crash leaves the old one as it was.
 *
 *     cg_file *f;
 *     CG_TRY(cg_file_create(path, &f));
 *     cg_file_write(f, rows, bytes);       the first error sticks, and is returned by
 *     return cg_file_commit(f);
 *
 * errors  CG_EIO with the path and the system's reason ("No space left on device");
 *         CG_ENOTFOUND: no such file or folder */
#ifndef CG_FILE_H
#define CG_FILE_H

#include "graph/status.h"

#include <stddef.h>
#include <stdint.h>

CG_API_BEGIN

typedef struct cg_file cg_file;

/* Opens PATH.tmp-… for buffered writing. What is no regular file (a pipe, /dev/stdout) is
 * written in place. *out is freed by cg_file_commit or cg_file_abandon. */
cg_status cg_file_create(const char *path, cg_file **out);

/* Appends. After a first error nothing more is written and every call returns that error. */
cg_status cg_file_write(cg_file *f, const void *data, size_t bytes);
cg_status cg_file_printf(cg_file *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Flushes to the disk and renames into place; after any error so far, removes the temporary and
 * returns that error. Frees f in either case; NULL is allowed and succeeds. */
cg_status cg_file_commit(cg_file *f);

/* Removes the temporary and frees f; the file in its place stays as it was. NULL is allowed. */
void cg_file_abandon(cg_file *f);

/* All of the above at once. */
cg_status cg_file_save(const char *path, const void *data, size_t bytes);

/* A whole file, read-only, mapped: pages are read when touched. The file must not be cut short
 * by others meanwhile: what is touched behind its new end ends the process with SIGBUS. Replacing
 * it by renaming, as above, is safe: the old one stays mapped. */
typedef struct cg_map {
    const unsigned char *data; /* never NULL once mapped, also if bytes is 0 */
    size_t bytes;
} cg_map;

cg_status cg_file_map(const char *path, cg_map *out);
/* The same, but the memory may be written: the file stays as it is, and pages that were written are
 * this process's own. */
cg_status cg_file_map_private(const char *path, cg_map *out);
/* The same of a file that is open for reading, and stays so; path: for messages. */
cg_status cg_file_map_open(int fd, const char *path, cg_map *out);
void cg_file_unmap(cg_map *map); /* an all-zero or unmapped one is allowed */

/* A folder that appears with all of its files or not at all. */
typedef struct cg_folder cg_folder;

/* May a folder be published there? Yes where nothing is, or an empty folder, or one that holds only
 * files whose names are `ours`.
 * errors  CG_EINVAL: names what would be lost, or says why no folder can stand there (a file, a
 *         link, "."); CG_EIO */
typedef int (*cg_folder_ours)(void *arg, const char *name);
cg_status cg_folder_check(const char *path, cg_folder_ours ours, void *arg);

/* Makes the empty folder PATH.tmp-…, to be filled by the caller. */
cg_status cg_folder_create(const char *path, cg_folder **out);
const char *cg_folder_path(const cg_folder *d); /* where to write; valid until published */

/* Flushes every file in it and renames it to PATH. A folder of that name is replaced by
 * one of its group and mode, and stays as it was after an error. Frees d in either case. */
cg_status cg_folder_publish(cg_folder *d);

/* Removes the temporary folder and frees d. NULL is allowed. */
void cg_folder_abandon(cg_folder *d);

/* Removes a folder and all that is in it, or a file. It first takes a temporary name, so that
 * nobody finds half of it: after an error either all of it is there, or none under that name. */
cg_status cg_folder_remove(const char *path);

/* Is this a name under which the above write, NAME.tmp- and 16 hexadecimal digits? What a crash
 * has left behind has one. */
int cg_file_is_temporary(const char *name);

CG_API_END

#endif
