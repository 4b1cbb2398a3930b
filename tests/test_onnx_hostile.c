/* labels: unit */
/* Files that are wrong, or mean harm, each refused with its sentence. Made here, from a small model
 * that is right. */
#include "serialize/onnx/session.h"
#include "tests/support/golden.h"
#include "tests/support/onnx_tiny.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#define FOLDER     "onnx_hostile.tmp"
#define PATH       FOLDER "/model.onnx"
#define TYPE(name) CG_ONNX__TENSOR_PROTO__DATA_TYPE__##name

static char *text(const char *s) {
    return (char *)(uintptr_t)s;
}

/* Opens the file, and where that succeeds runs it. */
static cg_status open_and_run(const char *path) {
    static const float x[6] = {1, 2, 3, 4, 5, 6};
    cg_context *ctx;
    cg_onnx_session *s;
    ok(cg_context_create(1, &ctx));
    cg_status status = cg_onnx_session_create(ctx, path, NULL, &s);
    if (status == CG_OK) {
        cg_tensor in = {"x", CG_F32, CG_SHAPE(2, 3), x, sizeof x}, out = {0};
        status = cg_onnx_session_run(s, &in, 1, &out, 1);
    }
    cg_onnx_session_free(s);
    cg_context_free(ctx);
    return status;
}

static void expect(const char *what, cg_status wanted, const char *says) {
    cg_status found = open_and_run(PATH);
    if (found != wanted || !strstr(cg_error_message(), says))
        fail_msg("%s: %s, \"%s\", wanted %s, \"%s\"", what, cg_status_name(found),
                 found ? cg_error_message() : "", cg_status_name(wanted), says);
    if (found && !strstr(cg_error_message(), PATH)) fail_msg("no file in %s", cg_error_message());
}

/* --- one change each -------------------------------------------------------------------------- */

static void add_node(tiny *t, const char *op, const char *a, const char *b) {
    t->node[2].op_type = t->node[2].name = text(op);
    t->input[2][0] = text(a);
    t->input[2][1] = text(b ? b : "");
    t->node[2].n_input = b ? 2 : 1;
    t->node[2].n_output = 1;
    t->output[2][0] = text("y");
    t->output[1][0] = text("z");
    t->graph.n_node = 3;
}

