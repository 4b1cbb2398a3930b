/* The built program as a user has it: run by a shell in the folder of the tests. Failures fail the
 * running test. */
#ifndef CG_TEST_CLI_H
#define CG_TEST_CLI_H

#include "tests/support/folder.h"

#include <jansson.h>

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
