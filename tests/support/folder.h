/* A folder of a group of tests, in which all names are, and which is removed with all that is in
 * it. Failures fail the running test. */
#ifndef CG_TEST_FOLDER_H
#define CG_TEST_FOLDER_H

#include "graph/types.h"
#include "tests/support/ok.h"

/* Of a group of tests. */
int make_folder(void **state);
int remove_folder(void **state);

/* The path of NAME in it; valid for three more calls. */
const char *in_folder(const char *name);

int there(const char *name);
int entries(const char *name); /* of a folder in it */

/* In the place of an older one, which may be mapped; without cg_file_save's flush to the disk, for
 * loops that write many. */
void write_file(const char *name, const void *bytes, size_t size);
void write_text(const char *name, const char *text);
void write_array(const char *name, cg_dtype dtype, cg_shape shape, const void *data); /* .npy */
void write_program(const char *name, const char *script); /* of the shell */

/* A file, which must have less than `size` bytes, with a zero byte behind it. */
void read_file(const char *name, char *text, size_t size);

/* Runs a command of the shell in the folder, which must succeed. */
void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
