/* Building: values, nodes, names, outputs, and the first error. */
#include "graph/graph.h"

#include "graph/op.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

cg_status cg_graph_create(cg_params *params, cg_graph **out) {
    cg_graph *g = *out = calloc(1, sizeof *g);
    if (!g) return cg_error(CG_ENOMEM, "no memory for a graph");
    g->params = params;
    return CG_OK;
}

void cg_graph_free(cg_graph *g) {
    if (!g) return;
    cg_arena_free(&g->arena);
    free(g->value);
    free(g->node);
    free(g->output);
    free(g);
}

cg_status cg_graph_status(const cg_graph *g) {
    return g->status == CG_OK ? CG_OK : cg_error(g->status, "%s", g->message);
}

void *cg_graph_fail(cg_graph *g, cg_status code) {
    if (g->status == CG_OK) {
        g->status = code;
        snprintf(g->message, sizeof g->message, "%s", cg_error_message());
    }
    return NULL;
}

static void *no_memory(cg_graph *g) {
    return cg_graph_fail(g, cg_error(CG_ENOMEM, "no memory for a graph of %d nodes", g->n_node));
}

/* The list, grown where it has no room for one more element; NULL, and the list as it was, when
 * memory is out. */
static void *reserve(void *list, int n, int *cap, size_t size) {
    if (n < *cap) return list;
    int wanted = *cap ? *cap * 2 : 64;
    void *grown = realloc(list, (size_t)wanted * size);
    if (grown) *cap = wanted;
    return grown;
}

/* --- names ------------------------------------------------------------------------------------ */

void cg_scope_push(cg_graph *g, const char *format, ...) {
    char name[sizeof g->scope];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    size_t n = strlen(g->scope);
    int added = snprintf(g->scope + n, sizeof g->scope - n, "%s%s", n ? "/" : "", name);
    if (added < 0 || (size_t)added >= sizeof g->scope - n) {
        g->scope[n] = '\0'; /* a later pop takes one part too many, but the graph has failed */
        cg_graph_fail(g, cg_error(CG_EINVAL, "scope %s/%s is longer than %zu bytes", g->scope, name,
                                  sizeof g->scope - 1));
    }
}

void cg_scope_pop(cg_graph *g) {
    char *slash = strrchr(g->scope, '/');
    *(slash ? slash : g->scope) = '\0';
}

/* A node is named by its scope where the scope has no node yet, otherwise by scope/op. */
static const char *node_name(cg_graph *g, const cg_op *op) {
    char name[sizeof g->scope + 64];
    if (g->named) return g->named;
    if (g->derivative_of)
        snprintf(name, sizeof name, "d(%s)", g->derivative_of);
    else if (!g->scope[0])
        snprintf(name, sizeof name, "%s", op->name);
    else {
        int taken = 0;
        for (int i = g->n_node - 1; i >= 0 && i > g->n_node - 16 && !taken; i--)
            taken = strcmp(g->node[i]->name, g->scope) == 0;
        snprintf(name, sizeof name, taken ? "%s/%s" : "%s", g->scope, op->name);
    }
    return cg_arena_string(&g->arena, name);
}

uint64_t cg_graph_key(cg_graph *g) {
    return g->next_key++;
}

/* --- values ----------------------------------------------------------------------------------- */

static cg_value *value_add(cg_graph *g, cg_value_kind kind, cg_dtype dtype, cg_shape shape,
                           const char *name) {
    cg_value *v = cg_arena_alloc(&g->arena, sizeof *v);
    cg_value **list = reserve(g->value, g->n_value, &g->cap_value, sizeof *list);
    if (list) g->value = list;
    if (!v || !name || !list) return no_memory(g);
    *v = (cg_value){.kind = kind, .dtype = dtype, .shape = shape, .name = name, .id = g->n_value};
    for (int i = shape.rank; i < CG_MAX_RANK; i++) v->shape.dim[i] = 0;
    g->value[g->n_value++] = v;
    return v;
}

cg_value *cg_input(cg_graph *g, const char *name, cg_dtype dtype, cg_shape shape) {
    if (g->status != CG_OK) return NULL;
    cg_status s = cg_shape_check(&shape, dtype);
    if (s != CG_OK) return cg_graph_fail(g, cg_error_in(s, "input %s", name));
    if (cg_graph_find_input(g, name))
        return cg_graph_fail(g, cg_error(CG_EINVAL, "input %s is declared twice", name));
    return value_add(g, CG_VALUE_INPUT, dtype, shape, cg_arena_string(&g->arena, name));
}

