/* The sink of ONNX export, as ops see it: what an op of ours becomes there stands in the op's own
 * file, in terms of the functions below; serialize/onnx implements them, and no op knows of files.
 *
 *     static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
 *         cg_onnx_ref *x = cg_onnx_rows(s, cg_onnx_value(s, n->in[0]));
 *         cg_onnx_node call = {"Softmax", 1, {x}, {CG_ONNX_INT("axis", -1)}};
 *         return cg_onnx_give(s, n->out[0], cg_onnx_like(s, &call, x));
 *     }
 *
 * A tensor of the file need not look like the value that it holds: pictures may be [N, C, H, W]
 * where our graph has [N, H, W, C], rows of tokens [batch, tokens, width] where it has
 * [batch · tokens, width], and what is repeated for a batch may be there once. Functions that care
 * ask for a form (rows, pictures, plain); all else takes a tensor as it is. So permutations and
 * reshapes stand in the file where something needs them, and not in pairs around each op.
 *
 * Sizes are symbolic: factor · images^a · texts^b · tokens^c. After a failure functions return
 * NULL, and take NULL; the first error stays with the sink and is what cg_onnx_give returns. */
#ifndef CG_ONNX_H
#define CG_ONNX_H

#include "graph/graph.h"

CG_API_BEGIN

typedef struct cg_onnx_sink cg_onnx_sink;
typedef struct cg_onnx_ref cg_onnx_ref; /* owned by the sink */

enum { CG_ONNX_SYMBOLS = 3, CG_ONNX_IN = 6, CG_ONNX_ATTR = 8, CG_ONNX_RANK = 10 };

/* A dimension: factor · Π symbol_i ^ power_i. */
typedef struct cg_onnx_size {
    int64_t factor;
    int8_t power[CG_ONNX_SYMBOLS];
} cg_onnx_size;

typedef enum cg_onnx_attr_kind {
    CG_ONNX_ATTR_INT,
    CG_ONNX_ATTR_FLOAT,
    CG_ONNX_ATTR_INTS,
    CG_ONNX_ATTR_TEXT,
} cg_onnx_attr_kind;

typedef struct cg_onnx_attr {
    const char *name;
    cg_onnx_attr_kind kind;
    int64_t i;
    float f;
    const char *text;
    cg_shape ints;
} cg_onnx_attr;

#define CG_ONNX_INT(key, x)                                                                        \
    { .name = (key), .kind = CG_ONNX_ATTR_INT, .i = (x) }
#define CG_ONNX_FLOAT(key, x)                                                                      \
    { .name = (key), .kind = CG_ONNX_ATTR_FLOAT, .f = (x) }
#define CG_ONNX_INTS(key, ...)                                                                     \
    { .name = (key), .kind = CG_ONNX_ATTR_INTS, .ints = CG_SHAPE(__VA_ARGS__) }
#define CG_ONNX_TEXT(key, x)                                                                       \
    { .name = (key), .kind = CG_ONNX_ATTR_TEXT, .text = (x) }

/* A node of the file, with one result; attributes end with a NULL name. */
typedef struct cg_onnx_node {
    const char *op;
    int n_in;
    cg_onnx_ref *in[CG_ONNX_IN];
    cg_onnx_attr attr[CG_ONNX_ATTR];
} cg_onnx_node;

