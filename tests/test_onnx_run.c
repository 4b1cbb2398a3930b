/* labels: golden */
/* Files that PyTorch exported (tools/make_onnx_references.py), run: their results against
 * PyTorch's, as they stand and with everything recognised; and that what they spell out is
 * recognised. */
#include "ops/ops.h"
#include "serialize/onnx/session.h"
#include "serialize/safetensors.h"
#include "tests/support/golden.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#define FOLDER CG_SOURCE_DIR "/tests/golden/onnx/"

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
enum { MODELS = sizeof models / sizeof *models, MOST = 8 };

typedef struct model {
    cg_safetensors *golden;
    cg_context *ctx;
    cg_onnx_session *session;
} model;

static model model_open(const char *name, cg_onnx_how how) {
    model m;
    char path[512];
    snprintf(path, sizeof path, FOLDER "%s.safetensors", name);
    ok(cg_safetensors_open(path, &m.golden));
    ok(cg_context_create(2, &m.ctx));
    snprintf(path, sizeof path, FOLDER "%s.onnx", name);
    ok(cg_onnx_session_create(m.ctx, path, &how, &m.session));
    return m;
}

static void model_close(model *m) {
    cg_onnx_session_free(m->session);
    cg_context_free(m->ctx);
    cg_safetensors_close(m->golden);
}

static const cg_tensor *wanted_of(const model *m, int rows, const char *name) {
    char full[64];
    snprintf(full, sizeof full, "%d/%s", rows, name);
    const cg_tensor *t = cg_safetensors_find(m->golden, full);
    if (!t) fail_msg("no tensor %s", full);
    return t;
}

static int inputs_of(const model *m, int rows, cg_tensor in[MOST]) {
    const cg_onnx_port *port;
    int n = cg_onnx_inputs(cg_onnx_session_file(m->session), &port);
    for (int i = 0; i < n; i++) {
        in[i] = *wanted_of(m, rows, port[i].name);
        in[i].name = port[i].name;
    }
    return n;
}

static void compare(const model *m, const char *name, int rows) {
    const cg_onnx_port *port;
    cg_tensor in[MOST], out[MOST] = {{0}};
    int n_in = inputs_of(m, rows, in);
    int n_out = cg_onnx_outputs(cg_onnx_session_file(m->session), &port);
    ok(cg_onnx_session_run(m->session, in, n_in, out, n_out));
    for (int k = 0; k < n_out; k++) {
        const cg_tensor *wanted = wanted_of(m, rows, port[k].name);
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

static int count(const cg_graph *g, const cg_op *op) {
    int n = 0;
    for (int i = 0; i < g->n_node; i++) n += g->node[i]->op == op;
    return n;
}

static const int sizes[] = {1, 3, 1, 3}; /* each again, with weights laid out */

static void test_results(void **state) {
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        model m = model_open(models[i].name, (cg_onnx_how){0});
        for (int k = 0; k < 4; k++) compare(&m, models[i].name, sizes[k]);
        model_close(&m);
    }
}

static void test_results_as_they_stand(void **state) {
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        model m = model_open(models[i].name, (cg_onnx_how){.literal = 1, .off = CG_PASSES_NONE});
        for (int k = 0; k < 4; k++) compare(&m, models[i].name, sizes[k]);
        const cg_graph *g = cg_onnx_session_graph(m.session);
        assert_true(count(g, &cg_op_softmax) > 0); /* nothing was recognised */
        assert_int_equal(count(g, &cg_op_attention) + count(g, &cg_op_attention_qkv), 0);
        model_close(&m);
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
        model m = model_open(e->name, (cg_onnx_how){.off = CG_PASSES_NONE});
        compare(&m, e->name, 3);
        const cg_graph *g = cg_onnx_session_graph(m.session);
        int causal = 0;
        for (int k = 0; k < g->n_node; k++)
            if (g->node[k]->op == &cg_op_attention || g->node[k]->op == &cg_op_attention_qkv)
                causal += looks_back(g->node[k]);
        print_message("%s\n", e->name);
        assert_int_equal(count(g, &cg_op_attention) + count(g, &cg_op_attention_qkv), e->attention);
        assert_int_equal(causal, e->causal);
        assert_int_equal(count(g, &cg_op_softmax), 0);
        assert_int_equal(count(g, &cg_op_erf), 0);
        assert_int_equal(count(g, &cg_op_tanh), 0);
        assert_int_equal(count(g, &cg_op_sigmoid), 0);
        assert_int_equal(count(g, &cg_op_div), 0);
        assert_int_equal(count(g, &cg_op_layer_norm), e->layer_norm);
        assert_int_equal(count(g, &cg_op_l2norm), e->l2norm);
        assert_int_equal(count(g, &cg_op_end_token), e->end_token);
        if (e->activation) assert_true(count(g, e->activation) >= 2);
        if (e->attention != 1) assert_int_equal(count(g, &cg_op_attention), 0); /* all are packed */
        assert_int_equal(count(g, &cg_op_matmul), strcmp(e->name, "hf-both-18") == 0);
        model_close(&m);
    }
}

