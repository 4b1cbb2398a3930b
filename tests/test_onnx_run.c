/* labels: golden */
/* Files that PyTorch exported (tools/make_onnx_references.py), run: their results against
 * PyTorch's, as they stand and with everything recognised; and that what they spell out is
 * recognised. */
#include "ops/ops.h"
#include "tests/support/golden.h"
#include "tests/support/onnx_model.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

/* Each model has two blocks a tower; a last block of which one row is asked has an attention with
 * queries of its own. */
typedef struct expected {
    const char *name;
    int attention; /* nodes of attention and attention_qkv together */
    int layer_norm, l2norm, end_token;
    const cg_op *activation;
    int causal; /* attentions that look back only */
} expected;

static const expected models[] = {
    {"openai-vit-13", 2, 6, 1, 0, &cg_op_quickgelu, 0},
    {"openai-text-13", 2, 5, 1, 1, &cg_op_gelu, 2},
    {"openai-vit-17", 2, 6, 1, 0, &cg_op_quickgelu, 0},
    {"openai-rn-16", 1, 0, 1, 0, NULL, 0},
    {"openai-text-16", 2, 5, 1, 1, &cg_op_quickgelu, 2},
    {"openai-vit-18-dynamo", 2, 6, 1, 0, &cg_op_gelu, 0},
    {"openai-text-18-dynamo", 2, 5, 1, 1, &cg_op_quickgelu, 2},
    {"hf-image-16", 2, 6, 0, 0, &cg_op_gelu, 0},
    {"hf-text-17", 2, 5, 0, 1, &cg_op_gelu_tanh, 2},
    {"hf-masked-14", 2, 5, 0, 1, &cg_op_gelu_tanh, 2},
    {"hf-masked-17", 2, 5, 0, 1, &cg_op_quickgelu, 2},
    {"hf-both-18", 4, 11, 2, 1, &cg_op_quickgelu, 2},
};
enum { MODELS = sizeof models / sizeof *models };

static void compare(const onnx_model *m, const char *name, int rows) {
    const cg_onnx_port *port;
    cg_tensor in[ONNX_MODEL_INPUTS], out[ONNX_MODEL_INPUTS] = {{0}};
    int n_in = onnx_model_inputs(m, rows, in);
    int n_out = cg_onnx_outputs(cg_onnx_session_file(m->session), &port);
    ok(cg_onnx_session_run(m->session, in, n_in, out, n_out));
    for (int k = 0; k < n_out; k++) {
        const cg_tensor *wanted = onnx_model_tensor(m, rows, port[k].name);
        float expected_number[64];
        assert_string_equal(out[k].name, port[k].name);
        assert_int_equal(out[k].dtype, CG_F32);
        assert_true(cg_shape_equal(&out[k].shape, &wanted->shape));
        assert_int_equal(out[k].bytes, wanted->bytes);
        assert_true(wanted->bytes <= sizeof expected_number);
        memcpy(expected_number, wanted->data, wanted->bytes);
        const float *found = out[k].data;
        for (size_t i = 0; i < wanted->bytes / sizeof(float); i++) {
            double scale = fmax(1, fabs((double)expected_number[i]));
            if (!(fabs((double)found[i] - (double)expected_number[i]) <= 1e-5 * scale))
                fail_msg("%s, %d rows, %s[%zu]: %.8g, wanted %.8g", name, rows, port[k].name, i,
                         (double)found[i], (double)expected_number[i]);
        }
    }
}

static const int sizes[] = {1, 3, 1, 3}; /* each again, with weights laid out */

static void test_results(void **state) {
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        onnx_model m = onnx_model_open(models[i].name, (cg_onnx_how){0});
        for (int k = 0; k < 4; k++) compare(&m, models[i].name, sizes[k]);
        onnx_model_close(&m);
    }
}

static void test_results_as_they_stand(void **state) {
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        onnx_model m =
            onnx_model_open(models[i].name, (cg_onnx_how){.literal = 1, .off = CG_PASSES_NONE});
        for (int k = 0; k < 4; k++) compare(&m, models[i].name, sizes[k]);
        const cg_graph *g = cg_onnx_session_graph(m.session);
        assert_true(onnx_model_count(g, &cg_op_softmax) > 0); /* nothing was recognised */
        assert_int_equal(
            onnx_model_count(g, &cg_op_attention) + onnx_model_count(g, &cg_op_attention_qkv), 0);
        onnx_model_close(&m);
    }
}

/* Causal by flag, or, where rows have moved up, by a mask of the rows before the end token. */
static int looks_back(const cg_node *n) {
    for (const cg_attr_field *f = n->op->attr; f->name; f++)
        if (strcmp(f->name, "causal") == 0 && *(const int64_t *)((const char *)n->attr + f->offset))
            return 1;
    return 0;
}

