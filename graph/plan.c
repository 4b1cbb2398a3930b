/* Planning: where every value lives, and the kernels. */
#include "graph/frozen.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

static size_t value_bytes(const cg_value *v) {
    size_t bytes = (size_t)cg_shape_count(&v->shape) * cg_dtype_size(v->dtype);
    return bytes ? cg_align64(bytes) : 64;
}

/* --- liveness --------------------------------------------------------------------------------- */

typedef struct liveness {
    cg_plan *p;
    int *readers;   /* [value] reads still to come, of the value itself */
    int *remaining; /* [storage] reads still to come, of all values in it */
    int freeze;
} liveness;

/* Reads by nodes, and one that never comes for what must outlive the run. */
static void count_readers(liveness *l) {
    const cg_graph *g = l->p->graph;
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; k < g->node[i]->n_in; k++) l->readers[g->node[i]->in[k]->id]++;
    for (int i = 0; i < g->n_output; i++)
        if (g->output[i].mode == CG_KEEP || g->output[i].mode == CG_UPDATE)
            l->readers[g->output[i].value->id]++;
}

static int new_storage(cg_plan *p, size_t bytes, int node) {
    p->storage[p->n_storage] = (cg_storage){.bytes = bytes, .first = node, .last = node};
    return p->n_storage++;
}

static int storage_of(const cg_plan *p, const cg_value *v) {
    return p->location[v->id].place == CG_PLACE_ARENA ? p->location[v->id].at : -1;
}

/* The output that alone receives v, written straight to the caller's memory: mode SET, once; or
 * -1. What views v is then a copy: nothing of the plan's stands in the caller's memory. */
static int direct_output(const cg_plan *p, const cg_value *v) {
    const cg_graph *g = p->graph;
    int found = -1;
    for (int i = 0; i < g->n_output; i++) {
        if (g->output[i].value != v) continue;
        if (g->output[i].mode != CG_SET || found >= 0) return -1;
        found = i;
    }
    return found;
}

/* The operand that output 0 of n may be written over, or -1. The other operands must not be the
 * same bytes under another shape. */
static int inplace_operand(const liveness *l, const cg_node *n) {
    const cg_value *out = n->out[0];
    for (int i = 0; i < n->n_in; i++) {
        const cg_value *in = n->in[i];
        int s = storage_of(l->p, in), same = 0, safe = 1;
        if (!(n->op->inplace >> i & 1) || s < 0 || in->dtype != out->dtype ||
            !cg_shape_equal(&in->shape, &out->shape))
            continue;
        for (int k = 0; k < n->n_in; k++) {
            if (storage_of(l->p, n->in[k]) != s) continue;
            same++;
            safe = safe && cg_shape_equal(&n->in[k]->shape, &out->shape);
        }
        if (safe && l->remaining[s] == same) return i;
    }
    return -1;
}

static void locate_result(liveness *l, const cg_node *n, int index) {
    cg_plan *p = l->p;
    const cg_value *v = n->out[index];
    if (p->frozen && p->frozen[n->id] && !n->op->view) {
        p->location[v->id] = (cg_location){CG_PLACE_FROZEN, v->id};
        return;
    }
    int over = -1, direct = p->graph->n_output ? direct_output(p, v) : -1;
    if (index == 0 && n->op->view) {
        const cg_value *in = n->in[0];
        int s = storage_of(p, in);
        if (s >= 0)
            over = 0;
        else if (p->location[in->id].place != CG_PLACE_OUTPUT) {
            p->location[v->id] = (cg_location){CG_PLACE_VALUE, in->id};
            p->report.n_views++;
            return;
        }
        p->report.n_views += s >= 0;
    } else if (direct >= 0) {
        p->location[v->id] = (cg_location){CG_PLACE_OUTPUT, direct};
        return;
    } else if (index == 0 && n->op->inplace) {
        over = inplace_operand(l, n);
        p->report.n_inplace += over >= 0;
    }
    int s = over >= 0 ? storage_of(p, n->in[over]) : new_storage(p, value_bytes(v), n->id);
    p->location[v->id] = (cg_location){CG_PLACE_ARENA, s};
    p->storage[s].last = n->id;
    l->remaining[s] += l->readers[v->id];
}

/* Walks the nodes in order: locates results, extends lifetimes of what is read. */
static void locate_all(liveness *l) {
    cg_plan *p = l->p;
    const cg_graph *g = p->graph;
    for (int i = 0; i < g->n_value; i++)
        if (g->value[i]->kind != CG_VALUE_RESULT) p->location[i] = (cg_location){CG_PLACE_SELF, i};
    for (int i = 0; i < g->n_node; i++) {
        const cg_node *n = g->node[i];
        if (n->n_in + n->n_out > p->max_io) p->max_io = n->n_in + n->n_out;
        for (int k = 0; k < n->n_out; k++) locate_result(l, n, k);
        for (int k = 0; k < n->n_in; k++) {
            int s = storage_of(p, n->in[k]);
            if (s < 0) continue;
            p->storage[s].last = i;
            l->remaining[s]--;
        }
        for (int k = 0; k < n->n_out; k++) p->report.all_bytes += value_bytes(n->out[k]);
    }
    for (int i = 0; i < g->n_output; i++) {
        int s = storage_of(p, g->output[i].value);
        if (s >= 0 && (g->output[i].mode == CG_KEEP || g->output[i].mode == CG_UPDATE))
            p->storage[s].last = g->n_node - 1;
    }
}

