#include "tests/support/cli_pictures.h"

#include <string.h>

cg_image draw(const drawing *s, int width, int height) {
    cg_image image;
    ok(cg_image_alloc(width, height, &image));
    memset(image.rgb, 255, (size_t)width * (size_t)height * 3);
    for (int y = 6; y < 26; y++)
        for (int x = 10; x < 30; x++)
            if (s->square || (x - 20) * (x - 20) + (y - 16) * (y - 16) <= 100)
                memcpy(image.rgb + 3 * (y * width + x), s->colour, 3);
    return image;
}

void save_picture(const char *name, cg_image *image) {
    ok(cg_image_save_png(in_folder(name), image));
    cg_image_free(image);
}

int make_folder_with_model(void **state) {
    static const struct {
        const char *name;
        drawing drawing;
    } pictures[] = {
        {"photos/a-red.png", {{220, 30, 30}, 0}},   {"photos/b-blue.png", {{30, 30, 220}, 1}},
        {"photos/c-green.png", {{30, 200, 30}, 0}}, {"photos/d-black.png", {{0, 0, 0}, 1}},
        {"mixed/whole.png", {{220, 30, 30}, 0}},
    };
    if (make_folder(state) != 0) return -1;
    shell("mkdir photos empty mixed");
    for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
        cg_image image = draw(&pictures[i].drawing, 40, 32);
        save_picture(pictures[i].name, &image);
    }
    shell("head -c 90 mixed/whole.png >cut.png && cp cut.png mixed");
    write_text("notes.png", "this is no picture, whatever its name says\n");
    write_text("labels.txt", "\xef\xbb\xbfred circle\r\n\nblue square\n");
    write_text("none.txt", "\n\n");
    write_text("table.tsv", "filepath\ttitle\nphotos/b-blue.png\ta blue square\n"
                            "photos/missing.png\tnothing\nphotos/a-red.png\ta red circle\n");
    succeeds("train --dataset-type synthetic --train-num-samples 16 --model tiny-resnet-cbow "
             "--batch-size 8 --epochs 1 --name tiny --threads 2");
    return 0;
}
