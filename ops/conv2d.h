/* What the files of conv2d share. Only for them. */
#ifndef CG_OPS_CONV2D_H
#define CG_OPS_CONV2D_H

#include "ops/dnn.h"
#include "ops/ops.h"

typedef struct cg_conv2d_attr {
    int64_t stride, padding, dilation, groups;
    int64_t relu;          /* forward */
    int64_t height, width; /* of the gradient's result; 0 forward */
} cg_conv2d_attr;

cg_dnn_conv cg_conv2d_geometry(const cg_node *n);

cg_status cg_conv2d_prepare(cg_prep *p);
cg_status cg_conv2d_run(const cg_task *t);
void cg_conv2d_release(void *state);

#endif