/* The class token's and the end token's rows move up, as in our own graphs. */
static void test_rows_move_up(void **state) {
    (void)state;
    for (int i = 0; i < MODELS; i++) {
        const expected *e = &models[i];
        model m = model_open(e->name, (cg_onnx_how){0});
        compare(&m, e->name, 3);
        const cg_graph *g = cg_onnx_session_graph(m.session);
        assert_int_equal(count(g, &cg_op_attention), e->attention == 4 ? 2 : 1);
        model_close(&m);
    }
}

/* Of a file of both towers only what an output needs is built, and other inputs may be absent. */
static void test_one_tower(void **state) {
    (void)state;
    model m = model_open("hf-both-18", (cg_onnx_how){0});
    cg_tensor in = *wanted_of(&m, 3, "pixel_values"), out = {.name = "image_embeds"};
    const cg_tensor *wanted = wanted_of(&m, 3, "image_embeds");
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
    model_close(&m);
}

/* Integers of any width and alignment, floats of any alignment; what does not fit is refused. */
static void test_inputs(void **state) {
    (void)state;
    model m = model_open("openai-text-16", (cg_onnx_how){0});
    cg_tensor in = *wanted_of(&m, 1, "input_ids"), out = {0};
    int32_t narrow[12];
    char shifted[8 * 12 + 1];
    float first[12];
    in.name = "input_ids";
    ok(cg_onnx_session_run(m.session, &in, 1, &out, 1));
    memcpy(first, out.data, sizeof first);
    for (int i = 0; i < 12; i++) {
        int64_t id;
        memcpy(&id, (const char *)in.data + 8 * i, sizeof id);
        narrow[i] = (int32_t)id;
    }
    memcpy(shifted + 1, in.data, 8 * 12);
    cg_tensor other = in;
    other.data = shifted + 1;
    ok(cg_onnx_session_run(m.session, &other, 1, &out, 1));
    assert_true(largest_difference(out.data, first, 12) <= 1e-6);
    other = (cg_tensor){"input_ids", CG_I32, in.shape, narrow, sizeof narrow};
    ok(cg_onnx_session_run(m.session, &other, 1, &out, 1));
    assert_true(largest_difference(out.data, first, 12) <= 1e-6);

    static const struct {
        const char *name;
        cg_dtype dtype;
        int64_t columns;
        cg_status status;
        const char *says;
    } wrong[] = {
        {"pixels", CG_I32, 12, CG_ENOTFOUND, "there is no input pixels"},
        {"input_ids", CG_F32, 12, CG_EDTYPE, "input input_ids is f32, wanted i64"},
        {"input_ids", CG_I32, 11, CG_ESHAPE, "input input_ids is [1, 11], wanted [-1, 12]"},
        {"input_ids", CG_I64, 12, CG_ESHAPE, "has 48 bytes, which is not [1, 12] of i64"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cg_tensor t = {wrong[i].name, wrong[i].dtype, CG_SHAPE(1, wrong[i].columns), narrow,
                       4 * (size_t)wrong[i].columns};
        assert_int_equal(cg_onnx_session_run(m.session, &t, 1, &out, 1), wrong[i].status);
        if (!strstr(cg_error_message(), wrong[i].says)) fail_msg("%s", cg_error_message());
        out.name = NULL;
    }
    int64_t large[12] = {INT64_C(1) << 40};
    other = (cg_tensor){"input_ids", CG_I64, in.shape, large, sizeof large};
    assert_int_equal(cg_onnx_session_run(m.session, &other, 1, &out, 1), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "element 0 is 1099511627776"));
    cg_tensor twice[2] = {in, in};
    assert_int_equal(cg_onnx_session_run(m.session, twice, 2, &out, 1), CG_EINVAL);
    out.name = "nothing";
    assert_int_equal(cg_onnx_session_run(m.session, &in, 1, &out, 1), CG_ENOTFOUND);
    model_close(&m);
}

