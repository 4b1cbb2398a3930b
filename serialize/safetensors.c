#include "serialize/safetensors.h"

#include "graph/file.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum {
    LENGTH_BYTES = 8,
    HEADER_LIMIT = 100000000, /* the format's own cap */
    DEPTH_LIMIT = 8,          /* of nesting; a true header needs 3 */
};

static const char meta_key[] = "__metadata__";

struct cg_safetensors {
    cg_map map;
    json_t *root; /* owns names and metadata */
    cg_tensor *tensors;
    const cg_tensor **by_name;
    int count;
    cg_meta *meta;
    int meta_count;
};

/* -- the header as JSON -------------------------------------------------------------------- */

/* jansson recurses, and its own cap on depth is generous. */
static int nesting(const unsigned char *text, size_t bytes) {
    int depth = 0, deepest = 0, quoted = 0;
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = text[i];
        if (quoted) {
            if (c == '\\') i++;
            if (c == '"') quoted = 0;
        } else if (c == '"') {
            quoted = 1;
        } else if (c == '{' || c == '[') {
            if (++depth > deepest) deepest = depth;
        } else if (c == '}' || c == ']') {
            depth--;
        }
        if (deepest > DEPTH_LIMIT) break;
    }
    return deepest;
}

static cg_status parse_header(cg_safetensors *s, size_t *data_start) {
    if (s->map.bytes < LENGTH_BYTES)
        return cg_error(CG_EFORMAT, "%zu bytes, too short for a safetensors file", s->map.bytes);
    uint64_t n;
    memcpy(&n, s->map.data, sizeof n);
    if (n > HEADER_LIMIT)
        return cg_error(CG_EFORMAT, "header of %" PRIu64 " bytes, wanted at most %d", n,
                        HEADER_LIMIT);
    if (n > s->map.bytes - LENGTH_BYTES)
        return cg_error(CG_EFORMAT, "header of %" PRIu64 " bytes, but the file ends after %zu", n,
                        s->map.bytes - LENGTH_BYTES);
    const unsigned char *text = s->map.data + LENGTH_BYTES;
    if (n == 0 || text[0] != '{') return cg_error(CG_EFORMAT, "header does not start with {");
    if (nesting(text, n) > DEPTH_LIMIT)
        return cg_error(CG_EFORMAT, "header is nested deeper than %d levels", DEPTH_LIMIT);
    json_error_t error;
    s->root = json_loadb((const char *)text, n, JSON_REJECT_DUPLICATES, &error);
    if (!s->root) return cg_error(CG_EFORMAT, "header: %s", error.text);
    *data_start = LENGTH_BYTES + (size_t)n;
    return CG_OK;
}

static cg_status read_meta(cg_safetensors *s, json_t *meta) {
    if (!json_is_object(meta)) return cg_error(CG_EFORMAT, "%s is not an object", meta_key);
    s->meta = calloc(json_object_size(meta) + 1, sizeof *s->meta);
    if (!s->meta) return cg_error(CG_ENOMEM, "no memory for the metadata");
    const char *key;
    json_t *value;
    json_object_foreach(meta, key, value) {
        if (!json_is_string(value))
            return cg_error(CG_EFORMAT, "%s: the value of '%.200s' is not a string", meta_key, key);
        s->meta[s->meta_count++] = (cg_meta){key, json_string_value(value)};
    }
    return CG_OK;
}

/* -- one tensor ---------------------------------------------------------------------------- */

static cg_status read_dtype(const json_t *value, cg_dtype *out) {
    static const struct {
        const char *name;
        cg_dtype dtype;
    } known[] = {
#define X(name, bytes, file_name) {file_name, CG_##name},
        CG_DTYPE_LIST(X)
#undef X
    };
    static const char *const lacking[] = {"BOOL", "I8",  "I16", "U16",     "U32",     "U64",
                                          "F64",  "C64", "F4",  "F8_E4M3", "F8_E5M2", "F8_E8M0"};
    const char *name = json_string_value(value);
    if (!name) return cg_error(CG_EFORMAT, "no dtype");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0) {
            *out = known[i].dtype;
            return CG_OK;
        }
    for (size_t i = 0; i < sizeof lacking / sizeof *lacking; i++)
        if (strcmp(name, lacking[i]) == 0)
            return cg_error(CG_EUNSUPPORTED, "dtype %s, wanted F32, F16, BF16, I64, I32 or U8",
                            name);
    return cg_error(CG_EFORMAT, "dtype '%.40s' is unknown", name);
}

static cg_status read_shape(const json_t *value, cg_dtype dtype, cg_shape *out) {
    if (!json_is_array(value)) return cg_error(CG_EFORMAT, "no shape");
    size_t rank = json_array_size(value);
    if (rank > CG_MAX_RANK)
        return cg_error(CG_EUNSUPPORTED, "%zu dimensions, wanted at most %d", rank, CG_MAX_RANK);
    *out = (cg_shape){.rank = (int)rank};
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(value, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return cg_error(CG_EFORMAT, "dimension %zu is not a count", i);
        out->dim[i] = json_integer_value(dim);
    }
    /* Here a shape that is too large is the file's fault, not the model's. */
    return cg_shape_check(out, dtype) == CG_OK ? CG_OK : CG_EFORMAT;
}