cg_value *cg_parameter(cg_graph *g, const char *name, cg_shape shape, cg_param_spec spec) {
    if (g->status != CG_OK) return NULL;
    if (!g->params)
        return cg_graph_fail(
            g, cg_error(CG_EINVAL, "parameter %s: the graph has no parameter store", name));
    cg_param *p;
    cg_status s = cg_params_declare(g->params, name, shape, spec, &p);
    if (s != CG_OK) return cg_graph_fail(g, s);
    for (int i = 0; i < g->n_value; i++)
        if (g->value[i]->param == p) return g->value[i];
    cg_value *v = value_add(g, CG_VALUE_PARAM, p->dtype, p->shape, p->name);
    if (v) v->param = p;
    return v;
}

cg_value *cg_constant(cg_graph *g, cg_dtype dtype, cg_shape shape, const void *data) {
    if (g->status != CG_OK) return NULL;
    cg_status s = cg_shape_check(&shape, dtype);
    if (s != CG_OK) return cg_graph_fail(g, cg_error_in(s, "constant"));
    size_t bytes = (size_t)cg_shape_count(&shape) * cg_dtype_size(dtype);
    void *copy = cg_arena_alloc(&g->arena, bytes ? bytes : 1);
    if (!copy) return no_memory(g);
    if (bytes) memcpy(copy, data, bytes);
    cg_value *v = value_add(g, CG_VALUE_CONSTANT, dtype, shape, "constant");
    if (v) v->data = copy;
    return v;
}

cg_value *cg_constant_f32(cg_graph *g, float x) {
    return cg_constant(g, CG_F32, CG_SCALAR, &x);
}

/* --- nodes ------------------------------------------------------------------------------------ */

static cg_status wrong_count(const cg_op *op, int n_in) {
    char wanted[48];
    if (op->max_in < 0)
        snprintf(wanted, sizeof wanted, "%d or more", op->min_in);
    else if (op->max_in == op->min_in)
        snprintf(wanted, sizeof wanted, "%d", op->min_in);
    else
        snprintf(wanted, sizeof wanted, "%d to %d", op->min_in, op->max_in);
    return cg_error(CG_EINVAL, "has %d operand%s, wanted %s", n_in, n_in == 1 ? "" : "s", wanted);
}

static cg_status check_operands(const cg_graph *g, const cg_op *op, int n_in, cg_value *const *in) {
    if (n_in < op->min_in || (op->max_in >= 0 && n_in > op->max_in)) return wrong_count(op, n_in);
    for (int i = 0; i < n_in; i++) {
        if (!in[i]) return cg_error(CG_EINVAL, "operand %d is NULL", i);
        if (in[i]->id >= g->n_value || g->value[in[i]->id] != in[i])
            return cg_error(CG_EINVAL, "operand %d is a value of another graph", i);
    }
    return CG_OK;
}

static cg_status infer(const cg_node *n, cg_type *type) {
    CG_TRY(n->op->infer(n, type));
    for (int i = 0; i < n->n_out; i++) CG_TRY(cg_shape_check(&type[i].shape, type[i].dtype));
    return CG_OK;
}

enum { MAX_OUT = 8 };

/* "visual/layer3: add: …"; a node outside of any scope is named by its op, once. */
static cg_node *refuse(cg_graph *g, cg_status s, const char *name, const cg_op *op) {
    s = strcmp(name, op->name) == 0 ? cg_error_in(s, "%s", name)
                                    : cg_error_in(s, "%s: %s", name, op->name);
    return cg_graph_fail(g, s);
}

static int least_out(const cg_op *op) {
    return op->min_out ? op->min_out : op->n_out;
}

cg_node *cg_node_add(cg_graph *g, const cg_op *op, const void *attr, int n_in,
                     cg_value *const *in) {
    return cg_node_add_out(g, op, attr, n_in, in, least_out(op));
}

cg_node *cg_node_add_out(cg_graph *g, const cg_op *op, const void *attr, int n_in,
                         cg_value *const *in, int n_out) {
    if (g->status != CG_OK) return NULL;
    while (n_in > op->min_in && !in[n_in - 1]) n_in--;
    const char *name = node_name(g, op);
    cg_node *n = cg_arena_alloc(&g->arena, sizeof *n);
    void *own_attr = cg_arena_alloc(&g->arena, op->attr_size + 1);
    cg_node **list = reserve(g->node, g->n_node, &g->cap_node, sizeof *list);
    if (list) g->node = list;
    if (!name || !n || !own_attr || !list) return no_memory(g);
    cg_status s = check_operands(g, op, n_in, in);
    if (s == CG_OK && (n_out < least_out(op) || n_out > op->n_out))
        s = cg_error(CG_EINVAL, "has %d results, wanted %d to %d", n_out, least_out(op), op->n_out);
    if (s != CG_OK) return refuse(g, s, name, op);

    if (op->attr_size) memcpy(own_attr, attr, op->attr_size);
    *n = (cg_node){.op = op, .name = name, .attr = own_attr, .n_in = n_in, .n_out = n_out};
    n->in = cg_arena_alloc(&g->arena, (size_t)(n_in + 1) * sizeof *n->in);
    n->out = cg_arena_alloc(&g->arena, (size_t)n_out * sizeof *n->out);
    if (!n->in || !n->out) return no_memory(g);
    if (n_in) memcpy(n->in, in, (size_t)n_in * sizeof *in);

    cg_type type[MAX_OUT] = {{0}};
    s = infer(n, type);
    if (s != CG_OK) return refuse(g, s, name, op);
    for (int i = 0; i < n->n_out; i++) {
        cg_value *v = value_add(g, CG_VALUE_RESULT, type[i].dtype, type[i].shape, name);
        if (!v) return NULL;
        v->node = n;
        v->index = i;
        n->out[i] = v;
    }
    n->id = g->n_node;
    g->node[g->n_node++] = n;
    return n;
}

