/* A graph in few lines: what its layers make, learn, compute and keep. */
#ifndef CG_SUMMARY_H
#define CG_SUMMARY_H

#include "graph/graph.h"

CG_API_BEGIN

typedef struct cg_layer {
    char name[256];
    const char *op; /* of its only node; NULL where it has several */
    int nodes;
    cg_shape shape;          /* of its last node's first result */
    int64_t params;          /* trained elements that it is the first to read */
    int64_t flops;           /* useful ones of a run */
    size_t activation_bytes; /* of its results, views left out, without any reuse */
} cg_layer;

/* The layers on the way to what a graph's outputs deliver (not to updates of statistics), in the
 * order of their first nodes. depth: nodes that share the first `depth` parts of their names are
 * one layer; 0: each node is one. Allocated; the caller frees it. errors  CG_ENOMEM */
cg_status cg_graph_layers(const cg_graph *g, int depth, cg_layer **out, int *n);

CG_API_END

#endif
