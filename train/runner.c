#include "train/runner.h"

#include "train/program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum purpose { BACKWARD, LOSS, EMBED_IMAGES, EMBED_TEXTS } purpose;

typedef struct entry {
    purpose purpose;
    int64_t images, texts, rows;
    cg_graph *graph;
    cg_plan *plan;
    int64_t used; /* the clock when it was last asked for */
} entry;

enum { KEPT = 24 };

struct cg_runner {
    cg_context *ctx;
    cg_clip_desc desc;
    cg_params *params;
    cg_exec *exec;
    entry kept[KEPT], *current;
    int64_t clock;
    int32_t *token, *offset; /* captions as the tower reads them */
    int64_t token_room, offset_room;
};

/* --- plans ------------------------------------------------------------------------------- */

static void entry_free(entry *e) {
    cg_plan_free(e->plan);
    cg_graph_free(e->graph);
    *e = (entry){0};
}

static cg_status build(cg_runner *r, entry *e) {
    int loss = e->purpose == BACKWARD || e->purpose == LOSS;
    cg_clip_build b = {
        .images = e->images, .texts = e->texts, .rows = e->rows, .training = loss, .loss = loss};
    return cg_program_build(r->params, &r->desc, &b, e->purpose == BACKWARD, &e->graph);
}

static entry *find(cg_runner *r, const entry *wanted) {
    for (int i = 0; i < KEPT; i++) {
        entry *e = &r->kept[i];
        if (e->plan && e->purpose == wanted->purpose && e->images == wanted->images &&
            e->texts == wanted->texts && e->rows == wanted->rows)
            return e;
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

/* Makes the plan for these sizes current, with trained parameters' gradients not yet bound. */
static cg_status use(cg_runner *r, entry wanted) {
    entry *e = find(r, &wanted);
    if (!e) {
        e = oldest(r);
        cg_exec_forget(r->exec); /* its plan may be the one that goes */
        entry_free(e);
        *e = wanted;
        cg_status s = build(r, e);
        if (s == CG_OK) s = cg_plan_create(r->ctx, e->graph, &e->plan);
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
    cg_clip_build b = {.images = 1, .texts = 1, .rows = cg_clip_rows(0), .training = 1, .loss = 1};
    cg_status s = cg_graph_create(r->params, &g);
    if (s == CG_OK) s = cg_clip_append(g, &r->desc, &b, &v);
    cg_graph_free(g);
    return s == CG_OK ? cg_params_alloc(r->params) : s;
}

cg_status cg_runner_create(cg_context *ctx, const cg_clip_desc *d, cg_runner **out) {
    cg_runner *r = *out = calloc(1, sizeof *r);
    if (!r) return cg_error(CG_ENOMEM, "no memory for a runner");
    r->ctx = ctx;
    r->desc = *d;
    cg_status s = cg_params_create(&r->params);
    if (s == CG_OK) s = declare(r);
    if (s == CG_OK) s = cg_exec_create(&r->exec);
    if (s != CG_OK) {
        cg_runner_free(r);
        *out = NULL;
    }
    return s;
}

void cg_runner_free(cg_runner *r) {
    if (!r) return;
    for (int i = 0; i < KEPT; i++) entry_free(&r->kept[i]);
    cg_exec_free(r->exec);
    cg_params_free(r->params);
    free(r->token);
    free(r->offset);
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

/* --- captions ---------------------------------------------------------------------------- */

static int room(int32_t **list, int64_t *have, int64_t wanted) {
    if (wanted <= *have) return 1;
    int32_t *grown = realloc(*list, (size_t)wanted * sizeof *grown);
    if (!grown) return 0;
    *list = grown;
    *have = wanted;
    return 1;
}

/* Copies n captions into r->token and r->offset as the tower reads them; returns the rows. */
static cg_status pack(cg_runner *r, const int32_t *token, const int32_t *offset, int64_t n,
                      int64_t *rows) {
    int drop = cg_clip_text_drops_specials(&r->desc);
    for (int64_t i = 0; i < n; i++)
        if (offset[i + 1] - offset[i] < 2)
            return cg_error(CG_EINVAL, "caption %lld has %d tokens, wanted at least start and end",
                            (long long)i, (int)(offset[i + 1] - offset[i]));
    int64_t total = offset[n] - (drop ? 2 * n : 0);
    *rows = cg_clip_rows(total);
    if (!room(&r->token, &r->token_room, *rows) || !room(&r->offset, &r->offset_room, n + 1))
        return cg_error(CG_ENOMEM, "no memory for %lld tokens", (long long)*rows);
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t begin = offset[i] + drop, count = offset[i + 1] - drop - begin;
        r->offset[i] = (int32_t)at;
        memcpy(r->token + at, token + begin, (size_t)count * sizeof *token);
        at += count;
    }
    r->offset[n] = (int32_t)at;
    memset(r->token + at, 0, (size_t)(*rows - at) * sizeof *token);
    return CG_OK;
}

static cg_status bind_texts(cg_runner *r) {
    CG_TRY(cg_exec_bind_input(r->exec, "token", r->token));
    return cg_exec_bind_input(r->exec, "token_offset", r->offset);
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
    int64_t rows;
    CG_TRY(pack(r, b->token, b->offset, b->n, &rows));
    CG_TRY(use(r, (entry){.purpose = gradient ? BACKWARD : LOSS,
                          .images = b->n,
                          .texts = b->n,
                          .rows = rows}));
    CG_TRY(cg_exec_bind_input(r->exec, "image", b->image));
    CG_TRY(bind_texts(r));
    if (gradient) CG_TRY(bind_gradients(r, gradient));
    CG_TRY(cg_exec_run(r->exec));
    *loss = 0.5 * (mean_of(r, "image_loss", b->n) + mean_of(r, "text_loss", b->n));
    return CG_OK;
}

cg_status cg_runner_backward(cg_runner *r, const cg_batch *batch, float *gradient, double *loss) {
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

static void copy_embeddings(const cg_runner *r, const char *output, int64_t n, float *out) {
    memcpy(out, cg_exec_output(r->exec, output), (size_t)(n * r->desc.embed_dim) * sizeof *out);
}

cg_status cg_runner_embed_images(cg_runner *r, const float *image, int64_t n, float *out) {
    if (n == 0) return CG_OK;
    CG_TRY(use(r, (entry){.purpose = EMBED_IMAGES, .images = n}));
    CG_TRY(cg_exec_bind_input(r->exec, "image", image));
    CG_TRY(cg_exec_run(r->exec));
    copy_embeddings(r, "image_embedding", n, out);
    return CG_OK;
}

cg_status cg_runner_embed_texts(cg_runner *r, const int32_t *token, const int32_t *offset,
                                int64_t n, float *out) {
    int64_t rows;
    if (n == 0) return CG_OK;
    CG_TRY(pack(r, token, offset, n, &rows));
    CG_TRY(use(r, (entry){.purpose = EMBED_TEXTS, .texts = n, .rows = rows}));
    CG_TRY(bind_texts(r));
    CG_TRY(cg_exec_run(r->exec));
    copy_embeddings(r, "text_embedding", n, out);
    return CG_OK;
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
