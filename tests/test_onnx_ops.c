/* labels: unit */
/* Every op's form in ONNX files: each case of the op tables is exported and must be sound as a
 * file; ops that have no form are those of training. What the nodes compute, tools/check_onnx.py
 * says. */
#include "tests/support/onnx_cases.h"
#include "tests/support/onnx_file.h"

#include <string.h>

/* Ops that no graph for inference has. */
static const char *const of_training[] = {
    "batch_norm",    "contrastive_cross_entropy", "dropout",
    "patch_dropout", "sigmoid_cross_entropy",     "softmax_cross_entropy"};

static int trains(const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof of_training / sizeof *of_training; i++)
        if (strcmp(name, of_training[i]) == 0) return 1;
    return strstr(name, "_grad") != NULL && n > 5;
}

static void test_all_have_a_form(void **state) {
    (void)state;
    int n;
    const cg_op *const *op = cg_op_list(&n);
    for (int i = 0; i < n; i++) {
        if (!op[i]->onnx && !trains(op[i]->name)) fail_msg("%s has no form in ONNX", op[i]->name);
        if (op[i]->onnx && trains(op[i]->name)) fail_msg("%s is of training", op[i]->name);
    }
}

/* Offsets and rows that a run gives say nothing of a uniform batch: those cases are refused. */
static int may_be_refused(void) {
    return strstr(cg_error_message(), "sequences of one length are wanted") != NULL ||
           strstr(cg_error_message(), "as many keys as queries") != NULL;
}

static void test_cases(void **state) {
    (void)state;
    cg_context *ctx;
    int n_op, exported[256] = {0};
    const cg_op *const *op = cg_op_list(&n_op);
    assert_true(n_op <= 256);
    ok(cg_context_create(1, &ctx));
    for (int i = 0; cg_onnx_case(i); i++) {
        const cg_op_case *c = cg_onnx_case(i);
        if (!c->op->onnx) continue;
        for (int opset = 17; opset <= 20; opset += 3) {
            cg_graph *g = cg_onnx_case_graph(c);
            cg_status s = cg_onnx_export_graph(ctx, in_folder("case.onnx"), g,
                                               &(cg_onnx_options){.opset = opset});
            cg_graph_free(g);
            if (s == CG_EUNSUPPORTED && may_be_refused()) continue;
            if (s != CG_OK) fail_msg("%s: %s: %s", c->op->name, c->label, cg_error_message());
            cg_test_onnx_close(cg_test_onnx_open(in_folder("case.onnx")));
            for (int k = 0; k < n_op; k++) exported[k] |= op[k] == c->op;
        }
    }
    for (int k = 0; k < n_op; k++)
        if (op[k]->onnx && !exported[k]) fail_msg("no case of %s has been exported", op[k]->name);
    cg_context_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_have_a_form),
        cmocka_unit_test(test_cases),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
