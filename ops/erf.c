/* erf: y = 2/√π ∫₀ˣ e^(-t²) dt, the error function.
 * shapes  x [...] f32 or bf16 -> y [...]
 * vjp     dx = dy 2/√π e^(-x²) (op erf_grad)
 * errors  CG_EDTYPE: x is not f32 or bf16
 * onnx    Erf
 * source  near 0 its series; elsewhere 1 - 2 Φ(-√2 x), of which gelu has the tail */
#include "ops/activation.h"

#define TWO_OVER_ROOT_PI 1.1283791671f

static inline float value(float x) {
    float a = fabsf(x), z = 1.4142135624f * a, s = x * x;
    float tail = cg_exp_boundedf(-0.5f * z * z) * cg_millsf(z);
    float far = copysignf(z > CG_GELU_LIMIT ? 1.0f : 1.0f - 2.0f * tail, x);
    float p = 1.0f / 9360.0f; /* erf x = 2/√π x Σ (-x²)^n / (n! (2n + 1)), n to 6 */
    p = p * s - 1.0f / 1320.0f;
    p = p * s + 1.0f / 216.0f;
    p = p * s - 1.0f / 42.0f;
    p = p * s + 1.0f / 10.0f;
    p = p * s - 1.0f / 3.0f;
    p = p * s + 1.0f;
    return a < 0.5f ? TWO_OVER_ROOT_PI * x * p : far;
}

static inline float gradient(float x, float dy) {
    float s = x * x;
    return dy * (s > 87.0f ? 0.0f : TWO_OVER_ROOT_PI * cg_exp_boundedf(-s));
}

static cg_onnx_ref *mapping(cg_onnx_sink *s, cg_onnx_ref *x) {
    return cg_onnx_unary(s, "Erf", x);
}

CG_ACTIVATION(erf, in)