/* More shapes than plans are kept, in turn. */
static void test_many_shapes(void **state) {
    (void)state;
    model m = model_open("openai-vit-17", (cg_onnx_how){0});
    const cg_tensor *one = wanted_of(&m, 1, "pixel_values"), *wanted = wanted_of(&m, 1, "embeds");
    static float pixels[12 * 3 * 16 * 16];
    float expected_row[12];
    memcpy(expected_row, wanted->data, sizeof expected_row);
    for (int i = 0; i < 12; i++) memcpy(pixels + i * 3 * 16 * 16, one->data, one->bytes);
    for (int round = 0; round < 2; round++)
        for (int64_t n = 1; n <= 12; n++) {
            cg_tensor in = {"pixel_values", CG_F32, CG_SHAPE(n, 3, 16, 16), pixels,
                            (size_t)n * one->bytes},
                      out = {0};
            ok(cg_onnx_session_run(m.session, &in, 1, &out, 1));
            for (int64_t i = 0; i < n; i++)
                assert_true(
                    largest_difference((const float *)out.data + 12 * i, expected_row, 12) <= 1e-5);
        }
    model_close(&m);
}

/* Batches whose masks, [batch, 1, 12, 12], and whose ids are more numbers than may be computed with
 * before a run: of as many texts as need be, since others are like them. */
static void test_large_batches(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t copies; /* of three texts */
    } list[] = {{"hf-masked-14", 10000}, {"hf-masked-17", 30000}};
    for (int i = 0; i < 2; i++) {
        model m = model_open(list[i].name, (cg_onnx_how){0});
        cg_tensor in[MOST], out = {0};
        float wanted[36];
        int n = inputs_of(&m, 3, in);
        memcpy(wanted, wanted_of(&m, 3, "embeds")->data, sizeof wanted);
        for (int k = 0; k < n; k++) {
            char *many = malloc((size_t)list[i].copies * in[k].bytes);
            assert_non_null(many);
            for (int64_t c = 0; c < list[i].copies; c++)
                memcpy(many + (size_t)c * in[k].bytes, in[k].data, in[k].bytes);
            in[k].data = many;
            in[k].bytes *= (size_t)list[i].copies;
            in[k].shape.dim[0] *= list[i].copies;
        }
        ok(cg_onnx_session_run(m.session, in, n, &out, 1));
        const cg_graph *g = cg_onnx_session_graph(m.session);
        assert_int_equal(count(g, &cg_op_softmax), 0); /* the masks were recognised */
        for (int64_t c = 0; c < list[i].copies; c++)
            assert_true(largest_difference((const float *)out.data + 36 * c, wanted, 36) <= 1e-5);
        for (int k = 0; k < n; k++) free((void *)(uintptr_t)in[k].data);
        model_close(&m);
    }
}

