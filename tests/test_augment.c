/* labels: unit */
/* Augmentation: that it is repeatable, and that its geometry and colours are what was asked. */
#include "data/transform.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

/* Ramps that wrap around: smooth parts and hard edges. */
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

enum { SIZE = 32 };
typedef float square[SIZE][SIZE][3];

/* Numbers of 0 … 255 come out as they are. */
static cg_preprocess plain(cg_resize_mode mode) {
    return (cg_preprocess){
        .size = SIZE,
        .resize_mode = mode,
        .std = {1 / 255.0f, 1 / 255.0f, 1 / 255.0f},
        .fill = {10, 120, 230},
    };
}

static const cg_augment everything = {
    .scale_min = 0.6,
    .scale_max = 1.4,
    .ratio = 1.2,
    .shift = 0.1,
    .rotation = 20,
    .gain = 0.2,
    .saturation = 0.5,
    .flip = 0.5,
};

static void augment(const cg_image *in, const cg_preprocess *p, const cg_augment *a,
                    uint64_t sample, square out) {
    cg_rng r = cg_rng_at(1, CG_RNG_AUGMENT, 0, sample);
    if (cg_augment_image(in, p, a, &r, &out[0][0][0]) != CG_OK) fail_msg("%s", cg_error_message());
}

static void test_augment_nothing(void **state) {
    (void)state;
    cg_image in = pattern(41, 57);
    for (int mode = CG_RESIZE_SHORTEST; mode <= CG_RESIZE_SQUASH; mode++) {
        cg_preprocess p = cg_preprocess_default();
        p.size = SIZE;
        p.resize_mode = (cg_resize_mode)mode;
        square wanted, out;
        assert_int_equal(cg_preprocess_image(&in, &p, &wanted[0][0][0]), CG_OK);
        const cg_augment none = {0}, mirror = {.flip = 1}, ratio1 = {.ratio = 1};
        augment(&in, &p, &none, 0, out);
        assert_memory_equal(out, wanted, sizeof out);
        augment(&in, &p, &ratio1, 0, out);
        assert_memory_equal(out, wanted, sizeof out);
        augment(&in, &p, &mirror, 0, out);
        for (int y = 0; y < SIZE; y++)
            for (int x = 0; x < SIZE; x++)
                assert_memory_equal(out[y][x], wanted[y][SIZE - 1 - x], sizeof out[y][x]);
    }
    cg_image_free(&in);
}

static void test_augment_repeats(void **state) {
    (void)state;
    cg_image in = pattern(64, 48);
    cg_preprocess p = plain(CG_RESIZE_SHORTEST);
    square a, b;
    for (uint64_t sample = 0; sample < 20; sample++) {
        augment(&in, &p, &everything, sample, a);
        augment(&in, &p, &everything, sample, b);
        assert_memory_equal(a, b, sizeof a);
        augment(&in, &p, &everything, sample + 1000, b);
        assert_memory_not_equal(a, b, sizeof a);
    }
    cg_image_free(&in);
}

/* Whatever is asked for, the stream stands at the same place afterwards. */
static void test_augment_draws(void **state) {
    (void)state;
    cg_image in = pattern(20, 20);
    cg_preprocess p = plain(CG_RESIZE_SQUASH);
    const cg_augment none = {0};
    square out;
    cg_rng a = cg_rng_at(3, CG_RNG_AUGMENT, 0, 0), b = a;
    assert_int_equal(cg_augment_image(&in, &p, &none, &a, &out[0][0][0]), CG_OK);
    assert_int_equal(cg_augment_image(&in, &p, &everything, &b, &out[0][0][0]), CG_OK);
    assert_int_equal(cg_rng_u32(&a), cg_rng_u32(&b));
    cg_image_free(&in);
}

/* Red tells the column and green the row from which a pixel came. */
static cg_image ramp(int side) {
    cg_image image;
    assert_int_equal(cg_image_alloc(side, side, &image), CG_OK);
    for (int y = 0; y < side; y++) {
        for (int x = 0; x < side; x++) {
            uint8_t *to = image.rgb + (ptrdiff_t)3 * (y * side + x);
            to[0] = (uint8_t)(2 * x);
            to[1] = (uint8_t)(2 * y);
            to[2] = 0;
        }
    }
    return image;
}

/* The inverse map, read off the middle of the result: pixels of the picture per pixel. */
typedef struct map {
    double dx[2], dy[2];
} map;

static map map_of(square out) {
    const int from = SIZE / 4, to = 3 * SIZE / 4;
    map m;
    for (int c = 0; c < 2; c++) {
        m.dx[c] = (double)(out[SIZE / 2][to][c] - out[SIZE / 2][from][c]) / 2 / (to - from);
        m.dy[c] = (double)(out[to][SIZE / 2][c] - out[from][SIZE / 2][c]) / 2 / (to - from);
    }
    return m;
}

