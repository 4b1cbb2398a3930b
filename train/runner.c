#include "train/runner.h"

#include "serialize/checkpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum purpose { BACKWARD, LOSS, EMBED_IMAGES, EMBED_TEXTS } purpose;

typedef struct entry {
    purpose purpose;
    cg_clip_build build;
    cg_graph *graph;
    cg_plan *plan;
    int frozen;   /* cg_plan_create_frozen */
    int64_t used; /* the clock when it was last asked for */
} entry;

enum { KEPT = 24 };

struct cg_runner {
    cg_context *ctx;
    cg_clip_desc desc;
    cg_params *params;
    cg_exec *exec;
    cg_program how;
    entry kept[KEPT], *current;
    int64_t clock, runs[EMBED_TEXTS + 1];
    int once; /* the weights are a file's: perhaps there will be a single run */
    uint64_t seed;
    int64_t stream[2]; /* the run's seed and the batch's epoch */
    /* captions as the tower reads them */
    int32_t *token, *offset;
    float *mask;
    int64_t row_room, text_room;
};

/* --- plans ------------------------------------------------------------------------------- */

static void entry_free(entry *e) {
    cg_plan_free(e->plan);
    cg_graph_free(e->graph);
    *e = (entry){0};
}

static int same(const cg_clip_build *a, const cg_clip_build *b) {
    return a->images == b->images && a->texts == b->texts && a->layout == b->layout &&
           a->rows == b->rows && a->tokens == b->tokens;
}

static entry *find(cg_runner *r, const entry *wanted) {
    for (int i = 0; i < KEPT; i++) {
        entry *e = &r->kept[i];
        if (e->plan && e->purpose == wanted->purpose && same(&e->build, &wanted->build)) return e;
    }
    return NULL;
}

/* The place of an entry not used for longest. */
static entry *oldest(cg_runner *r) {
    entry *e = &r->kept[0];
    for (int i = 1; i < KEPT; i++)
        if (r->kept[i].used < e->used) e = &r->kept[i];
    return e;
}

static int is_training(purpose what) {
    return what == BACKWARD || what == LOSS;
}

/* Builds an entry's graph and plan. */
static cg_status make(cg_runner *r, entry *e) {
    cg_profile *p = cg_exec_get_profile(r->exec);
    double begun = cg_profile_begin(p);
    cg_program how = r->how;
    how.gradients = e->purpose == BACKWARD;
    cg_status s = cg_program_build(r->params, &r->desc, &e->build, &how, &e->graph);
    if (s == CG_OK)
        s = e->frozen ? cg_plan_create_frozen(r->ctx, e->graph, &e->plan)
                      : cg_plan_create(r->ctx, e->graph, &e->plan);
    cg_profile_end(p, "graphs and plans", begun);
    return s;
}

/* Makes the plan for these sizes current, with trained parameters' gradients not yet bound. For
 * embeddings weights are laid out once, for all later runs; of a model that is only used, when they
 * are asked for a second time: for a single run that would cost more than it saves. */
static cg_status use(cg_runner *r, purpose what, const cg_clip_build *b) {
    entry wanted = {.purpose = what, .build = *b}, *e = find(r, &wanted);
    wanted.build.training = wanted.build.loss = is_training(what);
    wanted.frozen = !is_training(what) && (!r->once || r->runs[what] > 0);
    r->runs[what]++;
    if (!e || e->frozen < wanted.frozen) {
        if (!e) e = oldest(r);
        cg_exec_forget(r->exec); /* its plan may be the one that goes */
        entry_free(e);
        *e = wanted;
        cg_status s = make(r, e);
        if (s != CG_OK) {
            entry_free(e);
            r->current = NULL;
            return s;
        }
    }
    e->used = ++r->clock;
    r->current = e;
    return cg_exec_use(r->exec, e->plan);
}

/* --- life -------------------------------------------------------------------------------- */

/* Declares the parameters by building the whole model once, at the smallest size. */
static cg_status declare(cg_runner *r) {
    cg_graph *g;
    cg_clip_values v;
    cg_clip_build b = cg_clip_batch(&r->desc, 1, 1, 0);
    b.training = b.loss = 1;
    cg_status s = cg_graph_create(r->params, &g);
    if (s == CG_OK) s = cg_clip_append(g, &r->desc, &b, &v);
    cg_graph_free(g);
    return s;
}

