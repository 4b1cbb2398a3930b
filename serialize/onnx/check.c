#include "serialize/onnx/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *cg_onnx_node_text(const CgOnnx__NodeProto *n, char text[200]) {
    const char *name = n->name && *n->name ? n->name : n->n_output ? n->output[0] : "";
    snprintf(text, 200, "node %.120s (%.40s)", name, n->op_type ? n->op_type : "no operator");
    return text;
}

/* --- versions --------------------------------------------------------------------------------- */

static int is_default(const char *domain) {
    return !domain || !*domain || strcmp(domain, "ai.onnx") == 0;
}

static cg_status check_versions(cg_onnx_file *f) {
    const CgOnnx__ModelProto *m = f->model;
    f->opset = 0;
    if (f->map.bytes == 0) return cg_error(CG_EFORMAT, "the file is empty");
    if (m->ir_version < 3 || m->ir_version > 13)
        return cg_error(CG_EUNSUPPORTED, "IR version %" PRId64 ", wanted 3 to 13", m->ir_version);
    for (size_t i = 0; i < m->n_opset_import; i++)
        if (is_default(m->opset_import[i]->domain)) f->opset = m->opset_import[i]->version;
    if (f->opset < CG_ONNX_OLDEST || f->opset > CG_ONNX_NEWEST)
        return cg_error(CG_EUNSUPPORTED, "opset version %" PRId64 ", wanted %d to %d", f->opset,
                        CG_ONNX_OLDEST, CG_ONNX_NEWEST);
    if (m->n_functions)
        return cg_error(CG_EUNSUPPORTED, "function %.100s: functions are not read",
                        m->functions[0]->name ? m->functions[0]->name : "");
    if (m->n_training_info) return cg_error(CG_EUNSUPPORTED, "training information is not read");
    if (!m->graph) return cg_error(CG_EFORMAT, "there is no graph");
    const CgOnnx__GraphProto *g = m->graph;
    if (g->n_initializer > CG_ONNX_MOST_NODES || g->n_input > CG_ONNX_MOST_NODES ||
        g->n_output > CG_ONNX_MOST_NODES)
        return cg_error(CG_EUNSUPPORTED,
                        "the graph has %zu initializers, %zu inputs and %zu outputs, wanted at "
                        "most %d of each",
                        g->n_initializer, g->n_input, g->n_output, CG_ONNX_MOST_NODES);
    if (g->n_sparse_initializer)
        return cg_error(CG_EUNSUPPORTED, "sparse initializers are not read");
    return CG_OK;
}

/* --- tensors ---------------------------------------------------------------------------------- */

