#include "tests/support/onnx_file.h"

#include "graph/file.h"
#include "tests/support/hash.h"
#include "tests/support/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- names ------------------------------------------------------------------------------------ */

typedef struct names {
    const char **name;
    size_t n;
} names;

static int has(const names *known, const char *name) {
    for (size_t i = 0; i < known->n; i++)
        if (strcmp(known->name[i], name) == 0) return 1;
    return 0;
}

static void take(names *known, const char *name) {
    assert_non_null(name);
    if (!*name || has(known, name)) fail_msg("the name '%s' is empty or given twice", name);
    known->name[known->n++] = name;
}

static void check_names(const CgOnnx__GraphProto *g) {
    size_t most = g->n_input + g->n_initializer;
    for (size_t i = 0; i < g->n_node; i++) most += g->node[i]->n_output;
    names known = {calloc(most + 1, sizeof(char *)), 0};
    names nodes = {calloc(g->n_node + 1, sizeof(char *)), 0};
    for (size_t i = 0; i < g->n_input; i++) take(&known, g->input[i]->name);
    for (size_t i = 0; i < g->n_initializer; i++) take(&known, g->initializer[i]->name);
    for (size_t i = 0; i < g->n_node; i++) {
        const CgOnnx__NodeProto *n = g->node[i];
        take(&nodes, n->name);
        for (size_t k = 0; k < n->n_input; k++)
            if (*n->input[k] && !has(&known, n->input[k]))
                fail_msg("%s reads %s, which nothing before it makes", n->name, n->input[k]);
        for (size_t k = 0; k < n->n_output; k++) take(&known, n->output[k]);
    }
    for (size_t i = 0; i < g->n_output; i++)
        if (!has(&known, g->output[i]->name)) fail_msg("nothing makes %s", g->output[i]->name);
    free(nodes.name);
    free(known.name);
}

static int is_read(const CgOnnx__GraphProto *g, const char *name) {
    for (size_t i = 0; i < g->n_output; i++)
        if (strcmp(g->output[i]->name, name) == 0) return 1;
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_input; k++)
            if (strcmp(g->node[i]->input[k], name) == 0) return 1;
    return 0;
}

static void check_readers(const CgOnnx__GraphProto *g) {
    for (size_t i = 0; i < g->n_initializer; i++)
        if (!is_read(g, g->initializer[i]->name))
            fail_msg("nothing reads %s", g->initializer[i]->name);
    for (size_t i = 0; i < g->n_node; i++)
        if (!is_read(g, g->node[i]->output[0])) fail_msg("nothing reads %s", g->node[i]->name);
}

/* --- initializers ----------------------------------------------------------------------------- */

static size_t element_size(int type) {
    switch (type) {
    case CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
        return 4;
    case CG_ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
        return 8;
    case CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
    case CG_ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16:
        return 2;
    default:
        fail_msg("an initializer of type %d", type);
        return 0;
    }
}

static const char *external(const CgOnnx__TensorProto *t, const char *key) {
    for (size_t i = 0; i < t->n_external_data; i++)
        if (strcmp(t->external_data[i]->key, key) == 0) return t->external_data[i]->value;
    fail_msg("%s has no external %s", t->name, key);
    return "";
}

/* Tensors come in the order of their offsets. */
static void check_initializers(const char *path, const CgOnnx__GraphProto *g) {
    size_t end = 0;
    for (size_t i = 0; i < g->n_initializer; i++) {
        const CgOnnx__TensorProto *t = g->initializer[i];
        size_t bytes = element_size(t->data_type);
        for (size_t k = 0; k < t->n_dims; k++) bytes *= (size_t)t->dims[k];
        if (!t->has_data_location ||
            t->data_location != CG_ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
            if (t->raw_data.len != bytes)
                fail_msg("%s: %zu bytes, wanted %zu", t->name, t->raw_data.len, bytes);
            continue;
        }
        char location[1024];
        const char *slash = strrchr(path, '/');
        snprintf(location, sizeof location, "%s.data", slash ? slash + 1 : path);
        size_t offset = strtoull(external(t, "offset"), NULL, 10);
        assert_string_equal(external(t, "location"), location);
        assert_int_equal(strtoull(external(t, "length"), NULL, 10), bytes);
        assert_int_equal(offset % 4096, 0);
        assert_true(offset >= end && bytes >= 1024);
        assert_false(t->has_raw_data);
        end = offset + bytes;
    }
    if (!end) return;
    cg_map map;
    char data[1024];
    snprintf(data, sizeof data, "%s.data", path);
    assert_int_equal(cg_file_map(data, &map), CG_OK);
    assert_int_equal(map.bytes, end);
    cg_file_unmap(&map);
}

