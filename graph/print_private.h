/* What the printers of graphs share. */
#ifndef CG_PRINT_PRIVATE_H
#define CG_PRINT_PRIVATE_H

#include "graph/op.h"

#include <stdio.h>

/* A stream into memory, *text once it is finished. NULL: no memory, with the message. */
FILE *cg_print_start(char **text, size_t *size);

/* Closes the stream; text is NULL and the status ENOMEM where it ran out of memory. */
cg_status cg_print_finish(FILE *f, char **text);

void cg_print_type(FILE *f, const cg_value *v); /* f32[2, 3] */

/* name=value of every attribute, the separator before each */
void cg_print_attributes(FILE *f, const cg_node *n, const char *separator);

#endif
