/* labels: unit */
/* ONNX graphs that are wrong, or mean harm, each refused with its sentence. Made here, from a small
 * model that is right. */
#include "tests/support/folder.h"
#include "tests/support/onnx_tiny.h"

#include <stdio.h>

#define PATH       in_folder("model.onnx")
#define TYPE(name) CG_ONNX__TENSOR_PROTO__DATA_TYPE__##name

/* What comes of the model t once something in it is changed, by statements. */
#define changed(status, words, ...)                                                                \
    do {                                                                                           \
        tiny made, *t = &made;                                                                     \
        tiny_make(t);                                                                              \
        __VA_ARGS__;                                                                               \
        tiny_save(&t->model, PATH);                                                                \
        tiny_expect(PATH, #__VA_ARGS__, status, words);                                            \
    } while (0)

/* --- the graph -------------------------------------------------------------------------------- */

static void test_versions(void **state) {
    (void)state;
    changed(CG_OK, "", (void)t);
    changed(CG_EUNSUPPORTED, "opset version 12, wanted 13 to 20", t->opset.version = 12);
    changed(CG_EUNSUPPORTED, "opset version 26, wanted 13 to 20", t->opset.version = 26);
    changed(CG_EUNSUPPORTED, "opset version 0", t->opset.domain = tiny_text("ai.onnx.ml"));
    changed(CG_EUNSUPPORTED, "IR version 1000, wanted 3 to 13", t->model.ir_version = 1000);
    changed(CG_EFORMAT, "there is no graph", t->model.graph = NULL);
}

static void test_names(void **state) {
    (void)state;
    changed(CG_EFORMAT, "node Relu (Relu) reads nothing, which nothing defines",
            t->input[1][0] = tiny_text("nothing"));
    changed(CG_EFORMAT, "output nothing is defined by nothing", t->y.name = tiny_text("nothing"));
    changed(CG_EFORMAT, "node Relu (Relu) waits for its own result",
            t->input[1][0] = tiny_text("y"));
    changed(CG_EFORMAT, "the graph has a cycle", t->input[0][0] = tiny_text("y"));
    changed(CG_EFORMAT, "node Relu (Relu): value h is defined twice",
            t->output[1][0] = t->y.name = tiny_text("h"));
    changed(CG_EFORMAT, "value w is defined twice", t->graph.n_initializer = 2);
    changed(CG_EFORMAT, "node MatMul (MatMul): value x is defined twice",
            t->output[0][0] = tiny_text("x"));
}

/* A chain of nodes, each of whose operands is the one before, twice: 2^n paths. */
static void test_many_paths(void **state) {
    (void)state;
    enum { N = 3000 };
    static CgOnnx__NodeProto node[N], *list[N];
    static char name[N + 1][8], *input[N][2], *output[N][1];
    tiny t;
    tiny_make(&t);
    for (int i = 0; i < N; i++) {
        static const char *const op[4] = {"Add", "Mul", "Tanh", "MatMul"};
        int k = i % 17 == 3 ? 2 : i & 1;
        node[i] = (CgOnnx__NodeProto)CG_ONNX__NODE_PROTO__INIT;
        snprintf(name[i + 1], sizeof name[0], "v%d", i);
        input[i][0] = input[i][1] = i ? name[i] : tiny_text("x");
        output[i][0] = i == N - 1 ? tiny_text("y") : name[i + 1];
        node[i].op_type = tiny_text(op[k]);
        node[i].input = input[i];
        node[i].n_input = k == 2 ? 1 : 2;
        node[i].output = output[i];
        node[i].n_output = 1;
        list[N - 1 - i] = &node[i]; /* in no order that runs, either */
    }
    t.graph.node = list;
    t.graph.n_node = N;
    tiny_save(&t.model, PATH);
    tiny_expect(PATH, "many paths", CG_OK, "");
}

/* --- operators -------------------------------------------------------------------------------- */

static void add_node(tiny *t, const char *op, const char *a, const char *b) {
    t->node[2].op_type = t->node[2].name = tiny_text(op);
    t->input[2][0] = tiny_text(a);
    t->input[2][1] = tiny_text(b ? b : "");
    t->node[2].n_input = b ? 2 : 1;
    t->node[2].n_output = 1;
    t->output[2][0] = tiny_text("y");
    t->output[1][0] = tiny_text("z");
    t->graph.n_node = 3;
}

enum {
    AN_INT = CG_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT,
    INTS = CG_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS,
    GRAPH = CG_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH
};

static void name_attribute(CgOnnx__AttributeProto *a, const char *name, int type) {
    a->name = tiny_text(name);
    a->has_type = 1;
    a->type = type;
}

static void with_graph(tiny *t, const char *op, const char *attribute) {
    static CgOnnx__GraphProto body = CG_ONNX__GRAPH_PROTO__INIT;
    add_node(t, op, "z", NULL);
    name_attribute(&t->attribute, attribute, GRAPH);
    t->attribute.g = &body;
    t->node[2].n_attribute = 1;
}

static void with_function(tiny *t) {
    static CgOnnx__FunctionProto f = CG_ONNX__FUNCTION_PROTO__INIT, *list[1] = {&f};
    f.name = tiny_text("Mine");
    t->model.functions = list;
    t->model.n_functions = 1;
}

static void with_permutation(tiny *t, int64_t *perm) {
    add_node(t, "Transpose", "z", NULL);
    name_attribute(&t->attribute, "perm", INTS);
    t->attribute.ints = perm;
    t->attribute.n_ints = 2;
    t->node[2].n_attribute = 1;
}

static void with_axis(tiny *t, int64_t axis) {
    add_node(t, "Softmax", "z", NULL);
    name_attribute(&t->attribute, "axis", AN_INT);
    t->attribute.has_i = 1;
    t->attribute.i = axis;
    t->node[2].n_attribute = 1;
}

static void test_operators(void **state) {
    (void)state;
    static int64_t twice[2] = {0, 0};
    changed(CG_EFORMAT, "node Relu (no operator): has no operator", t->node[1].op_type = NULL);
    changed(CG_EUNSUPPORTED, "node Relu (Frobnicate): this operator is not supported",
            t->node[1].op_type = tiny_text("Frobnicate"));
    changed(CG_EUNSUPPORTED, "an operator of domain com.example",
            t->node[1].domain = tiny_text("com.example"));
    changed(CG_EFORMAT, "has 1 operands, wanted 2", t->node[0].n_input = 1);
    changed(CG_EFORMAT, "has 2 operands, wanted 2", t->input[0][0] = tiny_text(""));
    changed(CG_EUNSUPPORTED, "node Loop (Loop): attribute body is a graph",
            with_graph(t, "Loop", "body"));
    changed(CG_EUNSUPPORTED, "node If (If): branches by what only a run",
            with_graph(t, "If", "then_branch");
            t->node[1].op_type = tiny_text("IsNaN"));
    changed(CG_EUNSUPPORTED, "function Mine: functions are not read", with_function(t));
    changed(CG_EFORMAT, "(Transpose): has no permutation", with_permutation(t, twice));
    changed(CG_EFORMAT, "has axis -9223372036854775808, its operand has rank 2",
            with_axis(t, INT64_MIN));
}

/* A constant of integers, numbers[0…n), as the second operand of `op`. */
static void with_integers(tiny *t, const char *op, int64_t *numbers, int64_t n) {
    static CgOnnx__NodeProto constant, *list[4];
    static CgOnnx__AttributeProto attribute, *attributes[1] = {&attribute};
    static char *output[1];
    add_node(t, op, "z", "c");
    constant = (CgOnnx__NodeProto)CG_ONNX__NODE_PROTO__INIT;
    attribute = (CgOnnx__AttributeProto)CG_ONNX__ATTRIBUTE_PROTO__INIT;
    name_attribute(&attribute, "value_ints", INTS);
    attribute.ints = numbers;
    attribute.n_ints = (size_t)n;
    constant.op_type = tiny_text("Constant");
    constant.attribute = attributes;
    constant.n_attribute = 1;
    output[0] = tiny_text("c");
    constant.output = output;
    constant.n_output = 1;
    list[0] = &constant;
    for (int i = 0; i < 3; i++) list[i + 1] = t->node_list[i];
    t->graph.node = list;
    t->graph.n_node = 4;
}

/* The same, of which the operator makes a tensor. */
static void fill(tiny *t, int64_t *shape) {
    with_integers(t, "ConstantOfShape", shape, 3);
    t->input[2][0] = tiny_text("c");
    t->node[2].n_input = 1;
}

/* The same with a tensor of zeros. */
static void with_tensor(tiny *t, const char *op, int type, int64_t n, size_t bytes) {
    static CgOnnx__TensorProto tensor;
    static int64_t dims[1];
    static uint8_t zeros[64];
    tensor = t->weight;
    dims[0] = n;
    tensor.name = tiny_text("c");
    tensor.dims = dims;
    tensor.n_dims = 1;
    tensor.data_type = type;
    tensor.raw_data.data = zeros;
    tensor.raw_data.len = bytes;
    t->weight_list[1] = &tensor;
    t->graph.n_initializer = 2;
    add_node(t, op, "z", "c");
}

static void with_axes(tiny *t, const char *op, const char *name) {
    static int64_t axes[1] = {1};
    add_node(t, op, "z", NULL);
    name_attribute(&t->attribute, name, INTS);
    t->attribute.ints = axes;
    t->attribute.n_ints = 1;
    t->node[2].n_attribute = 1;
}

/* What opsets say of operators: tools/onnx/check_operators.py asks whether all of it is so. */
static void test_opsets(void **state) {
    (void)state;
    changed(CG_EFORMAT, "node Relu (Gelu): opset 19 has no such operator, it came with 20",
            t->node[1].op_type = tiny_text("Gelu");
            t->opset.version = 19);
    changed(CG_OK, "", t->node[1].op_type = tiny_text("Gelu"); t->opset.version = 20);
    changed(CG_EFORMAT,
            "(ReduceSum): has an attribute axes, which the operator has not in this opset",
            with_axes(t, "ReduceSum", "axes"));
    changed(CG_OK, "", with_axes(t, "ReduceMean", "axes"));
    changed(CG_EFORMAT,
            "(ReduceMean): has an attribute axes, which the operator has not in this opset",
            with_axes(t, "ReduceMean", "axes");
            t->opset.version = 18);
    changed(CG_EFORMAT, "(Softmax): has an attribute axes, which", with_axes(t, "Softmax", "axes"));
    changed(CG_EFORMAT, "(Softmax): has an attribute axis of another type, wanted an integer",
            with_axes(t, "Softmax", "axis"));
    changed(CG_EFORMAT, "(Softmax): has an attribute axis of another type, wanted an integer",
            with_axis(t, 1);
            t->attribute.type = CG_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    changed(CG_EFORMAT, "(Softmax): has an attribute axis of another type, wanted an integer",
            with_axis(t, 1);
            t->attribute.has_type = 0);
    changed(CG_EFORMAT, "(Softmax): has an attribute axis of another type, wanted an integer",
            with_axis(t, 1);
            t->attribute.has_f = 1);
    changed(CG_EFORMAT, "(Softmax): has attribute axis twice", with_axis(t, 1);
            t->node[2].attribute = (CgOnnx__AttributeProto *[]){&t->attribute, &t->attribute};
            t->node[2].n_attribute = 2);
    changed(CG_EFORMAT, "(Softmax): has 2 operands, wanted at most 1",
            add_node(t, "Softmax", "z", "z"));
    changed(CG_EFORMAT, "(Tanh): has 2 results, wanted at most 1", add_node(t, "Tanh", "z", NULL);
            t->node[2].n_output = 2; t->output[2][1] = tiny_text("more"));
}

static void test_types(void **state) {
    (void)state;
    static int64_t one[1] = {1};
    changed(CG_EFORMAT, "node Add (Add): operand 1, c, is i64, wanted f32 as operand 0",
            with_integers(t, "Add", one, 1));
    changed(CG_EFORMAT, "(Equal): operand 1, c, is i64, wanted f32 as operand 0",
            with_integers(t, "Equal", one, 1));
    changed(CG_EFORMAT, "(MatMul): operand 1, w, is i32, wanted f32 as operand 0",
            t->weight.data_type = TYPE(INT32));
    changed(CG_EFORMAT, "(MatMul): operand 1, w, is f16, wanted f32 as operand 0",
            t->weight.data_type = TYPE(FLOAT16);
            t->weight.raw_data.len = 24);
    changed(CG_EFORMAT, "(MatMul): operand 1, w, is f64, wanted f32 as operand 0",
            t->weight.data_type = TYPE(DOUBLE);
            t->dims[1] = 2);
    changed(CG_EFORMAT, "(MatMul): operand 1, w, is f32, wanted f16 as operand 0",
            t->tensor.elem_type = TYPE(FLOAT16));
    changed(CG_EFORMAT, "(Reshape): operand 1, c, is i32, wanted i64",
            with_tensor(t, "Reshape", TYPE(INT32), 2, 8));
    changed(CG_EFORMAT, "(Gather): operand 1, c, is f32, wanted i32 or i64",
            with_tensor(t, "Gather", TYPE(FLOAT), 2, 8));
    changed(CG_OK, "", with_tensor(t, "Gather", TYPE(INT32), 2, 8));
    changed(CG_EFORMAT, "(Mul): operand 1, c, is bool, wanted f32 as operand 0",
            with_tensor(t, "Mul", TYPE(BOOL), 4, 4));
    changed(CG_EFORMAT, "(Not): operand 0, z, is f32, wanted bool", add_node(t, "Not", "z", NULL));
}

static void test_declared(void **state) {
    (void)state;
    static CgOnnx__TensorShapeProto none = CG_ONNX__TENSOR_SHAPE_PROTO__INIT;
    static CgOnnx__ValueInfoProto *inner[1];
    changed(CG_EFORMAT, "output y is declared as f16, and is f32",
            t->y_tensor.elem_type = TYPE(FLOAT16));
    changed(CG_EFORMAT, "value y is declared as f16, and is f32",
            t->y_tensor.elem_type = TYPE(FLOAT16);
            inner[0] = &t->y; t->graph.value_info = inner; t->graph.n_value_info = 1);
    changed(CG_EFORMAT, "output y is [2, 4], dimension 1 declared as 3",
            t->y_tensor.shape = &t->shape);
    changed(CG_EFORMAT, "output y is [2, 4], declared with rank 0", t->y_tensor.shape = &none);
}

/* Sizes that are known before the run. */
static void test_sizes(void **state) {
    (void)state;
    static int64_t wrong_shape[2] = {5, -1}, far_row[1] = {INT64_C(1) << 40},
                   huge_shape[3] = {INT64_C(1) << 20, INT64_C(1) << 20, 8},
                   endless[3] = {INT64_MAX, INT64_MAX, INT64_MAX},
                   large[3] = {INT64_C(1) << 20, INT64_C(1) << 10, 1};
    changed(CG_EFORMAT, "node Reshape (Reshape): makes [5, -1] of [2, 4]",
            with_integers(t, "Reshape", wrong_shape, 2));
    changed(CG_ESHAPE, "node Expand (Expand)", with_integers(t, "Expand", huge_shape, 3));
    changed(CG_ESHAPE, "node Expand (Expand)", with_integers(t, "Expand", endless, 3));
    changed(CG_EFORMAT, "has index 1099511627776, wanted less than 2",
            with_integers(t, "Gather", far_row, 1));
    changed(CG_EUNSUPPORTED, "makes [1048576, 1024, 1] before the run, 4294967296 bytes",
            fill(t, large));
    changed(CG_ESHAPE, "node ConstantOfShape (ConstantOfShape)", fill(t, endless));
    changed(CG_EFORMAT, "repeats 9223372036854775807 times", with_integers(t, "Tile", endless, 2);
            t->input[2][0] = tiny_text("w"));
}

/* --- tensors ---------------------------------------------------------------------------------- */

static void test_weights(void **state) {
    (void)state;
    changed(CG_EFORMAT, "tensor w: dimension 1 is -4", t->dims[1] = -4);
    changed(CG_EFORMAT, "more elements than memory can address",
            t->dims[0] = t->dims[1] = INT64_C(1) << 40);
    changed(CG_EFORMAT, "more elements than memory can address", t->dims[0] = 0;
            t->dims[1] = t->dims[2] = INT64_MAX; t->weight.n_dims = 3; t->weight.raw_data.len = 0);
    changed(CG_EUNSUPPORTED, "tensor w: has rank 8, wanted at most 6",
            for (int i = 0; i < 8; i++) t->dims[i] = 1;
            t->weight.n_dims = 8);
    changed(CG_EFORMAT, "has 47 bytes of data, its shape and type f32 take 48",
            t->weight.raw_data.len = 47);
    changed(CG_EFORMAT, "tensor w: has 0 elements, its shape takes 12", t->weight.has_raw_data = 0);
    changed(CG_EUNSUPPORTED, "tensor w: has element type 8", t->weight.data_type = TYPE(STRING));
    changed(CG_EUNSUPPORTED, "tensor w: has element type", t->weight.data_type = 77);
    changed(CG_EFORMAT, "multiplies rows of 3 by a matrix of 4", t->dims[0] = 4; t->dims[1] = 3);
}

static void test_inputs(void **state) {
    (void)state;
    changed(CG_ESHAPE, "input x is [2, 3], wanted [2, 4]", t->dim[1].dim_value = 4);
    changed(CG_EUNSUPPORTED, "input x: has element type 8", t->tensor.elem_type = TYPE(STRING));
    changed(CG_EUNSUPPORTED, "input x: is not declared as a tensor", t->x.type = NULL);
    changed(CG_EFORMAT, "input 0 has no name", t->x.name = NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),   cmocka_unit_test(test_names),
        cmocka_unit_test(test_many_paths), cmocka_unit_test(test_operators),
        cmocka_unit_test(test_sizes),      cmocka_unit_test(test_weights),
        cmocka_unit_test(test_inputs),     cmocka_unit_test(test_opsets),
        cmocka_unit_test(test_types),      cmocka_unit_test(test_declared),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
