/* ONNX files made and changed by tests: a small model to begin with, and files as messages. */
#ifndef CG_TEST_ONNX_TINY_H
#define CG_TEST_ONNX_TINY_H

#include "tests/support/ok.h"

#include "onnx/onnx.pb-c.h"

/* x f32 [2, 3] -> MatMul with w [3, 4] -> h -> Relu -> y; opset 17. Parts may be changed in place:
 * what is NULL or 0 is not there. */
typedef struct tiny {
    CgOnnx__ModelProto model;
    CgOnnx__OperatorSetIdProto opset, *opset_list[2];
    CgOnnx__GraphProto graph;
    CgOnnx__NodeProto node[3], *node_list[3]; /* matmul, relu, and one more to add */
    char *input[3][4], *output[3][2];
    CgOnnx__AttributeProto attribute, *attribute_list[1]; /* of the third node, once added */
    CgOnnx__TensorProto weight, *weight_list[2];
    int64_t dims[8];
    float numbers[12];
    CgOnnx__StringStringEntryProto external[3], *external_list[3];
    CgOnnx__ValueInfoProto x, y, *x_list[2], *y_list[2];
    CgOnnx__TypeProto type, y_type;
    CgOnnx__TypeProto__Tensor tensor, y_tensor;
    CgOnnx__TensorShapeProto shape;
    CgOnnx__TensorShapeProto__Dimension dim[2], *dim_list[2];
} tiny;

/* t must not move: its parts point at one another. */
void tiny_make(tiny *t);

/* A string as messages have them; it must not be freed. */
char *tiny_text(const char *s);

/* Opens the file and, where that succeeds, runs it on an x: this status must come of it, and unless
 * it is CG_OK a sentence with these words and the path. what: the case, for the failing test. */
void tiny_expect(const char *path, const char *what, cg_status wanted, const char *words);

/* Writes bytes, or a model, to a file; fails the running test where that cannot be done. */
void tiny_write(const char *path, const void *data, size_t bytes);
void tiny_save(const CgOnnx__ModelProto *model, const char *path);

/* A whole file; allocated. */
unsigned char *tiny_read(const char *path, size_t *bytes);

#endif
