/* The file, written as it goes: weights never stand in memory a second time. A message's fields may
 * come in any order, and those of its parts may be spread; so what is small is packed, and behind
 * it stand the initializers one by one. */
#include "graph/version.h"
#include "serialize/onnx/export_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIELD_GRAPH = 7,       /* of ModelProto */
    FIELD_INITIALIZER = 5, /* of GraphProto */
    FIELD_RAW_DATA = 9,    /* of TensorProto */
    INSIDE = 1024,         /* bytes: shorter tensors are never external */
    ALIGN = 4096,          /* of external tensors */
    LINE = 64,             /* of those inside */
};
static const size_t largest = 0x7fff0000; /* bytes of a message; readers' limit is 2 GiB */

typedef struct writer {
    cg_onnx_export *x;
    cg_onnx_pair pair;
    const char *location; /* of external data; NULL: all is inside */
    size_t data_bytes, file_bytes;
    int anywhere; /* tensors inside are not aligned */
} writer;

/* --- protobuf --------------------------------------------------------------------------------- */

static size_t varint(uint64_t n, uint8_t *to) {
    size_t bytes = 0;
    do {
        to[bytes] = (uint8_t)(n & 0x7f);
        n >>= 7;
        if (n) to[bytes] |= 0x80;
        bytes++;
    } while (n);
    return bytes;
}

/* Tag and length of a field of bytes. */
static size_t field(int number, uint64_t length, uint8_t *to) {
    size_t n = varint((uint64_t)number << 3 | 2, to);
    return n + varint(length, to + n);
}

static cg_status pack(const ProtobufCMessage *m, uint8_t **out, size_t *bytes) {
    *bytes = protobuf_c_message_get_packed_size(m);
    *out = malloc(*bytes + 1);
    if (!*out) return cg_error(CG_ENOMEM, "no memory for %zu bytes of a graph", *bytes);
    protobuf_c_message_pack(m, *out);
    return CG_OK;
}

/* --- initializers ----------------------------------------------------------------------------- */

static int is_external(const writer *w, const cg_onnx_initializer *i) {
    return w->location && i->bytes >= INSIDE;
}

/* All of a tensor but its numbers. */
typedef struct head {
    CgOnnx__TensorProto t;
    CgOnnx__StringStringEntryProto entry[3], *entries[3];
    char offset[32], length[32];
    int64_t dim[CG_ONNX_RANK];
    char blanks[LINE + 2];
} head;

