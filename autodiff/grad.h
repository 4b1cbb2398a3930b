/* Reverse-mode differentiation: appends the nodes that compute gradients to a graph.
 *
 * The walk goes over the nodes from last to first and asks each op for its rule; what several
 * readers contribute is added up, and what an operand was broadcast to is summed back, here and
 * nowhere else. Gradient nodes are ordinary nodes, named d(name of the node they belong to).
 *
 * source  Griewank and Walther, Evaluating Derivatives, 2nd ed., chapter 3 */
#ifndef CG_AUTODIFF_GRAD_H
#define CG_AUTODIFF_GRAD_H

#include "graph/graph.h"

CG_API_BEGIN

/* grads[i] = Σ_o Σ seed[o] · d output[o] / d wrt[i], of wrt[i]'s shape.
 *
 * output  f32 values of the graph
 * seed    their gradients, each of its output's shape; NULL (the list, or one): ones
 * wrt     f32 values: inputs, parameters, results
 * grads   receives values owned by the graph; zeros where no output depends on wrt[i]
 * errors  CG_EUNSUPPORTED: an op on the way has no gradient; CG_ESHAPE, CG_EDTYPE. Errors stay
 *         with the graph too */
cg_status cg_grad(cg_graph *g, int n_output, cg_value *const *output, cg_value *const *seed,
                  int n_wrt, cg_value *const *wrt, cg_value **grads);

CG_API_END

#endif
