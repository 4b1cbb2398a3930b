/* What both forms of attention, and their gradients, share: q, k and v as operands of their own,
 * or as columns of one matrix. Each function works for either; it looks at the node's op. */
#ifndef CG_OPS_ATTENTION_H
#define CG_OPS_ATTENTION_H

#include "graph/op.h"
#include "ops/ops.h"

typedef struct cg_attention_attr {
    int64_t heads;
    float scale;
    int64_t causal;
} cg_attention_attr;

extern const cg_attr_field cg_attention_fields[];

cg_attention_attr cg_attention_attr_of(const cg_attention_options *options);

cg_status cg_attention_infer(const cg_node *n, cg_type *out);
void cg_attention_vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx);
cg_status cg_attention_prepare(cg_prep *p);
cg_status cg_attention_run(const cg_task *t);
int64_t cg_attention_flops(const cg_node *n);

#endif
