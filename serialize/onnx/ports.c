#include "serialize/onnx/file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TYPE(name) CG_ONNX__TENSOR_PROTO__DATA_TYPE__##name

static cg_status set_dtype(int type, cg_onnx_port *p) {
    static const struct {
        int type;
        cg_dtype dtype;
    } list[] = {{TYPE(FLOAT), CG_F32}, {TYPE(FLOAT16), CG_F16}, {TYPE(BFLOAT16), CG_BF16},
                {TYPE(INT64), CG_I64}, {TYPE(INT32), CG_I32},   {TYPE(UINT8), CG_U8},
                {TYPE(BOOL), CG_U8}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (list[i].type == type) {
            p->dtype = list[i].dtype;
            p->is_bool = type == TYPE(BOOL);
            return CG_OK;
        }
    return cg_error(CG_EUNSUPPORTED, "has element type %d, which is not read", type);
}

static cg_status read_port(const CgOnnx__ValueInfoProto *v, cg_onnx_port *p) {
    *p = (cg_onnx_port){.name = v->name, .rank = -1};
    if (!v->type || v->type->value_case != CG_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
        return cg_error(CG_EUNSUPPORTED, "is not declared as a tensor");
    const CgOnnx__TypeProto__Tensor *t = v->type->tensor_type;
    CG_TRY(set_dtype(t->elem_type, p));
    if (!t->shape) return CG_OK;
    if (t->shape->n_dim > CG_MAX_RANK)
        return cg_error(CG_EUNSUPPORTED, "has rank %zu, wanted at most %d", t->shape->n_dim,
                        CG_MAX_RANK);
    p->rank = (int)t->shape->n_dim;
    for (int i = 0; i < p->rank; i++) {
        const CgOnnx__TensorShapeProto__Dimension *d = t->shape->dim[i];
        int sized = d->value_case == CG_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        int named = d->value_case == CG_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        p->dim[i] = sized && d->dim_value >= 0 ? d->dim_value : -1;
        p->symbol[i] = named && d->dim_param ? d->dim_param : "";
    }
    return CG_OK;
}

static cg_status read_inputs(cg_onnx_file *f, cg_onnx_names *weights) {
    const CgOnnx__GraphProto *g = f->model->graph;
    for (size_t i = 0; i < g->n_initializer; i++)
        CG_TRY(cg_onnx_names_set(weights, g->initializer[i]->name, 0));
    for (size_t i = 0; i < g->n_input; i++) {
        if (cg_onnx_names_get(weights, g->input[i]->name) >= 0) continue;
        cg_status s = read_port(g->input[i], &f->input[f->n_input]);
        if (s != CG_OK) return cg_error_in(s, "input %.200s", g->input[i]->name);
        f->n_input++;
    }
    return CG_OK;
}

static cg_status read_ports(cg_onnx_file *f) {
    const CgOnnx__GraphProto *g = f->model->graph;
    cg_onnx_names weights = {0};
    f->input = calloc(g->n_input + 1, sizeof *f->input);
    f->output = calloc(g->n_output + 1, sizeof *f->output);
    if (!f->input || !f->output) return cg_error(CG_ENOMEM, "no memory for inputs and outputs");
    cg_status s = read_inputs(f, &weights);
    cg_onnx_names_free(&weights);
    CG_TRY(s);
    for (size_t i = 0; i < g->n_output; i++) {
        s = read_port(g->output[i], &f->output[i]);
        if (s != CG_OK) return cg_error_in(s, "output %.200s", g->output[i]->name);
        f->n_output++;
    }
    return CG_OK;
}

static int most_first(const void *a, const void *b) {
    const cg_onnx_operator *x = a, *y = b;
    return x->count != y->count ? y->count - x->count : strcmp(x->name, y->name);
}

static cg_status count_operators(cg_onnx_file *f) {
    const CgOnnx__GraphProto *g = f->model->graph;
    cg_onnx_names seen = {0};
    f->op = calloc(g->n_node + 1, sizeof *f->op);
    cg_status s = f->op ? CG_OK : cg_error(CG_ENOMEM, "no memory for %zu nodes", g->n_node);
    for (size_t i = 0; i < g->n_node && s == CG_OK; i++) {
        const char *name = g->node[i]->op_type;
        int at = cg_onnx_names_get(&seen, name);
        if (at < 0) {
            at = f->n_op++;
            f->op[at].name = name;
            s = cg_onnx_names_set(&seen, name, at);
        }
        f->op[at].count++;
    }
    cg_onnx_names_free(&seen);
    if (s == CG_OK) qsort(f->op, (size_t)f->n_op, sizeof *f->op, most_first);
    return s;
}

cg_status cg_onnx_describe(cg_onnx_file *f) {
    const CgOnnx__ModelProto *m = f->model;
    f->meta = calloc(m->n_metadata_props + 1, sizeof *f->meta);
    if (!f->meta) return cg_error(CG_ENOMEM, "no memory for metadata");
    for (size_t i = 0; i < m->n_metadata_props; i++) {
        const CgOnnx__StringStringEntryProto *e = m->metadata_props[i];
        f->meta[i] = (cg_meta){e->key ? e->key : "", e->value ? e->value : ""};
    }
    CG_TRY(read_ports(f));
    return count_operators(f);
}

int cg_onnx_inputs(const cg_onnx_file *f, const cg_onnx_port **list) {
    *list = f->input;
    return f->n_input;
}

int cg_onnx_outputs(const cg_onnx_file *f, const cg_onnx_port **list) {
    *list = f->output;
    return f->n_output;
}

int cg_onnx_meta(const cg_onnx_file *f, const cg_meta **list) {
    *list = f->meta;
    return (int)f->model->n_metadata_props;
}

int cg_onnx_operators(const cg_onnx_file *f, const cg_onnx_operator **list) {
    *list = f->op;
    return f->n_op;
}

int64_t cg_onnx_opset(const cg_onnx_file *f) {
    return f->opset;
}

const char *cg_onnx_producer(const cg_onnx_file *f) {
    return f->model->producer_name ? f->model->producer_name : "";
}

int64_t cg_onnx_weights(const cg_onnx_file *f) {
    int64_t sum = 0;
    for (size_t i = 0; i < f->model->graph->n_initializer; i++)
        if (cg_onnx_type_is_float(f->tensor[i].type)) sum += f->tensor[i].count;
    return sum;
}
