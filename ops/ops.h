/* The ops: functions that append a node to a graph and return its result.
 *
 * Shapes are row-major; pictures are [N, H, W, C]; a convolution's weights are [out, in, kh, kw]
 * and a linear layer's [out, in], as in checkpoints. Tensors are f32 unless stated. The manual
 * of each op (formulas, gradient, errors, source) is the comment at the top of its file. */
#ifndef CG_OPS_H
#define CG_OPS_H

#include "graph/op.h"
#include "ops/epilogue.h"

CG_API_BEGIN

/* The descriptor of that name, or NULL; and all of them, in ops.def's order. */
const cg_op *cg_op_find(const char *name);
const cg_op *const *cg_op_list(int *n);

#define CG_OP(name) extern const cg_op cg_op_##name;
#include "ops/ops.def"
#undef CG_OP

/* --- element by element; operands broadcast as in NumPy --------------------------------------- */
cg_value *cg_add(cg_graph *g, cg_value *a, cg_value *b); /* f32, or i64 counters */
cg_value *cg_sub(cg_graph *g, cg_value *a, cg_value *b);
cg_value *cg_mul(cg_graph *g, cg_value *a, cg_value *b);
cg_value *cg_div(cg_graph *g, cg_value *a, cg_value *b);
cg_value *cg_scale(cg_graph *g, cg_value *x, float factor);
cg_value *cg_neg(cg_graph *g, cg_value *x); /* scale by -1 */
cg_value *cg_exp(cg_graph *g, cg_value *x);
cg_value *cg_log(cg_graph *g, cg_value *x);
cg_value *cg_sqrt(cg_graph *g, cg_value *x);
cg_value *cg_floor(cg_graph *g, cg_value *x);
cg_value *cg_clamp(cg_graph *g, cg_value *x, float low, float high);
cg_value *cg_is_nan(cg_graph *g, cg_value *x); /* i32 */
/* a where c, i32, is not 0, else b */
cg_value *cg_select(cg_graph *g, cg_value *c, cg_value *a, cg_value *b);
/* to f32 (of bf16 or i32) or bf16; x itself where it is so */
cg_value *cg_cast(cg_graph *g, cg_value *x, cg_dtype to);

/* --- activations ------------------------------------------------------------------------------ */
cg_value *cg_relu(cg_graph *g, cg_value *x);
cg_value *cg_gelu(cg_graph *g, cg_value *x);      /* x Φ(x), exact (erf) */
cg_value *cg_gelu_tanh(cg_graph *g, cg_value *x); /* its approximation by tanh */
cg_value *cg_quickgelu(cg_graph *g, cg_value *x); /* x σ(1.702 x), OpenAI's weights */
cg_value *cg_silu(cg_graph *g, cg_value *x);      /* x σ(x) */
cg_value *cg_sigmoid(cg_graph *g, cg_value *x);
cg_value *cg_log_sigmoid(cg_graph *g, cg_value *x);
cg_value *cg_tanh(cg_graph *g, cg_value *x);
cg_value *cg_erf(cg_graph *g, cg_value *x);
cg_value *cg_softmax(cg_graph *g, cg_value *x); /* over the last axis */

/* --- chance; each draws its own key from the graph -------------------------------------------- */
/* Numbers depend on the key and on stream: i64 [2], the run's seed and step; sample: i64 [N], the
 * rows' global ids. Keeps an element with probability 1-p and divides it by that. x [N, …] */
cg_value *cg_dropout(cg_graph *g, cg_value *x, cg_value *stream, cg_value *sample, float p);
/* Keeps `keep` of each sample's T rows, in their order, drawn without replacement.
 * x [N, T, D] -> [N, keep, D] */
cg_value *cg_patch_dropout(cg_graph *g, cg_value *x, cg_value *stream, cg_value *sample,
                           int64_t keep);

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

/* --- rows and segments ------------------------------------------------------------------------ */
/* Rows of a table by number: token embeddings, row selection. table [V, D], index i32 [R] ->
 * [R, D]. A run fails where an index is outside 0…V-1. */
cg_value *cg_gather(cg_graph *g, cg_value *table, cg_value *index);
/* The place of each row in its segment, 0 for rows of none. offset i32 [S+1] -> i32 [rows] */
cg_value *cg_segment_position(cg_graph *g, cg_value *offset, int64_t rows);
/* Marks each segment's rows up to row_s, one of it. row i32 [S], offset i32 [S+1] -> f32 [rows] */
cg_value *cg_segment_prefix(cg_graph *g, cg_value *row, cg_value *offset, int64_t rows);
/* The row of each segment's end token: of the first id that equals eos_id (the segment's first row
 * where none does), or with eos_id -1 of the first largest id. token i32 [R], offset i32 [S+1] ->
 * i32 [S]. A run fails where a segment is empty. */
cg_value *cg_end_token(cg_graph *g, cg_value *token, cg_value *offset, int64_t eos_id);

/* --- matrices --------------------------------------------------------------------------------- */
/* op(a) · op(b) over the last two axes; transpose_x swaps them first. Leading axes equal. */
cg_value *cg_matmul(cg_graph *g, cg_value *a, cg_value *b, int transpose_a, int transpose_b);
/* x [..., K], weight [N, K], bias [N] or NULL -> [..., N] */
cg_value *cg_linear(cg_graph *g, cg_value *x, cg_value *weight, cg_value *bias);
/* The same, then f, then a residual [..., N] added; without a bias there is no residual (NULL) */
cg_value *cg_linear_with(cg_graph *g, cg_value *x, cg_value *weight, cg_value *bias, cg_epilogue f,
                         cg_value *residual);
