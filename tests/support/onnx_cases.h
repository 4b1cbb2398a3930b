/* Cases of ops for the ONNX exporter: those of the op tables, and further ones with offsets and
 * rows that are known, which an exported graph has and the tables' operands have not. */
#ifndef CG_TEST_ONNX_CASES_H
#define CG_TEST_ONNX_CASES_H

#include "tests/support/op_case.h"

/* The i-th case; NULL: there are no more. */
const cg_op_case *cg_onnx_case(int i);

/* Its graph, with inputs in0, in1, … and outputs out0, out1, … Failures fail the running test. */
cg_graph *cg_onnx_case_graph(const cg_op_case *c);

#endif
