#include "serialize/onnx/computed.h"
#include "serialize/onnx/import_private.h"

#include <stdlib.h>
#include <string.h>

/* --- names ------------------------------------------------------------------------------------ */

static cg_status define(cg_importer *m, const char *name, const cg_item *x) {
    if (!*name) return CG_OK; /* an output that nobody asks for */
    if (m->n_item == m->cap_item) {
        int room = m->cap_item ? 2 * m->cap_item : 256;
        cg_item **list = realloc(m->item, (size_t)room * sizeof *list);
        if (!list) return cg_error(CG_ENOMEM, "no memory for %d values", room);
        m->item = list;
        m->cap_item = room;
    }
    cg_item *copy = cg_arena_alloc(&m->room.arena, sizeof *copy);
    if (!copy) return cg_error(CG_ENOMEM, "no memory for %d values", m->n_item);
    *copy = *x;
    copy->self = copy;
    copy->at = m->n_item;
    copy->reads = cg_onnx_names_get(&m->reads, name);
    m->item[m->n_item] = copy;
    return cg_onnx_names_set(&m->names, name, m->n_item++);
}

/* Another name of the same. */
static cg_status alias(cg_importer *m, const char *name, cg_item *x) {
    if (!*name) return CG_OK;
    int reads = cg_onnx_names_get(&m->reads, name);
    x->reads += reads > 0 ? reads : 0;
    return cg_onnx_names_set(&m->names, name, x->at);
}

static cg_item *find(const cg_importer *m, const char *name) {
    int at = cg_onnx_names_get(&m->names, name);
    return at < 0 ? NULL : m->item[at];
}

/* --- what a graph begins with ----------------------------------------------------------------- */

static cg_status define_initializers(cg_importer *m) {
    for (size_t i = 0; i < m->f->model->graph->n_initializer; i++) {
        const cg_onnx_tensor *t = &m->f->tensor[i];
        cg_item x = {.type = t->type, .shape = t->shape};
        if (cg_onnx_type_is_float(t->type)) {
            x.weight = t;
        } else {
            cg_status s = cg_host_of(&m->room, t, &x.host);
            if (s != CG_OK) return cg_error_in(s, "tensor %.200s", t->name);
        }
        CG_TRY(define(m, t->name, &x));
    }
    return CG_OK;
}

static cg_status check_input(const cg_onnx_port *p, const cg_shape *shape) {
    char text[CG_SHAPE_TEXT];
    cg_shape declared = {.rank = p->rank < 0 ? 0 : p->rank};
    memcpy(declared.dim, p->dim, sizeof p->dim);
    int fits = p->rank < 0 || shape->rank == p->rank;
    for (int i = 0; fits && i < p->rank; i++) fits = p->dim[i] < 0 || p->dim[i] == shape->dim[i];
    if (!fits) {
        char wanted[CG_SHAPE_TEXT];
        return cg_error(CG_ESHAPE, "input %.200s is %s, wanted %s (-1: any)", p->name,
                        cg_shape_print(shape, text), cg_shape_print(&declared, wanted));
    }
    for (int i = 0; i < shape->rank; i++)
        if (shape->dim[i] < 1)
            return cg_error(CG_ESHAPE, "input %.200s is %s, wanted dimensions of 1 or more",
                            p->name, cg_shape_print(shape, text));
    return CG_OK;
}

static int type_of(const cg_onnx_port *p) {
    if (p->is_bool) return CG_ONNX_TYPE(BOOL);
    if (p->dtype == CG_U8) return CG_ONNX_TYPE(UINT8);
    if (p->dtype == CG_I32) return CG_ONNX_TYPE(INT32);
    return p->dtype == CG_I64 ? CG_ONNX_TYPE(INT64) : CG_ONNX_TYPE(FLOAT);
}

static cg_status define_inputs(cg_importer *m) {
    const cg_onnx_port *list;
    int n = cg_onnx_inputs(m->f, &list);
    for (int i = 0; i < n; i++) {
        const cg_shape *shape = &m->shape[i];
        if (shape->rank < 0) continue; /* absent */
        CG_TRY(check_input(&list[i], shape));
        cg_item x = {.type = type_of(&list[i]), .shape = *shape};
        int is_float = cg_item_is_float(&x);
        x.of_run = !is_float && x.type != CG_ONNX_TYPE(UINT8); /* which is a picture */
        if (x.of_run) m->room.budget.integers += cg_item_count(&x);
        if (!x.of_run) {
            x.v = cg_input(m->g, list[i].name, is_float ? CG_F32 : CG_I32, *shape);
            CG_TRY(cg_graph_status(m->g));
            x.view = cg_view_of(shape);
        }
        CG_TRY(define(m, list[i].name, &x));
    }
    return cg_tape_inputs(m);
}

/* --- nodes ------------------------------------------------------------------------------------ */

