/* The ops: functions that append a node to a graph and return its result.
 *
 * Shapes are row-major; pictures are [N, H, W, C]; a convolution's weights are [out, in, kh, kw]
 * and a linear layer's [out, in], as in checkpoints. Tensors are f32 unless stated. The manual
 * of each op (formulas, gradient, errors, source) is the comment at the top of its file. */
#ifndef CG_OPS_H
#define CG_OPS_H

#include "graph/op.h"

/* The descriptor of that name, or NULL; and all of them, in ops.def's order. */
const cg_op *cg_op_find(const char *name);
const cg_op *const *cg_op_list(int *n);

#define CG_OP(name) extern const cg_op cg_op_##name;
#include "ops/ops.def"
#undef CG_OP

/* --- element by element; operands broadcast as in NumPy --------------------------------------- */
cg_value *cg_add(cg_graph *g, cg_value *a, cg_value *b); /* f32, or i64 counters */
cg_value *cg_mul(cg_graph *g, cg_value *a, cg_value *b);
cg_value *cg_scale(cg_graph *g, cg_value *x, float factor);
cg_value *cg_exp(cg_graph *g, cg_value *x);
cg_value *cg_clamp(cg_graph *g, cg_value *x, float low, float high);
cg_value *cg_relu(cg_graph *g, cg_value *x);

/* Keeps an element with probability 1-p and divides it by that. x [N, …]; step: i64 scalar;
 * sample: i64 [N], the rows' global ids. Draws its own key from the graph. */
cg_value *cg_dropout(cg_graph *g, cg_value *x, cg_value *step, cg_value *sample, float p);

/* --- shapes ----------------------------------------------------------------------------------- */
cg_value *cg_reshape(cg_graph *g, cg_value *x, cg_shape shape);  /* one dimension may be -1 */
cg_value *cg_transpose(cg_graph *g, cg_value *x, cg_shape axes); /* out dim i = x dim axes[i] */
cg_value *cg_concat(cg_graph *g, int n, cg_value *const *x, int axis);
cg_value *cg_slice(cg_graph *g, cg_value *x, int axis, int64_t start, int64_t length);
cg_value *cg_broadcast(cg_graph *g, cg_value *x, cg_shape shape);

/* --- reductions ------------------------------------------------------------------------------- */
/* Over the axes listed (each once); keep: reduced axes stay as 1. */
cg_value *cg_sum(cg_graph *g, cg_value *x, cg_shape axes, int keep);
cg_value *cg_mean(cg_graph *g, cg_value *x, cg_shape axes, int keep); /* scale of a sum */
/* x [R, D]; offset i32 [S+1], rising, at most R: rows offset[s] … offset[s+1]-1 belong to segment
 * s; an empty segment's mean is 0; rows past the last offset belong to none. -> [S, D] */
cg_value *cg_segment_mean(cg_graph *g, cg_value *x, cg_value *offset);

/* --- matrices --------------------------------------------------------------------------------- */
/* op(a) · op(b) over the last two axes; transpose_x swaps them first. Leading axes equal. */
cg_value *cg_matmul(cg_graph *g, cg_value *a, cg_value *b, int transpose_a, int transpose_b);
/* x [..., K], weight [N, K], bias [N] or NULL -> [..., N] */
cg_value *cg_linear(cg_graph *g, cg_value *x, cg_value *weight, cg_value *bias);
/* table [V, D], id i32 [R] -> [R, D]. A run fails where an id is outside 0…V-1. */
cg_value *cg_embedding(cg_graph *g, cg_value *table, cg_value *id);

/* --- pictures --------------------------------------------------------------------------------- */
/* x [N, H, W, C], weight [O, C, kh, kw] -> [N, H', W', O]; the same padding on all four sides */
cg_value *cg_conv2d(cg_graph *g, cg_value *x, cg_value *weight, int64_t stride, int64_t padding);
/* kernel × kernel means with that stride, no padding; rows and columns left over are not read */
cg_value *cg_avg_pool(cg_graph *g, cg_value *x, int64_t kernel, int64_t stride);

/* --- norms ------------------------------------------------------------------------------------ */
/* Over all axes but the last (x [..., C]). out: y, the batch's mean [C] and biased variance [C]. */
typedef struct cg_batch_norm_result {
    cg_value *y, *mean, *var;
} cg_batch_norm_result;
cg_batch_norm_result cg_batch_norm(cg_graph *g, cg_value *x, cg_value *gain, cg_value *bias,
                                   float eps);
cg_value *cg_batch_norm_inference(cg_graph *g, cg_value *x, cg_value *gain, cg_value *bias,
                                  cg_value *mean, cg_value *var, float eps);
/* Over the last axis. */
cg_value *cg_layer_norm(cg_graph *g, cg_value *x, cg_value *gain, cg_value *bias, float eps);
cg_value *cg_l2norm(cg_graph *g, cg_value *x, float eps);

/* --- attention and losses --------------------------------------------------------------------- */
/* Multi-head attention over packed sequences. q [Rq, heads·d], k [Rk, heads·d], v [Rk, heads·e];
 * q_offset, k_offset i32 [S+1]: sequence s attends from its rows of q to its rows of k and v.
 * o = softmax(scale · q kᵀ) v -> [Rq, heads·e]. Rows of no sequence give 0. */
cg_value *cg_attention(cg_graph *g, cg_value *q, cg_value *k, cg_value *v, cg_value *q_offset,
                       cg_value *k_offset, int64_t heads, float scale);
/* logits [N, M]. axis 1: label i32 [N], one column for each row -> loss [N];
 *                axis 0: label i32 [M], one row for each column -> loss [M]. */
cg_value *cg_softmax_cross_entropy(cg_graph *g, cg_value *logits, cg_value *label, int axis);

#endif
