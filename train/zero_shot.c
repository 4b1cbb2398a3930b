#include "train/zero_shot.h"

#include "graph/clock.h"
#include "train/match.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

cg_status cg_rank_classes(const float *image, const int32_t *class_of, int64_t n,
                          const float *label, int64_t n_classes, int64_t width, int threads,
                          cg_zero_shot *out) {
    int64_t *before = malloc((size_t)n * sizeof *before + 1);
    int64_t(*of)[2] = calloc((size_t)n_classes + 1, sizeof *of); /* pictures, and hits among them */
    if (!before || !of) {
        free(before);
        free(of);
        return cg_error(CG_ENOMEM, "no memory to rank %" PRId64 " pictures", n);
    }
#pragma omp parallel for num_threads(threads)
    for (int64_t i = 0; i < n; i++)
        before[i] = cg_rank_before(image + i * width, class_of[i], label, n_classes, width);
    int64_t top1 = 0, top5 = 0;
    for (int64_t i = 0; i < n; i++) {
        top1 += before[i] < 1;
        top5 += before[i] < 5;
        of[class_of[i]][0]++;
        of[class_of[i]][1] += before[i] < 1;
    }
    *out = (cg_zero_shot){.images = n, .classes = n_classes, .chance = 1 / (double)n_classes};
    out->top1 = (double)top1 / (double)n;
    out->top5 = (double)top5 / (double)n;
    for (int64_t c = 0; c < n_classes; c++) {
        if (!of[c][0]) continue;
        out->shown++;
        out->per_class += (double)of[c][1] / (double)of[c][0];
    }
    out->per_class /= (double)out->shown;
    free(before);
    free(of);
    return CG_OK;
}

/* Those pictures whose caption is a class. */
typedef struct labelled {
    int64_t n, no_class;
    float *image; /* [n, width] */
    int32_t *class_of;
    const char *first; /* the first caption that is no class */
} labelled;

static cg_status find_classes(const cg_dataset *d, const cg_classes *classes,
                              const cg_embeddings *e, labelled *out) {
    size_t width = (size_t)e->width;
    int32_t *class_of_caption = malloc((size_t)d->n_captions * sizeof *class_of_caption + 1);
    out->image = malloc((size_t)e->n * width * sizeof *out->image + 1);
    out->class_of = malloc((size_t)e->n * sizeof *out->class_of + 1);
    if (!class_of_caption || !out->image || !out->class_of) {
        free(class_of_caption);
        return cg_error(CG_ENOMEM, "no memory for %" PRId64 " pictures", e->n);
    }
    for (int32_t id = 0; id < d->n_captions; id++) class_of_caption[id] = -2; /* not looked up */
    for (int64_t i = 0; i < e->n; i++) {
        const char *caption = d->caption[e->index[i]];
        int32_t *class = &class_of_caption[d->caption_id[e->index[i]]];
        if (*class == -2) *class = cg_classes_find(classes, caption);
        if (*class < 0) {
            if (!out->no_class++) out->first = caption;
            continue;
        }
        memcpy(out->image + (size_t)out->n * width, e->row + (size_t)i * width,
               width * sizeof *e->row);
        out->class_of[out->n++] = *class;
    }
    free(class_of_caption);
    if (out->n) return CG_OK;
    return cg_error(CG_EFORMAT,
                    "not one of %" PRId64 " captions is a class; the first is \"%.80s\"",
                    out->no_class, out->first ? out->first : "");
}

static cg_status embed_classes(cg_runner *r, const cg_classes *classes, const cg_embed_options *o,
                               float **out) {
    const char **name = malloc((size_t)classes->n * sizeof *name);
    if (!name) return cg_error(CG_ENOMEM, "no memory for %d classes", (int)classes->n);
    for (int32_t i = 0; i < classes->n; i++) name[i] = classes->at[i].name;
    cg_status s = cg_match_labels(r, o->tokenizer, name, classes->n, &o->templates, out, NULL);
    free(name);
    return s;
}

cg_status cg_score_zero_shot(cg_runner *r, const cg_dataset *d, const cg_classes *classes,
                             const cg_embed_options *o, const cg_embeddings *e, cg_zero_shot *out) {
    labelled l = {0};
    float *label = NULL;
    double begun = cg_now();
    *out = (cg_zero_shot){0};
    cg_status s = find_classes(d, classes, e, &l);
    if (s == CG_OK) s = embed_classes(r, classes, o, &label);
    if (s == CG_OK)
        s = cg_rank_classes(l.image, l.class_of, l.n, label, classes->n, e->width,
                            cg_runner_context(r)->threads, out);
    if (s == CG_OK) {
        out->no_class = l.no_class;
        out->left_out = d->size - l.n;
        snprintf(out->first, sizeof out->first, "%s", l.first ? l.first : "");
    }
    free(label);
    free(l.image);
    free(l.class_of);
    out->seconds = cg_now() - begun;
    return s;
}
