/* AdamW with clipping of the gradient's norm, over the trained block of a parameter store.
 *
 * source  Loshchilov and Hutter, arXiv:1711.05101. Decay applies to parameters of rank 2 or
 *         more: not to gains, biases, or the temperature (CLIP, section 2.5) */
#ifndef CG_TRAIN_OPTIMIZER_H
#define CG_TRAIN_OPTIMIZER_H

#include "graph/params.h"

CG_API_BEGIN

typedef struct cg_adamw {
    float beta1, beta2, eps;
    float weight_decay;
    float clip_norm; /* the gradient is scaled down to this length; 0: never */
} cg_adamw;

typedef struct cg_optimizer cg_optimizer;

/* params is borrowed and must be allocated. Moments start at zero. */
cg_status cg_optimizer_create(cg_params *params, cg_adamw config, int threads, cg_optimizer **out);
void cg_optimizer_free(cg_optimizer *o);

/* The gradient's length (of all parameters together), summed in double in a fixed order. */
double cg_optimizer_norm(const cg_optimizer *o, const float *gradient);

/* One step with learning rate lr. gradient is laid out as the trained block; norm is its length,
 * from cg_optimizer_norm. */
void cg_optimizer_step(cg_optimizer *o, const float *gradient, double norm, double lr);

/* For checkpoints: the moment blocks (0: first, 1: second), laid out as the trained block, and
 * the number of steps made, which the bias corrections follow. */
float *cg_optimizer_moment(cg_optimizer *o, int which);
int64_t cg_optimizer_steps(const cg_optimizer *o);
void cg_optimizer_set_steps(cg_optimizer *o, int64_t steps);

CG_API_END

#endif
