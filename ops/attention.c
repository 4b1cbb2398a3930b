/* attention: scaled dot-product attention of packed sequences, all heads.
 *   o = p v,  p = softmax(scale · q kᵀ) over the keys of the query's sequence
 * shapes  q [Rq, heads·d], k [Rk, heads·d], v [Rk, heads·e] f32; q_offset, k_offset i32 [S+1]
 *         -> o [Rq, heads·e]; lse [Rq, heads], the log-sum-exp of the scores, for the gradient.
 *         Sequence s has rows offset[s] … offset[s+1]-1. Queries of no sequence, or of one without
 *         keys, give o 0 and lse 0.
 * attr    heads: int; scale: float
 * vjp     attention_grad, below, for q, k and v
 * errors  CG_ESHAPE, CG_EDTYPE; CG_EINVAL: heads; a run: offsets that fall or leave the rows
 * source  Vaswani et al., arXiv:1706.03762, eq. 1
 *
 * attention_grad: its gradient; p is computed again from lse.
 *   p = e^(scale · q kᵀ - lse),  dv = pᵀ do,  ds = scale · p ∘ (do vᵀ - Σ_e do ∘ o)
 *   dq = ds k,  dk = dsᵀ q
 * shapes  q, k, v, q_offset, k_offset, o, lse, do -> dq, dk, dv as q, k, v
 *
 * A task is one head of one sequence. It takes up to 512 keys at a time, transposed, against 32
 * queries, so that scores stay in cache and scratch does not grow with the rows; longer sequences
 * are merged by their log-sum-exp. Every result is written by one task in one order. */
#include "ops/kernel.h"
#include "ops/ops.h"
#include "ops/simd_math.h"

#include <math.h>
#include <omp.h>
#include <string.h>

typedef struct attention_attr {
    int64_t heads;
    float scale;
} attention_attr;

static const cg_attr_field fields[] = {
    CG_ATTR(attention_attr, heads, INT), CG_ATTR(attention_attr, scale, FLOAT), {0}};

enum { QUERIES = 32, KEYS = 512 };

/* --- types ----------------------------------------------------------------------------------- */

static cg_status check_matrix(const cg_value *x, const char *name, int64_t heads) {
    char text[CG_SHAPE_TEXT];
    if (x->dtype != CG_F32)
        return cg_error(CG_EDTYPE, "%s is %s, wanted f32", name, cg_dtype_name(x->dtype));
    if (x->shape.rank != 2)
        return cg_error(CG_ESHAPE, "%s is %s, wanted rank 2", name,
                        cg_shape_print(&x->shape, text));
    if (x->shape.dim[1] == 0 || x->shape.dim[1] % heads != 0)
        return cg_error(CG_ESHAPE, "%s is %s: %lld columns do not divide among %lld heads", name,
                        cg_shape_print(&x->shape, text), (long long)x->shape.dim[1],
                        (long long)heads);
    return CG_OK;
}

static cg_status check_offset(const cg_value *x, const char *name) {
    char text[CG_SHAPE_TEXT];
    if (x->dtype != CG_I32)
        return cg_error(CG_EDTYPE, "%s is %s, wanted i32", name, cg_dtype_name(x->dtype));
    if (x->shape.rank != 1 || x->shape.dim[0] < 1)
        return cg_error(CG_ESHAPE, "%s is %s, wanted [sequences + 1]", name,
                        cg_shape_print(&x->shape, text));
    return CG_OK;
}

