/* Frozen nodes: those that depend on parameters and constants alone. A plan for inference runs them
 * once for each version of the parameters, before its first run, and keeps what others read. */
#include "graph/frozen.h"
#include "graph/derived.h"

#include <stdlib.h>
#include <string.h>

/* --- which ------------------------------------------------------------------------------------ */

/* Without the bytes between and behind its fields. */
static uint64_t hash_shape(uint64_t h, const cg_shape *s) {
    h = cg_derived_hash(h, &s->rank, sizeof s->rank);
    return cg_derived_hash(h, s->dim, (size_t)s->rank * sizeof *s->dim);
}

/* Key of a value: of the expression that it is; 0: it is not known ahead. */
static uint64_t key_of_leaf(const cg_value *v) {
    uint64_t h = 0xcbf29ce484222325u;
    if (v->kind == CG_VALUE_PARAM) return cg_derived_hash(h, v->name, strlen(v->name) + 1);
    if (v->kind != CG_VALUE_CONSTANT) return 0;
    size_t bytes = (size_t)cg_shape_count(&v->shape) * cg_dtype_size(v->dtype);
    h = cg_derived_hash(hash_shape(h, &v->shape), &v->dtype, sizeof v->dtype);
    return cg_derived_hash(h, v->data, bytes) | 1;
}

static uint64_t hash_attributes(uint64_t h, const cg_node *n) {
    for (const cg_attr_field *f = n->op->attr; f && f->name; f++) {
        const char *x = (const char *)n->attr + f->offset;
        if (f->type == CG_ATTR_SHAPE)
            h = hash_shape(h, (const cg_shape *)(const void *)x);
        else
            h = cg_derived_hash(h, x, f->type == CG_ATTR_INT ? sizeof(int64_t) : sizeof(float));
    }
    return h;
}

/* Whether all operands of n are known, by their keys; and the key of its results. */
static uint64_t key_of_node(const cg_node *n, const uint64_t *key) {
    uint64_t h = cg_derived_hash(0xcbf29ce484222325u, n->op->name, strlen(n->op->name) + 1);
    if (n->n_in == 0) return 0;
    for (int k = 0; k < n->n_in; k++) {
        if (!key[n->in[k]->id]) return 0;
        h = cg_derived_hash(h, &key[n->in[k]->id], sizeof *key);
    }
    return hash_attributes(h, n) | 1;
}

static size_t bytes_of(const cg_value *v) {
    return (size_t)cg_shape_count(&v->shape) * cg_dtype_size(v->dtype);
}

/* A result larger than all it is made of (a row repeated for a batch) is not worth keeping. */
static int grows(const cg_node *n) {
    size_t in = 0, out = 0;
    for (int k = 0; k < n->n_in; k++) in += bytes_of(n->in[k]);
    for (int k = 0; k < n->n_out; k++) out += bytes_of(n->out[k]);
    return out > in;
}

static int is_output(const cg_graph *g, const cg_node *n) {
    for (int i = 0; i < g->n_output; i++)
        if (g->output[i].value->node == n) return 1;
    return 0;
}

cg_status cg_frozen_mark(cg_plan *p) {
    const cg_graph *g = p->graph;
    p->key = calloc((size_t)g->n_value + 1, sizeof *p->key);
    p->frozen = calloc((size_t)g->n_node + 1, 1);
    p->kept = calloc((size_t)(g->n_value + g->n_node) + 1, sizeof *p->kept);
    if (!p->key || !p->frozen || !p->kept)
        return cg_error(CG_ENOMEM, "no memory to plan a graph of %d nodes", g->n_node);
    for (int i = 0; i < g->n_value; i++) p->key[i] = key_of_leaf(g->value[i]);
    for (int i = 0; i < g->n_node; i++) {
        const cg_node *n = g->node[i];
        uint64_t key = is_output(g, n) || grows(n) ? 0 : key_of_node(n, p->key);
        p->frozen[i] = key != 0;
        for (int k = 0; key && k < n->n_out; k++) {
            uint64_t part = (uint64_t)k << 8 | (uint64_t)n->out[k]->dtype;
            p->key[n->out[k]->id] = cg_derived_hash(key, &part, sizeof part) | 1;
        }
    }
    return CG_OK;
}

