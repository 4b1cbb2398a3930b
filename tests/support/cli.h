/* The built program as a user has it: run by a shell, in a folder of its own. Failures fail the
 * running test. */
#ifndef CG_TEST_CLI_H
#define CG_TEST_CLI_H

#include "graph/types.h"
#include "tests/support/ok.h"

#include <jansson.h>

/* --- the folder ------------------------------------------------------------------------------- */

/* Of a group of tests. */
int make_folder(void **state);
int remove_folder(void **state);

/* Where NAME lies; returns path. */
enum { PATH_ROOM = 512 };
const char *in_folder(const char *name, char path[PATH_ROOM]);

int there(const char *name);
void write_file(const char *name, const void *bytes, size_t size);
void write_text(const char *name, const char *text);
void write_array(const char *name, cg_dtype dtype, cg_shape shape, const void *data); /* .npy */
void write_program(const char *name, const char *script); /* of the shell */

/* A file, which must have less than `size` bytes, with a zero byte behind it. */
void read_file(const char *name, char *text, size_t size);

/* Runs a command of the shell in the folder, which must succeed. */
void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- the program ------------------------------------------------------------------------------ */

/* What it printed when it ran last; and room for other texts. */
extern struct printed { char out[1 << 21], err[1 << 19]; } printed;

/* Runs `clipgraph ARGUMENTS`; returns its exit code. run_in: with variables of the environment,
 * "A=B". */
int run(const char *format, ...) __attribute__((format(printf, 1, 2)));
int run_in(const char *environment, const char *arguments);

/* It must end with 0; or with this code, say this sentence and print nothing. */
void succeeds(const char *format, ...) __attribute__((format(printf, 1, 2)));
void fails(const char *arguments, int code, const char *sentence);

/* The JSON that it prints, allocated. */
json_t *json_of(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What it printed, or said on stderr, has these words in it, or has not. */
void prints(const char *words);
void prints_no(const char *words);
void warns(const char *words);

#endif
