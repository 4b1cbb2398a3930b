/* dropout: zeroes elements at random, and scales the others so that the mean stays.
 *   y[i,j] = keep(i,j) ? x[i,j] / (1 - p) : 0
 * keep(i,j) is word j/16 % 4 of block 16 (j/64) + j % 16 of the Philox stream that key, stream and
 * sample[i] name, kept where it is at least p · 2^32: an element's fate depends on its node, the
 * run's seed, the step and its sample's global id, not on threads nor on the sample's place in a
 * batch. The order of words is that in which vectors compute them.
 * shapes  x [N, ...] f32, stream i64 [2] (the run's seed, the step), sample i64 [N] -> y as x
 * attr    key: of the node; p: float, 0 ≤ p < 1
 * vjp     dx = the same node, with the same key, applied to dy
 * errors  CG_ESHAPE: x is a scalar, stream is not [2], sample is not [N]. CG_EDTYPE. CG_EINVAL: p
 * source  Srivastava et al., JMLR 15 (2014) */
#include "ops/kernel.h"
#include "ops/ops.h"
#include "ops/random.h"

#include <string.h>

typedef struct dropout_attr {
    int64_t key;
    float p;
} dropout_attr;

static const cg_attr_field fields[] = {
    CG_ATTR(dropout_attr, key, INT), CG_ATTR(dropout_attr, p, FLOAT), {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    const cg_value *x = n->in[0];
    const dropout_attr *attr = n->attr;
    if (!(attr->p >= 0 && attr->p < 1))
        return cg_error(CG_EINVAL, "p is %g, wanted 0 or more and below 1", (double)attr->p);
    CG_TRY(cg_check_dtype(x, "x", CG_F32));
    if (x->shape.rank < 1) return cg_error(CG_ESHAPE, "x is a scalar, wanted rank 1 or more");
    CG_TRY(cg_check_stream(n->in[1], n->in[2], x->shape.dim[0]));
    out[0] = (cg_type){CG_F32, x->shape};
    return CG_OK;
}

enum {
    BLOCKS = 16,       /* of the stream, computed side by side */
    TILE = 4 * BLOCKS, /* words, and elements, that they make */
    PIECE = 64 * TILE, /* elements of a row that are one task */
};

/* What cg_rng_block gives, its words BLOCKS apart; written so that loops over counters become
 * vectors. */
static inline __attribute__((always_inline)) void block(uint32_t k0, uint32_t k1, uint64_t counter,
                                                        uint32_t *word) {
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = 0, c3 = 0;
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xd2511f53u * c0, p1 = (uint64_t)0xcd9e8d57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    word[0] = c0;
    word[BLOCKS] = c1;
    word[2 * BLOCKS] = c2;
    word[3 * BLOCKS] = c3;
}

/* Elements begin … end-1 of a row; begin is a multiple of TILE. y may be x. */
CG_KERNEL static void drop(const cg_rng *stream, const float *x, int64_t begin, int64_t end,
                           uint32_t threshold, float factor, float *y) {
    uint32_t word[TILE], k0 = stream->key[0], k1 = stream->key[1];
    for (int64_t j = begin; j < end; j += TILE) {
        int64_t n = end - j < TILE ? end - j : TILE;
#pragma omp simd
        for (int i = 0; i < BLOCKS; i++) block(k0, k1, (uint64_t)(j / 4 + i), word + i);
#pragma omp simd
        for (int64_t k = 0; k < n; k++) y[j + k] = word[k] >= threshold ? x[j + k] * factor : 0.0f;
    }
}

static cg_status run(const cg_task *t) {
    const cg_shape *shape = &t->node->in[0]->shape;
    const dropout_attr *attr = t->node->attr;
    const float *x = t->in[0];
    const int64_t *stream = t->in[1], *sample = t->in[2];
    float *y = t->out[0];
    int64_t rows = shape->dim[0], count = cg_shape_count(shape);
    if (count == 0) return CG_OK;
    int64_t width = count / rows, pieces = (width + PIECE - 1) / PIECE;
    uint32_t threshold = (uint32_t)((double)attr->p * 0x1p32);
    float factor = 1.0f / (1.0f - attr->p);
    int threads = count < CG_PARALLEL_MIN ? 1 : t->threads;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t k = 0; k < rows * pieces; k++) {
        int64_t i = k / pieces, begin = k % pieces * PIECE;
        int64_t end = begin + PIECE < width ? begin + PIECE : width;
        cg_rng numbers = cg_stream_at(attr->key, stream, sample[i]);
        drop(&numbers, x + i * width, begin, end, threshold, factor, y + i * width);
    }
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    dx[0] = cg_node_add1(g, &cg_op_dropout, n->attr, 3, (cg_value *[]){dy[0], n->in[1], n->in[2]});
}

const cg_op cg_op_dropout = {
    .name = "dropout",
    .min_in = 3,
    .max_in = 3,
    .n_out = 1,
    .attr_size = sizeof(dropout_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .inplace = 1u << 0,
};

cg_value *cg_dropout(cg_graph *g, cg_value *x, cg_value *stream, cg_value *sample, float p) {
    dropout_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.key = (int64_t)cg_graph_key(g);
    attr.p = p;
    return cg_node_add1(g, &cg_op_dropout, &attr, 3, (cg_value *[]){x, stream, sample});
}