/* What an exporter implements; ops call the functions below. */
typedef struct cg_onnx_calls {
    cg_onnx_ref *(*value)(cg_onnx_sink *s, const cg_value *v);
    cg_status (*give)(cg_onnx_sink *s, const cg_value *v, cg_onnx_ref *t);
    cg_status (*give_rows)(cg_onnx_sink *s, const cg_value *v, cg_onnx_ref *within,
                           cg_onnx_size length);
    cg_onnx_ref *(*like)(cg_onnx_sink *s, const cg_onnx_node *n, cg_onnx_ref *like);
    cg_onnx_ref *(*make)(cg_onnx_sink *s, const cg_onnx_node *n, int rank,
                         const cg_onnx_size *size);
    cg_onnx_ref *(*pictures_made)(cg_onnx_sink *s, const cg_onnx_node *n, const cg_value *out);
    cg_onnx_ref *(*binary)(cg_onnx_sink *s, const char *op, cg_onnx_ref *a, cg_onnx_ref *b);
    cg_onnx_ref *(*product)(cg_onnx_sink *s, cg_onnx_ref *x, cg_onnx_ref *matrix);
    cg_status (*split)(cg_onnx_sink *s, cg_onnx_ref *t, int n, cg_onnx_ref **part);
    cg_onnx_ref *(*reduce)(cg_onnx_sink *s, const char *op, cg_onnx_ref *t, const cg_shape *axes,
                           int keep);
    cg_onnx_ref *(*gather)(cg_onnx_sink *s, const cg_value *table, const cg_value *index);
    cg_onnx_ref *(*plain)(cg_onnx_sink *s, cg_onnx_ref *t);
    cg_onnx_ref *(*rows)(cg_onnx_sink *s, cg_onnx_ref *t);
    cg_onnx_ref *(*pictures)(cg_onnx_sink *s, cg_onnx_ref *t);
    cg_onnx_ref *(*reshape)(cg_onnx_sink *s, cg_onnx_ref *t, int rank, const cg_onnx_size *size);
    cg_onnx_ref *(*transpose)(cg_onnx_sink *s, cg_onnx_ref *t, const cg_shape *axes);
    cg_onnx_ref *(*repeat)(cg_onnx_sink *s, cg_onnx_ref *t, int rank, const cg_onnx_size *size);
    cg_onnx_ref *(*constant)(cg_onnx_sink *s, cg_dtype dtype, const cg_shape *shape,
                             const void *data);
    cg_onnx_ref *(*range)(cg_onnx_sink *s, cg_onnx_size n);
    cg_onnx_ref *(*within)(cg_onnx_sink *s, const cg_value *row, cg_onnx_size length);
    int (*segments)(cg_onnx_sink *s, const cg_value *offset, cg_onnx_size *count,
                    cg_onnx_size *length);
    cg_onnx_size (*size)(cg_onnx_sink *s, const cg_value *v, int axis);
    cg_onnx_ref *(*fail)(cg_onnx_sink *s, cg_status code);
} cg_onnx_calls;

struct cg_onnx_sink {
    const cg_onnx_calls *call;
    int opset; /* of the file: 17 or later */
};

/* --- values of our graph ---------------------------------------------------------------------- */

/* The tensor that holds a value: an operand, always there when its reader is exported. */
static inline cg_onnx_ref *cg_onnx_value(cg_onnx_sink *s, const cg_value *v) {
    return s->call->value(s, v);
}

/* t holds v from here on. */
static inline cg_status cg_onnx_give(cg_onnx_sink *s, const cg_value *v, cg_onnx_ref *t) {
    return s->call->give(s, v, t);
}

/* v, i32 [S], is one row of each of S segments of `length` rows; within, i64 [S], its place in the
 * segment. */
static inline cg_status cg_onnx_give_rows(cg_onnx_sink *s, const cg_value *v, cg_onnx_ref *within,
                                          cg_onnx_size length) {
    return s->call->give_rows(s, v, within, length);
}

/* The other way: the places [S] in segments of that length, of a value that holds rows. */
static inline cg_onnx_ref *cg_onnx_within(cg_onnx_sink *s, const cg_value *row,
                                          cg_onnx_size length) {
    return s->call->within(s, row, length);
}

/* Segments of equal length, as offsets of a uniform batch have them; others are an error. Returns
 * whether it is so. */
static inline int cg_onnx_segments(cg_onnx_sink *s, const cg_value *offset, cg_onnx_size *count,
                                   cg_onnx_size *length) {
    return s->call->segments(s, offset, count, length);
}

/* A dimension of a value. */
static inline cg_onnx_size cg_onnx_size_of(cg_onnx_sink *s, const cg_value *v, int axis) {
    return s->call->size(s, v, axis);
}

cg_onnx_size cg_onnx_fixed(int64_t n);
int cg_onnx_is(cg_onnx_size a, int64_t n); /* is a that number? */
cg_onnx_size cg_onnx_times(cg_onnx_size a, cg_onnx_size b);

/* --- nodes ------------------------------------------------------------------------------------ */

/* Appends a node whose result has the dimensions of `like`, one of its operands; or, plainly, those
 * given; or a picture's, as [N, C, H, W], of our value `out`. Operands go in as they are. */
