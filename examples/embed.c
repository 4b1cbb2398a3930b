/* embed: embeds a picture, and says how near a text is to it.
 *
 *     embed CHECKPOINT PICTURE [TEXT]
 *
 * CHECKPOINT is a folder: one checkpoint, or a run of `clipgraph train`, whose newest is taken. */
#include <clipgraph.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static double dot(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* A file's picture as the model reads it: decoded, resized, normalised; [size, size, 3]. The caller
 * frees it. For many pictures, and on several threads, there is cg_embed_dataset. */
static cg_status load_pixels(const cg_model *m, const char *path, float **out) {
    cg_image image;
    size_t side = (size_t)m->preprocess.size;
    CG_TRY(cg_image_load(path, NULL, &image));
    *out = malloc(side * side * 3 * sizeof **out);
    cg_status s = *out ? cg_preprocess_image(&image, &m->preprocess, *out)
                       : cg_error(CG_ENOMEM, "no memory for a picture");
    cg_image_free(&image);
    return s;
}

static cg_status embed(cg_model *m, const float *pixels, float *row) {
    int64_t width = cg_runner_desc(m->runner)->embed_dim;
    CG_TRY(cg_runner_embed_images(m->runner, pixels, 1, row));
    printf("%lld numbers:", (long long)width);
    for (int64_t i = 0; i < width && i < 6; i++) printf(" %.5f", (double)row[i]);
    printf(" …\nlength %.6f\n", sqrt(dot(row, row, width))); /* rows are unit vectors */
    return CG_OK;
}

/* Both are unit vectors in one space, so their product is the cosine of their angle. */
static cg_status compare(cg_model *m, const float *picture, const char *text) {
    float *row;
    CG_TRY(cg_embed_texts(m->runner, m->tokenizer, &text, 1, &row, NULL));
    printf("cosine %.4f  \"%s\"\n", dot(picture, row, cg_runner_desc(m->runner)->embed_dim), text);
    free(row);
    return CG_OK;
}

static cg_status run(cg_model *m, const char *path, const char *text) {
    float *pixels = NULL;
    float *row = malloc((size_t)cg_runner_desc(m->runner)->embed_dim * sizeof *row);
    cg_status s = row ? load_pixels(m, path, &pixels) : cg_error(CG_ENOMEM, "no memory for a row");
    if (s == CG_OK) s = embed(m, pixels, row);
    if (s == CG_OK && text) s = compare(m, row, text);
    free(row);
    free(pixels);
    return s;
}

int main(int argc, char **argv) {
    cg_model m;
    if (argc < 3 || argc > 4) return fprintf(stderr, "usage: embed CHECKPOINT PICTURE [TEXT]\n"), 2;
    cg_status s = cg_model_load(argv[1], 0, &m); /* 0: a thread for each processor */
    if (s == CG_OK) s = run(&m, argv[2], argv[3]);
    if (s != CG_OK) fprintf(stderr, "embed: %s\n", cg_error_message());
    cg_model_free(&m); /* empty where loading failed */
    return s == CG_OK ? 0 : 1;
}
