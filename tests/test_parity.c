/* labels: unit */
/* Exports, and the certificate that they do what the model does: broken ones must be caught. */
#include "graph/file.h"
#include "serialize/checkpoint.h"
#include "serialize/onnx/read.h"
#include "train/export.h"

#include "onnx/onnx.pb-c.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define ok(call)                                                                                   \
    do {                                                                                           \
        if ((call) != CG_OK) fail_msg("%s: %s", #call, cg_error_message());                        \
    } while (0)

static cg_folder *scratch;
static const char *const captions[] = {"a red circle", "two blue squares", "circles and squares"};

/* "NAME" below the scratch folder */
static const char *in_scratch(const char *name, char path[1024]) {
    snprintf(path, 1024, "%s/%s", cg_folder_path(scratch), name);
    return path;
}

/* A checkpoint of a description of models/configs, changed by `change`, with weights of its own. */
static void make_model(const char *config, const char *folder, void (*change)(cg_clip_desc *d),
                       cg_model *out) {
    cg_clip_desc d;
    cg_context *ctx;
    cg_runner *runner;
    cg_tokenizer *tokenizer;
    char path[1024];
    cg_preprocess p = cg_preprocess_default();
    snprintf(path, sizeof path, "%s/models/configs/%s.json", CG_SOURCE_DIR, config);
    ok(cg_clip_desc_load(path, &d));
    if (change) change(&d);
    ok(cg_tokenizer_train(captions, 3, 514, &tokenizer));
    ok(cg_context_create(1, &ctx));
    ok(cg_runner_create(ctx, &d, &runner));
    cg_params_init(cg_runner_params(runner), 7);
    p.size = (int)d.vision.image_size;
    cg_checkpoint c = {
        .desc = &d, .preprocess = &p, .params = cg_runner_params(runner), .tokenizer = tokenizer};
    ok(cg_checkpoint_save(in_scratch(folder, path), &c));
    cg_runner_free(runner);
    cg_tokenizer_free(tokenizer);
    cg_context_free(ctx);
    ok(cg_model_load(path, 1, out));
}

static int prepare(void **state) {
    (void)state;
    return cg_folder_create("test_parity", &scratch) != CG_OK;
}

static int finish(void **state) {
    (void)state;
    cg_folder_abandon(scratch);
    return 0;
}

static void export_to(cg_model *m, const char *name, const cg_export_options *o,
                      cg_certificate *c) {
    char path[1024];
    ok(cg_export(m, in_scratch(name, path), o, c));
}

/* -- what is written --------------------------------------------------------------------------- */

static int there(const char *name) {
    char path[1024];
    struct stat st;
    return stat(in_scratch(name, path), &st) == 0;
}

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
    char path[1024];
    cg_onnx_file *f;
    make_model("tiny-vit-transformer", "vit", NULL, &m);
    cg_export_options o = {.what = CG_ONNX_BOTH, .name = "clip", .as_described = 1};
    export_to(&m, "both", &o, &c);
    assert_true(there("both/clip.onnx") && there("both/tokenizer.json"));
    assert_true(there("both/open_clip_config.json") && !there("both/clip.onnx.data"));
    json_t *j = json_load_file(in_scratch("both/clip.json", path), 0, NULL);
    assert_non_null(j);
    assert_int_equal(c.parity.n, 4);
    assert_true(c.parity.pictures >= 8 && c.parity.captions >= 8 && c.parity.cases >= 6);
    for (int i = 0; i < c.parity.n; i++) {
        const cg_parity_figure *x = &c.parity.figure[i];
        assert_true(x->max_difference > 0 && x->max_difference < 1e-5); /* it was computed twice */
        assert_true(fabs(figure(j, "parity", x->output, "max_difference") / x->max_difference - 1) <
                    1e-6);
    }
    ok(cg_onnx_open(in_scratch("both/clip.onnx", path), &f));
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
    char path[1024];
    make_model("tiny-resnet-transformer", "lies", NULL, &m);
    export_to(&m, "aligned", &(cg_export_options){.what = CG_ONNX_BOTH}, &c);
    cg_certificate_free(&c);
    cg_model_free(&m);
    ok(cg_file_map(in_scratch("aligned/model.onnx", path), &map));
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
    char path[1024];
    make_model("tiny-vit-cbow", "folders", NULL, &m);
    cg_export_options o = {.what = CG_ONNX_IMAGE, .tolerance = 1e-12};
    assert_int_equal(cg_export(&m, in_scratch("far", path), &o, &c), CG_EFORMAT);
    assert_non_null(strstr(cg_error_message(), "model.onnx is not written: image_embeds differs"));
    assert_false(there("far"));
    assert_null(c.json);
    o.tolerance = 0;
    export_to(&m, "far", &o, &c);
    cg_certificate_free(&c);
    export_to(&m, "far", &o, &c); /* the same again replaces it */
    cg_certificate_free(&c);
    o.name = "other";
    assert_int_equal(cg_export(&m, in_scratch("far", path), &o, &c), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "give another folder"));
    assert_true(there("far/model.onnx"));
    assert_int_equal(cg_export(&m, in_scratch("folders", path), &o, &c), CG_EINVAL);
    assert_true(there("folders/tokenizer.json"));
    static const char *const names[] = {"", "a/b", ".hidden", "tokenizer"};
    for (int i = 0; i < 4; i++) {
        o.name = names[i];
        assert_int_equal(cg_export(&m, in_scratch("name", path), &o, &c), CG_EINVAL);
    }
    cg_model_free(&m);
}

