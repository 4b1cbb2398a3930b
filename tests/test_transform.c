/* labels: unit */
/* Resizing and preprocessing against Pillow, bit for bit (tests/golden/image/, made by
 * tools/make_image_golden.py), shapes at the limit, refusals. */
#include "data/transform.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define GOLDEN CG_SOURCE_DIR "/tests/golden/image/"

static void assert_message_has(const char *part) {
    if (!strstr(cg_error_message(), part))
        fail_msg("the message \"%s\" lacks \"%s\"", cg_error_message(), part);
}

/* The sources of the golden results; `pattern` in tools/make_image_golden.py is the same. */
static cg_image pattern(int width, int height) {
    cg_image image;
    assert_int_equal(cg_image_alloc(width, height, &image), CG_OK);
    uint8_t *to = image.rgb;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                *to++ = (uint8_t)((x * x * (c + 3) + y * y * 5 + x * y * 7 + c * 160) / 4 % 256);
    return image;
}

static uint8_t *unhex(const char *text, size_t n) {
    uint8_t *out = malloc(n);
    assert_non_null(out);
    for (size_t i = 0; i < n; i++) {
        unsigned value;
        assert_int_equal(sscanf(text + 2 * i, "%2x", &value), 1);
        out[i] = (uint8_t)value;
    }
    return out;
}

static int for_each_line(const char *path, void (*check)(const char *line)) {
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("cannot read %s", path);
    char *line = NULL;
    size_t room = 0;
    int cases = 0;
    while (getline(&line, &room, file) > 0) {
        if (line[0] == '#') continue;
        check(line);
        cases++;
    }
    free(line);
    fclose(file);
    return cases;
}

static cg_interpolation interpolation_of(const char *name) {
    assert_true(!strcmp(name, "bicubic") || !strcmp(name, "bilinear"));
    return strcmp(name, "bicubic") ? CG_BILINEAR : CG_BICUBIC;
}

static void check_resize(const char *line) {
    char filter[16];
    float box[4];
    int w, h, width, height, at = 0;
    assert_int_equal(sscanf(line, "%d %d %15s %f %f %f %f %d %d %n", &w, &h, filter, &box[0],
                            &box[1], &box[2], &box[3], &width, &height, &at),
                     9);
    size_t n = 3 * (size_t)width * (size_t)height;
    uint8_t *wanted = unhex(line + at, n);
    cg_image in = pattern(w, h), out;
    assert_int_equal(cg_resize_box(&in, box, width, height, interpolation_of(filter), &out), CG_OK);
    assert_int_equal(out.width, width);
    assert_int_equal(out.height, height);
    if (memcmp(out.rgb, wanted, n) != 0) fail_msg("differs from Pillow: %.60s", line);
    cg_image_free(&out);
    if (box[0] == 0 && box[1] == 0 && box[2] == (float)w && box[3] == (float)h) {
        assert_int_equal(cg_resize(&in, width, height, interpolation_of(filter), &out), CG_OK);
        assert_memory_equal(out.rgb, wanted, n);
        cg_image_free(&out);
    }
    cg_image_free(&in);
    free(wanted);
}

static void test_resize_golden(void **state) {
    (void)state;
    assert_in_range(for_each_line(GOLDEN "resize.txt", check_resize), 30, 1000);
}

static void check_preprocess(const char *line) {
    char mode[16], filter[16];
    int w, h, size, at = 0;
    assert_int_equal(sscanf(line, "%d %d %15s %15s %d %n", &w, &h, mode, filter, &size, &at), 5);
    cg_preprocess p = cg_preprocess_default();
    p.size = size;
    p.interpolation = interpolation_of(filter);
    p.resize_mode = !strcmp(mode, "shortest")  ? CG_RESIZE_SHORTEST
                    : !strcmp(mode, "longest") ? CG_RESIZE_LONGEST
                                               : CG_RESIZE_SQUASH;
    memcpy(p.fill, (const uint8_t[3]){10, 120, 230}, 3);
    size_t n = 3 * (size_t)size * (size_t)size;
    uint8_t *wanted = unhex(line + at, n);
    float *out = malloc(n * sizeof *out);
    assert_non_null(out);
    cg_image in = pattern(w, h), back;
    assert_int_equal(cg_preprocess_image(&in, &p, out), CG_OK);
    for (size_t i = 0; i < n; i++) {
        float value = ((float)wanted[i] / 255.0f - p.mean[i % 3]) / p.std[i % 3];
        if (out[i] != value)
            fail_msg("%.40s: number %zu is %g, wanted %g", line, i, (double)out[i], (double)value);
    }
    assert_int_equal(cg_preprocess_undo(out, &p, &back), CG_OK);
    assert_int_equal(back.width, size);
    assert_memory_equal(back.rgb, wanted, n);
    cg_image_free(&back);
    cg_image_free(&in);
    free(out);
    free(wanted);
}