/* folder NULL: no weights yet */
static cg_status create(cg_context *ctx, const cg_clip_desc *d, const char *folder,
                        cg_runner **out) {
    cg_runner *r = *out = calloc(1, sizeof *r);
    if (!r) return cg_error(CG_ENOMEM, "no memory for a runner");
    r->ctx = ctx;
    r->desc = *d;
    r->once = folder != NULL;
    cg_status s = cg_params_create(&r->params);
    if (s == CG_OK) s = declare(r);
    if (s == CG_OK) s = folder ? cg_checkpoint_map(folder, r->params) : cg_params_alloc(r->params);
    if (s == CG_OK) s = cg_exec_create(&r->exec);
    if (s != CG_OK) {
        cg_runner_free(r);
        *out = NULL;
    }
    return s;
}

cg_status cg_runner_create(cg_context *ctx, const cg_clip_desc *d, cg_runner **out) {
    return create(ctx, d, NULL, out);
}

cg_status cg_runner_open(cg_context *ctx, const cg_clip_desc *d, const char *folder,
                         cg_runner **out) {
    return create(ctx, d, folder, out);
}

void cg_runner_free(cg_runner *r) {
    if (!r) return;
    for (int i = 0; i < KEPT; i++) entry_free(&r->kept[i]);
    cg_exec_free(r->exec);
    cg_params_free(r->params);
    free(r->token);
    free(r->offset);
    free(r->mask);
    free(r);
}

cg_params *cg_runner_params(cg_runner *r) {
    return r->params;
}

const cg_clip_desc *cg_runner_desc(const cg_runner *r) {
    return &r->desc;
}

cg_context *cg_runner_context(const cg_runner *r) {
    return r->ctx;
}

cg_status cg_runner_set_program(cg_runner *r, cg_precision precision, cg_passes_off off,
                                cg_pass_saving *saved) {
    if (precision == CG_PRECISION_BF16) CG_TRY(cg_context_check_bf16());
    cg_exec_forget(r->exec);
    for (int i = 0; i < KEPT; i++) entry_free(&r->kept[i]);
    r->current = NULL;
    r->how = (cg_program){.precision = precision, .off = off, .saved = saved};
    return CG_OK;
}

void cg_runner_set_seed(cg_runner *r, uint64_t seed) {
    r->seed = seed;
}

/* --- captions ---------------------------------------------------------------------------- */

/* Room for that many tokens and captions; what was there is kept where it is not enough. */
static cg_status make_room(cg_runner *r, int64_t rows, int64_t texts) {
    if (rows > r->row_room) {
        int32_t *token = realloc(r->token, (size_t)rows * sizeof *token);
        if (token) r->token = token;
        float *mask = realloc(r->mask, (size_t)rows * sizeof *mask);
        if (mask) r->mask = mask;
        if (!token || !mask)
            return cg_error(CG_ENOMEM, "no memory for %lld tokens", (long long)rows);
        r->row_room = rows;
    }
    if (texts > r->text_room) {
        int32_t *offset = realloc(r->offset, (size_t)(texts + 1) * sizeof *offset);
        if (!offset) return cg_error(CG_ENOMEM, "no memory for %lld captions", (long long)texts);
        r->offset = offset;
        r->text_room = texts;
    }
    return CG_OK;
}

/* The captions one after another, with or without start and end. The rows left over repeat the
 * first token, so that they hold nothing that no caption does: a 0 of their gradient times NaN were
 * NaN. */
static void pack(cg_runner *r, const int32_t *token, const int32_t *offset, int64_t n,
                 int64_t rows) {
    int64_t at = 0, drop = cg_clip_text_drops_specials(&r->desc);
    for (int64_t i = 0; i < n; i++) {
        int64_t begin = offset[i] + drop, count = offset[i + 1] - drop - begin;
        r->offset[i] = (int32_t)at;
        memcpy(r->token + at, token + begin, (size_t)count * sizeof *token);
        at += count;
    }
    r->offset[n] = (int32_t)at;
    while (at < rows) r->token[at++] = token[0];
}

