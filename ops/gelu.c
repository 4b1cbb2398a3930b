/* gelu: y = x Φ(x), the exact one: Φ(x) = (1 + erf(x / √2)) / 2.
 *   y = max(x, 0) - z Φ(-z),  z = |x|
 * so that nothing cancels: negative results, too, are right to 5e-6 of themselves. Below -13.2 they
 * would be subnormal and are 0.
 * shapes  x [...] f32 or bf16 -> y [...]
 * vjp     dx = dy (Φ(x) + x φ(x)),  φ(x) = e^(-x²/2) / √(2π) (op gelu_grad)
 * errors  CG_EDTYPE: x is not f32 or bf16
 * onnx    Gelu (opset 20); before it Div, Erf, Add, Mul, Mul
 * source  Gaussian error linear units, arXiv:1606.08415 */
#include "ops/activation.h"

static inline float value(float x) {
    return cg_gelu_value(x);
}

static inline float gradient(float x, float dy) {
    const float density = 0.3989422804f; /* φ(0) = 1 / √(2π) */
    float z = fabsf(x);
    float tail = cg_exp_boundedf(-0.5f * z * z) * (cg_millsf(z) - density * z); /* slope at -z */
    tail = z > CG_GELU_LIMIT ? 0.0f : tail;
    return dy * (x < 0.0f ? tail : 1.0f - tail);
}

static cg_onnx_ref *mapping(cg_onnx_sink *s, cg_onnx_ref *x) {
    if (s->opset >= 20) return cg_onnx_unary(s, "Gelu", x);
    cg_onnx_ref *y = cg_onnx_binary(s, "Div", x, cg_onnx_scalar(s, 1.41421356237f));
    y = cg_onnx_binary(s, "Add", cg_onnx_unary(s, "Erf", y), cg_onnx_scalar(s, 1));
    return cg_onnx_binary(s, "Mul", cg_onnx_binary(s, "Mul", x, y), cg_onnx_scalar(s, 0.5f));
}

CG_ACTIVATION(gelu, in)
