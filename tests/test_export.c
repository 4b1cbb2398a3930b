/* labels: unit */
/* Exports of models: files, the certificate beside them, what they lose, folders. */
#include "graph/file.h"
#include "serialize/onnx/read.h"
#include "tests/support/exports.h"

#include "onnx/onnx.pb-c.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *meta_of(const cg_onnx_file *f, const char *key) {
    const cg_meta *list;
    int n = cg_onnx_meta(f, &list);
    for (int i = 0; i < n; i++)
        if (strcmp(list[i].key, key) == 0) return list[i].value;
    fail_msg("no %s among the metadata", key);
    return NULL;
}

static double figure(const json_t *j, const char *group, const char *output, const char *key) {
    const json_t *x = json_object_get(json_object_get(json_object_get(j, group), output), key);
    assert_true(json_is_number(x));
    return json_number_value(x);
}

/* Figures, in the certificate and in the file, are those that were measured. */
static void the_certificate(void **state) {
    (void)state;
    cg_model m;
    cg_certificate c;
    cg_onnx_file *f;
    make_model("tiny-vit-transformer", "vit", NULL, &m);
    cg_export_options o = {.what = CG_ONNX_BOTH, .name = "clip", .as_described = 1};
    export_to(&m, "both", &o, &c);
    assert_true(there("both/clip.onnx") && there("both/tokenizer.json"));
    assert_true(there("both/open_clip_config.json") && !there("both/clip.onnx.data"));
    json_t *j = json_load_file(in_folder("both/clip.json"), 0, NULL);
    assert_non_null(j);
    assert_int_equal(c.parity.n, 4);
    assert_true(c.parity.pictures >= 8 && c.parity.captions >= 8 && c.parity.cases >= 6);
    for (int i = 0; i < c.parity.n; i++) {
        const cg_parity_figure *x = &c.parity.figure[i];
        assert_true(x->most > 0 && x->most < 1e-5); /* it was computed twice */
        assert_true(fabs(figure(j, "parity", x->output, "max_difference") / x->most - 1) < 1e-6);
        assert_true(figure(j, "parity_literal", x->output, "max_difference") < 1e-5);
    }
    ok(cg_onnx_open(in_folder("both/clip.onnx"), &f));
    assert_string_equal(meta_of(f, "clipgraph.what"), "both");
    assert_string_equal(meta_of(f, "clipgraph.normalized"), "true");
    assert_string_equal(meta_of(f, "clipgraph.text_activation"), "gelu");
    assert_string_equal(meta_of(f, "clipgraph.context_length"), "32");
    assert_string_equal(meta_of(f, "clipgraph.tokenizer_xxh64"),
                        json_string_value(json_object_get(j, "tokenizer_xxh64")));
    json_t *figures = json_loads(meta_of(f, "clipgraph.parity"), 0, NULL);
    json_object_del(json_object_get(j, "parity"), "runtime");
    assert_true(json_equal(figures, json_object_get(j, "parity")));
    json_decref(figures);
    json_decref(j);
    cg_onnx_close(f);
    cg_certificate_free(&c);
    cg_model_free(&m);
}

/* Weights begin at multiples of 64, so that who maps the file need not copy them. */
static void weights_lie_well(void **state) {
    (void)state;
    cg_model m;
    cg_certificate c;
    cg_map map;
    make_model("tiny-resnet-transformer", "lies", NULL, &m);
    export_to(&m, "aligned", &(cg_export_options){.what = CG_ONNX_BOTH}, &c);
    cg_certificate_free(&c);
    cg_model_free(&m);
    ok(cg_file_map(in_folder("aligned/model.onnx"), &map));
    CgOnnx__ModelProto *model = cg_onnx__model_proto__unpack(NULL, map.bytes, map.data);
    assert_non_null(model);
    int checked = 0;
    for (size_t i = 0; i < model->graph->n_initializer; i++) {
        const CgOnnx__TensorProto *t = model->graph->initializer[i];
        size_t bytes = t->raw_data.len, at = 0;
        if (bytes < 1024) continue;
        while (at + bytes <= map.bytes && memcmp(map.data + at, t->raw_data.data, bytes) != 0)
            at += 64;
        if (at + bytes > map.bytes) fail_msg("%s does not begin at a multiple of 64", t->name);
        checked++;
    }
    assert_true(checked > 20);
    cg_onnx__model_proto__free_unpacked(model, NULL);
    cg_file_unmap(&map);
}

static void sigmoid(cg_clip_desc *d) {
    d->init_logit_bias = -10;
}
static void quick(cg_clip_desc *d) {
    d->quick_gelu = 1;
}

/* Everything that can be asked for is within its tolerance. */
static void kinds_agree(void **state) {
    (void)state;
    static const char *const labels[] = {"a red circle", "a blue square", "nothing"};
    static const char *const templates[] = {"{}", "a drawing of {}"};
    static const cg_export_options kinds[] = {
        {.what = CG_ONNX_IMAGE},
        {.what = CG_ONNX_IMAGE, .as_described = 1, .opset = 20},
        {.what = CG_ONNX_IMAGE, .weights = CG_F16, .external = 1},
        {.what = CG_ONNX_IMAGE, .weights = CG_BF16, .opset = 18},
        {.what = CG_ONNX_TEXT},
        {.what = CG_ONNX_TEXT, .as_described = 1, .weights = CG_F16},
        {.what = CG_ONNX_BOTH},
        {.what = CG_ONNX_IMAGE, .inside = 1},
        {.what = CG_ONNX_CLASSIFIER, .label = labels, .labels = 3},
        {.what = CG_ONNX_CLASSIFIER,
         .label = labels,
         .labels = 2,
         .templates = {(const char **)templates, 2},
         .inside = 1}};
    static const struct {
        const char *config;
        void (*change)(cg_clip_desc *d);
    } models[] = {{"tiny-vit-transformer", sigmoid},
                  {"tiny-resnet-cbow", NULL},
                  {"tiny-resnet-transformer", quick},
                  {"tiny-vit-cbow", NULL}};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        cg_model m;
        make_model(models[i].config, models[i].config, models[i].change, &m);
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            cg_certificate c;
            export_to(&m, "kind", &kinds[k], &c);
            for (int f = 0; f < c.parity.n; f++) assert_int_equal(c.parity.figure[f].rows > 0, 1);
            assert_int_equal(there("kind/model.onnx.data"), kinds[k].external);
            assert_int_equal(there("kind/labels.txt"), kinds[k].labels > 0);
            assert_false(there("kind/.exact.onnx") || there("kind/.exact.onnx.data"));
            cg_certificate_free(&c);
        }
        cg_model_free(&m);
    }
}

