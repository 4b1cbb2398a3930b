/* cast: the same numbers as another type, f32 or bf16; to bf16 rounds to nearest, ties to even.
 *   y = x
 * shapes  x [...] f32, bf16 or, to f32, i32 -> y [...] of type `to`
 * attr    to: int, a cg_dtype, CG_F32 or CG_BF16
 * vjp     dx = cast(dy) to x's type; none where x is i32
 * errors  CG_EDTYPE: x is none of these; CG_EINVAL: `to` is neither
 * onnx    Cast */
#include "ops/bf16.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

typedef struct cast_attr {
    int64_t to;
} cast_attr;

static const char *word(int64_t to) {
    return cg_dtype_name((cg_dtype)to);
}

static const cg_attr_field fields[] = {CG_ATTR_WORD(cast_attr, to, word), {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    const cast_attr *a = n->attr;
    const cg_value *x = n->in[0];
    if (x->dtype != CG_F32 && x->dtype != CG_BF16 && x->dtype != CG_I32)
        return cg_error(CG_EDTYPE, "x is %s, wanted f32, bf16 or i32", cg_dtype_name(x->dtype));
    if (x->dtype == CG_I32 && a->to == CG_BF16)
        return cg_error(CG_EDTYPE, "x is i32, wanted f32 or bf16 to make bf16 of");
    if (a->to != CG_F32 && a->to != CG_BF16)
        return cg_error(CG_EINVAL, "to is %lld, wanted %d (f32) or %d (bf16)", (long long)a->to,
                        CG_F32, CG_BF16);
    out[0] = (cg_type){(cg_dtype)a->to, x->shape};
    return CG_OK;
}

CG_INLINE void convert(const void *x, void *y, int64_t begin, int64_t end, int from, int to) {
#pragma omp simd
    for (int64_t i = begin; i < end; i++) cg_store(y, i, cg_load(x, i, from), to);
}

CG_KERNEL static void integers(const cg_task *t, int64_t begin, int64_t end) {
    const int32_t *x = t->in[0];
    float *y = t->out[0];
#pragma omp simd
    for (int64_t i = begin; i < end; i++) y[i] = (float)x[i];
}

static void integer_range(const void *arg, int64_t begin, int64_t end) {
    integers(arg, begin, end);
}

CG_KERNEL static void cast_range(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    int from = cg_is_bf16(t->node->in[0]), to = cg_is_bf16(t->node->out[0]);
    CG_TYPED(convert, from, to, t->in[0], t->out[0], begin, end)
}

static cg_status run(const cg_task *t) {
    cg_parallel_elements(t, t->node->in[0]->dtype == CG_I32 ? integer_range : cast_range);
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    if (n->in[0]->dtype != CG_I32) dx[0] = cg_cast(g, dy[0], n->in[0]->dtype);
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    enum { FLOAT = 1, BFLOAT16 = 16 };
    const cast_attr *attr = n->attr;
    cg_onnx_ref *x = cg_onnx_value(s, n->in[0]);
    cg_onnx_node cast = {
        "Cast", 1, {x}, {CG_ONNX_INT("to", attr->to == CG_F32 ? FLOAT : BFLOAT16)}};
    return cg_onnx_give(s, n->out[0], cg_onnx_like(s, &cast, x));
}

const cg_op cg_op_cast = {
    .name = "cast",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .attr_size = sizeof(cast_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
};

cg_value *cg_cast(cg_graph *g, cg_value *x, cg_dtype to) {
    cast_attr a = {to};
    if (x && x->dtype == to) return x;
    return cg_node_add1(g, &cg_op_cast, &a, 1, &x);
}