static void test_recognised(void **state) {
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        const expected *e = &models[i];
        onnx_model m = onnx_model_open(e->name, (cg_onnx_how){.off = CG_PASSES_NONE});
        compare(&m, e->name, 3);
        const cg_graph *g = cg_onnx_session_graph(m.session);
        int causal = 0;
        for (int k = 0; k < g->n_node; k++)
            if (g->node[k]->op == &cg_op_attention || g->node[k]->op == &cg_op_attention_qkv)
                causal += looks_back(g->node[k]);
        print_message("%s\n", e->name);
        assert_int_equal(onnx_model_count(g, &cg_op_attention) +
                             onnx_model_count(g, &cg_op_attention_qkv),
                         e->attention);
        assert_int_equal(causal, e->causal);
        assert_int_equal(onnx_model_count(g, &cg_op_softmax), 0);
        assert_int_equal(onnx_model_count(g, &cg_op_erf), 0);
        assert_int_equal(onnx_model_count(g, &cg_op_tanh), 0);
        assert_int_equal(onnx_model_count(g, &cg_op_sigmoid), 0);
        assert_int_equal(onnx_model_count(g, &cg_op_div), 0);
        assert_int_equal(onnx_model_count(g, &cg_op_layer_norm), e->layer_norm);
        assert_int_equal(onnx_model_count(g, &cg_op_l2norm), e->l2norm);
        assert_int_equal(onnx_model_count(g, &cg_op_end_token), e->end_token);
        if (e->activation) assert_true(onnx_model_count(g, e->activation) >= 2);
        if (e->attention != 1)
            assert_int_equal(onnx_model_count(g, &cg_op_attention), 0); /* all are packed */
        assert_int_equal(onnx_model_count(g, &cg_op_matmul), strcmp(e->name, "hf-both-18") == 0);
        onnx_model_close(&m);
    }
}

/* The class token's and the end token's rows move up, as in our own graphs. */
static void test_rows_move_up(void **state) {
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        const expected *e = &models[i];
        onnx_model m = onnx_model_open(e->name, (cg_onnx_how){0});
        compare(&m, e->name, 3);
        const cg_graph *g = cg_onnx_session_graph(m.session);
        assert_int_equal(onnx_model_count(g, &cg_op_attention), e->attention == 4 ? 2 : 1);
        onnx_model_close(&m);
    }
}

/* Of a file of both towers only what an output needs is built, and other inputs may be absent. */
static void test_one_tower(void **state) {
    (void)state;
    onnx_model m = onnx_model_open("hf-both-18", (cg_onnx_how){0});
    cg_tensor in = *onnx_model_tensor(&m, 3, "pixel_values"), out = {.name = "image_embeds"};
    const cg_tensor *wanted = onnx_model_tensor(&m, 3, "image_embeds");
    in.name = "pixel_values";
    ok(cg_onnx_session_run(m.session, &in, 1, &out, 1));
    assert_null(cg_graph_find_input(cg_onnx_session_graph(m.session), "input_ids"));
    float x[36];
    memcpy(x, wanted->data, sizeof x);
    assert_true(largest_difference(out.data, x, 36) <= 1e-5);
    cg_tensor text = {.name = "text_embeds"};
    assert_int_equal(cg_onnx_session_run(m.session, &in, 1, &text, 1), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "input_ids, which is not given"));
    ok(cg_onnx_session_run(m.session, &in, 1, &out, 1)); /* goes on */
    onnx_model_close(&m);
}

static void test_description(void **state) {
    (void)state;
    onnx_model m = onnx_model_open("hf-masked-17", (cg_onnx_how){0});
    const cg_onnx_file *f = cg_onnx_session_file(m.session);
    const cg_onnx_port *port;
    const cg_onnx_operator *op;
    assert_int_equal(cg_onnx_opset(f), 17);
    assert_string_equal(cg_onnx_producer(f), "pytorch");
    assert_int_equal(cg_onnx_inputs(f, &port), 2);
    assert_string_equal(port[1].name, "attention_mask");
    assert_int_equal(port[1].dtype, CG_I64);
    assert_int_equal(port[1].rank, 2);
    assert_int_equal(port[1].dim[0], -1);
    assert_string_equal(port[1].symbol[0], "batch");
    assert_int_equal(port[1].dim[1], 12);
    assert_int_equal(cg_onnx_outputs(f, &port), 1);
    assert_string_equal(port[0].name, "embeds");
    int n = cg_onnx_operators(f, &op), layer_norms = 0;
    for (int i = 0; i < n; i++) {
        if (i) assert_true(op[i].count <= op[i - 1].count);
        if (strcmp(op[i].name, "LayerNormalization") == 0) layer_norms = op[i].count;
    }
    assert_int_equal(layer_norms, 5);
    assert_true(cg_onnx_weights(f) > 5000);
    onnx_model_close(&m);
}

static void test_bf16(void **state) {
    (void)state;
    const cg_onnx_how how = {.bf16 = 1};
    if (!cg_context_has_bf16()) { /* then it is refused, by name */
        cg_context *ctx;
        cg_onnx_session *none;
        ok(cg_context_create(1, &ctx));
        assert_int_equal(
            cg_onnx_session_create(ctx, ONNX_MODEL_FOLDER "openai-vit-17.onnx", &how, &none),
            CG_EUNSUPPORTED);
        assert_null(none);
        cg_context_free(ctx);
        return;
    }
    onnx_model m = onnx_model_open("openai-vit-17", how);
    cg_tensor in[ONNX_MODEL_INPUTS], out = {0};
    float wanted[36];
    int n = onnx_model_inputs(&m, 3, in);
    memcpy(wanted, onnx_model_tensor(&m, 3, "embeds")->data, sizeof wanted);
    for (int i = 0; i < 2; i++) {
        ok(cg_onnx_session_run(m.session, in, n, &out, 1));
        double d = largest_difference(out.data, wanted, 36);
        assert_true(d > 0 && d < 0.02);
    }
    onnx_model_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),    cmocka_unit_test(test_results_as_they_stand),
        cmocka_unit_test(test_recognised), cmocka_unit_test(test_rows_move_up),
        cmocka_unit_test(test_one_tower),  cmocka_unit_test(test_description),
        cmocka_unit_test(test_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
