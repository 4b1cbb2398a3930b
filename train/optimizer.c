#include "train/optimizer.h"

#include "ops/kernel.h"

#include <math.h>
#include <stdlib.h>

enum { CHUNK = 1 << 14 }; /* elements; fixed, so that sums do not follow the thread count */

typedef struct chunk {
    int64_t begin, count;
    float decay;
} chunk;

struct cg_optimizer {
    cg_params *params;
    cg_adamw config;
    int threads;
    int64_t steps, n_chunks;
    chunk *chunk;
    double *partial; /* [n_chunks] sums of squares */
    float *moment[2];
};

static int64_t chunks_of(const cg_param *p) {
    return p->trainable ? (p->count + CHUNK - 1) / CHUNK : 0;
}

static void list_chunks(cg_optimizer *o) {
    int64_t n = 0;
    for (int i = 0; i < cg_params_count(o->params); i++) {
        const cg_param *p = cg_params_at(o->params, i);
        for (int64_t k = 0; k < chunks_of(p); k++) {
            int64_t begin = k * CHUNK, end = begin + CHUNK < p->count ? begin + CHUNK : p->count;
            o->chunk[n++] = (chunk){(int64_t)(p->offset / sizeof(float)) + begin, end - begin,
                                    p->decay ? o->config.weight_decay : 0};
        }
    }
}

cg_status cg_optimizer_create(cg_params *params, cg_adamw config, int threads, cg_optimizer **out) {
    cg_optimizer *o = *out = calloc(1, sizeof *o);
    if (!o) return cg_error(CG_ENOMEM, "no memory for an optimizer");
    *o = (cg_optimizer){.params = params, .config = config, .threads = threads};
    for (int i = 0; i < cg_params_count(params); i++)
        o->n_chunks += chunks_of(cg_params_at(params, i));
    size_t elements = (size_t)cg_params_trained_elements(params);
    o->chunk = malloc(((size_t)o->n_chunks + 1) * sizeof *o->chunk);
    o->partial = malloc(((size_t)o->n_chunks + 1) * sizeof *o->partial);
    for (int k = 0; k < 2; k++) o->moment[k] = calloc(elements + 1, sizeof(float));
    if (!o->chunk || !o->partial || !o->moment[0] || !o->moment[1]) {
        cg_optimizer_free(o);
        *out = NULL;
        return cg_error(CG_ENOMEM, "no memory for the moments of %zu parameters", elements);
    }
    list_chunks(o);
    return CG_OK;
}

void cg_optimizer_free(cg_optimizer *o) {
    if (!o) return;
    free(o->chunk);
    free(o->partial);
    free(o->moment[0]);
    free(o->moment[1]);
    free(o);
}

CG_KERNEL static double sum_squares(const float *x, int64_t n) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

double cg_optimizer_norm(const cg_optimizer *o, const float *gradient) {
#pragma omp parallel for schedule(static) num_threads(o->threads)
    for (int64_t c = 0; c < o->n_chunks; c++)
        o->partial[c] = sum_squares(gradient + o->chunk[c].begin, o->chunk[c].count);
    double sum = 0;
    for (int64_t c = 0; c < o->n_chunks; c++) sum += o->partial[c];
    return sqrt(sum);
}

typedef struct step_sizes {
    float keep, clip; /* 1 - lr · decay; factor of the gradient */
    float beta1, beta2, eps;
    float rate, root2; /* lr / (1 - β1^t); 1 / √(1 - β2^t) */
} step_sizes;

CG_KERNEL static void update(float *x, float *m, float *v, const float *g, int64_t n,
                             step_sizes s) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float d = g[i] * s.clip;
        m[i] = s.beta1 * m[i] + (1 - s.beta1) * d;
        v[i] = s.beta2 * v[i] + (1 - s.beta2) * d * d;
        x[i] = s.keep * x[i] - s.rate * m[i] / (sqrtf(v[i]) * s.root2 + s.eps);
    }
}

void cg_optimizer_step(cg_optimizer *o, const float *gradient, double norm, double lr) {
    const cg_adamw *a = &o->config;
    double t = (double)++o->steps;
    double clip = a->clip_norm > 0 ? (double)a->clip_norm / (norm + 1e-6) : 1;
    step_sizes s = {.clip = (float)(clip < 1 ? clip : 1),
                    .beta1 = a->beta1,
                    .beta2 = a->beta2,
                    .eps = a->eps,
                    .rate = (float)(lr / (1 - pow((double)a->beta1, t))),
                    .root2 = (float)(1 / sqrt(1 - pow((double)a->beta2, t)))};
    float *block = cg_params_block(o->params);
#pragma omp parallel for schedule(static) num_threads(o->threads)
    for (int64_t c = 0; c < o->n_chunks; c++) {
        const chunk *k = &o->chunk[c];
        step_sizes own = s;
        own.keep = (float)(1 - lr * (double)k->decay);
        update(block + k->begin, o->moment[0] + k->begin, o->moment[1] + k->begin,
               gradient + k->begin, k->count, own);
    }
    cg_params_changed(o->params);
}

float *cg_optimizer_moment(cg_optimizer *o, int which) {
    return o->moment[which];
}

int64_t cg_optimizer_steps(const cg_optimizer *o) {
    return o->steps;
}

void cg_optimizer_set_steps(cg_optimizer *o, int64_t steps) {
    o->steps = steps;
}
