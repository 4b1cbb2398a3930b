/* Recognition: what exporters spell out in small operators, as the ops that do it in one. Each is
 * one file, and looks at a graph of concrete shapes, whichever operators of a file it came from. For
 * session.c and tests. */
#ifndef CG_ONNX_RECOGNISE_H
#define CG_ONNX_RECOGNISE_H

#include "graph/graph.h"

/* Each returns the number of rewrites; errors stay with the graph. */
int cg_recognise_linear(cg_graph *g);     /* a product with a weight, and the bias behind it */
int cg_recognise_norm(cg_graph *g);       /* layer norm, and rows of unit length */
int cg_recognise_activation(cg_graph *g); /* gelu, gelu_tanh, quickgelu, silu */
int cg_recognise_attention(cg_graph *g);  /* attention, causal or not, with a mask of keys or not */
int cg_recognise_conv(cg_graph *g);       /* a convolution, residual and relu */

/* All of them, in that order; equal and dead nodes go before and after. errors  the graph's */
cg_status cg_recognise(cg_graph *g);

#endif
