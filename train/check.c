#include "train/check.h"

#include "graph/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The loss is a mean of f32 values near ln(batch), so its rounding is some 1e-7, and a difference
 * over a step of 3e-4 is off by some 3e-4; against the floor that is below the tolerance. A larger
 * step would meet more of relu's kinks and of the curvature of batch norms over few values (at
 * 1e-3 the worst of a small ResNet's parameters are 5 to 13 % off), a smaller one more rounding;
 * what fails is measured again at smaller ones. A rule that is wrong, by a factor, a sign or a
 * sum left out, is wrong by far more than 2 %. */
cg_check_options cg_check_options_default(void) {
    return (cg_check_options){
        .batch = 4, .step = 3e-4, .tolerance = 2e-2, .floor = 5e-2, .attempts = 8};
}

/* --- made-up numbers -------------------------------------------------------------------------- */

static int ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* Is this the bias of a batch norm that a relu follows, at once or after a shortcut is added? The
 * shortcut's own is not: its small bias leaves the sign of the sum to the other branch. */
static int before_relu(const cg_params *params, const char *name) {
    char mean[256];
    if (!ends_with(name, ".bias") || ends_with(name, "downsample.1.bias")) return 0;
    snprintf(mean, sizeof mean, "%.*s.running_mean", (int)(strlen(name) - strlen(".bias")), name);
    return cg_params_find(params, mean) != NULL;
}

/* A relu's kink makes a difference quotient see both slopes, and with thousands of relus some
 * always lie near theirs. So most of a relu's inputs are kept away from zero: about half of the
 * channels mostly on, half mostly off, decided by the channel alone, because a block's shortcut
 * carries the channels on to the next. (Farther away there are no kinks, but so little of what
 * flows varies that rounding outweighs it.) A wrong slope on either side still shows. */
void cg_check_randomise(cg_runner *r, uint64_t seed) {
    cg_params *params = cg_runner_params(r);
    cg_params_init(params, seed);
    for (int i = 0; i < cg_params_count(params); i++) {
        cg_param *p = cg_params_at(params, i);
        cg_rng rng = cg_rng_at(seed, CG_RNG_TEST, 1, (uint64_t)i);
        int gain = ends_with(p->name, ".weight"), var = ends_with(p->name, "running_var");
        int kinked = before_relu(params, p->name);
        if (p->dtype != CG_F32 || p->shape.rank != 1) continue;
        for (int64_t k = 0; k < p->count; k++) {
            int on = cg_mix64(seed + (uint64_t)k) & 1;
            double x = gain     ? cg_rng_range(&rng, .5, 1)
                       : var    ? cg_rng_range(&rng, .5, 1.5)
                       : kinked ? cg_rng_range(&rng, 1, 1.5) * (on ? 1 : -1)
                                : cg_rng_range(&rng, -.3, .3);
            ((float *)p->data)[k] = (float)x;
        }
    }
}

typedef struct pairs {
    cg_batch batch;
    float *image;
    int32_t *token, *offset;
    int64_t *sample;
} pairs;

static void pairs_free(pairs *p) {
    free(p->image);
    free(p->token);
    free(p->offset);
    free(p->sample);
}

/* Captions of 3 to context_length tokens, start and end included. */
static void make_captions(const cg_clip_desc *d, pairs *p, int64_t n, cg_rng *r) {
    int64_t vocab = d->text.vocab_size, spread = d->text.context_length - 2;
    int64_t end = d->text.pool_type == CG_POOL_EOS ? d->text.eos_id : vocab - 1;
    int32_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t words = 1 + (int64_t)cg_rng_below(r, (uint64_t)spread);
        p->offset[i] = at;
        p->token[at++] = (int32_t)(vocab - 2);
        for (int64_t k = 0; k < words; k++)
            p->token[at++] = (int32_t)cg_rng_below(r, (uint64_t)vocab - 2);
        p->token[at++] = (int32_t)end;
    }
    p->offset[n] = at;
}

