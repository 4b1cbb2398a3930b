#include "autodiff/gradcheck.h"

#include "graph/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double cg_derivative(double (*f)(void *user, double t), void *user, double h) {
    double near = f(user, h) - f(user, -h);
    double far = f(user, 2 * h) - f(user, -2 * h);
    return (8 * near - far) / (12 * h);
}

typedef struct nudge {
    const cg_gradcheck *c;
    cg_param *param;
    const float *saved, *direction;
} nudge;

static double loss_at(void *user, double t) {
    const nudge *n = user;
    float *x = n->param->data;
    for (int64_t i = 0; i < n->param->count; i++)
        x[i] = (float)((double)n->saved[i] + t * (double)n->direction[i]);
    double loss = n->c->loss(n->c->user);
    memcpy(x, n->saved, (size_t)n->param->count * sizeof *x);
    return loss;
}

static double length(const float *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* g/|g| + random/|random|, made unit length: the first half makes the derivative large, the
 * second sees elements whose gradient was wrongly computed as zero. */
static void choose_direction(const cg_gradcheck *c, const cg_param *p, const float *g, int attempt,
                             float *u) {
    cg_rng r = cg_rng_at(c->seed, CG_RNG_TEST, (uint64_t)p->index, (uint64_t)attempt);
    for (int64_t i = 0; i < p->count; i++) u[i] = (float)cg_rng_normal(&r);
    double gl = length(g, p->count), ul = length(u, p->count);
    for (int64_t i = 0; i < p->count; i++)
        u[i] = (float)((double)u[i] / ul + (gl > 0 ? (double)g[i] / gl : 0));
    ul = length(u, p->count);
    if (ul == 0) { /* a scalar's two directions may be opposite */
        u[0] = 1;
        ul = length(u, p->count);
    }
    for (int64_t i = 0; i < p->count; i++) u[i] = (float)((double)u[i] / ul);
}

static cg_status measure(const cg_gradcheck *c, cg_param *p, int attempt, float *buffer,
                         cg_gradcheck_row *row) {
    const float *g = c->gradient + p->offset / sizeof(float);
    float *saved = buffer, *u = buffer + p->count;
    int halvings = attempt < 4 ? attempt : 4;
    memcpy(saved, p->data, (size_t)p->count * sizeof *saved);
    choose_direction(c, p, g, attempt, u);
    nudge n = {c, p, saved, u};
    *row = (cg_gradcheck_row){.param = p};
    for (int64_t i = 0; i < p->count; i++) row->computed += (double)g[i] * (double)u[i];
    row->measured =
        cg_derivative(loss_at, &n, ldexp(c->step, -halvings) * fmax(1, length(saved, p->count)));
    if (!isfinite(row->measured))
        return cg_error(CG_ENONFINITE, "%s: the loss beside its value is not finite", p->name);
    double scale = fmax(ldexp(c->floor, halvings), fmax(fabs(row->computed), fabs(row->measured)));
    row->error = fabs(row->computed - row->measured) / scale;
    row->ok = row->error <= c->tolerance;
    return CG_OK;
}

static cg_status check_param(const cg_gradcheck *c, cg_param *p, float *buffer,
                             cg_gradcheck_row *row) {
    CG_TRY(measure(c, p, 0, buffer, row));
    for (int k = 1; k < c->attempts && !row->ok; k++) CG_TRY(measure(c, p, k, buffer, row));
    return CG_OK;
}

cg_status cg_gradcheck_run(const cg_gradcheck *c, cg_gradcheck_row *row, int *n) {
    int64_t most = 1;
    *n = 0;
    for (int i = 0; i < cg_params_count(c->params); i++)
        if (cg_params_at(c->params, i)->count > most) most = cg_params_at(c->params, i)->count;
    float *buffer = malloc(2 * (size_t)most * sizeof *buffer);
    if (!buffer)
        return cg_error(CG_ENOMEM, "no memory to check a gradient of %lld elements",
                        (long long)most);
    cg_status s = CG_OK;
    for (int i = 0; i < cg_params_count(c->params) && s == CG_OK; i++) {
        cg_param *p = cg_params_at(c->params, i);
        if (p->trainable && p->count) s = check_param(c, p, buffer, &row[(*n)++]);
    }
    free(buffer);
    return s;
}
