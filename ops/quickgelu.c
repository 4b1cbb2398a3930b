/* quickgelu: y = x σ(1.702 x), which OpenAI's CLIP was trained with.
 * shapes  x [...] f32 or bf16 -> y [...]
 * vjp     dx = dy (σ(u) + x u' σ'(u)),  u = 1.702 x (op quickgelu_grad)
 * errors  CG_EDTYPE: x is not f32 or bf16
 * onnx    Mul by a constant, Sigmoid, Mul
 * source  Gaussian error linear units, arXiv:1606.08415, section 2 */
#include "ops/activation.h"

static inline float value(float x) {
    return cg_quickgelu_value(x);
}

static inline float gradient(float x, float dy) {
    float c = cg_gate_bound(x);
    return dy * cg_gate_slope(c, CG_QUICKGELU_RATE * c, CG_QUICKGELU_RATE);
}

static cg_onnx_ref *mapping(cg_onnx_sink *s, cg_onnx_ref *x) {
    cg_onnx_ref *u = cg_onnx_binary(s, "Mul", x, cg_onnx_scalar(s, CG_QUICKGELU_RATE));
    return cg_onnx_binary(s, "Mul", x, cg_onnx_unary(s, "Sigmoid", u));
}

CG_ACTIVATION(quickgelu, in)
