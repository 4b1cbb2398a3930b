/* The graph: values that flow and the nodes that make them.
 *
 * A graph owns its nodes and values. It is built once, from inputs and parameters, by the
 * functions of ops/ops.h; a failure makes the builder return NULL and stays with the graph, so
 * that model code reads as mathematics and asks once, at the end:
 *
 *     cg_value *h = cg_relu(g, cg_linear(g, x, w, b));
 *     cg_graph_output(g, "h", h, CG_KEEP);
 *     if (cg_graph_status(g) != CG_OK) puts(cg_error_message());
 *
 * Every size is known when a graph is built. A graph holds no state: what a model keeps
 * between runs (running statistics) are parameters with an update output. The fields of the
 * structs below are for reading; only graph/ writes them. */
#ifndef CG_GRAPH_H
#define CG_GRAPH_H

#include "graph/arena.h"
#include "graph/params.h"
#include "graph/types.h"

CG_API_BEGIN

typedef struct cg_graph cg_graph;
typedef struct cg_node cg_node;
typedef struct cg_op cg_op;

typedef enum cg_value_kind {
    CG_VALUE_INPUT,    /* the caller binds memory before a run */
    CG_VALUE_PARAM,    /* lives in the parameter store */
    CG_VALUE_CONSTANT, /* bytes fixed when the graph was built */
    CG_VALUE_RESULT,   /* made by a node */
} cg_value_kind;

typedef struct cg_value {
    cg_value_kind kind;
    cg_dtype dtype;
    cg_shape shape;
    const char *name; /* unique among inputs; a parameter's own name; a result: its node's */
    int id;           /* index into cg_graph.value */
    cg_node *node;    /* RESULT: its maker, and which of its outputs it is */
    int index;
    cg_param *param;  /* PARAM */
    const void *data; /* CONSTANT: owned by the graph */
} cg_value;

struct cg_node {
    const cg_op *op;
    const char *name; /* path of scopes: "visual/layer3/0/bn3" */
    const void *attr; /* op->attr_size bytes */
    int n_in, n_out;
    cg_value **in; /* an optional operand that is absent is not counted */
    cg_value **out;
    int id;   /* position in cg_graph.node */
    int dead; /* set by passes; gone after cg_graph_sweep */
};

/* How an output reaches the caller's memory. */
typedef enum cg_output_mode {
    CG_KEEP,   /* stays in the execution's memory until the next run */
    CG_SET,    /* memory = value; the caller must bind it */
    CG_ADD,    /* memory += value (gradient accumulation); the caller must bind it; f32 only */
    CG_UPDATE, /* memory of a parameter = value, when the caller commits */
} cg_output_mode;

typedef struct cg_output {
    const char *name;
    cg_value *value;
    cg_output_mode mode;
    cg_param *param; /* UPDATE: what it replaces */
} cg_output;

struct cg_graph {
    cg_arena arena;
    cg_value **value;
    int n_value, cap_value;
    cg_node **node; /* in an order in which they can run */
    int n_node, cap_node;
    cg_output *output;
    int n_output, cap_output;
    cg_params *params; /* borrowed; may be NULL where a graph has no parameter */
    char scope[256];
    const char *derivative_of; /* set by autodiff: nodes are named d(this) */
    const char *named;         /* set by passes: what replaces a node is named so, too; or NULL */
    uint64_t next_key;         /* of the next random node */
    cg_status status;
    char message[1024];
};

/* params is borrowed and must outlive the graph. */
cg_status cg_graph_create(cg_params *params, cg_graph **out);
void cg_graph_free(cg_graph *g);

/* The first error, whose sentence becomes the thread's message. */
cg_status cg_graph_status(const cg_graph *g);

/* Keeps an error, unless one is kept already; returns NULL. code's sentence is the thread's. */
void *cg_graph_fail(cg_graph *g, cg_status code);

