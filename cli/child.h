/* Other programs, run for what they print. */
#ifndef CG_CLI_CHILD_H
#define CG_CLI_CHILD_H

#include "graph/status.h"

#include <stddef.h>

/* Runs argv[0], looked for in PATH, with this text as its input, and waits for it. What it prints
 * comes into *output, with a 0 behind it; the caller frees it. Its messages go where ours do.
 * errors  CG_ENOTFOUND: there is no such program; CG_EIO: it could not be run, or failed */
cg_status cli_child(const char *const *argv, const char *input, size_t bytes, char **output,
                    size_t *size);

#endif