/* Leaves the data as an offset from the start of the file: it is checked once all are known. */
static cg_status read_tensor(const char *name, const json_t *entry, size_t data_start,
                             size_t data_bytes, const unsigned char *file, cg_tensor *out) {
    out->name = name;
    if (!json_is_object(entry)) return cg_error(CG_EFORMAT, "the entry is not an object");
    CG_TRY(read_dtype(json_object_get(entry, "dtype"), &out->dtype));
    CG_TRY(read_shape(json_object_get(entry, "shape"), out->dtype, &out->shape));
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return cg_error(CG_EFORMAT, "data_offsets are not two integers");
    int64_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || end < begin)
        return cg_error(CG_EFORMAT, "data_offsets [%" PRId64 ", %" PRId64 "] are not a range",
                        begin, end);
    if ((uint64_t)end > data_bytes)
        return cg_error(CG_EFORMAT, "data end at %" PRId64 ", but the file has %zu bytes of data",
                        end, data_bytes);
    size_t wanted = (size_t)cg_shape_count(&out->shape) * cg_dtype_size(out->dtype);
    if ((uint64_t)(end - begin) != wanted) {
        char text[CG_SHAPE_TEXT];
        return cg_error(CG_EFORMAT, "%" PRId64 " bytes of data, but %s of %s takes %zu",
                        end - begin, cg_shape_print(&out->shape, text), cg_dtype_name(out->dtype),
                        wanted);
    }
    out->data = file + data_start + (size_t)begin;
    out->bytes = wanted;
    return CG_OK;
}

/* -- all tensors --------------------------------------------------------------------------- */

static int compare_places(const void *a, const void *b) {
    const cg_tensor *x = a, *y = b;
    uintptr_t p = (uintptr_t)x->data, q = (uintptr_t)y->data;
    if (p != q) return p < q ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1; /* empty ones first */
    return strcmp(x->name, y->name);
}

static int compare_names(const void *a, const void *b) {
    return strcmp((*(const cg_tensor *const *)a)->name, (*(const cg_tensor *const *)b)->name);
}

static cg_status check_places(const cg_safetensors *s, size_t data_start) {
    const unsigned char *data = s->map.data + data_start, *end = s->map.data + s->map.bytes;
    const unsigned char *next = data;
    for (int i = 0; i < s->count; i++) {
        const cg_tensor *t = &s->tensors[i];
        const unsigned char *begin = t->data;
        if (begin != next)
            return cg_error(
                CG_EFORMAT, "tensor %.200s: data begin at %td, %s the data before at %td", t->name,
                begin - data, begin < next ? "inside of" : "with a gap after", next - data);
        next = begin + t->bytes;
    }
    if (next != end)
        return cg_error(CG_EFORMAT, "the tensors end at %td, but the file has %td bytes of data",
                        next - data, end - data);
    return CG_OK;
}

static cg_status read_tensors(cg_safetensors *s, size_t data_start) {
    size_t room = json_object_size(s->root) + 1;
    s->tensors = calloc(room, sizeof *s->tensors);
    s->by_name = calloc(room, sizeof *s->by_name);
    if (!s->tensors || !s->by_name) return cg_error(CG_ENOMEM, "no memory for the header");
    const char *name;
    json_t *entry;
    json_object_foreach(s->root, name, entry) {
        if (strcmp(name, meta_key) == 0) {
            CG_TRY(read_meta(s, entry));
            continue;
        }
        cg_status status = read_tensor(name, entry, data_start, s->map.bytes - data_start,
                                       s->map.data, &s->tensors[s->count]);
        if (status != CG_OK) return cg_error_in(status, "tensor %.200s", name);
        s->count++;
    }
    qsort(s->tensors, (size_t)s->count, sizeof *s->tensors, compare_places);
    for (int i = 0; i < s->count; i++) s->by_name[i] = &s->tensors[i];
    qsort(s->by_name, (size_t)s->count, sizeof *s->by_name, compare_names);
    return check_places(s, data_start);
}

cg_status cg_safetensors_open(const char *path, cg_safetensors **out) {
    cg_safetensors *s = calloc(1, sizeof *s);
    if (!s) return cg_error(CG_ENOMEM, "no memory to read %s", path);
    cg_status status = cg_file_map_private(path, &s->map);
    if (status == CG_OK) {
        size_t data_start;
        status = parse_header(s, &data_start);
        if (status == CG_OK) status = read_tensors(s, data_start);
        if (status != CG_OK) cg_error_in(status, "%s", path);
    }
    if (status != CG_OK) {
        cg_safetensors_close(s);
        return status;
    }
    *out = s;
    return CG_OK;
}

void cg_safetensors_close(cg_safetensors *s) {
    if (!s) return;
    json_decref(s->root);
    free(s->tensors);
    free(s->by_name);
    free(s->meta);
    cg_file_unmap(&s->map);
    free(s);
}

int cg_safetensors_count(const cg_safetensors *s) {
    return s->count;
}

const cg_tensor *cg_safetensors_tensors(const cg_safetensors *s) {
    return s->tensors;
}

const cg_tensor *cg_safetensors_find(const cg_safetensors *s, const char *name) {
    cg_tensor wanted = {.name = name};
    const cg_tensor *key = &wanted;
    const cg_tensor **found =
        bsearch(&key, s->by_name, (size_t)s->count, sizeof *s->by_name, compare_names);
    return found ? *found : NULL;
}

int cg_safetensors_meta_count(const cg_safetensors *s) {
    return s->meta_count;
}

const cg_meta *cg_safetensors_meta(const cg_safetensors *s) {
    return s->meta;
}

const char *cg_safetensors_meta_find(const cg_safetensors *s, const char *key) {
    for (int i = 0; i < s->meta_count; i++)
        if (strcmp(s->meta[i].key, key) == 0) return s->meta[i].value;
    return NULL;
}