/* --- what is kept ----------------------------------------------------------------------------- */

static cg_status keep(cg_plan *p, cg_kept kept, uint64_t key, size_t bytes) {
    CG_TRY(cg_derived_get(cg_params_derived(p->graph->params), key, bytes, &kept.entry));
    p->kept[p->n_kept++] = kept;
    p->report.frozen_bytes += bytes;
    return CG_OK;
}

static cg_status keep_value(cg_plan *p, const cg_value *v) {
    v = cg_value_root(v);
    if (v->kind != CG_VALUE_RESULT || !p->key[v->id]) return CG_OK;
    for (int i = 0; i < p->n_kept; i++)
        if (p->kept[i].node < 0 && p->kept[i].value == v->id) return CG_OK;
    size_t bytes = cg_align64(bytes_of(v) + 1);
    return keep(p, (cg_kept){.value = v->id, .node = -1}, p->key[v->id], bytes);
}

cg_status cg_frozen_keep(cg_plan *p) {
    const cg_graph *g = p->graph;
    for (int i = 0; i < g->n_node; i++) {
        const cg_node *n = g->node[i];
        const cg_step *s = &p->step[i];
        if (p->frozen[i]) continue;
        for (int k = 0; k < n->n_in; k++)
            if (k != s->packs) CG_TRY(keep_value(p, n->in[k]));
        if (s->packs < 0) continue;
        uint64_t key = cg_derived_hash(p->key[n->in[s->packs]->id], &s->pack_key, sizeof(uint64_t));
        CG_TRY(keep(p, (cg_kept){.value = n->in[s->packs]->id, .node = i}, key, s->pack_bytes));
    }
    return CG_OK;
}

/* --- computing -------------------------------------------------------------------------------- */

/* Addresses while frozen nodes run: of parameters, constants, entries and what is only passed on.
 */
typedef struct work {
    const cg_plan *p;
    uint64_t version; /* of the parameters */
    char *memory;     /* the arena, for scratch */
    void **address;   /* [n_value] */
    void **io;        /* [max_io] */
    char *needed;     /* [n_node] some entry that is not fresh wants it */
} work;

static void *new_bytes(size_t bytes) {
    return aligned_alloc(64, cg_align64(bytes + 1));
}

static int is_fresh(const cg_derived *d, uint64_t version) {
    return d && d->data && d->version == version;
}

static cg_derived *entry_of(const cg_plan *p, int value) {
    for (int i = 0; i < p->n_kept; i++)
        if (p->kept[i].node < 0 && p->kept[i].value == value) return p->kept[i].entry;
    return NULL;
}

/* Marks what must run. Fresh entries are left alone: others may be reading them. */
static void mark_needed(work *w) {
    const cg_graph *g = w->p->graph;
    for (int i = 0; i < w->p->n_kept; i++) {
        const cg_kept *k = &w->p->kept[i];
        const cg_value *v = cg_value_root(g->value[k->value]);
        cg_derived *own = k->node < 0 ? NULL : entry_of(w->p, v->id);
        if (is_fresh(k->entry, w->version) || is_fresh(own, w->version)) continue;
        if (v->node) w->needed[v->node->id] = 1;
    }
    for (int i = g->n_node - 1; i >= 0; i--)
        for (int k = 0; w->needed[i] && k < g->node[i]->n_in; k++) {
            const cg_value *v = cg_value_root(g->node[i]->in[k]);
            cg_derived *d = entry_of(w->p, v->id);
            if (v->node && !is_fresh(d, w->version)) w->needed[v->node->id] = 1;
        }
}

static cg_status place(work *w, const cg_value *v) {
    cg_derived *d = entry_of(w->p, v->id);
    if (d && !d->data) d->data = new_bytes(d->bytes);
    void *x = d ? d->data : new_bytes(bytes_of(v));
    w->address[v->id] = x;
    return x ? CG_OK : cg_error(CG_ENOMEM, "no memory for %zu bytes of %s", bytes_of(v), v->name);
}

