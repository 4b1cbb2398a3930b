/* labels: unit */
/* That an export does what its model does is measured: broken ones must be caught. */
#include "graph/file.h"
#include "tests/support/exports.h"
#include "train/match.h"

#include "onnx/onnx.pb-c.h"

#include <stdlib.h>
#include <string.h>

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
    cg_parity_result r;
    breaks(in_folder("sound/model.onnx"), in_folder("broken.onnx"), change);
    cg_status found = cg_parity_run(s->m->ctx, in_folder("broken.onnx"), NULL, s->p);
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
        cmocka_unit_test(broken_files_are_caught),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
