/* sigmoid_cross_entropy: every pair of a row and a column judged by itself.
 *   loss[i] = -Σ_j ln σ(s[i,j] x[i,j]),  s[i,j] = 1 where j is label[i], else -1
 * shapes  logits x [N, M] f32, label i32 [N] -> loss [N]
 * vjp     sigmoid_cross_entropy_grad, below
 * errors  CG_ESHAPE: x is not of rank 2, has no column, or label is not [N]. CG_EDTYPE: x is not
 *         f32 or label not i32. A run: CG_EINVAL: a label out of range
 * numeric -ln σ(-x) = max(x, 0) + ln(1 + e^-|x|), which neither overflows nor cancels. Rows are
 *         summed in blocks, and blocks in double.
 * source  Zhai et al., arXiv:2303.15343 (SigLIP), algorithm 1
 *
 * sigmoid_cross_entropy_grad: its gradient, in one pass.
 *   dx[i,j] = -d[i] s[i,j] σ(-s[i,j] x[i,j])
 * shapes  logits, label, dloss d -> dx as logits */
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"
#include "ops/simd_math.h"

static cg_status check(const cg_value *x, const cg_value *label) {
    char text[CG_SHAPE_TEXT];
    CG_TRY(cg_check_dtype(x, "logits", CG_F32));
    CG_TRY(cg_check_rank(x, "logits", 2));
    CG_TRY(cg_check_dtype(label, "label", CG_I32));
    if (x->shape.dim[1] == 0)
        return cg_error(CG_ESHAPE, "logits %s have no column", cg_shape_print(&x->shape, text));
    cg_shape rows = CG_SHAPE(x->shape.dim[0]);
    if (!cg_shape_equal(&label->shape, &rows))
        return cg_error(CG_ESHAPE, "label is %s, wanted [%lld], one for each row of logits",
                        cg_shape_print(&label->shape, text), (long long)rows.dim[0]);
    return CG_OK;
}

static cg_status infer(const cg_node *n, cg_type *out) {
    CG_TRY(check(n->in[0], n->in[1]));
    out[0] = (cg_type){CG_F32, n->in[1]->shape};
    return CG_OK;
}

/* -ln σ(-x) */
static inline float softplus(float x) {
    return (x < 0.0f ? 0.0f : x) + cg_log1pf(cg_expf(-fabsf(x)));
}

enum { BLOCK = 256 };

static inline __attribute__((always_inline)) double softplus_sum(const float *x, int64_t n) {
    double total = 0;
    for (int64_t b = 0; b < n; b += BLOCK) {
        int64_t end = b + BLOCK < n ? b + BLOCK : n;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = b; j < end; j++) sum += softplus(x[j]);
        total += (double)sum;
    }
    return total;
}

CG_KERNEL static void rows_forward(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    const int32_t *label = t->in[1];
    int64_t width = t->node->in[0]->shape.dim[1];
    float *loss = t->out[0];
    for (int64_t i = begin; i < end; i++) {
        const float *x = (const float *)t->in[0] + i * width;
        int64_t at = label[i];
        double negatives = softplus_sum(x, at) + softplus_sum(x + at + 1, width - at - 1);
        loss[i] = (float)(negatives + (double)softplus(-x[at]));
    }
}

static cg_status run(const cg_task *t) {
    const cg_shape *x = &t->node->in[0]->shape;
    CG_TRY(cg_check_labels(t->in[1], x->dim[0], x->dim[1]));
    cg_parallel(t->threads, x->dim[0], 1, cg_shape_count(x), rows_forward, t);
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    dx[0] = cg_node_add1(g, &cg_op_sigmoid_cross_entropy_grad, NULL, 3,
                         (cg_value *[]){n->in[0], n->in[1], dy[0]});
}

const cg_op cg_op_sigmoid_cross_entropy = {
    .name = "sigmoid_cross_entropy",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .infer = infer,
    .vjp = vjp,
    .run = run,
};

cg_value *cg_sigmoid_cross_entropy(cg_graph *g, cg_value *logits, cg_value *label) {
    return cg_node_add1(g, &cg_op_sigmoid_cross_entropy, NULL, 2, (cg_value *[]){logits, label});
}

/* --- sigmoid_cross_entropy_grad --------------------------------------------------------------- */

static cg_status grad_infer(const cg_node *n, cg_type *out) {
    CG_TRY(check(n->in[0], n->in[1]));
    CG_TRY(cg_check_dtype(n->in[2], "dloss", CG_F32));
    CG_TRY(cg_check_same(n->in[1], "label", n->in[2], "dloss"));
    out[0] = (cg_type){CG_F32, n->in[0]->shape};
    return CG_OK;
}

/* dx may be x. */
CG_KERNEL static void rows_backward(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    const int32_t *label = t->in[1];
    const float *dloss = t->in[2];
    int64_t width = t->node->in[0]->shape.dim[1];
    for (int64_t i = begin; i < end; i++) {
        const float *x = (const float *)t->in[0] + i * width;
        float *dx = (float *)t->out[0] + i * width;
        float d = dloss[i], positive = -d * cg_sigmoidf(-x[label[i]]);
#pragma omp simd
        for (int64_t j = 0; j < width; j++) dx[j] = d * cg_sigmoidf(x[j]);
        dx[label[i]] = positive;
    }
}

static cg_status grad_run(const cg_task *t) {
    const cg_shape *x = &t->node->in[0]->shape;
    CG_TRY(cg_check_labels(t->in[1], x->dim[0], x->dim[1]));
    cg_parallel(t->threads, x->dim[0], 1, cg_shape_count(x), rows_backward, t);
    return CG_OK;
}

const cg_op cg_op_sigmoid_cross_entropy_grad = {
    .name = "sigmoid_cross_entropy_grad",
    .min_in = 3,
    .max_in = 3,
    .n_out = 1,
    .infer = grad_infer,
    .run = grad_run,
    .inplace = 1u << 0,
};
