/* The op descriptor: all that the graph knows of an op. For those who write ops; see
 * CONTRIBUTING.md, "add an op". One op is one file of ops/, which holds its shape rule, kernel,
 * gradient and FLOP count together, and the ops of its gradient where it has its own. */
#ifndef CG_OP_H
#define CG_OP_H

#include "graph/context.h"
#include "graph/graph.h"
#include "graph/onnx.h"

CG_API_BEGIN

/* Attributes are a plain struct, described field by field, so that printing, comparing and
 * saving need no code per op. What is not described is not compared. */
typedef enum cg_attr_type {
    CG_ATTR_INT,   /* int64_t */
    CG_ATTR_FLOAT, /* float */
    CG_ATTR_SHAPE, /* cg_shape: a list of int64_t */
} cg_attr_type;

typedef struct cg_attr_field {
    const char *name;
    cg_attr_type type;
    size_t offset;
    const char *(*word)(int64_t); /* of a CG_ATTR_INT that numbers choices: their names; or NULL */
} cg_attr_field;

/* CG_ATTR(cg_conv2d_attr, stride, INT) */
#define CG_ATTR(type, field, kind)                                                                 \
    { #field, CG_ATTR_##kind, offsetof(type, field), NULL }
/* CG_ATTR_WORD(cast_attr, to, type_name) */
#define CG_ATTR_WORD(type, field, word)                                                            \
    { #field, CG_ATTR_INT, offsetof(type, field), word }

typedef struct cg_type {
    cg_dtype dtype;
    cg_shape shape;
} cg_type;

/* What `prepare` fills in for a plan. */
typedef struct cg_prep {
    cg_context *ctx;
    const cg_node *node;
    size_t scratch;   /* bytes of scratch a run wants; shared by all nodes of the plan */
    void *state;      /* handed to run and release */
    const char *impl; /* name of the kernel chosen, for reports; static or owned by state */

    /* Bit i: operand i is the same in every run. Of one such operand a kernel may want another
     * layout: it sets pack_bytes, and a key that names the layout; `pack` then makes it, once, and
     * run is given that in the operand's place. */
    unsigned frozen;
    int pack; /* the operand; -1: none */
    size_t pack_bytes;
    uint64_t pack_key;
} cg_prep;

/* What `run` reads and writes. Pointers are aligned to 64 bytes where the plan owns them. */
typedef struct cg_task {
    cg_context *ctx;
    int threads;
    const cg_node *node;
    const void *state;
    const void *const *in;
    void *const *out;
    void *scratch;
} cg_task;

struct cg_op {
    const char *name;
    int min_in, max_in; /* max_in -1: any number */
    int n_out;
    int min_out; /* results from here on a node has only where they are asked for; 0: it has all */
    size_t attr_size;
    const cg_attr_field *attr; /* ends with a NULL name; NULL: none */

    /* Fills out[n_out], results that n does not have among them, from the operands' types and the
     * attributes; refuses by cg_error with a sentence that says what was found and wanted (the
     * caller adds the node's name). */
    cg_status (*infer)(const cg_node *n, cg_type *out);

    /* Appends the nodes of the gradient: dx[i] from dy[o]. dy[o] is NULL where no gradient
     * reached output o, and at least one is not; dx[] comes zeroed and stays NULL where operand
     * i has no gradient. dx[i] may have the shape that operand i was broadcast to: autodiff
     * sums it back. NULL: the op is not differentiable (its gradient ops are not). */
    void (*vjp)(cg_graph *g, const cg_node *n, cg_value *const *dy, cg_value **dx);

    /* Chooses kernels, once per plan, under the context's thread count. NULL: nothing to do. */
    cg_status (*prepare)(cg_prep *p);
    cg_status (*run)(const cg_task *t); /* allocates nothing */
    void (*release)(void *state);

    /* Lays operand cg_prep.pack out at `to`; t as for run, results and other operands aside. */
    cg_status (*pack)(const cg_task *t, void *to);

    /* Useful floating-point operations of a run, two per multiply-add of matrix products and
     * convolutions; NULL: none that count. */
    int64_t (*flops)(const cg_node *n);

    /* What a node becomes in an ONNX file: gives the sink its results (see graph/onnx.h). NULL: it
     * has no such form, as ops of training have none. */
    cg_status (*onnx)(cg_onnx_sink *s, const cg_node *n);

    unsigned inplace; /* bit i: output 0 may be written over operand i where types are equal */

    /* Bit i: operand i may be bf16 where `infer` speaks of f32, and result i may be stored so; run
     * looks at the values' dtypes, computes in f32, and converts as it loads and stores. Which
     * values are bf16 is for a pass to say (cg_value_narrow). */
    unsigned bf16_in, bf16_out;
    int view;    /* output 0 is operand 0's bytes under another shape, and of its type */
    int selects; /* of operand 0 no more bytes are read than output 0 has: for the profile */
};

/* The value whose bytes v is: v itself, or what it is a view of. */
static inline const cg_value *cg_value_root(const cg_value *v) {
    while (v->node && v->node->op->view && v->index == 0) v = v->node->in[0];
    return v;
}

/* Whether operand i may be bf16; those that no bit stands for may not. */
static inline int cg_op_reads_bf16(const cg_op *op, int i) {
    return i < 32 && (op->bf16_in >> i & 1);
}

CG_API_END

#endif
