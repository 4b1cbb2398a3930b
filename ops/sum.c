/* sum: adds up over the axes listed; mean is a scale of it.
 * shapes  x [...] f32 or bf16 -> y: x without those axes, or with 1 in their place (keep)
 * vjp     dx = dy repeated along the axes
 * errors  CG_EDTYPE: x is not f32 or bf16. CG_EINVAL: no such axis, or one listed twice
 * onnx    ReduceSum
 *
 * The order of additions depends on the sizes only: columns and rows are cut into pieces of a
 * fixed length, one piece is one thread's, and the pieces' sums are added in order. */
#include "ops/bf16.h"
#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/ops.h"
#include "ops/reduce.h"

#include <string.h>

typedef struct cg_sum_attr {
    cg_shape axes;
    int64_t keep;
} cg_sum_attr;

static const cg_attr_field fields[] = {
    CG_ATTR(cg_sum_attr, axes, SHAPE), CG_ATTR(cg_sum_attr, keep, INT), {0}};

static unsigned axis_bits(const cg_node *n) {
    const cg_sum_attr *attr = n->attr;
    unsigned bits = 0;
    for (int i = 0; i < attr->axes.rank; i++) bits |= 1u << attr->axes.dim[i];
    return bits;
}

static cg_status infer(const cg_node *n, cg_type *out) {
    const cg_value *x = n->in[0];
    const cg_sum_attr *attr = n->attr;
    CG_TRY(cg_check_float(n, 0, "x"));
    if (attr->axes.rank < 0 || attr->axes.rank > CG_MAX_RANK)
        return cg_error(CG_EINVAL, "%d axes, wanted 0 to %d", attr->axes.rank, CG_MAX_RANK);
    unsigned seen = 0;
    for (int i = 0; i < attr->axes.rank; i++) {
        CG_TRY(cg_check_axis(attr->axes.dim[i], x));
        if (seen >> attr->axes.dim[i] & 1)
            return cg_error(CG_EINVAL, "axis %lld is listed twice", (long long)attr->axes.dim[i]);
        seen |= 1u << attr->axes.dim[i];
    }
    *out = (cg_type){.dtype = CG_F32};
    for (int d = 0; d < x->shape.rank; d++) {
        if (!(seen >> d & 1))
            out->shape.dim[out->shape.rank++] = x->shape.dim[d];
        else if (attr->keep)
            out->shape.dim[out->shape.rank++] = 1;
    }
    return CG_OK;
}

static void vjp(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx) {
    const cg_shape *x = &n->in[0]->shape;
    cg_shape kept = *x;
    unsigned reduced = axis_bits(n);
    for (int d = 0; d < x->rank; d++)
        if (reduced >> d & 1) kept.dim[d] = 1;
    dx[0] = cg_broadcast(g, cg_reshape(g, dy[0], kept), *x);
}

/* --- the forms it takes ----------------------------------------------------------------------- */

/* x's dimensions, without those of 1, neighbours merged that are alike. */
typedef struct groups {
    int n;
    int64_t dim[CG_MAX_RANK], stride[CG_MAX_RANK];
    int reduced[CG_MAX_RANK];
} groups;

static groups group(const cg_node *n) {
    const cg_shape *x = &n->in[0]->shape;
    unsigned bits = axis_bits(n);
    groups s = {0};
    for (int d = 0; d < x->rank; d++) {
        int reduced = bits >> d & 1;
        if (x->dim[d] == 1) continue;
        if (s.n > 0 && s.reduced[s.n - 1] == reduced) {
            s.dim[s.n - 1] *= x->dim[d];
        } else {
            s.dim[s.n] = x->dim[d];
            s.reduced[s.n++] = reduced;
        }
    }
    int64_t stride = 1;
    for (int i = s.n - 1; i >= 0; i--) {
        s.stride[i] = stride;
        stride *= s.dim[i];
    }
    return s;
}

/* [a, r, c] summed over r, in pieces of r. */
typedef enum form_kind { FORM_COPY, FORM_ROWS, FORM_COLUMNS, FORM_GENERAL } form_kind;
typedef struct form {
    form_kind kind;
    int64_t a, r, c, piece, pieces, column_blocks;
} form;

