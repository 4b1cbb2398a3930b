/* An ONNX file as its schema has it, for tests of the exporter: unpacked whole, and checked as a
 * reader would have it. Failures fail the running test. */
#ifndef CG_TEST_ONNX_FILE_H
#define CG_TEST_ONNX_FILE_H

#include "serialize/onnx/export.h"
#include "tests/support/folder.h"
#include "train/runner.h"

#include "onnx/onnx.pb-c.h"

/* Unpacks and checks: each operand is an input, an initializer or the result of an earlier node;
 * each of these but inputs is read; names are unique; no initializer is an input; initializers have
 * as many bytes as their shape takes; external ones lie in PATH.data, at multiples of 4096, without
 * overlap; names, opset and producer are there. The caller frees it by cg_test_onnx_close. */
CgOnnx__ModelProto *cg_test_onnx_open(const char *path);
void cg_test_onnx_close(CgOnnx__ModelProto *m);

/* NULL: there is none of that name. */
const CgOnnx__TensorProto *cg_test_onnx_initializer(const CgOnnx__ModelProto *m, const char *name);

/* How many nodes are of that operator. */
int cg_test_onnx_count(const CgOnnx__ModelProto *m, const char *op);

/* The dimensions of an input or output, "batch,3,32,32"; "" if there is none of that name. */
const char *cg_test_onnx_dims(const CgOnnx__ModelProto *m, const char *name, char text[256]);

/* A model of models/configs with hashed parameters, on one thread, to export. */
typedef struct exporter {
    cg_context *ctx;
    cg_clip_desc d;
    cg_runner *r;
    cg_params *p; /* the runner's */
} exporter;
exporter exporter_of(const char *name);
void exporter_free(exporter *e);

/* Exports it to model.onnx in the folder of the tests, and opens the file. */
CgOnnx__ModelProto *exporter_write(const exporter *e, const cg_onnx_options *o);

#endif
