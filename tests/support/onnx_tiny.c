#include "tests/support/onnx_tiny.h"

#include "serialize/onnx/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *tiny_text(const char *s) {
    return (char *)(uintptr_t)s;
}

static void make_node(tiny *t, int i, const char *op, const char *a, const char *b, const char *y) {
    t->node[i] = (CgOnnx__NodeProto)CG_ONNX__NODE_PROTO__INIT;
    t->input[i][0] = tiny_text(a);
    t->input[i][1] = tiny_text(b ? b : "");
    t->output[i][0] = tiny_text(y);
    t->node[i].op_type = tiny_text(op);
    t->node[i].name = tiny_text(op);
    t->node[i].input = t->input[i];
    t->node[i].n_input = b ? 2 : 1;
    t->node[i].output = t->output[i];
    t->node[i].n_output = 1;
    t->node_list[i] = &t->node[i];
}

static void make_ports(tiny *t) {
    t->tensor = (CgOnnx__TypeProto__Tensor)CG_ONNX__TYPE_PROTO__TENSOR__INIT;
    t->shape = (CgOnnx__TensorShapeProto)CG_ONNX__TENSOR_SHAPE_PROTO__INIT;
    t->type = (CgOnnx__TypeProto)CG_ONNX__TYPE_PROTO__INIT;
    for (int i = 0; i < 2; i++) {
        t->dim[i] =
            (CgOnnx__TensorShapeProto__Dimension)CG_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT;
        t->dim[i].value_case = CG_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        t->dim[i].dim_value = 2 + i;
        t->dim_list[i] = &t->dim[i];
    }
    t->shape.dim = t->dim_list;
    t->shape.n_dim = 2;
    t->tensor.has_elem_type = 1;
    t->tensor.elem_type = CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    t->tensor.shape = &t->shape;
    t->type.value_case = CG_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    t->type.tensor_type = &t->tensor;
    t->x = t->y = (CgOnnx__ValueInfoProto)CG_ONNX__VALUE_INFO_PROTO__INIT;
    t->x.name = tiny_text("x");
    t->y.name = tiny_text("y");
    t->x.type = &t->type;
    t->y_type = t->type; /* of no declared shape */
    t->y_tensor = t->tensor;
    t->y_tensor.shape = NULL;
    t->y_type.tensor_type = &t->y_tensor;
    t->y.type = &t->y_type;
    t->x_list[0] = &t->x;
    t->y_list[0] = &t->y;
}

static void make_weight(tiny *t) {
    t->weight = (CgOnnx__TensorProto)CG_ONNX__TENSOR_PROTO__INIT;
    for (int i = 0; i < 12; i++) t->numbers[i] = (float)i - 5;
    t->dims[0] = 3;
    t->dims[1] = 4;
    t->weight.name = tiny_text("w");
    t->weight.dims = t->dims;
    t->weight.n_dims = 2;
    t->weight.has_data_type = 1;
    t->weight.data_type = CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    t->weight.has_raw_data = 1;
    t->weight.raw_data.data = (uint8_t *)t->numbers;
    t->weight.raw_data.len = sizeof t->numbers;
    t->weight_list[0] = t->weight_list[1] = &t->weight;
    for (int i = 0; i < 3; i++) {
        t->external[i] = (CgOnnx__StringStringEntryProto)CG_ONNX__STRING_STRING_ENTRY_PROTO__INIT;
        t->external_list[i] = &t->external[i];
    }
}

void tiny_make(tiny *t) {
    memset(t, 0, sizeof *t);
    make_node(t, 0, "MatMul", "x", "w", "h");
    make_node(t, 1, "Relu", "h", NULL, "y");
    make_node(t, 2, "Constant", "x", NULL, "c");
    make_ports(t);
    make_weight(t);
    t->attribute = (CgOnnx__AttributeProto)CG_ONNX__ATTRIBUTE_PROTO__INIT;
    t->attribute.name = tiny_text("value");
    t->attribute_list[0] = &t->attribute;
    t->node[2].attribute = t->attribute_list;
    t->opset = (CgOnnx__OperatorSetIdProto)CG_ONNX__OPERATOR_SET_ID_PROTO__INIT;
    t->opset.has_version = 1;
    t->opset.version = 17;
    t->opset_list[0] = &t->opset;
    t->graph = (CgOnnx__GraphProto)CG_ONNX__GRAPH_PROTO__INIT;
    t->graph.node = t->node_list;
    t->graph.n_node = 2;
    t->graph.initializer = t->weight_list;
    t->graph.n_initializer = 1;
    t->graph.input = t->x_list;
    t->graph.n_input = 1;
    t->graph.output = t->y_list;
    t->graph.n_output = 1;
    t->model = (CgOnnx__ModelProto)CG_ONNX__MODEL_PROTO__INIT;
    t->model.has_ir_version = 1;
    t->model.ir_version = 8;
    t->model.opset_import = t->opset_list;
    t->model.n_opset_import = 1;
    t->model.graph = &t->graph;
}

void tiny_expect(const char *path, const char *what, cg_status wanted, const char *words) {
    static const float x[6] = {1, 2, 3, 4, 5, 6};
    cg_context *ctx;
    cg_onnx_session *s;
    ok(cg_context_create(1, &ctx));
    cg_status found = cg_onnx_session_create(ctx, path, NULL, &s);
    if (found == CG_OK) {
        cg_tensor in = {"x", CG_F32, CG_SHAPE(2, 3), x, sizeof x}, out = {0};
        found = cg_onnx_session_run(s, &in, 1, &out, 1);
    }
    const char *sentence = found ? cg_error_message() : "";
    if (found != wanted || !strstr(sentence, words))
        fail_msg("%s: %s, \"%s\", wanted %s, \"%s\"", what, cg_status_name(found), sentence,
                 cg_status_name(wanted), words);
    if (found && !strstr(sentence, path)) fail_msg("%s: no file in %s", what, sentence);
    cg_onnx_session_free(s);
    cg_context_free(ctx);
}

void tiny_write(const char *path, const void *data, size_t bytes) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, bytes, f) != bytes || fclose(f) != 0) fail_msg("%s", path);
}

void tiny_save(const CgOnnx__ModelProto *model, const char *path) {
    size_t bytes = cg_onnx__model_proto__get_packed_size(model);
    unsigned char *data = malloc(bytes + 1);
    assert_non_null(data);
    assert_int_equal(cg_onnx__model_proto__pack(model, data), bytes);
    tiny_write(path, data, bytes);
    free(data);
}

unsigned char *tiny_read(const char *path, size_t *bytes) {
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) fail_msg("%s", path);
    *bytes = (size_t)ftell(f);
    unsigned char *data = malloc(*bytes + 1);
    rewind(f);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *bytes, f), *bytes);
    fclose(f);
    return data;
}
