/* EXIF orientation: reading it, and turning the picture as it asks. */
#include "data/decode.h"

#include <libexif/exif-data.h>
#include <stdlib.h>
#include <string.h>

enum { EXIF_MAX = 1 << 20 }; /* a camera's block is at most 64 KiB; more is not believed */

int cg_exif_orientation(const void *block, size_t size) {
    static const char mark[6] = "Exif\0";
    if (size < 8 || size > EXIF_MAX) return 1;
    /* libexif wants the mark of a JPEG's APP1, which PNG and (mostly) WebP leave out. */
    int marked = !memcmp(block, mark, 6);
    uint8_t *copy = NULL;
    if (!marked) {
        copy = malloc(size + 6);
        if (!copy) return 1;
        memcpy(copy, mark, 6);
        memcpy(copy + 6, block, size);
    }
    ExifData *exif = marked ? exif_data_new_from_data(block, (unsigned)size)
                            : exif_data_new_from_data(copy, (unsigned)size + 6);
    free(copy);
    int orientation = 1;
    ExifEntry *entry = exif ? exif_data_get_entry(exif, EXIF_TAG_ORIENTATION) : NULL;
    if (entry && entry->format == EXIF_FORMAT_SHORT && entry->components >= 1 && entry->size >= 2)
        orientation = exif_get_short(entry->data, exif_data_get_byte_order(exif));
    if (exif) exif_data_unref(exif);
    return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

/* How pixel (x, y) of the turned picture is found in the stored one. */
typedef struct turn {
    unsigned transpose : 1; /* rows are columns */
    unsigned mirror_x : 1;  /* the stored column counts from the right */
    unsigned mirror_y : 1;  /* the stored row counts from the bottom */
} turn;

cg_status cg_image_orient(cg_image *image, int orientation) {
    static const turn turns[9] = {
        [2] = {.mirror_x = 1},
        [3] = {.mirror_x = 1, .mirror_y = 1},
        [4] = {.mirror_y = 1},
        [5] = {.transpose = 1},
        [6] = {.transpose = 1, .mirror_y = 1},
        [7] = {.transpose = 1, .mirror_x = 1, .mirror_y = 1},
        [8] = {.transpose = 1, .mirror_x = 1},
    };
    if (orientation < 2 || orientation > 8) return CG_OK;
    turn t = turns[orientation];
    cg_image turned;
    CG_TRY(cg_image_alloc(t.transpose ? image->height : image->width,
                          t.transpose ? image->width : image->height, &turned));
    ptrdiff_t width = image->width, height = image->height;
    ptrdiff_t step_x = t.mirror_x ? -3 : 3, step_y = (t.mirror_y ? -3 : 3) * width;
    const uint8_t *origin =
        image->rgb + 3 * ((t.mirror_y ? height - 1 : 0) * width + (t.mirror_x ? width - 1 : 0));
    uint8_t *to = turned.rgb;
    for (ptrdiff_t y = 0; y < turned.height; y++) {
        for (ptrdiff_t x = 0; x < turned.width; x++, to += 3) {
            const uint8_t *from =
                origin + (t.transpose ? y * step_x + x * step_y : x * step_x + y * step_y);
            memcpy(to, from, 3);
        }
    }
    cg_image_free(image);
    *image = turned;
    return CG_OK;
}
