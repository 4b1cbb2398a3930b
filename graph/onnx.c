#include "graph/onnx.h"

cg_onnx_size cg_onnx_fixed(int64_t n) {
    return (cg_onnx_size){.factor = n};
}

int cg_onnx_is(cg_onnx_size a, int64_t n) {
    for (int i = 0; i < CG_ONNX_SYMBOLS; i++)
        if (a.power[i]) return 0;
    return a.factor == n;
}

cg_onnx_size cg_onnx_times(cg_onnx_size a, cg_onnx_size b) {
    a.factor *= b.factor;
    for (int i = 0; i < CG_ONNX_SYMBOLS; i++) a.power[i] = (int8_t)(a.power[i] + b.power[i]);
    return a;
}

cg_onnx_ref *cg_onnx_unary(cg_onnx_sink *s, const char *op, cg_onnx_ref *x) {
    return cg_onnx_like(s, &(cg_onnx_node){.op = op, .n_in = 1, .in = {x}}, x);
}

cg_onnx_ref *cg_onnx_scalar(cg_onnx_sink *s, float x) {
    return s->call->constant(s, CG_F32, &CG_SCALAR, &x);
}

cg_onnx_ref *cg_onnx_integer(cg_onnx_sink *s, int64_t x) {
    return s->call->constant(s, CG_I64, &CG_SCALAR, &x);
}

cg_onnx_ref *cg_onnx_integers(cg_onnx_sink *s, int64_t n, const int64_t *x) {
    return s->call->constant(s, CG_I64, &CG_SHAPE(n), x);
}
