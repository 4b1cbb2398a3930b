#include "serialize/tensor.h"

#include <string.h>

static float float_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u, mantissa = h & 1023u;
    if (exponent == 31) return float_of_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) { /* zero and subnormals: mantissa · 2⁻²⁴, exact in f32 */
        float x = (float)mantissa * 0x1p-24f;
        return sign ? -x : x;
    }
    return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

cg_status cg_tensor_to_f32(cg_dtype from, const void *data, int64_t count, float *out) {
    const unsigned char *bytes = data;
    if (from == CG_F32) {
        if (count > 0) memcpy(out, data, (size_t)count * sizeof *out);
        return CG_OK;
    }
    if (from != CG_F16 && from != CG_BF16)
        return cg_error(CG_EDTYPE, "%s numbers, wanted f32, f16 or bf16", cg_dtype_name(from));
    for (int64_t i = 0; i < count; i++) {
        uint16_t h;
        memcpy(&h, bytes + 2 * i, sizeof h);
        out[i] = from == CG_F16 ? f16_to_f32(h) : float_of_bits((uint32_t)h << 16);
    }
    return CG_OK;
}