static cg_status check(const cg_node *n) {
    char text[CG_SHAPE_TEXT], other[CG_SHAPE_TEXT];
    const attention_attr *attr = n->attr;
    const cg_value *q = n->in[0], *k = n->in[1], *v = n->in[2];
    if (attr->heads < 1)
        return cg_error(CG_EINVAL, "heads is %lld, wanted 1 or more", (long long)attr->heads);
    CG_TRY(check_matrix(q, "q", attr->heads));
    CG_TRY(check_matrix(k, "k", attr->heads));
    CG_TRY(check_matrix(v, "v", attr->heads));
    CG_TRY(check_offset(n->in[3], "q_offset"));
    CG_TRY(check_offset(n->in[4], "k_offset"));
    if (q->shape.dim[1] != k->shape.dim[1])
        return cg_error(CG_ESHAPE, "q is %s and k is %s, wanted equal columns",
                        cg_shape_print(&q->shape, text), cg_shape_print(&k->shape, other));
    if (k->shape.dim[0] != v->shape.dim[0])
        return cg_error(CG_ESHAPE, "k is %s and v is %s, wanted equal rows",
                        cg_shape_print(&k->shape, text), cg_shape_print(&v->shape, other));
    if (!cg_shape_equal(&n->in[3]->shape, &n->in[4]->shape))
        return cg_error(CG_ESHAPE, "q_offset is %s and k_offset is %s, wanted equal lengths",
                        cg_shape_print(&n->in[3]->shape, text),
                        cg_shape_print(&n->in[4]->shape, other));
    return CG_OK;
}

static cg_status infer(const cg_node *n, cg_type *out) {
    CG_TRY(check(n));
    const attention_attr *attr = n->attr;
    int64_t rows = n->in[0]->shape.dim[0];
    out[0] = (cg_type){CG_F32, CG_SHAPE(rows, n->in[2]->shape.dim[1])};
    out[1] = (cg_type){CG_F32, CG_SHAPE(rows, attr->heads)};
    return CG_OK;
}

/* Pairs of a query and a key: exact where the graph knows the offsets, else as if all sequences
 * were of equal length. */
static double pairs(const cg_node *n) {
    const int32_t *q = n->in[3]->data, *k = n->in[4]->data;
    int64_t sequences = n->in[3]->shape.dim[0] - 1;
    if (sequences == 0) return 0;
    if (!q || !k)
        return (double)n->in[0]->shape.dim[0] * (double)n->in[1]->shape.dim[0] / (double)sequences;
    double sum = 0;
    for (int64_t s = 0; s < sequences; s++)
        sum += (double)(q[s + 1] - q[s]) * (double)(k[s + 1] - k[s]);
    return sum;
}

static int64_t flops(const cg_node *n) {
    return (int64_t)(2 * pairs(n)) * (n->in[0]->shape.dim[1] + n->in[2]->shape.dim[1]);
}

static int64_t grad_flops(const cg_node *n) {
    return 2 * flops(n);
}

/* --- what a run works on ---------------------------------------------------------------------- */

typedef struct attention {
    int64_t heads, sequences, d, e; /* d, e: columns of a head of q and k, and of v */
    int64_t q_width, v_width;       /* columns of all heads */
    float scale;
    const float *q, *k, *v, *o, *d_o; /* o, d_o: of the gradient */
    const int32_t *q_offset, *k_offset;
    const float *lse;
    float *out, *out_lse, *dq, *dk, *dv;
} attention;

static attention attention_of(const cg_task *t) {
    const attention_attr *attr = t->node->attr;
    attention a = {.heads = attr->heads, .scale = attr->scale};
    a.q_width = t->node->in[0]->shape.dim[1];
    a.v_width = t->node->in[2]->shape.dim[1];
    a.sequences = t->node->in[3]->shape.dim[0] - 1;
    a.d = a.q_width / a.heads;
    a.e = a.v_width / a.heads;
    a.q = t->in[0];
    a.k = t->in[1];
    a.v = t->in[2];
    a.q_offset = t->in[3];
    a.k_offset = t->in[4];
    return a;
}

static cg_status check_rising(const int32_t *offset, int64_t sequences, int64_t rows,
                              const char *name) {
    if (offset[0] < 0)
        return cg_error(CG_EINVAL, "%s[0] is %d, wanted 0 or more", name, (int)offset[0]);
    for (int64_t s = 0; s < sequences; s++)
        if (offset[s + 1] < offset[s])
            return cg_error(CG_EINVAL, "%s falls from %d to %d at %lld, wanted rising offsets",
                            name, (int)offset[s], (int)offset[s + 1], (long long)s + 1);
    if (offset[sequences] > rows)
        return cg_error(CG_EINVAL, "%s ends at %d, wanted at most %lld rows", name,
                        (int)offset[sequences], (long long)rows);
    return CG_OK;
}

