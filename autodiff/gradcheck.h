/* Checking gradients against finite differences. */
#ifndef CG_AUTODIFF_GRADCHECK_H
#define CG_AUTODIFF_GRADCHECK_H

#include "graph/params.h"

CG_API_BEGIN

/* f′(0) by the fourth-order central difference with step h:
 * (8 (f(h) − f(−h)) − (f(2h) − f(−2h))) / 12h. */
double cg_derivative(double (*f)(void *user, double t), void *user, double h);

/* One parameter's result. Along a direction u of unit length, which mixes the gradient's own
 * direction with a random one, d L / du was once computed as g · u and once measured. */
typedef struct cg_gradcheck_row {
    const cg_param *param;
    double computed, measured;
    double error; /* |computed − measured| / max(|computed|, |measured|, floor) */
    int ok;
} cg_gradcheck_row;

typedef struct cg_gradcheck {
    cg_params *params;          /* nudged while checking, restored after */
    const float *gradient;      /* laid out as the trained part of the store */
    double (*loss)(void *user); /* at the store's present values, summed in double */
    void *user;
    uint64_t seed;
    double step;      /* length of a nudge, relative to the parameter's own length (at least 1) */
    double tolerance; /* a row is ok up to this error */
    double floor;     /* derivatives smaller than this count as this: rounding of the loss */
    int attempts;     /* a row that is not ok is measured again, up to this often in all (0: once):
                         along another direction, with half the step (at least a 16th) and the
                         floor raised as much. Curvature and kinks near the point fade with the
                         step, a wrong gradient does not */
} cg_gradcheck;

/* Checks every trained parameter: fills row[cg_params_count], in the store's order, of trained
 * ones only, and returns in *n how many. errors  CG_ENOMEM; CG_ENONFINITE: the loss was not
 * finite */
cg_status cg_gradcheck_run(const cg_gradcheck *c, cg_gradcheck_row *row, int *n);

CG_API_END

#endif
