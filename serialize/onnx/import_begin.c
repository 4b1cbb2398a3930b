/* What an import begins with: weights, the numbers that a file compares with, the nodes that it
 * needs. */
#include "serialize/onnx/import_private.h"

#include <stdlib.h>
#include <string.h>

/* --- weights ---------------------------------------------------------------------------------- */

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

/* --- numbers ---------------------------------------------------------------------------------- */

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

enum { STEPS = 8 }; /* back from Equal to a constant */

static cg_status number_of(cg_importer *m, const CgOnnx__NodeProto *n, double *x) {
    cg_host h = {0};
    int known;
    if (strcmp(n->op_type, "Constant") != 0 || n->n_output < 1) return CG_OK;
    if (cg_host_run(&m->room, n, NULL, 0, &h, 1, &known) == CG_OK && h.x && cg_host_count(&h) == 1)
        *x = h.x[0];
    return CG_OK;
}

/* maker: of each name, node i as i, and initializer k as -2 - k. */
static cg_status find_number(cg_importer *m, const cg_onnx_names *maker, const char *name) {
    const CgOnnx__GraphProto *g = m->f->model->graph;
    double x = -1;
    for (int step = 0; step < STEPS && *name; step++) {
        int at = cg_onnx_names_get(maker, name);
        if (at < -1 && m->f->tensor[-2 - at].count == 1)
            cg_onnx_tensor_numbers(&m->f->tensor[-2 - at], &x);
        if (at < 0) break;
        CG_TRY(number_of(m, g->node[at], &x));
        if (g->node[at]->n_input != 1) break;
        name = g->node[at]->input[0];
    }
    return add_number(m, x);
}

static cg_status find_makers(const CgOnnx__GraphProto *g, cg_onnx_names *maker) {
    for (size_t i = 0; i < g->n_initializer; i++)
        CG_TRY(cg_onnx_names_set(maker, g->initializer[i]->name, -2 - (int)i));
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_output; k++)
            if (*g->node[i]->output[k])
                CG_TRY(cg_onnx_names_set(maker, g->node[i]->output[k], (int)i));
    return CG_OK;
}

cg_status cg_import_find_numbers(cg_importer *m) {
    const CgOnnx__GraphProto *g = m->f->model->graph;
    cg_onnx_names maker = {0};
    cg_status s = find_makers(g, &maker);
    for (size_t i = 0, seen = 0; i < g->n_node && seen < 16 && s == CG_OK; i++) {
        if (strcmp(g->node[i]->op_type, "Equal") != 0) continue;
        seen++;
        for (size_t k = 0; k < g->node[i]->n_input && s == CG_OK; k++)
            s = find_number(m, &maker, g->node[i]->input[k]);
    }
    cg_onnx_names_free(&maker);
    return s;
}

/* --- readers ---------------------------------------------------------------------------------- */

static cg_status read_by(cg_onnx_names *t, const char *name, int node) {
    if (!name || !*name) return CG_OK;
    int at = cg_onnx_names_get(t, name);
    return cg_onnx_names_set(t, name, at < 0 ? node : CG_SEVERAL);
}

/* What branches read counts as read by several. */
static cg_status read_in_branches(cg_onnx_names *t, const CgOnnx__NodeProto *n) {
    for (size_t i = 0; i < n->n_attribute; i++) {
        const CgOnnx__GraphProto *g = n->attribute[i]->g;
        for (size_t k = 0; g && k < g->n_output; k++)
            CG_TRY(read_by(t, g->output[k]->name, CG_SEVERAL));
        for (size_t k = 0; g && k < g->n_node; k++) {
            for (size_t in = 0; in < g->node[k]->n_input; in++)
                CG_TRY(read_by(t, g->node[k]->input[in], CG_SEVERAL));
            CG_TRY(read_in_branches(t, g->node[k]));
        }
    }
    return CG_OK;
}

cg_status cg_import_find_readers(cg_importer *m) {
    const CgOnnx__GraphProto *g = m->f->model->graph;
    for (size_t i = 0; i < g->n_output; i++)
        CG_TRY(read_by(&m->reader, g->output[i]->name, CG_SEVERAL));
    for (size_t i = 0; i < g->n_node; i++) {
        for (size_t k = 0; k < g->node[i]->n_input; k++)
            CG_TRY(read_by(&m->reader, g->node[i]->input[k], (int)i));
        CG_TRY(read_in_branches(&m->reader, g->node[i]));
    }
    return CG_OK;
}

/* --- what is needed --------------------------------------------------------------------------- */

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