static cg_status check_offsets(const cg_task *t, const attention *a) {
    CG_TRY(check_rising(a->q_offset, a->sequences, t->node->in[0]->shape.dim[0], "q_offset"));
    return check_rising(a->k_offset, a->sequences, t->node->in[1]->shape.dim[0], "k_offset");
}

static int threads_for(const cg_task *t, const attention *a) {
    return pairs(t->node) * (double)(a->q_width + a->v_width) < CG_PARALLEL_MIN ? 1 : t->threads;
}

/* Zeroes the rows that belong to no sequence. */
static void zero_rest(float *x, int64_t rows, int64_t width, const int32_t *offset,
                      int64_t sequences) {
    memset(x, 0, (size_t)(offset[0] * width) * sizeof *x);
    memset(x + offset[sequences] * width, 0,
           (size_t)((rows - offset[sequences]) * width) * sizeof *x);
}

/* --- small matrix products ------------------------------------------------------------------- */

/* A matrix of which element (i, j) is at[i * row + j * column]. */
typedef struct matrix {
    const float *at;
    int64_t row, column;
} matrix;

/* c[m, n] += a[m, k] b[k, n]; rows of b and c lie b_row and c_row apart. Sixteen elements of a are
 * held against four rows of b and c, whose columns fill the vectors. */
static inline __attribute__((always_inline)) void multiply_add(float *c, int64_t c_row, matrix a,
                                                               const float *b, int64_t b_row,
                                                               int64_t m, int64_t n, int64_t k) {
    int64_t i = 0, blocked = k / 4 * 4;
    for (; i + 4 <= m; i += 4) {
        float *c0 = c + i * c_row, *c1 = c0 + c_row, *c2 = c1 + c_row, *c3 = c2 + c_row;
        for (int64_t p = 0; p < blocked; p += 4) {
            const float *a0 = a.at + i * a.row + p * a.column, *a1 = a0 + a.row, *a2 = a1 + a.row,
                        *a3 = a2 + a.row;
            const float *b0 = b + p * b_row, *b1 = b0 + b_row, *b2 = b1 + b_row, *b3 = b2 + b_row;
            int64_t s = a.column;
            float a00 = a0[0], a01 = a0[s], a02 = a0[2 * s], a03 = a0[3 * s];
            float a10 = a1[0], a11 = a1[s], a12 = a1[2 * s], a13 = a1[3 * s];
            float a20 = a2[0], a21 = a2[s], a22 = a2[2 * s], a23 = a2[3 * s];
            float a30 = a3[0], a31 = a3[s], a32 = a3[2 * s], a33 = a3[3 * s];
#pragma omp simd
            for (int64_t j = 0; j < n; j++) {
                float x0 = b0[j], x1 = b1[j], x2 = b2[j], x3 = b3[j];
                c0[j] = c0[j] + a00 * x0 + a01 * x1 + a02 * x2 + a03 * x3;
                c1[j] = c1[j] + a10 * x0 + a11 * x1 + a12 * x2 + a13 * x3;
                c2[j] = c2[j] + a20 * x0 + a21 * x1 + a22 * x2 + a23 * x3;
                c3[j] = c3[j] + a30 * x0 + a31 * x1 + a32 * x2 + a33 * x3;
            }
        }
    }
    for (int64_t r = 0; r < m; r++) { /* rows left over, and columns of a left over */
        float *c0 = c + r * c_row;
        int64_t p = r < i ? blocked : 0;
        for (; p + 4 <= k; p += 4) {
            const float *a0 = a.at + r * a.row + p * a.column;
            const float *b0 = b + p * b_row, *b1 = b0 + b_row, *b2 = b1 + b_row, *b3 = b2 + b_row;
            float a00 = a0[0], a01 = a0[a.column], a02 = a0[2 * a.column], a03 = a0[3 * a.column];
#pragma omp simd
            for (int64_t j = 0; j < n; j++)
                c0[j] = c0[j] + a00 * b0[j] + a01 * b1[j] + a02 * b2[j] + a03 * b3[j];
        }
        for (; p < k; p++) {
            const float *b0 = b + p * b_row;
            float a00 = a.at[r * a.row + p * a.column];
#pragma omp simd
            for (int64_t j = 0; j < n; j++) c0[j] = c0[j] + a00 * b0[j];
        }
    }
}

