#include "train/train.h"

#include "graph/clock.h"
#include "graph/op.h"
#include "train/run_folder.h"
#include "train/schedule.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct trainer {
    cg_runner *r;
    const cg_dataset *train, *val;
    const cg_tokenizer *tokenizer;
    const cg_train_options *o;
    const cg_train_watch *watch;
    cg_train_result *result;
    cg_optimizer *optimizer;
    cg_loader *loader;
    cg_run_folder *folder;
    cg_profile *profile; /* of the runner's execution; NULL: none */
    float *gradient;
    cg_train_state state;
    int64_t total_steps;
    double rate;   /* pairs per second, smoothed */
    int64_t timed; /* steps that went into it */
} trainer;

/* --- the start --------------------------------------------------------------------------- */

static cg_status open_loader(trainer *t) {
    const cg_train_options *o = t->o;
    cg_loader_options l = {.batch = o->batch_size,
                           .workers = o->workers,
                           .cache_bytes = o->cache_bytes,
                           .seed = o->seed,
                           .shuffle = 1,
                           .distinct_captions = o->distinct_captions,
                           .drop_last = 1,
                           .preprocess = o->preprocess,
                           .augment = &o->augment,
                           .tokenizer = t->tokenizer,
                           .context_length = (int)cg_runner_desc(t->r)->text.context_length,
                           .templates = o->templates,
                           .need_caption = 1};
    CG_TRY(cg_loader_open(t->train, &l, t->state.epoch, t->state.batch, &t->loader));
    int64_t steps = cg_loader_batches(t->loader);
    if (steps < 1)
        return cg_error(CG_EINVAL,
                        "no whole batch of %" PRId64 " pairs in the training data: it has %" PRId64
                        " pairs and %d distinct captions",
                        o->batch_size, t->train->size, (int)t->train->n_captions);
    if (t->state.steps_per_epoch && t->state.steps_per_epoch != steps)
        return cg_error(CG_EINVAL,
                        "resuming: an epoch has %" PRId64 " steps, but had %" PRId64
                        " in the checkpoint: other data?",
                        steps, t->state.steps_per_epoch);
    uint64_t data = cg_dataset_fingerprint(t->train, &o->templates);
    if (t->state.data && t->state.data != data)
        return cg_error(CG_EINVAL, "resuming: the captions, or the templates, are not those that "
                                   "the checkpoint was made with: other data?");
    t->state.data = data;
    t->state.steps_per_epoch = steps;
    t->total_steps = steps * o->epochs;
    return CG_OK;
}

static cg_status load_resumed(trainer *t, const char *resume) {
    const cg_train_options *o = t->o;
    cg_params *params = cg_runner_params(t->r);
    float *moment[] = {cg_optimizer_moment(t->optimizer, 0), cg_optimizer_moment(t->optimizer, 1)};
    CG_TRY(cg_checkpoint_state(resume, params, &t->state, moment));
    if (t->state.batch_size != o->batch_size)
        return cg_error(CG_EINVAL,
                        "resuming: batch size %" PRId64
                        ", but the checkpoint was made with %" PRId64,
                        o->batch_size, t->state.batch_size);
    if (t->state.seed != o->seed)
        return cg_error(CG_EINVAL,
                        "resuming: seed %" PRIu64 ", but the checkpoint was made with %" PRIu64,
                        o->seed, t->state.seed);
    cg_optimizer_set_steps(t->optimizer, t->state.step);
    return cg_checkpoint_weights(resume, params);
}

/* Validation data that cannot be read at all would end the run hours later, at its first use. */
static cg_status check_validation(const cg_dataset *val) {
    cg_status s = CG_OK;
    for (int64_t i = 0; val && i < val->size; i++) {
        cg_image image = {0};
        s = val->ops->image(val, i, &image);
        cg_image_free(&image);
        if (s == CG_OK) break;
    }
    return s == CG_OK ? CG_OK
                      : cg_error_in(CG_EFORMAT, "validation data: not one picture can be read");
}

