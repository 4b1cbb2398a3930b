/* contrastive_cross_entropy: softmax_cross_entropy over both axes of a matrix, read once.
 *   row_lse[i]    = ln Σ_j e^x[i,j],  row_loss[i]    = row_lse[i] - x[i, row_label[i]]
 *   column_lse[j] = ln Σ_i e^x[i,j],  column_loss[j] = column_lse[j] - x[column_label[j], j]
 * shapes  logits x [N, M] f32, row_label i32 [N], column_label i32 [M] -> row_loss [N],
 *         column_loss [M]; row_lse [N], column_lse [M], kept for the gradient
 * vjp     contrastive_cross_entropy_grad, below; where only one of the losses has a gradient,
 *         softmax_cross_entropy_grad of its axis
 * errors  CG_ESHAPE: x is not of rank 2, has no row or column, or a label is of another length.
 *         CG_EDTYPE: x is not f32 or a label not i32. CG_EINVAL: a run: a label out of range
 * numeric Tiles of 32 rows and 64 columns are read for the maxima of both, and again for the sums,
 *         while they are in the first-level cache. Rows are cut into chunks by their number alone,
 *         whose columns' sums are added in the chunks' order: bits do not depend on the threads.
 *
 * contrastive_cross_entropy_grad: its gradient, in one sweep.
 *   r[i,j] = drow[i] (e^(x[i,j] - row_lse[i]) - [j is row_label[i]])
 *   c[i,j] = dcolumn[j] (e^(x[i,j] - column_lse[j]) - [i is column_label[j]])
 *   dx = r + c
 * shapes  logits, row_label, column_label, row_lse, column_lse, drow, dcolumn -> dx as logits */
#include "ops/check.h"
#include "ops/kernel.h"
#include "ops/simd_math.h"
#include "ops/softmax_cross_entropy.h"

#include <float.h>
#include <math.h>

enum { X, ROW_LABEL, COLUMN_LABEL, ROW_LSE, COLUMN_LSE, DROW, DCOLUMN };
enum { ROW_LOSS, COLUMN_LOSS, KEPT_ROW_LSE, KEPT_COLUMN_LSE };

static cg_status check(const cg_node *n) {
    CG_TRY(cg_cross_entropy_check(n->in[X], n->in[ROW_LABEL], 1));
    return cg_cross_entropy_check(n->in[X], n->in[COLUMN_LABEL], 0);
}

static cg_status infer(const cg_node *n, cg_type *out) {
    CG_TRY(check(n));
    out[ROW_LOSS] = out[KEPT_ROW_LSE] = (cg_type){CG_F32, n->in[ROW_LABEL]->shape};
    out[COLUMN_LOSS] = out[KEPT_COLUMN_LSE] = (cg_type){CG_F32, n->in[COLUMN_LABEL]->shape};
    return CG_OK;
}

static cg_status check_labels(const cg_task *t) {
    const cg_shape *shape = &t->node->in[X]->shape;
    CG_TRY(cg_check_labels(t->in[ROW_LABEL], shape->dim[0], shape->dim[1]));
    return cg_check_labels(t->in[COLUMN_LABEL], shape->dim[1], shape->dim[0]);
}

/* --- forward --------------------------------------------------------------------------------- */

enum { ROWS = 32, COLUMNS = 64, MOST_CHUNKS = 64 }; /* a tile of 8 KiB */

/* Largest logits so far, and the sums of e^(x - those). What is finite at first stays so until an
 * infinity comes: where only -inf has, x - top is -inf and not NaN. */
typedef struct running {
    float *top, *sum;
} running;

CG_KERNEL static void begin_running(running r, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        r.top[i] = -FLT_MAX;
        r.sum[i] = 0;
    }
}

/* Moves sums to maxima that are as large or larger. */
static inline void raise(running r, const float *top, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        r.sum[i] *= cg_expf(r.top[i] - top[i]);
        r.top[i] = top[i];
    }
}

/* Adds a tile of x, whose rows lie `width` apart. */
CG_KERNEL static void add_tile(const float *x, int64_t width, int64_t rows, int64_t columns,
                               running row, running column) {
    float row_top[ROWS], column_top[COLUMNS];
    for (int64_t j = 0; j < columns; j++) column_top[j] = column.top[j];
    for (int64_t i = 0; i < rows; i++) {
        const float *xi = x + i * width;
        float top = row.top[i];
#pragma omp simd reduction(max : top)
        for (int64_t j = 0; j < columns; j++) {
            top = xi[j] > top ? xi[j] : top;
            column_top[j] = xi[j] > column_top[j] ? xi[j] : column_top[j];
        }
        row_top[i] = top;
    }
    raise(row, row_top, rows);
    raise(column, column_top, columns);
    for (int64_t i = 0; i < rows; i++) {
        const float *xi = x + i * width;
        float top = row_top[i], sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < columns; j++) {
            sum += cg_expf(xi[j] - top);
            column.sum[j] += cg_expf(xi[j] - column_top[j]);
        }
        row.sum[i] += sum;
    }
}