/* Each caption padded to `tokens`. */
static void pad(cg_runner *r, const int32_t *token, const int32_t *offset, int64_t n,
                int64_t tokens) {
    for (int64_t i = 0; i < n; i++) {
        int64_t count = offset[i + 1] - offset[i];
        for (int64_t k = 0; k < tokens; k++) {
            int real = k < count;
            r->token[i * tokens + k] = real ? token[offset[i] + k] : (int32_t)r->desc.text.pad_id;
            r->mask[i * tokens + k] = (float)real;
        }
    }
}

/* Are these captions as the tower reads them? Where it pools at eos_id, one that lacks it would be
 * its start token, whatever it says. */
static cg_status check_captions(const cg_text_desc *t, const int32_t *token, const int32_t *offset,
                                int64_t n) {
    int ends = t->text_arch == CG_TEXT_TRANSFORMER && t->pool_type == CG_POOL_EOS;
    for (int64_t i = 0; i < n; i++) {
        int64_t count = offset[i + 1] - offset[i];
        if (count < 2 || count > t->context_length)
            return cg_error(CG_EINVAL,
                            "caption %lld has %lld tokens, wanted start and end at least and %lld "
                            "at most",
                            (long long)i, (long long)count, (long long)t->context_length);
        int32_t end = token[offset[i + 1] - 1];
        if (ends && end != t->eos_id)
            return cg_error(CG_EINVAL,
                            "caption %lld ends with token %d, but the model pools at eos_id %lld",
                            (long long)i, (int)end, (long long)t->eos_id);
    }
    return CG_OK;
}

/* Copies n captions, as the tokenizer gives them, into the layout of *b, which gets its sizes. */
static cg_status lay_out(cg_runner *r, const int32_t *token, const int32_t *offset, int64_t n,
                         int64_t images, cg_clip_build *b) {
    CG_TRY(check_captions(&r->desc.text, token, offset, n));
    int drop = cg_clip_text_drops_specials(&r->desc);
    *b = cg_clip_batch(&r->desc, images, n, offset[n] - (drop ? 2 * n : 0));
    int64_t rows = b->layout == CG_TEXT_PACKED ? b->rows : n * b->tokens;
    CG_TRY(make_room(r, rows, n));
    if (b->layout == CG_TEXT_PACKED)
        pack(r, token, offset, n, rows);
    else
        pad(r, token, offset, n, b->tokens);
    return CG_OK;
}

/* Binds an input where the current graph reads it. */
static cg_status bind_if_read(cg_runner *r, const char *name, const void *data) {
    if (!cg_graph_find_input(r->current->graph, name)) return CG_OK;
    return cg_exec_bind_input(r->exec, name, data);
}

static cg_status bind_texts(cg_runner *r) {
    CG_TRY(cg_exec_bind_input(r->exec, "token", r->token));
    CG_TRY(bind_if_read(r, "token_offset", r->offset));
    return bind_if_read(r, "token_mask", r->mask);
}

/* --- runs -------------------------------------------------------------------------------- */

static cg_status bind_gradients(cg_runner *r, float *gradient) {
    const cg_graph *g = r->current->graph;
    for (int i = 0; i < g->n_output; i++) {
        const char *name = g->output[i].name;
        if (g->output[i].mode != CG_SET || strncmp(name, "grad.", 5) != 0) continue;
        const cg_param *p = cg_params_find(r->params, name + 5);
        CG_TRY(cg_exec_bind_output(r->exec, name, gradient + p->offset / sizeof(float)));
    }
    return CG_OK;
}

static double mean_of(const cg_runner *r, const char *output, int64_t n) {
    const float *x = cg_exec_output(r->exec, output);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i];
    return sum / (double)n;
}

/* gradient NULL: the loss only */
static cg_status run_pairs(cg_runner *r, const cg_batch *b, float *gradient, double *loss) {
    cg_clip_build sizes;
    CG_TRY(lay_out(r, b->token, b->offset, b->n, b->n, &sizes));
    CG_TRY(use(r, gradient ? BACKWARD : LOSS, &sizes));
    r->stream[0] = (int64_t)r->seed;
    r->stream[1] = b->epoch;
    CG_TRY(cg_exec_bind_input(r->exec, "image", b->image));
    CG_TRY(bind_if_read(r, "stream", r->stream));
    CG_TRY(bind_if_read(r, "sample", b->sample));
    CG_TRY(bind_texts(r));
    if (gradient) CG_TRY(bind_gradients(r, gradient));
    CG_TRY(cg_exec_run(r->exec));
    *loss = mean_of(r, "image_loss", b->n);
    if (cg_graph_find_output(r->current->graph, "text_loss"))
        *loss = 0.5 * (*loss + mean_of(r, "text_loss", b->n));
    return CG_OK;
}

