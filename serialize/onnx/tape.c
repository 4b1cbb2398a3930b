/* Nodes on integers of a run, taken down as on a tape while a graph is imported: evaluated then on
 * the integers of the run that it is imported for, and again (computed.c) before each later run. */
#include "graph/rng.h"
#include "serialize/onnx/import_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the same again --------------------------------------------------------------------------- */

static int same_attribute(const CgOnnx__AttributeProto *a, const CgOnnx__AttributeProto *b) {
    int plain = a->type == CG_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT ||
                a->type == CG_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
    return plain && a->type == b->type && strcmp(a->name, b->name) == 0 && a->i == b->i &&
           a->n_ints == b->n_ints &&
           (a->n_ints == 0 || memcmp(a->ints, b->ints, a->n_ints * sizeof *a->ints) == 0);
}

static int same_operand(const cg_item *a, const cg_item *b) {
    if (a == b || !a || !b || a->of_run || b->of_run) return a == b;
    return a->host.x && b->host.x && a->host.type == b->host.type && a->host.held <= 16 &&
           a->host.held == b->host.held && cg_shape_equal(&a->host.shape, &b->host.shape) &&
           memcmp(a->host.x, b->host.x, (size_t)a->host.held * sizeof *a->host.x) == 0;
}

static int is_same(const cg_tape *t, const CgOnnx__NodeProto *node, cg_item *const *in, int n_in,
                   int n_out) {
    if (t->n_in != n_in || t->n_out < n_out || t->node->n_attribute != node->n_attribute) return 0;
    for (int i = 0; i < n_in; i++)
        if (!same_operand(t->in[i], in[i])) return 0;
    for (size_t i = 0; i < node->n_attribute; i++)
        if (!same_attribute(t->node->attribute[i], node->attribute[i])) return 0;
    for (int k = 0; k < n_out; k++)
        if (!t->out[k]) return 0;
    return strcmp(t->node->op_type, node->op_type) == 0;
}

static uint64_t hash_bytes(uint64_t h, const void *data, size_t n) {
    for (const unsigned char *x = data; n--; x++) h = (h ^ *x) * 0x100000001b3u;
    return h;
}

/* Of what is_same compares. */
static uint64_t hash_of(const CgOnnx__NodeProto *node, cg_item *const *in, int n_in) {
    uint64_t h = hash_bytes(0xcbf29ce484222325u, node->op_type, strlen(node->op_type));
    for (int i = 0; i < n_in; i++) {
        const cg_item *x = in[i] ? in[i]->self : NULL;
        if (x && x->host.x && x->host.held <= 16)
            h = hash_bytes(h, x->host.x, (size_t)x->host.held * sizeof *x->host.x);
        else
            h = hash_bytes(h, &x, sizeof x);
    }
    for (size_t i = 0; i < node->n_attribute; i++) {
        const CgOnnx__AttributeProto *a = node->attribute[i];
        h = hash_bytes(h, &a->i, sizeof a->i);
        if (a->n_ints) h = hash_bytes(h, a->ints, a->n_ints * sizeof *a->ints);
    }
    return cg_mix64(h);
}

cg_status cg_tape_find(cg_importer *m, const CgOnnx__NodeProto *node, cg_item *const *in, int n_in,
                       int n_out, cg_tape **found) {
    uint64_t hash = hash_of(node, in, n_in);
    cg_tape *t = m->tape_list[hash % CG_TAPE_LISTS];
    for (*found = NULL; t && !*found; t = t->next) {
        CG_TRY(
            cg_budget_walk(&m->room.budget, 1 + n_in)); /* nodes can be alike, and not the same */
        if (t->hash == hash && is_same(t, node, in, n_in, n_out)) *found = t;
    }
    return CG_OK;
}

/* --- evaluation ------------------------------------------------------------------------------- */

void cg_tape_drop(cg_importer *m, cg_tape *t) {
    cg_arena_free(&t->room.arena);
    m->live -= t->room.budget.bytes;
    t->room = (cg_host_room){0};
    for (int k = 0; k < t->n_out; k++)
        if (t->out[k]) t->out[k]->now = (cg_host){0};
}

/* Results have memory of their own: an operand's may go before them. */
static cg_status own(cg_tape *t, const cg_host *const *in, cg_host *out) {
    for (int i = 0; i < t->n_in && out->x; i++) {
        if (!in[i] || out->x < in[i]->x || out->x >= in[i]->x + in[i]->held) continue;
        cg_host copy;
        CG_TRY(cg_host_new_rows(&t->room, out->type, out->shape, out->held, &copy));
        memcpy(copy.x, out->x, (size_t)out->held * sizeof *copy.x);
        *out = copy;
        return CG_OK;
    }
    return CG_OK;
}

static cg_status evaluate(cg_importer *m, cg_tape *t, cg_host *out, int *known) {
    const cg_host **in = calloc((size_t)t->n_in + 1, sizeof *in);
    if (!in) return cg_error(CG_ENOMEM, "no memory for a node");
    for (int k = 0; k < t->n_in; k++)
        if (t->in[k]) in[k] = t->in[k]->of_run ? &t->in[k]->now : &t->in[k]->host;
    cg_budget *spent = &m->room.budget;
    int64_t held = m->live + spent->bytes + m->inputs.budget.bytes;
    t->room.budget = (cg_budget){held, spent->steps, spent->integers};
    cg_status s = cg_host_run(&t->room, t->node, in, t->n_in, out, t->n_out, known);
    for (int k = 0; k < t->n_out && s == CG_OK && *known; k++) s = own(t, in, &out[k]);
    spent->steps = t->room.budget.steps;
    t->room.budget.bytes -= held;
    m->live += t->room.budget.bytes;
    free(in);
    return s;
}

