/* deploy: an exported image tower in a small program of its own: no checkpoint, no decoder, no
 * JSON.
 *
 *     clipgraph export --checkpoint CHECKPOINT --what image --preprocess --out image
 *     deploy image/model.onnx PICTURE.ppm       or - for standard input
 *
 * prints the embedding, a number a line. The picture is a binary PPM (P6, 8 bits a colour), as
 * `djpeg`, `pngtopnm` and `convert picture.webp ppm:-` write it, of any size: the file prepares it.
 * Of an exported classifier the numbers are the probabilities of its labels, in their order. */
#include <clipgraph.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The next number of a PPM's header; a comment goes from # to the end of its line. */
static long header_number(FILE *f) {
    long n = 0;
    int c = getc(f), digits = 0;
    while (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '#') {
        while (c == '#' && (c = getc(f)) != '\n' && c != EOF) c = '#';
        c = getc(f);
    }
    for (; c >= '0' && c <= '9' && n < 1000000; c = getc(f), digits++) n = 10 * n + c - '0';
    return digits ? n : -1; /* the one character behind it is read, too */
}

/* The pixels [height, width, 3] of a picture; the caller frees them. NULL: it is no such file. */
static unsigned char *read_ppm(FILE *f, long *width, long *height) {
    char magic[2];
    if (fread(magic, 1, 2, f) != 2 || memcmp(magic, "P6", 2) != 0) return NULL;
    *width = header_number(f);
    *height = header_number(f);
    if (*width < 1 || *height < 1 || *width > 65535 || *height > 65535 || header_number(f) != 255)
        return NULL;
    size_t bytes = (size_t)*width * (size_t)*height * 3;
    unsigned char *pixels = malloc(bytes);
    if (pixels && fread(pixels, 1, bytes, f) == bytes) return pixels;
    free(pixels);
    return NULL;
}

static cg_status embed(cg_onnx_session *s, const unsigned char *pixels, long width, long height) {
    cg_tensor in = {"pixels", CG_U8, CG_SHAPE(1, height, width, 3), pixels,
                    (size_t)width * (size_t)height * 3};
    cg_tensor out = {.name = NULL}; /* the file's first, whatever it is called */
    CG_TRY(cg_onnx_session_run(s, &in, 1, &out, 1));
    const float *row = out.data;
    for (int64_t i = 0; i < cg_shape_count(&out.shape); i++) printf("%.7f\n", (double)row[i]);
    return CG_OK;
}

int main(int argc, char **argv) {
    cg_context *ctx = NULL;
    cg_onnx_session *s = NULL;
    long width, height;
    if (argc != 3) return fprintf(stderr, "usage: deploy MODEL.onnx PICTURE.ppm|-\n"), 2;
    FILE *f = strcmp(argv[2], "-") == 0 ? stdin : fopen(argv[2], "rb");
    if (!f) return perror(argv[2]), 1;
    unsigned char *pixels = read_ppm(f, &width, &height);
    if (!pixels)
        return fprintf(stderr, "deploy: %s: not a binary PPM that can be read\n", argv[2]), 1;
    cg_status status = cg_context_create(0, &ctx); /* 0: a thread for each processor */
    if (status == CG_OK) status = cg_onnx_session_create(ctx, argv[1], NULL, &s);
    if (status == CG_OK) status = embed(s, pixels, width, height);
    if (status != CG_OK) fprintf(stderr, "deploy: %s\n", cg_error_message());
    cg_onnx_session_free(s);
    cg_context_free(ctx);
    free(pixels);
    if (f && f != stdin) fclose(f);
    return status == CG_OK ? 0 : 1;
}
