/* A graph with one output, run once. Failures other than the run's own fail the running test. */
#ifndef CG_TEST_RUN_ONCE_H
#define CG_TEST_RUN_ONCE_H

#include "graph/graph.h"

typedef struct cg_once {
    const char *name; /* of an input */
    const void *data;
} cg_once;

/* Without parameters. */
cg_graph *cg_once_graph(void);

/* Runs g, whose output becomes y, and copies y to result (bytes of it); on two threads. */
cg_status cg_run_once(cg_graph *g, cg_value *y, const cg_once *in, int n, void *result,
                      size_t bytes);

cg_status cg_run_once_on(int threads, cg_graph *g, cg_value *y, const cg_once *in, int n,
                         void *result, size_t bytes);

#endif
