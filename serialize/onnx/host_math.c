/* Operators element by element, on the host. */
#include "serialize/onnx/host.h"

#include <math.h>
#include <string.h>

/* --- of two operands -------------------------------------------------------------------------- */

static double whole_quotient(double a, double b) {
    return b == 0 ? 0 : trunc(a / b); /* by 0 is undefined */
}

static double modulo(double a, double b) {
    if (b == 0) return 0;
    double r = fmod(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

typedef enum result { SAME, BOOLEAN } result;
typedef double (*binary_fn)(double a, double b);

#define BINARY(name, expression)                                                                   \
    static double name(double a, double b) {                                                       \
        return expression;                                                                         \
    }
BINARY(add, a + b)
BINARY(sub, a - b)
BINARY(mul, a *b)
BINARY(quotient, a / b)
BINARY(power, pow(a, b))
BINARY(least, b < a || isnan(b) ? b : a)
BINARY(most, b > a || isnan(b) ? b : a)
BINARY(equal, a == b)
BINARY(less, a < b)
BINARY(less_or_equal, a <= b)
BINARY(greater, a > b)
BINARY(greater_or_equal, a >= b)
BINARY(both, a != 0 && b != 0)
BINARY(either, a != 0 || b != 0)
BINARY(one_of, (a != 0) != (b != 0))

static const struct {
    const char *name;
    binary_fn f;
    result result;
} binaries[] = {{"Add", add, SAME},
                {"Sub", sub, SAME},
                {"Mul", mul, SAME},
                {"Div", quotient, SAME},
                {"Mod", modulo, SAME},
                {"Pow", power, SAME},
                {"Min", least, SAME},
                {"Max", most, SAME},
                {"Equal", equal, BOOLEAN},
                {"Less", less, BOOLEAN},
                {"LessOrEqual", less_or_equal, BOOLEAN},
                {"Greater", greater, BOOLEAN},
                {"GreaterOrEqual", greater_or_equal, BOOLEAN},
                {"And", both, BOOLEAN},
                {"Or", either, BOOLEAN},
                {"Xor", one_of, BOOLEAN}};

static cg_status run_binary(const cg_host_job *j, const cg_host *a, const cg_host *b, binary_fn f,
                            result kind, cg_host *out) {
    const cg_host *in[] = {a, b};
    cg_host whole[2];
    cg_shape shape = CG_SCALAR;
    int64_t held;
    cg_strides w;
    CG_TRY(cg_host_broadcast(j->arena, in, 2, whole, &shape, &held, &w));
    int type = kind == BOOLEAN ? CG_ONNX_TYPE(BOOL) : a->type;
    if (f == quotient && !cg_onnx_type_is_float(type)) f = whole_quotient;
    CG_TRY(cg_host_new_rows(j->arena, type, shape, held, out));
    for (int64_t i = 0; i < held; i++, cg_strides_step(&w))
        out->x[i] = f(in[0]->x[w.offset[0]], in[1]->x[w.offset[1]]);
    return CG_OK;
}

/* Min and Max take any number of operands. */
static cg_status run_folded(const cg_host_job *j, binary_fn f, result kind) {
    const cg_host *sum = j->in[0];
    if (j->n_in < 1 || !sum) return cg_error(CG_EFORMAT, "has no operand");
    if (j->n_in == 1) j->out[0] = *sum;
    for (int k = 1; k < j->n_in; k++) {
        cg_host next;
        if (!j->in[k]) return cg_error(CG_EFORMAT, "has no operand %d", k);
        CG_TRY(run_binary(j, sum, j->in[k], f, kind, &next));
        j->out[0] = next;
        sum = &j->out[0];
    }
    return CG_OK;
}

/* --- of one operand --------------------------------------------------------------------------- */

typedef double (*unary_fn)(double x);
#define UNARY(name, expression)                                                                    \
    static double name(double x) {                                                                 \
        return expression;                                                                         \
    }
UNARY(negative, -x)
UNARY(inverse, 1 / x)
UNARY(opposite, x == 0)
UNARY(is_nan, isnan(x) != 0)
UNARY(logistic, 1 / (1 + exp(-x)))
UNARY(positive, x < 0 ? 0 : x)
UNARY(same, x)

static const struct {
    const char *name;
    unary_fn f;
    result result;
} unaries[] = {{"Neg", negative, SAME},    {"Reciprocal", inverse, SAME},
               {"Sqrt", sqrt, SAME},       {"Exp", exp, SAME},
               {"Log", log, SAME},         {"Abs", fabs, SAME},
               {"Floor", floor, SAME},     {"Ceil", ceil, SAME},
               {"Round", rint, SAME},      {"Erf", erf, SAME},
               {"Tanh", tanh, SAME},       {"Sigmoid", logistic, SAME},
               {"Relu", positive, SAME},   {"Identity", same, SAME},
               {"Not", opposite, BOOLEAN}, {"IsNaN", is_nan, BOOLEAN}};

static cg_status run_unary(const cg_host_job *j, unary_fn f, int type) {
    if (j->n_in < 1 || !j->in[0]) return cg_error(CG_EFORMAT, "has no operand");
    CG_TRY(cg_host_new_rows(j->arena, type, j->in[0]->shape, j->in[0]->held, j->out));
    for (int64_t i = 0; i < j->out->held; i++) j->out->x[i] = f(j->in[0]->x[i]);
    return CG_OK;
}

/* A float without its fraction. What no integer is, or one too large, is undefined; here it is what
 * x86 makes of it, narrower types by way of i32. */
static double to_i64(double x) {
    return x >= -0x1p63 && x < 0x1p63 ? trunc(x) : -0x1p63;
}

static double to_i32(double x) {
    return x > -0x1p31 - 1 && x < 0x1p31 ? trunc(x) : -0x1p31;
}

static cg_status run_cast(const cg_host_job *j) {
    int to = (int)cg_onnx_int(j->node, "to", 0);
    if (!cg_onnx_type_name(to))
        return cg_error(CG_EUNSUPPORTED, "casts to element type %d, which is not read", to);
    if (to == CG_ONNX_TYPE(BOOL)) {
        CG_TRY(run_unary(j, opposite, to));
        for (int64_t i = 0; i < j->out->held; i++) j->out->x[i] = !j->out->x[i];
        return CG_OK;
    }
    if (cg_onnx_type_is_float(to)) return run_unary(j, same, to);
    if (j->n_in > 0 && j->in[0] && !cg_onnx_type_is_float(j->in[0]->type))
        return run_unary(j, same, to); /* which wraps */
    return run_unary(j, to == CG_ONNX_TYPE(INT64) ? to_i64 : to_i32, to);
}

/* --- of three --------------------------------------------------------------------------------- */

static cg_status run_where(const cg_host_job *j) {
    if (j->n_in != 3 || !j->in[0] || !j->in[1] || !j->in[2])
        return cg_error(CG_EFORMAT, "has %d operands, wanted 3", j->n_in);
    const cg_host *in[] = {j->in[0], j->in[1], j->in[2]};
    cg_host whole[3];
    cg_shape shape = CG_SCALAR;
    int64_t held;
    cg_strides w;
    CG_TRY(cg_host_broadcast(j->arena, in, 3, whole, &shape, &held, &w));
    CG_TRY(cg_host_new_rows(j->arena, in[1]->type, shape, held, j->out));
    for (int64_t i = 0; i < held; i++, cg_strides_step(&w))
        j->out->x[i] = in[0]->x[w.offset[0]] != 0 ? in[1]->x[w.offset[1]] : in[2]->x[w.offset[2]];
    return CG_OK;
}

static cg_status run_clip(const cg_host_job *j) {
    const cg_host *low = j->n_in > 1 ? j->in[1] : NULL, *high = j->n_in > 2 ? j->in[2] : NULL;
    CG_TRY(run_unary(j, same, j->in[0] ? j->in[0]->type : 0));
    for (int64_t i = 0; i < j->out->held; i++) {
        double *x = &j->out->x[i];
        if (low && cg_host_count(low) && *x < low->x[0]) *x = low->x[0];
        if (high && cg_host_count(high) && *x > high->x[0]) *x = high->x[0];
    }
    return CG_OK;
}

cg_status cg_host_math(const cg_host_job *j, int *known) {
    const char *name = j->node->op_type;
    *known = 1;
    for (size_t i = 0; i < sizeof binaries / sizeof *binaries; i++) {
        if (strcmp(name, binaries[i].name) != 0) continue;
        int any = binaries[i].f == least || binaries[i].f == most;
        if (!any && j->n_in != 2) return cg_error(CG_EFORMAT, "has %d operands, wanted 2", j->n_in);
        binary_fn f = binaries[i].f;
        if (f == modulo && cg_onnx_int(j->node, "fmod", 0)) f = fmod; /* of the sign of a */
        return run_folded(j, f, binaries[i].result);
    }
    for (size_t i = 0; i < sizeof unaries / sizeof *unaries; i++) {
        if (strcmp(name, unaries[i].name) != 0) continue;
        int is_boolean = unaries[i].result == BOOLEAN || j->n_in < 1 || !j->in[0];
        return run_unary(j, unaries[i].f, is_boolean ? CG_ONNX_TYPE(BOOL) : j->in[0]->type);
    }
    if (strcmp(name, "Cast") == 0) return run_cast(j);
    if (strcmp(name, "Where") == 0) return run_where(j);
    if (strcmp(name, "Clip") == 0 && j->n_in > 0) return run_clip(j);
    *known = 0;
    return CG_OK;
}
