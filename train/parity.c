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

double cg_parity_dot(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* In what softmax hides: of a probability the logarithm, which is a logit but for what all of a row
 * have in common. What underflows is cut off before it does. */
static double plain(const cg_parity *p, cg_parity_kind kind, float x) {
    const float least = 1e-30f;
    if (kind == CG_PARITY_LOGITS) return (double)x / p->temperature;
    if (kind != CG_PARITY_PROBABILITIES) return (double)x;
    return log((double)(x < least ? least : x)) / fmax(p->temperature, 1);
}

/* Of a pixel in 255ths, of channel c. */
static double unit(const cg_parity *p, const cg_parity_output *o, int64_t i) {
    if (o->kind != CG_PARITY_PIXELS) return 1;
    return 255 * (double)p->o.preprocess->std[i % o->width / (o->width / 3)];
}

/* 1 for two rows of zeros, which is what an empty bag of words can be. */
static double cosine(const float *a, const float *b, int64_t n) {
    double lengths = sqrt(cg_parity_dot(a, a, n) * cg_parity_dot(b, b, n));
    if (lengths > 0) return cg_parity_dot(a, b, n) / lengths;
    return cg_parity_dot(a, a, n) == cg_parity_dot(b, b, n);
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
    for (int64_t k = 0; k < n; k++)
        out[k] = o->kind == CG_PARITY_EMBEDDINGS
                     ? cg_parity_dot(row, other + k * o->width, o->width)
                     : plain(p, o->kind, row[k]);
    return n;
}

/* --- limits ----------------------------------------------------------------------------------- */

static const double of_scores = 1e-6; /* products of unit rows in f32, and their softmax */
static const double of_pixels = 1 + 1e-3, of_apart = 0.01;
static const double of_resizing = 2e-4;

/* Outputs that a run has filled. */
static int count_of(const cg_parity_case *t, cg_parity_view view) {
    return t->n_out + (view == CG_PARITY_INSIDE ? t->n_inner : 0);
}

static const cg_parity_output *find(const cg_parity_case *t, cg_parity_view view,
                                    const char *name) {
    int n = count_of(t, view);
    for (int i = 0; i < n; i++)
        if (strcmp(t->out[i].name, name) == 0) return &t->out[i];
    return NULL;
}

static int is_scores(const cg_parity_output *o) {
    return o->kind == CG_PARITY_LOGITS || o->kind == CG_PARITY_PROBABILITIES;
}

static double limit_of(const cg_parity_case *t, const cg_parity_output *o, cg_parity_view view,
                       double tolerance) {
    double embeddings = tolerance + (t->resized ? of_resizing : 0);
    if (o->kind == CG_PARITY_PIXELS) return of_pixels;
    if (o->kind == CG_PARITY_EMBEDDINGS) return embeddings;
    return find(t, view, "image_embeds") ? of_scores : 8 * embeddings;
}

/* --- measuring -------------------------------------------------------------------------------- */

/* Adds the numbers of one run; rms holds the sum of squares for now. What is not a number is as far
 * away as can be. */
static double measure(const cg_parity *p, const cg_parity_output *o, const float *wanted,
                      cg_parity_figure *f) {
    double most = 0;
    for (int64_t i = 0; i < o->rows * o->width; i++) {
        double d =
            unit(p, o, i) * fabs(plain(p, o->kind, wanted[i]) - plain(p, o->kind, o->found[i]));
        if (isnan(d)) d = INFINITY;
        if (d > most) most = d;
        f->rms += d * d;
        f->apart += d > of_pixels - 1;
    }
    f->elements += o->rows * o->width;
    for (int64_t i = 0; i < o->rows && o->kind == CG_PARITY_EMBEDDINGS; i++) {
        double c = cosine(wanted + i * o->width, o->found + i * o->width, o->width);
        if (!(c >= f->min_cosine)) f->min_cosine = isnan(c) ? -1 : c;
    }
    return most;
}

/* What the file's own embeddings make; or what the model does. Allocated. */
static cg_status wanted_of(const cg_parity *p, const cg_parity_case *t, const cg_parity_output *o,
                           cg_parity_view view, float **out) {
    const cg_parity_output *image = find(t, view, "image_embeds"),
                           *text = find(t, view, "text_embeds");
    size_t bytes = (size_t)(o->rows * o->width) * sizeof **out;
    *out = malloc(bytes + 1);
    if (!*out) return cg_error(CG_ENOMEM, "no memory to compare results");
    if (is_scores(o) && image)
        return cg_parity_scores(p, o, image->found, text ? text->found : NULL, *out);
    memcpy(*out, o->wanted, bytes);
    return CG_OK;
}

static cg_parity_figure *figure_of(cg_parity_result *r, const cg_parity_output *o) {
    for (int i = 0; i < r->n; i++)
        if (strcmp(r->figure[i].output, o->name) == 0) return &r->figure[i];
    r->figure[r->n] = (cg_parity_figure){.output = o->name, .kind = o->kind, .min_cosine = 1};
    return &r->figure[r->n++];
}

static cg_status compare_output(const cg_parity *p, const cg_parity_case *t,
                                const cg_parity_output *o, cg_parity_view view, double *scores[2],
                                cg_parity_result *r) {
    cg_parity_figure *f = figure_of(r, o);
    float *wanted;
    cg_status s = wanted_of(p, t, o, view, &wanted);
    if (s == CG_OK) {
        double limit = limit_of(t, o, view, r->tolerance), most = measure(p, o, wanted, f);
        if (f->limit == 0 || most / limit > f->most / f->limit) {
            f->most = most;
            f->limit = limit;
            snprintf(f->where, sizeof f->where, "%s", t->name);
        }
    }
    free(wanted);
    for (int64_t i = 0; i < o->rows && o->kind != CG_PARITY_PIXELS; i++) {
        int64_t n = score(p, o, o->wanted, i, scores[0]);
        score(p, o, o->found, i, scores[1]);
        match(scores[0], scores[1], n, f);
    }
    return s;
}

static cg_status compare_kind(const cg_parity *p, const cg_parity_case *t, cg_parity_kind kind,
                              cg_parity_view view, double *scores[2], cg_parity_result *r) {
    int n = count_of(t, view);
    for (int k = 0; k < n; k++)
        if (t->out[k].kind == kind) CG_TRY(compare_output(p, t, &t->out[k], view, scores, r));
    return CG_OK;
}

cg_status cg_parity_compare(const cg_parity *p, cg_parity_view view, double tolerance,
                            cg_parity_result *out) {
    int64_t room = p->captions.n + p->pictures.n + p->o.labels;
    double *memory = calloc(2 * (size_t)room, sizeof *memory);
    if (!memory) return cg_error(CG_ENOMEM, "no memory to compare results");
    double *scores[] = {memory, memory + room};
    *out = (cg_parity_result){.cases = p->n_test, .tolerance = tolerance};
    if (p->o.what != CG_ONNX_TEXT) out->pictures = p->pictures.n;
    out->given = p->pictures.given;
    out->left_out = p->pictures.left_out;
    if (p->o.what == CG_ONNX_TEXT || p->o.what == CG_ONNX_BOTH) out->captions = p->captions.n;
    cg_status s = CG_OK;
    for (int kind = CG_PARITY_PIXELS; kind <= CG_PARITY_PROBABILITIES; kind++)
        for (int i = 0; i < p->n_test && s == CG_OK; i++)
            s = compare_kind(p, &p->test[i], (cg_parity_kind)kind, view, scores, out);
    free(memory);
    for (int i = 0; i < out->n; i++)
        out->figure[i].rms = sqrt(out->figure[i].rms / (double)out->figure[i].elements);
    return s;
}

static cg_status check_figure(const cg_parity_figure *f) {
    char cosine[64] = "";
    if (f->kind == CG_PARITY_EMBEDDINGS)
        snprintf(cosine, sizeof cosine, " (cosine %.6f at least)", f->min_cosine);
    if (!(f->most <= f->limit))
        return cg_error(CG_EFORMAT, "%s differs by up to %.2g%s, wanted %.2g at most: %s",
                        f->output, f->most, cosine, f->limit, f->where);
    if (f->kind == CG_PARITY_PIXELS && (double)f->apart > of_apart * (double)f->elements)
        return cg_error(CG_EFORMAT,
                        "%s: %" PRId64 " of %" PRId64 " are not the model's, wanted %g %% at most",
                        f->output, f->apart, f->elements, 100 * of_apart);
    return CG_OK;
}

cg_status cg_parity_check(const cg_parity_result *r) {
    for (int i = 0; i < r->n; i++) CG_TRY(check_figure(&r->figure[i]));
    return CG_OK;
}
