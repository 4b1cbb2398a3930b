/* patch_dropout: keeps some rows of each sample, drawn at random without replacement.
 *   y[i,k] = x[i, index[i,k]],  index[i] = the rows kept, rising
 * Every choice of `keep` out of T rows is equally likely: row after row is kept with probability
 * (rows still wanted) / (rows still to come). The choice depends on the node, the run's seed, the
 * step and the sample's global id, as in dropout. Values are not scaled.
 * shapes  x [N, T, D] f32, stream i64 [2] (the run's seed, the step), sample i64 [N]
 *         -> y [N, keep, D]; index i32 [N, keep], for the gradient
 * attr    key: of the node; keep: int, 1 … T
 * vjp     patch_dropout_grad, below
 * errors  CG_ESHAPE: x is not of rank 3, stream is not [2], sample is not [N]. CG_EDTYPE.
 *         CG_EINVAL: keep
 * source  Li et al., arXiv:2212.00794 (FLIP); Knuth, TAOCP 2, 3.4.2, algorithm S
 *
 * patch_dropout_grad: its gradient.
 *   dx[i, index[i,k]] = dy[i,k], all other rows 0
 * shapes  dy [N, keep, D], index i32 [N, keep] -> dx [N, T, D]
 * attr    rows: T */
#include "ops/elementwise.h"
#include "ops/ops.h"
#include "ops/random.h"

#include <string.h>

typedef struct patch_dropout_attr {
    int64_t key, keep;
} patch_dropout_attr;

typedef struct patch_dropout_grad_attr {
    int64_t rows;
} patch_dropout_grad_attr;

static const cg_attr_field fields[] = {
    CG_ATTR(patch_dropout_attr, key, INT), CG_ATTR(patch_dropout_attr, keep, INT), {0}};
static const cg_attr_field grad_fields[] = {CG_ATTR(patch_dropout_grad_attr, rows, INT), {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    const cg_value *x = n->in[0];
    const patch_dropout_attr *attr = n->attr;
    CG_TRY(cg_check_dtype(x, "x", CG_F32));
    CG_TRY(cg_check_rank(x, "x", 3));
    int64_t samples = x->shape.dim[0], rows = x->shape.dim[1];
    CG_TRY(cg_check_stream(n->in[1], n->in[2], samples));
    if (attr->keep < 1 || attr->keep > rows)
        return cg_error(CG_EINVAL, "keep is %lld, wanted at least 1 and at most the %lld rows of x",
                        (long long)attr->keep, (long long)rows);
    out[0] = (cg_type){CG_F32, CG_SHAPE(samples, attr->keep, x->shape.dim[2])};
    out[1] = (cg_type){CG_I32, CG_SHAPE(samples, attr->keep)};
    return CG_OK;
}

static void choose(cg_rng numbers, int64_t rows, int64_t keep, int32_t *index) {
    for (int64_t row = 0, kept = 0; kept < keep; row++)
        if ((int64_t)cg_rng_below(&numbers, (uint64_t)(rows - row)) < keep - kept)
            index[kept++] = (int32_t)row;
}

static void keep_rows(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    const cg_shape *x = &t->node->in[0]->shape;
    const patch_dropout_attr *attr = t->node->attr;
    const int64_t *sample = t->in[2];
    int64_t rows = x->dim[1], width = x->dim[2], keep = attr->keep;
    for (int64_t i = begin; i < end; i++) {
        const float *from = (const float *)t->in[0] + i * rows * width;
        float *to = (float *)t->out[0] + i * keep * width;
        int32_t *index = (int32_t *)t->out[1] + i * keep;
        choose(cg_stream_at(attr->key, t->in[1], sample[i]), rows, keep, index);
        for (int64_t k = 0; k < keep; k++)
            memcpy(to + k * width, from + index[k] * width, (size_t)width * sizeof *to);
    }
}

static cg_status run(const cg_task *t) {
    const cg_shape *y = &t->node->out[0]->shape;
    cg_parallel(t->threads, y->dim[0], 1, cg_shape_count(y), keep_rows, t);
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    patch_dropout_grad_attr attr = {n->in[0]->shape.dim[1]};
    dx[0] = cg_node_add1(g, &cg_op_patch_dropout_grad, &attr, 2, (cg_value *[]){dy[0], n->out[1]});
}

const cg_op cg_op_patch_dropout = {
    .name = "patch_dropout",
    .min_in = 3,
    .max_in = 3,
    .n_out = 2,
    .attr_size = sizeof(patch_dropout_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .selects = 1,
};

cg_value *cg_patch_dropout(cg_graph *g, cg_value *x, cg_value *stream, cg_value *sample,
                           int64_t keep) {
    patch_dropout_attr attr = {(int64_t)cg_graph_key(g), keep};
    return cg_node_add1(g, &cg_op_patch_dropout, &attr, 3, (cg_value *[]){x, stream, sample});
}

/* --- patch_dropout_grad ---------------------------------------------------------------------- */

static cg_status grad_infer(const cg_node *n, cg_type *out) {
    const cg_value *dy = n->in[0], *index = n->in[1];
    const patch_dropout_grad_attr *attr = n->attr;
    CG_TRY(cg_check_dtype(dy, "dy", CG_F32));
    CG_TRY(cg_check_rank(dy, "dy", 3));
    CG_TRY(cg_check_dtype(index, "index", CG_I32));
    cg_shape kept = CG_SHAPE(dy->shape.dim[0], dy->shape.dim[1]);
    if (!cg_shape_equal(&index->shape, &kept))
        return cg_error(CG_ESHAPE, "index is not one number for each row of dy");
    *out = (cg_type){CG_F32, CG_SHAPE(kept.dim[0], attr->rows, dy->shape.dim[2])};
    return CG_OK;
}

/* Row after row, so that dx is written once. */
static void spread_rows(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    const cg_shape *dx = &t->node->out[0]->shape;
    int64_t rows = dx->dim[1], width = dx->dim[2], keep = t->node->in[1]->shape.dim[1];
    size_t bytes = (size_t)width * sizeof(float);
    for (int64_t i = begin; i < end; i++) {
        const float *from = (const float *)t->in[0] + i * keep * width;
        const int32_t *index = (const int32_t *)t->in[1] + i * keep;
        float *to = (float *)t->out[0] + i * rows * width;
        for (int64_t row = 0, k = 0; row < rows; row++) {
            if (k < keep && index[k] == row)
                memcpy(to + row * width, from + k++ * width, bytes);
            else
                memset(to + row * width, 0, bytes);
        }
    }
}

static cg_status grad_run(const cg_task *t) {
    const cg_shape *dx = &t->node->out[0]->shape;
    cg_parallel(t->threads, dx->dim[0], 1, cg_shape_count(dx), spread_rows, t);
    return CG_OK;
}

const cg_op cg_op_patch_dropout_grad = {
    .name = "patch_dropout_grad",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .attr_size = sizeof(patch_dropout_grad_attr),
    .attr = grad_fields,
    .infer = grad_infer,
    .run = grad_run,
};
