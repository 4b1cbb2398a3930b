/* labels: unit */
/* Pictures: every kind against what Pillow and the definition say (tests/golden/image/,
 * made by tools/make_image_golden.py), damaged files, limits. */
#include "data/decode.h"
#include "data/image.h"
#include "graph/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <turbojpeg.h>

#define GOLDEN CG_SOURCE_DIR "/tests/golden/image/"

typedef struct bytes {
    uint8_t *data;
    size_t size;
} bytes;

static bytes read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s: %s", path, strerror(errno));
    bytes b = {.data = malloc(1 << 20)};
    assert_non_null(b.data);
    b.size = fread(b.data, 1, 1 << 20, file);
    fclose(file);
    return b;
}

static bytes golden(const char *name) {
    char path[512];
    snprintf(path, sizeof path, GOLDEN "%s", name);
    return read_file(path);
}

/* A copy of exactly its size, so that the address sanitizer sees the first byte too many. */
static cg_status decode_exact(const char *name, const uint8_t *data, size_t size,
                              const cg_decode_options *options, cg_image *out) {
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    cg_status status = cg_image_decode(name, copy, size, options, out);
    free(copy);
    return status;
}

static void assert_message_has(const char *part) {
    if (!strstr(cg_error_message(), part))
        fail_msg("the message \"%s\" lacks \"%s\"", cg_error_message(), part);
}

static void assert_fails(cg_status wanted, const char *name, const uint8_t *data, size_t size) {
    cg_image image;
    cg_status status = decode_exact(name, data, size, NULL, &image);
    if (status != wanted)
        fail_msg("%s of %zu bytes: %s (%s), wanted %s", name, size, cg_status_name(status),
                 cg_error_message(), cg_status_name(wanted));
    assert_null(image.rgb);
    assert_message_has(name);
}

static int largest_difference(const uint8_t *a, const uint8_t *b, size_t n) {
    int largest = 0;
    for (size_t i = 0; i < n; i++) {
        int difference = abs(a[i] - b[i]);
        if (difference > largest) largest = difference;
    }
    return largest;
}

/* One line of decode.txt. The tolerance is 0 where the format is lossless; decoders of lossy
 * ones may differ by their inverse transform's rounding. */
static void check_case(char *line) {
    char name[64], option[16];
    int tolerance, width, height, at = 0;
    assert_int_equal(
        sscanf(line, "%63s %15s %d %d %d %n", name, option, &tolerance, &width, &height, &at), 5);
    size_t n = 3 * (size_t)width * (size_t)height;
    uint8_t *wanted = malloc(n);
    assert_non_null(wanted);
    for (size_t i = 0; i < n; i++) {
        unsigned value;
        assert_int_equal(sscanf(line + at + 2 * i, "%2x", &value), 1);
        wanted[i] = (uint8_t)value;
    }
    cg_decode_options options = {.ignore_exif = !strcmp(option, "noexif"),
                                 .drop_alpha = !strcmp(option, "drop")};
    bytes file = golden(name);
    cg_image image;
    cg_status status = decode_exact(name, file.data, file.size, &options, &image);
    if (status != CG_OK) fail_msg("%s: %s", name, cg_error_message());
    if (image.width != width || image.height != height)
        fail_msg("%s %s: %d x %d, wanted %d x %d", name, option, image.width, image.height, width,
                 height);
    int difference = largest_difference(image.rgb, wanted, n);
    if (difference > tolerance)
        fail_msg("%s %s: differs by %d, at most %d wanted", name, option, difference, tolerance);
    cg_image_free(&image);
    assert_null(image.rgb);
    free(file.data);
    free(wanted);
}

static void test_golden(void **state) {
    (void)state;
    FILE *file = fopen(GOLDEN "decode.txt", "r");
    assert_non_null(file);
    char *line = NULL;
    size_t room = 0;
    int cases = 0;
    while (getline(&line, &room, file) > 0) {
        if (line[0] == '#') continue;
        check_case(line);
        cases++;
    }
    free(line);
    fclose(file);
    assert_in_range(cases, 80, 1000);
}

