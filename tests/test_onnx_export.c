/* labels: unit */
/* ONNX files of models, as they stand in the file; tools/check_onnx.py runs them elsewhere. */
#include "graph/file.h"
#include "ops/ops.h"
#include "serialize/onnx/export.h"
#include "tests/support/hash.h"
#include "tests/support/models.h"
#include "tests/support/ok.h"
#include "tests/support/onnx_file.h"
#include "train/program.h"
#include "train/runner.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static cg_context *ctx;
static cg_folder *scratch;
static char path[512];

static int begin(void **state) {
    (void)state;
    if (cg_context_create(1, &ctx) != CG_OK) return -1;
    if (cg_folder_create("test_onnx_export", &scratch) != CG_OK) return -1;
    snprintf(path, sizeof path, "%s/model.onnx", cg_folder_path(scratch));
    return 0;
}

static int end(void **state) {
    (void)state;
    cg_folder_abandon(scratch);
    cg_context_free(ctx);
    return 0;
}

static cg_runner *model(const char *name, cg_clip_desc *d) {
    cg_runner *r;
    *d = describe(name);
    ok(cg_runner_create(ctx, d, &r));
    cg_hash_params(cg_runner_params(r));
    return r;
}

static CgOnnx__ModelProto *export(cg_runner *r, const cg_clip_desc *d, const cg_onnx_options *o) {
    ok(cg_onnx_export_clip(ctx, path, cg_runner_params(r), d, o));
    return cg_test_onnx_open(path);
}

static void expect_dims(const CgOnnx__ModelProto *m, const char *name, const char *wanted) {
    char text[256];
    assert_string_equal(cg_test_onnx_dims(m, name, text), wanted);
}

/* --- inputs and outputs ----------------------------------------------------------------------- */

static void test_interface(void **state) {
    (void)state;
    static const char *const name[] = {"tiny-resnet-cbow", "tiny-vit-transformer"};
    for (int i = 0; i < 2; i++) {
        cg_clip_desc d;
        cg_runner *r = model(name[i], &d);
        float label[2 * 32] = {1};
        for (int what = 0; what < 4; what++)
            for (int described = 0; described < 2; described++) {
                int both = what == CG_ONNX_BOTH, image = what != CG_ONNX_TEXT;
                CgOnnx__ModelProto *m = export(r, &d,
                                               &(cg_onnx_options){.what = (cg_onnx_what)what,
                                                                  .as_described = described,
                                                                  .classifier = label,
                                                                  .labels = 2});
                const char *mask = i ? "" : both ? "texts,tokens" : "batch,tokens";
                int text = both || what == CG_ONNX_TEXT;
                expect_dims(m, "pixel_values",
                            both    ? "images,3,32,32"
                            : image ? "batch,3,32,32"
                                    : "");
                expect_dims(m, "input_ids", both ? "texts,tokens" : text ? "batch,tokens" : "");
                expect_dims(m, "attention_mask", text ? mask : "");
                expect_dims(m, "logits_per_image", both ? "images,texts" : "");
                expect_dims(m, "logits_per_text", both ? "texts,images" : "");
                expect_dims(m, "text_embeds", both ? "texts,32" : text ? "batch,32" : "");
                expect_dims(m, "image_embeds",
                            both                    ? "images,32"
                            : what == CG_ONNX_IMAGE ? "batch,32"
                                                    : "");
                expect_dims(m, "probs", what == CG_ONNX_CLASSIFIER ? "batch,2" : "");
                assert_int_equal(m->opset_import[0]->version, 17);
                cg_test_onnx_close(m);
            }
        cg_runner_free(r);
    }
}

/* A tower that sees padding is given captions of one length. */
static void test_fixed_length(void **state) {
    (void)state;
    cg_clip_desc d;
    cg_runner *r = model("tiny-vit-transformer", &d);
    cg_runner_free(r);
    d.text.no_causal_mask = 1;
    ok(cg_runner_create(ctx, &d, &r));
    CgOnnx__ModelProto *m = export(r, &d, &(cg_onnx_options){.what = CG_ONNX_TEXT, .opset = 20});
    expect_dims(m, "input_ids", "batch,32");
    assert_int_equal(m->opset_import[0]->version, 20);
    assert_int_equal(cg_test_onnx_count(m, "Range"), 0);
    assert_int_equal(cg_test_onnx_count(m, "Gelu"), 2);
    cg_test_onnx_close(m);
    cg_runner_free(r);
}

static void test_metadata(void **state) {
    (void)state;
    cg_clip_desc d;
    cg_runner *r = model("tiny-vit-cbow", &d);
    const cg_meta meta[] = {{"a", "1"}, {"labels", "[\"cat\"]"}};
    CgOnnx__ModelProto *m = export(r, &d, &(cg_onnx_options){.meta = meta, .n_meta = 2});
    assert_int_equal(m->n_metadata_props, 2);
    assert_string_equal(m->metadata_props[1]->key, "labels");
    assert_string_equal(m->metadata_props[1]->value, "[\"cat\"]");
    cg_test_onnx_close(m);
    cg_runner_free(r);
}

