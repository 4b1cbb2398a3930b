/* Pictures: decoding to 8-bit RGB. PNG, JPEG and WebP are told apart by their content. */
#ifndef CG_DATA_IMAGE_H
#define CG_DATA_IMAGE_H

#include "graph/status.h"

#include <stddef.h>
#include <stdint.h>

CG_API_BEGIN

/* Rows from top to bottom, RGB interleaved, no padding. rgb is owned: cg_image_free. */
typedef struct cg_image {
    int width, height;
    uint8_t *rgb; /* [height][width][3] */
} cg_image;

typedef struct cg_decode_options {
    int64_t max_pixels; /* width × height by the header; more is CG_EUNSUPPORTED. 0: 100 million */
    int ignore_exif;    /* keep the stored orientation, as the reference libraries do */
    int drop_alpha;     /* drop the alpha channel instead of compositing on white */
} cg_decode_options;

/* Decodes a whole file held in memory. `name` stands in messages (a path, say).
 * errors  CG_EFORMAT: not a picture of a known kind, truncated, damaged.
 *         CG_EUNSUPPORTED: too many pixels by the header, judged before decoding */
cg_status cg_image_decode(const char *name, const void *bytes, size_t size,
                          const cg_decode_options *options, cg_image *out);

/* Reads and decodes a file. options may be NULL (all defaults). errors also CG_EIO */
cg_status cg_image_load(const char *path, const cg_decode_options *options, cg_image *out);

cg_status cg_image_alloc(int width, int height, cg_image *out);
void cg_image_free(cg_image *image); /* and zeroes it */

/* Writes an 8-bit RGB PNG, atomically. */
cg_status cg_image_save_png(const char *path, const cg_image *image);

CG_API_END

#endif