static cg_status check_initializer(cg_onnx_file *f, size_t i) {
    const CgOnnx__TensorProto *t = f->model->graph->initializer[i];
    cg_onnx_bytes raw = i < f->slim.n_raw ? f->slim.raw[i] : (cg_onnx_bytes){0};
    if (!t->name || !*t->name) return cg_error(CG_EFORMAT, "has no name");
    if (t->data_location == CG_ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
        CG_TRY(cg_onnx_external(f, t, &raw));
    return cg_onnx_tensor_check(t, &raw, &f->tensor[i]);
}

static cg_status check_initializers(cg_onnx_file *f) {
    size_t n = f->model->graph->n_initializer;
    f->tensor = calloc(n + 1, sizeof *f->tensor);
    if (!f->tensor) return cg_error(CG_ENOMEM, "no memory for %zu tensors", n);
    for (size_t i = 0; i < n; i++) {
        cg_status s = check_initializer(f, i);
        const char *name = f->model->graph->initializer[i]->name;
        if (s != CG_OK) return cg_error_in(s, "tensor %.200s", name ? name : "");
    }
    return CG_OK;
}

/* --- nodes ------------------------------------------------------------------------------------ */

static cg_status check_graph_nodes(const CgOnnx__GraphProto *g, int depth);

static cg_status check_attribute(const CgOnnx__NodeProto *n, const CgOnnx__AttributeProto *a,
                                 int depth) {
    cg_onnx_tensor unused;
    if (!a->name) return cg_error(CG_EFORMAT, "has an attribute without a name");
    if (a->ref_attr_name && *a->ref_attr_name)
        return cg_error(CG_EUNSUPPORTED, "attribute %.60s refers to a function's", a->name);
    int is_branch = n->op_type && strcmp(n->op_type, "If") == 0 && a->g && !a->n_graphs;
    if ((a->g || a->n_graphs) && !is_branch)
        return cg_error(CG_EUNSUPPORTED, "attribute %.60s is a graph, which is not read", a->name);
    if (a->n_sparse_tensors || a->sparse_tensor)
        return cg_error(CG_EUNSUPPORTED, "attribute %.60s is a sparse tensor", a->name);
    if (a->t && a->t->data_location == CG_ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
        return cg_error(CG_EUNSUPPORTED, "attribute %.60s has external data", a->name);
    if (a->t) {
        cg_status s = cg_onnx_tensor_check(a->t, NULL, &unused);
        if (s != CG_OK) return cg_error_in(s, "attribute %.60s", a->name);
    }
    return is_branch ? check_graph_nodes(a->g, depth + 1) : CG_OK;
}

static cg_status check_node(const CgOnnx__NodeProto *n, int depth) {
    if (!n->op_type || !*n->op_type) return cg_error(CG_EFORMAT, "has no operator");
    if (!is_default(n->domain))
        return cg_error(CG_EUNSUPPORTED, "is an operator of domain %.100s, which is not read",
                        n->domain);
    for (size_t i = 0; i < n->n_attribute; i++) CG_TRY(check_attribute(n, n->attribute[i], depth));
    return CG_OK;
}

/* Nodes one by one, whatever they read. */
static cg_status check_graph_nodes(const CgOnnx__GraphProto *g, int depth) {
    char text[200];
    if (depth > 4) return cg_error(CG_EUNSUPPORTED, "branches in branches, more than 4 deep");
    if (g->n_node > CG_ONNX_MOST_NODES)
        return cg_error(CG_EUNSUPPORTED, "the graph has %zu nodes, wanted at most %d", g->n_node,
                        CG_ONNX_MOST_NODES);
    if (depth && (g->n_initializer || g->n_input))
        return cg_error(CG_EUNSUPPORTED, "a branch has inputs or initializers of its own");
    for (size_t i = 0; i < g->n_node; i++) {
        cg_status s = check_node(g->node[i], depth);
        if (s != CG_OK) return cg_error_in(s, "%s", cg_onnx_node_text(g->node[i], text));
    }
    return CG_OK;
}

/* --- names and order -------------------------------------------------------------------------- */

/* In a table of names: inputs and initializers are READY, what node i makes is i. */
enum { READY = CG_ONNX_MOST_NODES };

static cg_status define(cg_onnx_names *t, const char *name, int by) {
    if (cg_onnx_names_get(t, name) >= 0)
        return cg_error(CG_EFORMAT, "value %.200s is defined twice", name);
    return cg_onnx_names_set(t, name, by);
}

static cg_status define_results(const CgOnnx__NodeProto *n, cg_onnx_names *t, int by) {
    char text[200];
    for (size_t k = 0; k < n->n_output; k++) {
        if (!*n->output[k]) continue;
        cg_status s = define(t, n->output[k], by);
        if (s != CG_OK) return cg_error_in(s, "%s", cg_onnx_node_text(n, text));
    }
    return CG_OK;
}

static cg_status define_all(const CgOnnx__GraphProto *g, cg_onnx_names *t) {
    for (size_t i = 0; i < g->n_initializer; i++) CG_TRY(define(t, g->initializer[i]->name, READY));
    size_t initializers = t->used;
    cg_onnx_names inputs = {0};
    cg_status s = CG_OK;
    for (size_t i = 0; i < g->n_input && s == CG_OK; i++) {
        const char *name = g->input[i]->name;
        if (!name || !*name) s = cg_error(CG_EFORMAT, "input %zu has no name", i);
        /* before IR 4 initializers are inputs, too */
        int as_default = s == CG_OK && initializers && cg_onnx_names_get(t, name) >= 0 &&
                         cg_onnx_names_get(&inputs, name) < 0;
        if (s == CG_OK && !as_default) s = define(t, name, READY);
        if (s == CG_OK && !as_default) s = cg_onnx_names_set(&inputs, name, READY);
    }
    cg_onnx_names_free(&inputs);
    for (size_t i = 0; i < g->n_node && s == CG_OK; i++) s = define_results(g->node[i], t, (int)i);
    return s;
}

/* Names that can be seen where a branch stands. */
typedef struct scope {
    cg_onnx_names names;
    const struct scope *around;
} scope;

static int sees(const scope *s, const char *name) {
    for (; s; s = s->around)
        if (cg_onnx_names_get(&s->names, name) >= 0) return 1;
    return 0;
}

static cg_status check_inputs_exist(const CgOnnx__NodeProto *n, const scope *s) {
    char text[200];
    for (size_t k = 0; k < n->n_input; k++)
        if (*n->input[k] && !sees(s, n->input[k]))
            return cg_error(CG_EFORMAT, "%s reads %.200s, which nothing defines",
                            cg_onnx_node_text(n, text), n->input[k]);
    return CG_OK;
}

static cg_status check_branches(const CgOnnx__NodeProto *n, const scope *around);

/* A branch's nodes stand in order, and have names of their own. */
static cg_status check_branch(const CgOnnx__GraphProto *g, scope *own) {
    for (size_t i = 0; i < g->n_node; i++) {
        const CgOnnx__NodeProto *n = g->node[i];
        CG_TRY(check_inputs_exist(n, own));
        CG_TRY(check_branches(n, own));
        for (size_t k = 0; k < n->n_output; k++)
            if (*n->output[k] && sees(own->around, n->output[k]))
                return cg_error(CG_EFORMAT, "defines %.200s, which is defined around the branch",
                                n->output[k]);
        CG_TRY(define_results(n, &own->names, (int)i));
    }
    for (size_t i = 0; i < g->n_output; i++)
        if (!g->output[i]->name || !sees(own, g->output[i]->name))
            return cg_error(CG_EFORMAT, "output %.200s of a branch is defined by nothing",
                            g->output[i]->name ? g->output[i]->name : "");
    return CG_OK;
}

static cg_status check_branches(const CgOnnx__NodeProto *n, const scope *around) {
    char text[200];
    for (size_t i = 0; i < n->n_attribute; i++) {
        if (!n->attribute[i]->g) continue;
        scope own = {.around = around};
        cg_status s = check_branch(n->attribute[i]->g, &own);
        cg_onnx_names_free(&own.names);
        if (s != CG_OK) return cg_error_in(s, "%s", cg_onnx_node_text(n, text));
    }
    return CG_OK;
}

static cg_status check_names(const CgOnnx__GraphProto *g, const scope *s) {
    for (size_t i = 0; i < g->n_node; i++) {
        CG_TRY(check_inputs_exist(g->node[i], s));
        CG_TRY(check_branches(g->node[i], s));
    }
    cg_onnx_names seen = {0};
    cg_status status = CG_OK;
    for (size_t i = 0; i < g->n_output && status == CG_OK; i++) {
        const char *name = g->output[i]->name;
        if (!name || !sees(s, name))
            status = cg_error(CG_EFORMAT, "output %.200s is defined by nothing", name ? name : "");
        else if (cg_onnx_names_get(&seen, name) >= 0)
            status = cg_error(CG_EFORMAT, "output %.200s is there twice", name);
        else
            status = cg_onnx_names_set(&seen, name, 0);
    }
    cg_onnx_names_free(&seen);
    return status;
}

cg_status cg_onnx_check(cg_onnx_file *f) {
    CG_TRY(check_versions(f));
    CG_TRY(check_initializers(f));
    CG_TRY(check_graph_nodes(f->model->graph, 0));
    scope all = {0};
    cg_status s = define_all(f->model->graph, &all.names);
    if (s == CG_OK) s = check_names(f->model->graph, &all);
    if (s == CG_OK) s = cg_onnx_sort(f, &all.names);
    cg_onnx_names_free(&all.names);
    return s == CG_OK ? cg_onnx_check_types(f) : s;
}