cg_value *cg_node_add1(cg_graph *g, const cg_op *op, const void *attr, int n_in,
                       cg_value *const *in) {
    cg_node *n = cg_node_add(g, op, attr, n_in, in);
    return n ? n->out[0] : NULL;
}

/* --- outputs ---------------------------------------------------------------------------------- */

static void output_add(cg_graph *g, cg_output o) {
    cg_output *list = reserve(g->output, g->n_output, &g->cap_output, sizeof *list);
    if (list) g->output = list;
    if (!list || !o.name)
        no_memory(g);
    else
        g->output[g->n_output++] = o;
}

void cg_graph_output(cg_graph *g, const char *name, cg_value *v, cg_output_mode mode) {
    if (g->status != CG_OK) return;
    if (!v || mode == CG_UPDATE)
        cg_graph_fail(g, cg_error(CG_EINVAL, "output %s: no value, or not a mode for it", name));
    else if (mode == CG_ADD && v->dtype != CG_F32)
        cg_graph_fail(g, cg_error(CG_EDTYPE, "output %s: only f32 is added to memory, this is %s",
                                  name, cg_dtype_name(v->dtype)));
    else if (cg_graph_find_output(g, name))
        cg_graph_fail(g, cg_error(CG_EINVAL, "output %s is declared twice", name));
    else
        output_add(g,
                   (cg_output){.name = cg_arena_string(&g->arena, name), .value = v, .mode = mode});
}

void cg_graph_drop_output(cg_graph *g, const char *name) {
    const cg_output *o = cg_graph_find_output(g, name);
    if (!o) return;
    size_t at = (size_t)(o - g->output);
    memmove(g->output + at, g->output + at + 1, ((size_t)--g->n_output - at) * sizeof *o);
}

void cg_graph_update(cg_graph *g, cg_value *parameter, cg_value *v) {
    if (g->status != CG_OK) return;
    if (!parameter || !parameter->param || !v || !v->node) {
        cg_graph_fail(g, cg_error(CG_EINVAL, "an update wants a parameter and a node's result"));
        return;
    }
    for (int i = 0; i < g->n_output; i++)
        if (g->output[i].param == parameter->param) {
            cg_graph_fail(g, cg_error(CG_EINVAL, "%s is updated twice", parameter->name));
            return;
        }
    if (v->dtype != parameter->dtype || !cg_shape_equal(&v->shape, &parameter->shape)) {
        char found[CG_SHAPE_TEXT], wanted[CG_SHAPE_TEXT];
        cg_graph_fail(g, cg_error(CG_ESHAPE, "update of %s: found %s, wanted %s", parameter->name,
                                  cg_shape_print(&v->shape, found),
                                  cg_shape_print(&parameter->shape, wanted)));
    } else
        output_add(g, (cg_output){.name = parameter->name,
                                  .value = v,
                                  .mode = CG_UPDATE,
                                  .param = parameter->param});
}

const cg_output *cg_graph_find_output(const cg_graph *g, const char *name) {
    for (int i = 0; i < g->n_output; i++)
        if (g->output[i].mode != CG_UPDATE && strcmp(g->output[i].name, name) == 0)
            return &g->output[i];
    return NULL;
}

cg_value *cg_graph_find_input(const cg_graph *g, const char *name) {
    for (int i = 0; i < g->n_value; i++)
        if (g->value[i]->kind == CG_VALUE_INPUT && strcmp(g->value[i]->name, name) == 0)
            return g->value[i];
    return NULL;
}

/* --- rewriting -------------------------------------------------------------------------------- */

void cg_value_replace(cg_graph *g, cg_value *from, cg_value *to) {
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; k < g->node[i]->n_in; k++)
            if (g->node[i]->in[k] == from) g->node[i]->in[k] = to;
    for (int i = 0; i < g->n_output; i++)
        if (g->output[i].value == from) g->output[i].value = to;
}

