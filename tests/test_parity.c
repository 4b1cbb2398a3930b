/* labels: unit */
/* That an export does what its model does is measured: broken ones must be caught. */
#include "tests/support/broken.h"

#include <stdlib.h>
#include <string.h>

enum { FLOAT = CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT };

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
        if (t->data_type != FLOAT || t->n_dims != 1 || t->raw_data.len < 64) continue;
        ((float *)(void *)t->raw_data.data)[3] += .05f;
        return 1;
    }
    return 0;
}

static CgOnnx__TensorProto *tensor(CgOnnx__GraphProto *g, const char *name) {
    for (size_t i = 0; i < g->n_initializer; i++)
        if (strcmp(g->initializer[i]->name, name) == 0) return g->initializer[i];
    return NULL;
}

/* Rows of the token table, of which captions read few. */
static int unread_rows_of(CgOnnx__TensorProto *t) {
    if (!t) return 0;
    size_t row = t->raw_data.len / (size_t)t->dims[0];
    memset(t->raw_data.data + 300 * row, 0, 2 * row);
    return 1;
}

static int unread_rows(CgOnnx__GraphProto *g) {
    return unread_rows_of(tensor(g, "token_embedding.weight"));
}

/* Another table, which is the right one where captions read it, stands in the place of it. */
static int other_table(CgOnnx__GraphProto *g) {
    CgOnnx__TensorProto *t = tensor(g, "token_embedding.weight");
    if (!t || t->data_type != FLOAT) return t != NULL && unread_rows(g);
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_input; k++)
            if (strcmp(g->node[i]->input[k], t->name) == 0) {
                g->node[i]->input[k] = realloc(g->node[i]->input[k], 8);
                strcpy(g->node[i]->input[k], "table");
            }
    t->name = strcpy(realloc(t->name, 32), "table");
    return unread_rows_of(t);
}

static int last_bit_of_a_position(CgOnnx__GraphProto *g) {
    CgOnnx__TensorProto *t = tensor(g, "positional_embedding");
    if (!t) return 0;
    t->raw_data.data[0] ^= 1;
    return 1;
}

/* No run feels it: the residual that it is a part of has a gain of 0. */
static int unfelt(CgOnnx__GraphProto *g) {
    CgOnnx__TensorProto *t = tensor(g, "visual.layer1.0.conv1.weight.folded");
    if (!t) t = tensor(g, "visual.layer1.0.conv1.weight");
    if (!t) return 0;
    memset(t->raw_data.data, 0, t->raw_data.len);
    return 1;
}

static int temperature(CgOnnx__GraphProto *g) {
    CgOnnx__TensorProto *folded = tensor(g, "logit_scale.folded"), *log = tensor(g, "logit_scale");
    if (folded) *(float *)(void *)folded->raw_data.data *= 1.001f;
    if (log) *(float *)(void *)log->raw_data.data += .001f;
    return folded || log;
}

/* The first label's column is the second's. */
static int other_labels(CgOnnx__GraphProto *g) {
    CgOnnx__TensorProto *t = tensor(g, "classifier");
    if (!t) return 0;
    size_t row = t->raw_data.len / (size_t)t->dims[0];
    memmove(t->raw_data.data, t->raw_data.data + row, row);
    return 1;
}

/* --- preprocessing ---------------------------------------------------------------------------- */

static int is_preparing(const CgOnnx__NodeProto *n, const char *op) {
    return strncmp(n->name, "preprocess/", 11) == 0 && strcmp(n->op_type, op) == 0;
}

/* An operand's numbers, in a tensor of its own where others read it, too; NULL: a node makes it. */
static float *own(CgOnnx__GraphProto *g, CgOnnx__NodeProto *n, int in) {
    static int made;
    char name[32];
    const CgOnnx__TensorProto *t = tensor(g, n->input[in]);
    if (!t || t->data_type != FLOAT) return NULL;
    size_t size = cg_onnx__tensor_proto__get_packed_size(t);
    uint8_t *bytes = malloc(size);
    CgOnnx__TensorProto **list =
        realloc(g->initializer, (g->n_initializer + 1) * sizeof *g->initializer);
    assert_true(bytes && list);
    cg_onnx__tensor_proto__pack(t, bytes);
    g->initializer = list;
    CgOnnx__TensorProto *copy = cg_onnx__tensor_proto__unpack(NULL, size, bytes);
    free(bytes);
    snprintf(name, sizeof name, "constant/own %d", made++);
    free(copy->name);
    free(n->input[in]);
    copy->name = strdup(name);
    n->input[in] = strdup(name);
    list[g->n_initializer++] = copy;
    return (float *)(void *)copy->raw_data.data;
}