enum { ROW_PIECE = 16384, COLUMN_PIECE = 256, COLUMN_BLOCK = 256, MOST_PIECES = 256 };

static form form_of(const groups *s) {
    form f = {.kind = FORM_GENERAL, .a = 1, .r = 1, .c = 1};
    int i = 0;
    if (i < s->n && !s->reduced[i]) f.a = s->dim[i++];
    if (i < s->n && s->reduced[i]) f.r = s->dim[i++];
    if (i < s->n && !s->reduced[i]) f.c = s->dim[i++];
    if (i == s->n) f.kind = f.r == 1 ? FORM_COPY : f.c == 1 ? FORM_ROWS : FORM_COLUMNS;
    f.piece = f.c == 1 ? ROW_PIECE : COLUMN_PIECE;
    if (f.c > 1 && f.r > f.piece * MOST_PIECES) f.piece = (f.r + MOST_PIECES - 1) / MOST_PIECES;
    f.pieces = (f.r + f.piece - 1) / f.piece;
    f.column_blocks = (f.c + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
    return f;
}

static cg_status prepare(cg_prep *p) {
    static const char *const impl[] = {"copy", "rows", "columns", "general"};
    groups s = group(p->node);
    form f = form_of(&s);
    p->impl = impl[f.kind];
    if (f.pieces > 1 && f.kind == FORM_ROWS) p->scratch = (size_t)(f.a * f.pieces) * sizeof(double);
    if (f.pieces > 1 && f.kind == FORM_COLUMNS)
        p->scratch = (size_t)(f.a * f.pieces * f.c) * sizeof(float);
    return CG_OK;
}

/* --- kernels ---------------------------------------------------------------------------------- */

typedef struct job {
    form f;
    groups s;
    const void *x;
    int bf16; /* is x */
    void *partial;
    float *y;
} job;

static double vector_sum(const job *j, int64_t at, int64_t n) {
    return j->bf16 ? cg_vector_sum_bf16((const uint16_t *)j->x + at, n)
                   : cg_vector_sum((const float *)j->x + at, n);
}

static void rows(const void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    double *partial = j->partial;
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t at = unit % j->f.pieces * j->f.piece, left = j->f.r - at;
        double sum =
            vector_sum(j, unit / j->f.pieces * j->f.r + at, left < j->f.piece ? left : j->f.piece);
        if (j->f.pieces > 1)
            partial[unit] = sum;
        else
            j->y[unit] = (float)sum;
    }
}

static void run_rows(const cg_task *t, job *j) {
    const double *partial = j->partial;
    cg_parallel(t->threads, j->f.a * j->f.pieces, 1, j->f.a * j->f.r, rows, j);
    for (int64_t a = 0; j->f.pieces > 1 && a < j->f.a; a++) {
        double sum = 0;
        for (int64_t i = 0; i < j->f.pieces; i++) sum += partial[a * j->f.pieces + i];
        j->y[a] = (float)sum;
    }
}

/* Unit: (a, piece, block of columns). */
static void columns(const void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    const form *f = &j->f;
    float *to = f->pieces > 1 ? (float *)j->partial : j->y;
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t c = unit % f->column_blocks * COLUMN_BLOCK, rest = unit / f->column_blocks;
        int64_t r = rest % f->pieces * f->piece, a = rest / f->pieces;
        int64_t n = f->r - r < f->piece ? f->r - r : f->piece;
        int64_t width = f->c - c < COLUMN_BLOCK ? f->c - c : COLUMN_BLOCK;
        int64_t at = (a * f->r + r) * f->c + c;
        if (j->bf16)
            cg_column_sum_bf16((const uint16_t *)j->x + at, n, width, f->c, to + rest * f->c + c);
        else
            cg_column_sum((const float *)j->x + at, n, width, f->c, to + rest * f->c + c);
    }
}

/* Unit: (a, block of columns) of the pieces' sums. */
static void column_pieces(const void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    const form *f = &j->f;
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t c = unit % f->column_blocks * COLUMN_BLOCK, a = unit / f->column_blocks;
        int64_t width = f->c - c < COLUMN_BLOCK ? f->c - c : COLUMN_BLOCK;
        cg_column_sum((const float *)j->partial + a * f->pieces * f->c + c, f->pieces, width, f->c,
                      j->y + a * f->c + c);
    }
}

