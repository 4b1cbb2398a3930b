#include "serialize/onnx/trace.h"

#include <string.h>

/* The attributes of a node that it is known to have, by name: as integers or as a list. */
static const void *attribute(const cg_node *n, const char *name) {
    for (const cg_attr_field *f = n->op->attr; f->name; f++)
        if (strcmp(f->name, name) == 0) return (const char *)n->attr + f->offset;
    return NULL;
}

static int through_slice(cg_trace *t, const cg_node *n) {
    int axis = (int)*(const int64_t *)attribute(n, "axis");
    int64_t start = *(const int64_t *)attribute(n, "start"),
            stride = cg_view_stride(&t->view, axis);
    cg_view out = {.shape = n->out[0]->shape};
    if (stride < 0) return 0;
    t->offset += start * stride;
    for (int i = 0; i < t->view.n; i++) {
        cg_atom a = t->view.atom[i];
        if (a.axis == axis) a.size = out.shape.dim[axis];
        if (a.size > 1) out.atom[out.n++] = a;
    }
    t->view = out;
    return 1;
}

static int through_transpose(cg_trace *t, const cg_node *n) {
    const cg_shape *axes = attribute(n, "axes");
    int list[CG_MAX_RANK];
    for (int i = 0; i < axes->rank; i++) list[i] = (int)axes->dim[i];
    cg_view_permute(&t->view, list);
    return 1;
}

static int pass_through(cg_trace *t, const cg_node *n, int through) {
    if ((through & CG_TRACE_MOVES) && n->op == &cg_op_reshape)
        return cg_view_reshape(&t->view, &n->out[0]->shape);
    if ((through & CG_TRACE_MOVES) && n->op == &cg_op_transpose) return through_transpose(t, n);
    if ((through & CG_TRACE_SLICES) && n->op == &cg_op_slice) return through_slice(t, n);
    if ((through & CG_TRACE_SCALES) && n->op == &cg_op_scale) {
        t->scale *= *(const float *)n->attr;
        return 1;
    }
    return 0;
}

static int may_pass(const cg_node *n, int through) {
    return ((through & CG_TRACE_MOVES) && (n->op == &cg_op_reshape || n->op == &cg_op_transpose)) ||
           ((through & CG_TRACE_SLICES) && n->op == &cg_op_slice) ||
           ((through & CG_TRACE_SCALES) && n->op == &cg_op_scale);
}

/* Chains are short: a longer one is taken up on its way. */
enum { LONGEST = 32 };

cg_trace cg_trace_of(cg_value *v, int through) {
    cg_node *chain[LONGEST];
    int n = 0;
    cg_value *base = v;
    while (n < LONGEST && base->node && may_pass(base->node, through)) {
        chain[n++] = base->node;
        base = base->node->in[0];
    }
    cg_trace t = {.base = base, .view = cg_view_of(&base->shape), .scale = 1};
    while (n-- > 0)
        if (!pass_through(&t, chain[n], through))
            t = (cg_trace){
                .base = chain[n]->out[0], .view = cg_view_of(&chain[n]->out[0]->shape), .scale = 1};
    return t;
}
