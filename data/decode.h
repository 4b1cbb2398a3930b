/* What the decoders share; private to data/. */
#ifndef CG_DATA_DECODE_H
#define CG_DATA_DECODE_H

#include "data/image.h"

/* One file in memory, and what is asked of its decoding. Borrowed for the call. */
typedef struct cg_source {
    const char *name; /* stands in messages */
    const uint8_t *bytes;
    size_t size;
    int64_t max_pixels;
    int ignore_exif, drop_alpha;
} cg_source;

/* Each decodes a file of its kind whole, alpha done with, as it is stored; *orientation is
 * its EXIF orientation, 1 … 8 (1 where there is none or it is not asked for).
 * On failure out holds nothing and the message names the file. */
cg_status cg_decode_png(const cg_source *source, cg_image *out, int *orientation);
cg_status cg_decode_jpeg(const cg_source *source, cg_image *out, int *orientation);
cg_status cg_decode_webp(const cg_source *source, cg_image *out, int *orientation);

/* Judges the size a header claims. errors  CG_EFORMAT: a side of 0; CG_EUNSUPPORTED: too big */
cg_status cg_decode_check_size(const cg_source *source, int64_t width, int64_t height);

/* Room for width × height × 4 bytes. owned by the caller. errors  CG_ENOMEM */
cg_status cg_rgba_alloc(const char *name, int width, int height, uint8_t **out);

/* Turns RGBA into the picture, composited on white. Takes rgba over, also when it fails. */
void cg_image_from_rgba(uint8_t *rgba, int width, int height, cg_image *out);

/* The orientation in an EXIF block (TIFF, with or without "Exif\0\0" in front); 1 if none. */
int cg_exif_orientation(const void *block, size_t size);

/* Turns the picture as an EXIF orientation of 1 … 8 asks. */
cg_status cg_image_orient(cg_image *image, int orientation);

#endif