/* --- the file --------------------------------------------------------------------------------- */

CgOnnx__ModelProto *cg_test_onnx_open(const char *path) {
    cg_map map;
    if (cg_file_map(path, &map) != CG_OK) fail_msg("%s", cg_error_message());
    CgOnnx__ModelProto *m = cg_onnx__model_proto__unpack(NULL, map.bytes, map.data);
    cg_file_unmap(&map);
    if (!m) fail_msg("%s is not a model", path);
    assert_string_equal(m->producer_name, "clipgraph");
    assert_int_equal(m->n_opset_import, 1);
    assert_true(m->has_ir_version && m->ir_version >= 8);
    assert_non_null(m->graph);
    check_names(m->graph);
    check_readers(m->graph);
    check_initializers(path, m->graph);
    return m;
}

void cg_test_onnx_close(CgOnnx__ModelProto *m) {
    cg_onnx__model_proto__free_unpacked(m, NULL);
}

const CgOnnx__TensorProto *cg_test_onnx_initializer(const CgOnnx__ModelProto *m, const char *name) {
    for (size_t i = 0; i < m->graph->n_initializer; i++)
        if (strcmp(m->graph->initializer[i]->name, name) == 0) return m->graph->initializer[i];
    return NULL;
}

int cg_test_onnx_count(const CgOnnx__ModelProto *m, const char *op) {
    int n = 0;
    for (size_t i = 0; i < m->graph->n_node; i++) n += strcmp(m->graph->node[i]->op_type, op) == 0;
    return n;
}

static const CgOnnx__ValueInfoProto *find(const CgOnnx__ModelProto *m, const char *name) {
    const CgOnnx__GraphProto *g = m->graph;
    for (size_t i = 0; i < g->n_input; i++)
        if (strcmp(g->input[i]->name, name) == 0) return g->input[i];
    for (size_t i = 0; i < g->n_output; i++)
        if (strcmp(g->output[i]->name, name) == 0) return g->output[i];
    return NULL;
}

const char *cg_test_onnx_dims(const CgOnnx__ModelProto *m, const char *name, char text[256]) {
    const CgOnnx__ValueInfoProto *v = find(m, name);
    size_t at = 0;
    text[0] = 0;
    if (!v) return text;
    const CgOnnx__TensorShapeProto *s = v->type->tensor_type->shape;
    for (size_t i = 0; i < s->n_dim && at < 256; i++) {
        const CgOnnx__TensorShapeProto__Dimension *d = s->dim[i];
        if (d->value_case == CG_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM)
            at += (size_t)snprintf(text + at, 256 - at, "%s%s", i ? "," : "", d->dim_param);
        else
            at += (size_t)snprintf(text + at, 256 - at, "%s%lld", i ? "," : "",
                                   (long long)d->dim_value);
    }
    return text;
}

/* --- models to export ------------------------------------------------------------------------- */

exporter exporter_of(const char *name) {
    exporter e = {.d = describe(name)};
    ok(cg_context_create(1, &e.ctx));
    ok(cg_runner_create(e.ctx, &e.d, &e.r));
    e.p = cg_runner_params(e.r);
    cg_hash_params(e.p);
    return e;
}

void exporter_free(exporter *e) {
    cg_runner_free(e->r);
    cg_context_free(e->ctx);
}

CgOnnx__ModelProto *exporter_write(const exporter *e, const cg_onnx_options *o) {
    ok(cg_onnx_export_clip(e->ctx, in_folder("model.onnx"), e->p, &e->d, o));
    return cg_test_onnx_open(in_folder("model.onnx"));
}
