/* Execution: resolves where every value is, runs the kernels, delivers the outputs. */
#include "graph/exec.h"

#include "graph/clock.h"
#include "graph/derived.h"
#include "graph/frozen.h"
#include "graph/profile_private.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

struct cg_exec {
    const cg_plan *plan;
    char *memory; /* the arena */
    size_t memory_bytes;
    char **address; /* [n_value] */
    void **bound;   /* [n_output] the caller's memory */
    void **io;      /* [max_io] operands and results of the node that runs */
    void **packed;  /* [n_node] operands laid out for nodes */
    cg_profile *profile;
    int *site; /* [n_node] of the profile; NULL without one */
};

cg_status cg_exec_create(cg_exec **out) {
    *out = calloc(1, sizeof **out);
    return *out ? CG_OK : cg_error(CG_ENOMEM, "no memory for an execution");
}

void cg_exec_free(cg_exec *e) {
    if (!e) return;
    free(e->memory);
    free(e->address);
    free(e->bound);
    free(e->io);
    free(e->packed);
    free(e->site);
    free(e);
}

/* A zeroed list in place of an old one. */
static void *renew(void *list, int n, size_t size) {
    free(list);
    return calloc((size_t)n + 1, size);
}

/* Makes the nodes of a plan known to the profile, before a run. */
static cg_status enter_profile(cg_exec *e, const cg_plan *p) {
    if (!e->profile) return CG_OK;
    e->site = renew(e->site, p->graph->n_node, sizeof *e->site);
    if (!e->site)
        return cg_error(CG_ENOMEM, "no memory to profile a graph of %d nodes", p->graph->n_node);
    return cg_profile_sites(e->profile, p, e->site);
}

cg_status cg_exec_use(cg_exec *e, const cg_plan *p) {
    const cg_graph *g = p->graph;
    e->plan = NULL;
    if (p->report.arena_bytes > e->memory_bytes) {
        free(e->memory);
        e->memory_bytes = 0;
        e->memory = aligned_alloc(64, p->report.arena_bytes);
        if (!e->memory)
            return cg_error(CG_ENOMEM, "no memory for an arena of %zu bytes",
                            p->report.arena_bytes);
        e->memory_bytes = p->report.arena_bytes;
    }
    e->address = renew(e->address, g->n_value, sizeof *e->address);
    e->bound = renew(e->bound, g->n_output, sizeof *e->bound);
    e->io = renew(e->io, p->max_io, sizeof *e->io);
    e->packed = renew(e->packed, g->n_node, sizeof *e->packed);
    if (!e->address || !e->bound || !e->io || !e->packed)
        return cg_error(CG_ENOMEM, "no memory to run a graph of %d nodes", g->n_node);
    for (int i = 0; i < g->n_value; i++) {
        const cg_value *v = g->value[i];
        if (v->kind == CG_VALUE_PARAM) e->address[i] = v->param->data;
        if (v->kind == CG_VALUE_CONSTANT) e->address[i] = (char *)(uintptr_t)v->data;
    }
    CG_TRY(enter_profile(e, p));
    e->plan = p;
    return CG_OK;
}

cg_status cg_exec_profile(cg_exec *e, cg_profile *p) {
    e->profile = p;
    cg_status s = e->plan ? enter_profile(e, e->plan) : CG_OK;
    if (s != CG_OK) e->profile = NULL;
    return s;
}

cg_profile *cg_exec_get_profile(const cg_exec *e) {
    return e->profile;
}

void cg_exec_forget(cg_exec *e) {
    e->plan = NULL;
}

static cg_status check_plan(const cg_exec *e) {
    return e->plan ? CG_OK : cg_error(CG_EINVAL, "the execution has no plan");
}

cg_status cg_exec_bind_input(cg_exec *e, const char *name, const void *data) {
    CG_TRY(check_plan(e));
    const cg_value *v = cg_graph_find_input(e->plan->graph, name);
    if (!v) return cg_error(CG_ENOTFOUND, "the graph has no input %s", name);
    e->address[v->id] = (char *)(uintptr_t)data;
    return CG_OK;
}

cg_status cg_exec_bind_output(cg_exec *e, const char *name, void *data) {
    CG_TRY(check_plan(e));
    const cg_graph *g = e->plan->graph;
    const cg_output *o = cg_graph_find_output(g, name);
    if (!o) return cg_error(CG_ENOTFOUND, "the graph has no output %s", name);
    if (o->mode == CG_KEEP)
        return cg_error(CG_EINVAL, "output %s is kept in the arena: it takes no memory", name);
    e->bound[o - g->output] = data;
    return CG_OK;
}