cg_status cg_runner_backward(cg_runner *r, const cg_batch *batch, float *gradient, double *loss) {
    if (!cg_params_block(r->params))
        return cg_error(CG_EINVAL, "the model was opened for inference: it has no gradients");
    return run_pairs(r, batch, gradient, loss);
}

cg_status cg_runner_loss(cg_runner *r, const cg_batch *batch, double *loss) {
    return run_pairs(r, batch, NULL, loss);
}

void cg_runner_commit(cg_runner *r) {
    cg_exec_commit(r->exec);
}

cg_status cg_runner_find_nonfinite(cg_runner *r, cg_nonfinite *out) {
    return cg_exec_find_nonfinite(r->exec, out);
}

/* Names the first parameter, of those whose names begin so, that is not finite. */
static cg_status check_weights(const cg_runner *r, const char *what, const char *prefix) {
    for (int i = 0; i < cg_params_count(r->params); i++) {
        const cg_param *p = cg_params_at(r->params, i);
        const float *x = p->data;
        if (strncmp(p->name, prefix, strlen(prefix)) != 0) continue;
        for (int64_t k = 0; p->dtype == CG_F32 && k < p->count; k++)
            if (!isfinite(x[k]))
                return cg_error(CG_ENONFINITE,
                                "the embeddings of the %s are not finite: %s, element %lld is %g, "
                                "not a finite number",
                                what, p->name, (long long)k, (double)x[k]);
    }
    return CG_OK;
}

/* Weights are not looked at before they are used, and a comparison with NaN is never true, so that
 * a broken model would look like a perfect one. */
static cg_status refuse_embeddings(const cg_runner *r, const char *what) {
    CG_TRY(check_weights(r, what, ""));
    return cg_error(CG_ENONFINITE,
                    "the embeddings of the %s are not finite: the model's weights are too large",
                    what);
}

static cg_status copy_embeddings(const cg_runner *r, const char *what, const char *output,
                                 int64_t n, float *out) {
    const float *row = cg_exec_output(r->exec, output);
    for (int64_t i = 0; i < n * r->desc.embed_dim; i++) {
        if (!isfinite(row[i])) return refuse_embeddings(r, what);
        out[i] = row[i];
    }
    return CG_OK;
}

cg_status cg_runner_embed_images(cg_runner *r, const float *image, int64_t n, float *out) {
    if (n == 0) return CG_OK;
    CG_TRY(use(r, EMBED_IMAGES, &(cg_clip_build){.images = n}));
    CG_TRY(cg_exec_bind_input(r->exec, "image", image));
    CG_TRY(cg_exec_run(r->exec));
    /* A folded convolution's ReLU, oneDNN's, makes 0 of NaN: its weights are looked at, once. */
    if (r->once && r->runs[EMBED_IMAGES] == 1 &&
        cg_vision_arch_of(&r->desc.vision) == CG_VISION_RESNET)
        CG_TRY(check_weights(r, "pictures", "visual."));
    return copy_embeddings(r, "pictures", "image_embedding", n, out);
}

cg_status cg_runner_embed_texts(cg_runner *r, const int32_t *token, const int32_t *offset,
                                int64_t n, float *out) {
    cg_clip_build sizes;
    if (n == 0) return CG_OK;
    CG_TRY(lay_out(r, token, offset, n, 0, &sizes));
    CG_TRY(use(r, EMBED_TEXTS, &sizes));
    CG_TRY(bind_texts(r));
    CG_TRY(cg_exec_run(r->exec));
    return copy_embeddings(r, "texts", "text_embedding", n, out);
}

double cg_runner_temperature(const cg_runner *r) {
    return exp((double)*(const float *)cg_params_find(r->params, "logit_scale")->data);
}

void cg_runner_report(const cg_runner *r, cg_plan_report *out) {
    *out = (cg_plan_report){0};
    if (r->current) cg_plan_get_report(r->current->plan, out);
}

cg_exec *cg_runner_exec(cg_runner *r) {
    return r->exec;
}
