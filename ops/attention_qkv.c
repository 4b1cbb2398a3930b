/* attention_qkv: self-attention of packed sequences from the columns of one matrix.
 *   o = p v,  p = softmax(scale · q kᵀ) over the keys that a query sees, as attention
 * shapes  qkv [R, 3·heads·d] = [q | k | v] f32; offset i32 [S+1]; key_mask f32 [R] or absent
 *         -> o [R, heads·d]; lse [R, heads], for the gradient
 * attr    heads: int; scale: float; causal: int
 * vjp     attention_qkv_grad, below, for qkv
 * errors  CG_ESHAPE, CG_EDTYPE; CG_EINVAL: heads; a run: offsets that fall or leave the rows
 * onnx    Split, and those of attention
 * source  Vaswani et al., arXiv:1706.03762, eq. 1
 *
 * attention_qkv_grad: its gradient, as attention_grad, written as one matrix.
 * shapes  qkv, offset, o, lse, do, key_mask or absent -> dqkv as qkv */
#include "ops/attention.h"

const cg_op cg_op_attention_qkv = {
    .name = "attention_qkv",
    .min_in = 2,
    .max_in = 3,
    .n_out = 2,
    .attr_size = sizeof(cg_attention_attr),
    .attr = cg_attention_fields,
    .infer = cg_attention_infer,
    .vjp = cg_attention_vjp,
    .prepare = cg_attention_prepare,
    .run = cg_attention_run,
    .flops = cg_attention_flops,
    .onnx = cg_attention_onnx,
    .bf16_in = 1,
    .bf16_out = 1,
};

const cg_op cg_op_attention_qkv_grad = {
    .name = "attention_qkv_grad",
    .min_in = 5,
    .max_in = 6,
    .n_out = 1,
    .attr_size = sizeof(cg_attention_attr),
    .attr = cg_attention_fields,
    .infer = cg_attention_infer,
    .prepare = cg_attention_prepare,
    .run = cg_attention_run,
    .flops = cg_attention_flops,
    .bf16_in = 1 | 1u << 2 | 1u << 4,
    .bf16_out = 1,
};

cg_value *cg_attention_qkv(cg_graph *g, cg_value *qkv, cg_value *offset,
                           cg_attention_options options) {
    cg_attention_attr attr = cg_attention_attr_of(&options);
    return cg_node_add1(g, &cg_op_attention_qkv, &attr, 3,
                        (cg_value *[]){qkv, offset, options.key_mask});
}
