/* labels: unit */
/* Parameters in ONNX files: their names, what is folded into them, in halves, in a file of their
 * own. */
#include "graph/file.h"
#include "ops/ops.h"
#include "tests/support/onnx_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* As described, every parameter that the tower reads is there under its own name, bit by bit. */
static void test_parameters(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-resnet-transformer");
    CgOnnx__ModelProto *m =
        exporter_write(&e, &(cg_onnx_options){.what = CG_ONNX_BOTH, .as_described = 1});
    for (int i = 0; i < cg_params_count(e.p); i++) {
        const cg_param *t = cg_params_at(e.p, i);
        const CgOnnx__TensorProto *found = cg_test_onnx_initializer(m, t->name);
        if (t->dtype != CG_F32) continue; /* batch norm's counters */
        if (!found) fail_msg("%s is missing", t->name);
        assert_int_equal(found->n_dims, t->shape.rank);
        assert_int_equal(found->raw_data.len, (size_t)t->count * 4);
        assert_memory_equal(found->raw_data.data, t->data, found->raw_data.len);
    }
    cg_test_onnx_close(m);
    exporter_free(&e);
}

static const float *numbers(const CgOnnx__ModelProto *m, const char *name) {
    const CgOnnx__TensorProto *t = cg_test_onnx_initializer(m, name);
    if (!t) fail_msg("%s is missing", name);
    return (const float *)(const void *)t->raw_data.data;
}

/* What follows from parameters alone is in the file as numbers. */
static void test_folded(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-resnet-transformer");
    CgOnnx__ModelProto *m = exporter_write(&e, &(cg_onnx_options){.what = CG_ONNX_BOTH});
    const float *w = cg_params_find(e.p, "visual.conv1.weight")->data;
    const float *gain = cg_params_find(e.p, "visual.bn1.weight")->data;
    const float *var = cg_params_find(e.p, "visual.bn1.running_var")->data;
    const float *found = numbers(m, "visual.conv1.weight.folded");
    for (int o = 0; o < 4; o++)
        for (int i = 0; i < 27; i++) {
            float want = w[o * 27 + i] * gain[o] / sqrtf(var[o] + 1e-5f);
            assert_float_equal(found[o * 27 + i], want, 1e-6f * (1 + fabsf(want)));
        }
    const float *fc = cg_params_find(e.p, "transformer.resblocks.0.mlp.c_fc.weight")->data;
    found = numbers(m, "transformer.resblocks.0.mlp.c_fc.weight.transposed");
    for (int o = 0; o < 128; o++)
        for (int i = 0; i < 32; i++) assert_true(found[i * 128 + o] == fc[o * 32 + i]);
    assert_float_equal(numbers(m, "logit_scale.folded")[0], cg_runner_temperature(e.r), 1e-4);
    cg_test_onnx_close(m);
    exporter_free(&e);
}

static void test_external(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-vit-transformer");
    CgOnnx__ModelProto *inside = exporter_write(&e, &(cg_onnx_options){.what = CG_ONNX_BOTH});
    CgOnnx__ModelProto *m =
        exporter_write(&e, &(cg_onnx_options){.what = CG_ONNX_BOTH, .external = 1});
    cg_map map;
    int n = 0;
    ok(cg_file_map(in_folder("model.onnx.data"), &map));
    assert_int_equal(m->graph->n_initializer, inside->graph->n_initializer);
    for (size_t i = 0; i < m->graph->n_initializer; i++) {
        const CgOnnx__TensorProto *t = m->graph->initializer[i], *u = inside->graph->initializer[i];
        assert_string_equal(t->name, u->name);
        if (t->has_raw_data) {
            assert_int_equal(t->raw_data.len, u->raw_data.len);
            assert_true(t->raw_data.len < 1024);
            assert_memory_equal(t->raw_data.data, u->raw_data.data, t->raw_data.len);
            continue;
        }
        size_t offset = strtoull(t->external_data[1]->value, NULL, 10);
        assert_memory_equal(map.data + offset, u->raw_data.data, u->raw_data.len);
        n++;
    }
    assert_true(n > 20);
    cg_file_unmap(&map);
    cg_test_onnx_close(m);
    cg_test_onnx_close(inside);
    exporter_free(&e);
}

/* --- halves ----------------------------------------------------------------------------------- */

