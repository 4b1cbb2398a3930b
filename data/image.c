/* Pictures: what is common to all kinds. Each kind has its decode_*.c. */
#include "data/image.h"

#include "data/decode.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEFAULT_MAX_PIXELS = 100 * 1000 * 1000 };

/* Bytes of width × height × channels; 0 if there is no such buffer. */
static size_t pixel_bytes(int width, int height, int channels) {
    size_t bytes;
    if (width < 1 || height < 1) return 0;
    if (__builtin_mul_overflow((size_t)width, (size_t)height, &bytes)) return 0;
    if (__builtin_mul_overflow(bytes, (size_t)channels, &bytes)) return 0;
    return bytes > PTRDIFF_MAX ? 0 : bytes;
}

cg_status cg_image_alloc(int width, int height, cg_image *out) {
    *out = (cg_image){0};
    if (width < 1 || height < 1)
        return cg_error(CG_EINVAL, "picture of %d x %d pixels, wanted at least 1 x 1", width,
                        height);
    size_t bytes = pixel_bytes(width, height, 3);
    uint8_t *rgb = bytes ? malloc(bytes) : NULL;
    if (!rgb) return cg_error(CG_ENOMEM, "no memory for a picture of %d x %d", width, height);
    *out = (cg_image){.width = width, .height = height, .rgb = rgb};
    return CG_OK;
}

void cg_image_free(cg_image *image) {
    if (!image) return;
    free(image->rgb);
    *image = (cg_image){0};
}

cg_status cg_rgba_alloc(const char *name, int width, int height, uint8_t **out) {
    size_t bytes = pixel_bytes(width, height, 4);
    *out = bytes ? malloc(bytes) : NULL;
    if (!*out) return cg_error(CG_ENOMEM, "%s: no memory for %d x %d pixels", name, width, height);
    return CG_OK;
}

void cg_image_from_rgba(uint8_t *rgba, int width, int height, cg_image *out) {
    size_t pixels = (size_t)width * (size_t)height;
    assert(pixels > 0);
    /* In place: pixel i is read from 4i and written to 3i, so nothing unread is overwritten. */
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *from = rgba + 4 * i;
        uint8_t *to = rgba + 3 * i;
        unsigned alpha = from[3], white = 255 * (255 - alpha) + 127;
        to[0] = (uint8_t)((from[0] * alpha + white) / 255);
        to[1] = (uint8_t)((from[1] * alpha + white) / 255);
        to[2] = (uint8_t)((from[2] * alpha + white) / 255);
    }
    uint8_t *rgb = realloc(rgba, 3 * pixels);
    *out = (cg_image){.width = width, .height = height, .rgb = rgb ? rgb : rgba};
}

cg_status cg_decode_check_size(const cg_source *source, int64_t width, int64_t height) {
    if (width < 1 || height < 1 || width > INT32_MAX || height > INT32_MAX)
        return cg_error(CG_EFORMAT, "%s: the header claims %lld x %lld pixels", source->name,
                        (long long)width, (long long)height);
    if (width > source->max_pixels / height)
        return cg_error(CG_EUNSUPPORTED, "%s: %lld x %lld pixels, more than the limit of %lld",
                        source->name, (long long)width, (long long)height,
                        (long long)source->max_pixels);
    return CG_OK;
}

typedef cg_status (*decode_fn)(const cg_source *, cg_image *, int *);

static decode_fn decoder_of(const uint8_t *bytes, size_t size) {
    if (size >= 8 && !memcmp(bytes, "\x89PNG\r\n\x1a\n", 8)) return cg_decode_png;
    if (size >= 3 && !memcmp(bytes, "\xff\xd8\xff", 3)) return cg_decode_jpeg;
    if (size >= 12 && !memcmp(bytes, "RIFF", 4) && !memcmp(bytes + 8, "WEBP", 4))
        return cg_decode_webp;
    return NULL;
}

static cg_status unknown_kind(const char *name, const uint8_t *bytes, size_t size) {
    if (!size) return cg_error(CG_EFORMAT, "%s: empty, wanted a PNG, JPEG or WebP picture", name);
    char start[3 * 8 + 1] = "";
    for (size_t i = 0; i < size && i < 8; i++) snprintf(start + 3 * i, 4, " %02x", bytes[i]);
    return cg_error(CG_EFORMAT, "%s: begins with%s, wanted a PNG, JPEG or WebP picture", name,
                    start);
}

cg_status cg_image_decode(const char *name, const void *bytes, size_t size,
                          const cg_decode_options *options, cg_image *out) {
    static const cg_decode_options defaults = {0};
    *out = (cg_image){0};
    if (!options) options = &defaults;
    if (options->max_pixels < 0)
        return cg_error(CG_EINVAL, "%s: max_pixels is %lld, wanted 0 or more", name,
                        (long long)options->max_pixels);
    decode_fn decode = decoder_of(bytes, size);
    if (!decode) return unknown_kind(name, bytes, size);
    cg_source source = {
        .name = name,
        .bytes = bytes,
        .size = size,
        .max_pixels = options->max_pixels ? options->max_pixels : DEFAULT_MAX_PIXELS,
        .ignore_exif = options->ignore_exif,
        .drop_alpha = options->drop_alpha,
    };
    int orientation = 1;
    CG_TRY(decode(&source, out, &orientation));
    cg_status status = cg_image_orient(out, orientation);
    if (status != CG_OK) {
        cg_image_free(out);
        return cg_error_in(status, "%s", name);
    }
    return CG_OK;
}

/* Reads the file whole into *bytes, which the caller frees. */
static cg_status read_all(const char *path, FILE *file, uint8_t **bytes, size_t *size) {
    struct stat info;
    if (fstat(fileno(file), &info)) return cg_error(CG_EIO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return cg_error(CG_EIO, "%s: not a regular file", path);
    size_t want = (size_t)info.st_size;
    uint8_t *buffer = malloc(want + 1);
    if (!buffer) return cg_error(CG_ENOMEM, "%s: no memory for %zu bytes", path, want);
    size_t got = fread(buffer, 1, want, file);
    if (got < want && ferror(file)) {
        free(buffer);
        return cg_error(CG_EIO, "%s: %s", path, strerror(errno));
    }
    *bytes = buffer;
    *size = got; /* less where the file shrank meanwhile: its decoder will say so */
    return CG_OK;
}

cg_status cg_image_load(const char *path, const cg_decode_options *options, cg_image *out) {
    *out = (cg_image){0};
    if (!path[0]) return cg_error(CG_EIO, "a picture's path is empty");
    /* Not to wait for somebody to write into a pipe, before it is seen to be one. */
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "rb");
    if (!file) {
        int why = errno;
        if (fd >= 0) close(fd);
        return cg_error(CG_EIO, "%s: %s", path, strerror(why));
    }
    uint8_t *bytes = NULL;
    size_t size = 0;
    cg_status status = read_all(path, file, &bytes, &size);
    fclose(file);
    if (status == CG_OK) status = cg_image_decode(path, bytes, size, options, out);
    free(bytes);
    return status;
}
