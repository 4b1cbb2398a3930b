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
 * Numbers of all float types become f32. For session.c and tests. */
#ifndef CG_ONNX_IMPORT_H
#define CG_ONNX_IMPORT_H

#include "graph/exec.h"
#include "serialize/onnx/budget.h"
#include "serialize/onnx/read.h"

/* Declares the file's weights in an empty store, and gives them their memory: that of the mapped
 * file where it is f32 and aligned, else copies. f must outlive the store. */
cg_status cg_onnx_params(const cg_onnx_file *f, cg_params *params);

/* What a run must compute of its integers before the graph: inputs of the graph beside the file's,
 * and whether recognition finds in them what it found then. */
typedef struct cg_onnx_computed cg_onnx_computed;

/* Appends the file's graph to g, an empty one over such a store, at shape[i] of input i, as far as
 * the wanted outputs need it: bit i is output i. An input of rank -1 is absent; integers[i] are
 * those of input i in the run that the graph is made for, NULL where it has none. Inputs have the
 * file's names, integers that are computed with have none; all are f32, or i32. Outputs have the
 * file's names and mode CG_KEEP. What is done spends of *budget. *computed is NULL where nothing is
 * to be computed; f and g must outlive it.
 * errors  CG_ESHAPE; CG_EINVAL: a needed input is absent; CG_EUNSUPPORTED, CG_EFORMAT: by node */
cg_status cg_onnx_import(const cg_onnx_file *f, const cg_shape *shape,
                         const int32_t *const *integers, uint64_t wanted, cg_graph *g,
                         cg_budget *budget, cg_onnx_computed **computed);

/* Computes them of a run's integers, the same as above. *fits is 0 where these need another graph:
 * one of them has another shape, or a mask or a selection is of a form that recognition did not
 * find, or is not of one that it did. */
cg_status cg_onnx_computed_run(cg_onnx_computed *n, const int32_t *const *integers, int *fits);

/* Binds the inputs of g that were computed, as far as it still has them; valid until the next
 * cg_onnx_computed_run. n NULL: there are none. errors  those of cg_exec_bind_input */
cg_status cg_onnx_computed_bind(const cg_onnx_computed *n, const cg_graph *g, cg_exec *e);
void cg_onnx_computed_free(cg_onnx_computed *n); /* NULL is allowed */

#endif
