/* labels: unit */
/* Tensors on the host that hold once what comes again: operators on them give what they give on
 * tensors that hold everything. */
#include "serialize/onnx/host.h"
#include "tests/support/ok.h"

enum { BATCH = 100, ROWS = 40 };

/* Numbers of which those after `held` are the first again. */
static cg_host numbers(cg_host_room *room, int type, cg_shape shape, int64_t held) {
    cg_host h;
    ok(cg_host_new_rows(room, type, shape, held, &h));
    for (int64_t i = 0; i < h.held; i++) h.x[i] = (double)(i % held * 7 % 31 % 5 - 1);
    return h;
}

static cg_host whole_of(cg_host_room *room, const cg_host *h) {
    cg_host out;
    ok(cg_host_whole(room, h, &out));
    assert_int_equal(out.held, cg_host_count(h));
    return out;
}

static void run(cg_host_room *room, const char *op, const cg_host *const *in, int n, cg_host *out) {
    CgOnnx__NodeProto node = CG_ONNX__NODE_PROTO__INIT;
    CgOnnx__AttributeProto to = CG_ONNX__ATTRIBUTE_PROTO__INIT, *list[1] = {&to};
    int known = 0;
    to.name = (char *)(uintptr_t) "to";
    to.has_i = 1;
    to.i = CG_ONNX_TYPE(INT8);
    node.op_type = (char *)(uintptr_t)op;
    if (strcmp(op, "Cast") == 0) {
        node.attribute = list;
        node.n_attribute = 1;
    }
    ok(cg_host_run(room, &node, in, n, out, 1, &known));
    assert_true(known);
}

/* The operator on what is held in part, against the same on all; *held of the former. */
static int64_t compare(const char *op, const cg_host *in, int n) {
    cg_host_room room = {0};
    cg_host whole[3], out = {0}, wanted = {0};
    const cg_host *part_in[3], *whole_in[3];
    for (int k = 0; k < n; k++) {
        whole[k] = whole_of(&room, &in[k]);
        part_in[k] = &in[k];
        whole_in[k] = &whole[k];
    }
    run(&room, op, part_in, n, &out);
    run(&room, op, whole_in, n, &wanted);
    assert_int_equal(out.type, wanted.type);
    assert_true(cg_shape_equal(&out.shape, &wanted.shape));
    for (int64_t i = 0; i < cg_host_count(&wanted); i++)
        if (cg_host_at(&out, i) != cg_host_at(&wanted, i))
            fail_msg("%s: element %lld", op, (long long)i);
    int64_t held = out.held;
    cg_arena_free(&room.arena);
    return held;
}

