/* Inputs of an ONNX file: arrays from files, or of random numbers. */
#ifndef CG_CLI_ARRAYS_H
#define CG_CLI_ARRAYS_H

#include "serialize/npy.h"
#include "serialize/onnx/read.h"

enum { CLI_ARRAYS = 64 };

typedef struct cli_arrays {
    cg_tensor tensor[CLI_ARRAYS];
    int n;
    cg_npy npy[CLI_ARRAYS];
    int n_npy;
    void *random[CLI_ARRAYS];
    int n_random;
} cli_arrays;

void cli_arrays_free(cli_arrays *in); /* what is in it; an all-zero one is allowed */

/* Cuts NAME=REST behind NAME; returns REST. */
char *cli_split(char *text);

/* Opens NAME=FILE.npy, n of them. errors  CG_EINVAL: one twice; those of cg_npy_open */
cg_status cli_arrays_load(char *const *input, int n, cli_arrays *in);

/* Draws all inputs that were not loaded: N(0, 1), or integers 0 and 1. Sizes are those given, as
 * NAME=D,D,..., else the file's, and 1 where that leaves them open. errors  CG_EINVAL: other inputs
 * or numbers of sizes than the file has */
cg_status cli_arrays_draw(char *const *size, int n_size, const cg_onnx_file *f, cli_arrays *in);

#endif