/* -- broken files ------------------------------------------------------------------------------ */

static CgOnnx__NodeProto *find_node(CgOnnx__GraphProto *g, const char *op, int number) {
    for (size_t i = 0; i < g->n_node; i++)
        if (strcmp(g->node[i]->op_type, op) == 0 && number-- == 0) return g->node[i];
    return NULL;
}

/* Puts another operator in the place of the first of that name. */
static int swap(CgOnnx__GraphProto *g, const char *op, const char *by) {
    CgOnnx__NodeProto *n = find_node(g, op, 0);
    if (!n) return 0;
    free(n->op_type);
    n->op_type = strdup(by);
    return n->op_type != NULL;
}

/* Nothing is hidden by a causal mask any more. */
static int unmask(CgOnnx__GraphProto *g) {
    int changed = 0;
    for (size_t i = 0; i < g->n_initializer; i++) {
        CgOnnx__TensorProto *t = g->initializer[i];
        if (t->data_type != CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT) continue;
        float *x = (float *)(void *)t->raw_data.data;
        for (size_t k = 0; k < t->raw_data.len / sizeof *x; k++)
            if (x[k] <= -1e29f) {
                x[k] = 0;
                changed = 1;
            }
    }
    return changed;
}

/* A square matrix is read the other way round. */
static int transpose(CgOnnx__GraphProto *g) {
    for (size_t i = 0; i < g->n_initializer; i++) {
        CgOnnx__TensorProto *t = g->initializer[i];
        if (t->data_type != CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT || t->n_dims != 2) continue;
        int64_t n = t->dims[0];
        if (n != t->dims[1] || n < 16 || t->raw_data.len != (size_t)(n * n) * sizeof(float))
            continue;
        float *x = (float *)(void *)t->raw_data.data;
        if (x[1] == x[n] || x[n] == -INFINITY || x[1] == -INFINITY) continue; /* a mask */
        for (int64_t r = 0; r < n; r++)
            for (int64_t c = 0; c < r; c++) {
                float kept = x[r * n + c];
                x[r * n + c] = x[c * n + r];
                x[c * n + r] = kept;
            }
        return 1;
    }
    return 0;
}

static int other_activation(CgOnnx__GraphProto *g) {
    return swap(g, "Erf", "Tanh") || swap(g, "Gelu", "Relu");
}

static int smallest_id(CgOnnx__GraphProto *g) {
    return swap(g, "ArgMax", "ArgMin");
}

/* The last of equal ids stands for the text, not the first. */
static int last_end_token(CgOnnx__GraphProto *g) {
    CgOnnx__NodeProto *n = find_node(g, "ArgMax", 0);
    if (!n) return 0;
    CgOnnx__AttributeProto *a = calloc(1, sizeof *a);
    CgOnnx__AttributeProto **list = realloc(n->attribute, (n->n_attribute + 1) * sizeof *list);
    if (!a || !list) return 0;
    cg_onnx__attribute_proto__init(a);
    a->name = strdup("select_last_index");
    a->has_type = a->has_i = 1;
    a->type = CG_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    a->i = 1;
    n->attribute = list;
    list[n->n_attribute++] = a;
    return 1;
}

