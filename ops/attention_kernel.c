/* Up to 512 keys are taken at a time against up to 48 queries, so that scores stay in cache and
 * scratch does not grow with the sequence; longer ones are merged by their log-sum-exp. All
 * products go through one micro-kernel: strips of 6 rows of the left matrix against panels of 16
 * columns of the right one, which is packed. Under a causal mask each strip stops at the last key
 * that one of its queries sees. */
#include "ops/attention_kernel.h"

#include "ops/kernel.h"
#include "ops/simd_math.h"

#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline)) /* cloned with what calls it */

enum { QUERIES = 48, KEYS = 512, STRIP = 6, PANEL = 16 };

INLINE int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

INLINE int64_t between(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

INLINE int64_t whole_panels(int64_t n) {
    return (n + PANEL - 1) / PANEL * PANEL;
}

/* Row length of n scores: room for a strip of keys that begins at the last one, and an odd number
 * of cache lines, so that a column does not fall on few sets. */
INLINE int64_t score_stride(int64_t n) {
    return ((whole_panels(n) / PANEL + 1) | 1) * PANEL;
}

/* --- small matrix products ------------------------------------------------------------------- */

/* A matrix of which element (i, j) is at[i * row + j * column]. */
typedef struct matrix {
    const float *at;
    int64_t row, column;
} matrix;

/* Packed: column j of row i is at[j / PANEL * panel + i * PANEL + j % PANEL]. */
typedef struct panels {
    const float *at;
    int64_t panel;
} panels;

/* c[rows, n] = a[rows, k] b[k, n], or is added to: n columns of one panel. The sums stay in
 * registers: 6 rows of 16 are 12 vectors of AVX2, and 6 of AVX-512. */
INLINE void tile(float *c, int64_t c_row, matrix a, const float *b, int rows, int64_t n, int64_t k,
                 int add) {
    float sum[STRIP][PANEL] = {{0}};
    const float *x = a.at;
    for (int64_t p = 0; p < k; p++, x += a.column, b += PANEL) {
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            float factor = x[r * a.row];
#pragma omp simd
            for (int j = 0; j < PANEL; j++) sum[r][j] += factor * b[j];
        }
    }
    if (n < PANEL) {
        for (int r = 0; r < rows; r++)
            for (int64_t j = 0; j < n; j++)
                c[r * c_row + j] = sum[r][j] + (add ? c[r * c_row + j] : 0);
        return;
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        float *to = c + r * c_row;
        if (add) {
#pragma omp simd
            for (int j = 0; j < PANEL; j++) to[j] += sum[r][j];
        } else {
#pragma omp simd
            for (int j = 0; j < PANEL; j++) to[j] = sum[r][j];
        }
    }
}

INLINE void tiles(float *c, int64_t c_row, matrix a, panels b, int rows, int64_t n, int64_t k,
                  int add) {
    for (int64_t j = 0; j < n; j += PANEL, b.at += b.panel)
        tile(c + j, c_row, a, b.at, rows, n - j, k, add);
}

/* The same for all of n columns, and at most STRIP rows. */
CG_KERNEL static void multiply(float *c, int64_t c_row, matrix a, panels b, int64_t rows, int64_t n,
                               int64_t k, int add) {
    switch (rows) {
    case 1:
        tiles(c, c_row, a, b, 1, n, k, add);
        break;
    case 2:
        tiles(c, c_row, a, b, 2, n, k, add);
        break;
    case 3:
        tiles(c, c_row, a, b, 3, n, k, add);
        break;
    case 4:
        tiles(c, c_row, a, b, 4, n, k, add);
        break;
    case 5:
        tiles(c, c_row, a, b, 5, n, k, add);
        break;
    default:
        tiles(c, c_row, a, b, STRIP, n, k, add);
    }
}