/* A folder is whole or not there, and holds nothing but an export when it is replaced. */
static void folders(void **state) {
    (void)state;
    cg_model m;
    cg_certificate c;
    make_model("tiny-vit-cbow", "folders", NULL, &m);
    cg_export_options o = {.what = CG_ONNX_IMAGE, .tolerance = 1e-12};
    refused(cg_export(&m, in_folder("far"), &o, &c), CG_EFORMAT,
            "model.onnx is not written: each operator as it stands: image_embeds differs");
    assert_false(there("far"));
    assert_null(c.json);
    o.tolerance = 0;
    export_to(&m, "far", &o, &c);
    cg_certificate_free(&c);
    export_to(&m, "far", &o, &c); /* the same again replaces it */
    cg_certificate_free(&c);
    write_text("far/thesis", "mine");
    refused(cg_export(&m, in_folder("far"), &o, &c), CG_EINVAL, "\"thesis\"");
    assert_true(there("far/thesis"));
    assert_int_equal(remove(in_folder("far/thesis")), 0);
    assert_int_equal(cg_export(&m, ".", &o, &c), CG_EINVAL);
    o.name = "other";
    refused(cg_export(&m, in_folder("far"), &o, &c), CG_EINVAL, "give another folder");
    assert_true(there("far/model.onnx"));
    o.name = NULL;
    write_text("far/model.json", "{\"another\": \"program's\"}");
    refused(cg_export(&m, in_folder("far"), &o, &c), CG_EINVAL, "holds no certificate model.json");
    assert_true(there("far/model.onnx"));
    assert_int_equal(cg_export(&m, in_folder("folders"), &o, &c), CG_EINVAL);
    assert_true(there("folders/tokenizer.json"));
    static const char *const names[] = {"", "a/b", ".hidden", "tokenizer", "a\nb"};
    for (int i = 0; i < 5; i++) {
        o.name = names[i];
        assert_int_equal(cg_export(&m, in_folder("name"), &o, &c), CG_EINVAL);
    }
    cg_model_free(&m);
}

/* What a file loses on data is measured, and refused where it is too much. */
static void losses_on_data(void **state) {
    (void)state;
    cg_model m;
    cg_certificate c;
    cg_dataset *data;
    make_model("tiny-vit-transformer", "loses", NULL, &m);
    ok(cg_dataset_synthetic(&(cg_synthetic_options){.size = 16, .image_size = 32}, &data));
    cg_export_options o = {.what = CG_ONNX_BOTH, .weights = CG_BF16, .data = data, .most_loss = .5};
    export_to(&m, "measured", &o, &c);
    assert_int_equal(c.accuracy.n, 4);
    assert_int_equal(c.accuracy.pictures, 16);
    assert_true(c.accuracy.figure[1].model > 0);
    cg_certificate_free(&c);
    o.most_loss = -2; /* wanted: a gain that there cannot be */
    refused(cg_export(&m, in_folder("lost"), &o, &c), CG_EFORMAT,
            "image_to_text_recall1 falls from ");
    assert_false(there("lost"));
    cg_dataset_free(data);
    cg_model_free(&m);
}

/* Labels are columns: none may be lost on the way into a file. */
static void texts_that_files_cannot_hold(void **state) {
    (void)state;
    static const struct {
        const char *label[2], *message;
    } bad[] = {{{"a", "b\xff"}, "label 2 is not UTF-8"},
               {{"a\nb", "c"}, "label 1 is empty or has a line end"},
               {{"a", ""}, "label 2 is empty"},
               {{"a\tb", "c"}, "label 1 is empty or has a line end"},
               {{"\xc2\x85", "c"}, "label 1 is empty or has a line end"}};
    static const char *const good[] = {"a", "b"};
    static const char *const template[] = {"a {} \xc3"};
    cg_model m;
    cg_certificate c;
    make_model("tiny-vit-cbow", "texts", NULL, &m);
    cg_export_options o = {.what = CG_ONNX_CLASSIFIER, .labels = 2};
    for (int i = 0; i < 5; i++) {
        o.label = bad[i].label;
        refused(cg_export(&m, in_folder("none"), &o, &c), CG_EINVAL, bad[i].message);
    }
    o.label = good;
    o.templates = (cg_templates){(const char **)template, 1};
    refused(cg_export(&m, in_folder("none"), &o, &c), CG_EINVAL, "template 1 is not UTF-8");
    assert_false(there("none"));
    cg_model_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_certificate), cmocka_unit_test(weights_lie_well),
        cmocka_unit_test(kinds_agree),     cmocka_unit_test(folders),
        cmocka_unit_test(losses_on_data),  cmocka_unit_test(texts_that_files_cannot_hold),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