static void test_augment_rotation(void **state) {
    (void)state;
    cg_image in = ramp(120);
    cg_preprocess p = plain(CG_RESIZE_SHORTEST);
    double least = 0, most = 0;
    for (uint64_t sample = 0; sample < 200; sample++) {
        const cg_augment a = {.rotation = 15, .flip = sample % 2};
        square out;
        augment(&in, &p, &a, sample, out);
        map m = map_of(out);
        double side = a.flip != 0 ? -1 : 1;
        double angle = atan2(side * m.dx[1], side * m.dx[0]) * 180 / 3.14159265358979;
        assert_true(fabs(angle) < 15.3);
        least = fmin(least, angle);
        most = fmax(most, angle);
        /* A rotation, mirrored or not, of the whole picture onto the square. */
        double step = 120.0 / SIZE;
        assert_true(fabs(hypot(m.dx[0], m.dx[1]) - step) < 0.05);
        assert_true(fabs(hypot(m.dy[0], m.dy[1]) - step) < 0.05);
        assert_true(fabs(m.dx[0] * m.dy[1] - m.dx[1] * m.dy[0] - side * step * step) < 0.3);
        /* around the middle */
        double x = (out[15][15][0] + out[16][16][0]) / 4.0,
               y = (out[15][15][1] + out[16][16][1]) / 4.0;
        assert_true(fabs(x - 59.5) < 0.6 && fabs(y - 59.5) < 0.6);
    }
    assert_true(least < -14 && most > 14);
    cg_image_free(&in);
}

/* As RandomResizedCrop: area and aspect within the ranges, never outside the picture. */
static void test_augment_crop(void **state) {
    (void)state;
    cg_image in = ramp(120);
    cg_preprocess p = plain(CG_RESIZE_SHORTEST);
    const cg_augment a = {.scale_min = 0.25, .scale_max = 0.5, .ratio = 4.0 / 3};
    double smallest = 1, largest = 0, left = 1e9, right = 0;
    for (uint64_t sample = 0; sample < 300; sample++) {
        square out;
        augment(&in, &p, &a, sample, out);
        map m = map_of(out);
        double w = m.dx[0] * SIZE, h = m.dy[1] * SIZE, area = w * h / (120 * 120);
        assert_true(area > 0.24 && area < 0.51 && w / h > 0.73 && w / h < 1.36);
        assert_true(fabs(m.dx[1]) < 0.01 && fabs(m.dy[0]) < 0.01);
        smallest = fmin(smallest, area);
        largest = fmax(largest, area);
        left = fmin(left, (double)out[8][0][0]);
        right = fmax(right, (double)out[8][SIZE - 1][0]);
        for (int i = 0; i < SIZE; i++) assert_true(out[i][0][2] == 0 && out[0][i][2] == 0);
    }
    assert_true(smallest < 0.27 && largest > 0.48 && left < 10 && right > 228);
    cg_image_free(&in);
}

static int is_fill(const float pixel[3]) {
    return fabsf(pixel[0] - 10) < 0.01f && fabsf(pixel[1] - 120) < 0.01f &&
           fabsf(pixel[2] - 230) < 0.01f;
}

/* A crop that does not fit a flat picture is shrunk: the centre square, as preprocessing. */
static void test_augment_flat(void **state) {
    (void)state;
    cg_image in = pattern(96, 32);
    cg_preprocess p = plain(CG_RESIZE_SHORTEST);
    const cg_augment a = {.scale_min = 1, .scale_max = 1};
    square out;
    for (uint64_t sample = 0; sample < 20; sample++) {
        augment(&in, &p, &a, sample, out);
        for (int i = 0; i < SIZE; i++) assert_false(is_fill(out[i][0]) || is_fill(out[0][i]));
    }
    cg_image_free(&in);
}

/* Four times the area: the picture fills a quarter, the rest is exactly the fill colour. */
static void test_augment_zoom_out(void **state) {
    (void)state;
    cg_image in;
    assert_int_equal(cg_image_alloc(64, 64, &in), CG_OK);
    memset(in.rgb, 255, 64 * 64 * 3);
    cg_preprocess p = plain(CG_RESIZE_SHORTEST);
    const cg_augment a = {.scale_min = 4, .scale_max = 4};
    for (uint64_t sample = 0; sample < 20; sample++) {
        square out;
        augment(&in, &p, &a, sample, out);
        int fill = 0, white = 0;
        for (int i = 0; i < SIZE * SIZE; i++) {
            const float *pixel = out[i / SIZE][i % SIZE];
            fill += is_fill(pixel);
            white += pixel[0] > 250 && pixel[1] > 250 && pixel[2] > 250;
        }
        assert_in_range(fill, SIZE * SIZE * 3 / 4 - 150, SIZE * SIZE * 3 / 4 + 20);
        assert_in_range(white, SIZE * SIZE / 4 - 70, SIZE * SIZE / 4 + 20);
    }
    const cg_augment away = {.shift = 10};
    int empty = 0;
    for (uint64_t sample = 0; sample < 20; sample++) {
        square out;
        augment(&in, &p, &away, sample, out);
        int fill = 0;
        for (int i = 0; i < SIZE * SIZE; i++) fill += is_fill(out[i / SIZE][i % SIZE]);
        empty += fill == SIZE * SIZE;
    }
    assert_in_range(empty, 10, 20);
    cg_image_free(&in);
}