static void run_columns(const cg_task *t, job *j) {
    const form *f = &j->f;
    cg_parallel(t->threads, f->a * f->pieces * f->column_blocks, 1, f->a * f->r * f->c, columns, j);
    if (f->pieces > 1)
        cg_parallel(t->threads, f->a * f->column_blocks, 1, f->a * f->pieces * f->c, column_pieces,
                    j);
}

/* The offset of item i in the dimensions that are reduced, or kept; `skip` of them at the end are
 * left out. */
static int64_t offset_of(const groups *s, int reduced, int64_t i, int skip) {
    int64_t offset = 0;
    for (int d = s->n - 1; d >= 0; d--) {
        if (s->reduced[d] != reduced || skip-- > 0) continue;
        offset += i % s->dim[d] * s->stride[d];
        i /= s->dim[d];
    }
    return offset;
}

static void general(const void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    const groups *s = &j->s;
    int last = s->reduced[s->n - 1] ? s->n - 1 : s->n - 2; /* of those reduced */
    int64_t outer = 1, n = s->dim[last], stride = s->stride[last];
    for (int d = 0; d < last; d++) outer *= s->reduced[d] ? s->dim[d] : 1;
    for (int64_t i = begin; i < end; i++) {
        int64_t x = offset_of(s, 0, i, 0);
        double sum = 0;
        for (int64_t o = 0; o < outer; o++) {
            int64_t from = x + offset_of(s, 1, o, 1);
            if (stride == 1)
                sum += vector_sum(j, from, n);
            else
                for (int64_t k = 0; k < n; k++)
                    sum += (double)cg_load(j->x, from + k * stride, j->bf16);
        }
        j->y[i] = (float)sum;
    }
}

static cg_status run(const cg_task *t) {
    int64_t count = cg_shape_count(&t->node->in[0]->shape);
    int64_t kept = cg_shape_count(&t->node->out[0]->shape);
    job j = {.s = group(t->node),
             .x = t->in[0],
             .bf16 = cg_is_bf16(t->node->in[0]),
             .partial = t->scratch,
             .y = t->out[0]};
    j.f = form_of(&j.s);
    size_t bytes = (size_t)kept * sizeof(float);
    if (count == 0)
        memset(t->out[0], 0, bytes);
    else if (j.f.kind == FORM_COPY)
        cg_convert_rows(t->threads, &(cg_rows){.to_type = CG_F32,
                                               .from_type = t->node->in[0]->dtype,
                                               .rows = 1,
                                               .n = kept,
                                               .to_stride = kept,
                                               .from_stride = kept,
                                               .to = t->out[0],
                                               .from = t->in[0]});
    else if (j.f.kind == FORM_ROWS)
        run_rows(t, &j);
    else if (j.f.kind == FORM_COLUMNS)
        run_columns(t, &j);
    else
        cg_parallel(t->threads, kept, 1, count, general, &j);
    return CG_OK;
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    const cg_sum_attr *attr = n->attr;
    cg_onnx_ref *x = cg_onnx_value(s, n->in[0]);
    return cg_onnx_give(s, n->out[0],
                        cg_onnx_reduce(s, "ReduceSum", x, attr->axes, attr->keep != 0));
}

const cg_op cg_op_sum = {
    .name = "sum",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .attr_size = sizeof(cg_sum_attr),
    .attr = fields,
    .infer = infer,
    .vjp = vjp,
    .prepare = prepare,
    .run = run,
    .onnx = onnx,
    .bf16_in = 1,
};

cg_value *cg_sum(cg_graph *g, cg_value *x, cg_shape axes, int keep) {
    cg_sum_attr attr = {axes, keep != 0};
    return cg_node_add1(g, &cg_op_sum, &attr, 1, &x);
}

cg_value *cg_mean(cg_graph *g, cg_value *x, cg_shape axes, int keep) {
    cg_value *sum = cg_sum(g, x, axes, keep);
    if (!sum) return NULL;
    double count = 1;
    for (int i = 0; i < axes.rank; i++) count *= (double)x->shape.dim[axes.dim[i]];
    return cg_scale(g, sum, (float)(1 / count));
}