/* Runs three texts, with the file's mask of them or one in which the first text has no key, for
 * which attention is not recognised. */
static int attention_of(model *m, int masked, float *embeds, size_t bytes) {
    int64_t seen[3 * 12];
    cg_tensor in[MOST], out = {0};
    int n = inputs_of(m, 3, in);
    assert_string_equal(in[1].name, "attention_mask");
    assert_int_equal(in[1].bytes, sizeof seen);
    memcpy(seen, in[1].data, sizeof seen);
    if (!masked) memset(seen, 0, 12 * sizeof *seen);
    in[1].data = seen;
    ok(cg_onnx_session_run(m->session, in, n, &out, 1));
    assert_int_equal(out.bytes, bytes);
    memcpy(embeds, out.data, bytes);
    const cg_graph *g = cg_onnx_session_graph(m->session);
    return count(g, &cg_op_attention) + count(g, &cg_op_attention_qkv);
}

/* A run that recognition is given up for does not decide those that follow: each kind of mask has a
 * graph of its own, and the bits that a session of such runs alone gives. */
static void test_earlier_runs(void **state) {
    (void)state;
    static const char *const names[] = {"hf-masked-14", "hf-masked-17"};
    for (int i = 0; i < 2; i++) {
        float alone[2][36], x[36];
        const cg_graph *graph[2] = {0};
        for (int masked = 0; masked < 2; masked++) {
            model m = model_open(names[i], (cg_onnx_how){0});
            for (int k = 0; k < 2; k++)
                assert_int_equal(attention_of(&m, masked, alone[masked], sizeof x), 2 * masked);
            model_close(&m);
        }
        model m = model_open(names[i], (cg_onnx_how){0});
        for (int k = 0; k < 6; k++) {
            int masked = k % 3 > 0;
            assert_int_equal(attention_of(&m, masked, x, sizeof x), 2 * masked);
            assert_memory_equal(x, alone[masked], sizeof x);
            if (k >= 3) assert_ptr_equal(cg_onnx_session_graph(m.session), graph[masked]);
            graph[masked] = cg_onnx_session_graph(m.session);
        }
        model_close(&m);
    }
}

static void test_description(void **state) {
    (void)state;
    model m = model_open("hf-masked-17", (cg_onnx_how){0});
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
    model_close(&m);
}

static void test_bf16(void **state) {
    (void)state;
    const cg_onnx_how how = {.bf16 = 1};
    if (!cg_context_has_bf16()) { /* then it is refused, by name */
        cg_context *ctx;
        cg_onnx_session *none;
        ok(cg_context_create(1, &ctx));
        assert_int_equal(cg_onnx_session_create(ctx, FOLDER "openai-vit-17.onnx", &how, &none),
                         CG_EUNSUPPORTED);
        assert_null(none);
        cg_context_free(ctx);
        return;
    }
    model m = model_open("openai-vit-17", how);
    cg_tensor in[MOST], out = {0};
    float wanted[36];
    int n = inputs_of(&m, 3, in);
    memcpy(wanted, wanted_of(&m, 3, "embeds")->data, sizeof wanted);
    for (int i = 0; i < 2; i++) {
        ok(cg_onnx_session_run(m.session, in, n, &out, 1));
        double d = largest_difference(out.data, wanted, 36);
        assert_true(d > 0 && d < 0.02);
    }
    model_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),      cmocka_unit_test(test_results_as_they_stand),
        cmocka_unit_test(test_recognised),   cmocka_unit_test(test_rows_move_up),
        cmocka_unit_test(test_one_tower),    cmocka_unit_test(test_inputs),
        cmocka_unit_test(test_many_shapes),  cmocka_unit_test(test_description),
        cmocka_unit_test(test_bf16),         cmocka_unit_test(test_large_batches),
        cmocka_unit_test(test_earlier_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
