#include "ops/elementwise.h"

#include "ops/bf16.h"
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

enum { TILE = 512 }; /* elements of a bf16 value that are f32 at a time, 2 KiB of them */

CG_KERNEL static void widen(const uint16_t *x, float *y, int64_t n) {
    cg_row_widen(x, 0, n, 1, y);
}

CG_KERNEL static void round_to(const float *x, uint16_t *y, int64_t n) {
    cg_row_narrow(y, 0, n, 1, x);
}

typedef struct element_job {
    const cg_task *t;
    cg_element_fn fn;
} element_job;

static void element_range(const void *arg, int64_t begin, int64_t end) {
    const element_job *job = arg;
    const cg_task *t = job->t;
    const cg_node *node = t->node;
    float buffer[2 * CG_ELEMENT_VALUES][TILE], *out[CG_ELEMENT_VALUES] = {NULL};
    const float *in[CG_ELEMENT_VALUES] = {NULL};
    int64_t step = cg_any_bf16(node) ? TILE : end - begin;
    for (int64_t at = begin; at < end; at += step) {
        int64_t n = end - at < step ? end - at : step;
        for (int i = 0; i < node->n_in; i++) {
            int bf16 = cg_is_bf16(node->in[i]);
            if (bf16) widen((const uint16_t *)t->in[i] + at, buffer[i], n);
            in[i] = bf16 ? buffer[i] : (const float *)t->in[i] + at;
        }
        for (int o = 0; o < node->n_out; o++)
            out[o] =
                cg_is_bf16(node->out[o]) ? buffer[CG_ELEMENT_VALUES + o] : (float *)t->out[o] + at;
        job->fn(t, in, out, n);
        for (int o = 0; o < node->n_out; o++)
            if (cg_is_bf16(node->out[o])) round_to(out[o], (uint16_t *)t->out[o] + at, n);
    }
}

void cg_run_elements(const cg_task *t, cg_element_fn fn) {
    element_job job = {t, fn};
    int64_t n = cg_shape_count(&t->node->out[0]->shape);
    cg_parallel(t->threads, n, CG_ELEMENT_GRAIN, n, element_range, &job);
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
    const cg_task *t;
    int64_t y_size, size[CG_WALK_OPERANDS]; /* bytes of an element */
    int any_bf16;
    cg_tile_fn fn;
} walk_job;

/* A tile some of whose values are bf16: by parts of rows. */
static void walk_tile_bf16(const walk_job *job, char *y, const char *const *in,
                           const cg_tile *tile) {
    const cg_node *node = job->t->node;
    float buffer[1 + CG_WALK_OPERANDS][TILE];
    int y_bf16 = cg_is_bf16(node->out[0]);
    for (int64_t k = 0; k < tile->rows * tile->n;) {
        int64_t r = k / tile->n, at = k % tile->n;
        cg_tile part = *tile;
        const void *from[CG_WALK_OPERANDS] = {NULL};
        part.rows = 1;
        part.n = tile->n - at < TILE ? tile->n - at : TILE;
        for (int i = 0; i < job->walk->operands; i++) {
            const char *x = in[i] + (r * tile->row[i] + at * tile->inner[i]) * job->size[i];
            int bf16 = cg_is_bf16(node->in[i]);
            if (bf16) widen((const uint16_t *)x, buffer[i], tile->inner[i] ? part.n : 1);
            from[i] = bf16 ? (const char *)buffer[i] : x;
        }
        float *to = y_bf16 ? buffer[CG_WALK_OPERANDS] : (float *)y + k;
        job->fn(to, from, &part);
        if (y_bf16) round_to(to, (uint16_t *)y + k, part.n);
        k += part.n;
    }
}

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
            in[i] = (const char *)job->t->in[i] + offset * job->size[i];
        }
        char *y = (char *)job->t->out[0] + pos * job->y_size;
        if (job->any_bf16)
            walk_tile_bf16(job, y, in, &tile);
        else
            job->fn(y, (const void *const *)in, &tile);
        pos += tile.rows * tile.n;
    }
}