static void test_preprocess_golden(void **state) {
    (void)state;
    assert_in_range(for_each_line(GOLDEN "preprocess.txt", check_preprocess), 30, 1000);
}

static void test_extreme_shapes(void **state) {
    (void)state;
    static const int shapes[][2] = {{1, 1}, {1, 3000}, {3000, 1}, {2, 1}};
    cg_preprocess p = cg_preprocess_default();
    p.size = 8;
    float out[8 * 8 * 3];
    for (size_t i = 0; i < 4; i++) {
        for (int mode = CG_RESIZE_SHORTEST; mode <= CG_RESIZE_SQUASH; mode++) {
            p.resize_mode = (cg_resize_mode)mode;
            cg_image in = pattern(shapes[i][0], shapes[i][1]);
            out[8 * 8 * 3 - 1] = NAN;
            assert_int_equal(cg_preprocess_image(&in, &p, out), CG_OK);
            for (int k = 0; k < 8 * 8 * 3; k++) assert_true(isfinite(out[k]));
            cg_image_free(&in);
        }
    }
}

static void test_errors(void **state) {
    (void)state;
    cg_image in = pattern(5, 4), out, none = {0};
    assert_int_equal(cg_resize(&in, 0, 4, CG_BICUBIC, &out), CG_EINVAL);
    assert_null(out.rgb);
    assert_message_has("0 x 4");
    assert_int_equal(cg_resize(&in, 4, -1, CG_BICUBIC, &out), CG_EINVAL);
    assert_int_equal(cg_resize(&none, 4, 4, CG_BICUBIC, &out), CG_EINVAL);
    assert_int_equal(cg_resize(&in, 4, 4, (cg_interpolation)7, &out), CG_EINVAL);
    assert_int_equal(cg_resize(&in, INT_MAX, INT_MAX, CG_BICUBIC, &out), CG_ENOMEM);
    assert_null(out.rgb);
    static const float boxes[][4] = {
        {-1, 0, 5, 4}, {0, 0, 5.5f, 4}, {0, 0, 5, 4.5f}, {2, 0, 2, 4}, {0, 3, 5, 1}, {NAN, 0, 5, 4},
    };
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++)
        assert_int_equal(cg_resize_box(&in, boxes[i], 3, 3, CG_BICUBIC, &out), CG_EINVAL);

    float pixels[8 * 8 * 3];
    cg_preprocess good = cg_preprocess_default(), p;
    good.size = 8;
    assert_int_equal(cg_preprocess_image(&none, &good, pixels), CG_EINVAL);
    p = good, p.size = 0;
    assert_int_equal(cg_preprocess_image(&in, &p, pixels), CG_EINVAL);
    assert_message_has("size is 0");
    p = good, p.size = INT_MAX;
    assert_int_equal(cg_preprocess_image(&in, &p, pixels), CG_EINVAL);
    p = good, p.std[1] = 0;
    assert_int_equal(cg_preprocess_undo(pixels, &p, &out), CG_EINVAL);
    assert_message_has("channel 1");
    p = good, p.resize_mode = (cg_resize_mode)3;
    assert_int_equal(cg_preprocess_image(&in, &p, pixels), CG_EINVAL);

    static const struct {
        const char *name;
        cg_augment augment;
    } wrong[] = {
        {"scale_min", {.scale_max = 1}},     {"scale_max", {.scale_min = 1, .scale_max = 0.5}},
        {"ratio", {.ratio = 0.5}},           {"shift", {.shift = -1}},
        {"rotation", {.rotation = 181}},     {"gain", {.gain = NAN}},
        {"saturation", {.saturation = 1.5}}, {"flip", {.flip = 2}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cg_rng r = cg_rng_at(1, CG_RNG_AUGMENT, 0, 0);
        assert_int_equal(cg_augment_image(&in, &good, &wrong[i].augment, &r, pixels), CG_EINVAL);
        assert_message_has(wrong[i].name);
    }
    cg_image_free(&in);
}

static void test_undo_clips(void **state) {
    (void)state;
    cg_preprocess p = cg_preprocess_default();
    p.size = 1;
    const float pixels[3] = {1e30f, -INFINITY, NAN};
    cg_image out;
    assert_int_equal(cg_preprocess_undo(pixels, &p, &out), CG_OK);
    assert_int_equal(out.rgb[0], 255);
    assert_int_equal(out.rgb[1], 0);
    assert_int_equal(out.rgb[2], 0);
    cg_image_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resize_golden),  cmocka_unit_test(test_preprocess_golden),
        cmocka_unit_test(test_extreme_shapes), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_undo_clips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
