/* What an import begins with: weights, the numbers that a file compares with, the nodes that it
 * needs. */
#include "serialize/onnx/import_private.h"

#include <stdlib.h>
#include <string.h>

/* --- weights -----------------------------------------------------------------------------------
 */

cg_status cg_onnx_params(const cg_onnx_file *f, cg_params *params) {
    size_t n = f->model->graph->n_initializer, count = 0;
    cg_param **made = calloc(n + 1, sizeof *made);
    void **data = calloc(n + 1, sizeof *data);
    cg_status s = made && data ? CG_OK : cg_error(CG_ENOMEM, "no memory for %zu weights", n);
    for (size_t i = 0; i < n && s == CG_OK; i++) {
        const cg_onnx_tensor *t = &f->tensor[i];
        if (!cg_onnx_type_is_float(t->type)) continue;
        s = cg_params_declare(params, t->name, t->shape, (cg_param_spec){.state = 1}, &made[i]);
        /* mapped for this process alone: no run writes there */
        data[count++] = (void *)(uintptr_t)cg_onnx_tensor_lies(t);
    }
    if (s == CG_OK) s = cg_params_borrow(params, data, NULL, NULL);
    for (size_t i = 0; i < n && s == CG_OK; i++)
        if (made[i] && !cg_onnx_tensor_lies(&f->tensor[i]))
            cg_onnx_tensor_floats(&f->tensor[i], made[i]->data);
    free(made);
    free(data);
    return s;
}

/* --- numbers ------------------------------------------------------------------------------------
 */

/* Numbers that the file compares with: of all constants of one integer, since Equal has one. */
static cg_status add_number(cg_importer *m, double x) {
    if (!(x >= 0 && x <= INT32_MAX) || m->n_number == 64) return CG_OK;
    for (int i = 0; i < m->n_number; i++)
        if (m->number[i] == (int64_t)x) return CG_OK;
    if (!m->number) m->number = cg_arena_alloc(&m->room.arena, 64 * sizeof *m->number);
    if (!m->number) return cg_error(CG_ENOMEM, "no memory for numbers");
    m->number[m->n_number++] = (int64_t)x;
    return CG_OK;
}

static const CgOnnx__NodeProto *maker_of(const CgOnnx__GraphProto *g, const char *name) {
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_output; k++)
            if (strcmp(g->node[i]->output[k], name) == 0) return g->node[i];
    return NULL;
}

static cg_status find_number(cg_importer *m, const char *name) {
    const CgOnnx__GraphProto *g = m->f->model->graph;
    double x = -1;
    for (size_t i = 0; i < g->n_initializer; i++)
        if (m->f->tensor[i].count == 1 && strcmp(m->f->tensor[i].name, name) == 0)
            cg_onnx_tensor_numbers(&m->f->tensor[i], &x);
    const CgOnnx__NodeProto *n = maker_of(g, name);
    while (n && n->n_input == 1 && strcmp(n->op_type, "Constant") != 0)
        n = maker_of(g, n->input[0]);
    if (n && strcmp(n->op_type, "Constant") == 0 && n->n_output > 0) {
        cg_host h = {0};
        int known;
        if (cg_host_run(&m->room, n, NULL, 0, &h, 1, &known) == CG_OK && h.x &&
            cg_host_count(&h) == 1)
            x = h.x[0];
    }
    return add_number(m, x);
}

cg_status cg_import_find_numbers(cg_importer *m) {
    const CgOnnx__GraphProto *g = m->f->model->graph;
    for (size_t i = 0, seen = 0; i < g->n_node && seen < 16; i++) {
        if (strcmp(g->node[i]->op_type, "Equal") != 0) continue;
        seen++;
        for (size_t k = 0; k < g->node[i]->n_input; k++)
            CG_TRY(find_number(m, g->node[i]->input[k]));
    }
    return CG_OK;
}

/* --- what is needed -----------------------------------------------------------------------------
 */

static cg_status need(cg_onnx_names *t, const char *name) {
    return *name ? cg_onnx_names_set(t, name, 1) : CG_OK;
}

/* Names that a branch reads may be those of the graph around it. */
static cg_status need_inputs(cg_onnx_names *t, const CgOnnx__NodeProto *n) {
    for (size_t i = 0; i < n->n_input; i++) CG_TRY(need(t, n->input[i]));
    for (size_t i = 0; i < n->n_attribute; i++) {
        const CgOnnx__GraphProto *g = n->attribute[i]->g;
        for (size_t k = 0; g && k < g->n_node; k++) CG_TRY(need_inputs(t, g->node[k]));
        for (size_t k = 0; g && k < g->n_output; k++)
            if (g->output[k]->name) CG_TRY(need(t, g->output[k]->name));
    }
    return CG_OK;
}

cg_status cg_import_mark_needed(cg_importer *m) {
    const CgOnnx__GraphProto *g = m->f->model->graph;
    cg_onnx_names t = {0};
    cg_status s = CG_OK;
    m->needed = cg_arena_alloc(&m->room.arena, g->n_node + 1);
    if (!m->needed) return cg_error(CG_ENOMEM, "no memory for %zu nodes", g->n_node);
    for (size_t i = 0; i < g->n_output && i < 64 && s == CG_OK; i++)
        if (m->wanted >> i & 1) s = need(&t, g->output[i]->name);
    for (size_t i = g->n_node; i-- > 0 && s == CG_OK;) {
        int at = m->f->order[i];
        for (size_t k = 0; k < g->node[at]->n_output && !m->needed[at]; k++)
            m->needed[at] = (char)(cg_onnx_names_get(&t, g->node[at]->output[k]) == 1);
        if (m->needed[at]) s = need_inputs(&t, g->node[at]);
    }
    cg_onnx_names_free(&t);
    return s;
}
