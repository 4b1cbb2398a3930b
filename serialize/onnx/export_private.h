/* What the files of the ONNX exporter share. Only for them. */
#ifndef CG_ONNX_EXPORT_PRIVATE_H
#define CG_ONNX_EXPORT_PRIVATE_H

#include "graph/arena.h"
#include "graph/context.h"
#include "graph/file.h"
#include "graph/onnx.h"
#include "ops/ops.h"
#include "serialize/onnx/export.h"

#include "onnx/onnx.pb-c.h"

/* One dimension of a tensor in the file, a part of an axis of the value that it holds. */
typedef enum cg_onnx_presence {
    CG_ONNX_WHOLE,  /* all of it is there */
    CG_ONNX_ONCE,   /* a 1 stands for it, to be repeated */
    CG_ONNX_ABSENT, /* the same, and in front of all others the 1 is left out */
} cg_onnx_presence;

typedef struct cg_onnx_dim {
    cg_onnx_size size;
    int axis;
    cg_onnx_presence repeat;
} cg_onnx_dim;

/* The dimensions stand in the file's order; parts of one axis follow one another. */
struct cg_onnx_ref {
    const char *name; /* in the file; NULL: not in it yet, of what is known at export */
    int rank;         /* of the value */
    int n;
    cg_onnx_dim dim[CG_ONNX_RANK];
    cg_onnx_size
        within; /* rows of sequences of this length, by their places in them; factor 0: no */
    int counts; /* 0, 1, 2, …, made when wanted */

    /* Known at export: of a value of our graph, or given bytes. The numbers lie as `from` says, and
     * the file's dimension i is their dimension order[i]; permuted: order is not 0, 1, 2, … */
    const cg_value *value;
    const void *data;
    cg_dtype dtype;
    int n_from, permuted;
    int64_t from[CG_ONNX_RANK];
    int order[CG_ONNX_RANK];
};

/* A tensor that the file stores. */
typedef struct cg_onnx_initializer cg_onnx_initializer;
struct cg_onnx_initializer {
    const char *name;
    const char *read_as;  /* what nodes read: the same, widened where it is stored in half */
    const cg_onnx_ref *t; /* where its numbers come from */
    cg_dtype stored;      /* as which type */
    int rank;
    int64_t dim[CG_ONNX_RANK];
    size_t bytes; /* stored */
    cg_onnx_initializer *next;
};

/* A table of words: names taken, and what has been made already. */
typedef struct cg_onnx_entry {
    const char *key;
    void *data;
} cg_onnx_entry;

typedef struct cg_onnx_table {
    cg_onnx_entry *entry;
    size_t count, capacity; /* a power of 2 */
} cg_onnx_table;

enum { CG_ONNX_GRAPHS = CG_ONNX_SYMBOLS + 1 };

/* What is dynamic: a symbol's size in the first graph, and in the graph where it is another. */
typedef struct cg_onnx_symbol {
    const char *name; /* NULL: there is none */
    int64_t base, other;
    cg_graph *graph; /* with `other` in place of `base`, all else the same */
    cg_onnx_ref *input;
    int axis; /* of the input in the file: its size is known from there */
} cg_onnx_symbol;

/* An export under way. */
typedef struct cg_onnx_export {
    cg_onnx_sink sink;
    cg_context *ctx;
    cg_arena arena;
    cg_graph *graph; /* the first one, which is walked */
    cg_onnx_symbol symbol[CG_ONNX_SYMBOLS];
    int optimize;
    cg_dtype weights; /* as which type matrices are stored */
    cg_onnx_ref **held;
    char *known; /* of each value: bit 0: from parameters and constants alone; bit 1: from constants
                    alone; bit 2: and the same whatever the symbols */
    const char *path; /* of the node under way, from which names are made */
    cg_onnx_table names, made;
    CgOnnx__NodeProto **node;
    size_t n_node, cap_node;
    CgOnnx__ValueInfoProto *input[8], *output[8];
    size_t n_input, n_output;
    const cg_onnx_ref *prepared; /* pictures, that are prepared inside; or NULL */
    const char *inner;           /* the graph's output that has a name in the file and is none of
                                    its outputs; or NULL */
    cg_onnx_initializer *first, **last;
    cg_status status;
    char message[1024];
} cg_onnx_export;