static void describe(const writer *w, const cg_onnx_initializer *i, size_t at, head *h) {
    static const char *const key[] = {"location", "offset", "length"};
    cg_onnx__tensor_proto__init(&h->t);
    memset(h->blanks, 0, sizeof h->blanks);
    h->t.name = (char *)(uintptr_t)i->name;
    h->t.has_data_type = 1;
    h->t.data_type = cg_onnx_data_type(i->stored);
    h->t.n_dims = (size_t)i->rank;
    h->t.dims = h->dim;
    memcpy(h->dim, i->dim, sizeof h->dim);
    if (!is_external(w, i)) return;
    snprintf(h->offset, sizeof h->offset, "%zu", at);
    snprintf(h->length, sizeof h->length, "%zu", i->bytes);
    char *value[] = {(char *)(uintptr_t)w->location, h->offset, h->length};
    for (int k = 0; k < 3; k++) {
        cg_onnx__string_string_entry_proto__init(&h->entry[k]);
        h->entry[k].key = (char *)(uintptr_t)key[k];
        h->entry[k].value = value[k];
        h->entries[k] = &h->entry[k];
    }
    h->t.n_external_data = 3;
    h->t.external_data = h->entries;
    h->t.has_data_location = 1;
    h->t.data_location = CG_ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

/* Bytes of the message. */
static size_t length_of(const writer *w, const cg_onnx_initializer *i, const head *h) {
    uint8_t tag[32];
    size_t packed = protobuf_c_message_get_packed_size(&h->t.base);
    if (is_external(w, i)) return packed;
    return packed + field(FIELD_RAW_DATA, i->bytes, tag) + i->bytes;
}

/* Numbers inside begin at a multiple of 64 where the message begins at `at`, so that who maps the
 * file need not copy them: blanks in front, as the tensor's description, see to that. */
static void align(const writer *w, const cg_onnx_initializer *i, size_t at, head *h) {
    uint8_t tag[32];
    if (w->anywhere || is_external(w, i) || i->bytes < INSIDE) return;
    for (int n = -1; n < LINE + 2; n++) {
        if (n >= 0) h->t.doc_string = h->blanks;
        if (n > 0) h->blanks[n - 1] = ' ';
        size_t length = length_of(w, i, h);
        if ((at + field(FIELD_INITIALIZER, length, tag) + length - i->bytes) % LINE == 0) return;
    }
}

static size_t padding(size_t at) {
    return (ALIGN - at % ALIGN) % ALIGN;
}

/* Bytes of all initializers within the graph, the first of which stands at `begin` of the file. */
static size_t total(const writer *w, size_t begin) {
    uint8_t tag[32];
    size_t bytes = 0, at = 0;
    for (const cg_onnx_initializer *i = w->x->first; i; i = i->next) {
        head h;
        if (is_external(w, i)) at += padding(at);
        describe(w, i, at, &h);
        if (is_external(w, i)) at += i->bytes;
        align(w, i, begin + bytes, &h);
        size_t n = length_of(w, i, &h);
        bytes += field(FIELD_INITIALIZER, n, tag) + n;
    }
    return bytes;
}

static cg_status write_bytes(void *file, const void *data, size_t bytes) {
    return cg_file_write(file, data, bytes);
}

static cg_status write_initializer(writer *w, const cg_onnx_initializer *i) {
    static const uint8_t zero[ALIGN];
    uint8_t tag[32], *packed;
    size_t bytes;
    head h;
    int external = is_external(w, i);
    size_t pad = external ? padding(w->data_bytes) : 0;
    describe(w, i, w->data_bytes + pad, &h);
    align(w, i, w->file_bytes, &h);
    size_t length = length_of(w, i, &h), before = field(FIELD_INITIALIZER, length, tag);
    cg_file_write(w->pair.file, tag, before);
    w->file_bytes += before + length;
    CG_TRY(pack(&h.t.base, &packed, &bytes));
    cg_status s = cg_file_write(w->pair.file, packed, bytes);
    free(packed);
    CG_TRY(s);
    if (!external) {
        cg_file_write(w->pair.file, tag, field(FIELD_RAW_DATA, i->bytes, tag));
        return cg_onnx_produce(w->x, i, write_bytes, w->pair.file);
    }
    cg_file_write(w->pair.data, zero, pad);
    w->data_bytes += pad + i->bytes;
    return cg_onnx_produce(w->x, i, write_bytes, w->pair.data);
}

/* --- the model -------------------------------------------------------------------------------- */

typedef struct model {
    CgOnnx__ModelProto m;
    CgOnnx__GraphProto g;
    CgOnnx__OperatorSetIdProto opset, *opsets[1];
} model;

static cg_status fill(cg_onnx_export *x, const cg_meta *meta, int n_meta, model *m) {
    cg_onnx__model_proto__init(&m->m);
    cg_onnx__graph_proto__init(&m->g);
    cg_onnx__operator_set_id_proto__init(&m->opset);
    m->opset.domain = (char *)(uintptr_t) "";
    m->opset.has_version = 1;
    m->opset.version = x->sink.opset;
    m->opsets[0] = &m->opset;
    m->m.n_opset_import = 1;
    m->m.opset_import = m->opsets;
    m->m.has_ir_version = 1;
    m->m.ir_version = x->sink.opset >= 19 ? 9 : 8;
    m->m.producer_name = (char *)(uintptr_t) "clipgraph";
    m->m.producer_version = (char *)(uintptr_t)CLIPGRAPH_VERSION;
    m->m.n_metadata_props = (size_t)n_meta;
    m->m.metadata_props = cg_onnx_alloc(x, (size_t)n_meta * sizeof *m->m.metadata_props);
    for (int i = 0; i < n_meta && x->status == CG_OK; i++) {
        CgOnnx__StringStringEntryProto *e = cg_onnx_alloc(x, sizeof *e);
        if (!e) break;
        cg_onnx__string_string_entry_proto__init(e);
        e->key = (char *)(uintptr_t)meta[i].key;
        e->value = (char *)(uintptr_t)meta[i].value;
        m->m.metadata_props[i] = e;
    }
    m->g.name = (char *)(uintptr_t) "clipgraph";
    m->g.n_node = x->n_node;
    m->g.node = x->node;
    m->g.n_input = x->n_input;
    m->g.input = x->input;
    m->g.n_output = x->n_output;
    m->g.output = x->output;
    return x->status;
}

static cg_status write_model(writer *w, const model *m) {
    uint8_t tag[32], *packed, *graph = NULL;
    size_t bytes, graph_bytes = 0;
    CG_TRY(pack(&m->m.base, &packed, &bytes));
    cg_status s = pack(&m->g.base, &graph, &graph_bytes);
    if (s == CG_OK) {
        size_t before = 0, inside = 0; /* where it begins depends on the length, and that on it */
        for (size_t n = 1, tries = 0; n != before; tries++) {
            w->anywhere = tries > 4;
            before = n;
            inside = graph_bytes + total(w, bytes + before + graph_bytes);
            n = field(FIELD_GRAPH, inside, tag);
        }
        cg_file_write(w->pair.file, packed, bytes);
        cg_file_write(w->pair.file, tag, before);
        s = cg_file_write(w->pair.file, graph, graph_bytes);
        w->file_bytes = bytes + before + graph_bytes;
    }
    free(graph);
    free(packed);
    for (const cg_onnx_initializer *i = w->x->first; s == CG_OK && i; i = i->next)
        s = write_initializer(w, i);
    return s;
}

/* The last part of a path. */
static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

cg_status cg_onnx_write(cg_onnx_export *x, const char *path, int external, const cg_meta *meta,
                        int n_meta) {
    writer w = {.x = x, .pair = {.path = path}};
    model m;
    CG_TRY(fill(x, meta, n_meta, &m));
    size_t small = protobuf_c_message_get_packed_size(&m.m.base) +
                   protobuf_c_message_get_packed_size(&m.g.base);
    if (external || small + total(&w, 0) > largest) {
        CG_TRY(cg_onnx_pair_name(path, &w.pair));
        w.location = file_name(w.pair.data_path);
        if (small + total(&w, 0) > largest)
            return cg_error(CG_EUNSUPPORTED, "%s: the graph alone has %zu bytes", path, small);
    }
    cg_status s = cg_onnx_pair_create(&w.pair);
    if (s == CG_OK) s = write_model(&w, &m);
    return cg_onnx_pair_commit(&w.pair, s);
}