/* The losses of rows begin … end-1, and what the columns' need of them. */
static void chunk_forward(const cg_task *t, int64_t begin, int64_t end, running column) {
    int64_t width = t->node->in[X]->shape.dim[1];
    const int32_t *label = t->in[ROW_LABEL];
    float *loss = t->out[ROW_LOSS], *lse = t->out[KEPT_ROW_LSE], top[ROWS], sum[ROWS];
    running row = {top, sum};
    begin_running(column, width);
    for (int64_t r = begin; r < end; r += ROWS) {
        int64_t rows = r + ROWS < end ? ROWS : end - r;
        const float *x = (const float *)t->in[X] + r * width;
        begin_running(row, rows);
        for (int64_t c = 0; c < width; c += COLUMNS)
            add_tile(x + c, width, rows, c + COLUMNS < width ? COLUMNS : width - c, row,
                     (running){column.top + c, column.sum + c});
        for (int64_t i = 0; i < rows; i++) {
            float rest = logf(sum[i]);
            lse[r + i] = top[i] + rest;
            loss[r + i] = (top[i] - x[i * width + label[r + i]]) + rest;
        }
    }
}

/* Rows of a chunk, a multiple of ROWS. */
static int64_t chunk_of(int64_t height) {
    int64_t blocks = (height + ROWS - 1) / ROWS;
    return ROWS * ((blocks + MOST_CHUNKS - 1) / MOST_CHUNKS);
}

/* Chunk c's columns are partial[2 c width …]: maxima, then sums. */
static running chunk_columns(float *partial, int64_t c, int64_t width) {
    return (running){partial + 2 * c * width, partial + (2 * c + 1) * width};
}

/* Columns begin … end-1 of all chunks, into the first. */
CG_KERNEL static void merge(float *partial, int64_t chunks, int64_t width, int64_t begin,
                            int64_t end) {
    running all = chunk_columns(partial, 0, width);
    for (int64_t c = 1; c < chunks; c++) {
        running part = chunk_columns(partial, c, width);
#pragma omp simd
        for (int64_t j = begin; j < end; j++) {
            float top = part.top[j] > all.top[j] ? part.top[j] : all.top[j];
            all.sum[j] =
                all.sum[j] * cg_expf(all.top[j] - top) + part.sum[j] * cg_expf(part.top[j] - top);
            all.top[j] = top;
        }
    }
}

static void columns_finish(const cg_task *t, int64_t chunks, int threads) {
    const float *x = t->in[X];
    const int32_t *label = t->in[COLUMN_LABEL];
    float *loss = t->out[COLUMN_LOSS], *lse = t->out[KEPT_COLUMN_LSE], *partial = t->scratch;
    int64_t width = t->node->in[X]->shape.dim[1];
    running all = chunk_columns(partial, 0, width);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t j = 0; j < width; j += COLUMNS)
        merge(partial, chunks, width, j, j + COLUMNS < width ? j + COLUMNS : width);
    for (int64_t j = 0; j < width; j++) {
        float rest = logf(all.sum[j]);
        lse[j] = all.top[j] + rest;
        loss[j] = (all.top[j] - x[label[j] * width + j]) + rest;
    }
}

static cg_status prepare(cg_prep *p) {
    const cg_shape *shape = &p->node->in[X]->shape;
    int64_t chunk = chunk_of(shape->dim[0]), chunks = (shape->dim[0] + chunk - 1) / chunk;
    p->scratch = 2 * (size_t)chunks * (size_t)shape->dim[1] * sizeof(float);
    return CG_OK;
}