enum { CG_ONNX_KNOWN = 1, CG_ONNX_CONSTANT = 2, CG_ONNX_SAME = 4 };

/* --- export_sizes.c --------------------------------------------------------------------------- */

/* Compares the graphs node by node and fills known[]. errors  CG_EUNSUPPORTED names a node */
cg_status cg_onnx_compare(cg_onnx_export *x);

/* The size that is n[0] in the first graph and n[i + 1] in symbol i's. Returns whether there is
 * one.
 */
int cg_onnx_solve(const cg_onnx_export *x, const int64_t n[CG_ONNX_GRAPHS], cg_onnx_size *out);
int64_t cg_onnx_number(const cg_onnx_export *x, cg_onnx_size size); /* in the first graph */
int cg_onnx_same(cg_onnx_size a, cg_onnx_size b);
int cg_onnx_is_fixed(cg_onnx_size a);
/* a / b, where that is a size; else returns 0. */
int cg_onnx_over(cg_onnx_size a, cg_onnx_size b, cg_onnx_size *out);

/* A value of constants alone that is start, start + step, … in every graph. */
typedef struct cg_onnx_progression {
    int64_t count[CG_ONNX_GRAPHS], start[CG_ONNX_GRAPHS], step[CG_ONNX_GRAPHS];
} cg_onnx_progression;
int cg_onnx_find_progression(cg_onnx_export *x, const cg_value *v, cg_onnx_progression *out);

/* --- export_evaluate.c ------------------------------------------------------------------------ */

/* The numbers of a value that depends on parameters and constants alone; the caller frees them. */
cg_status cg_onnx_evaluate(cg_context *ctx, const cg_graph *g, const cg_value *v, void **out);

/* An initializer's bytes, piece by piece: sink(arg, data, bytes) is called in order. */
typedef cg_status (*cg_onnx_write_fn)(void *arg, const void *data, size_t bytes);
cg_status cg_onnx_produce(const cg_onnx_export *x, const cg_onnx_initializer *i,
                          cg_onnx_write_fn write, void *arg);

/* --- export_form.c ---------------------------------------------------------------------------- */

cg_onnx_ref *cg_onnx_copy(cg_onnx_export *x, const cg_onnx_ref *t);
cg_onnx_size cg_onnx_axis_size(const cg_onnx_ref *t, int axis);
cg_onnx_ref *cg_onnx_form_plain(cg_onnx_sink *s, cg_onnx_ref *t);
cg_onnx_ref *cg_onnx_form_rows(cg_onnx_sink *s, cg_onnx_ref *t);
cg_onnx_ref *cg_onnx_form_pictures(cg_onnx_sink *s, cg_onnx_ref *t);
cg_onnx_ref *cg_onnx_form_reshape(cg_onnx_sink *s, cg_onnx_ref *t, int rank,
                                  const cg_onnx_size *size);
cg_onnx_ref *cg_onnx_form_transpose(cg_onnx_sink *s, cg_onnx_ref *t, const cg_shape *axes);
cg_onnx_ref *cg_onnx_form_repeat(cg_onnx_sink *s, cg_onnx_ref *t, int rank,
                                 const cg_onnx_size *size);
/* Nothing is repeated any more; axes stand in order. */
cg_onnx_ref *cg_onnx_expand(cg_onnx_export *x, cg_onnx_ref *t);
cg_onnx_ref *cg_onnx_order(cg_onnx_export *x, cg_onnx_ref *t);
/* The same elements in the file's dimensions dim[n]; axes as they say. */
cg_onnx_ref *cg_onnx_redim(cg_onnx_export *x, cg_onnx_ref *t, int n, const cg_onnx_dim *dim);
/* Sizes as a tensor i64 [n]. */
cg_onnx_ref *cg_onnx_shape_tensor(cg_onnx_export *x, int n, const cg_onnx_size *size);
cg_onnx_ref *cg_onnx_symbol_tensor(cg_onnx_export *x, int symbol); /* i64 [1] */

/* --- export_elementwise.c --------------------------------------------------------------------- */

cg_onnx_ref *cg_onnx_form_binary(cg_onnx_sink *s, const char *op, cg_onnx_ref *a, cg_onnx_ref *b);
cg_onnx_ref *cg_onnx_form_reduce(cg_onnx_sink *s, const char *op, cg_onnx_ref *t,
                                 const cg_shape *axes, int keep);
