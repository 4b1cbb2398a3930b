#include "serialize/graph_json.h"

#include "graph/op.h"
#include "serialize/shape_json.h"

#include <math.h>
#include <stdlib.h>

enum { FEW = 64 }; /* elements of the largest constant that is written */

static json_t *real(float x) {
    return isfinite(x) ? json_real((double)x) : json_null();
}

static json_t *element(const cg_value *v, int64_t i) {
    switch (v->dtype) {
    case CG_F32:
        return real(((const float *)v->data)[i]);
    case CG_I64:
        return json_integer(((const int64_t *)v->data)[i]);
    case CG_I32:
        return json_integer(((const int32_t *)v->data)[i]);
    case CG_U8:
        return json_integer(((const uint8_t *)v->data)[i]);
    default:
        return json_null();
    }
}

static json_t *elements(const cg_value *v) {
    json_t *list = json_array();
    for (int64_t i = 0; i < cg_shape_count(&v->shape); i++)
        json_array_append_new(list, element(v, i));
    return list;
}

static json_t *value_json(const cg_value *v) {
    static const char *const kind[] = {"input", "parameter", "constant", "result"};
    json_t *j = json_pack("{s:i, s:s, s:s, s:o}", "id", v->id, "kind", kind[v->kind], "dtype",
                          cg_dtype_name(v->dtype), "shape", cg_shape_json(&v->shape));
    int bad = !j;
    if (v->kind == CG_VALUE_INPUT || v->param)
        bad |= json_object_set_new(j, "name", json_string(v->name));
    if (v->param) bad |= json_object_set_new(j, "trained", json_boolean(v->param->trainable));
    if (v->node) {
        bad |= json_object_set_new(j, "node", json_integer(v->node->id));
        bad |= json_object_set_new(j, "index", json_integer(v->index));
    }
    if (v->kind == CG_VALUE_CONSTANT && cg_shape_count(&v->shape) <= FEW)
        bad |= json_object_set_new(j, "data", elements(v));
    if (!bad) return j;
    json_decref(j);
    return NULL;
}

static json_t *attribute_json(const cg_attr_field *a, const void *at) {
    if (a->type == CG_ATTR_SHAPE) return cg_shape_json(at);
    if (a->type == CG_ATTR_FLOAT) return real(*(const float *)at);
    int64_t x = *(const int64_t *)at;
    return a->word ? json_string(a->word(x)) : json_integer(x);
}

static json_t *attributes_json(const cg_node *n) {
    json_t *j = json_object();
    for (const cg_attr_field *a = n->op->attr; a && a->name; a++)
        json_object_set_new(j, a->name, attribute_json(a, (const char *)n->attr + a->offset));
    return j;
}

static json_t *ids(cg_value *const *v, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_integer(v[i]->id));
    return list;
}

static json_t *node_json(const cg_node *n) {
    return json_pack("{s:i, s:s, s:s, s:o, s:o, s:o, s:I}", "id", n->id, "name", n->name, "op",
                     n->op->name, "attributes", attributes_json(n), "operands", ids(n->in, n->n_in),
                     "results", ids(n->out, n->n_out), "flops",
                     (json_int_t)(n->op->flops ? n->op->flops(n) : 0));
}

static json_t *output_json(const cg_output *o) {
    static const char *const mode[] = {"keep", "set", "add", "update"};
    json_t *j =
        json_pack("{s:s, s:i, s:s}", "name", o->name, "value", o->value->id, "mode", mode[o->mode]);
    if (!o->param || json_object_set_new(j, "parameter", json_string(o->param->name)) == 0)
        return j;
    json_decref(j);
    return NULL;
}

/* Fails where an element could not be made: json_array_append_new refuses NULL. */
static int fill(const cg_graph *g, json_t *values, json_t *nodes, json_t *outputs) {
    int bad = 0;
    for (int i = 0; i < g->n_value; i++)
        bad |= json_array_append_new(values, value_json(g->value[i]));
    for (int i = 0; i < g->n_node; i++) bad |= json_array_append_new(nodes, node_json(g->node[i]));
    for (int i = 0; i < g->n_output; i++)
        bad |= json_array_append_new(outputs, output_json(&g->output[i]));
    return bad;
}

cg_status cg_graph_json(const cg_graph *g, char **text) {
    json_t *values = json_array(), *nodes = json_array(), *outputs = json_array();
    int bad = fill(g, values, nodes, outputs);
    json_t *all =
        json_pack("{s:o, s:o, s:o}", "values", values, "nodes", nodes, "outputs", outputs);
    *text = bad || !all ? NULL : json_dumps(all, JSON_COMPACT);
    json_decref(all);
    if (*text) return CG_OK;
    return cg_error(CG_EFORMAT, "the graph cannot be written as JSON: a name is not UTF-8, or "
                                "there is no memory");
}
