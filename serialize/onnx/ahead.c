/* Nodes on integers of a run: taken down while a graph is imported, as on a tape, and evaluated
 * again before each run for those inputs of the graph that follow from them. */
#include "serialize/onnx/ahead.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cg_onnx_ahead {
    cg_importer *m;
    int n_input;
};

/* --- taking down ------------------------------------------------------------------------------ */

cg_status cg_tape_add(cg_importer *m, const CgOnnx__NodeProto *node, cg_item *const *in, int n_in,
                      cg_item *const *out, int n_out) {
    if (m->n_tape == m->cap_tape) {
        int cap = m->cap_tape ? 2 * m->cap_tape : 64;
        cg_tape **list = realloc(m->tape, (size_t)cap * sizeof *list);
        if (!list) return cg_error(CG_ENOMEM, "no memory for %d nodes", cap);
        m->tape = list;
        m->cap_tape = cap;
    }
    cg_tape *t = cg_arena_alloc(&m->room.arena, sizeof *t);
    cg_item **list = cg_arena_alloc(&m->room.arena, (size_t)(n_in + n_out + 1) * sizeof *list);
    if (!t || !list) return cg_error(CG_ENOMEM, "no memory for a node");
    *t = (cg_tape){.node = node, .in = list, .out = list + n_in, .n_in = n_in, .n_out = n_out};
    memcpy(t->in, in, (size_t)n_in * sizeof *in);
    memcpy(t->out, out, (size_t)n_out * sizeof *out);
    m->tape[m->n_tape++] = t;
    return CG_OK;
}

cg_status cg_item_compute(cg_job *j, cg_item *x, cg_dtype dtype, cg_value **out) {
    cg_importer *m = j->m;
    char name[48];
    if (!x->probed || !x->self) return cg_error(CG_EUNSUPPORTED, "computes with what is not known");
    if (m->n_computed == CG_MOST_COMPUTED)
        return cg_error(CG_EUNSUPPORTED, "is one of more than %d values that follow from integers",
                        CG_MOST_COMPUTED);
    snprintf(name, sizeof name, "\"computed %d\"", m->n_computed);
    *out = cg_input(j->g, name, dtype, x->shape);
    if (!*out) return cg_graph_status(j->g);
    cg_computed *c = &m->computed[m->n_computed];
    *c = (cg_computed){.name = (*out)->name, .item = x->self, .dtype = dtype};
    int64_t bytes = cg_item_count(x) * (int64_t)cg_dtype_size(dtype);
    CG_TRY(cg_budget_hold(&m->room.budget, "computes", &x->shape, bytes));
    c->data = aligned_alloc(64, cg_align64((size_t)bytes + 1));
    if (!c->data) return cg_error(CG_ENOMEM, "no memory for %s", name);
    m->n_computed++;
    return CG_OK;
}

/* --- what is needed --------------------------------------------------------------------------- */

static int makes(const cg_tape *t, const cg_item *x) {
    for (int k = 0; k < t->n_out; k++)
        if (t->out[k] == x) return 1;
    return 0;
}

static void need(cg_importer *m, const cg_item *x) {
    for (int i = 0; i < m->n_tape; i++) m->tape[i]->needed |= makes(m->tape[i], x);
}

cg_status cg_onnx_ahead_make(cg_importer *m, cg_onnx_ahead **out) {
    const cg_onnx_port *unused;
    *out = NULL;
    if (!m->n_computed) return CG_OK;
    for (int i = 0; i < m->n_computed; i++) need(m, m->computed[i].item);
    for (int i = m->n_tape - 1; i >= 0; i--)
        for (int k = 0; m->tape[i]->needed && k < m->tape[i]->n_in; k++)
            if (m->tape[i]->in[k] && m->tape[i]->in[k]->probed) need(m, m->tape[i]->in[k]);
    *out = calloc(1, sizeof **out);
    if (!*out) return cg_error(CG_ENOMEM, "no memory for integers");
    **out = (cg_onnx_ahead){m, cg_onnx_inputs(m->f, &unused)};
    return CG_OK;
}

void cg_onnx_ahead_free(cg_onnx_ahead *n) {
    if (!n) return;
    cg_importer_end(n->m);
    free(n);
}

/* --- runs ------------------------------------------------------------------------------------- */

static cg_status take_inputs(cg_onnx_ahead *n, cg_host_room *room, const int32_t *const *input) {
    const cg_onnx_port *list;
    cg_onnx_inputs(n->m->f, &list);
    for (int i = 0; i < n->n_input; i++) {
        int at = input[i] ? cg_onnx_names_get(&n->m->names, list[i].name) : -1;
        cg_item *x = at < 0 ? NULL : n->m->item[at];
        if (!x || !x->probed) continue;
        CG_TRY(cg_host_new(room, x->type, x->shape, &x->now));
        for (int64_t k = 0; k < cg_item_count(x); k++) x->now.x[k] = input[i][k];
    }
    return CG_OK;
}

static cg_status replay(const cg_tape *t, cg_host_room *room) {
    const cg_host **in = calloc((size_t)t->n_in + 1, sizeof *in);
    cg_host out[8] = {{0}};
    int known = 0;
    if (!in) return cg_error(CG_ENOMEM, "no memory for a node");
    for (int k = 0; k < t->n_in; k++)
        if (t->in[k]) in[k] = t->in[k]->probed ? &t->in[k]->now : &t->in[k]->host;
    cg_status s = cg_host_run(room, t->node, in, t->n_in, out, t->n_out, &known);
    free(in);
    CG_TRY(s);
    for (int k = 0; k < t->n_out; k++) {
        if (!t->out[k]) continue;
        if (!out[k].x || !cg_shape_equal(&out[k].shape, &t->out[k]->shape))
            return cg_error(CG_EINVAL, "these inputs give it another shape");
        t->out[k]->now = out[k];
    }
    return CG_OK;
}

static cg_status store(const cg_computed *c) {
    for (int64_t i = 0; i < cg_item_count(c->item); i++) {
        double x = cg_host_at(&c->item->now, i);
        if (c->dtype == CG_F32)
            ((float *)c->data)[i] = (float)x;
        else if (x >= 0 && x <= INT32_MAX)
            ((int32_t *)c->data)[i] = (int32_t)x;
        else
            return cg_error(CG_EINVAL, "row %g of a table", x);
    }
    return CG_OK;
}

cg_status cg_onnx_ahead_run(cg_onnx_ahead *n, const int32_t *const *input) {
    cg_host_room room = {.budget = {.integers = n->m->room.budget.integers}};
    char text[200];
    cg_status s = take_inputs(n, &room, input);
    for (int i = 0; i < n->m->n_tape && s == CG_OK; i++) {
        if (!n->m->tape[i]->needed) continue;
        s = replay(n->m->tape[i], &room);
        if (s != CG_OK) s = cg_error_in(s, "%s", cg_onnx_node_text(n->m->tape[i]->node, text));
    }
    for (int i = 0; i < n->m->n_computed && s == CG_OK; i++) s = store(&n->m->computed[i]);
    cg_arena_free(&room.arena);
    return s;
}

const char *cg_onnx_ahead_at(const cg_onnx_ahead *n, int k, const void **data) {
    if (!n || k >= n->m->n_computed) return NULL;
    *data = n->m->computed[k].data;
    return n->m->computed[k].name;
}
