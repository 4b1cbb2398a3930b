/* gelu_tanh: the approximation of gelu by tanh.
 *   y = x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2
 *     = x σ(u),  u = 2 √(2/π) (x + 0.044715 x³)
 * shapes  x [...] f32 or bf16 -> y [...]
 * vjp     dx = dy (σ(u) + x u' σ'(u)) (op gelu_tanh_grad)
 * errors  CG_EDTYPE: x is not f32 or bf16
 * onnx    Gelu (opset 20, approximate = "tanh"); before it Mul, Add, Tanh, Add, Mul
 * source  Gaussian error linear units, arXiv:1606.08415, section 2 */
#include "ops/activation.h"

static inline float value(float x) {
    return cg_gelu_tanh_value(x);
}

static inline float gradient(float x, float dy) {
    const float rate = CG_GELU_TANH_RATE, cubic = CG_GELU_TANH_CUBIC;
    float c = cg_gate_bound(x), square = c * c;
    return dy * cg_gate_slope(c, rate * c * (1.0f + cubic * square),
                              rate * (1.0f + 3.0f * cubic * square));
}

static cg_onnx_ref *mapping(cg_onnx_sink *s, cg_onnx_ref *x) {
    cg_onnx_node gelu = {"Gelu", 1, {x}, {CG_ONNX_TEXT("approximate", "tanh")}};
    if (s->opset >= 20) return cg_onnx_like(s, &gelu, x);
    cg_onnx_ref *cube = cg_onnx_binary(s, "Mul", x, cg_onnx_binary(s, "Mul", x, x));
    cube = cg_onnx_binary(s, "Mul", cube, cg_onnx_scalar(s, 0.044715f));
    cg_onnx_ref *u = cg_onnx_binary(s, "Add", x, cube);
    u = cg_onnx_binary(s, "Mul", u, cg_onnx_scalar(s, 0.79788456080f));
    u = cg_onnx_binary(s, "Add", cg_onnx_unary(s, "Tanh", u), cg_onnx_scalar(s, 1));
    return cg_onnx_binary(s, "Mul", cg_onnx_binary(s, "Mul", x, u), cg_onnx_scalar(s, 0.5f));
}

CG_ACTIVATION(gelu_tanh, in)
