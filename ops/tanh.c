/* tanh: y = tanh x.
 * shapes  x [...] f32 or bf16 -> y [...]
 * vjp     dx = dy (1 - y²) (op tanh_grad; from y, so that x need not be kept)
 * errors  CG_EDTYPE: x is not f32 or bf16
 * onnx    Tanh */
#include "ops/activation.h"

static inline float value(float x) {
    return cg_tanhf(x);
}

static inline float gradient(float y, float dy) {
    return dy * ((1.0f - y) * (1.0f + y));
}

static cg_onnx_ref *mapping(cg_onnx_sink *s, cg_onnx_ref *x) {
    return cg_onnx_unary(s, "Tanh", x);
}

CG_ACTIVATION(tanh, out)
