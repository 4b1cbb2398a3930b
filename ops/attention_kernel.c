/* Up to 512 keys are taken at a time, against up to 48 queries where there are gradients, so that
 * scores stay in cache and scratch does not grow with the sequence; longer ones are merged by their
 * log-sum-exp. Under a causal mask each strip of queries stops at the last key that one of them
 * sees. */
#include "ops/attention_kernel.h"

#include "ops/attention_product.h"
#include "ops/kernel.h"
#include "ops/simd_math.h"

#include <math.h>
#include <string.h>

enum { QUERIES = 48, KEYS = 512 };

/* Row length of n scores: room for a strip of keys that begins at the last one, and an odd number
 * of cache lines, so that a column does not fall on few sets. */
INLINE int64_t score_stride(int64_t n) {
    return ((whole_panels(n) / PANEL + 1) | 1) * PANEL;
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

/* Of one query's scores, those of keys not seen, and the rest of the width, become -inf. */
INLINE void hide_unseen(float *score, int64_t n, int64_t width, const float *mask) {
    if (mask)
        for (int64_t j = 0; j < n; j++) score[j] = mask[j] != 0 ? score[j] : -INFINITY;
    for (int64_t j = n; j < width; j++) score[j] = -INFINITY;
}

INLINE void fetch(const float *x, int64_t row, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t c = 0; c < columns; c += PANEL) __builtin_prefetch(x + i * row + c, 0, 2);
}

/* Asks for the same queries of the next head, and for the keys of their numbers from j on. They
 * lie beside those of this head, in rows too far apart for the processor to foresee. */
INLINE void fetch_next(const cg_attention_head *a, int64_t i, int64_t rows, int64_t j) {
    if (a->last) return;
    fetch(a->q + i * a->q_row + a->d, a->q_row, rows, a->d);
    if (a->d_o) {
        fetch(a->o + i * a->o_row + a->e, a->o_row, rows, a->e);
        fetch(a->d_o + i * a->o_row + a->e, a->o_row, rows, a->e);
    }
    int64_t key = i + j, keys = least(rows, a->keys - key);
    if (keys <= 0) return;
    fetch(a->k + key * a->k_row + a->d, a->k_row, keys, a->d);
    fetch(a->v + key * a->v_row + a->e, a->v_row, keys, a->e);
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
        for (int64_t r = 0; r < n; r++)
            score[r] = a->scale * dot(a->q, a->k + (j + r) * a->k_row, a->d);
        hide_unseen(score, n, width, a->key_mask ? a->key_mask + j : NULL);
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
    fetch_next(a, i, rows, j);
    if (last == 0 && j > 0) return; /* the first keys write o, if only zeros */
    multiply(score, stride, (matrix){a->q + i * a->q_row, a->q_row, 1}, kt, rows, width, a->d, 0);
    for (int64_t r = 0; r < rows; r++) {
        hide_unseen(score + r * stride, seen(a, i + r, j, n), width,
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
        float *rest =
            pack_transpose(&kt, scratch, a->k + j * a->k_row, a->k_row, n, a->d, a->scale);
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
            score[r] = a->scale * dot(a->q, k + r * a->k_row, a->d);
            dp[r] = dot(a->d_o, v + r * a->v_row, a->e);
        }
        hide_unseen(score, n, n, a->key_mask ? a->key_mask + j : NULL);
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
    fetch_next(a, i, rows, b->j);
    multiply(score, b->stride, q, b->kt, rows, width, a->d, 0);
    multiply(dp, b->stride, d_o, b->vt, rows, width, a->e, 0);
    for (int64_t s = 0; s < rows; s++, score += b->stride, dp += b->stride) {
        float delta = dot(d_o.at + s * a->o_row, a->o + (i + s) * a->o_row, a->e);
        hide_unseen(score, seen(a, i + s, b->j, b->keys), width, mask);
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
        float *at = pack_transpose(&b.kt, scratch, k, a->k_row, b.keys, a->d, a->scale);
        at = pack_transpose(&b.vt, at, a->v + j * a->v_row, a->v_row, b.keys, a->e, 1);
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
