/* The context: thread count and kernel engine, shared by plans. There are no globals. */
#ifndef CG_CONTEXT_H
#define CG_CONTEXT_H

#include "graph/status.h"

CG_API_BEGIN

typedef struct cg_context {
    int threads; /* of every kernel; fixed, because primitives are made for one count */
    /* A kernel library's own state, set by the op layer and released with the context. */
    void *engine;
    void (*engine_release)(void *engine);
} cg_context;

/* threads 0: one for each processor this process may use. */
cg_status cg_context_create(int threads, cg_context **out);
void cg_context_free(cg_context *c);

/* Has this processor instructions that multiply bf16 and add in f32? errors  CG_EUNSUPPORTED */
int cg_context_has_bf16(void);
cg_status cg_context_check_bf16(void);

CG_API_END

#endif
