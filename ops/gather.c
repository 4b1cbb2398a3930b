/* gather: rows of a table by number, in any order and as often as asked: token embeddings, row
 * selection.
 *   y_r = table[index_r]
 * shapes  table [V, D] f32 or bf16, index i32 [R] -> y [R, D]
 * vjp     dtable = zeros [V, D]; dtable[index_r] += dy_r for r = 0, 1, … (op gather_grad);
 *         the order of additions is that of r for any number of threads
 * errors  CG_ESHAPE: table is not of rank 2 or index not of rank 1. CG_EDTYPE.
 *         A run: CG_EINVAL: an index outside 0 … V-1
 * onnx    Gather; of one row of each sequence GatherND, or Gather along the sequence */
#include "ops/bf16.h"
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"

typedef struct cg_gather_grad_attr {
    int64_t rows; /* V */
} cg_gather_grad_attr;

static const cg_attr_field grad_fields[] = {CG_ATTR(cg_gather_grad_attr, rows, INT), {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    const cg_value *table = n->in[0], *index = n->in[1];
    CG_TRY(cg_check_float(n, 0, "table"));
    CG_TRY(cg_check_rank(table, "table", 2));
    CG_TRY(cg_check_dtype(index, "index", CG_I32));
    CG_TRY(cg_check_rank(index, "index", 1));
    *out = (cg_type){CG_F32, CG_SHAPE(index->shape.dim[0], table->shape.dim[1])};
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    cg_gather_grad_attr attr = {n->in[0]->shape.dim[0]};
    dx[0] = cg_node_add1(g, &cg_op_gather_grad, &attr, 2, (cg_value *[]){dy[0], n->in[1]});
}

static cg_status check_index(const int32_t *index, int64_t n, int64_t rows) {
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= rows)
            return cg_error(CG_EINVAL,
                            "index %d at position %lld, wanted 0 or more and less than %lld",
                            (int)index[i], (long long)i, (long long)rows);
    return CG_OK;
}

static void gather(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    const int32_t *index = t->in[1];
    const cg_value *table = t->node->in[0], *y = t->node->out[0];
    int64_t width = y->shape.dim[1];
    size_t from = (size_t)width * cg_dtype_size(table->dtype);
    size_t to = (size_t)width * cg_dtype_size(y->dtype);
    for (int64_t r = begin; r < end; r++)
        cg_convert(y->dtype, (char *)t->out[0] + (size_t)r * to, table->dtype,
                   (const char *)t->in[0] + (size_t)index[r] * from, width);
}

static cg_status run(const cg_task *t) {
    int64_t n = t->node->in[1]->shape.dim[0], width = t->node->out[0]->shape.dim[1];
    CG_TRY(check_index(t->in[1], n, t->node->in[0]->shape.dim[0]));
    cg_parallel(t->threads, n, 1, n * width, gather, t);
    return CG_OK;
}

static cg_status grad_infer(const cg_node *n, cg_type *out) {
    const cg_value *dy = n->in[0], *index = n->in[1];
    CG_TRY(cg_check_float(n, 0, "dy"));
    CG_TRY(cg_check_rank(dy, "dy", 2));
    CG_TRY(cg_check_dtype(index, "index", CG_I32));
    CG_TRY(cg_check_rank(index, "index", 1));
    if (dy->shape.dim[0] != index->shape.dim[0])
        return cg_error(CG_ESHAPE, "dy has %lld rows, wanted one for each of %lld indices",
                        (long long)dy->shape.dim[0], (long long)index->shape.dim[0]);
    *out =
        (cg_type){CG_F32, CG_SHAPE(((const cg_gather_grad_attr *)n->attr)->rows, dy->shape.dim[1])};
    return CG_OK;
}

CG_INLINE void add_rows(const cg_task *t, int64_t begin, int64_t end, int bf16) {
    const cg_shape *shape = &t->node->in[0]->shape;
    const int32_t *index = t->in[1];
    for (int64_t r = 0; r < shape->dim[0]; r++) {
        int64_t row = r * shape->dim[1];
        float *to = (float *)t->out[0] + index[r] * shape->dim[1];
#pragma omp simd
        for (int64_t c = begin; c < end; c++) to[c] += cg_load(t->in[0], row + c, bf16);
    }
}

/* A thread owns columns, and adds rows in their order: the sums do not depend on threads. */
CG_KERNEL static void scatter(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    if (cg_is_bf16(t->node->in[0]))
        add_rows(t, begin, end, 1);
    else
        add_rows(t, begin, end, 0);
}

static cg_status grad_run(const cg_task *t) {
    int64_t n = t->node->in[1]->shape.dim[0], width = t->node->out[0]->shape.dim[1];
    int64_t rows = t->node->out[0]->shape.dim[0];
    CG_TRY(check_index(t->in[1], n, rows));
    cg_zero(t->threads, t->out[0], (size_t)(rows * width) * sizeof(float));
    cg_parallel(t->threads, width, 16, n * width, scatter, t);
    return CG_OK;
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    return cg_onnx_give(s, n->out[0], cg_onnx_gather(s, n->in[0], n->in[1]));
}

const cg_op cg_op_gather = {
    .name = "gather",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .infer = infer,
    .vjp = vjp,
    .run = run,
    .onnx = onnx,
    .selects = 1,
    .bf16_in = 1,
    .bf16_out = 1,
};

/* in dy, index -> dtable */
const cg_op cg_op_gather_grad = {
    .name = "gather_grad",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .attr_size = sizeof(cg_gather_grad_attr),
    .attr = grad_fields,
    .infer = grad_infer,
    .run = grad_run,
    .bf16_in = 1,
};

cg_value *cg_gather(cg_graph *g, cg_value *table, cg_value *index) {
    return cg_node_add1(g, &cg_op_gather, NULL, 2, (cg_value *[]){table, index});
}
