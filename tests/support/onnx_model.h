/* A file that PyTorch exported (tools/make_onnx_references.py), opened, and what PyTorch makes of
 * it. Everything here fails the running test rather than return an error. */
#ifndef CG_TEST_ONNX_MODEL_H
#define CG_TEST_ONNX_MODEL_H

#include "serialize/onnx/session.h"
#include "serialize/safetensors.h"

#define ONNX_MODEL_FOLDER CG_SOURCE_DIR "/tests/golden/onnx/"

enum { ONNX_MODEL_INPUTS = 8 };

typedef struct onnx_model {
    cg_safetensors *golden;
    cg_context *ctx;
    cg_onnx_session *session;
} onnx_model;

/* tests/golden/onnx/NAME.onnx and .safetensors, for two threads. */
onnx_model onnx_model_open(const char *name, cg_onnx_how how);
void onnx_model_close(onnx_model *m);

/* An input or output of that name, of so many rows. */
const cg_tensor *onnx_model_tensor(const onnx_model *m, int rows, const char *name);

/* All inputs, under their names; returns their number. */
int onnx_model_inputs(const onnx_model *m, int rows, cg_tensor in[ONNX_MODEL_INPUTS]);

/* Nodes of an op. */
int onnx_model_count(const cg_graph *g, const cg_op *op);

#endif