/* One number of a norm's gain. */
static int nudge(CgOnnx__GraphProto *g) {
    for (size_t i = 0; i < g->n_initializer; i++) {
        CgOnnx__TensorProto *t = g->initializer[i];
        if (t->data_type != CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT || t->n_dims != 1 ||
            t->raw_data.len < 64)
            continue;
        ((float *)(void *)t->raw_data.data)[3] += .05f;
        return 1;
    }
    return 0;
}

static int same(CgOnnx__GraphProto *g) {
    return g->n_node > 0;
}

/* Reads `from`, breaks it, writes `to`. */
static void breaks(const char *from, const char *to, int (*change)(CgOnnx__GraphProto *g)) {
    cg_map map;
    ok(cg_file_map(from, &map));
    CgOnnx__ModelProto *m = cg_onnx__model_proto__unpack(NULL, map.bytes, map.data);
    assert_non_null(m);
    assert_true(change(m->graph));
    size_t size = cg_onnx__model_proto__get_packed_size(m);
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    cg_onnx__model_proto__pack(m, bytes);
    ok(cg_file_save(to, bytes, size));
    free(bytes);
    cg_onnx__model_proto__free_unpacked(m, NULL);
    cg_file_unmap(&map);
}

static void check_broken(cg_model *m, cg_onnx_what what, const char *name,
                         int (*change)(CgOnnx__GraphProto *g)) {
    char from[1024], to[1024];
    cg_runner *reference;
    cg_parity *p;
    cg_parity_result r;
    cg_parity_options o = {.what = what, .preprocess = &m->preprocess};
    breaks(in_scratch("sound/model.onnx", from), in_scratch("broken.onnx", to), change);
    ok(cg_runner_open(m->ctx, cg_runner_desc(m->runner), m->folder, &reference));
    ok(cg_runner_set_program(reference, CG_PRECISION_F32, CG_PASSES_NONE, NULL));
    ok(cg_parity_create(reference, m->tokenizer, &o, &p));
    cg_status s = cg_parity_run(m->ctx, to, p);
    if (s == CG_OK) s = cg_parity_compare(p, &r);
    if (s == CG_OK) s = cg_parity_check(&r, 1e-5);
    if (change == same && s != CG_OK) fail_msg("%s: %s", name, cg_error_message());
    if (change != same && s == CG_OK)
        fail_msg("%s: not found; differs by %g", name, r.figure[0].max_difference);
    cg_parity_free(p);
    cg_runner_free(reference);
}

static void broken_files_are_caught(void **state) {
    (void)state;
    static const struct {
        const char *name;
        cg_onnx_what what;
        int (*change)(CgOnnx__GraphProto *g);
    } cases[] = {
        {"unchanged", CG_ONNX_TEXT, same},
        {"causal mask removed", CG_ONNX_TEXT, unmask},
        {"smallest id for the end token", CG_ONNX_TEXT, smallest_id},
        {"last end token for the first", CG_ONNX_TEXT, last_end_token},
        {"another activation", CG_ONNX_TEXT, other_activation},
        {"a matrix transposed", CG_ONNX_TEXT, transpose},
        {"a gain", CG_ONNX_TEXT, nudge},
        {"unchanged", CG_ONNX_IMAGE, same},
        {"another activation", CG_ONNX_IMAGE, other_activation},
        {"a matrix transposed", CG_ONNX_IMAGE, transpose},
        {"a gain", CG_ONNX_IMAGE, nudge},
        {"logits of the smallest id", CG_ONNX_BOTH, smallest_id},
    };
    cg_model m;
    cg_certificate c;
    make_model("tiny-vit-transformer", "broken", NULL, &m);
    for (int described = 0; described < 2; described++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            if (i == 0 || cases[i].what != cases[i - 1].what) {
                cg_export_options o = {.what = cases[i].what, .as_described = described};
                export_to(&m, "sound", &o, &c);
                cg_certificate_free(&c);
            }
            check_broken(&m, cases[i].what, cases[i].name, cases[i].change);
        }
    cg_model_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_certificate), cmocka_unit_test(broken_files_are_caught),
        cmocka_unit_test(folders),         cmocka_unit_test(weights_lie_well),
        cmocka_unit_test(kinds_agree),
    };
    return cmocka_run_group_tests(tests, prepare, finish);
}