void cg_walk_tiles(const cg_task *t, const cg_walk *w, cg_tile_fn fn) {
    const cg_value *y = t->node->out[0];
    walk_job job = {.walk = w, .t = t, .any_bf16 = cg_is_bf16(y), .fn = fn};
    job.y_size = (int64_t)cg_dtype_size(y->dtype);
    for (int i = 0; i < w->operands; i++) {
        job.size[i] = (int64_t)cg_dtype_size(t->node->in[i]->dtype);
        job.any_bf16 |= cg_is_bf16(t->node->in[i]);
    }
    int64_t n = cg_shape_count(&y->shape);
    cg_parallel(t->threads, n, CG_ELEMENT_GRAIN, n, walk_range, &job);
}

cg_status cg_binary_infer(const cg_node *n, cg_type *out) {
    const cg_value *a = n->in[0], *b = n->in[1];
    out->dtype = cg_is_bf16(a) ? CG_F32 : a->dtype;
    CG_TRY(out->dtype == CG_F32 ? cg_check_float(n, 1, "b") : cg_check_dtype(b, "b", out->dtype));
    return cg_shape_broadcast(&a->shape, &b->shape, &out->shape);
}

cg_status cg_broadcast_run(const cg_task *t, cg_tile_fn fn) {
    const cg_node *n = t->node;
    const cg_shape *shape[CG_WALK_OPERANDS] = {NULL};
    for (int i = 0; i < n->n_in; i++) shape[i] = &n->in[i]->shape;
    cg_walk w = cg_walk_broadcast(&n->out[0]->shape, n->n_in, shape);
    cg_walk_tiles(t, &w, fn);
    return CG_OK;
}

cg_status cg_unary_infer(const cg_node *n, cg_type *out) {
    CG_TRY(cg_check_float(n, 0, "x"));
    *out = (cg_type){CG_F32, n->in[0]->shape};
    return CG_OK;
}

cg_status cg_unary_grad_infer(const cg_node *n, cg_type *out) {
    CG_TRY(cg_check_float(n, 0, "operand 0"));
    CG_TRY(cg_check_float(n, 1, "dy"));
    CG_TRY(cg_check_same(n->in[0], "operand 0", n->in[1], "dy"));
    for (int o = 0; o < n->n_out; o++) out[o] = (cg_type){CG_F32, n->in[0]->shape};
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

void cg_convert(cg_dtype to_type, void *to, cg_dtype from_type, const void *from, int64_t n) {
    if (to_type == from_type)
        memcpy(to, from, (size_t)n * cg_dtype_size(to_type));
    else if (to_type == CG_BF16)
        round_to(from, to, n);
    else
        widen(from, to, n);
}

static void convert_range(const void *arg, int64_t begin, int64_t end) {
    const cg_rows *r = arg;
    for (int64_t i = begin; i < end; i++)
        cg_convert(
            r->to_type, (char *)r->to + i * r->to_stride * (int64_t)cg_dtype_size(r->to_type),
            r->from_type,
            (const char *)r->from + i * r->from_stride * (int64_t)cg_dtype_size(r->from_type),
            r->n);
}

void cg_convert_rows(int threads, const cg_rows *r) {
    size_t size = cg_dtype_size(r->to_type);
    if (r->to_type == r->from_type) {
        cg_copy_rows(threads, r->rows, (size_t)r->n * size, r->to, (size_t)r->to_stride * size,
                     r->from, (size_t)r->from_stride * size);
        return;
    }
    cg_rows part = *r;
    if (r->to_stride == r->n && r->from_stride == r->n) { /* one block, by pieces of it */
        int64_t piece = 4096, count = r->rows * r->n, rest = count % piece;
        part.n = part.to_stride = part.from_stride = piece;
        part.rows = count / piece;
        cg_parallel(threads, part.rows, 1, count, convert_range, &part);
        cg_convert(r->to_type, (char *)r->to + (size_t)(count - rest) * size, r->from_type,
                   (const char *)r->from + (size_t)(count - rest) * cg_dtype_size(r->from_type),
                   rest);
    } else
        cg_parallel(threads, r->rows, 1, r->rows * r->n, convert_range, &part);
}
