/* labels: unit */
/* What a file stores is held against the checkpoint: every float is accounted for, and a single
 * number that is not what follows from parameters is found, whether or not a run feels it. */
#include "serialize/onnx/stored.h"

#include "tests/support/onnx_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLOAT = CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT };

/* One of a file, its numbers and how many they are. */
typedef struct stored {
    CgOnnx__TensorProto *t;
    float *x;
    size_t n;
} stored;

static stored at(const CgOnnx__ModelProto *m, size_t i) {
    CgOnnx__TensorProto *t = m->graph->initializer[i];
    return (stored){t, (float *)(void *)t->raw_data.data, t->raw_data.len / sizeof(float)};
}

static stored named(const CgOnnx__ModelProto *m, const char *name) {
    for (size_t i = 0; i < m->graph->n_initializer; i++)
        if (strcmp(m->graph->initializer[i]->name, name) == 0) return at(m, i);
    fail_msg("%s is missing", name);
    return (stored){0};
}

static void rename_to(stored s, const char *name) {
    free(s.t->name);
    s.t->name = strdup(name);
}

static cg_status check(const CgOnnx__ModelProto *m, const cg_onnx_stored *wanted) {
    int64_t compared;
    size_t size = cg_onnx__model_proto__get_packed_size(m);
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    cg_onnx__model_proto__pack(m, bytes);
    write_file("changed.onnx", bytes, size);
    free(bytes);
    return cg_onnx_check_stored(in_folder("changed.onnx"), wanted, &compared);
}

/* --- what follows from parameters ------------------------------------------------------------- */

static void zero(stored s) {
    memset(s.x, 0, s.n * sizeof *s.x);
}
static void scale(stored s) {
    for (size_t i = 0; i < s.n; i++) s.x[i] *= 1.001f;
}
/* A number by a ten-thousandth: that nearest to 0, which hides behind no other; of sums the
 * largest, because one whose terms cancel is known to less than that. Where all are 0, one of them.
 */
static void nudge(stored s) {
    int sum = strstr(s.t->name, ".bias.folded") || strstr(s.t->name, "class_embedding");
    size_t one = s.n / 2;
    for (size_t i = 0; i < s.n; i++) {
        float x = fabsf(s.x[i]), y = fabsf(s.x[one]);
        if (x > 0 && (y == 0 || (sum ? x > y : x < y))) one = i;
    }
    s.x[one] = s.x[one] != 0 ? s.x[one] * 1.0001f : 1e-4f;
}
static void turn_back(stored s) {
    for (size_t i = 0; i < s.n / 2; i++) {
        float kept = s.x[i];
        s.x[i] = s.x[s.n - 1 - i];
        s.x[s.n - 1 - i] = kept;
    }
}
static void make_nan(stored s) {
    s.x[s.n - 1] = NAN;
}

/* Returns whether that was a change, which must be found. */
static int check_change(const CgOnnx__ModelProto *m, const cg_onnx_stored *wanted, stored s,
                        void (*change)(stored s)) {
    float *kept = malloc(s.n * sizeof *kept);
    assert_true(kept && s.x);
    memcpy(kept, s.x, s.n * sizeof *kept);
    change(s);
    int changed = 0; /* but for a zero's sign */
    for (size_t i = 0; i < s.n; i++) changed |= kept[i] != s.x[i];
    if (changed) refused(check(m, wanted), CG_EFORMAT, s.t->name);
    memcpy(s.x, kept, s.n * sizeof *kept);
    free(kept);
    return changed;
}

/* Each tensor that is folded, each change. Returns how many tensors. */
static int check_folds(const exporter *e) {
    static void (*const changes[])(stored s) = {zero, scale, nudge, turn_back, make_nan};
    const cg_onnx_stored wanted = {.params = e->p};
    CgOnnx__ModelProto *m = exporter_write(e, &(cg_onnx_options){.what = CG_ONNX_BOTH});
    int folded = 0;
    ok(check(m, &wanted));
    for (size_t i = 0; i < m->graph->n_initializer; i++) {
        int changed = 0;
        if (!strstr(m->graph->initializer[i]->name, ".folded")) continue;
        for (size_t k = 0; k < sizeof changes / sizeof *changes; k++)
            changed += check_change(m, &wanted, at(m, i), changes[k]);
        assert_in_range(changed, 2, 5); /* of zeros, the last are */
        folded++;
    }
    ok(check(m, &wanted));
    cg_test_onnx_close(m);
    return folded;
}

