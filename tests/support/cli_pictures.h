/* Pictures in the folder where the program runs, and a model trained on such for a few steps. */
#ifndef CG_TEST_CLI_PICTURES_H
#define CG_TEST_CLI_PICTURES_H

#include "data/image.h"
#include "tests/support/cli.h"

/* A disc, or a square, in one colour on white; the caller frees it by cg_image_free. */
typedef struct drawing {
    uint8_t colour[3];
    int square;
} drawing;
cg_image draw(const drawing *s, int width, int height);

/* Saves a picture as NAME.png, and frees it. */
void save_picture(const char *name, cg_image *image);

/* Of a group of tests: a folder with
 *     photos/             a-red, b-blue, c-green and d-black.png
 *     mixed/              whole.png, and cut.png, which is cut short
 *     cut.png, notes.png  cut short, and no picture
 *     empty/              nothing
 *     labels.txt          red circle, blue square; none.txt: no line that is not empty
 *     table.tsv           b-blue.png, one that is missing, a-red.png
 *     logs/tiny           a tiny-resnet-cbow, width 32 */
int make_folder_with_model(void **state);
#define TINY_RUN "--checkpoint logs/tiny "
enum { TINY_WIDTH = 32, PHOTOS = 4 };

#endif