static cg_status start(trainer *t, const char *resume) {
    const cg_train_options *o = t->o;
    cg_params *params = cg_runner_params(t->r);
    CG_TRY(check_validation(t->val));
    cg_runner_set_seed(t->r, o->seed);
    t->state = (cg_train_state){.seed = o->seed, .batch_size = o->batch_size};
    t->gradient = calloc((size_t)cg_params_trained_elements(params) + 1, sizeof(float));
    if (!t->gradient) return cg_error(CG_ENOMEM, "no memory for the gradients");
    CG_TRY(cg_optimizer_create(params, o->adamw, cg_runner_context(t->r)->threads, &t->optimizer));
    if (resume) CG_TRY(load_resumed(t, resume));
    CG_TRY(open_loader(t));
    return cg_run_folder_open(o->folder, o->config, resume ? t->state.step : -1, &t->folder);
}

/* --- a step ------------------------------------------------------------------------------ */

static cg_status nonfinite(trainer *t, const char *what) {
    cg_nonfinite bad;
    int64_t step = t->state.step + 1;
    CG_TRY(cg_runner_find_nonfinite(t->r, &bad));
    const char *kept = t->result->checkpoint[0] ? t->result->checkpoint : "none yet";
    if (!bad.name)
        return cg_error(CG_ENONFINITE,
                        "step %" PRId64 ": the %s is not finite, though every node "
                        "is; last checkpoint: %s",
                        step, what, kept);
    return cg_error(CG_ENONFINITE,
                    "step %" PRId64 ": the %s is not finite; first at %s%s%s, element %" PRId64
                    " is %g; last checkpoint: %s",
                    step, what, bad.node ? bad.node->op->name : "", bad.node ? " " : "", bad.name,
                    bad.element, (double)bad.value, kept);
}

static void clamp_temperature(trainer *t) {
    float *x = cg_params_find(cg_runner_params(t->r), "logit_scale")->data;
    float limit = (float)t->o->learned_limit;
    *x = *x < 0 ? 0 : *x > limit ? limit : *x;
    cg_params_changed(cg_runner_params(t->r));
}

static cg_status step(trainer *t, const cg_batch *b, cg_train_progress *p) {
    double loss;
    CG_TRY(cg_runner_backward(t->r, b, t->gradient, &loss));
    if (!isfinite(loss)) return nonfinite(t, "loss");
    double begun = cg_profile_begin(t->profile);
    double norm = cg_optimizer_norm(t->optimizer, t->gradient);
    if (!isfinite(norm)) return nonfinite(t, "gradient");
    double lr = cg_schedule_lr(t->o->lr, t->state.step, t->o->warmup, t->total_steps);
    cg_optimizer_step(t->optimizer, t->gradient, norm, lr);
    cg_runner_commit(t->r);
    cg_profile_end(t->profile, "optimizer", begun);
    clamp_temperature(t);
    t->state.step++;
    t->state.batch++;
    if (t->state.batch == t->state.steps_per_epoch) {
        t->state.batch = 0;
        t->state.epoch++;
    }
    *p = (cg_train_progress){.step = t->state.step,
                             .total_steps = t->total_steps,
                             .epoch = (t->state.step - 1) / t->state.steps_per_epoch,
                             .epochs = t->o->epochs,
                             .loss = loss,
                             .temperature = cg_runner_temperature(t->r),
                             .lr = lr,
                             .gradient_norm = norm};
    return CG_OK;
}

/* Smooths the speed over some 20 steps; the first step, which plans, does not count. */
static void measure(trainer *t, double seconds, cg_train_progress *p) {
    double rate = (double)t->o->batch_size / seconds;
    if (t->timed++ <= 1)
        t->rate = rate;
    else
        t->rate = 1 / (0.95 / t->rate + 0.05 / rate);
    p->pairs_per_second = t->rate;
    p->seconds_left = (double)(p->total_steps - p->step) * (double)t->o->batch_size / t->rate;
}

/* --- between steps ----------------------------------------------------------------------- */

static cg_status save(trainer *t) {
    char path[sizeof t->result->checkpoint];
    cg_checkpoint c = {
        .desc = cg_runner_desc(t->r),
        .preprocess = &t->o->preprocess,
        .params = cg_runner_params(t->r),
        .tokenizer = t->tokenizer,
        .state = &t->state,
        .moment = {cg_optimizer_moment(t->optimizer, 0), cg_optimizer_moment(t->optimizer, 1)}};
    CG_TRY(cg_run_folder_checkpoint(t->folder, t->state.step, path, sizeof path));
    double begun = cg_profile_begin(t->profile);
    CG_TRY(cg_checkpoint_save(path, &c));
    cg_profile_end(t->profile, "checkpoints", begun);
    snprintf(t->result->checkpoint, sizeof t->result->checkpoint, "%s", path);
    if (t->watch->saved) t->watch->saved(t->watch->user, path);
    cg_run_folder_prune(t->folder, t->o->keep);
    return CG_OK;
}

