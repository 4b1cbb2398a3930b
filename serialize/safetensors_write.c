#include "graph/file.h"
#include "serialize/safetensors.h"
#include "serialize/shape_json.h"

#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, DATA_ALIGN = 64 };

static const char meta_key[] = "__metadata__";

static const char *file_dtype(cg_dtype dtype) {
    static const char *const names[] = {
#define X(name, bytes, file_name) [CG_##name] = file_name,
        CG_DTYPE_LIST(X)
#undef X
    };
    return names[dtype];
}

static cg_status check_tensor(const cg_tensor *t) {
    CG_TRY(cg_shape_check(&t->shape, t->dtype));
    size_t wanted = (size_t)cg_shape_count(&t->shape) * cg_dtype_size(t->dtype);
    if (t->bytes != wanted)
        return cg_error(CG_EINVAL, "%zu bytes of data, but its shape takes %zu", t->bytes, wanted);
    if (t->bytes && !t->data) return cg_error(CG_EINVAL, "no data");
    return CG_OK;
}

/* Adds a member to an object, which takes over value. */
static cg_status add(json_t *object, const char *name, json_t *value) {
    if (!value) return cg_error(CG_EINVAL, "not UTF-8");
    if (json_object_get(object, name)) {
        json_decref(value);
        return cg_error(CG_EINVAL, "given twice");
    }
    if (json_object_set_new(object, name, value) != 0) return cg_error(CG_EINVAL, "not UTF-8");
    return CG_OK;
}

static cg_status add_tensor(json_t *root, const cg_tensor *t, size_t *end) {
    CG_TRY(check_tensor(t));
    if (strcmp(t->name, meta_key) == 0) return cg_error(CG_EINVAL, "the name is reserved");
    if (t->bytes > (size_t)INT64_MAX - *end) return cg_error(CG_EINVAL, "too many bytes");
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", file_dtype(t->dtype), "shape",
                              cg_shape_json(&t->shape), "data_offsets", (json_int_t)*end,
                              (json_int_t)(*end + t->bytes));
    if (!entry) return cg_error(CG_ENOMEM, "no memory for the header");
    CG_TRY(add(root, t->name, entry));
    *end += t->bytes;
    return CG_OK;
}

static cg_status build_header(json_t *root, const cg_tensor *const *order, int count,
                              const cg_meta *meta, int meta_count) {
    if (meta_count > 0) {
        json_t *lines = json_object();
        CG_TRY(add(root, meta_key, lines));
        for (int i = 0; i < meta_count; i++) {
            cg_status status = add(lines, meta[i].key, json_string(meta[i].value));
            if (status != CG_OK) return cg_error_in(status, "metadata %.200s", meta[i].key);
        }
    }
    size_t end = 0;
    for (int i = 0; i < count; i++) {
        cg_status status = add_tensor(root, order[i], &end);
        if (status != CG_OK) return cg_error_in(status, "tensor %.200s", order[i]->name);
    }
    return CG_OK;
}

static cg_status write_file(const char *path, const char *header, const cg_tensor *const *order,
                            int count) {
    static const char spaces[DATA_ALIGN + 1] =
        "                                                                ";
    cg_file *f;
    CG_TRY(cg_file_create(path, &f));
    size_t text = strlen(header), over = (LENGTH_BYTES + text) % DATA_ALIGN;
    size_t padding = over ? DATA_ALIGN - over : 0;
    uint64_t length = text + padding;
    cg_file_write(f, &length, sizeof length);
    cg_file_write(f, header, text);
    cg_file_write(f, spaces, padding);
    for (int i = 0; i < count; i++) cg_file_write(f, order[i]->data, order[i]->bytes);
    return cg_file_commit(f);
}

/* The given order, but by falling powers of two that divide the bytes: what stands before a tensor
 * is then a multiple of its own power, which is an element's size at least. */
static void order_by_alignment(const cg_tensor *tensors, int count, const cg_tensor **order) {
    int n = 0;
    for (size_t power = DATA_ALIGN; power; power /= 2)
        for (int i = 0; i < count; i++) {
            size_t bytes = tensors[i].bytes;
            if (bytes % power == 0 && (power == DATA_ALIGN || bytes % (2 * power) != 0))
                order[n++] = &tensors[i];
        }
}

cg_status cg_safetensors_save(const char *path, const cg_tensor *tensors, int count,
                              const cg_meta *meta, int meta_count) {
    const cg_tensor **order = calloc((size_t)count + 1, sizeof *order);
    json_t *root = json_object();
    char *header = NULL;
    cg_status status = cg_error(CG_ENOMEM, "%s: no memory for the header", path);
    if (order && root) {
        order_by_alignment(tensors, count, order);
        status = build_header(root, order, count, meta, meta_count);
        if (status != CG_OK)
            cg_error_in(status, "%s", path);
        else if (!(header = json_dumps(root, JSON_COMPACT)))
            status = cg_error(CG_ENOMEM, "%s: no memory for the header", path);
        else
            status = write_file(path, header, order, count);
    }
    free(header);
    json_decref(root);
    free(order);
    return status;
}
