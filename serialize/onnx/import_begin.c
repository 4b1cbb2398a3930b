/* What an import begins with: weights, the nodes that it needs, and how often what they make is
 * read. */
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

/* --- readers ---------------------------------------------------------------------------------- */

static cg_status read_once(cg_onnx_names *t, const char *name) {
    int n = name && *name ? cg_onnx_names_get(t, name) : 0;
    return name && *name ? cg_onnx_names_set(t, name, n < 0 ? 1 : n + 1) : CG_OK;
}

static cg_status read_by(cg_onnx_names *t, const CgOnnx__NodeProto *n) {
    for (size_t i = 0; i < n->n_input; i++) CG_TRY(read_once(t, n->input[i]));
    for (size_t i = 0; i < n->n_attribute; i++) {
        const CgOnnx__GraphProto *g = n->attribute[i]->g;
        for (size_t k = 0; g && k < g->n_output; k++) CG_TRY(read_once(t, g->output[k]->name));
        for (size_t k = 0; g && k < g->n_node; k++) CG_TRY(read_by(t, g->node[k]));
    }
    return CG_OK;
}

cg_status cg_import_count_reads(cg_importer *m) {
    const CgOnnx__GraphProto *g = m->f->model->graph;
    for (size_t i = 0; i < g->n_output; i++) CG_TRY(read_once(&m->reads, g->output[i]->name));
    for (size_t i = 0; i < g->n_node; i++)
        if (m->needed[i]) CG_TRY(read_by(&m->reads, g->node[i]));
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