cg_status cg_tape_run(cg_importer *m, cg_tape *t, int *same) {
    cg_host *out = calloc((size_t)t->n_out + 1, sizeof *out);
    int known;
    if (!out) return cg_error(CG_ENOMEM, "no memory for a node");
    cg_status s = evaluate(m, t, out, &known);
    *same = 1;
    for (int k = 0; k < t->n_out && s == CG_OK; k++) {
        if (!t->out[k]) continue;
        if (!known || !out[k].x || !cg_shape_equal(&out[k].shape, &t->out[k]->shape)) *same = 0;
        t->out[k]->now = out[k];
    }
    free(out);
    return s;
}

cg_status cg_tape_inputs(cg_importer *m) {
    const cg_onnx_port *list;
    int n = cg_onnx_inputs(m->f, &list);
    cg_arena_free(&m->inputs.arena);
    m->inputs = (cg_host_room){.budget = {.integers = m->room.budget.integers}};
    for (int i = 0; i < n; i++) {
        int at = m->integers[i] ? cg_onnx_names_get(&m->names, list[i].name) : -1;
        cg_item *x = at < 0 ? NULL : m->item[at];
        if (!x || !x->of_run) continue;
        CG_TRY(cg_host_new(&m->inputs, x->type, x->shape, &x->now));
        for (int64_t k = 0; k < x->now.held; k++) x->now.x[k] = m->integers[i][k];
    }
    return CG_OK;
}

/* --- taking down ------------------------------------------------------------------------------ */

static cg_status make_room(cg_importer *m) {
    if (m->n_tape < m->cap_tape) return CG_OK;
    int cap = m->cap_tape ? 2 * m->cap_tape : 64;
    cg_tape **list = realloc(m->tape, (size_t)cap * sizeof *list);
    if (!list) return cg_error(CG_ENOMEM, "no memory for %d nodes", cap);
    m->tape = list;
    m->cap_tape = cap;
    return CG_OK;
}

cg_status cg_tape_add(cg_importer *m, const CgOnnx__NodeProto *node, cg_item *const *in, int n_in,
                      cg_host *out, int n_out, cg_tape **made) {
    int known;
    *made = NULL;
    CG_TRY(make_room(m));
    cg_tape *t = cg_arena_alloc(&m->room.arena, sizeof *t);
    cg_item **list = cg_arena_alloc(&m->room.arena, (size_t)(n_in + n_out + 1) * sizeof *list);
    if (!t || !list) return cg_error(CG_ENOMEM, "no memory for a node");
    *t = (cg_tape){.node = node, .in = list, .out = list + n_in, .n_in = n_in, .n_out = n_out};
    for (int i = 0; i < n_in; i++) t->in[i] = in[i] ? in[i]->self : NULL;
    cg_status s = evaluate(m, t, out, &known);
    for (int k = 0; k < n_out && s == CG_OK; k++) known = known && out[k].x;
    if (s != CG_OK || !known) {
        cg_tape_drop(m, t);
        return s;
    }
    t->hash = hash_of(node, in, n_in);
    t->next = m->tape_list[t->hash % CG_TAPE_LISTS];
    m->tape_list[t->hash % CG_TAPE_LISTS] = t;
    m->tape[m->n_tape++] = *made = t;
    return CG_OK;
}

/* --- inputs that are computed ----------------------------------------------------------------- */

cg_status cg_computed_store(const cg_computed *c) {
    const cg_host *h = &c->item->now;
    for (int64_t i = 0; i < cg_host_count(h); i++) {
        double x = cg_host_at(h, i);
        if (c->dtype == CG_F32)
            ((float *)c->data)[i] = (float)x;
        else if (x >= 0 && x <= INT32_MAX)
            ((int32_t *)c->data)[i] = (int32_t)x;
        else
            return cg_error(CG_EINVAL, "row %g of a table", x);
    }
    return CG_OK;
}

cg_status cg_item_compute(cg_job *j, cg_item *x, cg_dtype dtype, cg_value **out) {
    cg_importer *m = j->m;
    char name[48];
    if (!x->of_run || !x->self) return cg_error(CG_EUNSUPPORTED, "computes with what is not known");
    for (int i = 0; i < m->n_computed; i++)
        if (m->computed[i].item == x->self && m->computed[i].dtype == dtype) {
            *out = cg_graph_find_input(j->g, m->computed[i].name);
            return CG_OK;
        }
    if (m->n_computed == CG_MOST_COMPUTED)
        return cg_error(CG_EUNSUPPORTED, "is one of more than %d values that follow from integers",
                        CG_MOST_COMPUTED);
    snprintf(name, sizeof name, "\"computed %d\"", m->n_computed);
    *out = cg_input(j->g, name, dtype, x->self->shape);
    if (!*out) return cg_graph_status(j->g);
    cg_computed *c = &m->computed[m->n_computed];
    *c = (cg_computed){.name = (*out)->name, .item = x->self, .dtype = dtype};
    int64_t bytes = cg_item_count(x) * (int64_t)cg_dtype_size(dtype);
    CG_TRY(cg_budget_hold(&m->room.budget, "computes", &x->shape, bytes));
    CG_TRY(cg_budget_walk(&m->room.budget, cg_item_count(x)));
    c->data = aligned_alloc(64, cg_align64((size_t)bytes + 1));
    if (!c->data) return cg_error(CG_ENOMEM, "no memory for %s", name);
    m->n_computed++;
    return cg_computed_store(c);
}
