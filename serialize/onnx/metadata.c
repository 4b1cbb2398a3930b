#include "serialize/onnx/metadata.h"

#include "onnx/onnx.pb-c.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cg_status append(const char *path, const void *bytes, size_t size) {
    FILE *f = fopen(path, "r+b");
    if (!f)
        return cg_error(errno == ENOENT ? CG_ENOTFOUND : CG_EIO, "%s: %s", path, strerror(errno));
    int bad = fseek(f, 0, SEEK_END) != 0 || fwrite(bytes, 1, size, f) != size;
    bad |= fclose(f) != 0;
    return bad ? cg_error(CG_EIO, "%s: %s", path, strerror(errno)) : CG_OK;
}

cg_status cg_onnx_append_meta(const char *path, const cg_meta *meta, int n) {
    CgOnnx__ModelProto model;
    cg_onnx__model_proto__init(&model);
    CgOnnx__StringStringEntryProto *entry = calloc((size_t)n + 1, sizeof *entry);
    model.metadata_props = calloc((size_t)n + 1, sizeof(void *));
    model.n_metadata_props = (size_t)n;
    if (!entry || !model.metadata_props) {
        free(entry);
        free(model.metadata_props);
        return cg_error(CG_ENOMEM, "%s: no memory for its metadata", path);
    }
    for (int i = 0; i < n; i++) {
        cg_onnx__string_string_entry_proto__init(&entry[i]);
        entry[i].key = (char *)(uintptr_t)meta[i].key;
        entry[i].value = (char *)(uintptr_t)meta[i].value;
        model.metadata_props[i] = &entry[i];
    }
    size_t size = cg_onnx__model_proto__get_packed_size(&model);
    uint8_t *bytes = malloc(size + 1);
    cg_status s = bytes ? CG_OK : cg_error(CG_ENOMEM, "%s: no memory for its metadata", path);
    if (s == CG_OK) s = append(path, bytes, cg_onnx__model_proto__pack(&model, bytes));
    free(bytes);
    free(entry);
    free(model.metadata_props);
    return s;
}
