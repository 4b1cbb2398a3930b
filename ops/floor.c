/* floor: y = the largest whole number that is not above x.
 * shapes  x [...] f32 or bf16 -> y [...]
 * vjp     none reaches x: the slope is 0 wherever there is one
 * errors  CG_EDTYPE: x is not f32 or bf16
 * onnx    Floor */
#include "ops/activation.h"

static inline float value(float x) {
    return floorf(x);
}

static cg_onnx_ref *mapping(cg_onnx_sink *s, cg_onnx_ref *x) {
    return cg_onnx_unary(s, "Floor", x);
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    (void)g, (void)n, (void)dy, (void)dx;
}

CG_UNARY(floor)