static cg_task task_of(const work *w, int i) {
    const cg_plan *p = w->p;
    const cg_node *n = p->graph->node[i];
    int scratch = p->step[i].scratch;
    for (int k = 0; k < n->n_in; k++) w->io[k] = w->address[n->in[k]->id];
    for (int k = 0; k < n->n_out; k++) w->io[n->n_in + k] = w->address[n->out[k]->id];
    return (cg_task){.ctx = p->ctx,
                     .threads = p->ctx->threads,
                     .node = n,
                     .state = p->step[i].state,
                     .in = (const void *const *)w->io,
                     .out = w->io + n->n_in,
                     .scratch = scratch >= 0 ? w->memory + p->storage[scratch].offset : NULL};
}

static cg_status run_frozen(work *w) {
    const cg_graph *g = w->p->graph;
    for (int i = 0; i < g->n_node; i++) {
        const cg_node *n = g->node[i];
        if (n->op->view) w->address[n->out[0]->id] = w->address[n->in[0]->id];
        if (!w->needed[i] || n->op->view) continue;
        for (int k = 0; k < n->n_out; k++) CG_TRY(place(w, n->out[k]));
        cg_task t = task_of(w, i);
        cg_status s = n->op->run(&t);
        if (s != CG_OK) return cg_error_in(s, "%s: %s", n->name, n->op->name);
    }
    return CG_OK;
}

static cg_status run_packs(work *w) {
    const cg_plan *p = w->p;
    for (int i = 0; i < p->n_kept; i++) {
        const cg_kept *k = &p->kept[i];
        if (k->node < 0 || is_fresh(k->entry, w->version)) continue;
        if (!k->entry->data) k->entry->data = new_bytes(k->entry->bytes);
        if (!k->entry->data)
            return cg_error(CG_ENOMEM, "no memory for %zu bytes of packed weights",
                            k->entry->bytes);
        cg_task t = task_of(w, k->node);
        CG_TRY(p->graph->node[k->node]->op->pack(&t, k->entry->data));
        k->entry->version = w->version;
    }
    return CG_OK;
}

static void drop_passed_on(work *w) {
    const cg_graph *g = w->p->graph;
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; w->needed[i] && !g->node[i]->op->view && k < g->node[i]->n_out; k++)
            if (!entry_of(w->p, g->node[i]->out[k]->id)) free(w->address[g->node[i]->out[k]->id]);
}

static int all_fresh(const cg_plan *p, uint64_t version) {
    for (int i = 0; i < p->n_kept; i++)
        if (!is_fresh(p->kept[i].entry, version)) return 0;
    return 1;
}

static void begin_addresses(work *w) {
    const cg_graph *g = w->p->graph;
    for (int i = 0; i < g->n_value; i++) {
        const cg_value *v = g->value[i];
        cg_derived *d = entry_of(w->p, i);
        if (v->kind == CG_VALUE_PARAM) w->address[i] = v->param->data;
        if (v->kind == CG_VALUE_CONSTANT) w->address[i] = (void *)(uintptr_t)v->data;
        if (is_fresh(d, w->version)) w->address[i] = d->data;
    }
}

static cg_status compute(const cg_plan *p, uint64_t version, char *memory) {
    const cg_graph *g = p->graph;
    work w = {.p = p, .version = version, .memory = memory};
    w.address = calloc((size_t)(g->n_value + p->max_io) + 1, sizeof *w.address);
    w.needed = calloc((size_t)g->n_node + 1, 1);
    cg_status s = CG_OK;
    if (!w.address || !w.needed)
        s = cg_error(CG_ENOMEM, "no memory to run a graph of %d nodes", g->n_node);
    if (s == CG_OK) {
        w.io = w.address + g->n_value;
        begin_addresses(&w);
        mark_needed(&w);
        s = run_frozen(&w);
        if (s == CG_OK) s = run_packs(&w);
        for (int i = 0; s == CG_OK && i < p->n_kept; i++) p->kept[i].entry->version = version;
        drop_passed_on(&w);
    }
    free(w.needed);
    free(w.address);
    return s;
}

cg_status cg_frozen_refresh(const cg_plan *p, char *memory) {
    if (p->n_kept == 0) return CG_OK;
    cg_derived_store *store = cg_params_derived(p->graph->params);
    cg_status s = CG_OK;
    pthread_mutex_lock(&store->lock);
    if (!all_fresh(p, store->version)) s = compute(p, store->version, memory);
    pthread_mutex_unlock(&store->lock);
    return s;
}
