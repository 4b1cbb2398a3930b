/* silu: y = x σ(x), also called swish.
 * shapes  x [...] f32 or bf16 -> y [...]
 * vjp     dx = dy (σ(x) + x σ'(x)),  σ'(x) = σ(x) σ(-x) (op silu_grad)
 * errors  CG_EDTYPE: x is not f32 or bf16
 * onnx    Sigmoid, Mul
 * source  Gaussian error linear units, arXiv:1606.08415, section 4 */
#include "ops/activation.h"

static inline float value(float x) {
    return cg_silu_value(x);
}

static inline float gradient(float x, float dy) {
    float c = cg_gate_bound(x);
    return dy * cg_gate_slope(c, c, 1.0f);
}

static cg_onnx_ref *mapping(cg_onnx_sink *s, cg_onnx_ref *x) {
    return cg_onnx_binary(s, "Mul", x, cg_onnx_unary(s, "Sigmoid", x));
}

CG_ACTIVATION(silu, in)