/* Lists, by node, the outputs to copy or add once it has run. */
static void list_flushes(cg_plan *p) {
    const cg_graph *g = p->graph;
    for (int i = 0; i <= g->n_node; i++) p->flush_first[i] = -1;
    for (int i = g->n_output - 1; i >= 0; i--) {
        const cg_output *o = &g->output[i];
        const cg_location *at = &p->location[o->value->id];
        if ((o->mode != CG_SET && o->mode != CG_ADD) || at->place == CG_PLACE_OUTPUT) continue;
        int node = o->value->node ? o->value->node->id : g->n_node;
        p->flush_next[i] = p->flush_first[node];
        p->flush_first[node] = i;
    }
}

/* --- kernels ---------------------------------------------------------------------------------- */

static cg_status prepare_all(cg_plan *p) {
    const cg_graph *g = p->graph;
    for (int i = 0; i < g->n_node; i++) {
        const cg_node *n = g->node[i];
        cg_prep prep = {.ctx = p->ctx, .node = n, .pack = -1};
        for (int k = 0; p->key && p->frozen && k < n->n_in; k++)
            if (p->key[n->in[k]->id] && !p->frozen[i]) prep.frozen |= 1u << k;
        if (n->op->flops && !(p->frozen && p->frozen[i])) p->report.flops += n->op->flops(n);
        if (n->op->prepare) {
            cg_status s = n->op->prepare(&prep);
            if (s != CG_OK) return cg_error_in(s, "%s: %s", n->name, n->op->name);
        }
        p->step[i] = (cg_step){.state = prep.state,
                               .impl = prep.impl ? prep.impl : "",
                               .scratch = -1,
                               .packs = prep.pack_bytes ? prep.pack : -1,
                               .pack_bytes = prep.pack_bytes,
                               .pack_key = prep.pack_key};
        if (prep.scratch) p->step[i].scratch = new_storage(p, cg_align64(prep.scratch), i);
        if (prep.scratch > p->report.scratch_bytes) p->report.scratch_bytes = prep.scratch;
    }
    return CG_OK;
}

/* All of it together is less than a size_t holds, so that no offset overflows. */
static cg_status check_bytes(const cg_plan *p) {
    size_t sum = 0;
    for (int i = 0; i < p->n_storage; i++) {
        if (p->storage[i].bytes > (size_t)INT64_MAX - sum)
            return cg_error(CG_ENOMEM, "the values of a graph of %d nodes have too many bytes",
                            p->graph->n_node);
        sum += p->storage[i].bytes;
    }
    return CG_OK;
}

static cg_status plan_all(cg_plan *p, liveness *l) {
    const cg_graph *g = p->graph;
    size_t values = (size_t)g->n_value + 1, nodes = (size_t)g->n_node + 1;
    p->location = calloc(values, sizeof *p->location);
    p->storage = calloc(values + nodes, sizeof *p->storage);
    p->step = calloc(nodes, sizeof *p->step);
    p->flush_first = calloc(nodes, sizeof *p->flush_first);
    p->flush_next = calloc((size_t)g->n_output + 1, sizeof *p->flush_next);
    l->readers = calloc(values, sizeof *l->readers);
    l->remaining = calloc(values, sizeof *l->remaining);
    if (!p->location || !p->storage || !p->step || !p->flush_first || !p->flush_next ||
        !l->readers || !l->remaining)
        return cg_error(CG_ENOMEM, "no memory to plan a graph of %d nodes", g->n_node);
    if (l->freeze) CG_TRY(cg_frozen_mark(p));
    count_readers(l);
    locate_all(l);
    list_flushes(p);
    int threads = omp_get_max_threads(); /* primitives are made for the count they will run with */
    omp_set_num_threads(p->ctx->threads);
    cg_status s = prepare_all(p);
    omp_set_num_threads(threads);
    CG_TRY(s);
    if (l->freeze) CG_TRY(cg_frozen_keep(p));
    CG_TRY(check_bytes(p));
    return cg_offsets_choose(p->storage, p->n_storage, g->n_node, &p->report.arena_bytes,
                             &p->report.lower_bound);
}

static cg_status create(cg_context *ctx, const cg_graph *g, int freeze, cg_plan **out) {
    *out = NULL;
    CG_TRY(cg_graph_status(g));
    cg_plan *p = calloc(1, sizeof *p);
    if (!p) return cg_error(CG_ENOMEM, "no memory for a plan");
    p->ctx = ctx;
    p->graph = g;
    p->report.n_nodes = g->n_node;
    liveness l = {.p = p, .freeze = freeze};
    cg_status s = plan_all(p, &l);
    free(l.readers);
    free(l.remaining);
    if (s != CG_OK)
        cg_plan_free(p);
    else
        *out = p;
    return s;
}

cg_status cg_plan_create(cg_context *ctx, const cg_graph *g, cg_plan **out) {
    return create(ctx, g, 0, out);
}

cg_status cg_plan_create_frozen(cg_context *ctx, const cg_graph *g, cg_plan **out) {
    return create(ctx, g, g->params != NULL, out);
}

void cg_plan_free(cg_plan *p) {
    if (!p) return;
    for (int i = 0; p->step && i < p->graph->n_node; i++)
        if (p->step[i].state && p->graph->node[i]->op->release)
            p->graph->node[i]->op->release(p->step[i].state);
    free(p->key);
    free(p->frozen);
    free(p->kept);
    free(p->location);
    free(p->storage);
    free(p->step);
    free(p->flush_first);
    free(p->flush_next);
    free(p);
}

void cg_plan_get_report(const cg_plan *p, cg_plan_report *out) {
    *out = p->report;
}

const char *cg_plan_impl(const cg_plan *p, int node) {
    return p->step[node].impl;
}

const cg_graph *cg_plan_graph(const cg_plan *p) {
    return p->graph;
}
