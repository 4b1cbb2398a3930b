/* log_sigmoid: y = ln σ(x) = min(x, 0) - ln(1 + e^-|x|).
 * shapes  x [...] f32 or bf16 -> y [...]
 * vjp     dx = dy σ(-x) (op log_sigmoid_grad)
 * errors  CG_EDTYPE: x is not f32 or bf16
 * onnx    Neg, Softplus, Neg */
#include "ops/activation.h"

static inline float value(float x) {
    return (x > 0.0f ? 0.0f : x) - cg_log1pf(cg_expf(-fabsf(x)));
}

static inline float gradient(float x, float dy) {
    return dy * cg_sigmoidf(-x);
}

static cg_onnx_ref *mapping(cg_onnx_sink *s, cg_onnx_ref *x) {
    x = cg_onnx_unary(s, "Neg", x);
    return cg_onnx_unary(s, "Neg", cg_onnx_unary(s, "Softplus", x));
}

CG_ACTIVATION(log_sigmoid, in)