static cg_status run(const cg_task *t) {
    const cg_shape *shape = &t->node->in[X]->shape;
    int64_t height = shape->dim[0], width = shape->dim[1];
    int64_t chunk = chunk_of(height), chunks = (height + chunk - 1) / chunk;
    float *partial = t->scratch;
    CG_TRY(check_labels(t));
    int threads = height * width < CG_PARALLEL_MIN ? 1 : t->threads;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t c = 0; c < chunks; c++)
        chunk_forward(t, c * chunk, (c + 1) * chunk < height ? (c + 1) * chunk : height,
                      chunk_columns(partial, c, width));
    columns_finish(t, chunks, threads);
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    if (dy[KEPT_ROW_LSE] || dy[KEPT_COLUMN_LSE]) {
        cg_graph_fail(g, cg_error(CG_EUNSUPPORTED,
                                  "%s: contrastive_cross_entropy: the gradient of lse is not "
                                  "supported",
                                  n->name));
        return;
    }
    if (dy[ROW_LOSS] && dy[COLUMN_LOSS]) {
        cg_value *in[] = {n->in[X],
                          n->in[ROW_LABEL],
                          n->in[COLUMN_LABEL],
                          n->out[KEPT_ROW_LSE],
                          n->out[KEPT_COLUMN_LSE],
                          dy[ROW_LOSS],
                          dy[COLUMN_LOSS]};
        dx[X] = cg_node_add1(g, &cg_op_contrastive_cross_entropy_grad, NULL, 7, in);
        return;
    }
    cg_cross_entropy_attr attr = {dy[ROW_LOSS] != NULL};
    int k = attr.axis ? ROW_LOSS : COLUMN_LOSS;
    dx[X] = cg_node_add1(
        g, &cg_op_softmax_cross_entropy_grad, &attr, 4,
        (cg_value *[]){n->in[X], n->in[ROW_LABEL + k], n->out[KEPT_ROW_LSE + k], dy[k]});
}

const cg_op cg_op_contrastive_cross_entropy = {
    .name = "contrastive_cross_entropy",
    .min_in = 3,
    .max_in = 3,
    .n_out = 4,
    .infer = infer,
    .vjp = vjp,
    .prepare = prepare,
    .run = run,
};

cg_contrastive_loss cg_contrastive_cross_entropy(cg_graph *g, cg_value *logits, cg_value *row_label,
                                                 cg_value *column_label) {
    cg_node *n = cg_node_add(g, &cg_op_contrastive_cross_entropy, NULL, 3,
                             (cg_value *[]){logits, row_label, column_label});
    if (!n) return (cg_contrastive_loss){0};
    return (cg_contrastive_loss){n->out[ROW_LOSS], n->out[COLUMN_LOSS], n->out[KEPT_ROW_LSE],
                                 n->out[KEPT_COLUMN_LSE]};
}

/* --- contrastive_cross_entropy_grad ----------------------------------------------------------- */

static cg_status grad_infer(const cg_node *n, cg_type *out) {
    static const char *const name[] = {"row_lse", "column_lse", "drow", "dcolumn"};
    CG_TRY(check(n));
    for (int i = ROW_LSE; i <= DCOLUMN; i++) {
        const cg_value *v = n->in[i], *label = n->in[(i - ROW_LSE) % 2 ? COLUMN_LABEL : ROW_LABEL];
        if (v->dtype != CG_F32 || !cg_shape_equal(&v->shape, &label->shape))
            return cg_error(CG_ESHAPE, "%s is not one f32 for each label", name[i - ROW_LSE]);
    }
    out[0] = (cg_type){CG_F32, n->in[X]->shape};
    return CG_OK;
}

/* Rows begin … end-1; dx may be x. */
CG_KERNEL static void rows_backward(const void *const *in, float *out, int64_t width, int64_t begin,
                                    int64_t end) {
    const int32_t *label = in[ROW_LABEL];
    const float *row_lse = in[ROW_LSE], *column_lse = in[COLUMN_LSE];
    const float *drow = in[DROW], *dcolumn = in[DCOLUMN];
    for (int64_t i = begin; i < end; i++) {
        const float *x = (const float *)in[X] + i * width;
        float *dx = out + i * width, d = drow[i], lse = row_lse[i];
#pragma omp simd
        for (int64_t j = 0; j < width; j++)
            dx[j] = d * cg_expf(x[j] - lse) + dcolumn[j] * cg_expf(x[j] - column_lse[j]);
        dx[label[i]] -= d;
    }
}

static cg_status grad_run(const cg_task *t) {
    const cg_shape *shape = &t->node->in[X]->shape;
    const int32_t *label = t->in[COLUMN_LABEL];
    const float *dcolumn = t->in[DCOLUMN];
    float *dx = t->out[0];
    int64_t height = shape->dim[0], width = shape->dim[1];
    CG_TRY(check_labels(t));
    int threads = height * width < CG_PARALLEL_MIN ? 1 : t->threads;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < threads; i++) {
        cg_range r = cg_range_of(height, i, threads);
        rows_backward(t->in, dx, width, r.begin, r.end);
    }
    for (int64_t j = 0; j < width; j++) dx[label[j] * width + j] -= dcolumn[j];
    return CG_OK;
}

const cg_op cg_op_contrastive_cross_entropy_grad = {
    .name = "contrastive_cross_entropy_grad",
    .min_in = 7,
    .max_in = 7,
    .n_out = 1,
    .infer = grad_infer,
    .run = grad_run,
    .inplace = 1u << X,
};