/* With numbers everywhere, and as they are before the first step: gains of residuals are 0, so that
 * no run feels the convolutions before them. */
static void wrong_folds_are_found(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int folds;
    } models[] = {
        {"tiny-vit-transformer", 13},    /* 2 of positions, 5 of each last block, the temperature */
        {"tiny-resnet-transformer", 46}, /* 19 convolutions and norms, 2 of the pool, 5, 1 */
    };
    for (int i = 0; i < 2; i++) {
        exporter e = exporter_of(models[i].name);
        assert_int_equal(check_folds(&e), models[i].folds);
        cg_params_init(e.p, 7);
        assert_int_equal(check_folds(&e), models[i].folds);
        exporter_free(&e);
    }
}

/* Keys in the place of values; what has the name of another parameter, or of none. */
static void misnamed_folds_are_found(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-vit-transformer");
    const cg_onnx_stored wanted = {.params = e.p};
    static const char weight[] = "transformer.resblocks.1.attn.in_proj_weight.folded";
    static const char *const other[] = {
        "transformer.resblocks.1.attn.in_proj_weight.folded_3",
        "transformer.resblocks.0.attn.in_proj_weight.folded",
        "transformer.resblocks.1.attn.in_proj_weight.folded_x",
        "transformer.resblocks.1.attn.out_proj.weight.folded",
        "visual.conv1.weight.folded",
        "nothing.folded",
        ".folded",
        "positional_embedding.folded",
        "logit_scale.folded_1",
        "visual.positional_embedding.folded_1",
    };
    CgOnnx__ModelProto *m = exporter_write(&e, &(cg_onnx_options){.what = CG_ONNX_TEXT});
    stored s = named(m, weight);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        rename_to(s, other[i]);
        for (size_t n = 0; n < m->graph->n_node; n++) /* a reader that is not there is no file */
            for (size_t k = 0; k < m->graph->node[n]->n_input; k++)
                if (strcmp(m->graph->node[n]->input[k], i ? other[i - 1] : weight) == 0) {
                    free(m->graph->node[n]->input[k]);
                    m->graph->node[n]->input[k] = strdup(other[i]);
                }
        refused(check(m, &wanted), CG_EFORMAT, other[i]);
    }
    cg_test_onnx_close(m);
    exporter_free(&e);
}

/* --- every float ------------------------------------------------------------------------------ */

/* One more tensor, of n floats, that no node reads. */
static void add(CgOnnx__GraphProto *g, const char *name, int64_t n) {
    CgOnnx__TensorProto *t = calloc(1, sizeof *t);
    CgOnnx__TensorProto **list =
        realloc(g->initializer, (g->n_initializer + 1) * sizeof *g->initializer);
    assert_true(t && list);
    cg_onnx__tensor_proto__init(t);
    t->name = strdup(name);
    t->has_data_type = t->has_raw_data = 1;
    t->data_type = FLOAT;
    t->n_dims = 1;
    t->dims = calloc(1, sizeof *t->dims);
    t->dims[0] = n;
    t->raw_data.len = (size_t)n * sizeof(float);
    t->raw_data.data = calloc(t->raw_data.len, 1);
    list[g->n_initializer++] = t;
    g->initializer = list;
}

