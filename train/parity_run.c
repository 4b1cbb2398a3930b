/* The cases of a parity check, run by our own session. */
#include "train/parity_private.h"

#include <string.h>

/* n of the case's outputs. */
static cg_status run_case(cg_onnx_session *s, cg_parity_case *t, int n) {
    cg_tensor out[CG_PARITY_OUT];
    memset(out, 0, sizeof out);
    for (int i = 0; i < n; i++) out[i].name = t->out[i].name;
    CG_TRY(cg_onnx_session_run(s, t->in, t->n_in, out, n));
    for (int i = 0; i < n; i++) {
        const cg_parity_output *o = &t->out[i];
        const cg_shape *shape = &out[i].shape;
        char found[CG_SHAPE_TEXT];
        int64_t rows = shape->rank > 0 ? shape->dim[0] : 1;
        if (rows != o->rows || cg_shape_count(shape) != o->rows * o->width)
            return cg_error(CG_EFORMAT, "%s: has shape %s, wanted %lld rows of %lld", o->name,
                            cg_shape_print(shape, found), (long long)o->rows, (long long)o->width);
        memcpy(o->found, out[i].data, out[i].bytes);
    }
    return CG_OK;
}

static cg_status create(cg_context *ctx, const char *path, cg_parity_view view,
                        const cg_parity_case *t, cg_onnx_session **out) {
    const char *inner[CG_PARITY_OUT];
    if (view == CG_PARITY_OUTSIDE) return cg_onnx_session_create(ctx, path, NULL, out);
    for (int i = 0; i < t->n_inner; i++) inner[i] = t->out[t->n_out + i].name;
    const cg_onnx_how how = {
        .literal = 1, .off = CG_PASSES_NONE, .inner = inner, .n_inner = t->n_inner};
    return cg_onnx_session_create(ctx, path, &how, out);
}

cg_status cg_parity_run(cg_context *ctx, const char *path, cg_parity_view view, cg_parity *p) {
    cg_onnx_session *session;
    CG_TRY(create(ctx, path, view, &p->test[0], &session));
    cg_status s = CG_OK;
    for (int i = 0; i < p->n_test && s == CG_OK; i++) {
        cg_parity_case *t = &p->test[i];
        s = run_case(session, t, t->n_out + (view == CG_PARITY_INSIDE ? t->n_inner : 0));
        if (s != CG_OK) cg_error_in(s, "%s", t->name);
    }
    cg_onnx_session_free(session);
    return s;
}
