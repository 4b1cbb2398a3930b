/* Checking a whole model's gradient against finite differences, on numbers made up for it. */
#ifndef CG_TRAIN_CHECK_H
#define CG_TRAIN_CHECK_H

#include "autodiff/gradcheck.h"
#include "train/runner.h"

CG_API_BEGIN

/* Gives every parameter of the runner's store a random value such that no branch is dead: gains
 * (which may start at zero) lie around one, biases and running statistics are not zero. */
void cg_check_randomise(cg_runner *r, uint64_t seed);

typedef struct cg_check_options {
    int64_t batch; /* pairs: random pictures, captions of random lengths; at least 2 */
    uint64_t seed;
    double step, tolerance, floor; /* see autodiff/gradcheck.h; 0: cg_check_options_default's */
    int attempts;
    void (*progress)(void *user, int64_t done, int64_t total); /* losses; may be NULL */
    void *user;
} cg_check_options;

/* Batch 4, seed 0, and a step, tolerance and floor at which f32 arithmetic and relu's kinks stay
 * below the tolerance and a wrong rule does not. */
cg_check_options cg_check_options_default(void);

typedef struct cg_check_result {
    cg_gradcheck_row *row; /* [n] by parameter; allocated, the caller frees */
    int n, failed;
    double loss;
} cg_check_result;

/* Randomises the model, computes its gradient, measures it. errors  CG_EINVAL: a batch below 2;
 * CG_ENONFINITE: the loss is not finite */
cg_status cg_check_model(cg_runner *r, const cg_check_options *o, cg_check_result *out);

CG_API_END

#endif
