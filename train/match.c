#include "train/match.h"

#include <math.h>
#include <stdlib.h>

static double dot(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* --- labels ----------------------------------------------------------------------------------- */

/* out = the mean of `count` rows of `width`, made unit length. */
static void unit_mean(const float *row, int count, int64_t width, float *out) {
    double length = 0;
    for (int64_t i = 0; i < width; i++) {
        double sum = 0;
        for (int k = 0; k < count; k++) sum += (double)row[k * width + i];
        out[i] = (float)(sum / count);
        length += (sum / count) * (sum / count);
    }
    length = sqrt(length);
    for (int64_t i = 0; i < width && length > 0; i++) out[i] = (float)((double)out[i] / length);
}

enum { TEXTS = 256 }; /* sentences at a time, so that many classes in many templates fit memory */

/* Embeds each label in each template and averages into out[n_labels, width]; adds to *truncated. */
static cg_status embed_some(cg_runner *r, const cg_tokenizer *t, const char *const *label,
                            int64_t n_labels, const cg_templates *used, float *out,
                            int64_t *truncated) {
    int64_t n = n_labels * used->n, width = cg_runner_desc(r)->embed_dim, cut = 0;
    float *each = NULL;
    char **text = calloc((size_t)n, sizeof *text);
    cg_status s = text ? CG_OK : cg_error(CG_ENOMEM, "no memory for labels");
    for (int64_t i = 0; i < n && s == CG_OK; i++) {
        text[i] = cg_template_fill(used->text[i % used->n], label[i / used->n]);
        if (!text[i]) s = cg_error(CG_ENOMEM, "no memory for labels");
    }
    if (s == CG_OK) s = cg_embed_texts(r, t, (const char *const *)text, n, &each, &cut);
    for (int64_t i = 0; i < n_labels && s == CG_OK; i++)
        unit_mean(each + i * used->n * width, used->n, width, out + i * width);
    *truncated += cut;
    for (int64_t i = 0; text && i < n; i++) free(text[i]);
    free(text);
    free(each);
    return s;
}

cg_status cg_match_labels(cg_runner *r, const cg_tokenizer *t, const char *const *label,
                          int64_t n_labels, const cg_templates *templates, float **out,
                          int64_t *truncated) {
    static const char *const alone[] = {"{}"};
    cg_templates used = templates->n ? *templates : (cg_templates){alone, 1};
    int64_t width = cg_runner_desc(r)->embed_dim, cut = 0;
    int64_t step = used.n < TEXTS ? TEXTS / used.n : 1; /* in labels */
    *out = NULL;
    if (n_labels < 1) return cg_error(CG_EINVAL, "no label");
    CG_TRY(cg_templates_check(&used));
    *out = malloc((size_t)(n_labels * width) * sizeof **out);
    cg_status s = *out ? CG_OK : cg_error(CG_ENOMEM, "no memory for labels");
    for (int64_t i = 0; i < n_labels && s == CG_OK; i += step)
        s = embed_some(r, t, label + i, n_labels - i < step ? n_labels - i : step, &used,
                       *out + i * width, &cut);
    if (truncated) *truncated = cut;
    if (s != CG_OK) {
        free(*out);
        *out = NULL;
    }
    return s;
}

/* --- scores ----------------------------------------------------------------------------------- */

void cg_match_probabilities(const float *query, const float *row, int64_t n, int64_t width,
                            double temperature, double *probability) {
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        probability[i] = temperature * dot(query, row + i * width, width);
        most = fmax(most, probability[i]);
    }
    for (int64_t i = 0; i < n; i++) sum += probability[i] = exp(probability[i] - most);
    for (int64_t i = 0; i < n; i++) probability[i] /= sum;
}

void cg_match_cosines(const float *query, const float *row, int64_t n, int64_t width,
                      double *score) {
    double own = dot(query, query, width);
    for (int64_t i = 0; i < n; i++) {
        const float *x = row + i * width;
        double lengths = sqrt(own * dot(x, x, width));
        score[i] = lengths > 0 ? dot(query, x, width) / lengths : 0;
    }
}

/* Inserts into a sorted list of the best so far: k is small. */
int64_t cg_match_best(const double *score, int64_t n, int64_t k, int64_t *best) {
    int64_t have = 0;
    for (int64_t i = 0; i < n; i++) {
        if (have == k && (k == 0 || score[i] <= score[best[have - 1]])) continue;
        int64_t at = have < k ? have++ : have - 1;
        for (; at > 0 && score[i] > score[best[at - 1]]; at--) best[at] = best[at - 1];
        best[at] = i;
    }
    return have;
}