static cg_status pairs_make(const cg_clip_desc *d, int64_t n, uint64_t seed, pairs *p) {
    int64_t pixels = n * d->vision.image_size * d->vision.image_size * 3;
    cg_rng r = cg_rng_at(seed, CG_RNG_TEST, 2, 0);
    *p = (pairs){.image = malloc((size_t)pixels * sizeof *p->image),
                 .token = malloc((size_t)(n * d->text.context_length) * sizeof *p->token),
                 .offset = malloc((size_t)(n + 1) * sizeof *p->offset),
                 .sample = malloc((size_t)n * sizeof *p->sample)};
    if (!p->image || !p->token || !p->offset || !p->sample)
        return cg_error(CG_ENOMEM, "no memory for a batch of %lld pairs", (long long)n);
    for (int64_t i = 0; i < pixels; i++) p->image[i] = (float)cg_rng_normal(&r);
    for (int64_t i = 0; i < n; i++) p->sample[i] = i;
    make_captions(d, p, n, &r);
    p->batch = (cg_batch){
        .n = n, .image = p->image, .token = p->token, .offset = p->offset, .sample = p->sample};
    return CG_OK;
}

/* --- the check -------------------------------------------------------------------------------- */

typedef struct check {
    cg_runner *runner;
    const cg_check_options *o;
    const pairs *p;
    int64_t done, total;
} check;

static double loss(void *user) {
    check *c = user;
    double value;
    if (cg_runner_loss(c->runner, &c->p->batch, &value) != CG_OK) return NAN;
    c->done++;
    if (c->done > c->total) c->done = c->total; /* some are measured again */
    if (c->o->progress) c->o->progress(c->o->user, c->done, c->total);
    return value;
}

static cg_status run(cg_runner *r, const cg_check_options *o, const pairs *p, float *gradient,
                     cg_check_result *out) {
    cg_params *params = cg_runner_params(r);
    check c = {r, o, p, 0, 0};
    for (int i = 0; i < cg_params_count(params); i++)
        c.total += 4 * (cg_params_at(params, i)->trainable != 0);
    CG_TRY(cg_runner_backward(r, &p->batch, gradient, &out->loss));
    if (!isfinite(out->loss)) return cg_error(CG_ENONFINITE, "the loss is %g", out->loss);
    cg_gradcheck g = {.params = params,
                      .gradient = gradient,
                      .loss = loss,
                      .user = &c,
                      .seed = o->seed,
                      .step = o->step,
                      .tolerance = o->tolerance,
                      .floor = o->floor,
                      .attempts = o->attempts};
    CG_TRY(cg_gradcheck_run(&g, out->row, &out->n));
    for (int i = 0; i < out->n; i++) out->failed += !out->row[i].ok;
    return CG_OK;
}

cg_status cg_check_model(cg_runner *r, const cg_check_options *options, cg_check_result *out) {
    cg_check_options o = *options, usual = cg_check_options_default();
    pairs p = {0};
    *out = (cg_check_result){0};
    if (o.batch < 2)
        return cg_error(CG_EINVAL, "a batch of %lld: a contrastive loss wants 2 pairs or more",
                        (long long)o.batch);
    if (o.step <= 0) o.step = usual.step;
    if (o.tolerance <= 0) o.tolerance = usual.tolerance;
    if (o.floor <= 0) o.floor = usual.floor;
    if (o.attempts <= 0) o.attempts = usual.attempts;
    cg_check_randomise(r, o.seed);
    cg_params *params = cg_runner_params(r);
    float *gradient = calloc((size_t)cg_params_trained_elements(params) + 1, sizeof *gradient);
    out->row = calloc((size_t)cg_params_count(params) + 1, sizeof *out->row);
    cg_status s = gradient && out->row ? CG_OK : cg_error(CG_ENOMEM, "no memory for a gradient");
    if (s == CG_OK) s = pairs_make(cg_runner_desc(r), o.batch, o.seed, &p);
    if (s == CG_OK) s = run(r, &o, &p, gradient, out);
    pairs_free(&p);
    free(gradient);
    if (s != CG_OK) {
        free(out->row);
        *out = (cg_check_result){0};
    }
    return s;
}