static inline void zero(float *x, int64_t rows, int64_t row, int64_t columns) {
    for (int64_t i = 0; i < rows; i++) memset(x + i * row, 0, (size_t)columns * sizeof *x);
}

/* to[columns, stride] = from[rows, columns]ᵀ */
static inline void transpose(const float *from, int64_t row, int64_t rows, int64_t columns,
                             float *to, int64_t stride) {
    for (int64_t i = 0; i < rows; i += 16) {
        int64_t last = i + 16 < rows ? i + 16 : rows;
        for (int64_t j = 0; j < columns; j++)
            for (int64_t r = i; r < last; r++) to[j * stride + r] = from[r * row + j];
    }
}

static inline int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Row length of a buffer for n keys: whole vectors. */
static inline int64_t stride_of(int64_t n) {
    return (n + 15) / 16 * 16;
}

/* --- forward --------------------------------------------------------------------------------- */

/* Makes one query's scores of n keys probabilities, as parts of all keys seen so far: rescales the
 * output of those before. */
static inline __attribute__((always_inline)) void
merge_softmax(float *score, int64_t n, float scale, int first, float *lse, float *out, int64_t e) {
    float top = score[0], sum = 0;
#pragma omp simd reduction(max : top)
    for (int64_t j = 0; j < n; j++) top = score[j] > top ? score[j] : top;
    if (scale < 0) {
#pragma omp simd reduction(min : top)
        for (int64_t j = 0; j < n; j++) top = score[j] < top ? score[j] : top;
    }
    top *= scale;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < n; j++) {
        score[j] = cg_expf(score[j] * scale - top);
        sum += score[j];
    }
    float part = top + logf(sum), factor = 1.0f / sum;
    if (first) {
        *lse = part;
    } else {
        float high = part > *lse ? part : *lse, low = part > *lse ? *lse : part;
        float all = high + log1pf(expf(low - high)), before = expf(*lse - all);
        for (int64_t j = 0; j < e; j++) out[j] *= before;
        factor *= expf(part - all);
        *lse = all;
    }
#pragma omp simd
    for (int64_t j = 0; j < n; j++) score[j] *= factor;
}

static int64_t forward_floats(const attention *a) {
    return (a->d + QUERIES) * KEYS;
}

CG_KERNEL static void forward(const attention *a, int64_t s, int64_t h, float *scratch) {
    int64_t q_begin = a->q_offset[s], q_end = a->q_offset[s + 1];
    int64_t k_begin = a->k_offset[s], k_end = a->k_offset[s + 1];
    float *kt = scratch, *score = scratch + a->d * KEYS;
    zero(a->out + q_begin * a->v_width + h * a->e, q_end - q_begin, a->v_width, a->e);
    for (int64_t i = q_begin; i < q_end; i++) a->out_lse[i * a->heads + h] = 0;
    for (int64_t j = k_begin; j < k_end; j += KEYS) {
        int64_t keys = least(KEYS, k_end - j), stride = stride_of(keys);
        transpose(a->k + j * a->q_width + h * a->d, a->q_width, keys, a->d, kt, stride);
        for (int64_t i = q_begin; i < q_end; i += QUERIES) {
            int64_t queries = least(QUERIES, q_end - i);
            matrix q = {a->q + i * a->q_width + h * a->d, a->q_width, 1};
            float *out = a->out + i * a->v_width + h * a->e;
            zero(score, queries, stride, keys);
            multiply_add(score, stride, q, kt, stride, queries, keys, a->d);
            for (int64_t r = 0; r < queries; r++)
                merge_softmax(score + r * stride, keys, a->scale, j == k_begin,
                              a->out_lse + (i + r) * a->heads + h, out + r * a->v_width, a->e);
            multiply_add(out, a->v_width, (matrix){score, stride, 1},
                         a->v + j * a->v_width + h * a->e, a->v_width, queries, a->e, keys);
        }
    }
}

