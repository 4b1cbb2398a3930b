/* labels: unit */
/* ONNX files of models, as they stand in the file, and what has no form there;
 * tools/check_onnx.py runs them elsewhere. */
#include "ops/ops.h"
#include "tests/support/onnx_file.h"
#include "train/program.h"

#include <string.h>

static void expect_dims(const CgOnnx__ModelProto *m, const char *name, const char *wanted) {
    char text[256];
    assert_string_equal(cg_test_onnx_dims(m, name, text), wanted);
}

/* --- inputs and outputs ----------------------------------------------------------------------- */

static void test_interface(void **state) {
    (void)state;
    static const char *const name[] = {"tiny-resnet-cbow", "tiny-vit-transformer"};
    for (int i = 0; i < 2; i++) {
        exporter e = exporter_of(name[i]);
        float label[2 * 32] = {1};
        for (int what = 0; what < 4; what++)
            for (int described = 0; described < 2; described++) {
                int both = what == CG_ONNX_BOTH, image = what != CG_ONNX_TEXT;
                CgOnnx__ModelProto *m =
                    exporter_write(&e, &(cg_onnx_options){.what = (cg_onnx_what)what,
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
        exporter_free(&e);
    }
}

/* A tower that sees padding is given captions of one length. */
static void test_fixed_length(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-vit-transformer");
    cg_runner_free(e.r);
    e.d.text.no_causal_mask = 1;
    ok(cg_runner_create(e.ctx, &e.d, &e.r));
    e.p = cg_runner_params(e.r);
    CgOnnx__ModelProto *m =
        exporter_write(&e, &(cg_onnx_options){.what = CG_ONNX_TEXT, .opset = 20});
    expect_dims(m, "input_ids", "batch,32");
    assert_int_equal(m->opset_import[0]->version, 20);
    assert_int_equal(cg_test_onnx_count(m, "Range"), 0);
    assert_int_equal(cg_test_onnx_count(m, "Gelu"), 2);
    cg_test_onnx_close(m);
    exporter_free(&e);
}

static void test_metadata(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-vit-cbow");
    const cg_meta meta[] = {{"a", "1"}, {"labels", "[\"cat\"]"}};
    CgOnnx__ModelProto *m = exporter_write(&e, &(cg_onnx_options){.meta = meta, .n_meta = 2});
    assert_int_equal(m->n_metadata_props, 2);
    assert_string_equal(m->metadata_props[1]->key, "labels");
    assert_string_equal(m->metadata_props[1]->value, "[\"cat\"]");
    cg_test_onnx_close(m);
    exporter_free(&e);
}

/* Pictures of any size go in, and are prepared by nodes of the file. */
static void test_preprocess(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-vit-cbow");
    for (int mode = 0; mode < 3; mode++) {
        cg_preprocess p = cg_preprocess_default();
        p.size = 32;
        p.resize_mode = (cg_resize_mode)mode;
        CgOnnx__ModelProto *m = exporter_write(&e, &(cg_onnx_options){.preprocess = &p});
        expect_dims(m, "pixels", "batch,height,width,3");
        expect_dims(m, "pixel_values", "");
        expect_dims(m, "image_embeds", "batch,32");
        assert_int_equal(m->opset_import[0]->version, 18);
        assert_int_equal(cg_test_onnx_count(m, "Resize"), 2);
        assert_int_equal(cg_test_onnx_count(m, "Pad"), mode == CG_RESIZE_LONGEST);
        cg_test_onnx_close(m);
    }
    exporter_free(&e);
}

/* --- nodes ------------------------------------------------------------------------------------ */

/* A ResNet reads as one: no node stands between its convolutions that turns pictures around. */
static void test_resnet(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-resnet-cbow");
    CgOnnx__ModelProto *m = exporter_write(&e, &(cg_onnx_options){.what = CG_ONNX_IMAGE});
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
    m = exporter_write(&e, &(cg_onnx_options){.what = CG_ONNX_IMAGE, .as_described = 1});
    assert_int_equal(cg_test_onnx_count(m, "BatchNormalization"), 19);
    assert_true(m->graph->n_node > folded);
    cg_test_onnx_close(m);
    exporter_free(&e);
}

/* --- refusals --------------------------------------------------------------------------------- */

static void test_options(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-vit-transformer");
    cg_params *empty;
    cg_preprocess pre = cg_preprocess_default();
    const struct {
        cg_onnx_options o;
        const char *message;
    } bad[] = {{{.opset = 16}, "opset 16, wanted 17 to 20"},
               {{.opset = 17, .preprocess = &pre}, "opset 17, wanted 18 to 20"},
               {{.preprocess = &pre}, "224 pixels a side"},
               {{.weights = CG_I64}, "weights as i64"},
               {{.what = CG_ONNX_CLASSIFIER}, "labels for a classifier: found 0"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(cg_onnx_export_clip(e.ctx, in_folder("x.onnx"), e.p, &e.d, &bad[i].o), CG_EINVAL,
                bad[i].message);
    cg_onnx_options o = {0};
    ok(cg_params_create(&empty));
    refused(cg_onnx_export_clip(e.ctx, in_folder("x.onnx"), empty, &e.d, &o), CG_EINVAL,
            "no values yet");
    refused(cg_onnx_export_clip(e.ctx, "no/such/folder/x.onnx", e.p, &e.d, &o), CG_ENOTFOUND,
            "x.onnx");
    cg_params_free(empty);
    exporter_free(&e);
}

/* What only training has is refused by name, and leaves no file. */
static void test_training(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-resnet-cbow");
    cg_graph *g;
    ok(cg_program_build(e.p, &e.d,
                        &(cg_clip_build){.images = 2,
                                         .texts = 2,
                                         .layout = CG_TEXT_UNIFORM,
                                         .tokens = 32,
                                         .training = 1,
                                         .loss = 1},
                        &(cg_program){0}, &g));
    refused(cg_onnx_export_graph(e.ctx, in_folder("none.onnx"), g, &(cg_onnx_options){0}),
            CG_EUNSUPPORTED, "none.onnx: visual/bn1: op batch_norm has no form in ONNX");
    assert_false(there("none.onnx"));
    cg_graph_free(g);
    exporter_free(&e);
}

/* Packed captions have sequences of any length. */
static void test_packed(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-vit-transformer");
    cg_graph *g;
    ok(cg_program_build(e.p, &e.d,
                        &(cg_clip_build){.texts = 2, .layout = CG_TEXT_PACKED, .rows = 64},
                        &(cg_program){0}, &g));
    refused(cg_onnx_export_graph(e.ctx, in_folder("model.onnx"), g, &(cg_onnx_options){0}),
            CG_EUNSUPPORTED,
            "sequences of one length are wanted, and token_offset is not known to have such");
    cg_graph_free(g);
    exporter_free(&e);
}

/* An output is called what it is called, or refused. */
static void test_names(void **state) {
    (void)state;
    cg_context *ctx;
    ok(cg_context_create(1, &ctx));
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
        refused(cg_onnx_export_graph(ctx, in_folder("model.onnx"), g, &(cg_onnx_options){0}),
                CG_EUNSUPPORTED, "has the name of an input, a parameter or a node");
        cg_graph_free(g);
        cg_params_free(p);
    }
    cg_context_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interface), cmocka_unit_test(test_fixed_length),
        cmocka_unit_test(test_metadata),  cmocka_unit_test(test_preprocess),
        cmocka_unit_test(test_resnet),    cmocka_unit_test(test_options),
        cmocka_unit_test(test_training),  cmocka_unit_test(test_packed),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