static void no_change(tiny *t) {
    (void)t;
}
static void old_opset(tiny *t) {
    t->opset.version = 12;
}
static void new_opset(tiny *t) {
    t->opset.version = 26;
}
static void other_domain_only(tiny *t) {
    t->opset.domain = text("ai.onnx.ml");
}
static void new_ir(tiny *t) {
    t->model.ir_version = 1000;
}
static void no_graph(tiny *t) {
    t->model.graph = NULL;
}
static void missing_input(tiny *t) {
    t->input[1][0] = text("nothing");
}
static void missing_output(tiny *t) {
    t->y.name = text("nothing");
}
static void own_input(tiny *t) {
    t->input[1][0] = text("y");
}
static void cycle(tiny *t) {
    t->input[0][0] = text("y");
}
static void twice_by_nodes(tiny *t) {
    t->output[1][0] = text("h");
    t->y.name = text("h");
}
static void twice_by_weights(tiny *t) {
    t->graph.n_initializer = 2;
}
static void over_an_input(tiny *t) {
    t->output[0][0] = text("x");
}
static void no_operator(tiny *t) {
    t->node[1].op_type = NULL;
}
static void unknown_operator(tiny *t) {
    t->node[1].op_type = text("Frobnicate");
}
static void other_domain(tiny *t) {
    t->node[1].domain = text("com.example");
}
static void too_few_operands(tiny *t) {
    t->node[0].n_input = 1;
}
static void absent_operand(tiny *t) {
    t->input[0][0] = text("");
}
static void a_loop(tiny *t) {
    static CgOnnx__GraphProto body = CG_ONNX__GRAPH_PROTO__INIT;
    add_node(t, "Loop", "z", NULL);
    t->attribute.name = text("body");
    t->attribute.g = &body;
    t->node[2].n_attribute = 1;
}
static void a_branch_of_a_run(tiny *t) {
    static CgOnnx__GraphProto body = CG_ONNX__GRAPH_PROTO__INIT;
    add_node(t, "If", "z", NULL);
    t->attribute.name = text("then_branch");
    t->attribute.g = &body;
    t->node[2].n_attribute = 1;
}
static void a_function(tiny *t) {
    static CgOnnx__FunctionProto f = CG_ONNX__FUNCTION_PROTO__INIT, *list[1] = {&f};
    f.name = text("Mine");
    t->model.functions = list;
    t->model.n_functions = 1;
}
static void negative_dimension(tiny *t) {
    t->dims[1] = -4;
}
static void huge_dimensions(tiny *t) {
    t->dims[0] = t->dims[1] = INT64_C(1) << 40;
}
static void huge_beside_zero(tiny *t) {
    t->dims[0] = 0;
    t->dims[1] = t->dims[2] = INT64_MAX;
    t->weight.n_dims = 3;
    t->weight.raw_data.len = 0;
}
static void high_rank(tiny *t) {
    for (int i = 0; i < 8; i++) t->dims[i] = 1;
    t->weight.n_dims = 8;
}
static void short_data(tiny *t) {
    t->weight.raw_data.len = 47;
}
static void no_data(tiny *t) {
    t->weight.has_raw_data = 0;
}
static void strings(tiny *t) {
    t->weight.data_type = TYPE(STRING);
}
static void unknown_type(tiny *t) {
    t->weight.data_type = 77;
}
static void integer_weights(tiny *t) {
    t->weight.data_type = TYPE(INT32);
}
static void other_columns(tiny *t) {
    t->dims[0] = 4;
    t->dims[1] = 3;
}
static void other_input_size(tiny *t) {
    t->dim[1].dim_value = 4;
}
static void text_input(tiny *t) {
    t->tensor.elem_type = TYPE(STRING);
}
static void untyped_input(tiny *t) {
    t->x.type = NULL;
}
static void unnamed_input(tiny *t) {
    t->x.name = NULL;
}
static void bad_permutation(tiny *t) {
    static int64_t perm[2] = {0, 0};
    add_node(t, "Transpose", "z", NULL);
    t->attribute.name = text("perm");
    t->attribute.ints = perm;
    t->attribute.n_ints = 2;
    t->node[2].n_attribute = 1;
}
static void bad_axis(tiny *t) {
    add_node(t, "Softmax", "z", NULL);
    t->attribute.name = text("axis");
    t->attribute.has_i = 1;
    t->attribute.i = INT64_MIN;
    t->node[2].n_attribute = 1;
}

/* A constant of integers, numbers[0…n), as the second operand of `op`. */
static void with_integers(tiny *t, const char *op, int64_t *numbers, int64_t n) {
    static CgOnnx__NodeProto constant, *list[4];
    static CgOnnx__AttributeProto attribute, *attributes[1] = {&attribute};
    static char *output[1];
    add_node(t, op, "z", "c");
    constant = (CgOnnx__NodeProto)CG_ONNX__NODE_PROTO__INIT;
    attribute = (CgOnnx__AttributeProto)CG_ONNX__ATTRIBUTE_PROTO__INIT;
    attribute.name = text("value_ints");
    attribute.ints = numbers;
    attribute.n_ints = (size_t)n;
    constant.op_type = text("Constant");
    constant.attribute = attributes;
    constant.n_attribute = 1;
    output[0] = text("c");
    constant.output = output;
    constant.n_output = 1;
    list[0] = &constant;
    for (int i = 0; i < 3; i++) list[i + 1] = t->node_list[i];
    t->graph.node = list;
    t->graph.n_node = 4;
}

static int64_t wrong_shape[2] = {5, -1}, huge_shape[3] = {INT64_C(1) << 20, INT64_C(1) << 20, 8},
               endless[3] = {INT64_MAX, INT64_MAX, INT64_MAX}, far_row[1] = {INT64_C(1) << 40},
               large[3] = {INT64_C(1) << 20, INT64_C(1) << 10, 1};

