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

/* Offsets of up to three operands, element by element of the result. */
typedef struct walk {
    cg_shape shape;
    int64_t at[CG_MAX_RANK], stride[3][CG_MAX_RANK], offset[3];
} walk;

static void step(walk *w) {
    for (int d = w->shape.rank - 1; d >= 0; d--) {
        for (int k = 0; k < 3; k++) w->offset[k] += w->stride[k][d];
        if (++w->at[d] < w->shape.dim[d]) return;
        for (int k = 0; k < 3; k++) w->offset[k] -= w->stride[k][d] * w->shape.dim[d];
        w->at[d] = 0;
    }
}

static cg_status begin(const cg_host *const *in, int n, walk *w) {
    *w = (walk){.shape = in[0]->shape};
    for (int k = 1; k < n; k++) CG_TRY(cg_shape_broadcast(&w->shape, &in[k]->shape, &w->shape));
    for (int k = 0; k < n; k++) cg_host_strides(&in[k]->shape, &w->shape, w->stride[k]);
    return CG_OK;
}

static cg_status run_binary(const cg_host_job *j, const cg_host *a, const cg_host *b, binary_fn f,
                            result kind, cg_host *out) {
    walk w;
    CG_TRY(begin((const cg_host *[]){a, b}, 2, &w));
    int type = kind == BOOLEAN ? CG_ONNX_TYPE(BOOL) : a->type;
    if (f == quotient && !cg_onnx_type_is_float(type)) f = whole_quotient;
    CG_TRY(cg_host_new(j->arena, type, w.shape, out));
    for (int64_t i = 0; i < cg_host_count(out); i++, step(&w))
        out->x[i] = f(a->x[w.offset[0]], b->x[w.offset[1]]);
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
    CG_TRY(cg_host_new(j->arena, type, j->in[0]->shape, j->out));
    for (int64_t i = 0; i < cg_host_count(j->out); i++) j->out->x[i] = f(j->in[0]->x[i]);
    return CG_OK;
}

static cg_status run_cast(const cg_host_job *j) {
    int to = (int)cg_onnx_int(j->node, "to", 0);
    if (!cg_onnx_type_name(to))
        return cg_error(CG_EUNSUPPORTED, "casts to element type %d, which is not read", to);
    if (to == CG_ONNX_TYPE(BOOL)) {
        CG_TRY(run_unary(j, opposite, to));
        for (int64_t i = 0; i < cg_host_count(j->out); i++) j->out->x[i] = !j->out->x[i];
        return CG_OK;
    }
    return run_unary(j, cg_onnx_type_is_float(to) ? same : trunc, to);
}

/* --- of three --------------------------------------------------------------------------------- */

static cg_status run_where(const cg_host_job *j) {
    walk w;
    if (j->n_in != 3 || !j->in[0] || !j->in[1] || !j->in[2])
        return cg_error(CG_EFORMAT, "has %d operands, wanted 3", j->n_in);
    CG_TRY(begin(j->in, 3, &w));
    CG_TRY(cg_host_new(j->arena, j->in[1]->type, w.shape, j->out));
    for (int64_t i = 0; i < cg_host_count(j->out); i++, step(&w))
        j->out->x[i] =
            j->in[0]->x[w.offset[0]] != 0 ? j->in[1]->x[w.offset[1]] : j->in[2]->x[w.offset[2]];
    return CG_OK;
}

static cg_status run_clip(const cg_host_job *j) {
    const cg_host *low = j->n_in > 1 ? j->in[1] : NULL, *high = j->n_in > 2 ? j->in[2] : NULL;
    CG_TRY(run_unary(j, same, j->in[0] ? j->in[0]->type : 0));
    for (int64_t i = 0; i < cg_host_count(j->out); i++) {
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
