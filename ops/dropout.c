/* dropout: zeroes elements at random, and scales the others so that the mean stays.
 *   y[i,j] = keep(i,j) ? x[i,j] / (1 - p) : 0
 * keep(i,j) is word j % 4 of block j / 4 of the stream (key, CG_RNG_DROPOUT, step, sample[i]),
 * kept where it is at least p · 2^32: an element's fate depends on its node, the step and its
 * sample's global id, not on threads nor on the sample's place in a batch.
 * shapes  x [N, ...] f32, step i64 scalar, sample i64 [N] -> y as x
 * attr    key: of the node; p: float, 0 ≤ p < 1
 * vjp     dx = the same node, with the same key, applied to dy
 * errors  CG_ESHAPE: x is a scalar, step is not one, sample is not [N]. CG_EDTYPE. CG_EINVAL: p
 * source  Srivastava et al., JMLR 15 (2014) */
#include "graph/rng.h"
#include "ops/kernel.h"
#include "ops/ops.h"

#include <string.h>

typedef struct dropout_attr {
    int64_t key;
    float p;
} dropout_attr;

static const cg_attr_field fields[] = {
    CG_ATTR(dropout_attr, key, INT), CG_ATTR(dropout_attr, p, FLOAT), {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    char text[CG_SHAPE_TEXT];
    const cg_value *x = n->in[0], *step = n->in[1], *sample = n->in[2];
    const dropout_attr *attr = n->attr;
    if (!(attr->p >= 0 && attr->p < 1))
        return cg_error(CG_EINVAL, "p is %g, wanted 0 or more and below 1", (double)attr->p);
    if (x->dtype != CG_F32)
        return cg_error(CG_EDTYPE, "x is %s, wanted f32", cg_dtype_name(x->dtype));
    if (step->dtype != CG_I64)
        return cg_error(CG_EDTYPE, "step is %s, wanted i64", cg_dtype_name(step->dtype));
    if (sample->dtype != CG_I64)
        return cg_error(CG_EDTYPE, "sample is %s, wanted i64", cg_dtype_name(sample->dtype));
    if (x->shape.rank < 1) return cg_error(CG_ESHAPE, "x is a scalar, wanted rank 1 or more");
    if (step->shape.rank != 0)
        return cg_error(CG_ESHAPE, "step is %s, wanted a scalar",
                        cg_shape_print(&step->shape, text));
    cg_shape rows = CG_SHAPE(x->shape.dim[0]);
    if (!cg_shape_equal(&sample->shape, &rows))
        return cg_error(CG_ESHAPE, "sample is %s, wanted [%lld], one for each row of x",
                        cg_shape_print(&sample->shape, text), (long long)rows.dim[0]);
    out[0] = (cg_type){CG_F32, x->shape};
    return CG_OK;
}

/* Elements j0 … j1-1 of a row; j0 is a multiple of 4. */
static void drop(const cg_rng *stream, const float *x, int64_t j0, int64_t j1, uint32_t threshold,
                 float factor, float *y) {
    for (int64_t j = j0; j < j1; j += 4) {
        uint32_t word[4];
        cg_rng_block(stream, (uint64_t)j / 4, word);
        for (int64_t k = 0; k < 4 && j + k < j1; k++)
            y[j + k] = word[k] >= threshold ? x[j + k] * factor : 0.0f;
    }
}

enum { PIECE = 1 << 12 }; /* elements of a row that are one task */

static cg_status run(const cg_task *t) {
    const cg_shape *shape = &t->node->in[0]->shape;
    const dropout_attr *attr = t->node->attr;
    const float *x = t->in[0];
    const int64_t *step = t->in[1], *sample = t->in[2];
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
        cg_rng stream =
            cg_rng_at((uint64_t)attr->key, CG_RNG_DROPOUT, (uint64_t)*step, (uint64_t)sample[i]);
        drop(&stream, x + i * width, begin, end, threshold, factor, y + i * width);
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

cg_value *cg_dropout(cg_graph *g, cg_value *x, cg_value *step, cg_value *sample, float p) {
    dropout_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.key = (int64_t)cg_graph_key(g);
    attr.p = p;
    return cg_node_add1(g, &cg_op_dropout, &attr, 3, (cg_value *[]){x, step, sample});
}