static void floats_of_no_name_are_found(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-vit-cbow");
    for (int described = 0; described < 2; described++) {
        const cg_onnx_stored wanted = {.params = e.p, .as_described = described};
        cg_onnx_options o = {.what = CG_ONNX_BOTH, .as_described = described};
        static const char *const names[] = {"table", "classifier", "constant/1.0_9", ".transposed",
                                            "visual.class_embedding.folded_1"};
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            CgOnnx__ModelProto *m = exporter_write(&e, &o);
            ok(check(m, &wanted));
            add(m->graph, names[i], 9);
            refused(check(m, &wanted), CG_EFORMAT, names[i]);
            cg_test_onnx_close(m);
        }
    }
    CgOnnx__ModelProto *m = exporter_write(&e, &(cg_onnx_options){.what = CG_ONNX_IMAGE});
    refused(check(m, &(cg_onnx_stored){.params = e.p, .as_described = 1}), CG_EFORMAT, ".folded");
    cg_test_onnx_close(m);
    exporter_free(&e);
}

/* A node that has numbers, instead of a tensor. */
static void numbers_of_nodes_are_found(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-vit-cbow");
    CgOnnx__ModelProto *m = exporter_write(&e, &(cg_onnx_options){.what = CG_ONNX_TEXT});
    CgOnnx__GraphProto *g = m->graph;
    CgOnnx__NodeProto *n = calloc(1, sizeof *n), **list;
    list = realloc(g->node, (g->n_node + 1) * sizeof *g->node);
    assert_true(n && list);
    cg_onnx__node_proto__init(n);
    n->op_type = strdup("Constant");
    n->output = calloc(1, sizeof *n->output);
    n->output[n->n_output++] = strdup("table");
    n->attribute = calloc(1, sizeof *n->attribute);
    CgOnnx__AttributeProto *a = n->attribute[n->n_attribute++] = calloc(1, sizeof *a);
    cg_onnx__attribute_proto__init(a);
    a->name = strdup("value_float");
    a->has_type = a->has_f = 1;
    a->type = CG_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
    list[g->n_node++] = n;
    g->node = list;
    refused(check(m, &(cg_onnx_stored){.params = e.p}), CG_EFORMAT, "numbers of its own");
    cg_test_onnx_close(m);
    exporter_free(&e);
}

/* A matrix of labels is as it was given, or its transpose. */
static void labels_are_held(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-vit-cbow");
    int64_t width = e.d.embed_dim;
    float *label = calloc(3 * (size_t)width, sizeof *label);
    for (int i = 0; i < 3; i++) label[i * width + i] = 1;
    for (int described = 0; described < 2; described++) {
        cg_onnx_options o = {.what = CG_ONNX_CLASSIFIER,
                             .as_described = described,
                             .classifier = label,
                             .labels = 3};
        cg_onnx_stored wanted = {
            .params = e.p, .as_described = described, .label = label, .labels = 3, .width = width};
        CgOnnx__ModelProto *m = exporter_write(&e, &o);
        ok(check(m, &wanted));
        assert_true(check_change(m, &wanted, named(m, "classifier"), scale));
        assert_true(check_change(m, &wanted, named(m, "classifier"), turn_back));
        wanted.labels = 2;
        refused(check(m, &wanted), CG_EFORMAT, "classifier");
        cg_test_onnx_close(m);
    }
    free(label);
    exporter_free(&e);
}

/* Captions of one length have a causal mask of numbers. */
static void causal_masks_are_held(void **state) {
    (void)state;
    exporter e = exporter_of("tiny-vit-transformer");
    const cg_onnx_stored wanted = {.params = e.p};
    e.d.text.pool_type = CG_POOL_LAST;
    CgOnnx__ModelProto *m = exporter_write(&e, &(cg_onnx_options){.what = CG_ONNX_TEXT});
    stored mask = named(m, "constant");
    assert_int_equal(mask.n, e.d.text.context_length * e.d.text.context_length);
    ok(check(m, &wanted));
    assert_true(check_change(m, &wanted, mask, zero));
    assert_true(check_change(m, &wanted, mask, nudge));
    cg_test_onnx_close(m);
    exporter_free(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_folds_are_found),
        cmocka_unit_test(misnamed_folds_are_found),
        cmocka_unit_test(floats_of_no_name_are_found),
        cmocka_unit_test(numbers_of_nodes_are_found),
        cmocka_unit_test(labels_are_held),
        cmocka_unit_test(causal_masks_are_held),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
