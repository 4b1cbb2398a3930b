/* The profile: what a run's time went into, op by op. */
#include "graph/exec_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void cg_exec_profile(cg_exec *e, int on) {
    e->profiling = on;
    if (!on) return;
    e->n_profile = 0;
    e->profiled_runs = 0;
}

void cg_profile_add(cg_exec *e, int node, double seconds) {
    const cg_node *n = cg_plan_graph(e->plan)->node[node];
    int k = 0;
    while (k < e->n_profile && e->profile[k].op != n->op) k++;
    if (k == e->n_profile) {
        cg_op_profile *grown = realloc(e->profile, (size_t)(k + 1) * sizeof *grown);
        if (!grown) return;
        e->profile = grown;
        e->profile[e->n_profile++] = (cg_op_profile){.op = n->op};
    }
    e->profile[k].calls++;
    e->profile[k].seconds += seconds;
    e->profile[k].flops += n->op->flops ? n->op->flops(n) : 0;
}

static int slower(const void *a, const void *b) {
    const cg_op_profile *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

cg_status cg_exec_profile_text(const cg_exec *e, char **text) {
    size_t size, n = (size_t)e->n_profile;
    *text = NULL;
    cg_op_profile *sorted = malloc((n + 1) * sizeof *sorted);
    FILE *f = sorted ? open_memstream(text, &size) : NULL;
    if (!f) {
        free(sorted);
        return cg_error(CG_ENOMEM, "no memory to print a profile");
    }
    double total = 0, runs = e->profiled_runs ? (double)e->profiled_runs : 1;
    for (size_t i = 0; i < n; i++) {
        sorted[i] = e->profile[i];
        total += sorted[i].seconds;
    }
    qsort(sorted, n, sizeof *sorted, slower);
    fprintf(f, "%-28s %9s %10s %7s %9s\n", "op", "calls/run", "ms/run", "share", "GFLOP/s");
    for (size_t i = 0; i < n; i++) {
        const cg_op_profile *p = &sorted[i];
        fprintf(f, "%-28s %9.1f %10.3f %6.1f%%", p->op->name, (double)p->calls / runs,
                1e3 * p->seconds / runs, total > 0 ? 100 * p->seconds / total : 0);
        if (p->flops) fprintf(f, " %9.1f", 1e-9 * (double)p->flops / p->seconds);
        fputc('\n', f);
    }
    fprintf(f, "%-28s %9" PRId64 " %10.3f\n", "all, runs", e->profiled_runs, 1e3 * total / runs);
    free(sorted);
    if (fclose(f) != 0) {
        free(*text);
        *text = NULL;
        return cg_error(CG_ENOMEM, "no memory to print a profile");
    }
    return CG_OK;
}
