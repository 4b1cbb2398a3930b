/* select: y = a where c is not 0, else b; operands broadcast as in NumPy. What is not chosen is not
 * computed with: its NaN or infinity leaves no trace.
 * shapes  c i32, a, b f32 or bf16 -> y, the shape they broadcast to
 * vjp     da = select(c, dy, 0), db = select(c, 0, dy), each summed over what was repeated (by
 *         autodiff)
 * errors  CG_ESHAPE: the shapes do not broadcast. CG_EDTYPE: c is not i32, a or b not f32 or bf16
 * onnx    Where, of c cast to bool */
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

#include <string.h>

static cg_status infer(const cg_node *n, cg_type *out) {
    CG_TRY(cg_check_dtype(n->in[0], "c", CG_I32));
    CG_TRY(cg_check_float(n, 1, "a"));
    CG_TRY(cg_check_float(n, 2, "b"));
    out->dtype = CG_F32;
    CG_TRY(cg_shape_broadcast(&n->in[1]->shape, &n->in[2]->shape, &out->shape));
    return cg_shape_broadcast(&n->in[0]->shape, &out->shape, &out->shape);
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    cg_value *none = cg_constant_f32(g, 0);
    dx[1] = cg_select(g, n->in[0], dy[0], none);
    dx[2] = cg_select(g, n->in[0], none, dy[0]);
}

/* Rows of which all is one operand's; y may be x. */
CG_KERNEL static void take(float *y, const float *x, int64_t inner, int64_t n) {
    if (inner == 0) {
        const float all = *x;
        for (int64_t i = 0; i < n; i++) y[i] = all;
    } else if (y != x) {
        memcpy(y, x, (size_t)n * sizeof *y);
    }
}

#define ROW(load, a, b)                                                                            \
    {                                                                                              \
        load;                                                                                      \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = c[i] != 0 ? (a) : (b);          \
    }

CG_KERNEL static void choose(float *y, const int32_t *c, const float *a, const float *b,
                             const cg_tile *t) {
    int64_t n = t->n;
    if (t->inner[1] && t->inner[2])
        ROW(, a[i], b[i])
    else if (t->inner[1])
        ROW(const float other = *b, a[i], other)
    else if (t->inner[2])
        ROW(const float other = *a, other, b[i])
    else
        ROW(const float one = *a; const float other = *b, one, other)
}

static void tile(void *y_data, const void *const *in, const cg_tile *t) {
    for (int64_t r = 0; r < t->rows; r++) {
        float *y = (float *)y_data + r * t->n;
        const int32_t *c = (const int32_t *)in[0] + r * t->row[0];
        const float *a = (const float *)in[1] + r * t->row[1];
        const float *b = (const float *)in[2] + r * t->row[2];
        if (t->inner[0])
            choose(y, c, a, b, t);
        else
            take(y, *c ? a : b, t->inner[*c ? 1 : 2], t->n);
    }
}

static cg_status run(const cg_task *t) {
    return cg_broadcast_run(t, tile);
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    enum { BOOL = 9 };
    const cg_value *y = n->out[0];
    cg_onnx_size size[CG_MAX_RANK];
    for (int i = 0; i < y->shape.rank; i++) size[i] = cg_onnx_size_of(s, y, i);
    cg_onnx_ref *in[3];
    for (int i = 0; i < 3; i++) in[i] = cg_onnx_plain(s, cg_onnx_value(s, n->in[i]));
    cg_onnx_node cast = {"Cast", 1, {in[0]}, {CG_ONNX_INT("to", BOOL)}};
    cg_onnx_node where = {"Where", 3, {cg_onnx_like(s, &cast, in[0]), in[1], in[2]}, {{0}}};
    return cg_onnx_give(s, y, cg_onnx_make(s, &where, y->shape.rank, size));
}

const cg_op cg_op_select = {
    .name = "select",
    .min_in = 3,
    .max_in = 3,
    .n_out = 1,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
    .inplace = 6,
    .bf16_in = 6,
    .bf16_out = 1,
};

cg_value *cg_select(cg_graph *g, cg_value *c, cg_value *a, cg_value *b) {
    return cg_node_add1(g, &cg_op_select, NULL, 3, (cg_value *[]){c, a, b});
}
