/* PNG, in and out, by libspng: every bit depth and colour type, transparency by alpha or
 * palette or key colour, interlaced. 16 bits keep their high byte, as Pillow does. */
#include "data/decode.h"
#include "graph/file.h"

#include <spng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_MAX = 64 << 20 }; /* of one metadata chunk and of all together, unpacked */

static cg_status png_error(const cg_source *source, int code) {
    cg_status status = code == SPNG_EMEM ? CG_ENOMEM : CG_EFORMAT;
    const char *cut = code == SPNG_IO_EOF ? " (truncated)" : "";
    return cg_error(status, "%s: PNG: %s%s", source->name, spng_strerror(code), cut);
}

static uint32_t big_endian(const uint8_t *b) {
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* libspng does not ask for the last chunk, IEND; a file without it is truncated all the same. */
static cg_status check_end(const cg_source *source) {
    size_t at = 8;
    while (source->size - at >= 12) {
        size_t whole = 12 + (size_t)big_endian(source->bytes + at);
        if (whole > source->size - at) break;
        if (!memcmp(source->bytes + at + 4, "IEND", 4)) return CG_OK;
        at += whole;
    }
    return cg_error(CG_EFORMAT, "%s: PNG: no end (truncated)", source->name);
}

static int has_alpha(spng_ctx *png, const struct spng_ihdr *header) {
    struct spng_trns key;
    return header->color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA ||
           header->color_type == SPNG_COLOR_TYPE_TRUECOLOR_ALPHA || !spng_get_trns(png, &key);
}

static cg_status decode_pixels(const cg_source *source, spng_ctx *png, int width, int height,
                               int alpha, cg_image *out) {
    int channels = alpha ? 4 : 3, code;
    size_t bytes = 0;
    uint8_t *rgba = NULL;
    if (alpha)
        CG_TRY(cg_rgba_alloc(source->name, width, height, &rgba));
    else
        CG_TRY(cg_image_alloc(width, height, out));
    bytes = (size_t)width * (size_t)height * (size_t)channels;
    code = spng_decode_image(png, alpha ? rgba : out->rgb, bytes,
                             alpha ? SPNG_FMT_RGBA8 : SPNG_FMT_RGB8, alpha ? SPNG_DECODE_TRNS : 0);
    /* What follows the pixels counts too, and may hold the EXIF chunk. */
    if (!code) code = spng_decode_chunks(png);
    if (code) {
        free(rgba);
        cg_image_free(out);
        return png_error(source, code);
    }
    if (alpha) cg_image_from_rgba(rgba, width, height, out);
    return CG_OK;
}

static cg_status decode(const cg_source *source, spng_ctx *png, cg_image *out, int *orientation) {
    struct spng_ihdr header;
    /* Judged here first: libspng calls what overflows its own sizes malformed. */
    if (source->size >= 24)
        CG_TRY(cg_decode_check_size(source, big_endian(source->bytes + 16),
                                    big_endian(source->bytes + 20)));
    int code = spng_set_chunk_limits(png, CHUNK_MAX, CHUNK_MAX);
    if (!code) code = spng_set_png_buffer(png, source->bytes, source->size);
    if (!code) code = spng_get_ihdr(png, &header);
    if (code) return png_error(source, code);
    CG_TRY(check_end(source));
    int alpha = !source->drop_alpha && has_alpha(png, &header);
    CG_TRY(decode_pixels(source, png, (int)header.width, (int)header.height, alpha, out));
    struct spng_exif exif;
    if (!source->ignore_exif && !spng_get_exif(png, &exif))
        *orientation = cg_exif_orientation(exif.data, exif.length);
    return CG_OK;
}

cg_status cg_decode_png(const cg_source *source, cg_image *out, int *orientation) {
    *out = (cg_image){0};
    *orientation = 1;
    spng_ctx *png = spng_ctx_new(0);
    if (!png) return cg_error(CG_ENOMEM, "%s: no memory for a PNG decoder", source->name);
    cg_status status = decode(source, png, out, orientation);
    spng_ctx_free(png);
    return status;
}

/* Encodes into memory; *bytes is for the caller to free. */
static cg_status encode(const char *path, const cg_image *image, void **bytes, size_t *size) {
    spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
    if (!png) return cg_error(CG_ENOMEM, "%s: no memory for a PNG encoder", path);
    struct spng_ihdr header = {.width = (uint32_t)image->width,
                               .height = (uint32_t)image->height,
                               .bit_depth = 8,
                               .color_type = SPNG_COLOR_TYPE_TRUECOLOR};
    size_t pixels = (size_t)image->width * (size_t)image->height;
    int code = spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
    if (!code) code = spng_set_ihdr(png, &header);
    if (!code)
        code = spng_encode_image(png, image->rgb, 3 * pixels, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
    if (!code) *bytes = spng_get_png_buffer(png, size, &code);
    spng_ctx_free(png);
    if (!code) return CG_OK;
    return cg_error(code == SPNG_EMEM ? CG_ENOMEM : CG_EINVAL, "%s: PNG: %s", path,
                    spng_strerror(code));
}

cg_status cg_image_save_png(const char *path, const cg_image *image) {
    if (!image->rgb || image->width < 1 || image->height < 1)
        return cg_error(CG_EINVAL, "%s: a picture of %d x %d pixels cannot be saved", path,
                        image->width, image->height);
    void *bytes = NULL;
    size_t size = 0;
    CG_TRY(encode(path, image, &bytes, &size));
    cg_status status = cg_file_save(path, bytes, size);
    free(bytes);
    return status;
}
