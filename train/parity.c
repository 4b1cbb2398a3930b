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

cg_status cg_parity_create(cg_runner *reference, cg_runner *rounded, const cg_tokenizer *tokenizer,
                           const cg_parity_options *o, cg_parity **out) {
    cg_parity *p = *out = calloc(1, sizeof *p);
    if (!p) return cg_error(CG_ENOMEM, "no memory to compare an exported file with its model");
    p->desc = *cg_runner_desc(reference);
    p->o = *o;
    p->temperature = cg_runner_temperature(reference);
    p->bias = scalar(reference, "logit_bias", 0);
    cg_status s = cg_parity_make_pictures(p, reference, rounded);
    if (s == CG_OK) s = cg_parity_make_captions(p, reference, rounded, tokenizer);
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
    if (kind == CG_PARITY_EMBEDDINGS) return (double)x;
    if (kind == CG_PARITY_LOGITS) return (double)x / p->temperature;
    return log((double)(x < least ? least : x)) / fmax(p->temperature, 1);
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

/* Adds the numbers of one run; rms holds the sum of squares for now. What is not a number is as far
 * away as can be. */
static void measure(const cg_parity *p, const cg_parity_output *o, const float *found,
                    cg_parity_distance *to) {
    for (int64_t i = 0; i < o->rows * o->width; i++) {
        double d = fabs(plain(p, o->kind, o->wanted[i]) - plain(p, o->kind, found[i]));
        if (!(d <= to->most)) to->most = isnan(d) ? INFINITY : d;
        to->rms += isnan(d) ? INFINITY : d * d;
    }
    for (int64_t i = 0; i < o->rows && o->kind == CG_PARITY_EMBEDDINGS; i++) {
        double c = cosine(o->wanted + i * o->width, found + i * o->width, o->width);
        if (!(c >= to->min_cosine)) to->min_cosine = isnan(c) ? -1 : c;
    }
}

static void compare_output(const cg_parity *p, const cg_parity_case *t, const cg_parity_output *o,
                           double *scores[2], cg_parity_figure *f) {
    double most = f->file.most;
    measure(p, o, o->found, &f->file);
    if (o->rounded) measure(p, o, o->rounded, &f->rounding);
    if (f->file.most > most || !f->elements) snprintf(f->where, sizeof f->where, "%s", t->name);
    f->elements += o->rows * o->width;
    for (int64_t i = 0; i < o->rows; i++) {
        int64_t n = score(p, o, o->wanted, i, scores[0]);
        score(p, o, o->found, i, scores[1]);
        match(scores[0], scores[1], n, f);
    }
}

static cg_parity_figure *figure_of(cg_parity_result *r, const cg_parity_output *o) {
    for (int i = 0; i < r->n; i++)
        if (strcmp(r->figure[i].output, o->name) == 0) return &r->figure[i];
    r->figure[r->n] = (cg_parity_figure){.output = o->name,
                                         .kind = o->kind,
                                         .file = {.min_cosine = 1},
                                         .rounding = {.min_cosine = 1}};
    return &r->figure[r->n++];
}

/* Of few labels, what rounding does is a matter of luck: it may happen to move pictures across all
 * that labels differ in. Not less than what a movement of that size does on average. */
static double expected(const cg_parity *p) {
    const cg_parity_pictures *all = &p->pictures;
    int64_t width = p->desc.embed_dim, labels = p->o.labels, n = all->n * width;
    double moved = 0, spread = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)all->row[i] - (double)all->rounded[i];
        moved += d * d / (double)n;
    }
    for (int64_t k = 0; k < width; k++) { /* the variance of labels */
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < labels; i++) {
            double x = (double)p->o.label[i * width + k];
            sum += x / (double)labels;
            squares += x * x / (double)labels;
        }
        spread += squares - sum * sum;
    }
    return sqrt(moved * fmax(spread, 0)) * fmin(p->temperature, 1);
}

