/* Recognition: what exporters spell out in small operators, as the ops that do it in one. Each is
 * one file, and looks at a graph of concrete shapes, whichever operators of a file it came from.
 * For session.c and tests. */
#ifndef CG_ONNX_RECOGNISE_H
#define CG_ONNX_RECOGNISE_H

#include "graph/graph.h"
#include "serialize/onnx/budget.h"
#include "serialize/onnx/import.h"

/* Each returns the number of rewrites; errors stay with the graph. */
int cg_recognise_views(cg_graph *g);  /* transpositions and reshapes that undo one another */
int cg_recognise_linear(cg_graph *g); /* a product with a weight, and the bias behind it */
int cg_recognise_norm(cg_graph *g);   /* layer norm, and rows of unit length */
int cg_recognise_conv(cg_graph *g);   /* a convolution, residual and relu */

/* These look at numbers, for which the budget may have no steps left: then nothing is recognised.
 */
int cg_recognise_activation(cg_graph *g, cg_budget *b); /* gelu, gelu_tanh, quickgelu, silu */

/* And these at what is computed of the run's integers, which they ask for its form (computed.h);
 * NULL: there is nothing. */

/* Attention, causal or not, of some keys. */
int cg_recognise_attention(cg_graph *g, cg_onnx_computed *computed, cg_budget *b);

/* A row of each sequence. */
int cg_recognise_rows(cg_graph *g, cg_onnx_computed *computed, cg_budget *b);

/* All of them, and views again; equal and dead nodes go behind each. b NULL: a budget of its own.
 * errors  the graph's */
cg_status cg_recognise(cg_graph *g, cg_onnx_computed *computed, cg_budget *b);

/* --- what they share -------------------------------------------------------------------------- */

/* v, or what it is another shape of: the same elements in the same order. */
cg_value *cg_unshaped(cg_value *v);

/* The node that makes v, or of which v is another shape, if it is of that op; or NULL. */
cg_node *cg_made_by(cg_value *v, const cg_op *op);

/* The one number of a constant. Returns 0 where v is none. */
int cg_one_number(const cg_value *v, float *out);

/* The op's other operand where one is a number: x + c, x · c (also a scale). Returns NULL else. */
cg_value *cg_with_number(const cg_node *n, float *c);

/* Offsets of sequences of `rows` rows each, i32 [sequences + 1]: the same value for all that ask,
 * since the pass `rows` compares it. errors  the graph's: beyond the budget */
cg_value *cg_offsets(cg_graph *g, cg_budget *b, int64_t sequences, int64_t rows);

/* Numbers of a constant or parameter, also of another shape, or of an input that is computed of the
 * run's integers (computed NULL: of none); NULL: it is none of these, or not of that type. */
const void *cg_numbers(const cg_value *v, cg_dtype dtype, const cg_onnx_computed *computed);

#endif