static inline cg_onnx_ref *cg_onnx_like(cg_onnx_sink *s, const cg_onnx_node *n, cg_onnx_ref *like) {
    return s->call->like(s, n, like);
}
static inline cg_onnx_ref *cg_onnx_make(cg_onnx_sink *s, const cg_onnx_node *n, int rank,
                                        const cg_onnx_size *size) {
    return s->call->make(s, n, rank, size);
}
static inline cg_onnx_ref *cg_onnx_make_pictures(cg_onnx_sink *s, const cg_onnx_node *n,
                                                 const cg_value *out) {
    return s->call->pictures_made(s, n, out);
}

/* y = op(x), element by element. */
cg_onnx_ref *cg_onnx_unary(cg_onnx_sink *s, const char *op, cg_onnx_ref *x);

/* y = op(a, b), element by element, broadcast; the operands are brought into one form. */
static inline cg_onnx_ref *cg_onnx_binary(cg_onnx_sink *s, const char *op, cg_onnx_ref *a,
                                          cg_onnx_ref *b) {
    return s->call->binary(s, op, a, b);
}

/* Rows x [..., K] times a matrix [K, N]: [..., N]. */
static inline cg_onnx_ref *cg_onnx_product(cg_onnx_sink *s, cg_onnx_ref *x, cg_onnx_ref *matrix) {
    return s->call->product(s, x, matrix);
}

/* Cuts the last axis of rows into n equal parts. */
static inline cg_status cg_onnx_split_rows(cg_onnx_sink *s, cg_onnx_ref *t, int n,
                                           cg_onnx_ref **part) {
    return s->call->split(s, t, n, part);
}

/* ReduceSum, ReduceMean, … over axes of the value that t holds. */
static inline cg_onnx_ref *cg_onnx_reduce(cg_onnx_sink *s, const char *op, cg_onnx_ref *t,
                                          cg_shape axes, int keep) {
    return s->call->reduce(s, op, t, &axes, keep);
}

/* Rows of a table [V, D] by number, or one row of each segment. */
static inline cg_onnx_ref *cg_onnx_gather(cg_onnx_sink *s, const cg_value *table,
                                          const cg_value *index) {
    return s->call->gather(s, table, index);
}

/* --- forms ------------------------------------------------------------------------------------ */

/* Just as the value is; the last axis last and whole; [N, C, H, W] of a picture [N, H, W, C]. */
static inline cg_onnx_ref *cg_onnx_plain(cg_onnx_sink *s, cg_onnx_ref *t) {
    return s->call->plain(s, t);
}
static inline cg_onnx_ref *cg_onnx_rows(cg_onnx_sink *s, cg_onnx_ref *t) {
    return s->call->rows(s, t);
}
static inline cg_onnx_ref *cg_onnx_pictures(cg_onnx_sink *s, cg_onnx_ref *t) {
    return s->call->pictures(s, t);
}

/* The same elements under another shape; permuted; repeated. Nodes are made where it must be. */
static inline cg_onnx_ref *cg_onnx_reshape(cg_onnx_sink *s, cg_onnx_ref *t, int rank,
                                           const cg_onnx_size *size) {
    return s->call->reshape(s, t, rank, size);
}
static inline cg_onnx_ref *cg_onnx_transpose(cg_onnx_sink *s, cg_onnx_ref *t, cg_shape axes) {
    return s->call->transpose(s, t, &axes);
}
static inline cg_onnx_ref *cg_onnx_repeat(cg_onnx_sink *s, cg_onnx_ref *t, int rank,
                                          const cg_onnx_size *size) {
    return s->call->repeat(s, t, rank, size);
}

/* --- constants -------------------------------------------------------------------------------- */

cg_onnx_ref *cg_onnx_scalar(cg_onnx_sink *s, float x);
cg_onnx_ref *cg_onnx_integer(cg_onnx_sink *s, int64_t x);
cg_onnx_ref *cg_onnx_integers(cg_onnx_sink *s, int64_t n, const int64_t *x);

/* 0 … n-1, i64 [n]. */
static inline cg_onnx_ref *cg_onnx_range(cg_onnx_sink *s, cg_onnx_size n) {
    return s->call->range(s, n);
}

/* Keeps an error whose sentence is the thread's; returns NULL. */
static inline cg_onnx_ref *cg_onnx_fail(cg_onnx_sink *s, cg_status code) {
    return s->call->fail(s, code);
}

CG_API_END

#endif
