/* sigmoid: y = σ(x) = 1 / (1 + e^-x).
 * shapes  x [...] f32 or bf16 -> y [...]
 * vjp     dx = dy y (1 - y) (op sigmoid_grad; from y, so that x need not be kept)
 * errors  CG_EDTYPE: x is not f32 or bf16
 * onnx    Sigmoid */
#include "ops/activation.h"

static inline float value(float x) {
    return cg_sigmoidf(x);
}

static inline float gradient(float y, float dy) {
    return dy * (y * (1.0f - y));
}

static cg_onnx_ref *mapping(cg_onnx_sink *s, cg_onnx_ref *x) {
    return cg_onnx_unary(s, "Sigmoid", x);
}

CG_ACTIVATION(sigmoid, out)
