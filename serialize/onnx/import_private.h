/* What the parts of the importer share; for serialize/onnx/import*.c only. */
#ifndef CG_ONNX_IMPORT_PRIVATE_H
#define CG_ONNX_IMPORT_PRIVATE_H

#include "serialize/onnx/host.h"
#include "serialize/onnx/import.h"
#include "serialize/onnx/view.h"

enum {
    CG_FOLD_MOST = 65536 /* elements of a weight that may be computed with before the run */
};

struct cg_tape;

/* What a name stands for. */
typedef struct cg_item {
    int type; /* CG_ONNX_TYPE(…) */
    cg_shape shape;
    cg_host host;                 /* x: its numbers are known; else x is NULL */
    const cg_onnx_tensor *weight; /* an initializer of floats; or NULL */
    cg_value *v;                  /* a value of the graph, and how it is seen; or NULL */
    cg_view view;
    int of_run;            /* it follows from integers of the run, and from constants, alone */
    cg_host now;           /* its numbers in this run; gone when all have read them */
    struct cg_tape *maker; /* NULL: an input */
    int reads;             /* that are still to come while a graph is imported */
    int at;                /* its place among the importer's */
    struct cg_item *self;  /* of a copy: what the importer has */
} cg_item;

/* A node on integers of a run, evaluated for the import and again before each run. */
typedef struct cg_tape {
    uint64_t hash;        /* of the operator, its attributes and operands */
    struct cg_tape *next; /* of those in a list */
    const CgOnnx__NodeProto *node;
    cg_item **in, **out; /* out: NULL where it has no name */
    int n_in, n_out;
    int needed, until; /* in a run: the number of the last node that reads it */
    cg_host_room room; /* of its results */
} cg_tape;

/* An input of the graph that is computed of integers. */
typedef struct cg_computed {
    const char *name;
    cg_item *item;
    cg_dtype dtype;
    void *data;
} cg_computed;

enum { CG_MOST_COMPUTED = 64, CG_TAPE_LISTS = 4096 };

typedef struct cg_importer {
    const cg_onnx_file *f;
    cg_graph *g;
    cg_host_room room; /* of tensors, and of all else */
    cg_onnx_names names;
    cg_item **item;
    int n_item, cap_item;
    const cg_shape *shape;          /* of inputs */
    const int32_t *const *integers; /* of inputs */
    uint64_t wanted;                /* outputs, as bits */
    char *needed;                   /* [nodes] */
    cg_onnx_names reads;            /* of a name: how often it is read */
    cg_tape **tape;                 /* in the order in which they were evaluated */
    int n_tape, cap_tape;
    cg_tape *tape_list[CG_TAPE_LISTS]; /* the same by hash, to be found */
    cg_host_room inputs;               /* their integers as numbers */
    int64_t live;                      /* bytes that results of nodes on the tape hold */
    cg_computed computed[CG_MOST_COMPUTED];
    int n_computed;
    char *fixed; /* [n_fixed] of the graph's values, by id */
    int n_fixed;
} cg_importer;

/* A node while it is imported. */
typedef struct cg_job {
    cg_importer *m;
    cg_graph *g;
    const CgOnnx__NodeProto *node;
    cg_item **in; /* absent inputs are NULL */
    int n_in;
    cg_item *out; /* [n_out] zeroed */
    int n_out;
    cg_tape *tape, *before; /* where it has been taken down; NULL: it has not */
} cg_job;

/* --- items (import_item.c) -------------------------------------------------------------------- */

int64_t cg_item_count(const cg_item *x);
int cg_item_is_float(const cg_item *x);

/* Its numbers, those of a small weight too, all of them held; NULL: they are not known before the
 * run. */
const cg_host *cg_item_host(cg_job *j, cg_item *x);

/* The same as they are held. */
const cg_host *cg_item_known(cg_job *j, cg_item *x);

/* The one number of x. Returns 0 where it has several, or they are not known. */
int cg_item_number(cg_job *j, cg_item *x, double *out);

/* A constant of the graph is to be made: is there room in the budget? errors  CG_ESHAPE,
 * CG_EUNSUPPORTED */
cg_status cg_import_constant(cg_job *j, const cg_shape *shape, cg_dtype dtype);

/* Makes x a value (a parameter, a constant) of f32; integers that are known become floats. */
cg_status cg_item_value(cg_job *j, cg_item *x);

/* The same as a value that lies as its shape says. */
cg_status cg_item_plain(cg_job *j, cg_item *x, cg_value **out);

/* x seen with its axes in another order, moved so that they lie so; axes NULL: as they are. */
cg_status cg_item_as(cg_job *j, cg_item *x, const int *axes, cg_value **out);