static void test_in_part(void **state) {
    (void)state;
    enum { I64 = CG_ONNX_TYPE(INT64), SIZE = ROWS * ROWS, PERIOD = 13 };
    cg_host_room room = {0};
    cg_host keys = numbers(&room, I64, CG_SHAPE(BATCH, 1, ROWS, 1), PERIOD * ROWS);
    cg_host queries = numbers(&room, I64, CG_SHAPE(1, ROWS, ROWS), SIZE);
    cg_host flat = numbers(&room, I64, CG_SHAPE(BATCH * SIZE), PERIOD * SIZE);
    cg_host batch = numbers(&room, I64, CG_SHAPE(BATCH, 1, ROWS, ROWS), PERIOD * SIZE);
    cg_host row = numbers(&room, I64, CG_SHAPE(BATCH, 1, ROWS, ROWS), SIZE);
    cg_host one = numbers(&room, I64, CG_SHAPE(BATCH, 1, ROWS, ROWS), 1);
    cg_host other = numbers(&room, I64, CG_SHAPE(BATCH, 1, ROWS, ROWS), 7 * SIZE);
    cg_host odd = numbers(&room, I64, CG_SHAPE(BATCH, 1, ROWS, ROWS), SIZE + 3);
    cg_host number = numbers(&room, I64, CG_SCALAR, 1);
    cg_host to = numbers(&room, I64, CG_SHAPE(4), 4);
    const double shape[4] = {BATCH, 1, ROWS, ROWS};
    memcpy(to.x, shape, sizeof shape);
    assert_int_equal(keys.held, PERIOD * ROWS);
    assert_int_equal(numbers(&room, I64, CG_SHAPE(16, 16), 16).held, CG_HOST_SMALL); /* small */
    assert_int_equal(batch.held, PERIOD * SIZE);

    /* rows of the batch are computed once, where that can be told */
    assert_int_equal(compare("Add", (cg_host[]){batch, queries}, 2), PERIOD * SIZE);
    assert_int_equal(compare("Less", (cg_host[]){row, batch}, 2), PERIOD * SIZE);
    assert_int_equal(compare("Equal", (cg_host[]){keys, queries}, 2), PERIOD * SIZE);
    assert_int_equal(compare("Mul", (cg_host[]){row, one}, 2), SIZE);
    assert_int_equal(compare("Sub", (cg_host[]){one, number}, 2), SIZE);
    assert_int_equal(compare("Where", (cg_host[]){row, batch, number}, 3), PERIOD * SIZE);
    assert_int_equal(compare("Expand", (cg_host[]){queries, to}, 2), SIZE);
    assert_int_equal(compare("Expand", (cg_host[]){row, to}, 2), SIZE);
    assert_int_equal(compare("Cast", (cg_host[]){batch}, 1), PERIOD * SIZE);
    assert_int_equal(compare("Reshape", (cg_host[]){flat, to}, 2), PERIOD * SIZE);
    /* else all of them */
    compare("Add", (cg_host[]){batch, other}, 2);
    compare("Add", (cg_host[]){odd, number}, 2);
    compare("Add", (cg_host[]){odd, row}, 2);
    compare("Transpose", (cg_host[]){batch}, 1);
    compare("ReduceSum", (cg_host[]){batch}, 1);
    compare("Gather", (cg_host[]){batch, number}, 2);
    assert_true(cg_host_is_one_row(&row) && cg_host_is_one_row(&one));
    assert_false(cg_host_is_one_row(&batch) || cg_host_is_one_row(&odd));
    cg_arena_free(&room.arena);
}

/* What one tensor may not have, several have not, either. */
static void test_room(void **state) {
    (void)state;
    cg_host_room room = {0};
    cg_host h;
    ok(cg_host_new_rows(&room, CG_ONNX_TYPE(BOOL), CG_SHAPE(1 << 20, 1 << 12), 1 << 12, &h));
    assert_int_equal(room.budget.bytes, 8 << 12);
    assert_int_equal(cg_host_whole(&room, &h, &h), CG_EUNSUPPORTED);
    assert_non_null(strstr(cg_error_message(), "computes [1048576, 4096] before the run, "
                                               "34359738368 bytes beside 32768, wanted at most "
                                               "1073741824 in all of the machine's "));
    room.budget.bytes = CG_BUDGET_BYTES - 10 * 8;
    ok(cg_host_new(&room, CG_ONNX_TYPE(BOOL), CG_SHAPE(10), &h));
    assert_int_equal(cg_host_new(&room, CG_ONNX_TYPE(BOOL), CG_SHAPE(1), &h), CG_EUNSUPPORTED);
    cg_arena_free(&room.arena);
}

/* What is read counts, whatever is made of it; a run's integers are worth some steps more. */
static void test_steps(void **state) {
    (void)state;
    CgOnnx__NodeProto node = CG_ONNX__NODE_PROTO__INIT;
    cg_host_room room = {0};
    cg_host x = numbers(&room, CG_ONNX_TYPE(FLOAT), CG_SHAPE(40, 100), 4000), out;
    const cg_host *in[1] = {&x};
    int known;
    node.op_type = (char *)(uintptr_t) "ReduceSum";
    int64_t begun = room.budget.steps;
    ok(cg_host_run(&room, &node, in, 1, &out, 1, &known));
    assert_true(room.budget.steps - begun >= 4000);
    room.budget.steps = CG_BUDGET_STEPS - 3999;
    assert_int_equal(cg_host_run(&room, &node, in, 1, &out, 1, &known), CG_EUNSUPPORTED);
    assert_non_null(strstr(cg_error_message(), "has 4000 elements to be computed before the run"));
    room.budget.integers = 1;
    ok(cg_host_run(&room, &node, in, 1, &out, 1, &known));
    cg_arena_free(&room.arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_part),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