static cg_status prepare(cg_prep *p) {
    const attention_attr *attr = p->node->attr;
    attention a = {.d = p->node->in[0]->shape.dim[1] / attr->heads};
    p->scratch = (size_t)(forward_floats(&a) * p->ctx->threads) * sizeof(float);
    return CG_OK;
}

static cg_status run(const cg_task *t) {
    attention a = attention_of(t);
    CG_TRY(check_offsets(t, &a));
    a.out = t->out[0];
    a.out_lse = t->out[1];
    int64_t rows = t->node->in[0]->shape.dim[0], tasks = a.sequences * a.heads;
    zero_rest(a.out, rows, a.v_width, a.q_offset, a.sequences);
    zero_rest(a.out_lse, rows, a.heads, a.q_offset, a.sequences);
    float *scratch = t->scratch;
    int threads = threads_for(t, &a);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = 0; i < tasks; i++)
        forward(&a, i / a.heads, i % a.heads, scratch + omp_get_thread_num() * forward_floats(&a));
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    if (dy[1]) {
        cg_graph_fail(g, cg_error(CG_EUNSUPPORTED,
                                  "%s: attention: the gradient of lse is not supported", n->name));
        return;
    }
    cg_value *in[] = {n->in[0], n->in[1],  n->in[2],  n->in[3],
                      n->in[4], n->out[0], n->out[1], dy[0]};
    cg_node *grad = cg_node_add(g, &cg_op_attention_grad, n->attr, 8, in);
    if (!grad) return;
    for (int i = 0; i < 3; i++) dx[i] = grad->out[i];
}

