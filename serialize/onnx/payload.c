#include "serialize/onnx/file.h"

#include <string.h>

#define TYPE(name) CG_ONNX__TENSOR_PROTO__DATA_TYPE__##name

/* Where an element lies where it is not raw. */
typedef enum field { IN_FLOATS, IN_DOUBLES, IN_INT32, IN_INT64 } field;

static const struct type {
    int type;
    const char *name;
    size_t bytes;
    field field;
    int is_float;
} types[] = {
    {TYPE(FLOAT), "f32", 4, IN_FLOATS, 1},    {TYPE(FLOAT16), "f16", 2, IN_INT32, 1},
    {TYPE(BFLOAT16), "bf16", 2, IN_INT32, 1}, {TYPE(DOUBLE), "f64", 8, IN_DOUBLES, 1},
    {TYPE(INT64), "i64", 8, IN_INT64, 0},     {TYPE(INT32), "i32", 4, IN_INT32, 0},
    {TYPE(UINT8), "u8", 1, IN_INT32, 0},      {TYPE(INT8), "i8", 1, IN_INT32, 0},
    {TYPE(BOOL), "bool", 1, IN_INT32, 0},
};

static const struct type *type_of(int type) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == type) return &types[i];
    return NULL;
}

const char *cg_onnx_type_name(int type) {
    const struct type *t = type_of(type);
    return t ? t->name : NULL;
}

int cg_onnx_type_is_float(int type) {
    const struct type *t = type_of(type);
    return t && t->is_float;
}

/* --- checking --------------------------------------------------------------------------------- */

static cg_status check_shape(const CgOnnx__TensorProto *t, cg_onnx_tensor *out) {
    if (t->n_dims > CG_MAX_RANK)
        return cg_error(CG_EUNSUPPORTED, "has rank %zu, wanted at most %d", t->n_dims, CG_MAX_RANK);
    out->shape.rank = (int)t->n_dims;
    out->count = 1;
    int64_t most = INT64_MAX / 8;
    for (size_t i = 0; i < t->n_dims; i++) {
        int64_t d = t->dims[i];
        if (d < 0) return cg_error(CG_EFORMAT, "dimension %zu is %lld", i, (long long)d);
        out->shape.dim[i] = d;
        /* a dimension of 0 does not excuse the others */
        if (d > 0 && most / d < 1)
            return cg_error(CG_EFORMAT, "has more elements than memory can address");
        if (d > 0) most /= d;
        out->count *= d;
    }
    return CG_OK;
}

static size_t elements_in(const CgOnnx__TensorProto *t, field where) {
    switch (where) {
    case IN_FLOATS:
        return t->n_float_data;
    case IN_DOUBLES:
        return t->n_double_data;
    case IN_INT32:
        return t->n_int32_data;
    case IN_INT64:
        break;
    }
    return t->n_int64_data;
}

cg_status cg_onnx_tensor_check(const CgOnnx__TensorProto *t, const cg_onnx_bytes *raw,
                               cg_onnx_tensor *out) {
    *out = (cg_onnx_tensor){.name = t->name ? t->name : "", .type = t->data_type, .proto = t};
    const struct type *type = type_of(t->data_type);
    if (!type)
        return cg_error(CG_EUNSUPPORTED, "has element type %d, which is not read",
                        (int)t->data_type);
    if (t->segment) return cg_error(CG_EUNSUPPORTED, "is a segment of a tensor");
    CG_TRY(check_shape(t, out));
    size_t wanted = (size_t)out->count * type->bytes;
    cg_onnx_bytes own = {t->raw_data.data, t->raw_data.len};
    if (!raw && t->has_raw_data) raw = &own;
    if (raw && raw->data) {
        if (raw->bytes != wanted)
            return cg_error(CG_EFORMAT, "has %zu bytes of data, its shape and type %s take %zu",
                            raw->bytes, type->name, wanted);
        out->raw = raw->data;
        return CG_OK;
    }
    size_t found = elements_in(t, type->field);
    if (found != (size_t)out->count)
        return cg_error(CG_EFORMAT, "has %zu elements, its shape takes %lld", found,
                        (long long)out->count);
    return CG_OK;
}

/* --- elements --------------------------------------------------------------------------------- */

static double narrow_float(int type, uint16_t bits) {
    float y;
    cg_tensor_to_f32(type == TYPE(FLOAT16) ? CG_F16 : CG_BF16, &bits, 1, &y);
    return (double)y;
}

static double of_field(const cg_onnx_tensor *t, field where, int64_t i) {
    switch (where) {
    case IN_FLOATS:
        return (double)t->proto->float_data[i];
    case IN_DOUBLES:
        return t->proto->double_data[i];
    case IN_INT64:
        return (double)t->proto->int64_data[i];
    case IN_INT32:
        break;
    }
    int32_t x = t->proto->int32_data[i];
    if (cg_onnx_type_is_float(t->type)) return narrow_float(t->type, (uint16_t)x);
    return t->type == TYPE(BOOL) ? x != 0 : x;
}

#define READ(c_type)                                                                               \
    {                                                                                              \
        c_type x;                                                                                  \
        memcpy(&x, at, sizeof x);                                                                  \
        return (double)x;                                                                          \
    }

static double of_raw(int type, const unsigned char *at) {
    switch (type) {
    case TYPE(FLOAT):
        READ(float)
    case TYPE(DOUBLE):
        READ(double)
    case TYPE(INT64):
        READ(int64_t)
    case TYPE(INT32):
        READ(int32_t)
    case TYPE(INT8):
        return (double)(int8_t)*at;
    case TYPE(UINT8):
        return *at;
    case TYPE(BOOL):
        return *at != 0;
    default:
        break;
    }
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return narrow_float(type, bits);
}

void cg_onnx_tensor_numbers(const cg_onnx_tensor *t, double *out) {
    const struct type *type = type_of(t->type);
    for (int64_t i = 0; i < t->count; i++)
        out[i] = t->raw ? of_raw(t->type, t->raw + (size_t)i * type->bytes)
                        : of_field(t, type->field, i);
}

void cg_onnx_tensor_floats(const cg_onnx_tensor *t, float *out) {
    const struct type *type = type_of(t->type);
    if (t->raw && t->type == TYPE(FLOAT))
        memcpy(out, t->raw, (size_t)t->count * sizeof *out);
    else if (t->raw && t->type == TYPE(FLOAT16))
        cg_tensor_to_f32(CG_F16, t->raw, t->count, out);
    else if (t->raw && t->type == TYPE(BFLOAT16))
        cg_tensor_to_f32(CG_BF16, t->raw, t->count, out);
    else
        for (int64_t i = 0; i < t->count; i++)
            out[i] = (float)(t->raw ? of_raw(t->type, t->raw + (size_t)i * type->bytes)
                                    : of_field(t, type->field, i));
}

const float *cg_onnx_tensor_lies(const cg_onnx_tensor *t) {
    if (t->type != TYPE(FLOAT) || !t->raw || (uintptr_t)t->raw % sizeof(float)) return NULL;
    return (const float *)(const void *)t->raw;
}