static const cg_import_op *find_op(const char *name) {
    const cg_import_op *const tables[] = {
        cg_import_elementwise, cg_import_choice, cg_import_shape, cg_import_matrix,
        cg_import_picture,     cg_import_resize, cg_import_reduce};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const cg_import_op *op = tables[i]; op->name; op++)
            if (strcmp(op->name, name) == 0) return op;
    return NULL;
}

static int is_one_of(const char *name, const char *const *list) {
    for (; *list; list++)
        if (strcmp(name, *list) == 0) return 1;
    return 0;
}

/* Weights that are only seen otherwise stay where they are. */
static int only_views(const cg_job *j) {
    static const char *const list[] = {"Transpose", "Reshape", "Squeeze",  "Unsqueeze",
                                       "Flatten",   "Cast",    "Identity", NULL};
    if (j->n_in < 1 || !j->in[0] || !j->in[0]->weight) return 0;
    int to = (int)cg_onnx_int(j->node, "to", CG_ONNX_TYPE(FLOAT)); /* of Cast */
    return is_one_of(j->node->op_type, list) && cg_onnx_type_is_float(to);
}

/* Evaluates a node whose inputs are known, or whose result depends on shapes alone. */
static cg_status fold(cg_job *j, int *done) {
    static const char *const shapes[] = {"Shape", "Size", NULL};
    const cg_host *in[64] = {0};
    cg_host out[64] = {{0}}, shape;
    *done = 0;
    if (j->n_in > 64 || j->n_out > 64 || only_views(j)) return CG_OK;
    for (int i = 0; i < j->n_in; i++) {
        if (!j->in[i]) continue;
        if (is_one_of(j->node->op_type, shapes)) {
            shape = (cg_host){.type = j->in[i]->type, .shape = j->in[i]->shape};
            in[i] = &shape;
        } else if (j->in[i]->of_run || !(in[i] = cg_item_known(j, j->in[i]))) {
            return CG_OK;
        }
    }
    CG_TRY(cg_host_run(&j->m->room, j->node, in, j->n_in, out, j->n_out, done));
    for (int k = 0; k < j->n_out; k++)
        if (out[k].x)
            j->out[k] = (cg_item){.type = out[k].type, .shape = out[k].shape, .host = out[k]};
    return CG_OK;
}

static cg_status run_op(cg_job *j) {
    const cg_import_op *op = find_op(j->node->op_type);
    for (int i = 0; op && i < op->operands; i++)
        if (i >= j->n_in || !j->in[i])
            return cg_error(CG_EFORMAT, "has %d operands, wanted %d or more", j->n_in,
                            op->operands);
    return op ? op->run(j) : cg_error(CG_EUNSUPPORTED, "this operator is not supported");
}

static cg_status run_graph(cg_importer *m, const CgOnnx__GraphProto *g, const int *order);

/* A branch whose condition is known is part of the graph, as if it stood there. */
static cg_status run_if(cg_job *j) {
    double condition;
    if (j->n_in != 1 || !cg_item_number(j, j->in[0], &condition))
        return cg_error(CG_EUNSUPPORTED, "branches by what only a run knows");
    const CgOnnx__AttributeProto *a =
        cg_onnx_attribute(j->node, condition != 0 ? "then_branch" : "else_branch");
    if (!a || !a->g || a->g->n_output < (size_t)j->n_out)
        return cg_error(CG_EFORMAT, "has no such branch");
    CG_TRY(run_graph(j->m, a->g, NULL));
    for (int k = 0; k < j->n_out; k++) {
        const char *name = a->g->output[k]->name;
        int at = name ? cg_onnx_names_get(&j->m->names, name) : -1;
        if (at < 0) return cg_error(CG_EFORMAT, "has a branch without output %d", k);
        CG_TRY(alias(j->m, j->node->output[k], j->m->item[at]));
    }
    return CG_OK;
}

static cg_status run_job(cg_job *j) {
    int done = 0;
    if (strcmp(j->node->op_type, "If") == 0) return run_if(j);
    CG_TRY(fold(j, &done));
    if (!done) CG_TRY(cg_import_lookup(j, &done));
    if (!done) CG_TRY(cg_import_integers(j, &done));
    return done ? CG_OK : run_op(j);
}

static cg_status missing(const cg_importer *m, const char *name) {
    const cg_onnx_port *list;
    int n = cg_onnx_inputs(m->f, &list);
    for (int i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0)
            return cg_error(CG_EINVAL, "reads input %.200s, which is not given", name);
    return cg_error(CG_EFORMAT, "reads %.200s, which has no value", name);
}

static cg_status define_results(cg_importer *m, cg_job *j) {
    for (int k = 0; k < j->n_out; k++) {
        const char *name = j->node->output[k];
        const cg_item *x = &j->out[k];
        if (j->before) {
            CG_TRY(alias(m, name, j->before->out[k]));
            continue;
        }
        if (x->v || x->host.x || x->weight || x->of_run) CG_TRY(define(m, name, x));
        if (!j->tape || !*name) continue;
        j->tape->out[k] = find(m, name);
        j->tape->out[k]->maker = j->tape;
    }
    return CG_OK;
}