const void *cg_exec_output(const cg_exec *e, const char *name) {
    const cg_output *o = e->plan ? cg_graph_find_output(e->plan->graph, name) : NULL;
    return o && o->mode == CG_KEEP ? e->address[o->value->id] : NULL;
}

/* --- a run ------------------------------------------------------------------------------- */

static cg_status check_read(const cg_exec *e, const cg_value *v) {
    if (v->kind == CG_VALUE_RESULT || e->address[v->id] || cg_shape_count(&v->shape) == 0)
        return CG_OK;
    return cg_error(CG_EINVAL, "%s %s has no memory",
                    v->kind == CG_VALUE_INPUT ? "input" : "parameter", v->name);
}

/* All that is read, and every output that goes to the caller, has memory. */
static cg_status check_bound(const cg_exec *e) {
    const cg_graph *g = e->plan->graph;
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; k < g->node[i]->n_in; k++) CG_TRY(check_read(e, g->node[i]->in[k]));
    for (int i = 0; i < g->n_output; i++) {
        CG_TRY(check_read(e, g->output[i].value));
        if ((g->output[i].mode == CG_SET || g->output[i].mode == CG_ADD) && !e->bound[i])
            return cg_error(CG_EINVAL, "output %s is not bound", g->output[i].name);
    }
    return CG_OK;
}

static void resolve(cg_exec *e) {
    const cg_plan *p = e->plan;
    for (int i = 0; i < p->n_kept; i++) {
        const cg_kept *k = &p->kept[i];
        if (k->node >= 0)
            e->packed[k->node] = k->entry->data;
        else
            e->address[k->value] = k->entry->data;
    }
    for (int i = 0; i < p->graph->n_value; i++) { /* what is viewed stands before its view */
        const cg_location *l = &p->location[i];
        if (l->place == CG_PLACE_ARENA) e->address[i] = e->memory + p->storage[l->at].offset;
        if (l->place == CG_PLACE_OUTPUT) e->address[i] = e->bound[l->at];
        if (l->place == CG_PLACE_VALUE) e->address[i] = e->address[l->at];
    }
}

static cg_status run_node(cg_exec *e, int i) {
    const cg_plan *p = e->plan;
    if (p->frozen && p->frozen[i]) return CG_OK;
    const cg_node *n = p->graph->node[i];
    for (int k = 0; k < n->n_in; k++) e->io[k] = e->address[n->in[k]->id];
    for (int k = 0; k < n->n_out; k++) e->io[n->n_in + k] = e->address[n->out[k]->id];
    if (p->step[i].packs >= 0) e->io[p->step[i].packs] = e->packed[i];
    int scratch = p->step[i].scratch;
    cg_task t = {.ctx = p->ctx,
                 .threads = p->ctx->threads,
                 .node = n,
                 .state = p->step[i].state,
                 .in = (const void *const *)e->io,
                 .out = e->io + n->n_in,
                 .scratch = scratch >= 0 ? e->memory + p->storage[scratch].offset : NULL};
    cg_status s = n->op->run(&t);
    return s == CG_OK ? CG_OK : cg_error_in(s, "%s: %s", n->name, n->op->name);
}

static void add_f32(float *to, const float *from, int64_t n, int threads) {
#pragma omp parallel for simd num_threads(threads) if (n > 16384)
    for (int64_t i = 0; i < n; i++) to[i] += from[i];
}

static void flush(cg_exec *e, int list) {
    const cg_plan *p = e->plan;
    for (int i = p->flush_first[list]; i >= 0; i = p->flush_next[i]) {
        const cg_output *o = &p->graph->output[i];
        const cg_value *v = o->value;
        int64_t n = cg_shape_count(&v->shape);
        const void *from = e->address[v->id];
        if (o->mode == CG_ADD)
            add_f32(e->bound[i], from, n, p->ctx->threads);
        else if (n)
            memcpy(e->bound[i], from, (size_t)n * cg_dtype_size(v->dtype));
    }
}

static cg_status run_all(cg_exec *e) {
    const cg_graph *g = e->plan->graph;
    for (int i = 0; i < g->n_node; i++) {
        CG_TRY(run_node(e, i));
        flush(e, i);
    }
    flush(e, g->n_node);
    return CG_OK;
}

