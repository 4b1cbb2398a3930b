#include "train/embed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void cg_embeddings_free(cg_embeddings *e) {
    free(e->row);
    free(e->index);
    *e = (cg_embeddings){0};
}

static cg_status embed_batches(cg_runner *r, cg_loader *l, cg_embeddings *out) {
    cg_profile *p = cg_exec_get_profile(cg_runner_exec(r));
    for (const cg_batch *b;;) {
        double begun = cg_profile_begin(p);
        CG_TRY(cg_loader_next(l, &b));
        cg_profile_end(p, CG_WAITING, begun);
        if (!b) return CG_OK;
        CG_TRY(cg_runner_embed_images(r, b->image, b->n, out->row + out->n * out->width));
        memcpy(out->index + out->n, b->index, (size_t)b->n * sizeof *b->index);
        out->n += b->n;
    }
}

cg_status cg_embed_dataset(cg_runner *r, const cg_dataset *d, const cg_embed_options *o,
                           cg_embeddings *out, cg_loader_report *report) {
    cg_loader *l;
    cg_loader_options options = {.batch = o->batch,
                                 .workers = o->workers,
                                 .preprocess = o->preprocess,
                                 .need_caption = o->need_caption};
    *out = (cg_embeddings){.width = cg_runner_desc(r)->embed_dim};
    out->row = malloc((size_t)(d->size * out->width) * sizeof *out->row + 1);
    out->index = malloc((size_t)d->size * sizeof *out->index + 1);
    cg_status s = out->row && out->index
                      ? cg_loader_open(d, &options, 0, 0, &l)
                      : cg_error(CG_ENOMEM, "no memory for %" PRId64 " embeddings", d->size);
    if (s == CG_OK) {
        s = embed_batches(r, l, out);
        if (report) cg_loader_get_report(l, report);
        cg_loader_close(l);
    }
    if (s != CG_OK) cg_embeddings_free(out);
    return s;
}

enum { TEXTS = 256 }; /* captions embedded at a time */

cg_status cg_embed_texts(cg_runner *r, const cg_tokenizer *t, const char *const *text, int64_t n,
                         float **out, int64_t *truncated) {
    int limit = (int)cg_runner_desc(r)->text.context_length;
    int64_t width = cg_runner_desc(r)->embed_dim;
    int32_t *token = malloc((size_t)TEXTS * (size_t)limit * sizeof *token), offset[TEXTS + 1] = {0};
    *out = malloc((size_t)(n * width) * sizeof **out + 1);
    cg_status s = token && *out ? CG_OK : cg_error(CG_ENOMEM, "no memory to embed texts");
    if (truncated) *truncated = 0;
    for (int64_t i = 0; s == CG_OK && i < n;) {
        int64_t count = 0;
        for (; s == CG_OK && count < TEXTS && i + count < n; count++) {
            int used = 0, cut = 0;
            s = cg_tokenizer_encode(t, text[i + count], limit, token + offset[count], &used, &cut);
            offset[count + 1] = offset[count] + used;
            if (truncated) *truncated += cut;
        }
        if (s == CG_OK) s = cg_runner_embed_texts(r, token, offset, count, *out + i * width);
        i += count;
    }
    free(token);
    if (s != CG_OK) {
        free(*out);
        *out = NULL;
    }
    return s;
}