/* What Pillow cannot write: YCCK, and the rarer subsamplings. */
static void encode_jpeg(int format, int subsampling, const uint8_t *pixels, int width, int height,
                        bytes *out) {
    tjhandle jpeg = tjInitCompress();
    unsigned long size = 0;
    *out = (bytes){0};
    assert_int_equal(tjCompress2(jpeg, pixels, width, 0, height, format, &out->data, &size,
                                 subsampling, 95, TJFLAG_ACCURATEDCT),
                     0);
    out->size = size;
    tjDestroy(jpeg);
}

static void test_jpeg_ycck(void **state) {
    (void)state;
    enum { SIDE = 16 };
    uint8_t cmyk[SIDE * SIDE * 4];
    for (int i = 0; i < SIDE * SIDE; i++) {
        const uint8_t stored[4] = {200, 100, 50, 128}; /* inverted: 255 is no ink */
        memcpy(cmyk + (ptrdiff_t)4 * i, stored, 4);
    }
    bytes file;
    encode_jpeg(TJPF_CMYK, TJSAMP_444, cmyk, SIDE, SIDE, &file);
    cg_image image;
    assert_int_equal(decode_exact("ycck", file.data, file.size, NULL, &image), CG_OK);
    const int wanted[3] = {200 * 128 / 255, 100 * 128 / 255, 50 * 128 / 255};
    for (int i = 0; i < SIDE * SIDE * 3; i++)
        assert_in_range(image.rgb[i] + 3, wanted[i % 3], wanted[i % 3] + 6);
    cg_image_free(&image);
    tjFree(file.data);
}

static void test_jpeg_subsamplings(void **state) {
    (void)state;
    enum { WIDTH = 37, HEIGHT = 23 };
    uint8_t rgb[WIDTH * HEIGHT * 3];
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        rgb[3 * i] = (uint8_t)(i % WIDTH * 6);
        rgb[3 * i + 1] = (uint8_t)(i / WIDTH * 11);
        rgb[3 * i + 2] = 90;
    }
    const int samplings[] = {TJSAMP_444, TJSAMP_422, TJSAMP_420, TJSAMP_440, TJSAMP_411};
    for (size_t s = 0; s < sizeof samplings / sizeof *samplings; s++) {
        bytes file;
        encode_jpeg(TJPF_RGB, samplings[s], rgb, WIDTH, HEIGHT, &file);
        cg_image image;
        assert_int_equal(decode_exact("sampled", file.data, file.size, NULL, &image), CG_OK);
        assert_int_equal(image.width, WIDTH);
        assert_int_equal(image.height, HEIGHT);
        assert_in_range(largest_difference(image.rgb, rgb, sizeof rgb), 0, 24);
        cg_image_free(&image);
        tjFree(file.data);
    }
}

static size_t frame_header(const bytes *file) {
    size_t at = 0;
    while (at + 12 < file->size && (file->data[at] != 0xff || file->data[at + 1] != 0xc0)) at++;
    assert_in_range(at + 12, 0, file->size - 1);
    return at;
}

/* A sampling for which TurboJPEG has no name, 1 x 3, is decoded nevertheless. The scan then holds
 * more blocks than asked for; which ones, says nothing, but the size does. */
static void test_jpeg_unnamed_subsampling(void **state) {
    (void)state;
    bytes file = golden("rgb_444.jpg");
    uint8_t *luminance = file.data + frame_header(&file) + 11;
    assert_int_equal(*luminance, 0x11);
    *luminance = 0x13;
    cg_image image;
    assert_int_equal(decode_exact("odd.jpg", file.data, file.size, NULL, &image), CG_OK);
    assert_int_equal(image.width, 29);
    assert_int_equal(image.height, 21);
    cg_image_free(&image);
    free(file.data);
}