static void reshape_wrong(tiny *t) {
    with_integers(t, "Reshape", wrong_shape, 2);
}
static void expand_huge(tiny *t) {
    with_integers(t, "Expand", huge_shape, 3);
}
static void expand_endless(tiny *t) {
    with_integers(t, "Expand", endless, 3);
}
static void gather_far(tiny *t) {
    with_integers(t, "Gather", far_row, 1);
}
static void fill_large(tiny *t) {
    with_integers(t, "ConstantOfShape", large, 3);
    t->input[2][0] = text("c");
    t->node[2].n_input = 1;
}
static void fill_endless(tiny *t) {
    with_integers(t, "ConstantOfShape", endless, 3);
    t->input[2][0] = text("c");
    t->node[2].n_input = 1;
}
static void repeat_endless(tiny *t) {
    with_integers(t, "Tile", endless, 2);
    t->input[2][0] = text("w");
}

static void test_changes(void **state) {
    (void)state;
#define CHANGE(f, status, says)                                                                    \
    { #f, f, status, says }
    static const struct {
        const char *name;
        void (*change)(tiny *t);
        cg_status status;
        const char *says;
    } list[] = {
        {"no change", no_change, CG_OK, ""},
        CHANGE(old_opset, CG_EUNSUPPORTED, "opset version 12, wanted 13 to 20"),
        CHANGE(new_opset, CG_EUNSUPPORTED, "opset version 26, wanted 13 to 20"),
        CHANGE(other_domain_only, CG_EUNSUPPORTED, "opset version 0"),
        CHANGE(new_ir, CG_EUNSUPPORTED, "IR version 1000, wanted 3 to 13"),
        CHANGE(no_graph, CG_EFORMAT, "there is no graph"),
        CHANGE(missing_input, CG_EFORMAT, "node Relu (Relu) reads nothing, which nothing defines"),
        CHANGE(missing_output, CG_EFORMAT, "output nothing is defined by nothing"),
        CHANGE(own_input, CG_EFORMAT, "node Relu (Relu) waits for its own result"),
        CHANGE(cycle, CG_EFORMAT, "the graph has a cycle"),
        CHANGE(twice_by_nodes, CG_EFORMAT, "node Relu (Relu): value h is defined twice"),
        CHANGE(twice_by_weights, CG_EFORMAT, "value w is defined twice"),
        CHANGE(over_an_input, CG_EFORMAT, "node MatMul (MatMul): value x is defined twice"),
        CHANGE(no_operator, CG_EFORMAT, "node Relu (no operator): has no operator"),
        CHANGE(unknown_operator, CG_EUNSUPPORTED,
               "node Relu (Frobnicate): this operator is not supported"),
        CHANGE(other_domain, CG_EUNSUPPORTED, "an operator of domain com.example"),
        CHANGE(too_few_operands, CG_EFORMAT, "has 1 operands, wanted 2"),
        CHANGE(absent_operand, CG_EFORMAT, "has 2 operands, wanted 2"),
        CHANGE(a_loop, CG_EUNSUPPORTED, "node Loop (Loop): attribute body is a graph"),
        CHANGE(a_branch_of_a_run, CG_EUNSUPPORTED, "node If (If): branches by what only a run"),
        CHANGE(a_function, CG_EUNSUPPORTED, "function Mine: functions are not read"),
        CHANGE(negative_dimension, CG_EFORMAT, "tensor w: dimension 1 is -4"),
        CHANGE(huge_dimensions, CG_EFORMAT, "more elements than memory can address"),
        CHANGE(huge_beside_zero, CG_EFORMAT, "more elements than memory can address"),
        CHANGE(high_rank, CG_EUNSUPPORTED, "tensor w: has rank 8, wanted at most 6"),
        CHANGE(short_data, CG_EFORMAT, "has 47 bytes of data, its shape and type f32 take 48"),
        CHANGE(no_data, CG_EFORMAT, "tensor w: has 0 elements, its shape takes 12"),
        CHANGE(strings, CG_EUNSUPPORTED, "tensor w: has element type 8"),
        CHANGE(unknown_type, CG_EUNSUPPORTED, "tensor w: has element type"),
        CHANGE(integer_weights, CG_OK, ""), /* numbers all the same, if strange ones */
        CHANGE(other_columns, CG_EFORMAT, "multiplies rows of 3 by a matrix of 4"),
        CHANGE(other_input_size, CG_ESHAPE, "input x is [2, 3], wanted [2, 4]"),
        CHANGE(text_input, CG_EUNSUPPORTED, "input x: has element type 8"),
        CHANGE(untyped_input, CG_EUNSUPPORTED, "input x: is not declared as a tensor"),
        CHANGE(unnamed_input, CG_EFORMAT, "input 0 has no name"),
        CHANGE(bad_permutation, CG_EFORMAT, "(Transpose): has no permutation"),
        CHANGE(bad_axis, CG_EFORMAT, "has axis -9223372036854775808, its operand has rank 2"),
        CHANGE(reshape_wrong, CG_EFORMAT, "node Reshape (Reshape): makes [5, -1] of [2, 4]"),
        CHANGE(expand_huge, CG_ESHAPE, "node Expand (Expand)"),
        CHANGE(expand_endless, CG_ESHAPE, "node Expand (Expand)"),
        CHANGE(gather_far, CG_EFORMAT, "has index 1099511627776, wanted less than 2"),
        CHANGE(fill_large, CG_EUNSUPPORTED, "computes [1048576, 1024, 1] before the run"),
        CHANGE(fill_endless, CG_ESHAPE, "node ConstantOfShape (ConstantOfShape)"),
        CHANGE(repeat_endless, CG_EFORMAT, "repeats 9223372036854775807 times"),
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        tiny t;
        tiny_make(&t);
        list[i].change(&t);
        tiny_save(&t.model, PATH);
        if (list[i].status == CG_OK) {
            ok(open_and_run(PATH));
            continue;
        }
        expect(list[i].name, list[i].status, list[i].says);
    }
}

/* --- data outside ----------------------------------------------------------------------------- */

static void external(tiny *t, const char *location, const char *offset, const char *length) {
    const char *const key[3] = {"location", "offset", "length"},
                      *value[3] = {location, offset, length};
    t->weight.n_external_data = 0;
    t->weight.external_data = t->external_list;
    for (int i = 0; i < 3; i++) {
        if (!value[i]) continue;
        CgOnnx__StringStringEntryProto *e = t->external_list[t->weight.n_external_data++];
        e->key = text(key[i]);
        e->value = text(value[i]);
    }
    t->weight.has_data_location = 1;
    t->weight.data_location = CG_ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    t->weight.has_raw_data = 0;
}

static void test_external(void **state) {
    (void)state;
    static const struct {
        const char *location, *offset, *length;
        cg_status status;
        const char *says;
    } list[] = {
        {"data.bin", "16", "48", CG_OK, ""},
        {"below/data.bin", NULL, "48", CG_OK, ""},
        {"data.bin", "16", NULL, CG_OK, ""},
        {NULL, NULL, NULL, CG_EFORMAT, "external data without a location"},
        {"", NULL, "48", CG_EFORMAT, "wanted a path within the folder"},
        {"/etc/passwd", NULL, "48", CG_EFORMAT, "wanted a path within the folder"},
        {"../secret.bin", NULL, "48", CG_EFORMAT, "wanted a path without \"..\""},
        {"below/../../secret.bin", NULL, "48", CG_EFORMAT, "wanted a path without \"..\""},
        {"below/..", NULL, "48", CG_EFORMAT, "wanted a path without \"..\""},
        {"below//data.bin", NULL, "48", CG_EFORMAT, "or empty parts"},
        {"./data.bin", NULL, "48", CG_EFORMAT, "or empty parts"},
        {"below/", NULL, "48", CG_EFORMAT, "or empty parts"},
        {"link.bin", NULL, "48", CG_EFORMAT, "symbolic links are refused"},
        {"linked/data.bin", NULL, "48", CG_EFORMAT, "symbolic links are refused"},
        {"below", NULL, "48", CG_EFORMAT, "symbolic links are refused"},
        {"data.bin/data.bin", NULL, "48", CG_EFORMAT, "symbolic links are refused"},
        {"nowhere.bin", NULL, "48", CG_ENOTFOUND, "nowhere.bin"},
        {"data.bin", "17", "48", CG_EFORMAT, "the file has 64 bytes"},
        {"data.bin", "9223372036854775800", "48", CG_EFORMAT, "the file has 64 bytes"},
        {"data.bin", "-1", "48", CG_EFORMAT, "offset is \"-1\", wanted a number"},
        {"data.bin", "0x10", "48", CG_EFORMAT, "offset is \"0x10\", wanted a number"},
        {"data.bin", "16", "99999999999999999999", CG_EFORMAT, "wanted a number"},
        {"data.bin", "0", "44", CG_EFORMAT, "has 44 bytes of data"},
    };
    static const char zeros[64];
    mkdir(FOLDER "/below", 0777);
    tiny_write(FOLDER "/data.bin", zeros, sizeof zeros);
    tiny_write(FOLDER "/below/data.bin", zeros, sizeof zeros);
    tiny_write("secret.bin", zeros, sizeof zeros);
    (void)unlink(FOLDER "/link.bin");
    (void)unlink(FOLDER "/linked");
    assert_int_equal(symlink("../secret.bin", FOLDER "/link.bin"), 0);
    assert_int_equal(symlink("below", FOLDER "/linked"), 0);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        tiny t;
        tiny_make(&t);
        external(&t, list[i].location, list[i].offset, list[i].length);
        tiny_save(&t.model, PATH);
        if (list[i].status == CG_OK)
            ok(open_and_run(PATH));
        else
            expect(list[i].location, list[i].status, list[i].says);
    }
    (void)unlink("secret.bin");
}

