/* The inside of a read file, for serialize/onnx/ only. */
#ifndef CG_ONNX_FILE_H
#define CG_ONNX_FILE_H

#include "graph/arena.h"
#include "graph/file.h"
#include "serialize/onnx/names.h"
#include "serialize/onnx/read.h"
#include "serialize/onnx/wire.h"

#include "onnx/onnx.pb-c.h"

/* A tensor whose bytes have been checked. */
typedef struct cg_onnx_tensor {
    const char *name;
    int type; /* CG_ONNX__TENSOR_PROTO__DATA_TYPE__… */
    cg_shape shape;
    int64_t count;
    const unsigned char *raw; /* count elements, of any alignment; NULL: they are in proto */
    const CgOnnx__TensorProto *proto;
} cg_onnx_tensor;

struct cg_onnx_file {
    char *path;
    cg_map map;
    cg_onnx_slim slim;
    ProtobufCAllocator allocator; /* with a budget */
    size_t budget;
    CgOnnx__ModelProto *model;
    cg_arena arena;
    cg_map *external; /* files beside it, each mapped once */
    char **external_path;
    int n_external;
    cg_onnx_tensor *tensor; /* [graph->n_initializer] */
    int *order;             /* [graph->n_node] in which nodes can run */
    cg_onnx_port *input, *output;
    int n_input, n_output;
    cg_meta *meta;
    cg_onnx_operator *op;
    int n_op;
    int64_t opset;
};

enum {
    CG_ONNX_MOST_NODES = 10000,
    CG_ONNX_OLDEST = 13,
    CG_ONNX_NEWEST = 20, /* opsets */
};

/* "node /attn/MatMul (MatMul)" for messages; a node without a name is called by its result. */
const char *cg_onnx_node_text(const CgOnnx__NodeProto *n, char text[200]);

/* --- payload.c: the elements of tensors ------------------------------------------------------- */

/* "f32" of an element type of the format, or NULL: not one that is read. */
const char *cg_onnx_type_name(int type);
int cg_onnx_type_is_float(int type);

/* Checks dimensions and bytes; raw: the data that were cut from it, or NULL. */
cg_status cg_onnx_tensor_check(const CgOnnx__TensorProto *t, const cg_onnx_bytes *raw,
                               cg_onnx_tensor *out);

/* All elements, as numbers: 64-bit integers beyond 2^53 lose their last bits. */
void cg_onnx_tensor_numbers(const cg_onnx_tensor *t, double *out);

/* All elements of a float tensor; and where they lie as f32 that can be read in place, or NULL. */
void cg_onnx_tensor_floats(const cg_onnx_tensor *t, float *out);
const float *cg_onnx_tensor_lies(const cg_onnx_tensor *t);

/* --- external.c ------------------------------------------------------------------------------- */

/* Finds the bytes of a tensor whose data are in a file beside this one. */
cg_status cg_onnx_external(cg_onnx_file *f, const CgOnnx__TensorProto *t, cg_onnx_bytes *out);

/* --- check.c: the graph ----------------------------------------------------------------------- */

/* Checks versions, names, order, tensors and types; fills tensor, order and opset. */
cg_status cg_onnx_check(cg_onnx_file *f);

/* sort.c: fills order; maker: of each name that a node makes, the node's number, of others no less
 * than their count. errors  CG_EFORMAT: a cycle */
cg_status cg_onnx_sort(cg_onnx_file *f, const cg_onnx_names *maker);

/* types.c: checks attributes and types of all nodes, and declared types, by the file's opset.
 * errors  CG_EFORMAT; CG_ENOMEM */
cg_status cg_onnx_check_types(const cg_onnx_file *f);

/* expose.c: a value inside becomes the last output. errors  CG_ENOTFOUND: no node makes it */
cg_status cg_onnx_expose(cg_onnx_file *f, const char *name);

/* --- ports.c: what it says of itself ---------------------------------------------------------- */

cg_status cg_onnx_describe(cg_onnx_file *f);

#endif
