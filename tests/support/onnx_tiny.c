#include "tests/support/onnx_tiny.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *const no_string = (char *)(uintptr_t) "";

static void make_node(tiny *t, int i, const char *op, const char *a, const char *b, const char *y) {
    t->node[i] = (CgOnnx__NodeProto)CG_ONNX__NODE_PROTO__INIT;
    t->input[i][0] = (char *)(uintptr_t)a;
    t->input[i][1] = b ? (char *)(uintptr_t)b : no_string;
    t->output[i][0] = (char *)(uintptr_t)y;
    t->node[i].op_type = (char *)(uintptr_t)op;
    t->node[i].name = (char *)(uintptr_t)op;
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
    t->x.name = (char *)(uintptr_t) "x";
    t->y.name = (char *)(uintptr_t) "y";
    t->x.type = t->y.type = &t->type;
    t->x_list[0] = &t->x;
    t->y_list[0] = &t->y;
}

static void make_weight(tiny *t) {
    t->weight = (CgOnnx__TensorProto)CG_ONNX__TENSOR_PROTO__INIT;
    for (int i = 0; i < 12; i++) t->numbers[i] = (float)i - 5;
    t->dims[0] = 3;
    t->dims[1] = 4;
    t->weight.name = (char *)(uintptr_t) "w";
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
    t->attribute.name = (char *)(uintptr_t) "value";
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