/* --- bytes ------------------------------------------------------------------------------------ */

/* A message in a message, n times: tags and lengths as the schema has them in turn. */
static void test_nesting(void **state) {
    (void)state;
    static const unsigned char tag[3] = {1 << 3 | 2, 5 << 3 | 2,
                                         6 << 3 | 2}; /* node, attribute, g */
    enum { DEEP = 30000 };
    unsigned char *data = malloc(DEEP * 6 + 16), *at = data + DEEP * 6 + 16;
    size_t bytes = 0;
    assert_non_null(data);
    for (int i = 0; i < DEEP; i++) {
        unsigned char head[6];
        int n = 0;
        head[n++] = i == DEEP - 1 ? 7 << 3 | 2 : tag[(DEEP - 2 - i) % 3]; /* the outermost: graph */
        size_t left = bytes;
        for (; left > 127; left >>= 7) head[n++] = (unsigned char)(left | 128);
        head[n++] = (unsigned char)left;
        at -= n;
        memcpy(at, head, (size_t)n);
        bytes += (size_t)n;
    }
    tiny_write(PATH, at, bytes);
    free(data);
    expect("nesting", CG_EFORMAT, "messages nested more than 24 deep");
}

/* Two bytes of a file that become a hundred of memory. */
static void test_many_empty_messages(void **state) {
    (void)state;
    enum { MANY = 8000000 };
    unsigned char *data = malloc(2 * MANY + 8), *to = data;
    assert_non_null(data);
    *to++ = 7 << 3 | 2; /* graph */
    for (size_t left = 2 * MANY; left; left >>= 7)
        *to++ = (unsigned char)(left | (left > 127) << 7);
    for (int i = 0; i < MANY; i++) {
        *to++ = 1 << 3 | 2; /* node */
        *to++ = 0;
    }
    tiny_write(PATH, data, (size_t)(to - data));
    free(data);
    expect("empty messages", CG_EFORMAT, "unpacks to too much memory");
}