/* Sets an output: v as it lies, or seen through a view. errors  those of the graph */
cg_status cg_out_plain(cg_job *j, int k, cg_value *v);
cg_status cg_out_view(cg_job *j, int k, cg_value *v, const cg_view *view);

/* x as rows [R, K] of its last axis, which must lie together: elements move where it does not.
 * *view is how x is seen in them; it has room for an axis of another width (cg_view_widened). */
cg_status cg_item_rows(cg_job *j, cg_item *x, cg_value **rows, cg_view *view);

/* The view of rows whose last axis has become `width`. */
cg_view cg_view_widened(const cg_view *v, int64_t width);

/* The order in which x's axes lie, as a value of that order: axis i of it is x's axes[i]. */
cg_status cg_item_frame(cg_job *j, cg_item *x, int axes[CG_MAX_RANK], cg_value **out);

/* Output k from a value whose axis i is output axis axes[i]. */
cg_status cg_out_frame(cg_job *j, int k, cg_value *v, const int *axes);

/* Does v follow from parameters and constants alone? */
int cg_value_is_fixed(cg_importer *m, const cg_value *v);

/* --- beginning (import_begin.c) --------------------------------------------------------------- */

/* Fills needed: the nodes that the wanted outputs follow from. */
cg_status cg_import_mark_needed(cg_importer *m);

/* Fills reads, by outputs and by the nodes that are needed. */
cg_status cg_import_count_reads(cg_importer *m);

/* --- operators -------------------------------------------------------------------------------- */

typedef cg_status (*cg_import_fn)(cg_job *j);
typedef struct cg_import_op {
    const char *name;
    int operands; /* at least; those are there */
    cg_import_fn run;
} cg_import_op;

/* Each table ends with a NULL name. */
extern const cg_import_op cg_import_elementwise[], cg_import_choice[], cg_import_shape[],
    cg_import_matrix[], cg_import_picture[], cg_import_resize[], cg_import_reduce[];

/* a op b, seen as the larger of the two is. */
typedef cg_value *(*cg_binary_fn)(cg_graph *g, cg_value *a, cg_value *b);
cg_status cg_import_binary(cg_job *j, cg_binary_fn f, cg_item *a, cg_item *b, cg_item *out);

/* x; or one row of it where its numbers are known and the same for all of a batch, which the other
 * operand has, too. */
cg_item cg_item_one_row(const cg_item *x, const cg_shape *other);

/* --- integers of a run (import_integer.c) ----------------------------------------------------- */

/* Evaluates a node of integers of the run and known numbers; *done is 0 where it has others, or is
 * not one of the host's operators. */
cg_status cg_import_integers(cg_job *j, int *done);

/* Gather, GatherND and GatherElements by integers of the run: token embeddings, the row of an end
 * token. */
cg_status cg_import_lookup(cg_job *j, int *done);

/* --- the tape (tape.c) ------------------------------------------------------------------------ */

/* Takes the node down and evaluates it, out[k] being what the import knows of its results; where
 * it has been taken down before, those of then are aliases. *t is NULL where the host does not know
 * the operator. errors  those of cg_host_run; CG_ENOMEM */
cg_status cg_tape_add(cg_importer *m, const CgOnnx__NodeProto *node, cg_item *const *in, int n_in,
                      cg_host *out, int n_out, cg_tape **t);

/* A node with the same operands that is on the tape already, all of whose results are there; or
 * NULL. errors  CG_EUNSUPPORTED: beyond the budget */
cg_status cg_tape_find(cg_importer *m, const CgOnnx__NodeProto *node, cg_item *const *in, int n_in,
                       int n_out, cg_tape **found);

/* Evaluates it into the results' now; *same is 0 where one has another shape. */
cg_status cg_tape_run(cg_importer *m, cg_tape *t, int *same);

/* Forgets its results' numbers. */
void cg_tape_drop(cg_importer *m, cg_tape *t);

/* Numbers of inputs, from the importer's integers. */
cg_status cg_tape_inputs(cg_importer *m);

/* Makes x, which is of the run and no value, an input of the graph that is computed before each
 * run: f32, or i32 from 0 on. One for all that ask. */
cg_status cg_item_compute(cg_job *j, cg_item *x, cg_dtype dtype, cg_value **out);

/* Fills an input that is computed, of its item's numbers. errors  CG_EINVAL: out of range */
cg_status cg_computed_store(const cg_computed *c);

/* Frees all that an import has made but the graph. */
void cg_importer_end(cg_importer *m);

#endif
