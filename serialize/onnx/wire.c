#include "serialize/onnx/wire.h"

#include "onnx/onnx.pb-c.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A branch of an If in a branch of an If, with a tensor in it, has 13. */
enum { DEEPEST = 24 };
enum { MODEL_GRAPH = 7, GRAPH_INITIALIZER = 5, TENSOR_RAW_DATA = 9 };
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

typedef struct span {
    const unsigned char *at, *end;
} span;

/* All of a field, and what is in it where that is bytes. */
typedef struct field {
    unsigned tag;
    int wire;
    span all, body;
} field;

static int varint(span *s, uint64_t *out) {
    *out = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        if (s->at == s->end) return 0;
        unsigned char c = *s->at++;
        if (shift < 64) *out |= (uint64_t)(c & 127) << shift;
        if (!(c & 128)) return 1;
    }
    return 0;
}

static int next(span *s, field *f) {
    uint64_t key, length = 0;
    f->all.at = s->at;
    if (!varint(s, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX >> 3) return 0;
    f->tag = (unsigned)(key >> 3);
    f->wire = (int)(key & 7);
    if (f->wire == WIRE_VARINT) {
        if (!varint(s, &length)) return 0;
        length = 0;
    } else if (f->wire == WIRE_BYTES) {
        if (!varint(s, &length)) return 0;
    } else if (f->wire == WIRE_64 || f->wire == WIRE_32) {
        length = f->wire == WIRE_64 ? 8 : 4;
    } else {
        return 0;
    }
    if (length > (size_t)(s->end - s->at)) return 0;
    f->body = (span){s->at, s->at + length};
    f->all.end = s->at = f->body.end;
    return 1;
}

static cg_status broken(const unsigned char *begin, const span *s) {
    return cg_error(CG_EFORMAT, "not an ONNX file, or cut short: no field at byte %zu of a message",
                    (size_t)(s->at - begin));
}

static cg_status check_depth(const ProtobufCMessageDescriptor *d, span s, int depth) {
    const unsigned char *begin = s.at;
    field f;
    if (depth > DEEPEST)
        return cg_error(CG_EFORMAT, "messages nested more than %d deep, at a %s", DEEPEST,
                        d->short_name);
    while (s.at < s.end) {
        if (!next(&s, &f)) return broken(begin, &s);
        const ProtobufCFieldDescriptor *known = protobuf_c_message_descriptor_get_field(d, f.tag);
        if (known && known->type == PROTOBUF_C_TYPE_MESSAGE && f.wire == WIRE_BYTES)
            CG_TRY(check_depth(known->descriptor, f.body, depth + 1));
    }
    return CG_OK;
}

/* --- cutting ---------------------------------------------------------------------------------- */

/* What is cut is valid: check_depth has seen each field. All that is written fits: a message only
 * gets shorter, and so does its length. */
static unsigned char *put(unsigned char *to, span s) {
    memcpy(to, s.at, (size_t)(s.end - s.at));
    return to + (s.end - s.at);
}

static unsigned char *put_varint(unsigned char *to, uint64_t x) {
    for (; x > 127; x >>= 7) *to++ = (unsigned char)(x | 128);
    *to++ = (unsigned char)x;
    return to;
}

static unsigned char *put_header(unsigned char *to, unsigned tag, size_t bytes) {
    return put_varint(put_varint(to, (uint64_t)tag << 3 | WIRE_BYTES), bytes);
}

static int is(const field *f, unsigned tag) {
    return f->tag == tag && f->wire == WIRE_BYTES;
}

static unsigned char *cut_tensor(unsigned char *to, span s, cg_onnx_bytes *raw) {
    size_t kept = 0;
    field f;
    for (span left = s; left.at < left.end && next(&left, &f);) {
        if (is(&f, TENSOR_RAW_DATA))
            *raw = (cg_onnx_bytes){f.body.at, (size_t)(f.body.end - f.body.at)};
        else
            kept += (size_t)(f.all.end - f.all.at);
    }
    to = put_header(to, GRAPH_INITIALIZER, kept);
    while (s.at < s.end && next(&s, &f))
        if (!is(&f, TENSOR_RAW_DATA)) to = put(to, f.all);
    return to;
}

static unsigned char *cut_graph(unsigned char *to, span s, cg_onnx_slim *out) {
    field f;
    while (s.at < s.end && next(&s, &f))
        to = is(&f, GRAPH_INITIALIZER) ? cut_tensor(to, f.body, &out->raw[out->n_raw++])
                                       : put(to, f.all);
    return to;
}

/* Bytes without raw data (an upper bound of what is written), and initializers. */
static void measure(span model, size_t *bytes, size_t *tensors) {
    field f, g, h;
    *bytes = (size_t)(model.end - model.at);
    *tensors = 0;
    while (model.at < model.end && next(&model, &f)) {
        for (span s = f.body; is(&f, MODEL_GRAPH) && s.at < s.end && next(&s, &g);) {
            *tensors += is(&g, GRAPH_INITIALIZER);
            for (span t = g.body; is(&g, GRAPH_INITIALIZER) && t.at < t.end && next(&t, &h);)
                if (is(&h, TENSOR_RAW_DATA)) *bytes -= (size_t)(h.all.end - h.all.at);
        }
    }
}

/* The graph goes last, and is one even where the file has it in pieces: they are then merged. */
static cg_status cut(span model, cg_onnx_slim *out) {
    size_t bytes, tensors;
    field f;
    measure(model, &bytes, &tensors);
    out->data = malloc(bytes + 32);
    out->raw = calloc(tensors + 1, sizeof *out->raw);
    unsigned char *graph = malloc(bytes + 32), *end = graph, *to = out->data;
    if (!out->data || !out->raw || !graph) {
        free(graph);
        return cg_error(CG_ENOMEM, "no memory for %zu bytes", bytes);
    }
    int found = 0;
    while (model.at < model.end && next(&model, &f)) {
        found |= is(&f, MODEL_GRAPH);
        if (is(&f, MODEL_GRAPH))
            end = cut_graph(end, f.body, out);
        else
            to = put(to, f.all);
    }
    if (found) to = put(put_header(to, MODEL_GRAPH, (size_t)(end - graph)), (span){graph, end});
    free(graph);
    out->bytes = (size_t)(to - out->data);
    return CG_OK;
}

cg_status cg_onnx_slim_make(const unsigned char *data, size_t bytes, cg_onnx_slim *out) {
    *out = (cg_onnx_slim){0};
    span model = {data, data + bytes};
    CG_TRY(check_depth(&cg_onnx__model_proto__descriptor, model, 0));
    cg_status s = cut(model, out);
    if (s != CG_OK) cg_onnx_slim_free(out);
    return s;
}

void cg_onnx_slim_free(cg_onnx_slim *s) {
    free(s->data);
    free(s->raw);
    *s = (cg_onnx_slim){0};
}
