/* sqrt: y = √x; NaN below 0.
 * shapes  x [...] f32 or bf16 -> y [...]
 * vjp     dx = dy / (2 y) (op sqrt_grad; from y, so that x need not be kept); inf at 0
 * errors  CG_EDTYPE: x is not f32 or bf16
 * onnx    Sqrt */
#include "ops/activation.h"

static inline float value(float x) {
    return sqrtf(x);
}

static inline float gradient(float y, float dy) {
    return 0.5f * dy / y;
}

static cg_onnx_ref *mapping(cg_onnx_sink *s, cg_onnx_ref *x) {
    return cg_onnx_unary(s, "Sqrt", x);
}

CG_ACTIVATION(sqrt, out)
