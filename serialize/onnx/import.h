/* ONNX files as our graphs. What a file computes from shapes and constants is computed here; what
 * remains becomes our ops. Reshapes and transpositions become views (view.h), so that pictures,
 * which files hold as [N, C, H, W], stay [N, H, W, C], and sequences [tokens, batch, width] stay
 * [batch, tokens, width]; elements move only where an operator needs them otherwise.
 *
 * Operators on integers that only a run knows are not ours. They serve two ends in CLIP's towers,
 * and are recognised by what they do: each is evaluated for a few made-up inputs, and taken for
 *   an attention mask   where it stands before a softmax and hides, besides what is hidden always,
 *                       the keys of which an input i64 [batch, keys] is, is not, or is not above a
 *                       number: 0, 1, or one that the file compares with;
 *   the end token's row where it selects, of each text, the row of the first largest id, or of the
 *                       first id that equals a number which the file compares with.
 * What else follows from integers is computed before each run, and is an input of the graph.
 *
 * Of a batch 13 rows are made up, which come again. An input of more than 2^20 made-up integers may
 * only select rows, and all that is computed before a run may hold 2^27 numbers.
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

/* What a run must compute of its integers before the graph: inputs of the graph beside the file's.
 */
typedef struct cg_onnx_ahead cg_onnx_ahead;

/* Appends the file's graph to g, an empty one over such a store, at shape[i] of input i, as far as
 * the wanted outputs need it: bit i is output i. An input of rank -1 is absent. Inputs and outputs
 * have the file's names; integers are i32, floats f32. Outputs have mode CG_KEEP. *integers is NULL
 * where nothing is to be computed; it refers to f.
 * errors  CG_ESHAPE; CG_EINVAL: a needed input is absent; CG_EUNSUPPORTED, CG_EFORMAT name the node
 */
cg_status cg_onnx_import(const cg_onnx_file *f, const cg_shape *shape, uint64_t wanted, cg_graph *g,
                         cg_onnx_ahead **integers);

/* Computes them of the file's inputs: input[i] is i32, or NULL where it is not of integers. */
cg_status cg_onnx_ahead_run(cg_onnx_ahead *n, const int32_t *const *input);

/* Input k of the graph that was computed, by name: f32 or i32 as the graph has it, valid until the
 * next run; NULL where k is not less than their number. */
const char *cg_onnx_ahead_at(const cg_onnx_ahead *n, int k, const void **data);
void cg_onnx_ahead_free(cg_onnx_ahead *n); /* NULL is allowed */

CG_API_END

#endif
