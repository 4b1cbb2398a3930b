/* What a plan holds; for plan.c, offsets.c and exec.c only. */
#ifndef CG_PLAN_PRIVATE_H
#define CG_PLAN_PRIVATE_H

#include "graph/op.h"
#include "graph/plan.h"

/* A stretch of the arena: one value, those viewing it or written over it, or a node's scratch. */
typedef struct cg_storage {
    size_t bytes; /* a multiple of 64 */
    size_t offset;
    int first, last; /* nodes between which it is alive, inclusive */
} cg_storage;

/* Chooses the offsets, nothing overlapping that is alive at the same time. arena_bytes: of the
 * smallest arena found; lower_bound: the largest sum of bytes alive at one node. */
cg_status cg_offsets_choose(cg_storage *s, int n, int n_nodes, size_t *arena_bytes,
                            size_t *lower_bound);

/* Where a value's bytes are. */
typedef enum cg_place {
    CG_PLACE_ARENA,  /* at storage[at].offset */
    CG_PLACE_VALUE,  /* those of value `at`: an input, a parameter, a constant, or what it views */
    CG_PLACE_SELF,   /* an input, a parameter or a constant */
    CG_PLACE_FROZEN, /* kept with the parameters, if at all */
    CG_PLACE_OUTPUT, /* written straight to what output `at` is bound to */
} cg_place;

typedef struct cg_location {
    cg_place place;
    int at;
} cg_location;

typedef struct cg_step {
    void *state;
    const char *impl;
    int scratch; /* storage, or -1 */
    int packs;   /* the operand that it reads packed, or -1 */
    size_t pack_bytes;
    uint64_t pack_key;
} cg_step;

/* What is kept of a frozen value: its bytes, or a layout of it for one node. */
typedef struct cg_kept {
    struct cg_derived *entry;
    int value;
    int node; /* -1: the bytes themselves */
} cg_kept;

struct cg_plan {
    cg_context *ctx;
    const cg_graph *graph;
    cg_location *location; /* [graph->n_value] */
    cg_storage *storage;
    int n_storage;
    cg_step *step;    /* [graph->n_node] */
    int *flush_next;  /* [graph->n_output] outputs copied or added when a node has run, as lists: */
    int *flush_first; /* [graph->n_node + 1] by node; the last list is for values of no node */
    uint64_t *key;    /* [graph->n_value] of values that are known ahead, else 0; NULL: none is */
    char *frozen;     /* [graph->n_node] runs ahead; NULL: none does */
    cg_kept *kept;
    int n_kept;
    int max_io; /* most operands plus results of a node */
    cg_plan_report report;
};

#endif