/* One that has been read: what its maker has made goes with the last. */
static void count_read(cg_importer *m, cg_item *x) {
    if (!x || --x->reads > 0 || !x->maker) return;
    for (int k = 0; k < x->maker->n_out; k++)
        if (x->maker->out[k] && x->maker->out[k]->reads > 0) return;
    cg_tape_drop(m, x->maker);
}

static cg_status run_node(cg_importer *m, const CgOnnx__NodeProto *n) {
    cg_job j = {.m = m, .g = m->g, .node = n, .n_in = (int)n->n_input, .n_out = (int)n->n_output};
    j.in = calloc((size_t)j.n_in + 1, sizeof *j.in);
    j.out = calloc((size_t)j.n_out + 1, sizeof *j.out);
    cg_status s = j.in && j.out ? CG_OK : cg_error(CG_ENOMEM, "no memory for a node");
    while (j.n_in > 0 && !*n->input[j.n_in - 1]) j.n_in--;
    while (j.n_out > 1 && !*n->output[j.n_out - 1]) j.n_out--;
    for (int i = 0; i < j.n_in && s == CG_OK; i++) {
        if (!*n->input[i]) continue;
        j.in[i] = find(m, n->input[i]);
        if (!j.in[i]) s = missing(m, n->input[i]);
    }
    if (s == CG_OK) s = run_job(&j);
    if (s == CG_OK) s = cg_graph_status(m->g);
    if (s == CG_OK) s = define_results(m, &j);
    for (int i = 0; i < j.n_in && s == CG_OK; i++) count_read(m, j.in[i]);
    free(j.in);
    free(j.out);
    return s;
}

/* order NULL: as the nodes stand. */
static cg_status run_graph(cg_importer *m, const CgOnnx__GraphProto *g, const int *order) {
    char text[200];
    for (size_t i = 0; i < g->n_node; i++) {
        size_t at = order ? (size_t)order[i] : i;
        const CgOnnx__NodeProto *n = g->node[at];
        if (order && !m->needed[at]) continue;
        cg_graph *graph = m->g;
        graph->named = cg_arena_string(&graph->arena, n->name && *n->name ? n->name : n->op_type);
        cg_status s = run_node(m, n);
        if (s != CG_OK) return cg_error_in(s, "%s", cg_onnx_node_text(n, text));
    }
    m->g->named = NULL;
    return CG_OK;
}

static cg_status declare_outputs(cg_importer *m) {
    const CgOnnx__GraphProto *g = m->f->model->graph;
    cg_job j = {.m = m, .g = m->g};
    for (size_t i = 0; i < g->n_output; i++) {
        cg_value *v;
        if (i >= 64 || !(m->wanted >> i & 1)) continue;
        cg_item *x = find(m, g->output[i]->name);
        cg_status s = x ? CG_OK : missing(m, g->output[i]->name);
        if (s == CG_OK && !cg_item_is_float(x))
            s = cg_error(CG_EUNSUPPORTED, "is of integers, wanted floats");
        if (s == CG_OK) s = cg_item_plain(&j, x, &v);
        if (s != CG_OK) return cg_error_in(s, "output %.200s", g->output[i]->name);
        if (v->kind != CG_VALUE_RESULT) v = cg_reshape(m->g, v, v->shape);
        cg_graph_output(m->g, g->output[i]->name, v, CG_KEEP);
    }
    return cg_graph_status(m->g);
}

void cg_importer_end(cg_importer *m) {
    for (int i = 0; i < m->n_computed; i++) free(m->computed[i].data);
    for (int i = 0; i < m->n_tape; i++) cg_tape_drop(m, m->tape[i]);
    cg_arena_free(&m->inputs.arena);
    cg_onnx_names_free(&m->names);
    cg_onnx_names_free(&m->reads);
    cg_arena_free(&m->room.arena);
    free(m->fixed);
    free(m->tape);
    free(m->item);
    free(m);
}

cg_status cg_onnx_import(const cg_onnx_file *f, const cg_shape *shape,
                         const int32_t *const *integers, uint64_t wanted, cg_graph *g,
                         cg_budget *budget, cg_onnx_computed **computed) {
    *computed = NULL;
    cg_importer *m = calloc(1, sizeof *m);
    if (!m) return cg_error(CG_ENOMEM, "no memory to import %s", f->path);
    m->f = f;
    m->g = g;
    m->shape = shape;
    m->integers = integers;
    m->wanted = wanted;
    m->room.budget = *budget;
    cg_status s = cg_import_mark_needed(m);
    if (s == CG_OK) s = cg_import_count_reads(m);
    if (s == CG_OK) s = define_initializers(m);
    if (s == CG_OK) s = define_inputs(m);
    if (s == CG_OK) s = run_graph(m, f->model->graph, f->order);
    if (s == CG_OK) s = declare_outputs(m);
    if (s == CG_OK) s = cg_onnx_computed_make(m, computed);
    g->named = NULL;
    *budget = m->room.budget;
    if (!*computed) cg_importer_end(m);
    return s;
}
