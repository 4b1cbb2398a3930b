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

/* Which operand is which, and the sizes. o, lse and do, of gradients, are three in a row. */
typedef struct cg_attention_form {
    int fused, grad;
    int k, v, q_offset, k_offset, o, key_mask;
    int64_t heads, q_rows, k_rows, q_width, v_width; /* widths: columns of all heads */
    int64_t sequences;
} cg_attention_form;

/* The operands' numbers; and, of a node whose operands are as they should be, the sizes, too. */
cg_attention_form cg_attention_operands(const cg_node *n);
cg_attention_form cg_attention_form_of(const cg_node *n);

/* Pairs of a query and a key that it sees. */
double cg_attention_pairs(const cg_node *n, const cg_attention_form *f);

cg_status cg_attention_infer(const cg_node *n, cg_type *out);
void cg_attention_vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx);
cg_status cg_attention_prepare(cg_prep *p);
cg_status cg_attention_run(const cg_task *t);
cg_status cg_attention_onnx(cg_onnx_sink *s, const cg_node *n);
int64_t cg_attention_flops(const cg_node *n);

#endif
