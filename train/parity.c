#include "train/parity_private.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- life ------------------------------------------------------------------------------------- */

void *cg_parity_alloc(cg_parity *p, int64_t count, size_t size) {
    void *memory = cg_arena_alloc(&p->arena, (size_t)count * size + 1);
    if (!memory) cg_error(CG_ENOMEM, "no memory to compare an exported file with its model");
    return memory;
}

static double scalar(const cg_runner *r, const char *name, double otherwise) {
    const cg_param *p = cg_params_find(cg_runner_params((cg_runner *)r), name);
    return p ? (double)*(const float *)p->data : otherwise;
}

cg_status cg_parity_create(cg_runner *reference, const cg_tokenizer *tokenizer,
                           const cg_parity_options *o, cg_parity **out) {
    cg_parity *p = *out = calloc(1, sizeof *p);
    if (!p) return cg_error(CG_ENOMEM, "no memory to compare an exported file with its model");
    p->desc = *cg_runner_desc(reference);
    p->o = *o;
    p->temperature = cg_runner_temperature(reference);
    p->bias = scalar(reference, "logit_bias", 0);
    cg_status s = cg_parity_make_pictures(p, reference);
    if (s == CG_OK) s = cg_parity_make_captions(p, reference, tokenizer);
    if (s == CG_OK) s = cg_parity_make_cases(p);
    if (s == CG_OK) return s;
    cg_parity_free(p);
    *out = NULL;
    return s;
}

void cg_parity_free(cg_parity *p) {
    if (!p) return;
    for (int64_t i = 0; i < p->pictures.n; i++) cg_image_free(&p->pictures.image[i]);
    cg_arena_free(&p->arena);
    free(p);
}

int cg_parity_cases(const cg_parity *p, cg_parity_case **list) {
    *list = p->test;
    return p->n_test;
}

/* --- comparing -------------------------------------------------------------------------------- */

/* What is not a number is as far away as can be. */
static double difference(const float *a, const float *b, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= most)) most = isnan(d) ? INFINITY : d;
    }
    return most;
}

static double dot(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* 1 for two rows of zeros, which is what an empty bag of words can be. */
static double cosine(const float *a, const float *b, int64_t n) {
    double lengths = sqrt(dot(a, a, n) * dot(b, b, n));
    if (lengths > 0) return dot(a, b, n) / lengths;
    return dot(a, a, n) == dot(b, b, n);
}

/* The best of n scores by the model and by the file: what the model thinks of the two. */
static void match(const double *wanted, const double *found, int64_t n, cg_parity_figure *f) {
    int64_t ours = 0, theirs = 0;
    for (int64_t k = 1; k < n; k++) {
        if (wanted[k] > wanted[ours]) ours = k;
        if (found[k] > found[theirs]) theirs = k;
    }
    f->rows++;
    f->agree += ours == theirs;
    double lead = wanted[ours] - wanted[theirs];
    if (lead > f->lead) f->lead = lead;
}

/* Scores of row i: embeddings against the model's other tower, else the row itself. */
static int64_t score(const cg_parity *p, const cg_parity_output *o, const float *rows, int64_t i,
                     double *out) {
    const float *row = rows + i * o->width;
    int pictures = strcmp(o->name, "image_embeds") == 0;
    int64_t n = o->kind != CG_PARITY_EMBEDDINGS ? o->width
                : pictures                      ? p->captions.n
                                                : p->pictures.n;
    const float *other = pictures ? p->captions.row : p->pictures.row;
    double unit = o->kind == CG_PARITY_LOGITS ? p->temperature : 1;
    for (int64_t k = 0; k < n; k++)
        out[k] = o->kind == CG_PARITY_EMBEDDINGS ? dot(row, other + k * o->width, o->width)
                                                 : (double)row[k] / unit;
    return n;
}

static void compare_output(const cg_parity *p, const cg_parity_case *t, const cg_parity_output *o,
                           double *scores[2], cg_parity_figure *f) {
    double d = difference(o->wanted, o->found, o->rows * o->width);
    if (o->kind == CG_PARITY_LOGITS) d /= p->temperature;
    if (d >= f->max_difference) {
        f->max_difference = d;
        snprintf(f->where, sizeof f->where, "%s", t->name);
    }
    for (int64_t i = 0; i < o->rows; i++) {
        int64_t n = score(p, o, o->wanted, i, scores[0]);
        score(p, o, o->found, i, scores[1]);
        match(scores[0], scores[1], n, f);
        if (o->kind != CG_PARITY_EMBEDDINGS) continue;
        double c = cosine(o->wanted + i * o->width, o->found + i * o->width, o->width);
        if (!(c >= f->min_cosine)) f->min_cosine = c;
    }
}

static cg_parity_figure *figure_of(cg_parity_result *r, const cg_parity_output *o) {
    for (int i = 0; i < r->n; i++)
        if (strcmp(r->figure[i].output, o->name) == 0) return &r->figure[i];
    r->figure[r->n] = (cg_parity_figure){.output = o->name, .kind = o->kind, .min_cosine = 1};
    return &r->figure[r->n++];
}

cg_status cg_parity_compare(const cg_parity *p, cg_parity_result *out) {
    int64_t room = p->captions.n + p->pictures.n + p->o.labels;
    double *memory = malloc(2 * (size_t)room * sizeof *memory);
    if (!memory) return cg_error(CG_ENOMEM, "no memory to compare results");
    double *scores[] = {memory, memory + room};
    *out = (cg_parity_result){.cases = p->n_test, .temperature = p->temperature};
    if (p->o.what != CG_ONNX_TEXT) out->pictures = p->pictures.n;
    if (p->o.what == CG_ONNX_TEXT || p->o.what == CG_ONNX_BOTH) out->captions = p->captions.n;
    for (int i = 0; i < p->n_test; i++)
        for (int k = 0; k < p->test[i].n_out; k++)
            compare_output(p, &p->test[i], &p->test[i].out[k], scores,
                           figure_of(out, &p->test[i].out[k]));
    free(memory);
    return CG_OK;
}

double cg_parity_limit(const cg_parity_result *r, const cg_parity_figure *f, double tolerance) {
    if (f->kind == CG_PARITY_EMBEDDINGS) return tolerance;
    if (f->kind == CG_PARITY_LOGITS) return 4 * tolerance;
    return 2 * fmax(r->temperature, 1) * tolerance;
}

cg_status cg_parity_check(const cg_parity_result *r, double tolerance) {
    for (int i = 0; i < r->n; i++) {
        const cg_parity_figure *f = &r->figure[i];
        double limit = cg_parity_limit(r, f, tolerance);
        /* of embeddings, what two rows' product may differ by is that of logits */
        double explained = 2 * (f->kind == CG_PARITY_EMBEDDINGS ? 4 : 1) * limit;
        if (!(f->max_difference <= limit))
            return cg_error(CG_EFORMAT,
                            "%s differs from the model's by up to %.2g (cosine %.6f at least), "
                            "wanted %.2g at most: %s",
                            f->output, f->max_difference, f->min_cosine, limit, f->where);
        if (!(f->lead <= explained))
            return cg_error(CG_EFORMAT,
                            "%s: %" PRId64 " of %" PRId64 " rows have another best match than the "
                            "model's, which prefers its own by up to %.2g",
                            f->output, f->rows - f->agree, f->rows, f->lead);
    }
    return CG_OK;
}
