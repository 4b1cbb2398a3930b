/* Comparisons of integers that only a run knows, by arithmetic on them: of whole numbers, a < b is
 * clamp(b - a, 0, 1). As f32, which holds them to 2²⁴. */
#include "serialize/onnx/import_private.h"

#include <string.h>

static cg_status not_floats(cg_job *j) {
    for (int i = 0; i < j->n_in; i++)
        if (cg_item_is_float(j->in[i]))
            return cg_error(CG_EUNSUPPORTED, "compares floats that only a run knows");
    return CG_OK;
}

static cg_value *unit(cg_graph *g, cg_value *x, float plus) {
    return cg_clamp(g, plus == 0 ? x : cg_add(g, x, cg_constant_f32(g, plus)), 0, 1);
}

static cg_value *less(cg_graph *g, cg_value *a, cg_value *b) {
    return unit(g, cg_sub(g, b, a), 0);
}
static cg_value *less_or_equal(cg_graph *g, cg_value *a, cg_value *b) {
    return unit(g, cg_sub(g, b, a), 1);
}
static cg_value *greater(cg_graph *g, cg_value *a, cg_value *b) {
    return less(g, b, a);
}
static cg_value *greater_or_equal(cg_graph *g, cg_value *a, cg_value *b) {
    return less_or_equal(g, b, a);
}
static cg_value *equal(cg_graph *g, cg_value *a, cg_value *b) {
    cg_value *d = cg_sub(g, a, b);
    return unit(g, cg_neg(g, cg_mul(g, d, d)), 1);
}
static cg_value *both(cg_graph *g, cg_value *a, cg_value *b) {
    return cg_mul(g, a, b);
}
static cg_value *either(cg_graph *g, cg_value *a, cg_value *b) {
    return unit(g, cg_add(g, a, b), 0);
}

static cg_status import_compare(cg_job *j) {
    static const struct {
        const char *name;
        cg_binary_fn f;
    } list[] = {{"Less", less},       {"LessOrEqual", less_or_equal},
                {"Greater", greater}, {"GreaterOrEqual", greater_or_equal},
                {"Equal", equal},     {"And", both},
                {"Or", either}};
    CG_TRY(not_floats(j));
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcmp(list[i].name, j->node->op_type) == 0)
            return cg_import_binary(j, list[i].f, j->in[0], j->in[1], &j->out[0]);
    return cg_error(CG_EUNSUPPORTED, "this operator is not supported");
}

static cg_status import_not(cg_job *j) {
    cg_item x;
    CG_TRY(not_floats(j));
    CG_TRY(cg_item_real(j, j->in[0], &x));
    return cg_out_view(j, 0, cg_sub(j->g, cg_constant_f32(j->g, 1), x.v), &x.view);
}

const cg_import_op cg_import_comparisons[] = {{"Less", 2, import_compare},
                                              {"LessOrEqual", 2, import_compare},
                                              {"Greater", 2, import_compare},
                                              {"GreaterOrEqual", 2, import_compare},
                                              {"Equal", 2, import_compare},
                                              {"And", 2, import_compare},
                                              {"Or", 2, import_compare},
                                              {"Not", 1, import_not},
                                              {NULL, 0, NULL}};