/* Is v another shape of its maker's first operand? */
static int is_view(const cg_value *v) {
    return v->node && v->node->op->view && v->index == 0;
}

/* May all that read v, and what views it, find it as bf16? */
static int may_narrow(const cg_graph *g, const cg_value *v) {
    for (int i = 0; i < g->n_output; i++)
        if (g->output[i].value == v) return 0;
    for (int i = 0; i < g->n_node; i++) {
        const cg_node *n = g->node[i];
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k] == v && !cg_op_reads_bf16(n->op, k)) return 0;
        if (n->n_in && n->in[0] == v && is_view(n->out[0]) && !may_narrow(g, n->out[0])) return 0;
    }
    return 1;
}

static void narrow(cg_graph *g, cg_value *v) {
    v->dtype = CG_BF16;
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i]->n_in && g->node[i]->in[0] == v && is_view(g->node[i]->out[0]))
            narrow(g, g->node[i]->out[0]);
}

int cg_value_narrow(cg_graph *g, cg_value *v) {
    while (is_view(v)) v = v->node->in[0];
    if (!v->node || v->dtype != CG_F32 || !(v->node->op->bf16_out >> v->index & 1)) return 0;
    if (!may_narrow(g, v)) return 0;
    narrow(g, v);
    return 1;
}

/* Appends n to list, behind what makes its operands. id is -1 for nodes that stand there. */
static void place(cg_node *n, cg_node **list, int *count) {
    if (n->id < 0) return;
    n->id = -1;
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k]->node) place(n->in[k]->node, list, count);
    list[(*count)++] = n;
}

void cg_graph_order(cg_graph *g) {
    int count = 0;
    cg_node **list = malloc(((size_t)g->cap_node + 1) * sizeof *list);
    if (!list) {
        no_memory(g);
        return;
    }
    for (int i = 0; i < g->n_node; i++) place(g->node[i], list, &count);
    for (int i = 0; i < count; i++) list[i]->id = i;
    free(g->node);
    g->node = list;
}

void cg_graph_sweep(cg_graph *g) {
    int nodes = 0, values = 0;
    for (int i = 0; i < g->n_value; i++) {
        cg_value *v = g->value[i];
        if (v->node && v->node->dead) continue;
        v->id = values;
        g->value[values++] = v;
    }
    for (int i = 0; i < g->n_node; i++) {
        cg_node *n = g->node[i];
        if (n->dead) continue;
        n->id = nodes;
        g->node[nodes++] = n;
    }
    g->n_value = values;
    g->n_node = nodes;
}

static cg_status verify_node(const cg_graph *g, const cg_node *n) {
    CG_TRY(check_operands(g, n->op, n->n_in, n->in));
    if (n->n_out < least_out(n->op) || n->n_out > n->op->n_out)
        return cg_error(CG_EINVAL, "has %d results", n->n_out);
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i]->node && n->in[i]->node->id >= n->id)
            return cg_error(CG_EINVAL, "operand %d is made by %s, which runs later", i,
                            n->in[i]->node->name);
    cg_type type[MAX_OUT] = {{0}};
    CG_TRY(infer(n, type));
    for (int i = 0; i < n->n_out; i++) {
        const cg_value *v = n->out[i];
        char found[CG_SHAPE_TEXT], wanted[CG_SHAPE_TEXT];
        int as_bf16 = v->dtype == CG_BF16 && type[i].dtype == CG_F32 &&
                      (n->op->bf16_out >> i & 1) && !is_view(v);
        if ((v->dtype != type[i].dtype && !as_bf16) || !cg_shape_equal(&v->shape, &type[i].shape))
            return cg_error(CG_EINVAL, "output %d is %s %s, its operands make it %s %s", i,
                            cg_dtype_name(v->dtype), cg_shape_print(&v->shape, found),
                            cg_dtype_name(type[i].dtype), cg_shape_print(&type[i].shape, wanted));
    }
    return CG_OK;
}

cg_status cg_graph_verify(const cg_graph *g) {
    CG_TRY(cg_graph_status(g));
    for (int i = 0; i < g->n_node; i++) {
        const cg_node *n = g->node[i];
        cg_status s = n->id == i ? verify_node(g, n) : cg_error(CG_EINVAL, "is numbered %d", n->id);
        if (s != CG_OK) return cg_error_in(s, "node %d, %s: %s", i, n->name, n->op->name);
    }
    for (int i = 0; i < g->n_output; i++) {
        const cg_value *v = g->output[i].value;
        if (v->id >= g->n_value || g->value[v->id] != v)
            return cg_error(CG_EINVAL, "output %s is not a value of the graph", g->output[i].name);
    }
    return CG_OK;
}