/* Pictures of any size go in, and are prepared by nodes of the file. */
static void test_preprocess(void **state) {
    (void)state;
    cg_clip_desc d;
    cg_runner *r = model("tiny-vit-cbow", &d);
    for (int mode = 0; mode < 3; mode++) {
        cg_preprocess p = cg_preprocess_default();
        p.size = 32;
        p.resize_mode = (cg_resize_mode)mode;
        CgOnnx__ModelProto *m = export(r, &d, &(cg_onnx_options){.preprocess = &p});
        expect_dims(m, "pixels", "batch,height,width,3");
        expect_dims(m, "pixel_values", "");
        expect_dims(m, "image_embeds", "batch,32");
        assert_int_equal(m->opset_import[0]->version, 18);
        assert_int_equal(cg_test_onnx_count(m, "Resize"), 2);
        assert_int_equal(cg_test_onnx_count(m, "Pad"), mode == CG_RESIZE_LONGEST);
        cg_test_onnx_close(m);
    }
    cg_runner_free(r);
}

/* --- nodes ------------------------------------------------------------------------------------ */

/* A ResNet reads as one: no node stands between its convolutions that turns pictures around. */
static void test_resnet(void **state) {
    (void)state;
    cg_clip_desc d;
    cg_runner *r = model("tiny-resnet-cbow", &d);
    CgOnnx__ModelProto *m = export(r, &d, &(cg_onnx_options){.what = CG_ONNX_IMAGE});
    assert_int_equal(cg_test_onnx_count(m, "BatchNormalization"), 0);
    assert_int_equal(cg_test_onnx_count(m, "Conv"), 19);
    const char *last = "";
    for (size_t i = 0; i < m->graph->n_node; i++) {
        const char *op = m->graph->node[i]->op_type;
        if (strcmp(op, "Conv") == 0 || strcmp(op, "Relu") == 0) last = m->graph->node[i]->name;
    }
    for (size_t i = 0; strcmp(m->graph->node[i]->name, last) != 0; i++) {
        const char *op = m->graph->node[i]->op_type;
        assert_true(strcmp(op, "Conv") == 0 || strcmp(op, "Relu") == 0 || strcmp(op, "Add") == 0 ||
                    strcmp(op, "AveragePool") == 0);
    }
    size_t folded = m->graph->n_node;
    cg_test_onnx_close(m);
    m = export(r, &d, &(cg_onnx_options){.what = CG_ONNX_IMAGE, .as_described = 1});
    assert_int_equal(cg_test_onnx_count(m, "BatchNormalization"), 19);
    assert_true(m->graph->n_node > folded);
    cg_test_onnx_close(m);
    cg_runner_free(r);
}

/* --- weights ---------------------------------------------------------------------------------- */

/* As described, every parameter that the tower reads is there under its own name, bit by bit. */
static void test_parameters(void **state) {
    (void)state;
    cg_clip_desc d;
    cg_runner *r = model("tiny-resnet-transformer", &d);
    cg_params *p = cg_runner_params(r);
    CgOnnx__ModelProto *m =
        export(r, &d, &(cg_onnx_options){.what = CG_ONNX_BOTH, .as_described = 1});
    for (int i = 0; i < cg_params_count(p); i++) {
        const cg_param *t = cg_params_at(p, i);
        const CgOnnx__TensorProto *found = cg_test_onnx_initializer(m, t->name);
        if (t->dtype != CG_F32) continue; /* batch norm's counters */
        if (!found) fail_msg("%s is missing", t->name);
        assert_int_equal(found->n_dims, t->shape.rank);
        assert_int_equal(found->raw_data.len, (size_t)t->count * 4);
        assert_memory_equal(found->raw_data.data, t->data, found->raw_data.len);
    }
    cg_test_onnx_close(m);
    cg_runner_free(r);
}

static const float *numbers(const CgOnnx__ModelProto *m, const char *name) {
    const CgOnnx__TensorProto *t = cg_test_onnx_initializer(m, name);
    if (!t) fail_msg("%s is missing", name);
    return (const float *)(const void *)t->raw_data.data;
}

