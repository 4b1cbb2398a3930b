/* relu: y = max(x, 0); NaN stays NaN.
 * shapes  x [...] f32 or bf16 -> y [...]
 * vjp     dx = dy where y > 0, else 0 (op relu_grad; from y, so that x need not be kept)
 * errors  CG_EDTYPE: x is not f32 or bf16
 * onnx    Relu */
#include "ops/activation.h"

static inline float value(float x) {
    return cg_relu_value(x);
}

/* Where y is NaN, dy passes: a gradient must not look healthy where the value is not. */
static inline float gradient(float y, float dy) {
    return y <= 0 ? 0 : dy;
}

static cg_onnx_ref *mapping(cg_onnx_sink *s, cg_onnx_ref *x) {
    return cg_onnx_unary(s, "Relu", x);
}

CG_ACTIVATION(relu, out)
