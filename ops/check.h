/* Sentences that shape rules share: what was found, what was wanted. */
#ifndef CG_OPS_CHECK_H
#define CG_OPS_CHECK_H

#include "graph/op.h"

/* errors  CG_EDTYPE */
static inline cg_status cg_check_dtype(const cg_value *v, const char *name, cg_dtype want) {
    if (v->dtype == want) return CG_OK;
    return cg_error(CG_EDTYPE, "%s is %s, wanted %s", name, cg_dtype_name(v->dtype),
                    cg_dtype_name(want));
}

/* Operand i is f32, or bf16 where the op reads that. errors  CG_EDTYPE */
static inline cg_status cg_check_float(const cg_node *n, int i, const char *name) {
    if (n->in[i]->dtype == CG_BF16 && cg_op_reads_bf16(n->op, i)) return CG_OK;
    return cg_check_dtype(n->in[i], name, CG_F32);
}

/* errors  CG_ESHAPE */
static inline cg_status cg_check_rank(const cg_value *v, const char *name, int want) {
    if (v->shape.rank == want) return CG_OK;
    char text[CG_SHAPE_TEXT];
    return cg_error(CG_ESHAPE, "%s is %s of rank %d, wanted rank %d", name,
                    cg_shape_print(&v->shape, text), v->shape.rank, want);
}

/* errors  CG_ESHAPE */
static inline cg_status cg_check_same(const cg_value *a, const char *a_name, const cg_value *b,
                                      const char *b_name) {
    if (cg_shape_equal(&a->shape, &b->shape)) return CG_OK;
    char a_text[CG_SHAPE_TEXT], b_text[CG_SHAPE_TEXT];
    return cg_error(CG_ESHAPE, "%s is %s but %s is %s, wanted equal shapes", a_name,
                    cg_shape_print(&a->shape, a_text), b_name, cg_shape_print(&b->shape, b_text));
}

/* An axis of x. errors  CG_EINVAL */
static inline cg_status cg_check_axis(int64_t axis, const cg_value *x) {
    if (axis >= 0 && axis < x->shape.rank) return CG_OK;
    char text[CG_SHAPE_TEXT];
    return cg_error(CG_EINVAL, "axis is %lld, wanted 0 or more and less than the rank of %s",
                    (long long)axis, cg_shape_print(&x->shape, text));
}

/* Labels found in a run. errors  CG_EINVAL */
static inline cg_status cg_check_labels(const int32_t *label, int64_t n, int64_t classes) {
    for (int64_t i = 0; i < n; i++)
        if (label[i] < 0 || label[i] >= classes)
            return cg_error(CG_EINVAL, "label[%lld] is %d, wanted 0 to %lld", (long long)i,
                            (int)label[i], (long long)classes - 1);
    return CG_OK;
}

#endif
