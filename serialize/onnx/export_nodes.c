#include "serialize/onnx/export_private.h"

/* Whether readers find the node's results by themselves: they are known at export. */
static int is_known(cg_onnx_export *x, const cg_node *n) {
    cg_onnx_progression p;
    int same = 1;
    for (int i = 0; i < n->n_out; i++) same &= (x->known[n->out[i]->id] & CG_ONNX_SAME) != 0;
    if (same && n->n_in > 0) return 1;
    return n->n_out == 1 && x->known[n->out[0]->id] & CG_ONNX_CONSTANT &&
           cg_onnx_find_progression(x, n->out[0], &p);
}

cg_status cg_onnx_walk(cg_onnx_export *x) {
    for (int i = 0; i < x->graph->n_node; i++) {
        const cg_node *n = x->graph->node[i];
        if (is_known(x, n)) continue;
        x->path = n->name;
        if (!n->op->onnx)
            return cg_error(CG_EUNSUPPORTED, "%s: op %s has no form in ONNX", n->name, n->op->name);
        cg_status s = n->op->onnx(&x->sink, n);
        if (s != CG_OK && x->status != CG_OK) cg_error_set("%s", x->message);
        if (s != CG_OK) return cg_error_in(s, "%s: %s", n->name, n->op->name);
    }
    return CG_OK;
}