static void test_wrong_kinds(void **state) {
    (void)state;
    static const char *const starts[] = {"GIF89a.....", "BM",           "hello",
                                         "\xff",        "RIFF....WAVE", "\x89PNG"};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        assert_fails(CG_EFORMAT, "folder/other.jpg", (const uint8_t *)starts[i], strlen(starts[i]));
        assert_message_has("wanted a PNG, JPEG or WebP");
    }
    assert_fails(CG_EFORMAT, "nothing.png", (const uint8_t *)"", 0);
    assert_message_has("empty");
}

static const char *const samples[] = {
    "rgba8.png",        "palette4_alpha_interlaced.png",
    "orientation6.png", "rgb_420.jpg",
    "progressive.jpg",  "cmyk.jpg",
    "orientation6.jpg", "lossy.webp",
    "lossy_alpha.webp", "lossless.webp",
    "animated.webp",    "orientation8.webp",
};
enum { SAMPLES = sizeof samples / sizeof *samples };

/* Every length short of the whole is an error that names the file. */
static void test_truncated(void **state) {
    (void)state;
    for (int i = 0; i < SAMPLES; i++) {
        bytes file = golden(samples[i]);
        assert_in_range(file.size, 50, 10000);
        for (size_t size = 0; size < file.size; size++)
            assert_fails(CG_EFORMAT, samples[i], file.data, size);
        free(file.data);
    }
}

/* Damage may go unseen (JPEG and lossy WebP have no checksum), but never gets further. */
static void test_flipped_bytes(void **state) {
    (void)state;
    const cg_decode_options options = {.max_pixels = 1 << 20};
    for (int i = 0; i < SAMPLES; i++) {
        bytes file = golden(samples[i]);
        uint8_t *damaged = malloc(file.size);
        assert_non_null(damaged);
        for (uint64_t round = 0; round < 300; round++) {
            cg_rng r = cg_rng_at(1, CG_RNG_TEST, round, (uint64_t)i);
            memcpy(damaged, file.data, file.size);
            for (uint64_t flips = 1 + cg_rng_below(&r, 4); flips; flips--)
                damaged[cg_rng_below(&r, file.size)] = (uint8_t)cg_rng_u32(&r);
            cg_image image;
            cg_status status = decode_exact(samples[i], damaged, file.size, &options, &image);
            if (status == CG_OK) {
                assert_true(image.width > 0 && image.height > 0 && image.rgb);
            } else {
                assert_null(image.rgb);
                if (status != CG_EFORMAT && status != CG_EUNSUPPORTED)
                    fail_msg("%s: %s", samples[i], cg_error_message());
                assert_true(strstr(cg_error_message(), samples[i]) ||
                            strstr(cg_error_message(), "wanted a PNG"));
            }
            cg_image_free(&image);
        }
        free(damaged);
        free(file.data);
    }
}

static void put32(uint8_t *at, uint32_t v) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t crc32_of(const uint8_t *data, size_t size) {
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static void test_png_claims(void **state) {
    (void)state;
    static const struct {
        uint32_t width, height;
        cg_status status;
    } claims[] = {
        {100000, 100000, CG_EUNSUPPORTED},
        {0x7fffffff, 0x7fffffff, CG_EUNSUPPORTED},
        {0, 11, CG_EFORMAT},
        {13, 0, CG_EFORMAT},
        {0xffffffff, 1, CG_EFORMAT},
    };
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        bytes file = golden("rgb8.png");
        put32(file.data + 16, claims[i].width);
        put32(file.data + 20, claims[i].height);
        put32(file.data + 29, crc32_of(file.data + 12, 17));
        assert_fails(claims[i].status, "huge.png", file.data, file.size);
        free(file.data);
    }
    bytes file = golden("rgb8.png");
    file.data[40] ^= 1; /* in the pixels' chunk: its checksum is wrong now */
    assert_fails(CG_EFORMAT, "crc.png", file.data, file.size);
    free(file.data);
}