/* Packs a matrix of so many rows and columns; returns where the next may lie. */
INLINE float *pack(panels *p, float *to, const float *from, int64_t row, int64_t rows,
                   int64_t columns) {
    int64_t whole = columns / PANEL * PANEL, rest = columns - whole, panel = rows * PANEL;
    *p = (panels){to, panel};
    for (int64_t i = 0; i < rows; i++, from += row) {
        float *at = to + i * PANEL;
        for (int64_t j = 0; j < whole; j += PANEL, at += panel)
            memcpy(at, from + j, PANEL * sizeof *at);
        for (int64_t c = 0; rest > 0 && c < PANEL; c++) at[c] = c < rest ? from[whole + c] : 0;
    }
    return to + whole_panels(columns) * rows;
}

/* Four rows of `to`, PANEL apart, are four columns of `from`, of which so many rows are there. */
INLINE void transpose4(float *to, const float *from, int64_t row, int64_t rows) {
    typedef float four __attribute__((vector_size(16)));
    four x[4] = {{0}}, a, b, c, d;
    for (int64_t r = 0; r < rows; r++) memcpy(&x[r], from + r * row, sizeof *x);
    a = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5);
    b = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
    c = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7);
    d = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
    x[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    x[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    x[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    x[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
    for (int r = 0; r < 4; r++) memcpy(to + r * PANEL, &x[r], sizeof *x);
}

/* The same of the transpose. */
INLINE float *pack_transpose(panels *p, float *to, const float *from, int64_t row, int64_t rows,
                             int64_t columns) {
    *p = (panels){to, columns * PANEL};
    for (int64_t i = 0; i < rows; i += PANEL, to += columns * PANEL) {
        int64_t j = 0;
        for (; j + 4 <= columns; j += 4)
            for (int64_t r = 0; r < PANEL; r += 4) {
                float *at = to + j * PANEL + r;
                const float *x = from + (i + r) * row + j;
                if (i + r + 4 <= rows)
                    transpose4(at, x, row, 4);
                else
                    transpose4(at, x, row, between(rows - i - r, 0, 4));
            }
        for (; j < columns; j++)
            for (int64_t r = 0; r < PANEL; r++)
                to[j * PANEL + r] = i + r < rows ? from[(i + r) * row + j] : 0;
    }
    return to;
}

INLINE void zero(float *x, int64_t row, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; i++) memset(x + i * row, 0, (size_t)columns * sizeof *x);
}

/* Sums are kept in PANEL parts, added by halves: one after another would wait for each other. */
INLINE float sum_of(float *part) {
#pragma GCC unroll 4
    for (int half = PANEL / 2; half > 0; half /= 2)
#pragma omp simd
        for (int c = 0; c < half; c++) part[c] += part[c + half];
    return part[0];
}

INLINE float dot(const float *x, const float *y, int64_t n) {
    float part[PANEL] = {0};
    int64_t i = 0;
    for (; i + PANEL <= n; i += PANEL)
#pragma omp simd
        for (int c = 0; c < PANEL; c++) part[c] += x[i + c] * y[i + c];
    for (; i < n; i++) part[i % PANEL] += x[i] * y[i];
    return sum_of(part);
}

/* --- what is seen ---------------------------------------------------------------------------- */

/* Keys to look at: masked ones at the end, as padding is, cost nothing. */
INLINE int64_t live_keys(const cg_attention_head *a) {
    int64_t n = a->keys;
    while (n > 0 && a->key_mask && a->key_mask[n - 1] == 0) n--;
    return n;
}

/* How many of the n keys from number j on query i sees, but for the key mask. */
INLINE int64_t seen(const cg_attention_head *a, int64_t i, int64_t j, int64_t n) {
    return a->causal ? between(i + a->keys - a->queries + 1 - j, 0, n) : n;
}

/* Queries of a block: blocks are about equal, and of whole strips. */
INLINE int64_t block_of(int64_t queries) {
    int64_t blocks = (queries + QUERIES - 1) / QUERIES, n = (queries + blocks - 1) / blocks;
    return (n + STRIP - 1) / STRIP * STRIP;
}

/* Scales one query's products with n keys; those not seen, and the rest of the width, are -inf. */
INLINE void scale_scores(float *score, int64_t n, int64_t width, float scale, const float *mask) {
#pragma omp simd
    for (int64_t j = 0; j < width; j++) score[j] *= scale;
    if (mask)
        for (int64_t j = 0; j < n; j++) score[j] = mask[j] != 0 ? score[j] : -INFINITY;
    for (int64_t j = n; j < width; j++) score[j] = -INFINITY;
}

/* --- forward --------------------------------------------------------------------------------- */

/* Makes one query's scores probabilities, as parts of all keys seen so far: rescales the output of
 * those before. lse is -inf while there was none. */
INLINE void merge_softmax(float *score, int64_t width, float *lse, float *o, int64_t e) {
    float top = -INFINITY, part[PANEL] = {0};
#pragma omp simd reduction(max : top)
    for (int64_t j = 0; j < width; j++) top = score[j] > top ? score[j] : top;
    float shift = top > -INFINITY ? top : 0; /* none is seen: all become 0 */
    for (int64_t j = 0; j < width; j += PANEL)
#pragma omp simd
        for (int c = 0; c < PANEL; c++) {
            score[j + c] = cg_expf(score[j + c] - shift);
            part[c] += score[j + c];
        }
    float sum = sum_of(part);
    if (sum == 0) return;
    float here = shift + logf(sum), factor = 1.0f / sum;
    if (*lse == -INFINITY) {
        *lse = here;
    } else {
        float high = here > *lse ? here : *lse, low = here > *lse ? *lse : here;
        float all = high + log1pf(expf(low - high)), before = expf(*lse - all);
        for (int64_t c = 0; c < e; c++) o[c] *= before;
        factor *= expf(here - all);
        *lse = all;
    }
#pragma omp simd
    for (int64_t j = 0; j < width; j++) score[j] *= factor;
}

/* One query sees all keys: rows of k and v are read once, as they lie. */
INLINE void forward_one(const cg_attention_head *a, int64_t keys, float *score) {
    for (int64_t j = 0; j < keys; j += KEYS) {
        int64_t n = least(KEYS, keys - j), width = whole_panels(n);
        for (int64_t r = 0; r < n; r++) score[r] = dot(a->q, a->k + (j + r) * a->k_row, a->d);
        memset(score + n, 0, (size_t)(width - n) * sizeof *score);
        scale_scores(score, n, width, a->scale, a->key_mask ? a->key_mask + j : NULL);
        merge_softmax(score, width, a->out_lse, a->out, a->e);
        for (int64_t r = 0; r < n; r++) {
            const float *v = a->v + (j + r) * a->v_row;
#pragma omp simd
            for (int64_t c = 0; c < a->e; c++) a->out[c] += score[r] * v[c];
        }
    }
}

/* Queries i … i+rows-1, a strip, against n keys from number j on. */
INLINE void forward_strip(const cg_attention_head *a, int64_t i, int64_t rows, int64_t j, int64_t n,
                          panels kt, panels v, float *score, int64_t stride) {
    int64_t last = seen(a, i + rows - 1, j, n), width = whole_panels(last);
    float *o = a->out + i * a->o_row;
    if (last == 0 && j > 0) return; /* the first keys write o, if only zeros */
    multiply(score, stride, (matrix){a->q + i * a->q_row, a->q_row, 1}, kt, rows, width, a->d, 0);
    for (int64_t r = 0; r < rows; r++) {
        scale_scores(score + r * stride, seen(a, i + r, j, n), width, a->scale,
                     a->key_mask ? a->key_mask + j : NULL);
        merge_softmax(score + r * stride, width, a->out_lse + (i + r) * a->lse_row,
                      o + r * a->o_row, a->e);
    }
    multiply(o, a->o_row, (matrix){score, stride, 1}, v, rows, a->e, last, j > 0);
}

int64_t cg_attention_forward_floats(int64_t d, int64_t e) {
    return (d + whole_panels(e)) * KEYS + STRIP * score_stride(KEYS);
}

CG_KERNEL static void forward(const cg_attention_head *a, float *scratch) {
    int64_t keys = live_keys(a);
    for (int64_t i = 0; i < a->queries; i++) a->out_lse[i * a->lse_row] = -INFINITY;
    if (keys == 0 || a->queries == 1) zero(a->out, a->o_row, a->queries, a->e);
    if (a->queries == 1) forward_one(a, keys, scratch);
    for (int64_t j = 0; j < keys && a->queries > 1; j += KEYS) {
        int64_t n = least(KEYS, keys - j);
        panels kt, v;
        float *rest = pack_transpose(&kt, scratch, a->k + j * a->k_row, a->k_row, n, a->d);
        rest = pack(&v, rest, a->v + j * a->v_row, a->v_row, n, a->e);
        for (int64_t i = 0; i < a->queries; i += STRIP)
            forward_strip(a, i, least(STRIP, a->queries - i), j, n, kt, v, rest, score_stride(n));
    }
    for (int64_t i = 0; i < a->queries; i++)
        if (a->out_lse[i * a->lse_row] == -INFINITY) a->out_lse[i * a->lse_row] = 0;
}

void cg_attention_forward(const cg_attention_head *a, float *scratch) {
    forward(a, scratch);
}

/* --- backward -------------------------------------------------------------------------------- */

/* One query: score becomes p, dp becomes ds. */
INLINE void softmax_grad(float *score, float *dp, int64_t width, float scale, float lse,
                         float delta) {
#pragma omp simd
    for (int64_t j = 0; j < width; j++) {
        score[j] = cg_expf(score[j] - lse);
        dp[j] = scale * score[j] * (dp[j] - delta);
    }
}

INLINE void backward_one(const cg_attention_head *a, int64_t keys, float *score) {
    float *dp = score + score_stride(KEYS), delta = dot(a->d_o, a->o, a->e);
    memset(a->dq, 0, (size_t)a->d * sizeof *a->dq);
    for (int64_t j = 0; j < keys; j += KEYS) {
        int64_t n = least(KEYS, keys - j);
        const float *k = a->k + j * a->k_row, *v = a->v + j * a->v_row;
        float *dk = a->dk + j * a->k_row, *dv = a->dv + j * a->v_row;
        for (int64_t r = 0; r < n; r++) {
            score[r] = dot(a->q, k + r * a->k_row, a->d);
            dp[r] = dot(a->d_o, v + r * a->v_row, a->e);
        }
        scale_scores(score, n, n, a->scale, a->key_mask ? a->key_mask + j : NULL);
        softmax_grad(score, dp, n, a->scale, *a->lse, delta);
        for (int64_t r = 0; r < n; r++) {
#pragma omp simd
            for (int64_t c = 0; c < a->e; c++) dv[r * a->v_row + c] = score[r] * a->d_o[c];
#pragma omp simd
            for (int64_t c = 0; c < a->d; c++) {
                dk[r * a->k_row + c] = dp[r] * a->q[c];
                a->dq[c] += dp[r] * k[r * a->k_row + c];
            }
        }
    }
}

/* A block of queries against a block of keys, packed. */
typedef struct block {
    int64_t i, queries, j, keys; /* the first of each, and how many */
    panels q, d_o, k, kt, vt;
    float *score, *dp;
    int64_t stride;
} block;

/* p, ds and dq of the queries of a strip that begins at query r of the block. */
INLINE void backward_strip(const cg_attention_head *a, const block *b, int64_t r, int64_t rows) {
    int64_t i = b->i + r, last = seen(a, i + rows - 1, b->j, b->keys), width = whole_panels(last);
    float *score = b->score + r * b->stride, *dp = b->dp + r * b->stride;
    const float *mask = a->key_mask ? a->key_mask + b->j : NULL;
    matrix q = {a->q + i * a->q_row, a->q_row, 1}, d_o = {a->d_o + i * a->o_row, a->o_row, 1};
    multiply(score, b->stride, q, b->kt, rows, width, a->d, 0);
    multiply(dp, b->stride, d_o, b->vt, rows, width, a->e, 0);
    for (int64_t s = 0; s < rows; s++, score += b->stride, dp += b->stride) {
        float delta = dot(d_o.at + s * a->o_row, a->o + (i + s) * a->o_row, a->e);
        scale_scores(score, seen(a, i + s, b->j, b->keys), width, a->scale, mask);
        softmax_grad(score, dp, width, a->scale, a->lse[(i + s) * a->lse_row], delta);
        memset(score + width, 0, PANEL * sizeof *score); /* a strip of keys reaches past the last */
        memset(dp + width, 0, PANEL * sizeof *dp);
    }
    multiply(a->dq + i * a->q_row, a->q_row, (matrix){b->dp + r * b->stride, b->stride, 1}, b->k,
             rows, a->d, last, b->j > 0);
}

/* Adds to dk and dv of a strip of keys, from number c of the block, what the queries that see the
 * first of them contribute. */
INLINE void backward_keys(const cg_attention_head *a, const block *b, int64_t c) {
    int64_t rows = least(STRIP, b->keys - c), j = b->j + c, first = 0;
    if (a->causal) first = between(j + a->queries - a->keys - b->i, 0, b->queries);
    int64_t n = b->queries - first, at = first * b->stride + c;
    panels q = {b->q.at + first * PANEL, b->q.panel},
           d_o = {b->d_o.at + first * PANEL, b->d_o.panel};
    multiply(a->dk + j * a->k_row, a->k_row, (matrix){b->dp + at, 1, b->stride}, q, rows, a->d, n,
             b->i > 0);
    multiply(a->dv + j * a->v_row, a->v_row, (matrix){b->score + at, 1, b->stride}, d_o, rows, a->e,
             n, b->i > 0);
}

int64_t cg_attention_backward_floats(int64_t d, int64_t e) {
    return (d + e + whole_panels(d)) * KEYS +
           (whole_panels(d) + whole_panels(e) + 2 * score_stride(KEYS)) * QUERIES;
}

CG_KERNEL static void backward(const cg_attention_head *a, float *scratch) {
    int64_t keys = live_keys(a), rest = a->queries > 0 ? keys : 0;
    zero(a->dk + rest * a->k_row, a->k_row, a->keys - rest, a->d);
    zero(a->dv + rest * a->v_row, a->v_row, a->keys - rest, a->e);
    if (keys == 0) zero(a->dq, a->q_row, a->queries, a->d);
    if (keys > 0 && a->queries == 1) backward_one(a, keys, scratch);
    for (int64_t j = 0; j < keys && a->queries > 1; j += KEYS) {
        block b = {.j = j, .keys = least(KEYS, keys - j)};
        const float *k = a->k + j * a->k_row;
        float *at = pack_transpose(&b.kt, scratch, k, a->k_row, b.keys, a->d);
        at = pack_transpose(&b.vt, at, a->v + j * a->v_row, a->v_row, b.keys, a->e);
        at = pack(&b.k, at, k, a->k_row, b.keys, a->d);
        b.stride = score_stride(b.keys);
        int64_t step = block_of(a->queries);
        for (; b.i < a->queries; b.i += step) {
            b.queries = least(step, a->queries - b.i);
            b.score = pack(&b.q, at, a->q + b.i * a->q_row, a->q_row, b.queries, a->d);
            b.score = pack(&b.d_o, b.score, a->d_o + b.i * a->o_row, a->o_row, b.queries, a->e);
            b.dp = b.score + b.queries * b.stride;
            for (int64_t r = 0; r < b.queries; r += STRIP)
                backward_strip(a, &b, r, least(STRIP, b.queries - r));
            for (int64_t c = 0; c < b.keys; c += STRIP) backward_keys(a, &b, c);
        }
    }
}

void cg_attention_backward(const cg_attention_head *a, float *scratch) {
    backward(a, scratch);
}
