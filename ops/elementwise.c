#include "ops/elementwise.h"

#include "ops/check.h"

#include <string.h>

void cg_parallel(int threads, int64_t items, int64_t grain, int64_t elements, cg_range_fn fn,
                 const void *arg) {
    if (items <= 0) return;
    int64_t grains = (items + grain - 1) / grain;
    if (threads > grains) threads = (int)grains;
    if (threads <= 1 || elements < CG_PARALLEL_MIN) {
        fn(arg, 0, items);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int i = 0; i < threads; i++) {
        cg_range r = cg_range_of(grains, i, threads);
        int64_t end = r.end * grain;
        fn(arg, r.begin * grain, end < items ? end : items);
    }
}

void cg_parallel_elements(const cg_task *t, cg_range_fn fn) {
    int64_t n = cg_shape_count(&t->node->out[0]->shape);
    cg_parallel(t->threads, n, CG_ELEMENT_GRAIN, n, fn, t);
}

/* Appends a dimension, or merges it into the one before where all strides allow it. */
static void walk_push(cg_walk *w, int64_t dim, const int64_t *stride) {
    if (dim == 1) return;
    int last = w->rank - 1, merge = w->rank > 0;
    for (int i = 0; merge && i < w->operands; i++) merge = w->stride[i][last] == stride[i] * dim;
    if (merge) {
        w->dim[last] *= dim;
    } else {
        last = w->rank++;
        w->dim[last] = dim;
    }
    for (int i = 0; i < w->operands; i++) w->stride[i][last] = stride[i];
}

/* Dimensions of 1 in front until there are rows and columns. */
static void walk_pad(cg_walk *w) {
    while (w->rank < 2) {
        for (int d = w->rank; d > 0; d--) {
            w->dim[d] = w->dim[d - 1];
            for (int i = 0; i < w->operands; i++) w->stride[i][d] = w->stride[i][d - 1];
        }
        w->dim[0] = 1;
        /* A stride of 1 for the columns of a scalar; rows of which there is one need none. */
        for (int i = 0; i < w->operands; i++) w->stride[i][0] = w->rank == 0;
        w->rank++;
    }
}

cg_walk cg_walk_broadcast(const cg_shape *out, int operands, const cg_shape *const *shape) {
    cg_walk w = {.operands = operands};
    int64_t stride[CG_MAX_RANK][CG_WALK_OPERANDS] = {{0}};
    for (int i = 0; i < operands; i++) {
        int64_t step = 1;
        for (int d = shape[i]->rank - 1; d >= 0; d--) {
            int64_t dim = shape[i]->dim[d];
            stride[d + out->rank - shape[i]->rank][i] = dim == 1 ? 0 : step;
            step *= dim;
        }
    }
    for (int d = 0; d < out->rank; d++) walk_push(&w, out->dim[d], stride[d]);
    walk_pad(&w);
    return w;
}

cg_walk cg_walk_strided(const cg_shape *out, const int64_t *stride) {
    cg_walk w = {.operands = 1};
    for (int d = 0; d < out->rank; d++) walk_push(&w, out->dim[d], &stride[d]);
    walk_pad(&w);
    return w;
}

int64_t cg_walk_offset(const cg_walk *w, int operand, int64_t row) {
    int64_t offset = 0;
    for (int d = w->rank - 2; d >= 0; d--) {
        offset += row % w->dim[d] * w->stride[operand][d];
        row /= w->dim[d];
    }
    return offset;
}

typedef struct walk_job {
    const cg_walk *walk;
    size_t element;
    char *y;
    const char *in[CG_WALK_OPERANDS];
    cg_tile_fn fn;
} walk_job;