/* The cap holds for every kind, exactly, before anything is decoded. */
static void test_pixel_cap(void **state) {
    (void)state;
    for (int i = 0; i < SAMPLES; i++) {
        bytes file = golden(samples[i]);
        cg_image image;
        assert_int_equal(decode_exact(samples[i], file.data, file.size, NULL, &image), CG_OK);
        cg_decode_options options = {.max_pixels = (int64_t)image.width * image.height};
        cg_image_free(&image);
        assert_int_equal(decode_exact(samples[i], file.data, file.size, &options, &image), CG_OK);
        cg_image_free(&image);
        options.max_pixels--;
        assert_int_equal(decode_exact(samples[i], file.data, file.size, &options, &image),
                         CG_EUNSUPPORTED);
        assert_message_has(samples[i]);
        assert_message_has("more than the limit");
        options.max_pixels = -1;
        assert_int_equal(decode_exact(samples[i], file.data, file.size, &options, &image),
                         CG_EINVAL);
        free(file.data);
    }
}

static void test_jpeg_huge_header(void **state) {
    (void)state;
    bytes file = golden("rgb_444.jpg");
    memset(file.data + frame_header(&file) + 5, 0xf0, 4); /* 61680 x 61680 */
    assert_fails(CG_EUNSUPPORTED, "huge.jpg", file.data, file.size);
    assert_message_has("61680 x 61680");
    free(file.data);
}

/* Bytes between JPEG segments are ignored, as by other readers; so is what follows the end. */
static void test_harmless_extras(void **state) {
    (void)state;
    static const char *const names[] = {"rgb8.png", "rgb_420.jpg", "lossless.webp"};
    for (size_t i = 0; i < 3; i++) {
        bytes file = golden(names[i]);
        memset(file.data + file.size, 0x55, 20);
        cg_image plain, longer;
        assert_int_equal(decode_exact(names[i], file.data, file.size, NULL, &plain), CG_OK);
        assert_int_equal(decode_exact(names[i], file.data, file.size + 20, NULL, &longer), CG_OK);
        assert_memory_equal(plain.rgb, longer.rgb, 3 * (size_t)plain.width * (size_t)plain.height);
        cg_image_free(&plain);
        cg_image_free(&longer);
        free(file.data);
    }
    bytes file = golden("rgb_420.jpg");
    uint8_t *spread = malloc(file.size + 4);
    memcpy(spread, file.data, 2);
    memset(spread + 2, 0, 4);
    memcpy(spread + 6, file.data + 2, file.size - 2);
    spread[2] = 0xff; /* keeps the signature; 0xff00 is no marker, so 4 bytes are extraneous */
    cg_image image;
    assert_int_equal(decode_exact("extra.jpg", spread, file.size + 4, NULL, &image), CG_OK);
    cg_image_free(&image);
    free(spread);
    free(file.data);
}

static void test_exif_blocks(void **state) {
    (void)state;
    uint8_t block[32] = "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
    assert_int_equal(cg_exif_orientation(block, sizeof block), 6);
    assert_int_equal(cg_exif_orientation(block + 6, sizeof block - 6), 6);
    for (size_t size = 0; size < sizeof block; size++) {
        int orientation = cg_exif_orientation(block, size);
        assert_true(orientation == 1 || (orientation == 6 && size >= 28));
    }
    block[24] = 9; /* out of range */
    assert_int_equal(cg_exif_orientation(block, sizeof block), 1);
    block[24] = 0;
    assert_int_equal(cg_exif_orientation(block, sizeof block), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_jpeg_ycck),
        cmocka_unit_test(test_jpeg_subsamplings),
        cmocka_unit_test(test_jpeg_unnamed_subsampling),
        cmocka_unit_test(test_wrong_kinds),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_png_claims),
        cmocka_unit_test(test_pixel_cap),
        cmocka_unit_test(test_jpeg_huge_header),
        cmocka_unit_test(test_harmless_extras),
        cmocka_unit_test(test_exif_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
