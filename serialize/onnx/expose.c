/* Values inside a file, as outputs of it. */
#include "serialize/onnx/file.h"

#include <stdlib.h>
#include <string.h>

static int is_made(const CgOnnx__GraphProto *g, const char *name) {
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_output; k++)
            if (strcmp(g->node[i]->output[k], name) == 0) return 1;
    return 0;
}

static void *take(cg_onnx_file *f, size_t bytes) {
    return f->allocator.alloc(f->allocator.allocator_data, bytes);
}

cg_status cg_onnx_expose(cg_onnx_file *f, const char *name) {
    CgOnnx__GraphProto *g = f->model->graph;
    if (!is_made(g, name)) return cg_error(CG_ENOTFOUND, "no node makes %.200s", name);
    size_t n = g->n_output;
    cg_onnx_port *ports = realloc(f->output, (n + 1) * sizeof *ports);
    if (ports) f->output = ports;
    CgOnnx__ValueInfoProto **list = take(f, (n + 1) * sizeof *list), *v = take(f, sizeof *v);
    char *copy = take(f, strlen(name) + 1);
    if (!ports || !list || !v || !copy) {
        f->allocator.free(f->allocator.allocator_data, list);
        f->allocator.free(f->allocator.allocator_data, v);
        f->allocator.free(f->allocator.allocator_data, copy);
        return cg_error(CG_ENOMEM, "no memory for an output");
    }
    memcpy(list, g->output, n * sizeof *list);
    cg_onnx__value_info_proto__init(v);
    v->name = strcpy(copy, name);
    list[n] = v;
    f->allocator.free(f->allocator.allocator_data, g->output);
    g->output = list;
    g->n_output = n + 1;
    ports[f->n_output++] = (cg_onnx_port){.name = copy, .dtype = CG_F32, .rank = -1};
    return CG_OK;
}
