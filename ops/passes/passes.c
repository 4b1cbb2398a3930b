#include "ops/passes/passes.h"

#include "graph/nearest.h"
#include "graph/op.h"
#include "ops/passes/rewrite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const cg_pass list[] = {
#define CG_PASS(name, stage, what) {#name, what, CG_STAGE_##stage, cg_pass_##name},
#include "ops/passes/passes.def"
#undef CG_PASS
    {NULL, NULL, CG_STAGE_MODEL, NULL}};

enum { COUNT = sizeof list / sizeof *list - 1 };
_Static_assert((int)COUNT <= (int)CG_MAX_PASSES, "a bit for each pass");

const cg_pass *cg_pass_list(int *n) {
    *n = COUNT;
    return list;
}

/* --- which are on ----------------------------------------------------------------------------- */

static cg_status unknown(const char *word) {
    const char *name[COUNT + 1] = {NULL};
    for (int i = 0; i < COUNT; i++) name[i] = list[i].name;
    const char *nearest = cg_nearest(word, name);
    char all[256] = "";
    for (int i = 0; i < COUNT; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", name[i]);
    if (nearest)
        return cg_error(CG_EINVAL, "there is no pass \"%s\"; did you mean %s?", word, nearest);
    return cg_error(CG_EINVAL, "there is no pass \"%s\"; there are: %s", word, all);
}

/* One word, with its sign or without, which means +. */
static cg_status switch_one(const char *word, cg_passes_off *off) {
    if (strcmp(word, "all") == 0 || strcmp(word, "none") == 0) {
        *off = word[0] == 'a' ? 0 : (1u << COUNT) - 1;
        return CG_OK;
    }
    int minus = word[0] == '-';
    const char *name = word + (minus || word[0] == '+');
    for (int i = 0; i < COUNT; i++) {
        if (strcmp(list[i].name, name) != 0) continue;
        *off = minus ? *off | 1u << i : *off & ~(1u << i);
        return CG_OK;
    }
    return unknown(name);
}

cg_status cg_passes_parse(const char *text, cg_passes_off *out) {
    *out = 0;
    for (const char *at = text;; at++) {
        char word[32];
        size_t n = strcspn(at, ",");
        snprintf(word, sizeof word, "%.*s", (int)(n < 31 ? n : 31), at);
        CG_TRY(switch_one(word, out));
        at += n;
        if (!*at) return CG_OK;
    }
}

/* --- running ---------------------------------------------------------------------------------- */

static int64_t bytes_of(const cg_value *v) {
    return cg_shape_count(&v->shape) * (int64_t)cg_dtype_size(v->dtype);
}

/* The most bytes of nodes' results that are alive at once. last: [n_value], the last reader. */
static int64_t most_alive(const cg_graph *g, int *last) {
    int64_t alive = 0, most = 0;
    for (int i = 0; i < g->n_value; i++) last[i] = g->value[i]->node ? g->value[i]->node->id : 0;
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; k < g->node[i]->n_in; k++) last[cg_value_root(g->node[i]->in[k])->id] = i;
    for (int i = 0; i < g->n_output; i++)
        if (g->output[i].mode == CG_KEEP || g->output[i].mode == CG_UPDATE)
            last[cg_value_root(g->output[i].value)->id] = g->n_node;
    for (int i = 0; i < g->n_node; i++) {
        const cg_node *n = g->node[i];
        for (int k = 0; k < n->n_out; k++)
            if (cg_value_root(n->out[k]) == n->out[k]) alive += bytes_of(n->out[k]);
        if (alive > most) most = alive;
        for (int k = 0; k < n->n_out; k++)
            if (cg_value_root(n->out[k]) == n->out[k] && last[n->out[k]->id] == i)
                alive -= bytes_of(n->out[k]);
        for (int k = 0; k < n->n_in; k++) {
            const cg_value *v = cg_value_root(n->in[k]);
            if (!v->node || last[v->id] != i) continue;
            alive -= bytes_of(v);
            last[v->id] = -1; /* counted once where it is there twice */
        }
    }
    return most;
}

static cg_pass_saving cost_of(const cg_graph *g) {
    cg_pass_saving cost = {0};
    int *last = malloc(((size_t)g->n_value + 1) * sizeof *last);
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i]->op->flops) cost.flops += g->node[i]->op->flops(g->node[i]);
    if (last) cost.bytes = most_alive(g, last); /* a report: without memory for it, it lacks this */
    free(last);
    return cost;
}

static void run_one(cg_graph *g, const cg_pass *pass, cg_pass_saving *saved) {
    cg_pass_saving before = saved ? cost_of(g) : (cg_pass_saving){0};
    int rewrites = pass->run(g);
    g->named = NULL;
    if (rewrites == 0 || g->status != CG_OK) return;
    cg_graph_order(g);
    cg_pass_common(g);
    cg_pass_dead(g);
    if (!saved) return;
    cg_pass_saving after = cost_of(g);
    saved->rewrites += rewrites;
    saved->flops += before.flops - after.flops;
    saved->bytes += before.bytes - after.bytes;
}

cg_status cg_passes_run(cg_graph *g, cg_pass_stage stage, cg_passes_off off,
                        cg_pass_saving *saved) {
    for (int i = 0; i < COUNT && g->status == CG_OK; i++)
        if (list[i].stage == stage && !(off >> i & 1))
            run_one(g, &list[i], saved ? &saved[i] : NULL);
    return cg_graph_status(g);
}