/* Stripes finer than the result's pixels turn grey at any angle, instead of to moiré. */
static void test_augment_antialiases(void **state) {
    (void)state;
    cg_image in;
    assert_int_equal(cg_image_alloc(256, 256, &in), CG_OK);
    for (int i = 0; i < 256 * 256; i++)
        memset(in.rgb + (ptrdiff_t)3 * i, (i % 256 + i / 256) % 2 ? 255 : 0, 3);
    cg_preprocess p = plain(CG_RESIZE_SHORTEST);
    const cg_augment a = {.rotation = 180, .ratio = 1.3, .scale_min = 0.3, .scale_max = 0.5};
    for (uint64_t sample = 0; sample < 30; sample++) {
        square out;
        augment(&in, &p, &a, sample, out);
        for (int y = SIZE / 2 - 4; y < SIZE / 2 + 4; y++)
            for (int x = SIZE / 2 - 4; x < SIZE / 2 + 4; x++)
                if (!is_fill(out[y][x])) assert_true(fabsf(out[y][x][0] - 127.5f) < 12);
    }
    cg_image_free(&in);
}

static void fill_image(cg_image *image, const uint8_t rgb[3]) {
    for (int i = 0; i < image->width * image->height; i++)
        memcpy(image->rgb + (ptrdiff_t)3 * i, rgb, 3);
}

static void test_augment_color(void **state) {
    (void)state;
    cg_image in;
    assert_int_equal(cg_image_alloc(SIZE, SIZE, &in), CG_OK);
    fill_image(&in, (const uint8_t[3]){100, 150, 50});
    cg_preprocess p = plain(CG_RESIZE_SHORTEST);
    const cg_augment gain = {.gain = 0.2}, saturation = {.saturation = 0.5};
    float low[3] = {999, 999, 999}, high[3] = {0};
    for (uint64_t sample = 0; sample < 200; sample++) {
        square out;
        augment(&in, &p, &gain, sample, out);
        for (int c = 0; c < 3; c++) {
            float factor = out[5][7][c] / (float)in.rgb[c];
            assert_true(factor > 0.7999f && factor < 1.2001f);
            low[c] = fminf(low[c], factor);
            high[c] = fmaxf(high[c], factor);
        }
        augment(&in, &p, &saturation, sample, out);
        const float *v = out[5][7];
        float spread = (v[1] - v[2]) / 100.0f;
        assert_true(spread > 0.499f && spread < 1.501f);
        assert_true(fabsf(0.299f * v[0] + 0.587f * v[1] + 0.114f * v[2] - 123.65f) < 0.01f);
    }
    for (int c = 0; c < 3; c++) assert_true(low[c] < 0.83f && high[c] > 1.17f);
    /* White cannot get brighter than white. */
    fill_image(&in, (const uint8_t[3]){255, 255, 255});
    for (uint64_t sample = 0; sample < 20; sample++) {
        square out;
        augment(&in, &p, &everything, sample, out);
        for (int i = 0; i < SIZE * SIZE * 3; i++)
            assert_true((&out[0][0][0])[i] >= 0 && (&out[0][0][0])[i] <= 255.001f);
    }
    cg_image_free(&in);
}

/* A picture of the fill colour stays that at every seam, whichever way it is sampled. */
static void test_augment_keeps_flat_color(void **state) {
    (void)state;
    static const int sides[][2] = {{64, 64}, {256, 200}, {20, 300}, {1, 1}, {1, 500}};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        for (uint64_t sample = 0; sample < 60; sample++) {
            cg_image in;
            assert_int_equal(cg_image_alloc(sides[i][0], sides[i][1], &in), CG_OK);
            cg_preprocess p = plain((cg_resize_mode)(sample % 3));
            p.interpolation = sample % 2 ? CG_BILINEAR : CG_BICUBIC;
            fill_image(&in, p.fill);
            cg_augment a = everything;
            a.gain = a.saturation = 0;
            square out;
            augment(&in, &p, &a, sample, out);
            for (int k = 0; k < SIZE * SIZE * 3; k++)
                assert_true(fabsf((&out[0][0][0])[k] - (float)p.fill[k % 3]) < 0.01f);
            cg_image_free(&in);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_augment_nothing),  cmocka_unit_test(test_augment_repeats),
        cmocka_unit_test(test_augment_draws),    cmocka_unit_test(test_augment_rotation),
        cmocka_unit_test(test_augment_crop),     cmocka_unit_test(test_augment_flat),
        cmocka_unit_test(test_augment_zoom_out), cmocka_unit_test(test_augment_antialiases),
        cmocka_unit_test(test_augment_color),    cmocka_unit_test(test_augment_keeps_flat_color),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