cg_epilogue cg_linear_epilogue(const cg_node *linear); /* its f */

/* --- pictures --------------------------------------------------------------------------------- */
/* x [N, H, W, C], weight [O, C, kh, kw] -> [N, H', W', O]; the same padding on all four sides */
cg_value *cg_conv2d(cg_graph *g, cg_value *x, cg_value *weight, int64_t stride, int64_t padding);
/* The same in groups (weight [O, C / groups, kh, kw]; output channels are dealt to the groups in
 * order) and with taps `dilation` pixels apart. Zeros of stride, dilation and groups mean 1. */
typedef struct cg_conv2d_options {
    int64_t stride, padding, dilation, groups;
    cg_value *bias;     /* [O], or NULL */
    cg_value *residual; /* as the result, added to it; needs a bias; or NULL */
    int relu;           /* the positive part of all that */
} cg_conv2d_options;
cg_value *cg_conv2d_with(cg_graph *g, cg_value *x, cg_value *weight, cg_conv2d_options options);
/* kernel × kernel means with that stride, no padding; rows and columns left over are not read */
cg_value *cg_avg_pool(cg_graph *g, cg_value *x, int64_t kernel, int64_t stride);
/* kernel × kernel maxima; pixels outside the picture never win */
cg_value *cg_max_pool(cg_graph *g, cg_value *x, int64_t kernel, int64_t stride, int64_t padding);
/* Over the whole picture: x [N, H, W, C] -> [N, C] */
cg_value *cg_global_avg_pool(cg_graph *g, cg_value *x); /* mean over axes 1 and 2 */
cg_value *cg_global_max_pool(cg_graph *g, cg_value *x);

/* --- norms ------------------------------------------------------------------------------------ */
/* Over all axes but the last (x [..., C]). out: y, the batch's mean [C] and biased variance [C]. */
typedef struct cg_batch_norm_result {
    cg_value *y, *mean, *var;
} cg_batch_norm_result;
cg_batch_norm_result cg_batch_norm(cg_graph *g, cg_value *x, cg_value *gain, cg_value *bias,
                                   float eps);
typedef struct cg_batch_norm_options {
    float eps;
    int relu;           /* y's positive part */
    cg_value *residual; /* as x, added to y before relu; or NULL */
} cg_batch_norm_options;
cg_batch_norm_result cg_batch_norm_with(cg_graph *g, cg_value *x, cg_value *gain, cg_value *bias,
                                        cg_batch_norm_options options);
cg_value *cg_batch_norm_inference(cg_graph *g, cg_value *x, cg_value *gain, cg_value *bias,
                                  cg_value *mean, cg_value *var, float eps);
/* Over the last axis. */
cg_value *cg_layer_norm(cg_graph *g, cg_value *x, cg_value *gain, cg_value *bias, float eps);
cg_value *cg_rms_norm(cg_graph *g, cg_value *x, cg_value *gain, float eps);
cg_value *cg_l2norm(cg_graph *g, cg_value *x, float eps);

/* --- attention and losses --------------------------------------------------------------------- */
/* Multi-head attention of sequences: o = softmax(scale · q kᵀ) v, each head by itself.
 * q [Rq, heads·d], k [Rk, heads·d], v [Rk, heads·e]; q_offset, k_offset i32 [S+1]: sequence s
 * attends from its rows of q to its rows of k and v (equal offsets at equal distances make a
 * uniform batch). -> [Rq, heads·e]. Rows of no sequence, and queries that see no key, give 0. */
typedef struct cg_attention_options {
    int64_t heads;
    float scale;        /* usually 1/√d */
    int causal;         /* query i of a sequence sees its keys up to number i + keys - queries */
    cg_value *key_mask; /* f32 [Rk]: keys where it is 0 are not seen; NULL: all are */
} cg_attention_options;
cg_value *cg_attention(cg_graph *g, cg_value *q, cg_value *k, cg_value *v, cg_value *q_offset,
                       cg_value *k_offset, cg_attention_options options);
/* Self-attention from the columns of one matrix: qkv [R, 3·heads·d] = [q | k | v] ->
 * [R, heads·d]. The gradient is one matrix, too. */
cg_value *cg_attention_qkv(cg_graph *g, cg_value *qkv, cg_value *offset,
                           cg_attention_options options);
/* logits [N, M]. axis 1: label i32 [N], one column for each row -> loss [N];
 *                axis 0: label i32 [M], one row for each column -> loss [M]. */
cg_value *cg_softmax_cross_entropy(cg_graph *g, cg_value *logits, cg_value *label, int axis);
/* Both of these: row_label i32 [N] -> row_loss, row_lse [N]; column_label i32 [M] -> column_loss,
 * column_lse [M]. */
typedef struct cg_contrastive_loss {
    cg_value *row_loss, *column_loss;
    cg_value *row_lse, *column_lse; /* logarithms of the sums of exponentials; no gradient */
} cg_contrastive_loss;
cg_contrastive_loss cg_contrastive_cross_entropy(cg_graph *g, cg_value *logits, cg_value *row_label,
                                                 cg_value *column_label);
/* logits [N, M], label i32 [N]: each pair judged by itself, z_ij positive where j is i's label and
 * negative elsewhere: loss_i = -Σ_j log σ(±z_ij) -> [N] */
cg_value *cg_sigmoid_cross_entropy(cg_graph *g, cg_value *logits, cg_value *label);

CG_API_END

#endif
