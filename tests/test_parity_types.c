/* labels: unit */
/* Exports whose numbers are right and whose types, attributes or opset are not must be caught. */
#include "tests/support/broken.h"

#include <stdlib.h>
#include <string.h>

enum {
    FLOAT = CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
    F16 = CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16
};

/* What a Cast to floats makes is read as it was before. */
static int cast_left_out(CgOnnx__GraphProto *g) {
    int number = 0;
    const CgOnnx__NodeProto *cast = find_node(g, "Cast", 0);
    while (cast && cast->attribute[0]->i != FLOAT) cast = find_node(g, "Cast", ++number);
    for (size_t i = 0; i < g->n_node && cast; i++)
        for (size_t k = 0; k < g->node[i]->n_input; k++)
            if (strcmp(g->node[i]->input[k], cast->output[0]) == 0) {
                free(g->node[i]->input[k]);
                g->node[i]->input[k] = strdup(cast->input[0]);
            }
    return cast != NULL;
}

/* Constants of one type in another, each number as wide as before or twice as wide. */
static int narrow_integers(CgOnnx__GraphProto *g) {
    int changed = 0;
    for (size_t i = 0; i < g->n_initializer; i++) {
        CgOnnx__TensorProto *t = g->initializer[i];
        if (t->data_type != CG_ONNX__TENSOR_PROTO__DATA_TYPE__INT64) continue;
        size_t n = t->raw_data.len / 8;
        for (size_t k = 0; k < n; k++)
            memmove(t->raw_data.data + 4 * k, t->raw_data.data + 8 * k, 4);
        t->raw_data.len = 4 * n;
        t->data_type = CG_ONNX__TENSOR_PROTO__DATA_TYPE__INT32;
        changed = 1;
    }
    return changed;
}

static int wide_floats(CgOnnx__GraphProto *g) {
    int changed = 0;
    for (size_t i = 0; i < g->n_initializer; i++) {
        CgOnnx__TensorProto *t = g->initializer[i];
        if (t->data_type != FLOAT || strncmp(t->name, "constant/", 9) != 0) continue;
        size_t n = t->raw_data.len / 4;
        double *wide = calloc(n + 1, sizeof *wide);
        assert_non_null(wide);
        for (size_t k = 0; k < n; k++) wide[k] = ((float *)(void *)t->raw_data.data)[k];
        free(t->raw_data.data);
        t->raw_data.data = (uint8_t *)wide;
        t->raw_data.len = n * sizeof *wide;
        t->data_type = CG_ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
        changed = 1;
    }
    return changed;
}

static int input_of_halves(CgOnnx__GraphProto *g) {
    g->input[0]->type->tensor_type->elem_type = F16;
    return 1;
}

static int output_of_halves(CgOnnx__GraphProto *g) {
    g->output[0]->type->tensor_type->elem_type = F16;
    return 1;
}

static int output_of_77(CgOnnx__GraphProto *g) {
    g->output[0]->type->tensor_type->shape->dim[1]->dim_value = 77;
    return 1;
}

static int other_attribute(CgOnnx__GraphProto *g) {
    CgOnnx__NodeProto *n = find_node(g, "Softmax", 0);
    if (!n) return 0;
    for (size_t i = 0; i < n->n_attribute; i++) {
        free(n->attribute[i]->name);
        n->attribute[i]->name = strdup("axes");
    }
    return n->n_attribute > 0;
}

/* Files whose numbers are right, which no runtime that goes by types would load. */
static void wrong_types_are_caught(void **state) {
    (void)state;
    static const broken wrong[] = {
        {"unchanged", CG_ONNX_TEXT, same},
        {"a Cast left out", CG_ONNX_TEXT, cast_left_out},
        {"integers as i32", CG_ONNX_TEXT, narrow_integers},
        {"constants as f64", CG_ONNX_TEXT, wide_floats},
        {"output as f16", CG_ONNX_TEXT, output_of_halves},
        {"output of 77", CG_ONNX_TEXT, output_of_77},
        {"axes of Softmax", CG_ONNX_TEXT, other_attribute},
        {"unchanged", CG_ONNX_IMAGE, same},
        {"pictures as f16", CG_ONNX_IMAGE, input_of_halves},
        {"output as f16", CG_ONNX_IMAGE, output_of_halves},
        {"axes of Softmax", CG_ONNX_IMAGE, other_attribute},
    };
    static const broken halves[] = {
        {"a Cast left out", CG_ONNX_TEXT, cast_left_out},
        {"a Cast left out", CG_ONNX_IMAGE, cast_left_out},
    };
    cg_model m;
    make_model("tiny-vit-transformer", "typed", NULL, &m);
    catch_in(&m, (cg_export_options){0}, wrong, sizeof wrong / sizeof *wrong);
    for (int k = 0; k < 2; k++)
        catch_in(&m, (cg_export_options){.weights = k ? CG_F16 : CG_BF16}, halves,
                 sizeof halves / sizeof *halves);
    cg_model_free(&m);
}

/* With Gelu, which came with opset 20. */
static void older_opsets_are_caught(void **state) {
    (void)state;
    cg_model m;
    sound s;
    make_model("tiny-vit-transformer", "older", NULL, &m);
    make_sound(&m, (cg_export_options){.what = CG_ONNX_TEXT, .opset = 20}, &s);
    for (int opset = 13; opset < 20; opset++) {
        CgOnnx__ModelProto *file = read_model(in_folder("sound/model.onnx"));
        file->opset_import[0]->version = opset;
        write_model(file, "sound/broken.onnx");
        refused(cg_export_certify(&s.e), CG_EFORMAT, "opset");
    }
    free_sound(&s);
    cg_model_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_types_are_caught),
        cmocka_unit_test(older_opsets_are_caught),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
