/* labels: golden */
/* A session over its runs, on files that PyTorch exported: inputs of any kind, more shapes than
 * plans are kept, large batches; and that no run decides those that follow. */
#include "ops/ops.h"
#include "tests/support/golden.h"
#include "tests/support/onnx_model.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

/* Integers of any width and alignment, floats of any alignment; what does not fit is refused. */
static void test_inputs(void **state) {
    (void)state;
    onnx_model m = onnx_model_open("openai-text-16", (cg_onnx_how){0});
    cg_tensor in = *onnx_model_tensor(&m, 1, "input_ids"), out = {0};
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
    onnx_model_close(&m);
}

/* More shapes than plans are kept, in turn. */
static void test_many_shapes(void **state) {
    (void)state;
    onnx_model m = onnx_model_open("openai-vit-17", (cg_onnx_how){0});
    const cg_tensor *one = onnx_model_tensor(&m, 1, "pixel_values"),
                    *wanted = onnx_model_tensor(&m, 1, "embeds");
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
    onnx_model_close(&m);
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
        onnx_model m = onnx_model_open(list[i].name, (cg_onnx_how){0});
        cg_tensor in[ONNX_MODEL_INPUTS], out = {0};
        float wanted[36];
        int n = onnx_model_inputs(&m, 3, in);
        memcpy(wanted, onnx_model_tensor(&m, 3, "embeds")->data, sizeof wanted);
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
        assert_int_equal(onnx_model_count(g, &cg_op_softmax), 0); /* the masks were recognised */
        for (int64_t c = 0; c < list[i].copies; c++)
            assert_true(largest_difference((const float *)out.data + 36 * c, wanted, 36) <= 1e-5);
        for (int k = 0; k < n; k++) free((void *)(uintptr_t)in[k].data);
        onnx_model_close(&m);
    }
}

/* Runs three texts, with the file's mask of them or one in which the first text has no key, for
 * which attention is not recognised. */
static int attention_of(onnx_model *m, int masked, float *embeds, size_t bytes) {
    int64_t seen[3 * 12];
    cg_tensor in[ONNX_MODEL_INPUTS], out = {0};
    int n = onnx_model_inputs(m, 3, in);
    assert_string_equal(in[1].name, "attention_mask");
    assert_int_equal(in[1].bytes, sizeof seen);
    memcpy(seen, in[1].data, sizeof seen);
    if (!masked) memset(seen, 0, 12 * sizeof *seen);
    in[1].data = seen;
    ok(cg_onnx_session_run(m->session, in, n, &out, 1));
    assert_int_equal(out.bytes, bytes);
    memcpy(embeds, out.data, bytes);
    const cg_graph *g = cg_onnx_session_graph(m->session);
    return onnx_model_count(g, &cg_op_attention) + onnx_model_count(g, &cg_op_attention_qkv);
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
            onnx_model m = onnx_model_open(names[i], (cg_onnx_how){0});
            for (int k = 0; k < 2; k++)
                assert_int_equal(attention_of(&m, masked, alone[masked], sizeof x), 2 * masked);
            onnx_model_close(&m);
        }
        onnx_model m = onnx_model_open(names[i], (cg_onnx_how){0});
        for (int k = 0; k < 6; k++) {
            int masked = k % 3 > 0;
            assert_int_equal(attention_of(&m, masked, x, sizeof x), 2 * masked);
            assert_memory_equal(x, alone[masked], sizeof x);
            if (k >= 3) assert_ptr_equal(cg_onnx_session_graph(m.session), graph[masked]);
            graph[masked] = cg_onnx_session_graph(m.session);
        }
        onnx_model_close(&m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inputs),
        cmocka_unit_test(test_many_shapes),
        cmocka_unit_test(test_large_batches),
        cmocka_unit_test(test_earlier_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