/* Matrices are halves that a Cast widens, vectors are not. */
static void test_halves(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-vit-transformer");
    CgOnnx__ModelProto *m =
        exporter_write(&e, &(cg_onnx_options){.what = CG_ONNX_BOTH, .weights = CG_F16});
    int halves = 0;
    for (size_t i = 0; i < m->graph->n_initializer; i++) {
        const CgOnnx__TensorProto *t = m->graph->initializer[i];
        int wide = 0, half = t->data_type == CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16;
        for (size_t k = 0; k < t->n_dims; k++) wide += t->dims[k] > 1;
        if (half && wide < 2) fail_msg("%s is a vector, and half", t->name);
        halves += half;
    }
    assert_int_equal(cg_test_onnx_initializer(m, "ln_final.weight")->data_type,
                     CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
    assert_int_equal(cg_test_onnx_initializer(m, "token_embedding.weight")->data_type,
                     CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16);
    assert_int_equal(cg_test_onnx_count(m, "Cast") >= halves, 1);
    cg_test_onnx_close(m);
    exporter_free(&e);
}

/* A graph whose parameter is a matrix of these numbers, stored as `weights`; the bits that are
 * stored. */
static cg_status store(const float *x, int64_t n, cg_dtype weights, uint16_t *out) {
    cg_context *ctx;
    cg_params *p;
    cg_graph *g;
    ok(cg_context_create(1, &ctx));
    ok(cg_params_create(&p));
    ok(cg_graph_create(p, &g));
    cg_value *w = cg_parameter(g, "w", CG_SHAPE(2, n / 2), (cg_param_spec){0});
    cg_graph_output(g, "y", cg_add(g, cg_input(g, "x", CG_F32, CG_SHAPE(2, n / 2)), w), CG_KEEP);
    ok(cg_params_alloc(p));
    memcpy(cg_params_find(p, "w")->data, x, (size_t)n * sizeof *x);
    cg_status s = cg_onnx_export_graph(ctx, in_folder("model.onnx"), g,
                                       &(cg_onnx_options){.weights = weights});
    if (s == CG_OK) {
        CgOnnx__ModelProto *m = cg_test_onnx_open(in_folder("model.onnx"));
        const CgOnnx__TensorProto *t = cg_test_onnx_initializer(m, "w");
        assert_int_equal(t->raw_data.len, (size_t)n * 2);
        memcpy(out, t->raw_data.data, (size_t)n * 2);
        cg_test_onnx_close(m);
    }
    cg_graph_free(g);
    cg_params_free(p);
    cg_context_free(ctx);
    return s;
}

static void test_rounding(void **state) {
    (void)state;
    const float x[] = {1,          -2,           65504,        65519.9f, -65519.9f,  INFINITY,
                       -INFINITY,  0x1p-14f,     0x1p-24f,     0x1p-25f, 0x1.8p-25f, 0x1.002p0f,
                       0x1.006p0f, 0x1.00201p0f, 0x1.ffep-15f, -0.0f};
    const uint16_t half[] = {0x3c00, 0xc000, 0x7bff, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x0400,
                             0x0001, 0x0000, 0x0001, 0x3c00, 0x3c02, 0x3c01, 0x0400, 0x8000};
    enum { N = sizeof x / sizeof *x };
    uint16_t found[N];
    ok(store(x, N, CG_F16, found));
    for (int i = 0; i < N; i++)
        if (found[i] != half[i])
            fail_msg("%a as half is %04x, wanted %04x", (double)x[i], found[i], half[i]);
    const float y[] = {1, 0x1.01p0f, 0x1.03p0f, 0x1.0101p0f, NAN, 3.389e38f};
    const uint16_t bf16[] = {0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x7fc0, 0x7f7f};
    ok(store(y, 6, CG_BF16, found));
    for (int i = 0; i < 6; i++)
        if (found[i] != bf16[i])
            fail_msg("%a as bf16 is %04x, wanted %04x", (double)y[i], found[i], bf16[i]);
}

/* A finite number does not become infinite. */
static void test_range(void **state) {
    (void)state;
    const float x[] = {1, 2, 3, 4, -65520, 5}, y[] = {3.4e38f, 1, 2, 3};
    uint16_t found[6];
    write_text("model.onnx", "an older one");
    refused(store(x, 6, CG_F16, found), CG_EFORMAT,
            "w: element [1, 1] is -65520, which f16 cannot hold: it ends at 65504");
    refused(store(y, 4, CG_BF16, found), CG_EFORMAT, "w: element [0, 0] is 3.4e+38, which bf16");
    char text[64];
    read_file("model.onnx", text, sizeof text);
    assert_string_equal(text, "an older one");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters), cmocka_unit_test(test_folded),
        cmocka_unit_test(test_external),   cmocka_unit_test(test_halves),
        cmocka_unit_test(test_rounding),   cmocka_unit_test(test_range),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