/* As run_all; a node's time ends where the next one's begins. What is frozen has none. */
static cg_status run_timing(cg_exec *e) {
    const cg_graph *g = e->plan->graph;
    cg_profile *p = e->profile;
    cg_profile_run run = {.first_event = p->n_event};
    double begin = cg_now(), start = begin;
    for (int i = 0; i < g->n_node; i++) {
        CG_TRY(run_node(e, i));
        flush(e, i);
        if (e->plan->frozen && e->plan->frozen[i]) continue;
        double end = cg_now();
        cg_profile_add(p, e->site[i], start, end);
        start = end;
    }
    flush(e, g->n_node);
    run.begin = begin - p->begun;
    run.end = cg_now() - p->begun;
    p->run[p->n_run++ % CG_TRACE_RUNS] = run;
    return CG_OK;
}

/* The first element of an f32 or bf16 value that is not finite, or -1; *x is what it is. */
static int64_t first_nonfinite(const cg_value *v, const void *data, float *x) {
    int64_t n = cg_shape_count(&v->shape);
    for (int64_t i = 0; v->dtype == CG_F32 && i < n; i++)
        if (!isfinite(*x = ((const float *)data)[i])) return i;
    for (int64_t i = 0; v->dtype == CG_BF16 && i < n; i++) {
        uint32_t bits = (uint32_t)((const uint16_t *)data)[i] << 16;
        memcpy(x, &bits, sizeof *x);
        if (!isfinite(*x)) return i;
    }
    return -1;
}

/* Whether a result of node n is not finite; of frozen nodes those are looked at that are kept. */
static int is_broken(const cg_exec *e, const cg_node *n, cg_nonfinite *out) {
    for (int k = 0; k < n->n_out; k++) {
        const cg_value *v = n->out[k];
        const char *data = e->address[v->id];
        float x = 0;
        int64_t at = data ? first_nonfinite(v, data, &x) : -1;
        if (at < 0) continue;
        *out = (cg_nonfinite){n, n->name, at, x};
        return 1;
    }
    return 0;
}

/* As run_all, but adds to no output and stops at the first result that is not finite. */
static cg_status run_checking(cg_exec *e, cg_nonfinite *out) {
    const cg_graph *g = e->plan->graph;
    for (int i = 0; i < g->n_value; i++) {
        const cg_value *v = g->value[i];
        float x = 0;
        int64_t at = v->kind == CG_VALUE_RESULT ? -1 : first_nonfinite(v, e->address[i], &x);
        if (at < 0) continue;
        *out = (cg_nonfinite){.name = v->name, .element = at, .value = x};
        return CG_OK;
    }
    for (int i = 0; i < g->n_node; i++) {
        CG_TRY(run_node(e, i));
        if (is_broken(e, g->node[i], out)) return CG_OK;
    }
    return CG_OK;
}

/* Runs under the plan's thread count, whatever the caller's is. */
static cg_status run(cg_exec *e, cg_nonfinite *checking) {
    CG_TRY(check_plan(e));
    CG_TRY(check_bound(e));
    int threads = omp_get_max_threads();
    omp_set_num_threads(e->plan->ctx->threads);
    cg_status s = cg_frozen_refresh(e->plan, e->memory);
    if (s == CG_OK) resolve(e);
    if (s == CG_OK && checking)
        s = run_checking(e, checking);
    else if (s == CG_OK)
        s = e->profile ? run_timing(e) : run_all(e);
    omp_set_num_threads(threads);
    return s;
}

cg_status cg_exec_run(cg_exec *e) {
    return run(e, NULL);
}

cg_status cg_exec_find_nonfinite(cg_exec *e, cg_nonfinite *out) {
    *out = (cg_nonfinite){0};
    return run(e, out);
}

void cg_exec_commit(cg_exec *e) {
    if (!e->plan) return;
    const cg_graph *g = e->plan->graph;
    int changed = 0;
    for (int i = 0; i < g->n_output; i++) {
        const cg_output *o = &g->output[i];
        if (o->mode != CG_UPDATE) continue;
        changed = 1;
        memcpy(o->param->data, e->address[o->value->id],
               (size_t)o->param->count * cg_dtype_size(o->param->dtype));
    }
    if (changed) cg_params_changed(g->params);
}
