#include "serialize/onnx/read.h"

#include "serialize/onnx/file.h"

#include <stdlib.h>
#include <string.h>

/* --- memory, with a budget: a byte of a file can ask for a hundred of a message --------------- */

typedef struct block {
    size_t bytes;
    max_align_t data[];
} block;

static void *take(void *budget, size_t bytes) {
    size_t *left = budget;
    if (bytes > *left) return NULL;
    block *b = malloc(sizeof *b + bytes);
    if (!b) return NULL;
    b->bytes = bytes;
    *left -= bytes;
    return b->data;
}

static void give_back(void *budget, void *data) {
    if (!data) return;
    block *b = (block *)(void *)((char *)data - offsetof(block, data));
    *(size_t *)budget += b->bytes;
    free(b);
}

/* --- opening ---------------------------------------------------------------------------------- */

static cg_status unpack(cg_onnx_file *f) {
    CG_TRY(cg_onnx_slim_make(f->map.data, f->map.bytes, &f->slim));
    f->budget = ((size_t)256 << 20) + 8 * f->slim.bytes;
    f->allocator = (ProtobufCAllocator){take, give_back, &f->budget};
    f->model = cg_onnx__model_proto__unpack(&f->allocator, f->slim.bytes, f->slim.data);
    free(f->slim.data); /* messages are copies */
    f->slim.data = NULL;
    if (!f->model)
        return cg_error(CG_EFORMAT, "not an ONNX file, or one that unpacks to too much memory");
    if (f->model->graph && f->model->graph->n_initializer != f->slim.n_raw)
        return cg_error(CG_EFORMAT, "not an ONNX file: its initializers cannot be counted");
    return CG_OK;
}

static cg_status read_all(cg_onnx_file *f) {
    CG_TRY(unpack(f));
    CG_TRY(cg_onnx_check(f));
    return cg_onnx_describe(f);
}

cg_status cg_onnx_open(const char *path, cg_onnx_file **out) {
    *out = NULL;
    cg_onnx_file *f = calloc(1, sizeof *f);
    if (!f) return cg_error(CG_ENOMEM, "no memory for %s", path);
    f->path = cg_arena_string(&f->arena, path);
    cg_status s = f->path ? cg_file_map_private(path, &f->map)
                          : cg_error(CG_ENOMEM, "no memory for %s", path);
    if (s == CG_OK) {
        s = read_all(f);
        if (s != CG_OK) s = cg_error_in(s, "%s", path);
    }
    if (s == CG_OK)
        *out = f;
    else
        cg_onnx_close(f);
    return s;
}

void cg_onnx_close(cg_onnx_file *f) {
    if (!f) return;
    if (f->model) cg_onnx__model_proto__free_unpacked(f->model, &f->allocator);
    cg_onnx_slim_free(&f->slim);
    for (int i = 0; i < f->n_external; i++) cg_file_unmap(&f->external[i]);
    cg_file_unmap(&f->map);
    free(f->external);
    free(f->external_path);
    free(f->tensor);
    free(f->order);
    free(f->input);
    free(f->output);
    free(f->meta);
    free(f->op);
    cg_arena_free(&f->arena);
    free(f);
}