/* Names: nodes made between push and pop carry the scope's path. printf format. */
void cg_scope_push(cg_graph *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cg_scope_pop(cg_graph *g);

/* An input; names are unique in a graph. */
cg_value *cg_input(cg_graph *g, const char *name, cg_dtype dtype, cg_shape shape);

/* A parameter of the store. Declares it there first where the store has none of that name;
 * otherwise shape and dtype must be those it has. `spec` is read at the declaration only. */
cg_value *cg_parameter(cg_graph *g, const char *name, cg_shape shape, cg_param_spec spec);

/* A constant; the bytes are copied. */
cg_value *cg_constant(cg_graph *g, cg_dtype dtype, cg_shape shape, const void *data);
cg_value *cg_constant_f32(cg_graph *g, float x); /* a scalar */

/* Declares an output; its name is unique in the graph. */
void cg_graph_output(cg_graph *g, const char *name, cg_value *v, cg_output_mode mode);

/* Takes an output of that name back. */
void cg_graph_drop_output(cg_graph *g, const char *name);

/* Declares that `v` is the parameter's next value: written when the caller commits a run. */
void cg_graph_update(cg_graph *g, cg_value *parameter, cg_value *v);

/* The output or input of that name, or NULL. */
const cg_output *cg_graph_find_output(const cg_graph *g, const char *name);
cg_value *cg_graph_find_input(const cg_graph *g, const char *name);

/* --- for ops and passes ------------------------------------------------------------------ */

/* Appends a node: infers its outputs' types, keeps the error where the op refuses. attr is
 * copied (may be NULL where the op has none); trailing NULLs of `in` are absent operands.
 * Returns NULL after a failure, also where an operand is NULL because of an earlier one. */
cg_node *cg_node_add(cg_graph *g, const cg_op *op, const void *attr, int n_in, cg_value *const *in);

/* The same with n_out results, where the op's last ones are optional; cg_node_add makes none of
 * those. */
cg_node *cg_node_add_out(cg_graph *g, const cg_op *op, const void *attr, int n_in,
                         cg_value *const *in, int n_out);

/* The first output of cg_node_add, or NULL. */
cg_value *cg_node_add1(cg_graph *g, const cg_op *op, const void *attr, int n_in,
                       cg_value *const *in);

/* A fresh key for a random node, so that no two share their numbers. */
uint64_t cg_graph_key(cg_graph *g);

/* Puts nodes that passes have appended before their first readers; all others keep their order. */
void cg_graph_order(cg_graph *g);

/* Lets every reader of `from`, nodes and outputs, read `to` instead. */
void cg_value_replace(cg_graph *g, cg_value *from, cg_value *to);

/* Stores a node's f32 result as bf16, and with it what it views and what views it: the op that
 * makes it and all that read it must allow that (bf16_out and bf16_in of the descriptor), and none
 * is an output; else nothing happens. Returns whether it did. */
int cg_value_narrow(cg_graph *g, cg_value *v);

/* Drops nodes marked dead and renumbers the rest. */
void cg_graph_sweep(cg_graph *g);

/* Checks order, arity, ownership and, by inferring again, every type. errors  CG_EINVAL */
cg_status cg_graph_verify(const cg_graph *g);

/* --- rewrites that know no op (graph/passes) ------------------------------------------------ */

/* Removes nodes that reach no output. Returns how many. */
int cg_pass_dead(cg_graph *g);

/* Merges nodes of the same op, attributes and operands. Returns how many. */
int cg_pass_common(cg_graph *g);

/* --- printing ------------------------------------------------------------------------------- */

/* One line a node:  %7 visual/conv1 = conv2d(%0, visual.conv1.weight) stride=2 : f32[8, 32, 32, 32]
 * The text is allocated; the caller frees it. */
cg_status cg_graph_text(const cg_graph *g, char **text);

typedef struct cg_dot_options {
    int collapse; /* > 0: one box for all nodes that share the first `collapse` parts of their names
                     (those of fewer parts stand alone) */
    const char *title;   /* above the picture; NULL: none */
    const char *part[2]; /* nodes whose names have these first parts are blue and violet, all others
                            grey; NULL: the first two parts that appear are */
} cg_dot_options;

/* Graphviz: a box for each node, in frames for the scopes, with its attributes and parameters, or
 * with collapse for many; arrows say the types of what flows, f32 where they name none. Gradients,
 * named d(…), run upwards in frames of their own, and what they need of the rest comes by dashed
 * arrows. Updates and outputs with modes other than KEEP stand in the boxes. Allocated as above. */
cg_status cg_graph_dot(const cg_graph *g, const cg_dot_options *o, char **text);

CG_API_END

#endif
