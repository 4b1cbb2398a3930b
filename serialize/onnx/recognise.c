#include "serialize/onnx/recognise.h"

typedef int (*recognise_fn)(cg_graph *g);

cg_status cg_recognise(cg_graph *g) {
    static const recognise_fn list[] = {NULL};
    for (size_t i = 0; list[i]; i++) {
        list[i](g);
        g->named = NULL;
        CG_TRY(cg_graph_status(g));
        cg_graph_sweep(g);
        cg_graph_order(g);
        cg_pass_common(g);
        cg_pass_dead(g);
    }
    return CG_OK;
}
