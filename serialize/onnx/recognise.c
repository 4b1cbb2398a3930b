#include "serialize/onnx/recognise.h"

#include "ops/passes/rewrite.h"
#include "serialize/onnx/computed.h"

#include <string.h>

static const cg_value *unshaped(const cg_value *v) {
    while (v->node && v->node->op == &cg_op_reshape) v = v->node->in[0];
    return v;
}

cg_value *cg_unshaped(cg_value *v) {
    return (cg_value *)(uintptr_t)unshaped(v);
}

cg_node *cg_made_by(cg_value *v, const cg_op *op) {
    v = cg_unshaped(v);
    return v->node && v->node->op == op && v->index == 0 ? v->node : NULL;
}

const void *cg_numbers(const cg_value *v, cg_dtype dtype, const cg_onnx_computed *computed) {
    v = unshaped(v);
    if (v->dtype != dtype) return NULL;
    if (v->kind == CG_VALUE_CONSTANT) return v->data;
    return v->kind == CG_VALUE_PARAM ? v->param->data : cg_onnx_computed_numbers(computed, v);
}

int cg_one_number(const cg_value *v, float *out) {
    const float *x = cg_shape_count(&v->shape) == 1 ? cg_numbers(v, CG_F32, NULL) : NULL;
    if (x) *out = *x;
    return x != NULL;
}

cg_value *cg_with_number(const cg_node *n, float *c) {
    if (n->op == &cg_op_scale) {
        *c = *(const float *)n->attr; /* its only attribute */
        return n->in[0];
    }
    if (n->n_in != 2) return NULL;
    for (int i = 0; i < 2; i++)
        if (cg_one_number(n->in[i], c)) return n->in[1 - i];
    return NULL;
}

cg_value *cg_offsets(cg_graph *g, cg_budget *b, int64_t sequences, int64_t rows) {
    cg_shape shape = CG_SHAPE(sequences + 1);
    cg_status status = cg_budget_walk(b, g->n_value + sequences);
    if (status != CG_OK) return cg_graph_fail(g, status);
    for (int i = 0; i < g->n_value; i++) {
        const cg_value *v = g->value[i];
        const int32_t *x = v->data;
        int same =
            v->kind == CG_VALUE_CONSTANT && v->dtype == CG_I32 && cg_shape_equal(&v->shape, &shape);
        for (int64_t s = 0; same && s <= sequences; s++) same = x[s] == s * rows;
        if (same) return g->value[i];
    }
    status = cg_budget_hold(b, "makes", &shape, (sequences + 1) * (int64_t)sizeof(int32_t));
    return status == CG_OK ? cg_i32_range(g, sequences + 1, rows) : cg_graph_fail(g, status);
}

static cg_status tidy(cg_graph *g) {
    g->named = NULL;
    CG_TRY(cg_graph_status(g));
    cg_graph_sweep(g);
    cg_graph_order(g);
    cg_pass_common(g);
    cg_pass_dead(g);
    return CG_OK;
}

cg_status cg_recognise(cg_graph *g, cg_onnx_computed *computed, cg_budget *b) {
    static int (*const before[])(cg_graph * g) = {cg_recognise_views, cg_recognise_linear,
                                                  cg_recognise_norm};
    cg_budget own = {0};
    if (!b) b = &own;
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        before[i](g);
        CG_TRY(tidy(g));
    }
    cg_recognise_activation(g, b);
    CG_TRY(tidy(g));
    cg_recognise_attention(g, computed, b);
    CG_TRY(tidy(g));
    cg_recognise_rows(g, computed, b);
    CG_TRY(tidy(g));
    cg_recognise_views(g);
    CG_TRY(tidy(g));
    cg_recognise_conv(g);
    return tidy(g);
}
