/* ONNX files as our graphs. What a file computes from shapes and constants is computed here; what
 * remains becomes our ops. Reshapes and transpositions become views (view.h), so that pictures,
 * which files hold as [N, C, H, W], stay [N, H, W, C], and sequences [tokens, batch, width] stay
 * [batch, tokens, width]; elements move only where an operator needs them otherwise.
 *
 * Operators on integers that only a run knows are not ours: they are evaluated on the host, for the
 * run that a graph is made for, and again before each later one. What the graph needs of them is an
 * input of it: a mask, the number of a selected row. All that is evaluated may hold 1 GiB at a
 * time, and takes a bounded number of steps.
 *
 * Numbers of all float types become f32. */
#ifndef CG_ONNX_IMPORT_H
#define CG_ONNX_IMPORT_H

#include "graph/graph.h"
#include "serialize/onnx/read.h"

CG_API_BEGIN

/* Declares the file's weights in an empty store, and gives them their memory: that of the mapped
 * file where it is f32 and aligned, else copies. f must outlive the store. */
cg_status cg_onnx_params(const cg_onnx_file *f, cg_params *params);

/* What a run must compute of its integers before the graph: inputs of the graph beside the file's,
 * and whether they are still as the graph relies on. */
typedef struct cg_onnx_ahead cg_onnx_ahead;

/* Appends the file's graph to g, an empty one over such a store, at shape[i] of input i, as far as
 * the wanted outputs need it: bit i is output i. An input of rank -1 is absent; integers[i] are
 * those of input i in the run that the graph is made for, NULL where it has none. Inputs have the
 * file's names, integers that are computed with have none; all are f32, or i32. Outputs have the
 * file's names and mode CG_KEEP. *ahead is NULL where nothing is to be computed; it refers to f.
 * errors  CG_ESHAPE; CG_EINVAL: a needed input is absent; CG_EUNSUPPORTED, CG_EFORMAT name the node
 */
cg_status cg_onnx_import(const cg_onnx_file *f, const cg_shape *shape,
                         const int32_t *const *integers, uint64_t wanted, cg_graph *g,
                         cg_onnx_ahead **ahead);

/* Computes them of a run's integers, the same as above. *fits is 0 where these need another graph:
 * one of them has another shape, or a mask or a selection is not what recognition has relied on. */
cg_status cg_onnx_ahead_run(cg_onnx_ahead *n, const int32_t *const *integers, int *fits);

/* Input k of the graph that was computed, by name: f32 or i32 as the graph has it, valid until the
 * next run; NULL where k is not less than their number. */
const char *cg_onnx_ahead_at(const cg_onnx_ahead *n, int k, const void **data);
void cg_onnx_ahead_free(cg_onnx_ahead *n); /* NULL is allowed */

CG_API_END

#endif