static void walk_range(const void *arg, int64_t pos, int64_t end) {
    const walk_job *job = arg;
    const cg_walk *w = job->walk;
    int64_t columns = w->dim[w->rank - 1], rows = w->dim[w->rank - 2];
    cg_tile tile;
    for (int i = 0; i < w->operands; i++) {
        tile.row[i] = w->stride[i][w->rank - 2];
        tile.inner[i] = w->stride[i][w->rank - 1];
    }
    while (pos < end) {
        int64_t row = pos / columns, column = pos % columns;
        if (column != 0 || end - pos < columns) { /* a part of a row */
            tile.rows = 1;
            tile.n = columns - column < end - pos ? columns - column : end - pos;
        } else {
            int64_t left = rows - row % rows, full = (end - pos) / columns;
            tile.rows = left < full ? left : full;
            tile.n = columns;
        }
        const char *in[CG_WALK_OPERANDS] = {NULL};
        for (int i = 0; i < w->operands; i++) {
            int64_t offset = cg_walk_offset(w, i, row) + column * tile.inner[i];
            in[i] = job->in[i] + offset * (int64_t)job->element;
        }
        job->fn(job->y + pos * (int64_t)job->element, in[0], in[1], &tile);
        pos += tile.rows * tile.n;
    }
}

void cg_walk_tiles(int threads, const cg_walk *w, size_t element, void *y, const void *a,
                   const void *b, cg_tile_fn fn) {
    int64_t n = 1;
    for (int d = 0; d < w->rank; d++) n *= w->dim[d];
    walk_job job = {w, element, y, {a, b}, fn};
    cg_parallel(threads, n, CG_ELEMENT_GRAIN, n, walk_range, &job);
}

cg_status cg_binary_infer(const cg_node *n, cg_type *out) {
    const cg_value *a = n->in[0], *b = n->in[1];
    CG_TRY(cg_check_dtype(b, "b", a->dtype));
    out->dtype = a->dtype;
    return cg_shape_broadcast(&a->shape, &b->shape, &out->shape);
}

cg_status cg_binary_run(const cg_task *t, cg_tile_fn fn) {
    const cg_value *y = t->node->out[0];
    const cg_shape *shape[] = {&t->node->in[0]->shape, &t->node->in[1]->shape};
    cg_walk w = cg_walk_broadcast(&y->shape, 2, shape);
    cg_walk_tiles(t->threads, &w, cg_dtype_size(y->dtype), t->out[0], t->in[0], t->in[1], fn);
    return CG_OK;
}

cg_status cg_unary_infer(const cg_node *n, cg_type *out) {
    CG_TRY(cg_check_dtype(n->in[0], "x", CG_F32));
    *out = (cg_type){CG_F32, n->in[0]->shape};
    return CG_OK;
}

cg_status cg_unary_grad_infer(const cg_node *n, cg_type *out) {
    CG_TRY(cg_check_dtype(n->in[0], "operand 0", CG_F32));
    CG_TRY(cg_check_dtype(n->in[1], "dy", CG_F32));
    CG_TRY(cg_check_same(n->in[0], "operand 0", n->in[1], "dy"));
    *out = (cg_type){CG_F32, n->in[0]->shape};
    return CG_OK;
}

static void zero_range(const void *arg, int64_t begin, int64_t end) {
    memset(*(char *const *)arg + begin, 0, (size_t)(end - begin));
}

void cg_zero(int threads, void *to, size_t bytes) {
    char *at = to;
    cg_parallel(threads, (int64_t)bytes, 4096, (int64_t)bytes / 4, zero_range, &at);
}

typedef struct copy_job {
    size_t row_bytes, to_stride, from_stride;
    char *to;
    const char *from;
} copy_job;

static void copy_range(const void *arg, int64_t begin, int64_t end) {
    const copy_job *job = arg;
    for (int64_t r = begin; r < end; r++)
        memcpy(job->to + (size_t)r * job->to_stride, job->from + (size_t)r * job->from_stride,
               job->row_bytes);
}

static void copy_bytes(const void *arg, int64_t begin, int64_t end) {
    const copy_job *job = arg;
    memcpy(job->to + begin, job->from + begin, (size_t)(end - begin));
}

void cg_copy_rows(int threads, int64_t rows, size_t row_bytes, void *to, size_t to_stride,
                  const void *from, size_t from_stride) {
    if (rows <= 0 || row_bytes == 0) return;
    int64_t elements = rows * (int64_t)row_bytes / 4;
    copy_job job = {row_bytes, to_stride, from_stride, to, from};
    if (row_bytes == to_stride && row_bytes == from_stride) /* one block */
        cg_parallel(threads, rows * (int64_t)row_bytes, 4096, elements, copy_bytes, &job);
    else
        cg_parallel(threads, rows, 1, elements, copy_range, &job);
}
