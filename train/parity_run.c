/* The cases of a parity check, run by our own session. */
#include "train/parity_private.h"

#include <string.h>

static cg_status run_case(cg_onnx_session *s, cg_parity_case *t) {
    cg_tensor out[CG_PARITY_OUT];
    memset(out, 0, sizeof out);
    for (int i = 0; i < t->n_out; i++) out[i].name = t->out[i].name;
    CG_TRY(cg_onnx_session_run(s, t->in, t->n_in, out, t->n_out));
    for (int i = 0; i < t->n_out; i++) {
        const cg_parity_output *o = &t->out[i];
        char found[CG_SHAPE_TEXT], wanted[CG_SHAPE_TEXT];
        cg_shape shape = CG_SHAPE(o->rows, o->width);
        if (!cg_shape_equal(&out[i].shape, &shape))
            return cg_error(CG_EFORMAT, "%s: has shape %s, wanted %s", o->name,
                            cg_shape_print(&out[i].shape, found), cg_shape_print(&shape, wanted));
        memcpy(o->found, out[i].data, out[i].bytes);
    }
    return CG_OK;
}

cg_status cg_parity_run(cg_context *ctx, const char *path, const cg_onnx_how *how, cg_parity *p) {
    cg_onnx_session *session;
    CG_TRY(cg_onnx_session_create(ctx, path, how, &session));
    cg_status s = CG_OK;
    for (int i = 0; i < p->n_test && s == CG_OK; i++) {
        s = run_case(session, &p->test[i]);
        if (s != CG_OK) cg_error_in(s, "%s: %s", path, p->test[i].name);
    }
    cg_onnx_session_free(session);
    return s;
}