/* Number k of operand `in` of nodes that prepare pictures, where it is `from`; any where that is 0.
 */
static int replace(CgOnnx__GraphProto *g, const char *op, int in, int k, float from, float to) {
    int changed = 0;
    for (size_t i = 0; i < g->n_node; i++) {
        CgOnnx__NodeProto *n = g->node[i];
        if (!is_preparing(n, op)) continue;
        const CgOnnx__TensorProto *t = tensor(g, n->input[in]);
        if (!t || t->data_type != FLOAT || t->raw_data.len <= (size_t)k * 4) continue;
        float found = ((const float *)(const void *)t->raw_data.data)[k];
        if (from != 0 && (found < from - .01f || found > from + .01f)) continue;
        own(g, n, in)[k] = to;
        changed = 1;
    }
    return changed;
}

static int mean(CgOnnx__GraphProto *g) {
    return replace(g, "Sub", 1, 0, .4815f, .48f);
}
static int deviation(CgOnnx__GraphProto *g) {
    return replace(g, "Div", 1, 2, .2758f, .275f);
}
static int by_256(CgOnnx__GraphProto *g) {
    return replace(g, "Div", 1, 0, 255, 256);
}
static int no_clip_below(CgOnnx__GraphProto *g) {
    return replace(g, "Clip", 1, 0, 0, -1e9f);
}
static int no_clip_above(CgOnnx__GraphProto *g) {
    return replace(g, "Clip", 2, 0, 0, 1e9f);
}
static int floor_for_round(CgOnnx__GraphProto *g) {
    return swap(g, "Round", "Floor");
}

/* Of every Resize. */
static int attribute(CgOnnx__GraphProto *g, const char *name, int i, float f) {
    int changed = 0;
    for (size_t k = 0; k < g->n_node; k++)
        for (size_t a = 0; a < g->node[k]->n_attribute && is_preparing(g->node[k], "Resize"); a++) {
            CgOnnx__AttributeProto *x = g->node[k]->attribute[a];
            if (strcmp(x->name, name) != 0) continue;
            x->i = i;
            x->f = f;
            changed = 1;
        }
    return changed;
}

static int no_antialias(CgOnnx__GraphProto *g) {
    return attribute(g, "antialias", 0, 0);
}
static int outside_counts(CgOnnx__GraphProto *g) {
    return attribute(g, "exclude_outside", 0, 0);
}
static int other_cubic(CgOnnx__GraphProto *g) {
    return attribute(g, "cubic_coeff_a", 0, -.75f);
}

static const cg_dtype stored[] = {CG_F32, CG_F16, CG_BF16};

/* Each of a list, with weights of each type, as described, too. */
static void catch_all(cg_model *m, int inside, const broken *list, size_t n) {
    for (int k = 0; k < 6; k++)
        catch_in(
            m,
            (cg_export_options){.as_described = k / 3, .weights = stored[k % 3], .inside = inside},
            list, n);
}

static void broken_towers_are_caught(void **state) {
    (void)state;
    static const broken transformer[] = {
        {"unchanged", CG_ONNX_TEXT, same},
        {"causal mask removed", CG_ONNX_TEXT, unmask},
        {"smallest id for the end token", CG_ONNX_TEXT, smallest_id},
        {"last end token for the first", CG_ONNX_TEXT, last_end_token},
        {"another activation", CG_ONNX_TEXT, other_activation},
        {"a matrix transposed", CG_ONNX_TEXT, transpose},
        {"a gain", CG_ONNX_TEXT, nudge},
        {"rows of the token table", CG_ONNX_TEXT, unread_rows},
        {"rows of another table", CG_ONNX_TEXT, other_table},
        {"the last bit of a position", CG_ONNX_TEXT, last_bit_of_a_position},
        {"unchanged", CG_ONNX_IMAGE, same},
        {"another activation", CG_ONNX_IMAGE, other_activation},
        {"a matrix transposed", CG_ONNX_IMAGE, transpose},
        {"a gain", CG_ONNX_IMAGE, nudge},
        {"unchanged", CG_ONNX_CLASSIFIER, same},
        {"another activation", CG_ONNX_CLASSIFIER, other_activation},
        {"a matrix transposed", CG_ONNX_CLASSIFIER, transpose},
        {"a gain", CG_ONNX_CLASSIFIER, nudge},
        {"a temperature", CG_ONNX_CLASSIFIER, temperature},
        {"another label", CG_ONNX_CLASSIFIER, other_labels},
        {"unchanged", CG_ONNX_BOTH, same},
        {"logits of the smallest id", CG_ONNX_BOTH, smallest_id},
        {"a temperature", CG_ONNX_BOTH, temperature},
        {"rows of the token table", CG_ONNX_BOTH, unread_rows},
    };
    static const broken bag[] = {
        {"unchanged", CG_ONNX_IMAGE, same},
        {"another activation", CG_ONNX_IMAGE, other_activation},
        {"a matrix transposed", CG_ONNX_IMAGE, transpose},
        {"a matrix backwards", CG_ONNX_IMAGE, reverse},
        {"a convolution before a gain of 0", CG_ONNX_IMAGE, unfelt},
        {"unchanged", CG_ONNX_CLASSIFIER, same},
        {"another activation", CG_ONNX_CLASSIFIER, other_activation},
        {"a matrix backwards", CG_ONNX_CLASSIFIER, reverse},
        {"unchanged", CG_ONNX_TEXT, same},
        {"first and last token counted", CG_ONNX_TEXT, count_specials},
        {"rows of the token table", CG_ONNX_TEXT, unread_rows},
    };
    cg_model m;
    make_model("tiny-vit-transformer", "vit", NULL, &m);
    catch_all(&m, 0, transformer, sizeof transformer / sizeof *transformer);
    cg_model_free(&m);
    make_model("tiny-resnet-cbow", "bag", NULL, &m);
    catch_all(&m, 0, bag, sizeof bag / sizeof *bag);
    cg_model_free(&m);
}

