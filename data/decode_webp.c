/* WebP: lossy and lossless, with alpha; of an animation, the first frame on its canvas. */
#include "data/decode.h"

#include <stdlib.h>
#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>

static cg_status webp_error(const cg_source *source, VP8StatusCode code) {
    switch (code) {
    case VP8_STATUS_OUT_OF_MEMORY:
        return cg_error(CG_ENOMEM, "%s: no memory to decode this WebP", source->name);
    case VP8_STATUS_NOT_ENOUGH_DATA:
        return cg_error(CG_EFORMAT, "%s: WebP: truncated", source->name);
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return cg_error(CG_EUNSUPPORTED, "%s: WebP: unknown feature", source->name);
    default:
        return cg_error(CG_EFORMAT, "%s: WebP: damaged", source->name);
    }
}

/* The decoder stops at the end of the pixels: whether the file is whole, its header says. */
static cg_status check_length(const cg_source *source) {
    const uint8_t *b = source->bytes;
    uint64_t claimed =
        8 + (b[4] | (uint64_t)b[5] << 8 | (uint64_t)b[6] << 16 | (uint64_t)b[7] << 24);
    if (claimed > source->size)
        return cg_error(CG_EFORMAT, "%s: WebP: truncated, %zu of %llu bytes", source->name,
                        source->size, (unsigned long long)claimed);
    return CG_OK;
}

static cg_status decode_still(const cg_source *source, WebPDecoderConfig *config, cg_image *out) {
    int width = config->input.width, height = config->input.height;
    int alpha = config->input.has_alpha && !source->drop_alpha;
    uint8_t *rgba = NULL;
    if (alpha)
        CG_TRY(cg_rgba_alloc(source->name, width, height, &rgba));
    else
        CG_TRY(cg_image_alloc(width, height, out));
    int channels = alpha ? 4 : 3;
    config->output.colorspace = alpha ? MODE_RGBA : MODE_RGB;
    config->output.is_external_memory = 1;
    config->output.u.RGBA.rgba = alpha ? rgba : out->rgb;
    config->output.u.RGBA.stride = channels * width;
    config->output.u.RGBA.size = (size_t)channels * (size_t)width * (size_t)height;
    VP8StatusCode code = WebPDecode(source->bytes, source->size, config);
    WebPFreeDecBuffer(&config->output);
    if (code != VP8_STATUS_OK) {
        free(rgba);
        cg_image_free(out);
        return webp_error(source, code);
    }
    if (alpha) cg_image_from_rgba(rgba, width, height, out);
    return CG_OK;
}

static cg_status decode_first_frame(const cg_source *source, int width, int height, cg_image *out) {
    WebPData data = {.bytes = source->bytes, .size = source->size};
    uint8_t *frame = NULL, *rgba = NULL;
    int timestamp;
    WebPAnimDecoder *animation = WebPAnimDecoderNew(&data, NULL);
    if (!animation) return webp_error(source, VP8_STATUS_BITSTREAM_ERROR);
    cg_status status = CG_OK;
    if (!WebPAnimDecoderGetNext(animation, &frame, &timestamp))
        status = webp_error(source, VP8_STATUS_BITSTREAM_ERROR);
    if (status == CG_OK) status = cg_rgba_alloc(source->name, width, height, &rgba);
    if (status == CG_OK) {
        size_t pixels = (size_t)width * (size_t)height;
        memcpy(rgba, frame, 4 * pixels);
        if (source->drop_alpha)
            for (size_t i = 0; i < pixels; i++) rgba[4 * i + 3] = 255;
        cg_image_from_rgba(rgba, width, height, out);
    }
    WebPAnimDecoderDelete(animation);
    return status;
}

static int exif_orientation(const cg_source *source) {
    WebPData data = {.bytes = source->bytes, .size = source->size};
    WebPDemuxer *demux = WebPDemux(&data);
    if (!demux) return 1;
    int orientation = 1;
    WebPChunkIterator chunk;
    if (WebPDemuxGetChunk(demux, "EXIF", 1, &chunk)) {
        orientation = cg_exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    WebPDemuxDelete(demux);
    return orientation;
}

/* Only an extended file can hold EXIF; asking the others would parse them twice for nothing. */
static int is_extended(const cg_source *source) {
    return source->size >= 16 && !memcmp(source->bytes + 12, "VP8X", 4);
}

cg_status cg_decode_webp(const cg_source *source, cg_image *out, int *orientation) {
    *out = (cg_image){0};
    *orientation = 1;
    CG_TRY(check_length(source));
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return cg_error(CG_EUNSUPPORTED, "%s: libwebp is of another version", source->name);
    VP8StatusCode code = WebPGetFeatures(source->bytes, source->size, &config.input);
    if (code != VP8_STATUS_OK) return webp_error(source, code);
    int width = config.input.width, height = config.input.height;
    CG_TRY(cg_decode_check_size(source, width, height));
    if (config.input.has_animation)
        CG_TRY(decode_first_frame(source, width, height, out));
    else
        CG_TRY(decode_still(source, &config, out));
    if (!source->ignore_exif && is_extended(source)) *orientation = exif_orientation(source);
    return CG_OK;
}
