/* What a plan computes from parameters alone, and keeps beside them: weights folded, narrowed or
 * packed. Entries belong to the parameter store and are shared by all plans that want the same;
 * they are right for one version of the parameters. For params.c, plan.c and exec.c only. */
#ifndef CG_DERIVED_H
#define CG_DERIVED_H

#include "graph/params.h"

#include <pthread.h>

typedef struct cg_derived cg_derived;
struct cg_derived {
    uint64_t key; /* of the expression and its layout */
    size_t bytes;
    void *data;       /* aligned to 64; NULL: not computed, or dropped */
    uint64_t version; /* of the parameters that it was computed from */
    cg_derived *next;
};

typedef struct cg_derived_store {
    pthread_mutex_t lock; /* held while entries are found, computed or dropped */
    cg_derived *first;
    uint64_t version; /* of the parameters, from 1 */
} cg_derived_store;

void cg_derived_begin(cg_derived_store *s);
void cg_derived_end(cg_derived_store *s);

/* The entry of that key and size, made without data where there is none. errors  CG_ENOMEM */
cg_status cg_derived_get(cg_derived_store *s, uint64_t key, size_t bytes, cg_derived **out);

/* The store of these parameters. */
cg_derived_store *cg_params_derived(cg_params *p);

/* One step of a hash of bytes, for keys. */
uint64_t cg_derived_hash(uint64_t h, const void *bytes, size_t n);

#endif