static void test_no_model(void **state) {
    (void)state;
    static const unsigned char bad[][12] = {
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {7 << 3 | 2, 100, 1},
        {7 << 3 | 3, 0},
        {0, 1, 2}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tiny_write(PATH, bad[i], sizeof bad[i]);
        expect("no model", CG_EFORMAT, "not an ONNX file, or cut short");
    }
    tiny_write(PATH, "", 0);
    expect("an empty file", CG_EFORMAT, "the file is empty");
    (void)unlink(PATH);
    expect("no file", CG_ENOTFOUND, "model.onnx");
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
        input[i][0] = input[i][1] = i ? name[i] : text("x");
        output[i][0] = i == N - 1 ? text("y") : name[i + 1];
        node[i].op_type = text(op[k]);
        node[i].input = input[i];
        node[i].n_input = k == 2 ? 1 : 2;
        node[i].output = output[i];
        node[i].n_output = 1;
        list[N - 1 - i] = &node[i]; /* in no order that runs, either */
    }
    t.graph.node = list;
    t.graph.n_node = N;
    tiny_save(&t.model, PATH);
    ok(open_and_run(PATH));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),  cmocka_unit_test(test_external),
        cmocka_unit_test(test_nesting),  cmocka_unit_test(test_many_empty_messages),
        cmocka_unit_test(test_no_model), cmocka_unit_test(test_many_paths),
    };
    mkdir(FOLDER, 0777);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
