/* A table from names to numbers. Names are borrowed. */
#ifndef CG_ONNX_NAMES_H
#define CG_ONNX_NAMES_H

#include "graph/status.h"

#include <stddef.h>

typedef struct cg_onnx_names {
    struct cg_onnx_name {
        const char *name; /* NULL: free */
        int number;
    } * slot;
    size_t slots, used;
} cg_onnx_names;

/* An all-zero table is empty. */
void cg_onnx_names_free(cg_onnx_names *t);

int cg_onnx_names_get(const cg_onnx_names *t, const char *name); /* -1: not there */

/* Sets the number of a name, new or not. errors  CG_ENOMEM */
cg_status cg_onnx_names_set(cg_onnx_names *t, const char *name, int number);

#endif
