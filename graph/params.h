/* The parameter store: every tensor that a model keeps, by name, in one block of memory.
 *
 * Declared while a first graph is built, then allocated once; graphs of other sizes built
 * later find the same parameters. Names and shapes are open_clip's. */
#ifndef CG_PARAMS_H
#define CG_PARAMS_H

#include "graph/types.h"

CG_API_BEGIN

typedef struct cg_params cg_params;

/* How a parameter starts. scale: standard deviation, bound or value. */
typedef enum cg_init_kind {
    CG_INIT_CONSTANT, /* all elements scale */
    CG_INIT_NORMAL,   /* N(0, scale²) */
    CG_INIT_UNIFORM,  /* U(-scale, scale) */
} cg_init_kind;

typedef struct cg_param_spec {
    cg_init_kind init;
    float scale;
    int state;      /* not trained: running statistics, counters */
    cg_dtype dtype; /* CG_F32 (0), or CG_I64 for counters */
} cg_param_spec;

typedef struct cg_param {
    const char *name;
    cg_dtype dtype;
    cg_shape shape;
    cg_param_spec spec;
    int index; /* order of declaration */
    int trainable;
    int decay;     /* weight decay applies: trainable and rank ≥ 2 */
    size_t offset; /* bytes from the start of the block, a multiple of 64 */
    int64_t count; /* elements */
    void *data;    /* in the block; NULL before cg_params_alloc */
} cg_param;

cg_status cg_params_create(cg_params **out);
void cg_params_free(cg_params *p);

int cg_params_count(const cg_params *p);
cg_param *cg_params_at(const cg_params *p, int index);
cg_param *cg_params_find(const cg_params *p, const char *name); /* NULL: none */

/* Declares a parameter, or checks that the one of that name has this shape and dtype.
 * errors  CG_ESHAPE, CG_EDTYPE; CG_EINVAL: new after cg_params_alloc */
cg_status cg_params_declare(cg_params *p, const char *name, cg_shape shape, cg_param_spec spec,
                            cg_param **out);

/* Allocates the block, trainable parameters first, zeroed. */
cg_status cg_params_alloc(cg_params *p);

/* Elements and bytes of what is trained: the f32 prefix of the block, padding included, so that
 * gradients and moments can be blocks of the same layout. */
int64_t cg_params_trained_elements(const cg_params *p); /* with padding; a parameter's gradient
                                                           starts at offset / 4 of such a block */
int64_t cg_params_total(const cg_params *p);            /* true trained elements, no padding */
float *cg_params_block(const cg_params *p);
size_t cg_params_bytes(const cg_params *p); /* of the whole block */

/* Fills every parameter by its spec: element i of a parameter depends on (seed, name, i) only. */
void cg_params_init(cg_params *p, uint64_t seed);

/* To be called after writing to parameters' memory, so that what plans for inference keep of them
 * (packed, narrowed or folded weights) is computed again. The optimizer, cg_exec_commit,
 * cg_params_init and the readers of files call it. */
void cg_params_changed(cg_params *p);

CG_API_END

#endif
