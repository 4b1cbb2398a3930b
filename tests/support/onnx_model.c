#include "tests/support/onnx_model.h"

#include "tests/support/ok.h"

#include <stdio.h>

onnx_model onnx_model_open(const char *name, cg_onnx_how how) {
    onnx_model m;
    char path[512];
    snprintf(path, sizeof path, ONNX_MODEL_FOLDER "%s.safetensors", name);
    ok(cg_safetensors_open(path, &m.golden));
    ok(cg_context_create(2, &m.ctx));
    snprintf(path, sizeof path, ONNX_MODEL_FOLDER "%s.onnx", name);
    ok(cg_onnx_session_create(m.ctx, path, &how, &m.session));
    return m;
}

void onnx_model_close(onnx_model *m) {
    cg_onnx_session_free(m->session);
    cg_context_free(m->ctx);
    cg_safetensors_close(m->golden);
}

const cg_tensor *onnx_model_tensor(const onnx_model *m, int rows, const char *name) {
    char full[64];
    snprintf(full, sizeof full, "%d/%s", rows, name);
    const cg_tensor *t = cg_safetensors_find(m->golden, full);
    if (!t) fail_msg("no tensor %s", full);
    return t;
}

int onnx_model_inputs(const onnx_model *m, int rows, cg_tensor in[ONNX_MODEL_INPUTS]) {
    const cg_onnx_port *port;
    int n = cg_onnx_inputs(cg_onnx_session_file(m->session), &port);
    for (int i = 0; i < n; i++) {
        in[i] = *onnx_model_tensor(m, rows, port[i].name);
        in[i].name = port[i].name;
    }
    return n;
}

int onnx_model_count(const cg_graph *g, const cg_op *op) {
    int n = 0;
    for (int i = 0; i < g->n_node; i++) n += g->node[i]->op == op;
    return n;
}