static cg_status evaluate(trainer *t) {
    cg_embed_options e = {.batch = t->o->batch_size,
                          .workers = t->o->workers,
                          .preprocess = t->o->preprocess,
                          .tokenizer = t->tokenizer,
                          .templates = {t->o->templates.text, t->o->templates.n > 0}};
    cg_retrieval *v = &t->result->val;
    cg_status s = cg_evaluate_retrieval(t->r, t->val, &e, v, NULL);
    if (s != CG_OK) return cg_error_in(s, "validation data, step %" PRId64, t->state.step);
    if (t->watch->evaluated) t->watch->evaluated(t->watch->user, t->state.step, v);
    return cg_run_folder_log_retrieval(t->folder, t->state.step, v);
}

/* True at the end of every n-th epoch; n 0: never. Epochs are counted in steps, as all that a run
 * is told in them: the loader's own are shorter where pairs are left out. */
static int due(const trainer *t, int64_t n) {
    return n > 0 && t->state.step % t->state.steps_per_epoch == 0 &&
           t->state.step / t->state.steps_per_epoch % n == 0;
}

static cg_status after_step(trainer *t, const cg_train_progress *p, int *stop) {
    int done = t->state.step == t->total_steps;
    if (t->watch->progress) t->watch->progress(t->watch->user, p);
    int64_t each = t->o->log_every;
    if (done || (each > 0 && p->step % each == 0)) CG_TRY(cg_run_folder_log_step(t->folder, p));
    *stop = t->watch->stop && t->watch->stop(t->watch->user);
    if (done || *stop || due(t, t->o->save_every)) CG_TRY(save(t));
    /* also when stopping: a resumed run does not come back to this step */
    if (t->val && (done || due(t, t->o->val_every))) CG_TRY(evaluate(t));
    return CG_OK;
}

static cg_status loop(trainer *t) {
    int stop = 0, empty = 0;
    double begun = cg_now();
    while (t->state.step < t->total_steps && !stop) {
        const cg_batch *b;
        cg_train_progress p = {0};
        double from = cg_now();
        CG_TRY(cg_loader_next(t->loader, &b));
        cg_profile_end(t->profile, CG_WAITING, from);
        if (!b) { /* the end of an epoch */
            if (empty++)
                return cg_error(CG_EINVAL,
                                "an epoch gave no whole batch of %" PRId64 " readable pairs",
                                t->o->batch_size);
            continue;
        }
        empty = 0;
        if (b->epoch != t->state.epoch) { /* pairs left out made the epoch shorter */
            t->state.epoch = b->epoch;
            t->state.batch = b->number;
        }
        CG_TRY(step(t, b, &p));
        measure(t, cg_now() - from, &p);
        t->result->loss = p.loss;
        CG_TRY(after_step(t, &p, &stop));
    }
    t->result->seconds = cg_now() - begun;
    t->result->stopped = stop && t->state.step < t->total_steps;
    return CG_OK;
}

cg_status cg_train(cg_runner *r, const cg_dataset *train, const cg_dataset *val,
                   const cg_tokenizer *tokenizer, const cg_train_options *o, const char *resume,
                   const cg_train_watch *watch, cg_train_result *out) {
    static const cg_train_watch nobody = {0};
    trainer t = {.r = r,
                 .train = train,
                 .profile = cg_exec_get_profile(cg_runner_exec(r)),
                 .val = val,
                 .tokenizer = tokenizer,
                 .o = o,
                 .watch = watch ? watch : &nobody,
                 .result = out};
    *out = (cg_train_result){0};
    if (resume) snprintf(out->checkpoint, sizeof out->checkpoint, "%s", resume);
    cg_status s = start(&t, resume);
    if (s == CG_OK) s = loop(&t);
    if (t.loader) cg_loader_get_report(t.loader, &out->loader);
    out->step = t.state.step;
    out->total_steps = t.total_steps;
    cg_loader_close(t.loader);
    cg_run_folder_close(t.folder);
    cg_optimizer_free(t.optimizer);
    free(t.gradient);
    return s;
}
