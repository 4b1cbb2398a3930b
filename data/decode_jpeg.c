/* JPEG by libjpeg-turbo: baseline and progressive, grey, YCbCr, RGB, CMYK and YCCK, with the
 * accurate transform and smooth chroma upsampling, as Pillow has them. */
#include "data/decode.h"

#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

static int contains(const char *text, const char *part) {
    return strstr(text, part) != NULL;
}

static cg_status jpeg_error(const cg_source *source, tjhandle jpeg) {
    const char *text = tjGetErrorStr2(jpeg);
    cg_status status = contains(text, "nsupported") ? CG_EUNSUPPORTED : CG_EFORMAT;
    if (contains(text, "emory")) status = CG_ENOMEM;
    const char *cut = contains(text, "remature end of JPEG") ? " (truncated)" : "";
    return cg_error(status, "%s: JPEG: %s%s", source->name, text, cut);
}

/* The first APP1 segment that holds EXIF, searched from marker to marker up to the scan. */
static int exif_orientation(const uint8_t *bytes, size_t size) {
    size_t at = 2;
    while (at + 4 <= size && bytes[at] == 0xff) {
        uint8_t marker = bytes[at + 1];
        if (marker == 0xff) { /* fill byte */
            at++;
            continue;
        }
        if (marker == 0xda || marker == 0xd9) break;
        size_t length = (size_t)bytes[at + 2] << 8 | bytes[at + 3]; /* counts its own 2 bytes */
        if (length < 2 || at + 2 + length > size) break;
        if (marker == 0xe1 && length >= 8 && !memcmp(bytes + at + 4, "Exif\0", 6))
            return cg_exif_orientation(bytes + at + 4, length - 2);
        at += 2 + length;
    }
    return 1;
}

/* Decodes to the given format. libjpeg goes on after damage with a warning and grey pixels;
 * to us that is an error. Bytes too many between segments do not touch the pixels and are
 * common in the wild (Pillow takes them too). */
static cg_status decode_into(const cg_source *source, tjhandle jpeg, int width, int height,
                             int format, uint8_t *pixels) {
    if (!tjDecompress2(jpeg, source->bytes, (unsigned long)source->size, pixels, width, 0, height,
                       format, TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS))
        return CG_OK;
    if (tjGetErrorCode(jpeg) == TJERR_WARNING && contains(tjGetErrorStr2(jpeg), "extraneous bytes"))
        return CG_OK;
    return jpeg_error(source, jpeg);
}

/* a·b/255, rounded */
static uint8_t scale255(unsigned a, unsigned b) {
    unsigned t = a * b + 128;
    return (uint8_t)((t + (t >> 8)) >> 8);
}

/* CMYK files are taken as Adobe writes them, inverted (255: no ink): all in the wild are, and
 * Pillow does the same. The ink left out of white then is a product. */
static cg_status decode_cmyk(const cg_source *source, tjhandle jpeg, int width, int height,
                             cg_image *out) {
    uint8_t *cmyk;
    CG_TRY(cg_rgba_alloc(source->name, width, height, &cmyk));
    cg_status status = decode_into(source, jpeg, width, height, TJPF_CMYK, cmyk);
    if (status == CG_OK) status = cg_image_alloc(width, height, out);
    if (status == CG_OK) {
        size_t pixels = (size_t)width * (size_t)height;
        for (size_t i = 0; i < pixels; i++) {
            for (int c = 0; c < 3; c++) {
                unsigned black = cmyk[4 * i + 3], ink = 255u - cmyk[4 * i + (size_t)c];
                out->rgb[3 * i + (size_t)c] = (uint8_t)(black - scale255(ink, black));
            }
        }
    }
    free(cmyk);
    return status;
}

static cg_status decode(const cg_source *source, tjhandle jpeg, cg_image *out) {
    int width = 0, height = 0, subsampling = 0, colorspace = -1;
    int failed = tjDecompressHeader3(jpeg, source->bytes, (unsigned long)source->size, &width,
                                     &height, &subsampling, &colorspace);
    /* An unusual subsampling fails here and yet decodes: go on where the header was read. */
    if (failed && (width < 1 || height < 1 || colorspace < 0)) return jpeg_error(source, jpeg);
    CG_TRY(cg_decode_check_size(source, width, height));
    if (colorspace == TJCS_CMYK || colorspace == TJCS_YCCK)
        return decode_cmyk(source, jpeg, width, height, out);
    CG_TRY(cg_image_alloc(width, height, out));
    cg_status status = decode_into(source, jpeg, width, height, TJPF_RGB, out->rgb);
    if (status != CG_OK) cg_image_free(out);
    return status;
}

cg_status cg_decode_jpeg(const cg_source *source, cg_image *out, int *orientation) {
    *out = (cg_image){0};
    *orientation = 1;
    tjhandle jpeg = tjInitDecompress();
    if (!jpeg) return cg_error(CG_ENOMEM, "%s: no memory for a JPEG decoder", source->name);
    cg_status status = decode(source, jpeg, out);
    tjDestroy(jpeg);
    if (status == CG_OK && !source->ignore_exif)
        *orientation = exif_orientation(source->bytes, source->size);
    return status;
}