cg_status cg_parity_compare(const cg_parity *p, cg_parity_result *out) {
    int64_t room = p->captions.n + p->pictures.n + p->o.labels;
    double *memory = calloc(2 * (size_t)room, sizeof *memory);
    if (!memory) return cg_error(CG_ENOMEM, "no memory to compare results");
    double *scores[] = {memory, memory + room};
    *out = (cg_parity_result){.cases = p->n_test, .inside = p->o.inside};
    if (p->o.what != CG_ONNX_TEXT) out->pictures = p->pictures.n;
    if (p->o.what == CG_ONNX_TEXT || p->o.what == CG_ONNX_BOTH) out->captions = p->captions.n;
    for (int i = 0; i < p->n_test; i++)
        for (int k = 0; k < p->test[i].n_out; k++)
            compare_output(p, &p->test[i], &p->test[i].out[k], scores,
                           figure_of(out, &p->test[i].out[k]));
    free(memory);
    for (int i = 0; i < out->n; i++) {
        cg_parity_figure *f = &out->figure[i];
        f->file.rms = sqrt(f->file.rms / (double)f->elements);
        f->rounding.rms = sqrt(f->rounding.rms / (double)f->elements);
        if (f->kind == CG_PARITY_PROBABILITIES && p->pictures.rounded)
            f->rounding.rms = fmax(f->rounding.rms, expected(p));
    }
    out->rounded = p->pictures.rounded != NULL;
    return CG_OK;
}

/* --- what may be ------------------------------------------------------------------------------ */

double cg_parity_exact(int inside) {
    return inside ? 2e-4 : 1e-5;
}

cg_parity_distance cg_parity_limit(const cg_parity_result *r, const cg_parity_figure *f,
                                   double tolerance) {
    static const double units[] = {1, 4, 8}; /* by kind */
    double unit = units[f->kind], exact = unit * cg_parity_exact(r->inside);
    int rows = f->kind == CG_PARITY_EMBEDDINGS;
    if (!r->rounded) return (cg_parity_distance){unit * tolerance, INFINITY, -1};
    double most = fmax(3 * f->rounding.most, 6 * f->rounding.rms) + exact;
    /* Cosines fall with the square of the angle; a row of n elements each 1e-5 apart is
     * 1e-5 · √n away, of which n is at most some thousands. */
    double cosine = 1 - 9 * (1 - f->rounding.min_cosine) - 1e3 * exact * exact;
    return (cg_parity_distance){fmin(unit * tolerance, most),
                                (rows ? 2 : 4) * f->rounding.rms + exact / 10, rows ? cosine : -1};
}

static cg_status check_figure(const cg_parity_result *r, const cg_parity_figure *f,
                              double tolerance) {
    cg_parity_distance limit = cg_parity_limit(r, f, tolerance);
    /* of embeddings, what two rows' product may differ by is that of logits */
    double explained = 2 * (f->kind == CG_PARITY_EMBEDDINGS ? 4 : 1) * limit.most;
    if (!(f->file.most <= limit.most))
        return cg_error(CG_EFORMAT,
                        "%s differs from the model's by up to %.2g (cosine %.6f at least), wanted "
                        "%.2g at most: %s",
                        f->output, f->file.most, f->file.min_cosine, limit.most, f->where);
    if (!(f->file.rms <= limit.rms && f->file.min_cosine >= limit.min_cosine))
        return cg_error(CG_EFORMAT,
                        "%s differs from the model's by %.2g (root mean square; cosine %.6f at "
                        "least), rounding the model's weights explains %.2g (%.6f)",
                        f->output, f->file.rms, f->file.min_cosine, f->rounding.rms,
                        f->rounding.min_cosine);
    if (!(f->lead <= explained))
        return cg_error(CG_EFORMAT,
                        "%s: %" PRId64 " of %" PRId64 " rows have another best match than the "
                        "model's, which prefers its own by up to %.2g",
                        f->output, f->rows - f->agree, f->rows, f->lead);
    return CG_OK;
}

cg_status cg_parity_check(const cg_parity_result *r, double tolerance) {
    for (int i = 0; i < r->n; i++) CG_TRY(check_figure(r, &r->figure[i], tolerance));
    return CG_OK;
}
