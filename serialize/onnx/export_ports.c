/* What an exported graph reads and gives, and its nodes in order. */
#include "serialize/onnx/export_private.h"

#include <string.h>

/* --- inputs ----------------------------------------------------------------------------------- */

static CgOnnx__TensorShapeProto__Dimension *dimension(cg_onnx_export *x, cg_onnx_size size) {
    CgOnnx__TensorShapeProto__Dimension *d = cg_onnx_alloc(x, sizeof *d);
    if (!d) return NULL;
    cg_onnx__tensor_shape_proto__dimension__init(d);
    if (cg_onnx_is_fixed(size)) {
        d->value_case = CG_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        d->dim_value = size.factor;
        return d;
    }
    d->value_case = CG_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    const char *text = "";
    for (int i = 0; i < CG_ONNX_SYMBOLS; i++)
        if (size.power[i])
            text = cg_onnx_format(x, "%s%s%s", text, *text ? "*" : "", x->symbol[i].name);
    d->dim_param = size.factor == 1 ? cg_onnx_format(x, "%s", text)
                                    : cg_onnx_format(x, "%lld*%s", (long long)size.factor, text);
    return d;
}

static CgOnnx__ValueInfoProto *value_info(cg_onnx_export *x, const char *name, int type, int rank,
                                          const cg_onnx_size *size) {
    CgOnnx__ValueInfoProto *v = cg_onnx_alloc(x, sizeof *v);
    CgOnnx__TypeProto *t = cg_onnx_alloc(x, sizeof *t);
    CgOnnx__TypeProto__Tensor *tensor = cg_onnx_alloc(x, sizeof *tensor);
    CgOnnx__TensorShapeProto *shape = cg_onnx_alloc(x, sizeof *shape);
    if (x->status != CG_OK) return NULL;
    cg_onnx__value_info_proto__init(v);
    cg_onnx__type_proto__init(t);
    cg_onnx__type_proto__tensor__init(tensor);
    cg_onnx__tensor_shape_proto__init(shape);
    v->name = (char *)(uintptr_t)name;
    v->type = t;
    t->value_case = CG_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    t->tensor_type = tensor;
    tensor->has_elem_type = 1;
    tensor->elem_type = type;
    tensor->shape = shape;
    shape->n_dim = (size_t)rank;
    shape->dim = cg_onnx_alloc(x, (size_t)rank * sizeof(void *));
    for (int i = 0; shape->dim && i < rank; i++) shape->dim[i] = dimension(x, size[i]);
    return x->status == CG_OK ? v : NULL;
}

/* An input of the file, its dimensions those of the axes of a value. */
cg_onnx_ref *cg_onnx_input(cg_onnx_export *x, const char *name, int type, int rank,
                           const cg_onnx_dim *dim) {
    cg_onnx_size size[CG_ONNX_RANK];
    cg_onnx_ref *t = cg_onnx_alloc(x, sizeof *t);
    if (!t) return NULL;
    t->name = cg_onnx_name(x, name);
    t->rank = t->n = rank;
    for (int i = 0; i < rank; i++) {
        t->dim[i] = dim[i];
        size[i] = dim[i].size;
        for (int s = 0; s < CG_ONNX_SYMBOLS; s++)
            if (size[i].power[s] && cg_onnx_number(x, size[i]) == x->symbol[s].base) {
                x->symbol[s].input = t;
                x->symbol[s].axis = i;
            }
    }
    if (x->n_input == sizeof x->input / sizeof *x->input)
        return cg_onnx_failed(x, cg_error(CG_EUNSUPPORTED, "more than %zu inputs", x->n_input));
    x->input[x->n_input++] = value_info(x, t->name, type, rank, size);
    return t;
}

/* --- nodes ------------------------------------------------------------------------------------ */

/* Whether readers find the node's results by themselves: they are known at export. */
static int is_known(cg_onnx_export *x, const cg_node *n) {
    cg_onnx_progression p;
    int same = 1;
    for (int i = 0; i < n->n_out; i++) same &= (x->known[n->out[i]->id] & CG_ONNX_SAME) != 0;
    if (same && n->n_in > 0) return 1;
    return n->n_out == 1 && x->known[n->out[0]->id] & CG_ONNX_CONSTANT &&
           cg_onnx_find_progression(x, n->out[0], &p);
}

