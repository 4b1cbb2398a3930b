/* labels: unit */
/* Exports, and the certificate that they do what the model does: broken ones must be caught. */
#include "graph/file.h"
#include "serialize/checkpoint.h"
#include "serialize/onnx/read.h"
#include "train/export.h"
#include "train/match.h"

#include "onnx/onnx.pb-c.h"
#include "tests/support/ok.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
        assert_true(x->file.most > 0 && x->file.most < 1e-5); /* it was computed twice */
        assert_true(fabs(figure(j, "parity", x->output, "max_difference") / x->file.most - 1) <
                    1e-6);
        assert_true(figure(j, "parity_literal", x->output, "max_difference") < 1e-5);
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
    ok(cg_file_save(in_scratch("far/thesis", path), "mine", 4));
    assert_int_equal(cg_export(&m, in_scratch("far", path), &o, &c), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "\"thesis\""));
    assert_true(there("far/thesis"));
    assert_int_equal(remove(in_scratch("far/thesis", path)), 0);
    assert_int_equal(cg_export(&m, ".", &o, &c), CG_EINVAL);
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

/* What a file loses on data is measured, and refused where it is too much. */
static void losses_on_data(void **state) {
    (void)state;
    cg_model m;
    cg_certificate c;
    cg_dataset *data;
    char path[1024];
    make_model("tiny-vit-transformer", "loses", NULL, &m);
    ok(cg_dataset_synthetic(&(cg_synthetic_options){.size = 16, .image_size = 32}, &data));
    cg_export_options o = {.what = CG_ONNX_BOTH, .weights = CG_BF16, .data = data, .most_loss = .5};
    export_to(&m, "measured", &o, &c);
    assert_int_equal(c.accuracy.n, 4);
    assert_int_equal(c.accuracy.pictures, 16);
    assert_true(c.accuracy.figure[1].model > 0);
    cg_certificate_free(&c);
    o.most_loss = -2; /* wanted: a gain that there cannot be */
    assert_int_equal(cg_export(&m, in_scratch("lost", path), &o, &c), CG_EFORMAT);
    assert_non_null(strstr(cg_error_message(), "image_to_text_recall1 falls from "));
    assert_false(there("lost"));
    cg_dataset_free(data);
    cg_model_free(&m);
}

/* Labels are columns: none may be lost on the way into a file. */
static void texts_that_files_cannot_hold(void **state) {
    (void)state;
    static const char *const labels[][2] = {
        {"a", "b\xff"}, {"a\nb", "c"}, {"a", ""}, {"a\tb", "c"}, {"\xc2\x85", "c"}};
    static const char *const template[] = {"a {} \xc3"};
    cg_model m;
    cg_certificate c;
    char path[1024];
    make_model("tiny-vit-cbow", "texts", NULL, &m);
    cg_export_options o = {.what = CG_ONNX_CLASSIFIER, .labels = 2};
    for (int i = 0; i < 5; i++) {
        o.label = labels[i];
        assert_int_equal(cg_export(&m, in_scratch("none", path), &o, &c), CG_EINVAL);
        assert_non_null(strstr(cg_error_message(), i == 0 ? "label 2 is not UTF-8"
                                                   : i == 2
                                                       ? "label 2 is empty"
                                                       : "label 1 is empty or has a line end"));
    }
    o.label = captions;
    o.templates = (cg_templates){(const char **)template, 1};
    assert_int_equal(cg_export(&m, in_scratch("none", path), &o, &c), CG_EINVAL);
    assert_non_null(strstr(cg_error_message(), "template 1 is not UTF-8"));
    assert_false(there("none"));
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
        if (t->n_dims != 2) continue;
        size_t n = (size_t)t->dims[0], size = t->raw_data.len / (n * n);
        if (t->dims[1] != t->dims[0] || n < 16 || t->raw_data.len != n * n * size) continue;
        uint8_t *x = t->raw_data.data, kept[8];
        float beside[2];
        memcpy(beside, x + size, sizeof beside);
        if (size == 4 && (beside[0] <= -1e29f || beside[0] == 0)) continue; /* a mask */
        for (size_t r = 0; r < n; r++)
            for (size_t c = 0; c < r; c++) {
                memcpy(kept, x + (r * n + c) * size, size);
                memcpy(x + (r * n + c) * size, x + (c * n + r) * size, size);
                memcpy(x + (c * n + r) * size, kept, size);
            }
        return 1;
    }
    return 0;
}

