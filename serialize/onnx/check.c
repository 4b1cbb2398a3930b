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

/* --- versions ----------------------------------------------------------------------------------
 */

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

/* --- tensors -----------------------------------------------------------------------------------
 */

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

/* --- nodes -------------------------------------------------------------------------------------
 */

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

/* --- names and order ---------------------------------------------------------------------------
 */

enum { READY = 1, WAITING = 2 };

static cg_status define(cg_onnx_names *t, const char *name, int how) {
    if (cg_onnx_names_get(t, name) >= 0)
        return cg_error(CG_EFORMAT, "value %.200s is defined twice", name);
    return cg_onnx_names_set(t, name, how);
}

static cg_status define_all(const CgOnnx__GraphProto *g, cg_onnx_names *t) {
    char text[200];
    for (size_t i = 0; i < g->n_initializer; i++) CG_TRY(define(t, g->initializer[i]->name, READY));
    for (size_t i = 0; i < g->n_input; i++) {
        const char *name = g->input[i]->name;
        if (!name || !*name) return cg_error(CG_EFORMAT, "input %zu has no name", i);
        int as_default = 0; /* before IR 4 initializers are inputs, too */
        for (size_t k = 0; k < g->n_initializer && !as_default; k++)
            as_default = strcmp(g->initializer[k]->name, name) == 0;
        if (!as_default) CG_TRY(define(t, name, READY));
    }
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_output; k++) {
            if (!*g->node[i]->output[k]) continue;
            cg_status s = define(t, g->node[i]->output[k], WAITING);
            if (s != CG_OK) return cg_error_in(s, "%s", cg_onnx_node_text(g->node[i], text));
        }
    return CG_OK;
}

static cg_status check_inputs_exist(const CgOnnx__GraphProto *g, const cg_onnx_names *t) {
    char text[200];
    for (size_t i = 0; i < g->n_node; i++)
        for (size_t k = 0; k < g->node[i]->n_input; k++) {
            const char *name = g->node[i]->input[k];
            if (*name && cg_onnx_names_get(t, name) < 0)
                return cg_error(CG_EFORMAT, "%s reads %.200s, which nothing defines",
                                cg_onnx_node_text(g->node[i], text), name);
        }
    for (size_t i = 0; i < g->n_output; i++) {
        const char *name = g->output[i]->name;
        if (!name || cg_onnx_names_get(t, name) < 0)
            return cg_error(CG_EFORMAT, "output %.200s is defined by nothing", name ? name : "");
        for (size_t k = 0; k < i; k++)
            if (strcmp(g->output[k]->name, name) == 0)
                return cg_error(CG_EFORMAT, "output %.200s is there twice", name);
    }
    return CG_OK;
}

static int is_ready(const CgOnnx__NodeProto *n, const cg_onnx_names *t) {
    for (size_t k = 0; k < n->n_input; k++)
        if (*n->input[k] && cg_onnx_names_get(t, n->input[k]) != READY) return 0;
    return 1;
}

/* Rounds through the nodes that wait; files are sorted as a rule, and take one. */
static cg_status sort(cg_onnx_file *f, cg_onnx_names *t) {
    const CgOnnx__GraphProto *g = f->model->graph;
    char text[200], *done = calloc(g->n_node + 1, 1);
    f->order = calloc(g->n_node + 1, sizeof *f->order);
    if (!done || !f->order) {
        free(done);
        return cg_error(CG_ENOMEM, "no memory for %zu nodes", g->n_node);
    }
    size_t count = 0;
    for (size_t before = 1; count < g->n_node && before != count;) {
        before = count;
        for (size_t i = 0; i < g->n_node; i++) {
            if (done[i] || !is_ready(g->node[i], t)) continue;
            done[i] = 1;
            f->order[count++] = (int)i;
            for (size_t k = 0; k < g->node[i]->n_output; k++)
                if (*g->node[i]->output[k])
                    (void)cg_onnx_names_set(t, g->node[i]->output[k], READY); /* there already */
        }
        if (before == count) break;
    }
    cg_status s = CG_OK;
    for (size_t i = 0; i < g->n_node && s == CG_OK; i++)
        if (!done[i])
            s = cg_error(CG_EFORMAT, "%s waits for its own result: the graph has a cycle",
                         cg_onnx_node_text(g->node[i], text));
    free(done);
    return s;
}

cg_status cg_onnx_check(cg_onnx_file *f) {
    CG_TRY(check_versions(f));
    CG_TRY(check_initializers(f));
    CG_TRY(check_graph_nodes(f->model->graph, 0));
    cg_onnx_names t = {0};
    cg_status s = define_all(f->model->graph, &t);
    if (s == CG_OK) s = check_inputs_exist(f->model->graph, &t);
    if (s == CG_OK) s = sort(f, &t);
    cg_onnx_names_free(&t);
    return s;
}
