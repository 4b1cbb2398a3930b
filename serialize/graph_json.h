/* A graph as JSON, for other programs. One object:
 *
 *   "values":  in the order of their ids, which count from 0: {
 *       "id", "kind": "input" | "parameter" | "constant" | "result",
 *       "name": of an input or parameter,
 *       "dtype": "f32" …, "shape": [2, 3],
 *       "trained": true or false, of a parameter,
 *       "node", "index": of a result: the node that makes it, and which of its results it is,
 *       "data": the elements of a constant of at most 64, row by row }
 *   "nodes":   in an order in which they can run: {
 *       "id", "name": the path of scopes, "op",
 *       "attributes": { name: whole number | number | list of whole numbers },
 *       "operands": [ids of values], "results": [ids of values],
 *       "flops": useful ones of a run }
 *   "outputs": {
 *       "name", "value": its id, "mode": "keep" | "set" | "add" | "update",
 *       "parameter": the name of what an update replaces } */
#ifndef CG_GRAPH_JSON_H
#define CG_GRAPH_JSON_H

#include "graph/graph.h"

CG_API_BEGIN

/* The text is allocated; the caller frees it. errors  CG_ENOMEM; CG_EFORMAT: a name is not UTF-8 */
cg_status cg_graph_json(const cg_graph *g, char **text);

CG_API_END

#endif