/* The last matrix, whatever its sides, backwards. */
static int reverse(CgOnnx__GraphProto *g) {
    for (size_t i = g->n_initializer; i-- > 0;) {
        const CgOnnx__TensorProto *t = g->initializer[i];
        if (t->n_dims != 2 || t->raw_data.len < 4096) continue;
        size_t n = (size_t)(t->dims[0] * t->dims[1]), size = t->raw_data.len / n;
        uint8_t *x = t->raw_data.data, kept[8];
        for (size_t k = 0; k < n / 2; k++) {
            memcpy(kept, x + k * size, size);
            memcpy(x + k * size, x + (n - 1 - k) * size, size);
            memcpy(x + (n - 1 - k) * size, kept, size);
        }
        return 1;
    }
    return 0;
}

static int other_activation(CgOnnx__GraphProto *g) {
    return swap(g, "Erf", "Tanh") || swap(g, "Gelu", "Relu") || swap(g, "Relu", "Tanh");
}

static int count_specials(CgOnnx__GraphProto *g) {
    return swap(g, "And", "Or");
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

/* One export that is broken in turn, and how it is held against the model. */
typedef struct sound {
    cg_model *m;
    cg_export_options o;
    cg_runner *reference, *rounded;
    float *label;
    cg_parity *p;
} sound;

static sound make_sound(cg_model *m, cg_export_options o) {
    sound s = {.m = m, .o = o};
    cg_certificate c;
    const cg_clip_desc *d = cg_runner_desc(m->runner);
    export_to(m, "sound", &o, &c);
    cg_certificate_free(&c);
    ok(cg_parity_reference(m->ctx, d, m->folder, CG_F32, &s.reference));
    if (o.weights != CG_F32) ok(cg_parity_reference(m->ctx, d, m->folder, o.weights, &s.rounded));
    if (o.labels)
        ok(cg_match_labels(s.reference, m->tokenizer, o.label, o.labels, &o.templates, &s.label,
                           NULL));
    cg_parity_options how = {
        .what = o.what, .preprocess = &m->preprocess, .label = s.label, .labels = o.labels};
    ok(cg_parity_create(s.reference, s.rounded, m->tokenizer, &how, &s.p));
    return s;
}

static void free_sound(sound *s) {
    cg_parity_free(s->p);
    free(s->label);
    cg_runner_free(s->rounded);
    cg_runner_free(s->reference);
}

static void check_broken(const sound *s, const char *name, int (*change)(CgOnnx__GraphProto *g)) {
    char from[1024], to[1024];
    cg_parity_result r;
    breaks(in_scratch("sound/model.onnx", from), in_scratch("broken.onnx", to), change);
    cg_status found = cg_parity_run(s->m->ctx, to, NULL, s->p);
    if (found == CG_OK) found = cg_parity_compare(s->p, &r);
    if (found == CG_OK) found = cg_parity_check(&r, cg_export_tolerance(&s->o));
    const cg_parity_figure *f = &r.figure[0];
    if (change == same && found != CG_OK)
        fail_msg("%s: %s", name, cg_error_message());
    else if (change != same && found == CG_OK)
        fail_msg("%s, %s: not found; differs by %g, rounded by %g", name,
                 cg_dtype_name(s->o.weights), f->file.rms, f->rounding.rms);
}

static const cg_dtype stored[] = {CG_F32, CG_F16, CG_BF16};
static const char *const labels[] = {"a red circle", "two blue squares", "squares", "nothing"};

enum { PLAIN, ALWAYS }; /* found where weights are f32; whatever they are */
typedef struct broken {
    const char *name;
    cg_onnx_what what;
    int (*change)(CgOnnx__GraphProto *g);
    int found;
} broken;

/* Each of a list, those of one part after another; with weights of each type. */
static void catch_all(const char *config, const broken *list, size_t n) {
    cg_model m;
    make_model(config, "broken", NULL, &m);
    for (int k = 0; k < 6; k++)
        for (size_t i = 0, end; i < n; i = end) {
            cg_export_options o = {
                .what = list[i].what, .as_described = k / 3, .weights = stored[k % 3]};
            if (o.what == CG_ONNX_CLASSIFIER) {
                o.label = labels;
                o.labels = 4;
            }
            sound s = make_sound(&m, o);
            for (end = i; end < n && list[end].what == o.what; end++)
                if (o.weights == CG_F32 || list[end].found == ALWAYS)
                    check_broken(&s, list[end].name, list[end].change);
            free_sound(&s);
        }
    cg_model_free(&m);
}

static void broken_files_are_caught(void **state) {
    (void)state;
    static const broken transformer[] = {
        {"unchanged", CG_ONNX_TEXT, same, ALWAYS},
        {"causal mask removed", CG_ONNX_TEXT, unmask, ALWAYS},
        {"smallest id for the end token", CG_ONNX_TEXT, smallest_id, ALWAYS},
        {"last end token for the first", CG_ONNX_TEXT, last_end_token, ALWAYS},
        {"another activation", CG_ONNX_TEXT, other_activation, ALWAYS},
        {"a matrix transposed", CG_ONNX_TEXT, transpose, ALWAYS},
        {"a gain", CG_ONNX_TEXT, nudge, PLAIN},
        {"unchanged", CG_ONNX_IMAGE, same, ALWAYS},
        {"another activation", CG_ONNX_IMAGE, other_activation, ALWAYS},
        {"a matrix transposed", CG_ONNX_IMAGE, transpose, ALWAYS},
        {"a gain", CG_ONNX_IMAGE, nudge, PLAIN},
        {"unchanged", CG_ONNX_CLASSIFIER, same, ALWAYS},
        {"another activation", CG_ONNX_CLASSIFIER, other_activation, ALWAYS},
        {"a matrix transposed", CG_ONNX_CLASSIFIER, transpose, ALWAYS},
        {"a gain", CG_ONNX_CLASSIFIER, nudge, PLAIN},
        {"logits of the smallest id", CG_ONNX_BOTH, smallest_id, ALWAYS},
    };
    /* the pool's matrix of queries only weighs: rounding to bf16 does more */
    static const broken bag[] = {
        {"unchanged", CG_ONNX_IMAGE, same, ALWAYS},
        {"another activation", CG_ONNX_IMAGE, other_activation, ALWAYS},
        {"a matrix transposed", CG_ONNX_IMAGE, transpose, PLAIN},
        {"a matrix backwards", CG_ONNX_IMAGE, reverse, ALWAYS},
        {"unchanged", CG_ONNX_CLASSIFIER, same, ALWAYS},
        {"another activation", CG_ONNX_CLASSIFIER, other_activation, ALWAYS},
        {"a matrix backwards", CG_ONNX_CLASSIFIER, reverse, ALWAYS},
        {"unchanged", CG_ONNX_TEXT, same, ALWAYS},
        {"first and last token counted", CG_ONNX_TEXT, count_specials, ALWAYS},
    };
    catch_all("tiny-vit-transformer", transformer, sizeof transformer / sizeof *transformer);
    catch_all("tiny-resnet-cbow", bag, sizeof bag / sizeof *bag);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_certificate),  cmocka_unit_test(broken_files_are_caught),
        cmocka_unit_test(folders),          cmocka_unit_test(texts_that_files_cannot_hold),
        cmocka_unit_test(weights_lie_well), cmocka_unit_test(losses_on_data),
        cmocka_unit_test(kinds_agree),
    };
    return cmocka_run_group_tests(tests, prepare, finish);
}
