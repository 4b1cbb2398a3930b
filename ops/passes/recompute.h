/* Values that gradients give again. */
#ifndef CG_OPS_PASSES_RECOMPUTE_H
#define CG_OPS_PASSES_RECOMPUTE_H

#include "graph/graph.h"

/* The node of n's gradient, if it can give n's first result again and does not yet; or NULL. */
cg_node *cg_gradient_of(const cg_graph *g, const cg_node *n);

/* n's first result, given again by its gradient, for which a node with one result more stands in.
 * It comes last: cg_graph_order has to follow. */
cg_value *cg_gradient_gives_again(cg_graph *g, const cg_node *n, cg_node *gradient);

#endif