/* What follows from parameters alone is in the file as numbers. */
static void test_folded(void **state) {
    (void)state;
    cg_clip_desc d;
    cg_runner *r = model("tiny-resnet-transformer", &d);
    cg_params *p = cg_runner_params(r);
    CgOnnx__ModelProto *m = export(r, &d, &(cg_onnx_options){.what = CG_ONNX_BOTH});
    const float *w = cg_params_find(p, "visual.conv1.weight")->data;
    const float *gain = cg_params_find(p, "visual.bn1.weight")->data;
    const float *var = cg_params_find(p, "visual.bn1.running_var")->data;
    const float *found = numbers(m, "visual.conv1.weight.folded");
    for (int o = 0; o < 4; o++)
        for (int i = 0; i < 27; i++) {
            float want = w[o * 27 + i] * gain[o] / sqrtf(var[o] + 1e-5f);
            assert_float_equal(found[o * 27 + i], want, 1e-6f * (1 + fabsf(want)));
        }
    const float *fc = cg_params_find(p, "transformer.resblocks.0.mlp.c_fc.weight")->data;
    found = numbers(m, "transformer.resblocks.0.mlp.c_fc.weight.transposed");
    for (int o = 0; o < 128; o++)
        for (int i = 0; i < 32; i++) assert_true(found[i * 128 + o] == fc[o * 32 + i]);
    assert_float_equal(numbers(m, "logit_scale.folded")[0], cg_runner_temperature(r), 1e-4);
    cg_test_onnx_close(m);
    cg_runner_free(r);
}

static void test_external(void **state) {
    (void)state;
    cg_clip_desc d;
    cg_runner *r = model("tiny-vit-transformer", &d);
    CgOnnx__ModelProto *inside = export(r, &d, &(cg_onnx_options){.what = CG_ONNX_BOTH});
    CgOnnx__ModelProto *m = export(r, &d, &(cg_onnx_options){.what = CG_ONNX_BOTH, .external = 1});
    char data[600];
    cg_map map;
    int n = 0;
    snprintf(data, sizeof data, "%s.data", path);
    ok(cg_file_map(data, &map));
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
    unlink(data);
    cg_test_onnx_close(m);
    cg_test_onnx_close(inside);
    cg_runner_free(r);
}

/* --- halves ----------------------------------------------------------------------------------- */

/* Matrices are halves that a Cast widens, vectors are not. */
static void test_halves(void **state) {
    (void)state;
    cg_clip_desc d;
    cg_runner *r = model("tiny-vit-transformer", &d);
    CgOnnx__ModelProto *m =
        export(r, &d, &(cg_onnx_options){.what = CG_ONNX_BOTH, .weights = CG_F16});
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
    cg_runner_free(r);
}

/* A graph whose parameter is a matrix of these numbers, stored as `weights`. */
static void store(const float *x, int64_t n, cg_dtype weights, uint16_t *out) {
    cg_params *p;
    cg_graph *g;
    ok(cg_params_create(&p));
    ok(cg_graph_create(p, &g));
    cg_value *w = cg_parameter(g, "w", CG_SHAPE(2, n / 2), (cg_param_spec){0});
    cg_graph_output(g, "y", cg_add(g, cg_input(g, "x", CG_F32, CG_SHAPE(2, n / 2)), w), CG_KEEP);
    ok(cg_params_alloc(p));
    memcpy(cg_params_find(p, "w")->data, x, (size_t)n * sizeof *x);
    ok(cg_onnx_export_graph(ctx, path, g, &(cg_onnx_options){.weights = weights}));
    CgOnnx__ModelProto *m = cg_test_onnx_open(path);
    const CgOnnx__TensorProto *t = cg_test_onnx_initializer(m, "w");
    assert_int_equal(t->raw_data.len, (size_t)n * 2);
    memcpy(out, t->raw_data.data, (size_t)n * 2);
    cg_test_onnx_close(m);
    cg_graph_free(g);
    cg_params_free(p);
}

static void test_rounding(void **state) {
    (void)state;
    const float x[] = {1,          -2,           65504,        65519.9f, 65520,      INFINITY,
                       -INFINITY,  0x1p-14f,     0x1p-24f,     0x1p-25f, 0x1.8p-25f, 0x1.002p0f,
                       0x1.006p0f, 0x1.00201p0f, 0x1.ffep-15f, -0.0f};
    const uint16_t half[] = {0x3c00, 0xc000, 0x7bff, 0x7bff, 0x7c00, 0x7c00, 0xfc00, 0x0400,
                             0x0001, 0x0000, 0x0001, 0x3c00, 0x3c02, 0x3c01, 0x0400, 0x8000};
    enum { N = sizeof x / sizeof *x };
    uint16_t found[N];
    store(x, N, CG_F16, found);
    for (int i = 0; i < N; i++)
        if (found[i] != half[i])
            fail_msg("%a as half is %04x, wanted %04x", (double)x[i], found[i], half[i]);
    const float y[] = {1, 0x1.01p0f, 0x1.03p0f, 0x1.0101p0f, NAN, 3.4e38f};
    const uint16_t bf16[] = {0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x7fc0, 0x7f80};
    store(y, 6, CG_BF16, found);
    for (int i = 0; i < 6; i++)
        if (found[i] != bf16[i])
            fail_msg("%a as bf16 is %04x, wanted %04x", (double)y[i], found[i], bf16[i]);
}

