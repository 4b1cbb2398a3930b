/* Toy ops: all that the graph knows of an op, and nothing of ops/; and a graph of them with its
 * plan and execution. */
#ifndef CG_TEST_TOY_OPS_H
#define CG_TEST_TOY_OPS_H

#include "graph/exec.h"
#include "graph/op.h"
#include "tests/support/ok.h"

typedef struct toy_attr {
    float factor;
    int64_t times;
    cg_shape shape;
} toy_attr;

/* y = factor x; y = a + reversed b, never written over an operand; x as a row; the least and the
 * greatest of x, in scratch; a run that fails; a prepare that fails; a + b, over either operand */
extern const cg_op toy_op_scale, toy_op_plus, toy_op_flat, toy_op_extremes, toy_op_broken,
    toy_op_unprepared, toy_op_add;

extern int toy_alive_states; /* kernels prepared and not yet released */

int64_t toy_count(const cg_value *v);
cg_status toy_infer_same(const cg_node *n, cg_type *out);

cg_value *toy_scale(cg_graph *g, cg_value *x, float factor);
cg_value *toy_add(cg_graph *g, cg_value *a, cg_value *b);
cg_value *toy_plus(cg_graph *g, cg_value *a, cg_value *b);
cg_value *toy_flat(cg_graph *g, cg_value *x);

typedef struct toy_fixture {
    cg_params *params;
    cg_graph *g;
    cg_context *ctx;
    cg_plan *plan;
    cg_exec *exec;
} toy_fixture;

int toy_setup(void **state);
int toy_teardown(void **state);

#define assert_failed(call, code, sentence)                                                        \
    do {                                                                                           \
        assert_int_equal(call, code);                                                              \
        assert_string_equal(cg_error_message(), sentence);                                         \
    } while (0)

cg_plan_report toy_plan(toy_fixture *f); /* plans anew */

static const float six[] = {1, -2, 3, -4, 5, 6};
static const cg_shape two_by_three = {2, {2, 3}};

cg_value *toy_input(toy_fixture *f); /* "x", two by three */

#define WITH_GRAPH(test) cmocka_unit_test_setup_teardown(test, toy_setup, toy_teardown)

#endif