cg_status cg_onnx_walk(cg_onnx_export *x) {
    for (int i = 0; i < x->graph->n_node; i++) {
        const cg_node *n = x->graph->node[i];
        if (is_known(x, n)) continue;
        x->path = n->name;
        if (!n->op->onnx)
            return cg_error(CG_EUNSUPPORTED, "%s: op %s has no form in ONNX", n->name, n->op->name);
        cg_status s = n->op->onnx(&x->sink, n);
        if (s != CG_OK && x->status != CG_OK) cg_error_set("%s", x->message);
        if (s != CG_OK) return cg_error_in(s, "%s: %s", n->name, n->op->name);
    }
    return CG_OK;
}

/* --- outputs ---------------------------------------------------------------------------------- */

/* Every use of a name becomes one of another. */
static void rename_all(cg_onnx_export *x, const char *from, const char *to) {
    for (size_t i = 0; i < x->n_node; i++) {
        CgOnnx__NodeProto *n = x->node[i];
        for (size_t k = 0; k < n->n_input + n->n_output; k++) {
            char **name = k < n->n_input ? &n->input[k] : &n->output[k - n->n_input];
            if (strcmp(*name, from) == 0) *name = (char *)(uintptr_t)to;
        }
    }
}

static int is_made(const cg_onnx_export *x, const char *name) {
    for (size_t i = 0; i < x->n_node; i++)
        for (size_t k = 0; k < x->node[i]->n_output; k++)
            if (strcmp(x->node[i]->output[k], name) == 0) return 1;
    return 0;
}

/* A tensor that a node makes takes the output's name; what is an input, or stored, or another
 * output already, is handed on. */
static cg_status name_output(cg_onnx_export *x, const char *from, const char *to) {
    int taken = !is_made(x, from);
    for (size_t i = 0; i < x->n_output; i++) taken |= strcmp(x->output[i]->name, from) == 0;
    if (taken) {
        cg_onnx_ref t = {.name = from};
        x->path = to;
        CG_TRY(cg_onnx_append(x, &(cg_onnx_node){"Identity", 1, {&t}, {{0}}}, 1, &from));
    }
    const char *given = cg_onnx_name(x, to);
    if (given && strcmp(given, to) != 0)
        return cg_error(CG_EUNSUPPORTED,
                        "output %s has the name of an input, a parameter or a node: wanted another",
                        to);
    if (given) rename_all(x, from, given);
    return x->status;
}

cg_status cg_onnx_export_outputs(cg_onnx_export *x) {
    const cg_graph *g = x->graph;
    enum { MOST = sizeof x->output / sizeof *x->output };
    cg_onnx_ref *t[MOST];
    cg_onnx_size size[CG_ONNX_RANK];
    if (g->n_output > MOST)
        return cg_error(CG_EUNSUPPORTED, "%d outputs, wanted at most %d", g->n_output, MOST);
    for (int i = 0; i < g->n_output; i++) { /* names change when all nodes are there */
        x->path = g->output[i].name;
        t[i] = cg_onnx_plain(&x->sink, cg_onnx_value(&x->sink, g->output[i].value));
        if (!t[i] || !cg_onnx_name_of(x, t[i])) return cg_error_in(x->status, "%s", x->message);
    }
    for (int i = 0; i < g->n_output; i++) {
        const char *name = g->output[i].name, *from = t[i]->name;
        for (int k = 0; k < i; k++)
            if (strcmp(t[k]->name, from) == 0) from = x->output[k]->name;
        for (int a = 0; a < t[i]->rank; a++) size[a] = t[i]->dim[a].size;
        CG_TRY(name_output(x, from, name));
        if (x->inner && strcmp(name, x->inner) == 0) continue;
        CgOnnx__ValueInfoProto *v =
            value_info(x, name, cg_onnx_data_type(g->output[i].value->dtype), t[i]->rank, size);
        if (!v) return x->status;
        x->output[x->n_output++] = v;
    }
    return x->prepared ? name_output(x, x->prepared->name, "pixel_values") : CG_OK;
}