const cg_op cg_op_attention = {
    .name = "attention",
    .min_in = 5,
    .max_in = 5,
    .n_out = 2,
    .attr_size = sizeof(attention_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .prepare = prepare,
    .run = run,
    .flops = flops,
};

cg_value *cg_attention(cg_graph *g, cg_value *q, cg_value *k, cg_value *v, cg_value *q_offset,
                       cg_value *k_offset, int64_t heads, float scale) {
    attention_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.heads = heads;
    attr.scale = scale;
    return cg_node_add1(g, &cg_op_attention, &attr, 5, (cg_value *[]){q, k, v, q_offset, k_offset});
}

/* --- attention_grad -------------------------------------------------------------------------- */

static cg_status grad_infer(const cg_node *n, cg_type *out) {
    CG_TRY(check(n));
    cg_type forward_type[2];
    CG_TRY(infer(n, forward_type));
    for (int i = 5; i < 8; i++)
        if (n->in[i]->dtype != CG_F32 ||
            !cg_shape_equal(&n->in[i]->shape, &forward_type[i == 6].shape))
            return cg_error(CG_ESHAPE, "%s is not of the result's shape and type",
                            i == 5   ? "o"
                            : i == 6 ? "lse"
                                     : "do");
    for (int i = 0; i < 3; i++) out[i] = (cg_type){CG_F32, n->in[i]->shape};
    return CG_OK;
}

/* One query: score becomes p, dp becomes ds. */
static inline __attribute__((always_inline)) void
softmax_grad(float *score, float *dp, int64_t n, float scale, float lse, float delta) {
#pragma omp simd
    for (int64_t j = 0; j < n; j++) {
        score[j] = cg_expf(score[j] * scale - lse);
        dp[j] = scale * score[j] * (dp[j] - delta);
    }
}

static int64_t backward_floats(const attention *a) {
    return (a->d + a->e + 2 * QUERIES) * KEYS;
}

CG_KERNEL static void backward(const attention *a, int64_t s, int64_t h, float *scratch) {
    int64_t q_begin = a->q_offset[s], q_end = a->q_offset[s + 1];
    int64_t k_begin = a->k_offset[s], k_end = a->k_offset[s + 1];
    int64_t d = a->d, e = a->e, qw = a->q_width, vw = a->v_width;
    float *kt = scratch, *vt = kt + d * KEYS, *score = vt + e * KEYS, *dp = score + QUERIES * KEYS;
    zero(a->dq + q_begin * qw + h * d, q_end - q_begin, qw, d);
    zero(a->dk + k_begin * qw + h * d, k_end - k_begin, qw, d);
    zero(a->dv + k_begin * vw + h * e, k_end - k_begin, vw, e);
    for (int64_t j = k_begin; j < k_end; j += KEYS) {
        int64_t keys = least(KEYS, k_end - j), stride = stride_of(keys);
        int64_t at_k = j * qw + h * d, at_v = j * vw + h * e;
        transpose(a->k + at_k, qw, keys, d, kt, stride);
        transpose(a->v + at_v, vw, keys, e, vt, stride);
        for (int64_t i = q_begin; i < q_end; i += QUERIES) {
            int64_t queries = least(QUERIES, q_end - i), at_q = i * qw + h * d;
            int64_t at_o = i * vw + h * e;
            zero(score, queries, stride, keys);
            zero(dp, queries, stride, keys);
            multiply_add(score, stride, (matrix){a->q + at_q, qw, 1}, kt, stride, queries, keys, d);
            multiply_add(dp, stride, (matrix){a->d_o + at_o, vw, 1}, vt, stride, queries, keys, e);
            for (int64_t r = 0; r < queries; r++) {
                const float *o = a->o + at_o + r * vw, *d_o = a->d_o + at_o + r * vw;
                float delta = 0;
#pragma omp simd reduction(+ : delta)
                for (int64_t c = 0; c < e; c++) delta += d_o[c] * o[c];
                softmax_grad(score + r * stride, dp + r * stride, keys, a->scale,
                             a->lse[(i + r) * a->heads + h], delta);
            }
            multiply_add(a->dv + at_v, vw, (matrix){score, 1, stride}, a->d_o + at_o, vw, keys, e,
                         queries);
            multiply_add(a->dq + at_q, qw, (matrix){dp, stride, 1}, a->k + at_k, qw, queries, d,
                         keys);
            multiply_add(a->dk + at_k, qw, (matrix){dp, 1, stride}, a->q + at_q, qw, keys, d,
                         queries);
        }
    }
}

static cg_status grad_prepare(cg_prep *p) {
    const attention_attr *attr = p->node->attr;
    attention a = {.d = p->node->in[0]->shape.dim[1] / attr->heads,
                   .e = p->node->in[2]->shape.dim[1] / attr->heads};
    p->scratch = (size_t)(backward_floats(&a) * p->ctx->threads) * sizeof(float);
    return CG_OK;
}

static cg_status grad_run(const cg_task *t) {
    attention a = attention_of(t);
    CG_TRY(check_offsets(t, &a));
    a.o = t->in[5];
    a.lse = t->in[6];
    a.d_o = t->in[7];
    a.dq = t->out[0];
    a.dk = t->out[1];
    a.dv = t->out[2];
    int64_t q_rows = t->node->in[0]->shape.dim[0], k_rows = t->node->in[1]->shape.dim[0];
    int64_t tasks = a.sequences * a.heads;
    zero_rest(a.dq, q_rows, a.q_width, a.q_offset, a.sequences);
    zero_rest(a.dk, k_rows, a.q_width, a.k_offset, a.sequences);
    zero_rest(a.dv, k_rows, a.v_width, a.k_offset, a.sequences);
    float *scratch = t->scratch;
    int threads = threads_for(t, &a);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = 0; i < tasks; i++)
        backward(&a, i / a.heads, i % a.heads,
                 scratch + omp_get_thread_num() * backward_floats(&a));
    return CG_OK;
}

const cg_op cg_op_attention_grad = {
    .name = "attention_grad",
    .min_in = 8,
    .max_in = 8,
    .n_out = 3,
    .attr_size = sizeof(attention_attr),
    .attr = fields,
    .infer = grad_infer,
    .prepare = grad_prepare,
    .run = grad_run,
    .flops = grad_flops,
};
