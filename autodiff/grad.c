#include "autodiff/grad.h"

#include "ops/ops.h"

#include <stdlib.h>
#include <string.h>

typedef struct walk {
    cg_graph *g;
    int n_node, n_value; /* of the graph before any gradient */
    char *active;        /* [n_value] depends on what is differentiated by */
    cg_value **adjoint;  /* [n_value] gradient so far */
} walk;

static cg_value *ones(cg_graph *g, cg_shape shape) {
    return cg_broadcast(g, cg_constant_f32(g, 1), shape);
}

/* Sums dx over the axes along which an operand of `shape` was broadcast. */
static cg_value *unbroadcast(cg_graph *g, cg_value *dx, const cg_shape *shape) {
    if (!dx || cg_shape_equal(&dx->shape, shape)) return dx;
    int extra = dx->shape.rank - shape->rank;
    cg_shape axes = {0};
    for (int i = 0; i < dx->shape.rank; i++) {
        int64_t wanted = i < extra ? 1 : shape->dim[i - extra];
        if (dx->shape.dim[i] != wanted && wanted == 1) axes.dim[axes.rank++] = i;
    }
    if (axes.rank) dx = cg_sum(g, dx, axes, 1);
    return cg_reshape(g, dx, *shape); /* refuses where the op's rule gave a wrong shape */
}

static void accumulate(walk *w, const cg_value *v, cg_value *dx) {
    dx = unbroadcast(w->g, dx, &v->shape);
    cg_value **sum = &w->adjoint[v->id];
    *sum = *sum ? cg_add(w->g, *sum, dx) : dx;
}

static void mark_active(walk *w, int n_wrt, cg_value *const *wrt) {
    for (int i = 0; i < n_wrt; i++) w->active[wrt[i]->id] = 1;
    for (int i = 0; i < w->n_node; i++) {
        const cg_node *n = w->g->node[i];
        int any = 0;
        for (int k = 0; k < n->n_in; k++)
            any |= (n->in[k]->dtype == CG_F32 || n->in[k]->dtype == CG_BF16) &&
                   w->active[n->in[k]->id];
        for (int k = 0; k < n->n_out; k++) w->active[n->out[k]->id] |= (char)any;
    }
}

static cg_status seed_outputs(walk *w, int n, cg_value *const *output, cg_value *const *seed) {
    for (int i = 0; i < n; i++) {
        char found[CG_SHAPE_TEXT], wanted[CG_SHAPE_TEXT];
        cg_value *s = seed ? seed[i] : NULL;
        if (output[i]->dtype != CG_F32 || (s && s->dtype != CG_F32))
            return cg_error(CG_EDTYPE, "gradient of %s: it or its seed is not f32",
                            output[i]->name);
        if (s && !cg_shape_equal(&s->shape, &output[i]->shape))
            return cg_error(CG_ESHAPE, "gradient of %s: its seed is %s, wanted %s", output[i]->name,
                            cg_shape_print(&s->shape, found),
                            cg_shape_print(&output[i]->shape, wanted));
        w->g->derivative_of = output[i]->name;
        accumulate(w, output[i], s ? s : ones(w->g, output[i]->shape));
    }
    return CG_OK;
}

/* Asks node n's rule for its operands' gradients, where a gradient has reached one of its results
 * and an operand is active. dy and dx have room for n's results and operands. */
static cg_status differentiate(walk *w, const cg_node *n, cg_value **dy, cg_value **dx) {
    int reached = 0, wanted = 0;
    for (int k = 0; k < n->n_out; k++) reached |= (dy[k] = w->adjoint[n->out[k]->id]) != NULL;
    for (int k = 0; k < n->n_in; k++) {
        dx[k] = NULL;
        wanted |= w->active[n->in[k]->id];
    }
    if (!reached || !wanted) return CG_OK;
    if (!n->op->vjp)
        return cg_error(CG_EUNSUPPORTED, "%s: %s has no gradient", n->name, n->op->name);
    w->g->derivative_of = n->name;
    n->op->vjp(w->g, n, dy, dx);
    for (int k = 0; k < n->n_in && w->g->status == CG_OK; k++)
        if (dx[k] && w->active[n->in[k]->id]) accumulate(w, n->in[k], dx[k]);
    return cg_graph_status(w->g);
}

static cg_status walk_back(walk *w) {
    int most = 1;
    for (int i = 0; i < w->n_node; i++) {
        const cg_node *n = w->g->node[i];
        if (n->n_in + n->n_out > most) most = n->n_in + n->n_out;
    }
    cg_value **buffer = calloc((size_t)most, sizeof *buffer);
    if (!buffer) return cg_error(CG_ENOMEM, "no memory to differentiate");
    cg_status s = CG_OK;
    for (int i = w->n_node - 1; i >= 0 && s == CG_OK; i--) {
        const cg_node *n = w->g->node[i];
        s = differentiate(w, n, buffer, buffer + n->n_out);
    }
    free(buffer);
    return s;
}

static cg_status run(walk *w, int n_output, cg_value *const *output, cg_value *const *seed,
                     int n_wrt, cg_value *const *wrt, cg_value **grads) {
    w->active = calloc((size_t)w->n_value + 1, 1);
    w->adjoint = calloc((size_t)w->n_value + 1, sizeof *w->adjoint);
    if (!w->active || !w->adjoint) return cg_error(CG_ENOMEM, "no memory to differentiate");
    mark_active(w, n_wrt, wrt);
    CG_TRY(seed_outputs(w, n_output, output, seed));
    CG_TRY(walk_back(w));
    for (int i = 0; i < n_wrt; i++) {
        grads[i] = w->adjoint[wrt[i]->id];
        w->g->derivative_of = wrt[i]->name;
        if (!grads[i]) grads[i] = cg_broadcast(w->g, cg_constant_f32(w->g, 0), wrt[i]->shape);
    }
    return cg_graph_status(w->g);
}

cg_status cg_grad(cg_graph *g, int n_output, cg_value *const *output, cg_value *const *seed,
                  int n_wrt, cg_value *const *wrt, cg_value **grads) {
    memset(grads, 0, (size_t)n_wrt * sizeof *grads);
    CG_TRY(cg_graph_status(g));
    walk w = {.g = g, .n_node = g->n_node, .n_value = g->n_value};
    cg_status s = run(&w, n_output, output, seed, n_wrt, wrt, grads);
    g->derivative_of = NULL;
    free(w.active);
    free(w.adjoint);
    if (s != CG_OK) cg_graph_fail(g, s);
    return s;
}