cg_onnx_ref *cg_onnx_form_product(cg_onnx_sink *s, cg_onnx_ref *a, cg_onnx_ref *matrix);

/* --- export_rows.c: row numbers, sequences, gathering ----------------------------------------- */

cg_onnx_ref *cg_onnx_rows_gather(cg_onnx_sink *s, const cg_value *table, const cg_value *index);
cg_onnx_ref *cg_onnx_rows_within(cg_onnx_sink *s, const cg_value *row, cg_onnx_size length);
int cg_onnx_rows_segments(cg_onnx_sink *s, const cg_value *offset, cg_onnx_size *count,
                          cg_onnx_size *length);
cg_onnx_ref *cg_onnx_rows_range(cg_onnx_sink *s, cg_onnx_size n);
/* Rows of the whole, of a tensor that holds places in sequences. */
cg_onnx_ref *cg_onnx_rows_absolute(cg_onnx_export *x, cg_onnx_ref *t);

/* --- export_sink.c ---------------------------------------------------------------------------- */

extern const cg_onnx_calls cg_onnx_export_calls;
cg_onnx_export *cg_onnx_of(cg_onnx_sink *s);
void *cg_onnx_alloc(cg_onnx_export *x, size_t bytes); /* zeroed; NULL leaves the error */
char *cg_onnx_format(cg_onnx_export *x, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
cg_onnx_ref *cg_onnx_failed(cg_onnx_export *x, cg_status code);
/* base itself, or with a number behind it, whichever is not taken; takes it. */
const char *cg_onnx_name(cg_onnx_export *x, const char *base);
/* Appends a node with n_out results, or finds the one that has been made of the same; result[]. */
cg_status cg_onnx_append(cg_onnx_export *x, const cg_onnx_node *n, int n_out, const char **result);
/* The name of a tensor in the file, into which it is brought. */
const char *cg_onnx_name_of(cg_onnx_export *x, cg_onnx_ref *t);
/* A node's result, with dimensions; NULL after an error. */
cg_onnx_ref *cg_onnx_result(cg_onnx_export *x, const cg_onnx_node *n, int rank, int dims,
                            const cg_onnx_dim *dim);
void *cg_onnx_lookup(cg_onnx_table *t, const char *key);
cg_status cg_onnx_remember(cg_onnx_table *t, const char *key, void *data);

/* --- export_constant.c ------------------------------------------------------------------------ */

cg_onnx_ref *cg_onnx_constant_tensor(cg_onnx_sink *s, cg_dtype dtype, const cg_shape *shape,
                                     const void *data);
cg_onnx_ref *cg_onnx_known_tensor(cg_onnx_export *x, const cg_value *v);
const char *cg_onnx_store(cg_onnx_export *x, cg_onnx_ref *t);
int cg_onnx_data_type(cg_dtype t); /* TensorProto.DataType */

/* --- export_ports.c --------------------------------------------------------------------------- */

/* An input of the file: TensorProto's element type, dimensions and their axes. */
cg_onnx_ref *cg_onnx_input(cg_onnx_export *x, const char *name, int type, int rank,
                           const cg_onnx_dim *dim);
/* Every node of the graph, through its op's mapping; then its outputs, under their names. */
cg_status cg_onnx_walk(cg_onnx_export *x);
cg_status cg_onnx_export_outputs(cg_onnx_export *x);

/* --- export_pair.c ---------------------------------------------------------------------------- */

enum { CG_ONNX_PATH = 4096 };

/* A model's file and the one with its weights, under way. */
typedef struct cg_onnx_pair {
    const char *path;             /* of the model */
    char data_path[CG_ONNX_PATH]; /* of its weights, which is nobody's yet; "" : they are inside */
    cg_file *file, *data;
} cg_onnx_pair;

cg_status cg_onnx_pair_name(const char *path, cg_onnx_pair *out); /* chooses data_path */
cg_status cg_onnx_pair_create(cg_onnx_pair *p);

/* Puts both in place and removes the weights of older models; after an error, s or its own, neither
 * is there. Closes both in either case. */
cg_status cg_onnx_pair_commit(cg_onnx_pair *p, cg_status s);

/* --- export_write.c --------------------------------------------------------------------------- */

cg_status cg_onnx_write(cg_onnx_export *x, const char *path, int external, const cg_meta *meta,
                        int n_meta);

#endif