static void broken_preprocessing_is_caught(void **state) {
    (void)state;
    static const broken cubic[] = {
        {"unchanged", CG_ONNX_CLASSIFIER, same},
        {"mean", CG_ONNX_CLASSIFIER, mean},
        {"deviation", CG_ONNX_CLASSIFIER, deviation},
        {"divided by 256", CG_ONNX_CLASSIFIER, by_256},
        {"crop rounded down", CG_ONNX_CLASSIFIER, floor_for_round},
        {"not smoothed", CG_ONNX_CLASSIFIER, no_antialias},
        {"pixels outside", CG_ONNX_CLASSIFIER, outside_counts},
        {"another cubic", CG_ONNX_CLASSIFIER, other_cubic},
        {"below 0", CG_ONNX_CLASSIFIER, no_clip_below},
        {"above 255", CG_ONNX_CLASSIFIER, no_clip_above},
        {"a temperature", CG_ONNX_CLASSIFIER, temperature},
        {"another label", CG_ONNX_CLASSIFIER, other_labels},
        {"unchanged", CG_ONNX_BOTH, same},
        {"divided by 256", CG_ONNX_BOTH, by_256},
    };
    static const broken linear[] = {
        {"unchanged", CG_ONNX_CLASSIFIER, same},
        {"mean", CG_ONNX_CLASSIFIER, mean},
        {"divided by 256", CG_ONNX_CLASSIFIER, by_256},
        {"not smoothed", CG_ONNX_CLASSIFIER, no_antialias},
        {"pixels outside", CG_ONNX_CLASSIFIER, outside_counts},
        {"unchanged", CG_ONNX_IMAGE, same},
        {"pixels outside", CG_ONNX_IMAGE, outside_counts},
    };
    cg_model m;
    make_model("tiny-vit-transformer", "inside", NULL, &m);
    catch_all(&m, 1, cubic, sizeof cubic / sizeof *cubic);
    m.preprocess.interpolation = CG_BILINEAR;
    m.preprocess.resize_mode = CG_RESIZE_SQUASH;
    catch_all(&m, 1, linear, sizeof linear / sizeof *linear);
    cg_model_free(&m);
}

/* Columns of probs are what labels.txt says, which is what the file says. */
static void other_labels_are_caught(void **state) {
    (void)state;
    cg_model m;
    sound s;
    make_model("tiny-vit-cbow", "labelled", NULL, &m);
    make_sound(&m,
               (cg_export_options){.what = CG_ONNX_CLASSIFIER, .label = broken_labels, .labels = 2},
               &s);
    check_broken(&s, "unchanged", same);
    write_text("sound/labels.txt", "two blue squares\na red circle\n");
    refused(cg_export_certify(&s.e), CG_EFORMAT, "not those of labels.txt");
    write_text("sound/labels.txt", "a red circle\n");
    refused(cg_export_certify(&s.e), CG_EFORMAT, "fewer than 2 lines");
    write_text("sound/labels.txt", "a red circle\ntwo blue squares\nnothing\n");
    refused(cg_export_certify(&s.e), CG_EFORMAT, "more than 2 lines");
    free_sound(&s);
    cg_model_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_towers_are_caught),
        cmocka_unit_test(broken_preprocessing_is_caught),
        cmocka_unit_test(other_labels_are_caught),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