/* --- refusals --------------------------------------------------------------------------------- */

static void test_options(void **state) {
    (void)state;
    cg_clip_desc d;
    cg_runner *r = model("tiny-vit-transformer", &d);
    cg_params *p = cg_runner_params(r), *empty;
    cg_preprocess pre = cg_preprocess_default();
    cg_onnx_options o = {.opset = 16};
    refused(cg_onnx_export_clip(ctx, path, p, &d, &o), CG_EINVAL, "opset 16, wanted 17 to 20");
    o = (cg_onnx_options){.opset = 17, .preprocess = &pre};
    refused(cg_onnx_export_clip(ctx, path, p, &d, &o), CG_EINVAL, "opset 17, wanted 18 to 20");
    o = (cg_onnx_options){.preprocess = &pre};
    refused(cg_onnx_export_clip(ctx, path, p, &d, &o), CG_EINVAL, "224 pixels a side");
    o = (cg_onnx_options){.weights = CG_I64};
    refused(cg_onnx_export_clip(ctx, path, p, &d, &o), CG_EINVAL, "weights as i64");
    o = (cg_onnx_options){.what = CG_ONNX_CLASSIFIER};
    refused(cg_onnx_export_clip(ctx, path, p, &d, &o), CG_EINVAL, "a classifier of 0 labels");
    o = (cg_onnx_options){0};
    ok(cg_params_create(&empty));
    refused(cg_onnx_export_clip(ctx, path, empty, &d, &o), CG_EINVAL, "no values yet");
    refused(cg_onnx_export_clip(ctx, "no/such/folder/x.onnx", p, &d, &o), CG_ENOTFOUND, "x.onnx");
    cg_params_free(empty);
    cg_runner_free(r);
}

/* What only training has is refused by name, and leaves no file. */
static void test_training(void **state) {
    (void)state;
    cg_clip_desc d;
    cg_runner *r = model("tiny-resnet-cbow", &d);
    cg_graph *g;
    char other[600];
    snprintf(other, sizeof other, "%s/none.onnx", cg_folder_path(scratch));
    ok(cg_program_build(cg_runner_params(r), &d,
                        &(cg_clip_build){.images = 2,
                                         .texts = 2,
                                         .layout = CG_TEXT_UNIFORM,
                                         .tokens = 32,
                                         .training = 1,
                                         .loss = 1},
                        &(cg_program){0}, &g));
    refused(cg_onnx_export_graph(ctx, other, g, &(cg_onnx_options){0}), CG_EUNSUPPORTED,
            "none.onnx: visual/bn1: op batch_norm has no form in ONNX");
    assert_int_equal(access(other, F_OK), -1);
    cg_graph_free(g);
    cg_runner_free(r);
}

/* Packed captions have sequences of any length. */
static void test_packed(void **state) {
    (void)state;
    cg_clip_desc d;
    cg_runner *r = model("tiny-vit-transformer", &d);
    cg_graph *g;
    ok(cg_program_build(cg_runner_params(r), &d,
                        &(cg_clip_build){.texts = 2, .layout = CG_TEXT_PACKED, .rows = 64},
                        &(cg_program){0}, &g));
    refused(cg_onnx_export_graph(ctx, path, g, &(cg_onnx_options){0}), CG_EUNSUPPORTED,
            "sequences of one length are wanted, and token_offset is not known to have such");
    cg_graph_free(g);
    cg_runner_free(r);
}

/* An output is called what it is called, or refused. */
static void test_names(void **state) {
    (void)state;
    static const char *const taken[] = {"x", "w"};
    for (int i = 0; i < 2; i++) {
        cg_params *p;
        cg_graph *g;
        ok(cg_params_create(&p));
        ok(cg_graph_create(p, &g));
        cg_value *w = cg_parameter(g, "w", CG_SHAPE(2, 3), (cg_param_spec){0});
        cg_value *sum = cg_add(g, cg_input(g, "x", CG_F32, CG_SHAPE(2, 3)), w);
        cg_graph_output(g, taken[i], sum, CG_KEEP);
        ok(cg_params_alloc(p));
        refused(cg_onnx_export_graph(ctx, path, g, &(cg_onnx_options){0}), CG_EUNSUPPORTED,
                "has the name of an input, a parameter or a node");
        cg_graph_free(g);
        cg_params_free(p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interface), cmocka_unit_test(test_fixed_length),
        cmocka_unit_test(test_metadata),  cmocka_unit_test(test_preprocess),
        cmocka_unit_test(test_resnet),    cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_folded),    cmocka_unit_test(test_external),
        cmocka_unit_test(test_halves),    cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_options),   cmocka_unit_test(test_training),
        cmocka_unit_test(test_packed),    cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
